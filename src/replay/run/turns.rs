//! Which dead letters a run takes next: of each account in turn, and of an account in the order of partition and offset
//! (pure).

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use crate::operate::keys::OFFSETS_PER_KEY;
use crate::replay::lookup::is_set;
use crate::replay::places::{Place, unpack};

/// The bitmap of an offset: its partition and its number.
pub type Chunk = (i32, i64);

/// What a run has still to do, by account.
#[derive(Default)]
pub struct Turns {
    queues: Vec<Queue>,
    /// The account whose turn it is.
    next: usize,
    /// The dead letters that are done already, as bitmaps.
    done: BTreeMap<Chunk, Vec<u8>>,
}

struct Queue {
    account: Arc<str>,
    /// What is not unpacked yet.
    values: VecDeque<Vec<u8>>,
    places: VecDeque<Place>,
}

impl Turns {
    /// Reads the values of a plan, whose fields are `<number of the account>:<number of the value>`.
    pub fn new(accounts: &[String], values: BTreeMap<String, Vec<u8>>) -> Self {
        let number = |field: &str| {
            let (account, value) = field.split_once(':')?;
            Some((account.parse::<usize>().ok()?, value.parse::<u64>().ok()?))
        };
        let mut ordered: Vec<((usize, u64), Vec<u8>)> =
            values.into_iter().filter_map(|(field, value)| Some((number(&field)?, value))).collect();
        ordered.sort_by_key(|(number, _)| *number);
        let queue =
            |name: &String| Queue { account: name.as_str().into(), values: VecDeque::new(), places: VecDeque::new() };
        let mut queues: Vec<Queue> = accounts.iter().map(queue).collect();
        for ((account, _), value) in ordered {
            if let Some(queue) = queues.get_mut(account) {
                queue.values.push_back(value);
            }
        }
        Self { queues, next: 0, done: BTreeMap::new() }
    }

    /// The bitmaps that say what is done.
    pub fn chunks(&self) -> BTreeSet<Chunk> {
        let values = self.queues.iter().flat_map(|queue| &queue.values);
        values
            .flat_map(|value| unpack(value))
            .map(|(partition, offset)| (partition, offset / OFFSETS_PER_KEY))
            .collect()
    }

    /// Leaves out what is done already.
    pub fn leave_out(&mut self, done: BTreeMap<Chunk, Vec<u8>>) {
        self.done = done;
    }

    /// Takes at most `most` dead letters, one of each account in turn, and of an account at most as many as `allowed`
    /// says of it.
    pub fn take(&mut self, most: usize, allowed: &dyn Fn(&str) -> usize) -> Vec<(Arc<str>, Place)> {
        let mut left: Vec<usize> = self.queues.iter().map(|queue| allowed(&queue.account)).collect();
        let mut taken = Vec::new();
        let mut in_vain = 0;
        while taken.len() < most && in_vain < self.queues.len() {
            let at = self.next % self.queues.len();
            self.next = at + 1;
            let place = if left[at] > 0 { self.queues[at].next(&self.done) } else { None };
            match place {
                Some(place) => {
                    left[at] -= 1;
                    in_vain = 0;
                    taken.push((self.queues[at].account.clone(), place));
                }
                None => in_vain += 1,
            }
        }
        taken
    }

    /// Puts back what was taken and not done, so that it comes first.
    pub fn put_back(&mut self, places: Vec<(Arc<str>, Place)>) {
        for (account, place) in places.into_iter().rev() {
            if let Some(queue) = self.queues.iter_mut().find(|queue| queue.account == account) {
                queue.places.push_front(place);
            }
        }
    }

    /// Whether nothing is left.
    pub fn is_empty(&mut self) -> bool {
        let done = &self.done;
        self.queues.iter_mut().all(|queue| !queue.fill(done))
    }

    /// The accounts of which something is left.
    pub fn accounts(&mut self) -> Vec<Arc<str>> {
        let done = &self.done;
        self.queues.iter_mut().filter_map(|queue| queue.fill(done).then(|| queue.account.clone())).collect()
    }
}

impl Queue {
    fn next(&mut self, done: &BTreeMap<Chunk, Vec<u8>>) -> Option<Place> {
        self.fill(done);
        self.places.pop_front()
    }

