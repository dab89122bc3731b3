//! Who may read the dead letters: they hold personal data, and outlive the input.

use crate::kafka::access::Readers;
use crate::kafka::topics::AdminError;

/// What the brokers say of the access to a topic: findings that deserve a warning, and a note.
#[derive(Debug, Default)]
pub(super) struct Judged {
    pub warnings: Vec<String>,
    pub note: Option<String>,
}

/// Judges what the brokers say of the dead-letter topic.
pub(super) fn judge(topic: &str, access: Result<(Option<bool>, Readers), AdminError>) -> Judged {
    let mut judged = Judged::default();
    let (may_read, readers) = match access {
        Ok(access) => access,
        Err(error) => {
            judged.warnings.push(format!("kafka.dead_letter: who may read {topic} is not known: {error}"));
            return judged;
        }
    };
    if may_read == Some(false) {
        judged.warnings.push(format!(
            "kafka.dead_letter: this user may not read {topic}, so that dead letters are written, and neither listed nor \
             replayed: kafka-acls.sh --add --allow-principal User:… --operation Read --topic {topic}"
        ));
    }
    judged.note = Some(match readers {
        Readers::Everybody => {
            format!("the brokers check no rights: whoever reaches them may read {topic}, which holds personal data")
        }
        Readers::Untold => format!("the brokers do not tell this user who may read {topic}"),
        Readers::Named(names) if names.is_empty() => format!("{topic} is read by no user but those above the rules"),
        Readers::Named(names) => {
            if names.iter().any(|name| name == "User:*") {
                judged.warnings.push(format!(
                    "kafka.dead_letter: every user may read {topic}, which holds personal data: let only those read it who \
                     answer for dead letters (kafka-acls.sh --remove --allow-principal 'User:*' --operation Read …)"
                ));
            }
            format!("{topic} may be read by {}", names.join(", "))
        }
    });
    judged
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judged(may_read: Option<bool>, readers: Readers) -> (Vec<String>, String) {
        let judged = judge("postback.dlt", Ok((may_read, readers)));
        (judged.warnings, judged.note.unwrap())
    }

    #[test]
    fn who_may_read_is_said_and_warned_of_where_it_is_everybody_or_not_the_worker() {
        let names = |names: &[&str]| Readers::Named(names.iter().map(|name| (*name).to_owned()).collect());
        let (warnings, summary) = judged(Some(true), names(&["User:ops", "User:postback"]));
        assert!(warnings.is_empty() && summary.contains("may be read by User:ops, User:postback"), "{summary}");
        let (warnings, _) = judged(Some(true), names(&["User:*"]));
        assert!(warnings.len() == 1 && warnings[0].contains("every user may read postback.dlt"), "{warnings:?}");
        let (warnings, _) = judged(Some(false), names(&[]));
        assert!(warnings.len() == 1 && warnings[0].contains("--operation Read --topic postback.dlt"), "{warnings:?}");
        let (warnings, summary) = judged(Some(true), Readers::Everybody);
        assert!(warnings.is_empty() && summary.contains("check no rights"), "{summary}");
        let (warnings, summary) = judged(None, Readers::Untold);
        assert!(warnings.is_empty() && summary.contains("do not tell"), "{summary}");
    }

    #[test]
    fn brokers_that_do_not_answer_are_a_warning() {
        let judged = judge("postback.dlt", Err(AdminError::NoAnswer("timed out".into())));
        assert!(judged.warnings[0].contains("is not known: no answer from Kafka: timed out"), "{judged:?}");
        assert_eq!(judged.note, None);
    }
}
