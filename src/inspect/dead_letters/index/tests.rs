use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::*;
use crate::inspect::dead_letters::filter::Filter;
use crate::inspect::dead_letters::tests::letter;

/// A dead letter as the naive list keeps it.
#[derive(Clone, Debug)]
struct Plain {
    partition: i32,
    offset: i64,
    origin: u8,
    at: i64,
    reason: &'static str,
    account: &'static str,
    code: Option<&'static str>,
    field: &'static str,
    trans_id: u8,
    replays: u32,
}

impl Plain {
    fn letter(&self) -> DeadLetter {
        let (origin, at) = (self.origin.to_string(), self.at.to_string());
        let (trans_id, replays) = (format!("t-{}", self.trans_id), self.replays.to_string());
        let mut headers = vec![
            ("origin-offset", &*origin),
            ("platform", "qihoo360"),
            ("account", self.account),
            ("trans-id", &trans_id),
            ("reason", self.reason),
            ("field", self.field),
            ("failed-at", &at),
        ];
        headers.extend(self.code.map(|code| ("last-code", code)));
        if self.replays > 0 {
            headers.push(("replays", &replays));
        }
        letter(self.partition, self.offset, &headers)
    }

    fn place(&self) -> (i32, i64) {
        (self.partition, self.offset)
    }

    fn rank(&self) -> (i64, i32, i64) {
        (self.at, self.partition, self.offset)
    }

    /// Whether none of these is a newer one of its origin.
    fn is_newest_of(&self, all: &[&Plain]) -> bool {
        let of_origin: Vec<&Plain> = all.iter().copied().filter(|other| other.origin == self.origin).collect();
        let is_last = |plain: &Plain| {
            of_origin.iter().all(|other| other.partition != plain.partition || other.offset <= plain.offset)
        };
        let lineage = |plain: &Plain| (plain.replays, plain.rank());
        let last = of_origin.iter().copied().filter(|plain| is_last(plain));
        is_last(self) && last.into_iter().all(|other| lineage(other) <= lineage(self))
    }

    fn fits(&self, filter: &Filter) -> bool {
        filter.selects(&self.letter())
    }
}

/// What the naive list knows of states.
#[derive(Clone, Debug, Default)]
struct Known {
    replayed: BTreeSet<(i32, i64)>,
    discards: Vec<Discard>,
}

impl Known {
    fn state(&self, plain: &Plain) -> State {
        let replayed = self.replayed.contains(&plain.place());
        let covered = self.discards.iter().any(|discard| match &discard.cover {
            Cover::Items { places, replayed: meant } => replayed == *meant && places.contains(&plain.place()),
            Cover::Filter { filter, ends } => {
                let meant = match filter.state {
                    None | Some(State::Open) => !replayed,
                    Some(State::Replayed) => replayed,
                    Some(State::Discarded) => false,
                };
                meant && plain.offset < ends.get(&plain.partition).copied().unwrap_or(0) && plain.fits(filter)
            }
        });
        match (covered, replayed) {
            (true, _) => State::Discarded,
            (false, true) => State::Replayed,
            (false, false) => State::Open,
        }
    }

    /// The selection, newest first.
    fn select(&self, all: &[Plain], filter: &Filter, ends: Option<&EndOffsets>, every: bool) -> Vec<(i32, i64)> {
        let within =
            |plain: &&Plain| ends.is_none_or(|ends| plain.offset < ends.get(&plain.partition).copied().unwrap_or(0));
        let counted: Vec<&Plain> = all.iter().filter(within).collect();
        let mut found: Vec<&Plain> = counted
            .iter()
            .copied()
            .filter(|plain| every || plain.is_newest_of(&counted))
            .filter(|plain| plain.fits(filter) && filter.state.is_none_or(|state| self.state(plain) == state))
            .collect();
        found.sort_by_key(|plain| std::cmp::Reverse(plain.rank()));
        found.truncate(filter.limit.unwrap_or(usize::MAX));
        found.into_iter().map(Plain::place).collect()
    }
}

