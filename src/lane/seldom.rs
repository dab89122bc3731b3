//! A wait that is part of a task and seldom ends: it is polled only when it has woken the task, not whenever anything
//! else has.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::{Acquire, Release};
use std::task::{Context, Poll, Wake, Waker};

use futures_util::task::AtomicWaker;

/// Remembers whether the wait has to be polled.
pub(super) struct Seldom {
    woken: Arc<Woken>,
    waker: Waker,
}

struct Woken {
    is_due: AtomicBool,
    task: AtomicWaker,
}

impl Seldom {
    /// A wait that was not polled yet.
    pub(super) fn new() -> Self {
        let woken = Arc::new(Woken { is_due: AtomicBool::new(true), task: AtomicWaker::new() });
        Self { waker: woken.clone().into(), woken }
    }

    /// Polls the wait if it was never polled, was ready the last time, or has woken the task since.
    pub(super) fn poll<T>(&self, cx: &Context<'_>, poll: impl FnOnce(&mut Context<'_>) -> Poll<T>) -> Poll<T> {
        // Before the look at what is due, so that no wake-up in between is missed.
        self.woken.task.register(cx.waker());
        if !self.woken.is_due.load(Acquire) {
            return Poll::Pending;
        }
        // Before the poll, for the same reason.
        self.woken.is_due.store(false, Release);
        let polled = poll(&mut Context::from_waker(&self.waker));
        if polled.is_ready() {
            self.woken.is_due.store(true, Release);
        }
        polled
    }
}

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.is_due.store(true, Release);
        self.task.wake();
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::future::poll_fn;
    use std::sync::atomic::AtomicUsize;
    use std::sync::atomic::Ordering::SeqCst;
    use std::time::Duration;

    use futures_util::task::noop_waker_ref;
    use tokio::sync::mpsc::unbounded_channel;
    use tokio::time::timeout;

    use super::*;

    const NOTHING: Poll<()> = Poll::Pending;

    #[test]
    fn it_is_polled_at_first_after_it_was_ready_and_after_it_has_woken_the_task() {
        let (seldom, polls) = (Seldom::new(), Cell::new(0));
        let cx = Context::from_waker(noop_waker_ref());
        let kept = Cell::new(None);
        let poll = |answer: Poll<()>| {
            let polled = seldom.poll(&cx, |cx| {
                polls.set(polls.get() + 1);
                kept.set(Some(cx.waker().clone()));
                answer
            });
            (polled, polls.get())
        };
        assert_eq!(poll(Poll::Ready(())), (Poll::Ready(()), 1));
        assert_eq!(poll(NOTHING), (NOTHING, 2), "what was ready may be so again");
        assert_eq!(poll(Poll::Ready(())), (NOTHING, 2), "something else has woken the task");
        kept.take().unwrap().wake();
        assert_eq!(poll(Poll::Ready(())), (Poll::Ready(()), 3));
    }

    #[test]
    fn a_wake_up_during_its_poll_is_not_missed() {
        let (seldom, cx) = (Seldom::new(), Context::from_waker(noop_waker_ref()));
        let polled = seldom.poll(&cx, |cx| {
            cx.waker().wake_by_ref();
            NOTHING
        });
        assert_eq!((polled, seldom.poll(&cx, |_| Poll::Ready(()))), (NOTHING, Poll::Ready(())));
    }

    /// Counts how often it is woken, and how often the wait had to be polled then.
    struct Task {
        seldom: Arc<Seldom>,
        woken: AtomicUsize,
        due: AtomicUsize,
    }

    impl Task {
        fn of(seldom: &Arc<Seldom>) -> Arc<Self> {
            Arc::new(Self { seldom: seldom.clone(), woken: AtomicUsize::new(0), due: AtomicUsize::new(0) })
        }

        fn counts(&self) -> (usize, usize) {
            (self.woken.load(SeqCst), self.due.load(SeqCst))
        }
    }

    impl Wake for Task {
        fn wake(self: Arc<Self>) {
            self.woken.fetch_add(1, SeqCst);
            let _ = self.seldom.poll(&Context::from_waker(noop_waker_ref()), |_| {
                self.due.fetch_add(1, SeqCst);
                NOTHING
            });
        }
    }

    #[test]
    fn whoever_polled_last_is_woken_and_then_finds_that_the_wait_has_to_be_polled() {
        let seldom = Arc::new(Seldom::new());
        let (first, last) = (Task::of(&seldom), Task::of(&seldom));
        let kept = Cell::new(None);
        let _ = seldom.poll(&Context::from_waker(&first.clone().into()), |cx| {
            kept.set(Some(cx.waker().clone()));
            NOTHING
        });
        // Nothing is due here.
        let _ = seldom.poll(&Context::from_waker(&last.clone().into()), |_| NOTHING);
        kept.take().unwrap().wake();
        assert_eq!((first.counts(), last.counts()), ((0, 0), (1, 1)));
    }

    #[tokio::test]
    async fn no_message_of_another_thread_is_missed() {
        let ((sender, mut inbox), (answers, answered)) = (unbounded_channel(), std::sync::mpsc::channel());
        let thread = std::thread::spawn(move || {
            for n in 0..20_000 {
                sender.send(n).unwrap();
                answered.recv().unwrap();
            }
        });
        let seldom = Seldom::new();
        let all = async {
            for n in 0..20_000 {
                assert_eq!(poll_fn(|cx| seldom.poll(cx, |cx| inbox.poll_recv(cx))).await, Some(n));
                answers.send(()).unwrap();
            }
        };
        timeout(Duration::from_secs(60), all).await.expect("a message woke nobody");
        thread.join().unwrap();
    }
}
