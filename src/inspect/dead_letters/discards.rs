//! Which discards are in force, as the audit tells it (pure).

use std::collections::{BTreeMap, BTreeSet};

use crate::inspect::dead_letters::filter::Filter;
use crate::inspect::dead_letters::index::{Cover, Discard};
use crate::inspect::dead_letters::state::State;
use crate::operate::audit::{AuditRecord, Change};
use crate::operate::keys::LetterTopic;

/// The discards that were made and taken back, in any order.
#[derive(Clone, Debug, Default)]
pub struct DiscardLog {
    made: BTreeMap<String, Discard>,
    undone: BTreeSet<String>,
    /// When an operator last said that the store has lost its claims, epoch ms.
    claims_lost_ms: Option<i64>,
}

impl DiscardLog {
    /// Takes one entry of the audit.
    ///
    /// # Errors
    /// A discard cannot be read, for example because a newer version of the program made it. It is left out: a filter
    /// that is understood in part would cover too much.
    pub fn take(&mut self, entry: &AuditRecord) -> Result<(), String> {
        if entry.what == Change::Undiscard.as_str() {
            self.undone.extend(entry.subject.clone());
        } else if entry.what == Change::UnblockDedupe.as_str() {
            self.claims_lost_ms = self.claims_lost_ms.max(Some(entry.at_ms));
        } else if entry.what == Change::Discard.as_str() {
            let cover = cover(entry).map_err(|why| format!("discard {} cannot be read: {why}", entry.id))?;
            let (id, topic_id) = (entry.id.clone(), entry.topic_id.clone());
            self.made.insert(id.clone(), Discard { id, topic_id, cover });
        }
        Ok(())
    }

    /// The discards of dead letters in this topic that are in force, in the order in which they were made.
    pub fn in_force(&self, topic: &LetterTopic) -> Vec<Discard> {
        let made = self.made.values().filter(|discard| topic.is(discard.topic_id.as_deref()));
        made.filter(|discard| !self.undone.contains(&discard.id)).cloned().collect()
    }

    /// What is known of a discard: `None`: there is none with this id; else whether it was taken back.
    pub fn is_undone(&self, id: &str) -> Option<bool> {
        self.made.contains_key(id).then(|| self.undone.contains(id))
    }

    /// When an operator last said that the store has lost its claims, epoch ms.
    pub fn claims_lost_ms(&self) -> Option<i64> {
        self.claims_lost_ms
    }
}

fn cover(entry: &AuditRecord) -> Result<Cover, String> {
    if !entry.items.is_empty() {
        let place = |text: &String| place(text).ok_or_else(|| format!("no place: {text}"));
        let state = entry.filter.as_ref().and_then(|filter| filter.get("state")).and_then(|state| state.as_str());
        let places = entry.items.iter().map(place).collect::<Result<_, _>>()?;
        return Ok(Cover::Items { places, replayed: state == Some(State::Replayed.as_str()) });
    }
    let filter = entry.filter.clone().ok_or("neither filter nor items")?;
    let filter: Filter = serde_json::from_value(filter).map_err(|error| error.to_string())?;
    Ok(Cover::Filter { filter: Box::new(filter), ends: entry.end_offsets.clone() })
}

/// Reads `PARTITION:OFFSET`.
pub fn place(text: &str) -> Option<(i32, i64)> {
    let (partition, offset) = text.split_once(':')?;
    Some((partition.parse().ok().filter(|n| *n >= 0)?, offset.parse().ok().filter(|n| *n >= 0)?))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::operate::audit::{By, Via};

    fn entry(what: Change, id: &str) -> AuditRecord {
        AuditRecord { id: id.to_owned(), ..AuditRecord::new(what, &By::new(Via::Cli, "li", "why"), 5) }
    }

    #[test]
    fn a_discard_is_in_force_until_it_is_taken_back_in_whatever_order_the_entries_come() {
        let made = AuditRecord {
            filter: Some(json!({"reason": "rejected"})),
            end_offsets: [(0, 12)].into(),
            ..entry(Change::Discard, "d-1")
        };
        let listed = AuditRecord { items: vec!["3:7".to_owned()], ..entry(Change::Discard, "d-2") };
        let undone = AuditRecord { subject: Some("d-1".to_owned()), ..entry(Change::Undiscard, "u-1") };
        let mut entries = [made, listed, undone];
        for _ in 0..2 {
            let mut log = DiscardLog::default();
            entries.iter().for_each(|entry| log.take(entry).unwrap());
            let wanted = Discard {
                id: "d-2".to_owned(),
                topic_id: None,
                cover: Cover::Items { places: [(3, 7)].into(), replayed: false },
            };
            assert_eq!(log.in_force(&LetterTopic::default()), [wanted]);
            assert_eq!(
                [log.is_undone("d-1"), log.is_undone("d-2"), log.is_undone("x")],
                [Some(true), Some(false), None]
            );
            entries.reverse();
        }
    }

    #[test]
    fn a_discard_is_in_force_in_the_topic_that_it_was_made_in() {
        let mut log = DiscardLog::default();
        for (id, topic_id) in [("d-1", None), ("d-2", Some("A")), ("d-3", Some("B"))] {
            let (items, topic_id) = (vec!["3:7".to_owned()], topic_id.map(str::to_owned));
            log.take(&AuditRecord { items, topic_id, ..entry(Change::Discard, id) }).unwrap();
        }
        let in_force = |topic| log.in_force(&topic).into_iter().map(|discard| discard.id).collect::<Vec<_>>();
        assert_eq!(in_force(LetterTopic::stub("A", false)), ["d-1", "d-2"]);
        assert_eq!(in_force(LetterTopic::stub("B", true)), ["d-3"]);
    }

    #[test]
    fn a_filter_that_is_not_understood_wholly_covers_nothing_and_says_so() {
        let mut log = DiscardLog::default();
        let newer =
            AuditRecord { filter: Some(json!({"reason": "rejected", "region": "x"})), ..entry(Change::Discard, "d") };
        assert!(log.take(&newer).unwrap_err().starts_with("discard d cannot be read: "));
        assert!(log.take(&AuditRecord { items: vec!["x".to_owned()], ..entry(Change::Discard, "d") }).is_err());
        assert_eq!(log.in_force(&LetterTopic::default()), []);
    }

    #[test]
    fn the_moment_at_which_claims_were_lost_is_the_latest_one() {
        let mut log = DiscardLog::default();
        for at_ms in [7, 9, 8] {
            log.take(&AuditRecord { at_ms, ..entry(Change::UnblockDedupe, "x") }).unwrap();
        }
        assert_eq!(log.claims_lost_ms(), Some(9));
    }

    #[test]
    fn a_place_is_two_numbers_and_all_else_is_a_trans_id() {
        assert_eq!(place("3:1207"), Some((3, 1207)));
        for other in ["order:1", "3", "3:", ":3", "-1:3", "1:2:3"] {
            assert_eq!(place(other), None, "{other}");
        }
    }
}