/// An index that found these letters in rounds of `step` per partition, then those of `later`.
fn index(older: &[Plain], later: &[Plain], step: usize) -> Index {
    let mut index = Index::default();
    let mut parts: BTreeMap<i32, Vec<DeadLetter>> = BTreeMap::new();
    for plain in older {
        parts.entry(plain.partition).or_default().push(plain.letter());
    }
    for partition in 0..3 {
        let end = parts.get(&partition).and_then(|letters| letters.last()).map_or(0, |letter| letter.offset + 1);
        index.begin(partition, end);
    }
    for round in 1.. {
        if parts.values().all(Vec::is_empty) {
            break;
        }
        for (partition, letters) in &mut parts {
            let found = letters.split_off(letters.len().saturating_sub(step));
            if let Some(first) = found.first() {
                index.older(*partition, first.offset, round, &found);
            }
        }
        index.finish_round(round);
    }
    for plain in later {
        index.newer(plain.partition, plain.offset + 1, &[plain.letter()]);
    }
    index.complete();
    index
}

fn places(index: &Index, rows: &[RowRef]) -> Vec<(i32, i64)> {
    rows.iter().map(|row| index.row(*row)).map(|row| (row.partition, row.offset)).collect()
}

fn plain() -> impl Strategy<Value = Plain> {
    (
        (0..3_i32, 0..12_u8, 0..40_i64),
        prop_oneof![Just("invalid"), Just("rejected"), Just("conflict")],
        prop_oneof![Just("acme-ps"), Just("acme-bz")],
        prop_oneof![Just(None), Just(Some("3")), Just(Some("7"))],
        prop_oneof![Just(""), Just("click.qhclickid")],
        (0..8_u8, 0..3_u32, 1..4_i64),
    )
        .prop_map(|((partition, origin, at), reason, account, code, field, (trans_id, replays, step))| Plain {
            partition,
            offset: step,
            origin,
            at,
            reason,
            account,
            code,
            field,
            trans_id,
            replays,
        })
}

/// Letters with growing offsets per partition, with gaps.
fn letters() -> impl Strategy<Value = Vec<Plain>> {
    proptest::collection::vec(plain(), 0..60).prop_map(|mut letters| {
        let mut next = BTreeMap::new();
        for plain in &mut letters {
            let at = next.entry(plain.partition).or_insert(0);
            *at += plain.offset;
            plain.offset = *at;
        }
        letters
    })
}

fn filter() -> impl Strategy<Value = Filter> {
    let text = |texts: &'static [&'static str]| {
        proptest::option::weighted(0.3, proptest::sample::select(texts).prop_map(str::to_owned))
    };
    (
        (
            text(&["acme-ps", "acme-bz", "none"]),
            text(&["3", "7", "-"]),
            text(&["", "-", "click.qhclickid"]),
            text(&["t-1", "t-2"]),
        ),
        proptest::option::weighted(0.3, prop_oneof![Just(Reason::Invalid), Just(Reason::Rejected)]),
        (proptest::option::weighted(0.2, 0..40_i64), proptest::option::weighted(0.2, 0..40_i64)),
        proptest::option::weighted(0.2, 0..20_usize),
        proptest::option::weighted(0.5, proptest::sample::select(&State::ALL[..])),
        proptest::option::weighted(0.2, 0..3_u32),
    )
        .prop_map(|((account, code, field, trans_id), reason, (since, until), limit, state, replays)| Filter {
            account,
            code,
            field,
            trans_id,
            reason,
            since,
            until,
            limit,
            state,
            replays,
            ..Filter::default()
        })
}

fn discard(id: &str, cover: Cover) -> Discard {
    Discard { id: id.to_owned(), topic_id: None, cover }
}

fn ends() -> impl Strategy<Value = EndOffsets> {
    proptest::collection::btree_map(0..3_i32, 0..60_i64, 0..4)
}

