//! What a dead letter would come to today, by the same judgement as `preview` (pure).

use serde_json::{Map, Value, json};

use crate::envelope::own_headers;
use crate::inspect::dead_letters::dead_letter::DeadLetter;
use crate::inspect::preview::{Preview, Previewer};
use crate::kafka::record::Record;
use crate::redact::{mask_fields, mask_text};

/// What the event of a dead letter would come to today.
pub enum Today {
    Preview(Preview),
    /// The worker had to leave out a part of the record, so the value is not the event any more; the text says what is
    /// missing.
    Truncated(String),
}

impl Today {
    /// Judges the value of a dead letter, as a replay would publish it.
    pub fn of(record: &Record, previewer: &Previewer, now_ms: i64) -> Self {
        let producer = &record.headers[..record.headers.len() - own_headers(record).len()];
        match DeadLetter::read(record).text("truncated") {
            Some(cut) => Today::Truncated(truncated(cut)),
            None => Today::Preview(previewer.look(record.value.as_deref(), producer.to_vec(), now_ms)),
        }
    }

    /// The same as JSON, with personal data and secrets masked.
    pub fn json(&self) -> Value {
        match self {
            Today::Truncated(why) => json!({"accepted": false, "detail": why}),
            Today::Preview(Preview::Halted(why)) => json!({"accepted": false, "detail": why}),
            Today::Preview(Preview::Refused(refused)) => serde_json::to_value(refused).unwrap_or_default(),
            Today::Preview(Preview::Accepted(accepted)) => {
                let mut object = accepted.json(false);
                if let Some(request) = object["request"].as_object_mut() {
                    mask_request(request);
                }
                object
            }
        }
    }
}

/// Masks the request that the event would cause. A masked request has no exact bytes.
fn mask_request(request: &mut Map<String, Value>) {
    request.remove("body_base64");
    request.remove("signature_input");
    for name in ["url", "body"] {
        if let Some(Value::String(text)) = request.get_mut(name) {
            *text = mask_fields(text);
        }
    }
}

/// Explains what is missing. `cut` is the header `pb-truncated`.
fn truncated(cut: &str) -> String {
    let bytes = cut.split(' ').next().unwrap_or_default();
    let more = match (cut.contains(" headers="), cut.contains(" key=")) {
        (false, false) => "",
        (true, false) => ", the producer's headers were left out",
        (false, true) => ", as of its key",
        (true, true) => ", as of its key, the producer's headers were left out",
    };
    format!(
        "none: the broker refused the event by its size ({} bytes), and only its SHA-256 was kept{more}; its original \
         stands at pb-origin-* while that topic keeps it",
        mask_text(bytes)
    )
}
