//! Explains a reason to people, and says what to do about it.

use crate::error::Reason;

pub fn meaning(reason: Reason) -> &'static str {
    match reason {
        Reason::Malformed => "no event could be built from the bytes",
        Reason::Invalid => "the event breaks a rule of its envelope or of its platform",
        Reason::UnmappedEvent => "the platform, or the account's product line, has no code for this kind of event",
        Reason::UnknownAccount => "its platform or account is not configured, does not fit, or is disabled",
        Reason::Conflict => "the same trans_id was seen before with another order, amount, refund or currency",
        Reason::Rejected => "the platform refused it for good",
        Reason::Expired => "it is too late for it: too old, past its deadline, its natural day or its time of retrying",
        Reason::AttemptsExhausted => {
            "every allowed attempt failed, or no topic took the copy that was to be tried again"
        }
        Reason::UnknownOutcome => "it may have been accepted: an answer never came, and nothing will tell",
        Reason::Quarantined => "a header has a name that cannot be read; key, value and the other headers are kept",
    }
}

/// Says what to do about it.
pub fn advice(reason: Reason) -> &'static str {
    match reason {
        Reason::Malformed => {
            "Mend the producer and let it publish the event anew. These bytes can never be an event, so they are never \
             replayed."
        }
        Reason::Invalid => {
            "Where the event is wrong, mend the field at the producer and publish it anew under the same trans_id: \
             nothing was sent. Where the account's settings are wrong, mend them (`postback preview` shows the effect) \
             and replay."
        }
        Reason::UnmappedEvent => {
            "Map the event in accounts.NAME.map, or let the producer name the platform's own code in platform_event; \
             then replay. Check data_industry where the code belongs to another product line."
        }
        Reason::UnknownAccount => {
            "Configure or enable the account, or correct platform and account at the producer; then replay."
        }
        Reason::Conflict => {
            "Find out at the producer which of the two amounts is right. The first one stands at the platform; a \
             correction needs a trans_id of its own. It is never replayed."
        }
        Reason::Rejected => {
            "Read pb-last-code in the platform's documentation, mend the event or the account, and replay: its claim \
             is released."
        }
        Reason::Expired => {
            "Find out what held it back (`postback blocked`, a paused or halted account, a late producer). A replay is \
             refused while the reason still holds."
        }
        Reason::AttemptsExhausted => {
            "The platform failed or was unreachable all the time: pb-last-status and pb-last-code say how. Replay once \
             it works again. Where pb-detail names a topic that refuses the copy by size, raise its max.message.bytes \
             first."
        }
        Reason::UnknownOutcome => {
            "Look it up at the platform by its order or trans_id. Replay with --force only where it did not arrive: \
             the money could count twice."
        }
        Reason::Quarantined => {
            "Mend the producer's header names (UTF-8). The copy in the dead letters has lost the unreadable headers \
             alone, and can be replayed."
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_reason_has_words_of_its_own() {
        for texts in [Reason::ALL.map(meaning), Reason::ALL.map(advice)] {
            let distinct: std::collections::HashSet<&str> = texts.into_iter().filter(|t| t.len() > 20).collect();
            assert_eq!(distinct.len(), Reason::ALL.len());
        }
    }
}