fn known() -> impl Strategy<Value = Known> {
    let places = || proptest::collection::btree_set((0..3_i32, 0..60_i64), 0..30);
    let cover = prop_oneof![
        (places(), any::<bool>()).prop_map(|(places, replayed)| Cover::Items { places, replayed }),
        (filter(), ends()).prop_map(|(filter, ends)| {
            let filter = Box::new(Filter { limit: None, ..filter });
            Cover::Filter { filter, ends }
        })
    ];
    let discards = proptest::collection::vec(cover, 0..3);
    (places(), discards).prop_map(|(replayed, covers)| {
        let discards = covers.into_iter().enumerate().map(|(n, cover)| discard(&n.to_string(), cover)).collect();
        Known { replayed, discards }
    })
}

fn bitmap(known: &Known, partition: i32) -> Vec<u8> {
    let mut bits = vec![0; 16];
    for (_, offset) in known.replayed.iter().filter(|(p, _)| *p == partition) {
        bits[*offset as usize / 8] |= 0x80 >> (offset % 8);
    }
    bits
}

fn tell(index: &mut Index, known: &Known) {
    (0..3).for_each(|partition| index.set_replayed(partition, 0, &bitmap(known, partition)));
    index.set_discards(known.discards.clone());
}

proptest! {
    #[test]
    fn it_answers_as_a_list_of_all_letters_would(
        all in letters(), split in 0..60_usize, step in 1..9_usize, known in known(), filter in filter(), ends in ends(),
        before in any::<bool>(), limit in 1..7_usize,
    ) {
        let (older, later) = all.split_at(split.min(all.len()));
        let index = if before {
            // The states are known before the letters.
            let mut index = Index::default();
            tell(&mut index, &known);
            (0..3).for_each(|partition| index.begin(partition, 0));
            all.iter().for_each(|plain| index.newer(plain.partition, plain.offset + 1, &[plain.letter()]));
            index.complete();
            index
        } else {
            let mut index = index(older, later, step);
            tell(&mut index, &known);
            index
        };

        let wanted = known.select(&all, &filter, None, false);
        let mut by_place = wanted.clone();
        by_place.sort_unstable();
        prop_assert_eq!(places(&index, &index.select(&filter, None)), by_place);
        let mut frozen = known.select(&all, &filter, Some(&ends), false);
        frozen.sort_unstable();
        prop_assert_eq!(places(&index, &index.select(&filter, Some(&ends))), frozen);

        for (every, wanted) in [(false, wanted.clone()), (true, known.select(&all, &filter, None, true))] {
            prop_assert_eq!(places(&index, &index.newest_first(&filter, every)), wanted.clone());
            let (mut seen, mut cursor) = (Vec::new(), None);
            loop {
                let page = index.page(&filter, every, cursor, limit).unwrap();
                prop_assert!(page.rows.len() <= limit);
                seen.extend(places(&index, &page.rows));
                cursor = page.cursor.map(|cursor| cursor.to_string().parse().unwrap());
                if cursor.is_none() {
                    break;
                }
            }
            prop_assert_eq!(seen, wanted);
        }
        let stats = index.stats(&filter, false);
        prop_assert_eq!(stats.total, wanted.len() as u64);
        prop_assert_eq!(stats.open + stats.replayed + stats.discarded, stats.total);
        prop_assert_eq!(stats.by_reason.values().sum::<u64>(), stats.total);
        let groups = index.groups(&filter, false);
        prop_assert_eq!(groups.iter().map(|group| group.count).sum::<u64>(), stats.total);
        prop_assert_eq!(groups.iter().map(|group| group.open).sum::<u64>(), stats.open);
        prop_assert_eq!(index.count(&filter, false), stats.total);
        for place in (0..3).flat_map(|partition| (0..60).map(move |offset| (partition, offset))) {
            let plain = all.iter().find(|plain| plain.place() == place);
            let found = index.find(place.0, place.1).map(|row| index.row(row));
            prop_assert_eq!(found.map(|row| row.state), plain.map(|plain| known.state(plain)));
        }
    }

    #[test]
    fn a_walk_through_pages_during_the_search_finds_each_letter_once(
        all in letters(), step in 1..5_usize, limit in 1..5_usize, filter in filter(),
    ) {
        let filter = Filter { limit: None, state: None, ..filter };
        let mut index = Index::default();
        let mut parts: BTreeMap<i32, Vec<DeadLetter>> = (0..3).map(|partition| (partition, Vec::new())).collect();
        all.iter().for_each(|plain| parts.get_mut(&plain.partition).unwrap().push(plain.letter()));
        for (partition, letters) in &parts {
            index.begin(*partition, letters.last().map_or(0, |letter| letter.offset + 1));
        }
        let (mut seen, mut cursor, mut round) = (Vec::new(), None, 0);
        loop {
            // A page in the middle of a round, too.
            round += 1;
            for (partition, letters) in &mut parts {
                let found = letters.split_off(letters.len().saturating_sub(step));
                if let Some(first) = found.first() {
                    index.older(*partition, first.offset, round, &found);
                }
                let page = index.page(&filter, true, cursor, limit).unwrap();
                prop_assert!(page.cursor.is_some(), "more may be found");
                cursor = page.cursor;
                seen.extend(places(&index, &page.rows));
            }
            index.finish_round(round);
            if parts.values().all(Vec::is_empty) {
                break;
            }
        }
        index.complete();
        while let Some(at) = cursor {
            let page = index.page(&filter, true, Some(at), limit).unwrap();
            cursor = page.cursor;
            seen.extend(places(&index, &page.rows));
        }
        seen.sort_unstable();
        let mut wanted: Vec<_> = all.iter().filter(|plain| plain.fits(&filter)).map(Plain::place).collect();
        wanted.sort_unstable();
        prop_assert_eq!(seen, wanted);
    }
}

