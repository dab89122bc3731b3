//! The parts of the polling thread, and the steps that join several of them.
//!
//! Each part owns one subject and knows only the parts below it. The methods of [`Poller`] stand in four files, each of
//! which calls only those before it: this one, `dispatch` (commands), `rebalance` (partitions come and go), and `poll`
//! (the loop).

use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender};
use std::time::Instant;

use rdkafka::consumer::BaseConsumer;

use super::begin;
use super::checks::Checks;
use super::client::Client;
use super::command::Command;
use super::commits::Commits;
use super::context::Context;
use super::drains::Drains;
use super::handler::Handler;
use super::marks::Marks;
use super::options::Settings;
use super::partition::Next;
use super::partitions::Partitions;
use super::pauses::Pauses;
use super::show::SnapshotWriter;
use super::snapshot::{ConsumerView, Counts};
use super::start_decision::{Begin, StartDecision};
use super::window::Windows;
use super::work::Work;

pub(super) struct Poller<H: Handler> {
    pub(super) handler: H,
    pub(super) commands: Receiver<Command<H::Work>>,
    pub(super) client: Client<H::Work>,
    pub(super) partitions: Partitions<H::Work>,
    pub(super) drains: Drains,
    pub(super) pauses: Pauses,
    pub(super) windows: Windows,
    pub(super) commits: Commits,
    pub(super) checks: Checks,
    pub(super) snapshots: SnapshotWriter<H::Work>,
}

impl<H: Handler> Poller<H> {
    pub(super) fn new(
        name: &str,
        client: (Arc<BaseConsumer<Context>>, Arc<Marks>),
        settings: Settings,
        handler: H,
        commands: Receiver<Command<H::Work>>,
        sender: Sender<Command<H::Work>>,
        view: Arc<ConsumerView<<H::Work as Work>::Shown>>,
    ) -> Self {
        let now = Instant::now();
        Self {
            handler,
            commands,
            partitions: Partitions::default(),
            drains: Drains::new(settings.drain),
            pauses: Pauses::default(),
            windows: Windows::new(settings.window, now),
            commits: Commits::new(&settings.client, now),
            checks: Checks::new(now),
            snapshots: SnapshotWriter::new(view, now),
            client: Client::new(name, client, settings, sender),
        }
    }

    pub(super) fn start(&mut self, starts: &[(u64, Begin)]) {
        if begin::start(starts, &mut self.partitions, &mut self.client) {
            self.apply_pauses();
        }
    }

    /// Carries out the decision about a partition.
    pub(super) fn judged(&mut self, generation: u64, decision: StartDecision) {
        match decision {
            StartDecision::Start(begin) => self.start(&[(generation, begin)]),
            StartDecision::Park(parked) => {
                if let Some(owned) = self.partitions.get_mut(generation) {
                    begin::park(owned, parked);
                }
            }
        }
        self.changed();
    }

    /// Drains a partition that stays with this member, to take it up again in another way.
    pub(super) fn turn(&mut self, generation: u64, next: Next) {
        self.partitions.turn(generation, next, self.drains.deadline(), &mut self.handler);
    }

    pub(super) fn apply_pauses(&mut self) {
        self.pauses.apply(&mut self.partitions, &self.client, &self.handler);
    }

    /// Stores the frontiers that moved, and drops the partitions that are no longer ours.
    pub(super) fn store(&mut self) {
        for generation in self.commits.store(&mut self.partitions, &mut self.client) {
            self.partitions.forget(generation, &mut self.handler);
        }
    }

    pub(super) fn forget(&mut self, generations: &[u64]) {
        generations.iter().for_each(|generation| self.partitions.forget(*generation, &mut self.handler));
    }

    /// Refreshes the status at once, because something happened.
    pub(super) fn changed(&mut self) {
        let counts = Counts {
            joined: self.client.joined,
            commit_errors: self.commits.errors,
            repeats: self.partitions.repeats,
            drains_expired: self.drains.expired,
            unconfirmed_for: self.commits.unconfirmed_for,
            last_error: self.client.last_error.clone(),
        };
        self.snapshots.write(counts, &mut self.partitions, &self.client);
    }
}
