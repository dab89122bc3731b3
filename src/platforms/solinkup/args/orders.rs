//! Orders of 抖店 (SPEC 4.5).

use crate::error::DeliveryError;
use crate::event::Paginate;
use crate::platforms::call::Parts;
use crate::platforms::solinkup::args::made::Made;
use crate::platforms::solinkup::args::object::Object;

const ORDER_TYPES: [i64; 4] = [0, 2, 4, 5];
const TRADE_TYPES: [i64; 9] = [0, 1, 2, 3, 4, 5, 6, 7, 10];
/// Only so many seconds of the past can be asked for.
const PAST_S: i64 = 90 * 86_400;
/// Ten digits: more are milliseconds.
const LAST_S: i64 = 9_999_999_999;
const MOST_SIZE: i64 = 100;
/// No page begins later than this order.
pub(in crate::platforms::solinkup) const MOST_ORDERS: i64 = 50_000;

pub(super) fn list(args: &Object<'_>, paginate: Paginate, now_ms: i64) -> Result<(Made, Parts), DeliveryError> {
    args.only(&["orderType", "tradeType", "orderStatus", "createTimeStart", "createTimeEnd", "page", "size"])?;
    let order_type = one_of(args, "orderType", &ORDER_TYPES)?;
    let trade_type = one_of(args, "tradeType", &TRADE_TYPES)?;
    let order_status = args.integer("orderStatus", i64::MIN, i64::MAX)?;
    let start = seconds(args, "createTimeStart")?;
    if start < now_ms.div_euclid(1000) - PAST_S {
        return Err(args.refuse("createTimeStart", "is more than 90 days ago, which the platform does not search"));
    }
    let end = seconds(args, "createTimeEnd")?;
    if end < start {
        return Err(args.refuse("createTimeEnd", "is earlier than createTimeStart"));
    }
    let page = args.integer("page", 0, i64::MAX)?;
    let size = args.integer("size", 1, MOST_SIZE)?;
    let (first, by) = (page.unwrap_or(0), size.unwrap_or(1));
    if first.checked_mul(by).is_none_or(|orders| orders > MOST_ORDERS) {
        let detail = format!("size x page is more than {MOST_ORDERS}: split the time into several calls");
        return Err(args.refuse("page", detail));
    }
    let all = paginate == Paginate::All;
    let parts =
        if all { Parts::Pages { first: first.unsigned_abs(), most: most_pages(first, by) } } else { Parts::One };

    let mut made = Made::default();
    made.push_some("orderType", order_type);
    made.push_some("tradeType", trade_type);
    made.push_some("orderStatus", order_status);
    made.push("createTimeStart", &start);
    made.push("createTimeEnd", &end);
    // Whoever asks for all pages leaves the page to the worker.
    made.push_some("page", page.or(all.then_some(0)));
    made.push_some("size", size);
    Ok((made, parts))
}

pub(super) fn detail(args: &Object<'_>) -> Result<Made, DeliveryError> {
    args.only(&["orderId"])?;
    let mut made = Made::default();
    made.push("orderId", &args.id("orderId")?);
    Ok(made)
}

fn most_pages(first: i64, size: i64) -> u64 {
    (MOST_ORDERS / size - first + 1).unsigned_abs()
}

fn one_of(args: &Object<'_>, name: &str, known: &[i64]) -> Result<Option<i64>, DeliveryError> {
    match args.integer(name, i64::MIN, i64::MAX)? {
        Some(number) if !known.contains(&number) => {
            let known = known.iter().map(i64::to_string).collect::<Vec<_>>().join(", ");
            Err(args.refuse(name, format!("is none of {known}")))
        }
        number => Ok(number),
    }
}

fn seconds(args: &Object<'_>, name: &str) -> Result<i64, DeliveryError> {
    let at = args.integer(name, 0, i64::MAX)?.ok_or_else(|| args.refuse(name, "is missing"))?;
    if at > LAST_S {
        Err(args.refuse(name, "has more than 10 digits: it is in seconds, not milliseconds"))
    } else {
        Ok(at)
    }
}
