//! Whether the gray release of an account sends an event, or keeps it back in the remainder.

use crate::delivery::{Delivery, Subject};
use crate::lane::handle::LaneHandle;

impl LaneHandle {
    /// Whether the event does not belong to the share of its account that is sent. It is judged anew each time, because
    /// the share may change.
    ///
    /// What was sent once goes on, whatever the share is: a smaller share is about new events. So does a call that
    /// waits for another account, which was judged before, what the redelivery loop takes out of the remainder, and
    /// what an operator replayed: a replay is deliberate, and its run waits for the ends of its events.
    pub fn holds_back(&self, delivery: &Delivery) -> bool {
        let share = self.account().rollout;
        let envelope = &delivery.envelope;
        if share.is_all() || envelope.first_attempt_ms.is_some() || envelope.alternate > 0 || delivery.is_replayed() {
            return false;
        }
        let Subject::Ready(ready) = &delivery.subject else { return false };
        !delivery.is_of_remainder() && !share.takes(&ready.trans_id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::account::rollout::{Share, place};
    use crate::delivery::TopicKind;
    use crate::envelope::Replay;
    use crate::stub::bench::Alone;

    fn lane(hundredths: u16) -> Alone {
        Alone::new(|setting| setting.account.rollout = Share::of_hundredths(hundredths))
    }

    /// Whether an event is kept back, after this change to it.
    fn is_kept(alone: &Alone, topic_kind: TopicKind, trans_id: &str, edit: impl FnOnce(&mut Delivery)) -> bool {
        let (mut delivery, _) = alone.delivery(topic_kind, trans_id);
        delivery.ack.assignment().set_gone();
        edit(&mut delivery);
        alone.handle.holds_back(&delivery)
    }

    #[test]
    fn a_small_share_keeps_back_what_was_never_sent_wherever_it_comes_from() {
        assert_eq!((place("order-2"), place("order-1")), (3_110, 6_065));
        let alone = lane(5_000);
        for topic_kind in [TopicKind::Input, TopicKind::Tier, TopicKind::Parked] {
            assert!(is_kept(&alone, topic_kind, "order-1", |_| {}), "{topic_kind:?}");
            assert!(!is_kept(&alone, topic_kind, "order-2", |_| {}), "{topic_kind:?}");
            assert!(
                !is_kept(&alone, topic_kind, "order-1", |delivery| delivery.envelope.first_attempt_ms = Some(1)),
                "{topic_kind:?}: it was sent once"
            );
        }
        assert!(!is_kept(&alone, TopicKind::Input, "order-1", |delivery| delivery.envelope.alternate = 1));
        let replay = || Replay { id: "r".into(), replays: 1, force: false };
        assert!(!is_kept(&alone, TopicKind::Input, "order-1", |delivery| delivery.envelope.replay = Some(replay())));
    }

    #[test]
    fn a_record_of_the_remainder_is_not_judged_again() {
        let of_remainder = |delivery: &mut Delivery| delivery.record.topic = "postback.parked.acme.rollout".into();
        assert!(!is_kept(&lane(0), TopicKind::Parked, "order-1", of_remainder));
        assert!(is_kept(&lane(0), TopicKind::Input, "order-1", of_remainder), "an input of that name is none");
    }

    #[test]
    fn nothing_is_sent_at_a_share_of_none_and_nothing_is_kept_at_all_of_it() {
        for (hundredths, kept) in [(0, true), (10_000, false)] {
            assert_eq!(is_kept(&lane(hundredths), TopicKind::Input, "order-2", |_| {}), kept, "{hundredths}");
        }
    }
}