fn at(partition: i32, offset: i64, origin: u8, at: i64) -> Plain {
    let (reason, account, field) = ("rejected", "acme-ps", "order.amount");
    Plain { partition, offset, origin, at, reason, account, code: Some("3"), field, trans_id: 1, replays: 0 }
}

#[test]
fn a_letter_that_arrives_while_pages_are_read_moves_none_of_them() {
    let all: Vec<Plain> = (0..10).map(|n| at(0, n, n as u8, n)).collect();
    let mut index = index(&all, &[], 4);
    let page = index.page(&Filter::default(), false, None, 4).unwrap();
    assert_eq!(places(&index, &page.rows), [(0, 9), (0, 8), (0, 7), (0, 6)]);
    index.newer(0, 11, &[at(0, 10, 99, 50).letter()]);
    let next = index.page(&Filter::default(), false, page.cursor, 4).unwrap();
    assert_eq!(places(&index, &next.rows), [(0, 5), (0, 4), (0, 3), (0, 2)]);
    assert_eq!(places(&index, &index.page(&Filter::default(), false, None, 1).unwrap().rows), [(0, 10)]);
}

#[test]
fn what_retention_deletes_is_hidden_and_a_wrong_cursor_is_refused() {
    let all: Vec<Plain> = (0..10).map(|n| at(0, n, n as u8, n)).collect();
    let mut index = index(&all, &[], 4);
    index.trim(0, 7);
    assert_eq!(index.count(&Filter::default(), true), 3);
    index.trim(0, 3);
    assert_eq!(index.count(&Filter::default(), true), 3, "what is gone does not come back");
    for wrong in ["", "r", "r.1.2", "x.1.2.3", "r.1.2.3.4", "f.1.2.3", "f.1.2.3.4", "r.1.2.x"] {
        assert!(wrong.parse::<Cursor>().is_err(), "{wrong}");
    }
    let mut running = Index::default();
    running.begin(0, 5);
    let cursor = running.page(&Filter::default(), false, None, 4).unwrap().cursor;
    assert!(cursor.is_some(), "the search has only begun");
    assert_eq!(index.page(&Filter::default(), false, cursor, 4), Err(StaleCursor), "it is of another search");
}

