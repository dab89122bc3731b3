//! Records that wait in a lane while its account gets other settings. They are prepared anew, so that no request mixes
//! what two versions of a platform's file, or of an account's keys, make of an event.

use std::rc::Rc;
use std::sync::Arc;

use crate::account::Account;
use crate::claim::rules::Key;
use crate::delivery::{Delivery, Subject};
use crate::error::DeliveryError;
use crate::event::decode;
use crate::lane::attempted::AttemptedDelivery;
use crate::lane::queue::Queues;
use crate::lane::state::Lane;

/// What prepares the conversions of an account.
fn sender(account: &Account) -> Option<*const ()> {
    account.sender.as_ref().map(|sender| Arc::as_ptr(sender).cast())
}

impl Lane {
    /// Whether other settings than the present ones prepared this conversion.
    pub(super) fn is_outdated(&self, delivery: &Delivery) -> bool {
        match &delivery.subject {
            Subject::Ready(ready) => ready.call.is_none() && sender(&ready.account) != sender(&self.account),
            Subject::Ended(_) => false,
        }
    }

    /// Prepares with the present settings what others prepared. Returns the records that they refuse, each counted as
    /// one with a permit.
    pub(super) fn renew(self: &Rc<Self>, queues: &mut Queues) -> Vec<AttemptedDelivery> {
        let mut refused = Vec::new();
        for mut delivery in queues.take_if(|delivery| self.is_outdated(delivery)) {
            match self.prepare_anew(&mut delivery) {
                Ok(()) => queues.ended(None, Some(delivery)),
                Err(error) => {
                    self.got_permit(&delivery);
                    refused.push(AttemptedDelivery { delivery, key: None, guard: None, result: Err(error) });
                }
            }
        }
        refused
    }

    fn prepare_anew(&self, delivery: &mut Delivery) -> Result<(), DeliveryError> {
        let event = decode(delivery.record.value.as_deref())?;
        let Subject::Ready(ready) = &mut delivery.subject else { return Ok(()) };
        let account = &self.account;
        ready.account = account.clone();
        ready.prepared = account.prepare(&event)?;
        ready.claim_request.key = Key::new(account.platform, &account.name, &ready.prepared.native, &ready.trans_id);
        Ok(())
    }
}
