//! The batches of a lane, as the lane's task sees them: arrivals join a batch that waits for its slot, and a record
//! that leaves its batch is settled alone.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::rc::Rc;

use tokio::sync::Notify;

use crate::delivery::{Delivery, Subject};
use crate::lane::attempted::AttemptedDelivery;
use crate::lane::queue::{HandedOut, Queues};
use crate::platforms::CallbackHost;
use crate::platforms::reading::BatchLimits;

const CLOSED: BatchLimits = BatchLimits { items: 0, bytes: 0 };

/// A lane's batches.
pub(super) struct Batches {
    /// How much one batch may hold.
    limits: Cell<BatchLimits>,
    open: RefCell<Vec<Rc<OpenBatch>>>,
    left: RefCell<VecDeque<AttemptedDelivery>>,
    turn: Notify,
}

/// A batch that records may join.
pub(super) struct OpenBatch {
    route: Option<Box<str>>,
    callback: Option<CallbackHost>,
    /// How much more the batch takes. While its request is in flight it takes nothing.
    room: Cell<BatchLimits>,
    arrived: RefCell<Vec<HandedOut>>,
    arrival: Notify,
}

/// What the records of one request have in common: the platform's route, and the callback host.
type Route<'a> = (Option<&'a str>, Option<&'a CallbackHost>);

/// The route of a record, and the bytes that it adds to a request.
pub(super) fn load(delivery: &Delivery) -> (Route<'_>, usize) {
    match &delivery.subject {
        Subject::Ready(ready) => {
            let prepared = &ready.prepared;
            ((prepared.route.as_deref(), prepared.callback.as_deref()), prepared.bytes())
        }
        Subject::Ended(_) => ((None, None), 0),
    }
}

fn at_least_one(limits: BatchLimits) -> BatchLimits {
    BatchLimits { items: limits.items.max(1), ..limits }
}

impl Batches {
    pub(super) fn new(limits: BatchLimits) -> Self {
        let limits = Cell::new(at_least_one(limits));
        Self { limits, open: RefCell::default(), left: RefCell::default(), turn: Notify::new() }
    }

    /// How much one batch may hold.
    pub(super) fn limits(&self) -> BatchLimits {
        self.limits.get()
    }

    /// Sets how much the next batches may hold.
    pub(super) fn set_limits(&self, limits: BatchLimits) {
        self.limits.set(at_least_one(limits));
    }

    /// The records that get a permit together, at most `most`: the next one, and those that fit to it, in the order in
    /// which they wait.
    pub(super) fn next(&self, queues: &mut Queues, most: usize) -> Vec<HandedOut> {
        let Some(first) = queues.next() else { return Vec::new() };
        let (route, bytes) = load(&first.0);
        let room = BatchLimits { items: self.limits().items.min(most), ..self.limits() }.less(1, bytes);
        let batch = OpenBatch { room: Cell::new(room), ..OpenBatch::of(route) };
        batch.arrived.borrow_mut().push(first);
        while batch.takes(|fits| queues.next_of(fits)) {}
        batch.arrived.take()
    }

    /// Lets waiting records, at most `most`, join the batches that wait for their slot, in order. Returns how many
    /// joined. A record that fits to no batch waits for a permit, and no later record overtakes it: otherwise batches
    /// that are joined again and again would keep their permits for ever.
    pub(super) fn join(&self, queues: &mut Queues, most: usize, joins: impl Fn(&Delivery)) -> usize {
        let open = self.open.borrow();
        let mut joined = 0;
        while joined < most
            && let Some(batch) = open.iter().find(|batch| batch.takes(|fits| queues.next_if(fits)))
        {
            joined += 1;
            if let Some((delivery, _)) = batch.arrived.borrow().last() {
                joins(delivery);
            }
            batch.arrival.notify_one();
        }
        joined
    }

    /// Adds a batch of this route. At first it takes no further record.
    pub(super) fn open(&self, route: Route<'_>) -> Rc<OpenBatch> {
        let batch = Rc::new(OpenBatch::of(route));
        self.open.borrow_mut().push(batch.clone());
        batch
    }

    /// Removes a batch that has ended.
    pub(super) fn remove(&self, batch: &Rc<OpenBatch>) {
        self.open.borrow_mut().retain(|other| !Rc::ptr_eq(other, batch));
    }

    /// Sets how much more a batch takes.
    pub(super) fn set_room(&self, batch: &OpenBatch, items: usize, bytes: usize) {
        let room = self.limits().less(items, bytes);
        if batch.room.replace(room) != room && room.items > 0 {
            self.turn.notify_one();
        }
    }

    /// Lets a record leave its batch, to be settled alone.
    pub(super) fn leave(&self, attempted: AttemptedDelivery) {
        self.left.borrow_mut().push_back(attempted);
        self.turn.notify_one();
    }

    /// The next record that has left its batch.
    pub(super) fn next_left(&self) -> Option<AttemptedDelivery> {
        self.left.borrow_mut().pop_front()
    }

    /// Whether there are batches, or records that have left one.
    pub(super) fn are_used(&self) -> bool {
        !self.open.borrow().is_empty() || !self.left.borrow().is_empty()
    }

    /// Waits until a record has left its batch, or until more records may join.
    pub(super) async fn turn(&self) {
        self.turn.notified().await;
    }
}

impl OpenBatch {
    fn of((route, callback): Route<'_>) -> Self {
        Self {
            route: route.map(Into::into),
            callback: callback.cloned(),
            room: Cell::new(CLOSED),
            arrived: RefCell::default(),
            arrival: Notify::new(),
        }
    }

    fn takes(&self, next: impl FnOnce(&dyn Fn(&Delivery) -> bool) -> Option<HandedOut>) -> bool {
        let room = self.room.get();
        if room.items == 0 {
            return false;
        }
        let fits = |delivery: &Delivery| {
            let (route, bytes) = load(delivery);
            route == (self.route.as_deref(), self.callback.as_ref()) && bytes <= room.bytes
        };
        let Some(next) = next(&fits) else { return false };
        self.room.set(room.less(1, load(&next.0).1));
        self.arrived.borrow_mut().push(next);
        true
    }

    /// Takes the records that have arrived.
    pub(super) fn arrivals(&self) -> Vec<HandedOut> {
        self.arrived.take()
    }

    /// Lets no record join while the request is in flight.
    pub(super) fn close(&self) {
        self.room.set(CLOSED);
    }

    /// Waits until a record has arrived.
    pub(super) async fn arrival(&self) {
        self.arrival.notified().await;
    }
}
