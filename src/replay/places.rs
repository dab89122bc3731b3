//! The places of dead letters, packed: about one byte each where they lie close together (pure).
//!
//! A value holds places in the order of partition and offset: for each partition its number, how many follow, and the
//! steps from one offset to the next, as variable-length numbers.

/// A place in the dead-letter topic: partition and offset.
pub type Place = (i32, i64);

/// Places per value.
const PER_VALUE: usize = 4096;

/// Packs places, which are in order, into values.
pub fn pack(places: &[Place]) -> Vec<Vec<u8>> {
    places.chunks(PER_VALUE).map(pack_one).collect()
}

fn pack_one(places: &[Place]) -> Vec<u8> {
    let mut value = Vec::with_capacity(places.len() + 16);
    for run in places.chunk_by(|a, b| a.0 == b.0) {
        put(&mut value, run[0].0.unsigned_abs().into());
        put(&mut value, run.len() as u64);
        let mut last = 0;
        for (_, offset) in run {
            put(&mut value, offset.abs_diff(last));
            last = *offset;
        }
    }
    value
}

/// Unpacks one value. A value that is damaged ends where the damage begins.
pub fn unpack(value: &[u8]) -> Vec<Place> {
    let mut left = value;
    let mut places = Vec::new();
    while !left.is_empty() {
        let Some((partition, count)) = take(&mut left).zip(take(&mut left)) else { break };
        let Ok(partition) = i32::try_from(partition) else { break };
        let mut offset: i64 = 0;
        for _ in 0..count {
            let Some(step) = take(&mut left) else { return places };
            offset = offset.saturating_add_unsigned(step);
            places.push((partition, offset));
        }
    }
    places
}

fn put(value: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        value.push(number as u8 | 0x80);
        number >>= 7;
    }
    value.push(number as u8);
}

fn take(left: &mut &[u8]) -> Option<u64> {
    let mut number = 0;
    for shift in (0..64).step_by(7) {
        let (byte, rest) = left.split_first()?;
        *left = rest;
        number |= u64::from(byte & 0x7f) << shift;
        if *byte < 0x80 {
            return Some(number);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn what_is_packed_is_unpacked(places in proptest::collection::btree_set((0..5_i32, 0..i64::MAX / 2), 0..9_000)) {
            let places: Vec<Place> = places.into_iter().collect();
            let values = pack(&places);
            prop_assert_eq!(values.len(), places.len().div_ceil(PER_VALUE));
            prop_assert_eq!(values.iter().flat_map(|value| unpack(value)).collect::<Vec<_>>(), places);
        }

        #[test]
        fn whatever_is_unpacked_ends(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            // A count without steps makes no places.
            prop_assert!(unpack(&bytes).len() <= bytes.len());
        }
    }

    #[test]
    fn neighbours_take_one_byte_each() {
        let places: Vec<Place> = (1_000_000..1_004_096).map(|offset| (3, offset)).collect();
        assert_eq!(pack(&places).iter().map(Vec::len).sum::<usize>(), 4095 + 6);
    }
}
