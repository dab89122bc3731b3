//! Why a dead letter is not published again: the closed list, in words.

macro_rules! causes {
    ($(#[$doc:meta])* $kind:ident { $($name:ident = $text:literal, $meaning:literal;)+ }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
        pub enum $kind {
            $($name,)+
        }

        impl $kind {
            pub const ALL: &[$kind] = &[$($kind::$name,)+];

            /// The name in counts.
            pub const fn as_str(self) -> &'static str {
                match self {
                    $($kind::$name => $text,)+
                }
            }

            /// What it means, and what to do about it.
            pub const fn meaning(self) -> &'static str {
                match self {
                    $($kind::$name => $meaning,)+
                }
            }
        }
    };
}

causes! {
    /// Why a dead letter is skipped.
    Skip {
        Conflict = "conflict", "another event of the same trans_id was confirmed: correct it at the producer, under a trans_id of its own";
        Malformed = "malformed", "no event can be built from the bytes: let the producer publish it anew";
        Truncated = "truncated", "only a hash of the record is left: let the producer publish it anew";
        Replayed = "replayed", "another replay has published it";
        Discarded = "discarded", "an operator marked it as done with";
        Confirmed = "confirmed", "it has been delivered since";
        ThreeReplays = "three_replays", "it was replayed three times already: find the cause, then --force";
        PastWindow = "past_window", "a delivery of it would not be remembered any more (dedupe.window, or Redis lost its claims): look it up at the platform, then --force";
        UnknownOutcome = "unknown_outcome", "the platform may have accepted it: look it up there, then --force if it did not arrive";
        NaturalDay = "natural_day", "the natural day in which it may be repeated is over: the platform may count it again; --force if it did not arrive";
        Predicted = "predicted", "it would be refused again with the present configuration: correct what the prediction names, or --force";
    }
}

causes! {
    /// Why a dead letter could not be published.
    Failure {
        Gone = "gone", "retention has deleted it";
        NoOrigin = "no_origin", "no worker wrote it, so that its origin is not known";
        NoInput = "no_input", "its origin topic is not in kafka.input any more";
        TooLarge = "too_large", "its origin topic refuses it by size: raise max.message.bytes";
        Refused = "refused", "Kafka refuses to write to its origin topic: see the worker's log";
    }
}

impl Skip {
    /// Whether `--force` overrules it.
    pub const fn may_be_forced(self) -> bool {
        matches!(
            self,
            Skip::ThreeReplays | Skip::PastWindow | Skip::UnknownOutcome | Skip::NaturalDay | Skip::Predicted
        )
    }
}

/// What a cause means, by its name in counts.
pub fn meaning(name: &str) -> Option<&'static str> {
    let skip = Skip::ALL.iter().find(|cause| cause.as_str() == name).map(|cause| cause.meaning());
    skip.or_else(|| Failure::ALL.iter().find(|cause| cause.as_str() == name).map(|cause| cause.meaning()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_cause_has_a_name_and_words_of_its_own() {
        let names: Vec<&str> =
            Skip::ALL.iter().map(|c| c.as_str()).chain(Failure::ALL.iter().map(|c| c.as_str())).collect();
        let distinct: std::collections::BTreeSet<&str> = names.iter().copied().collect();
        assert_eq!(distinct.len(), names.len());
        let meanings: std::collections::BTreeSet<_> = names.iter().map(|name| meaning(name).unwrap()).collect();
        assert_eq!(meanings.len(), names.len());
        assert_eq!(meaning("teleported"), None);
    }

    #[test]
    fn what_is_lost_or_confirmed_is_never_forced() {
        let forced: Vec<&str> =
            Skip::ALL.iter().filter(|cause| cause.may_be_forced()).map(|cause| cause.as_str()).collect();
        assert_eq!(forced, ["three_replays", "past_window", "unknown_outcome", "natural_day", "predicted"]);
    }
}
