//! Results of calls on their way to Kafka: acknowledged by all replicas before the claim is confirmed and before the
//! offset of the call passes.

use crate::delivery::{Delivery, ReplyTo, Subject};
use crate::envelope::Copy;
use crate::error::{DeliveryError, Reason};
use crate::kafka::producer::PublishError;
use crate::kafka::record::Header;
use crate::settle::outbox::publish::Pause;
use crate::settle::outbox::{Outbox, Unwritten};
use crate::settle::result::{LONGEST_NAME, Part, Written, answered, failed, suppressed};

/// How a result is written. Each further form is for a topic that refuses the one before by size.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    Whole,
    /// Without data and long texts.
    Brief,
    /// The same, with the trans_id for a key, and without both where the trans_id is long.
    Bare,
}

impl Outbox {
    /// Publishes what a platform answered, until all replicas have it. The platform did what was asked, so this happens
    /// although the partition has gone to another member.
    pub(crate) async fn publish_answer(&self, delivery: &Delivery, part: Part) {
        let Subject::Ready(ready) = &delivery.subject else { return };
        let Some(call) = &ready.call else { return };
        let written = answered(ready, call, part);
        let _ = self.publish_result(delivery, &call.reply, &written, || false).await;
    }

    /// Publishes why a call ends as a dead letter. Of what is no call nothing is published.
    pub(super) async fn publish_failure(
        &self,
        delivery: &Delivery,
        reason: Reason,
        error: &DeliveryError,
    ) -> Result<(), Unwritten> {
        self.publish_end(delivery, failed(delivery, reason, error)).await
    }

    /// Publishes that a call was not made, because its person has opted out. Of what is no call nothing is published.
    pub(super) async fn publish_suppressed(&self, delivery: &Delivery) -> Result<(), Unwritten> {
        self.publish_end(delivery, suppressed(delivery)).await
    }

    async fn publish_end(&self, delivery: &Delivery, end: Option<(ReplyTo, Written<'_>)>) -> Result<(), Unwritten> {
        let Some((reply, written)) = end else { return Ok(()) };
        self.publish_result(delivery, &reply, &written, || delivery.ack.assignment().is_gone()).await
    }

    /// Publishes a result until all replicas have it, or `is_over`. It gives up only if the topic refuses even the last
    /// form by size, because every record has to end.
    async fn publish_result(
        &self,
        delivery: &Delivery,
        reply: &ReplyTo,
        written: &Written<'_>,
        is_over: impl Fn() -> bool,
    ) -> Result<(), Unwritten> {
        let topic = &*reply.topic;
        let mut pause = Pause::new(&self.context.refusals);
        for form in [Form::Whole, Form::Brief, Form::Bare] {
            loop {
                if is_over() {
                    return Err(Unwritten::Gone);
                }
                match self.write_result(delivery, reply, written, form).await {
                    Ok(()) => return Ok(()),
                    Err(PublishError::TooLarge) => break,
                    Err(error) => pause.after(&error, topic).await,
                }
            }
            if let Some(not_logged) = self.refused_by_size(topic) {
                tracing::error!(
                    topic,
                    bytes = written.whole.len(),
                    not_logged,
                    "the broker refuses a result by size: {}; raise max.message.bytes of the topic",
                    match form {
                        Form::Whole => "its data is left out",
                        Form::Brief => "its key is left out",
                        Form::Bare => "there is none of this call",
                    }
                );
            }
        }
        Ok(())
    }

    async fn write_result(
        &self,
        delivery: &Delivery,
        reply: &ReplyTo,
        written: &Written<'_>,
        form: Form,
    ) -> Result<(), PublishError> {
        let trans_id = delivery.named().trans_id.filter(|id| form != Form::Bare || id.len() <= LONGEST_NAME);
        let mut headers: Vec<Header> = trans_id.iter().map(|id| Header::text("correlation-id", id.clone())).collect();
        headers.extend(delivery.envelope.write(Copy::Result));
        let own = reply.key.as_deref().filter(|_| form != Form::Bare);
        let key = own.or(trans_id.as_deref()).map(str::as_bytes);
        let brief = (form != Form::Whole).then(|| written.brief());
        self.write(&reply.topic, key, Some(brief.as_ref().unwrap_or(&written.whole)), &headers).await
    }
}
