//! Results of calls on their way to Kafka: acknowledged by all replicas before the claim is confirmed and before the offset
//! of the call passes.

use crate::delivery::{Delivery, ReplyTo, Subject};
use crate::envelope::Copy;
use crate::error::{DeliveryError, Reason};
use crate::kafka::producer::PublishError;
use crate::kafka::record::Header;
use crate::settle::outbox::publish::Pause;
use crate::settle::outbox::{Outbox, Unwritten};
use crate::settle::result::{Part, answered, failed};

impl Outbox {
    /// Publishes what a platform answered, until all replicas have it. The platform did what was asked, so this happens
    /// although the partition has gone to another member.
    pub(crate) async fn publish_answer(&self, delivery: &Delivery, part: Part) {
        let Subject::Ready(ready) = &delivery.subject else { return };
        let Some(call) = &ready.call else { return };
        let value = answered(ready, call, part);
        let mut pause = Pause::new(&self.shared.refusals);
        while let Err(error) = self.publish_result(delivery, &call.reply, &value).await {
            pause.after(&error, &call.reply.topic).await;
        }
    }

    /// Publishes why a call ends as a dead letter. Of what is no call nothing is published.
    pub(super) async fn publish_failure(
        &self,
        delivery: &Delivery,
        reason: Reason,
        error: &DeliveryError,
    ) -> Result<(), Unwritten> {
        let Some((reply, value)) = failed(delivery, reason, error) else { return Ok(()) };
        let mut pause = Pause::new(&self.shared.refusals);
        loop {
            if delivery.ack.assignment().is_gone() {
                return Err(Unwritten::Gone);
            }
            match self.publish_result(delivery, &reply, &value).await {
                Ok(()) => return Ok(()),
                Err(error) => pause.after(&error, &reply.topic).await,
            }
        }
    }

    async fn publish_result(&self, delivery: &Delivery, reply: &ReplyTo, value: &[u8]) -> Result<(), PublishError> {
        let trans_id = delivery.named().trans_id;
        let mut headers: Vec<Header> = trans_id.iter().map(|id| Header::text("correlation-id", id.clone())).collect();
        headers.extend(delivery.envelope.write(Copy::Result));
        let key = reply.key.as_deref().or(trans_id.as_deref()).map(str::as_bytes);
        self.write(&reply.topic, key, Some(value), &headers).await
    }
}