#[test]
fn a_group_has_its_count_ends_newest_open_sample_and_advice() {
    let mut all = vec![at(0, 1, 1, 10), at(0, 2, 2, 30), at(1, 3, 3, 20)];
    all.push(Plain { reason: "invalid", account: "13812345678", ..at(1, 4, 4, 5) });
    let mut index = index(&all, &[], 4);
    index.set_replayed(0, 0, &[0x20]);
    let groups = index.groups(&Filter::default(), false);
    assert_eq!(groups.len(), 2);
    let first = &groups[0];
    assert_eq!(
        (first.reason, first.code.as_deref(), first.field.as_deref()),
        (Some("rejected"), Some("3"), Some("order.amount"))
    );
    assert_eq!((first.count, first.open, first.first, first.last), (3, 2, 10, 30));
    assert_eq!(first.sample, "1:3", "the newest one that is open");
    assert!(first.advice.unwrap().contains("replay"));
    assert_eq!(groups[1].account.as_deref(), Some("138****5678"));
    let stats = index.stats(&Filter::default(), false);
    assert_eq!((stats.total, stats.open, stats.replayed, stats.discarded), (4, 3, 1, 0));
    assert_eq!((stats.counts[0].count, stats.counts[0].open, stats.counts[0].oldest), (3, 2, 10));
}

#[test]
fn an_undone_discard_leaves_the_letter_open_again() {
    let mut index = index(&[at(0, 1, 1, 10), at(0, 2, 2, 30)], &[], 4);
    let filter = Filter { code: Some("3".to_owned()), ..Filter::default() };
    let cover = Cover::Filter { filter: Box::new(filter), ends: EndOffsets::from([(0, 2)]) };
    index.set_discards(vec![discard("d", cover)]);
    let open = Filter { state: Some(State::Open), ..Filter::default() };
    assert_eq!(places(&index, &index.select(&open, None)), [(0, 2)], "what came after the discard is open");
    index.newer(0, 4, &[at(0, 3, 1, 40).letter()]);
    assert_eq!(places(&index, &index.select(&open, None)), [(0, 2), (0, 3)], "a replayed one that died again is open");
    index.set_discards(Vec::new());
    assert_eq!(index.count(&Filter { state: Some(State::Discarded), ..Filter::default() }, true), 0);
}

#[test]
fn a_letter_that_was_replayed_and_died_again_by_an_earlier_clock_is_open() {
    let again = |partition, offset, at_ms| Plain { replays: 1, ..at(partition, offset, 1, at_ms) };
    for second in [again(0, 7, 20), again(1, 0, 20)] {
        for together in [true, false] {
            let first = at(0, 1, 1, 90);
            let mut index = match together {
                true => index(&[first, second.clone()], &[], 1),
                false => index(&[first], std::slice::from_ref(&second), 1),
            };
            index.set_replayed(0, 0, &[0x40]);
            let open = Filter { state: Some(State::Open), ..Filter::default() };
            assert_eq!(places(&index, &index.select(&open, None)), [second.place()]);
            assert_eq!(index.stats(&Filter::default(), false).replayed, 0);
        }
    }
}

#[test]
fn a_million_letters_fit_into_40_mib() {
    let mut index = Index::default();
    (0..12).for_each(|partition| index.begin(partition, 100_000));
    let accounts: Vec<String> = (0..40).map(|n| format!("account-{n}")).collect();
    for round in 0..21_i64 {
        for partition in 0..12 {
            let (from, end) = ((100_000 - (round + 1) * 4000).max(0), 100_000 - round * 4000);
            let letters: Vec<DeadLetter> = (from..end.max(from))
                .map(|n| {
                    let (origin, at) =
                        (format!("{}", n * 12 + i64::from(partition)), (1_736_956_740_000 + n).to_string());
                    let account = &*accounts[n as usize % accounts.len()];
                    let headers =
                        [("origin-offset", &*origin), ("failed-at", &at), ("account", account), ("trans-id", &origin)];
                    letter(partition, n, &headers)
                })
                .collect();
            index.older(partition, from, round as u32 + 1, &letters);
        }
    }
    assert_eq!(index.len(), 1_008_000);
    assert_eq!(index.count(&Filter::default(), false), 1_008_000);
    assert!(index.bytes() <= 40 << 20, "{} bytes", index.bytes());
}
