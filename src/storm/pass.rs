//! How many bad records may pass without being judged, as an operator ordered (pure). The number is kept in Redis for
//! all replicas together. A replica takes a share of it when it meets bad records, and uses the share up without Redis.

use std::collections::BTreeMap;

/// How many bad records of each topic may still pass, beside the shares that replicas have taken.
pub type Left = BTreeMap<String, u64>;

/// A share is this part of what is left, so that one replica does not keep what another one needs.
const PART: u64 = 20;
/// The least share. With less, the last ones would cost a question each.
const LEAST: u64 = 10;
/// The largest share, which a replica that stops may take with it.
const MOST: u64 = 10_000;

/// What becomes of a bad record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pass {
    Passes,
    /// It is judged, and the topic waits: this replica has used its share up, and Redis is asked for another one.
    Asks,
    Judged,
}

/// What one topic may let pass.
#[derive(Debug, Default)]
struct Open {
    /// What Redis has left, as last read.
    left: u64,
    /// What this replica may still let pass.
    share: u64,
    /// So many were judged since a share is asked for. The share pays for them.
    asks: u64,
}

/// What each topic may let pass at this replica.
#[derive(Debug, Default)]
pub(super) struct Passes(BTreeMap<String, Open>);

impl Passes {
    /// Decides over one bad record of a topic.
    pub(super) fn one(&mut self, topic: &str) -> Pass {
        let Some(open) = self.0.get_mut(topic) else { return Pass::Judged };
        if open.share > 0 {
            open.share -= 1;
            Pass::Passes
        } else if open.left > 0 {
            open.asks += 1;
            Pass::Asks
        } else {
            Pass::Judged
        }
    }

    /// The topics that ask for a share.
    pub(super) fn asking(&self) -> impl Iterator<Item = &String> {
        self.0.iter().filter(|(_, open)| open.asks > 0).map(|(topic, _)| topic)
    }

    /// The size of the share that a topic asks for, with those that it has to pay for.
    pub(super) fn wanted(&self, topic: &str) -> u64 {
        self.0.get(topic).map_or(0, |open| (open.left / PART).clamp(LEAST, MOST) + open.asks)
    }

    /// Adds a share, and takes over what Redis has left after it.
    pub(super) fn give(&mut self, topic: &str, share: u64, left: u64) {
        let open = self.0.entry(topic.to_owned()).or_default();
        *open = Open { left, share: (open.share + share).saturating_sub(open.asks), asks: 0 };
    }

    /// Takes over what Redis has left. The share of a topic that has ended is void. Returns whether a topic that asked
    /// has to wait no longer.
    pub(super) fn obey(&mut self, left: Left, has_ended: impl Fn(&str) -> bool) -> bool {
        let mut is_answered = false;
        for (topic, open) in &mut self.0 {
            open.left = 0;
            if has_ended(topic) {
                is_answered |= open.asks > 0;
                *open = Open::default();
            }
        }
        for (topic, left) in left {
            self.0.entry(topic).or_default().left = left;
        }
        for open in self.0.values_mut() {
            if open.asks > 0 && open.left == 0 {
                (is_answered, open.asks) = (true, 0);
            }
        }
        self.0.retain(|_, open| open.left > 0 || open.share > 0);
        is_answered
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn left(left: u64) -> Left {
        Left::from([("t".into(), left)])
    }

    #[test]
    fn a_share_is_asked_for_and_used_up_and_then_records_are_judged() {
        let mut passes = Passes::default();
        assert_eq!(passes.one("t"), Pass::Judged);
        assert!(!passes.obey(left(12), |_| false));
        assert_eq!((passes.one("t"), passes.one("u")), (Pass::Asks, Pass::Judged));
        assert_eq!((passes.asking().map(String::as_str).collect::<Vec<_>>(), passes.wanted("t")), (vec!["t"], 11));
        passes.give("t", 10, 2);
        assert_eq!(passes.asking().count(), 0);
        assert!((0..9).all(|_| passes.one("t") == Pass::Passes), "beside the one that asked");
        assert_eq!(passes.one("t"), Pass::Asks);
        passes.give("t", 2, 0);
        assert_eq!((passes.one("t"), passes.one("t")), (Pass::Passes, Pass::Judged));
    }

    #[test]
    fn a_share_is_a_part_of_what_is_left() {
        let mut passes = Passes::default();
        for (has, wanted) in [(1, 10), (199, 10), (1_000, 50), (1_000_000, 10_000), (100_000_000, 10_000)] {
            passes.obey(left(has), |_| false);
            assert_eq!(passes.wanted("t"), wanted, "{has}");
        }
    }

    #[test]
    fn a_share_ends_with_its_order_and_who_asks_waits_no_longer_than_there_is_something() {
        let mut passes = Passes::default();
        passes.obey(left(100), |_| false);
        passes.give("t", 10, 90);
        assert!(!passes.obey(Left::new(), |_| false), "another replica took the rest");
        assert_eq!(passes.one("t"), Pass::Passes);
        assert!(!passes.obey(left(50), |_| true), "another order");
        assert_eq!(passes.one("t"), Pass::Asks);
        assert!(!passes.obey(left(40), |_| false));
        assert_eq!(passes.asking().count(), 1);
        assert!(passes.obey(Left::new(), |_| false));
        assert_eq!((passes.one("t"), passes.0.len()), (Pass::Judged, 0));
    }
}
