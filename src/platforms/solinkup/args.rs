//! What an event may ask for: the input rules of each call (SPEC 4.4 to 4.6; section 12, 22).

mod decrypt;
mod made;
mod object;
mod orders;
mod reports;

use crate::error::DeliveryError;
use crate::platforms::Item;
use crate::platforms::call::{CallEvent, Parts};
use crate::platforms::solinkup::catalog::Name;
use crate::platforms::solinkup::config::Settings;
use made::Made;
use object::Object;

pub(super) use decrypt::{CHUNK, Cipher};
pub(super) use made::kept;
pub(super) use orders::MOST_ORDERS;

/// Judges the arguments of a call.
///
/// # Errors
/// `Invalid`, with the first argument at fault.
pub(super) fn judge(
    settings: &Settings,
    name: Name,
    call: &CallEvent<'_>,
    now_ms: i64,
) -> Result<(Item, Parts), DeliveryError> {
    let args = Object::of_call(call);
    let (made, parts) = match name {
        Name::OrderList => orders::list(&args, call.paginate, now_ms)?,
        Name::OrderDetail => (orders::detail(&args)?, Parts::One),
        Name::Decrypt => decrypt::judge(&args)?,
        Name::AdvertiserReport | Name::AdReport => reports::judge(settings, name, &args, call.paginate)?,
        Name::DeleteFlows => (delete_flows(settings, &args)?, Parts::One),
        Name::TokenGet | Name::TokenRefresh | Name::TemplateList | Name::AuthInfo => {
            args.only(&[])?;
            (Made::default(), Parts::One)
        }
    };
    Ok((made.into_item(), parts))
}

/// Whose flows are deleted is stated by the account; an event may repeat it and may not name another one.
fn delete_flows(settings: &Settings, args: &Object<'_>) -> Result<Made, DeliveryError> {
    args.only(&["openId", "parentTemplateId"])?;
    let open_id = settings.open_id.as_deref().unwrap_or_default();
    if args.optional_id("openId")?.is_some_and(|id| id != open_id) {
        return Err(args.refuse("openId", "is not the open_id of the account, which is the only one it may name"));
    }
    let template = args.id("parentTemplateId")?;
    let mut made = Made::default();
    made.push("openId", &open_id);
    made.push("parentTemplateId", &template);
    Ok(made)
}
