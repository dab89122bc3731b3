//! What the loop asks the broker from time to time, each question outside the polling thread, and how the answers
//! about positions depend on each other.

use std::time::Instant;

use super::client::Client;
use super::commits::Commits;
use super::ends::Ends;
use super::known_ids::KnownIds;
use super::partition::Next;
use super::partitions::Partitions;
use super::start_decision::{Probed, Surveyed};
use super::surveys::Surveys;
use super::work::Work;

pub(super) struct Checks {
    pub(super) surveys: Surveys,
    pub(super) ends: Ends,
    pub(super) ids: KnownIds,
}

impl Checks {
    pub(super) fn new(now: Instant) -> Self {
        Self { surveys: Surveys::new(now), ends: Ends::new(now), ids: KnownIds::new(now) }
    }

    /// Asks what is due.
    pub(super) fn ask<W: Work>(&mut self, now: Instant, partitions: &mut Partitions<W>, client: &Client<W>) {
        self.surveys.ask(now, partitions, client);
        self.ids.ask(now, partitions, client);
        self.ends.look(now, partitions, client);
    }

    /// Returns the partitions that have to be drained, and how each continues.
    pub(super) fn surveyed<W: Work>(
        &mut self,
        surveyed: Vec<Surveyed>,
        partitions: &mut Partitions<W>,
        commits: &mut Commits,
        client: &mut Client<W>,
    ) -> Vec<(u64, Next)> {
        let found = self.surveys.answered(surveyed, partitions, commits, client);
        // While another probe runs, the suspicion stays.
        self.surveys.suspicious |= !self.ends.doubt(&found.doubted, partitions, client);
        found.turns
    }

    /// Returns the partitions that have to be drained, and how each continues.
    pub(super) fn probed<W>(&mut self, probed: Vec<Probed>, partitions: &mut Partitions<W>) -> Vec<(u64, Next)> {
        let found = self.ends.answered(probed, partitions);
        self.surveys.suspicious |= found.suspicious;
        found.turns
    }

    /// A new client takes the place of the one that the questions were about.
    pub(super) fn renewed(&mut self) {
        self.surveys.renewed();
        self.ends.renewed();
        self.ids.renewed();
    }
}
