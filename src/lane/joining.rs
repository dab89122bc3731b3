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
    doors: RefCell<Vec<Rc<Door>>>,
    left: RefCell<VecDeque<AttemptedDelivery>>,
    turn: Notify,
}

/// Where arrivals join a batch.
pub(super) struct Door {
    route: Option<Box<str>>,
    callback: Option<CallbackHost>,
    /// How much more the batch takes. While its request is in flight it takes nothing.
    room: Cell<BatchLimits>,
    arrived: RefCell<Vec<HandedOut>>,
    bell: Notify,
}

/// What the records of one request have in common: the platform's route, and the callback host.
type Route<'a> = (Option<&'a str>, Option<&'a CallbackHost>);

/// The route of a record, and the bytes that it adds to a request.
pub(super) fn load(delivery: &Delivery) -> (Route<'_>, usize) {
    match &delivery.subject {
        Subject::Ready(ready) => {
            let prepared = &ready.prepared;
            ((prepared.route.as_deref(), prepared.callback.as_ref()), prepared.bytes())
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
        Self { limits, doors: RefCell::default(), left: RefCell::default(), turn: Notify::new() }
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
        let door = Door { room: Cell::new(room), ..Door::of(route) };
        door.arrived.borrow_mut().push(first);
        while door.takes(|fits| queues.next_of(fits)) {}
        door.arrived.take()
    }

    /// Lets waiting records, at most `most`, join the batches that wait for their slot, in order. Returns how many
    /// joined. A record that fits to no batch waits for a permit, and no later record overtakes it: otherwise batches
    /// that are joined again and again would keep their permits for ever.
    pub(super) fn join(&self, queues: &mut Queues, most: usize, joins: impl Fn(&Delivery)) -> usize {
        let doors = self.doors.borrow();
        let mut joined = 0;
        while joined < most
            && let Some(door) = doors.iter().find(|door| door.takes(|fits| queues.next_if(fits)))
        {
            joined += 1;
            if let Some((delivery, _)) = door.arrived.borrow().last() {
                joins(delivery);
            }
            door.bell.notify_one();
        }
        joined
    }

    /// Adds a door for a batch of this route. It is closed at first.
    pub(super) fn door(&self, route: Route<'_>) -> Rc<Door> {
        let door = Rc::new(Door::of(route));
        self.doors.borrow_mut().push(door.clone());
        door
    }

    /// Removes the door of a batch that has ended.
    pub(super) fn remove(&self, door: &Rc<Door>) {
        self.doors.borrow_mut().retain(|other| !Rc::ptr_eq(other, door));
    }

    /// Sets how much more a batch takes.
    pub(super) fn set_room(&self, door: &Door, items: usize, bytes: usize) {
        let room = self.limits().less(items, bytes);
        if door.room.replace(room) != room && room.items > 0 {
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
        !self.doors.borrow().is_empty() || !self.left.borrow().is_empty()
    }

    /// Waits until a record has left its batch, or until more records may join.
    pub(super) async fn turn(&self) {
        self.turn.notified().await;
    }
}

impl Door {
    fn of((route, callback): Route<'_>) -> Self {
        Self {
            route: route.map(Into::into),
            callback: callback.cloned(),
            room: Cell::new(CLOSED),
            arrived: RefCell::default(),
            bell: Notify::new(),
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

    /// Closes the door: no record joins while the request is in flight.
    pub(super) fn close(&self) {
        self.room.set(CLOSED);
    }

    /// Waits until a record has arrived.
    pub(super) async fn bell(&self) {
        self.bell.notified().await;
    }
}