    /// Unpacks values until there is a place. Returns whether there is one.
    fn fill(&mut self, done: &BTreeMap<Chunk, Vec<u8>>) -> bool {
        while self.places.is_empty() {
            let Some(value) = self.values.pop_front() else { return false };
            let is_done = |(partition, offset): &Place| {
                done.get(&(*partition, offset / OFFSETS_PER_KEY)).is_some_and(|bits| is_set(bits, *offset))
            };
            self.places.extend(unpack(&value).into_iter().filter(|place| !is_done(place)));
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::replay::places::pack;

    fn turns(of: &[(&str, &[Place])]) -> Turns {
        let accounts: Vec<String> = of.iter().map(|(name, _)| (*name).to_owned()).collect();
        let values = of.iter().enumerate().flat_map(|(number, (_, places))| {
            pack(places).into_iter().enumerate().map(move |(n, value)| (format!("{number}:{n}"), value))
        });
        Turns::new(&accounts, values.collect())
    }

    fn shown(taken: &[(Arc<str>, Place)]) -> Vec<(&str, i64)> {
        taken.iter().map(|(account, (_, offset))| (&**account, *offset)).collect()
    }

    #[test]
    fn accounts_take_turns_and_one_that_may_not_does_not_hold_the_others_up() {
        let mut turns = turns(&[("a", &[(0, 1), (0, 2), (1, 0)]), ("b", &[(0, 5), (0, 6)])]);
        assert_eq!(shown(&turns.take(3, &|_| 9)), [("a", 1), ("b", 5), ("a", 2)]);
        assert_eq!(shown(&turns.take(9, &|name| usize::from(name == "b"))), [("b", 6)]);
        assert_eq!(turns.accounts().iter().map(|name| &**name).collect::<Vec<_>>(), ["a"]);
        assert!(turns.take(9, &|_| 0).is_empty() && !turns.is_empty());
        let last = turns.take(9, &|_| 9);
        assert_eq!(shown(&last), [("a", 0)]);
        assert!(turns.is_empty());
        turns.put_back(last);
        assert_eq!(shown(&turns.take(9, &|_| 9)), [("a", 0)]);
        assert!(Turns::new(&[], BTreeMap::new()).take(5, &|_| 5).is_empty());
    }

    #[test]
    fn what_is_put_back_comes_first_and_in_its_order() {
        let mut turns = turns(&[("a", &[(0, 1), (0, 2), (0, 3)])]);
        let two = turns.take(2, &|_| 9);
        turns.put_back(two);
        assert_eq!(shown(&turns.take(9, &|_| 9)), [("a", 1), ("a", 2), ("a", 3)]);
    }

    proptest! {
        /// However a run is interrupted, each dead letter is taken once by the one that counts it.
        #[test]
        fn every_place_is_taken_once(
            places in proptest::collection::btree_map((0..3_i32, 0..200_000_i64), 0..4_usize, 0..300),
            steps in proptest::collection::vec((1..20_usize, 0..3_usize, any::<bool>()), 1..60),
        ) {
            let names = ["a", "b", "c", "d"];
            let of: Vec<Vec<Place>> =
                (0..4).map(|n| places.iter().filter(|(_, of)| **of == n).map(|(place, _)| *place).collect()).collect();
            let fresh = || turns(&names.iter().zip(&of).map(|(name, of)| (*name, &of[..])).collect::<Vec<_>>());
            let mut turns = fresh();
            let mut done: BTreeMap<Chunk, Vec<u8>> = BTreeMap::new();
            let mut counted = std::collections::BTreeSet::new();
            for (most, put_back, killed) in steps {
                let mut taken = turns.take(most, &|_| 7);
                if killed {
                    // The runner dies before it counts: another one begins with what is done.
                    turns = fresh();
                    turns.leave_out(done.clone());
                    continue;
                }
                let back = taken.split_off(taken.len().saturating_sub(put_back));
                turns.put_back(back);
                for (_, (partition, offset)) in taken {
                    prop_assert!(counted.insert((partition, offset)), "{partition}:{offset} is taken twice");
                    let bits = done.entry((partition, offset / OFFSETS_PER_KEY)).or_insert_with(|| vec![0; 8192]);
                    let bit = (offset % OFFSETS_PER_KEY) as usize;
                    bits[bit / 8] |= 0x80 >> (bit % 8);
                }
            }
            loop {
                let taken = turns.take(50, &|_| 50);
                if taken.is_empty() {
                    break;
                }
                taken.iter().for_each(|(_, place)| assert!(counted.insert(*place)));
            }
            prop_assert!(turns.is_empty());
            prop_assert_eq!(counted.into_iter().collect::<Vec<_>>(), places.into_keys().collect::<Vec<_>>());
        }
    }
}
