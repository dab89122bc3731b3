//! Finds the states of a few dead letters without a search.

use super::audit::Audit;
use super::shared::{Source, reader};
use super::states::States;
use crate::inspect::dead_letters::dead_letter::DeadLetter;
use crate::inspect::dead_letters::index::{Discard, Index};
use crate::inspect::dead_letters::state::State;
use crate::kafka::reader::Fetch;

/// The states of these dead letters, in their order. It blocks: call it on a plain thread.
///
/// # Errors
/// Redis or Kafka does not answer; the text is safe.
pub fn states(source: &Source, letters: &[DeadLetter]) -> Result<Vec<State>, String> {
    let mut index = index_of(letters.iter().collect());
    let id = reader(&source.kafka, Fetch::Records).and_then(|reader| reader.topic_id()).map_err(|e| e.to_string())?;
    let read = States::new(source).read(id, &index.chunks())?;
    let mut audit = Audit::new();
    audit.take(&read.waiting);
    audit.read(&source.kafka).map_err(|error| error.to_string())?;
    read.bitmaps.iter().for_each(|((partition, chunk), bits)| index.set_replayed(*partition, *chunk, bits));
    index.set_discards(audit.log().in_force(&read.topic));
    let state = |letter: &DeadLetter| {
        index.find(letter.partition, letter.offset).map_or(State::Open, |row| index.row(row).state)
    };
    Ok(letters.iter().map(state).collect())
}

/// Which of these dead letters the discards cover, as far as they were not replayed.
pub fn covered(letters: &[&DeadLetter], discards: Vec<Discard>) -> Vec<bool> {
    if discards.is_empty() {
        return vec![false; letters.len()];
    }
    let mut index = index_of(letters.to_vec());
    index.set_discards(discards);
    let is_covered = |letter: &&DeadLetter| {
        let row = index.find(letter.partition, letter.offset);
        row.is_some_and(|row| index.row(row).state == State::Discarded)
    };
    letters.iter().map(is_covered).collect()
}

/// An index of these dead letters alone.
fn index_of(mut letters: Vec<&DeadLetter>) -> Index {
    let mut index = Index::default();
    letters.sort_unstable_by_key(|letter| (letter.partition, letter.offset));
    for letter in letters {
        index.begin(letter.partition, 0);
        index.newer(letter.partition, letter.offset + 1, std::slice::from_ref(letter));
    }
    index
}
