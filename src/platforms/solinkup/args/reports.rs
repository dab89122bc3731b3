//! Reports of 巨量千川 (SPEC 4.6).

mod filtering;
mod metrics;

use chrono::NaiveDate;

use crate::error::DeliveryError;
use crate::event::Paginate;
use crate::platforms::call::Parts;
use crate::platforms::solinkup::args::made::Made;
use crate::platforms::solinkup::args::object::{Object, invalid};
use crate::platforms::solinkup::catalog::Name;
use crate::platforms::solinkup::config::Settings;

const MOST_SIZE: i64 = 500;
/// The platform states no most page.
const MOST_PAGES: u64 = 1_000_000;

pub(super) fn judge(
    settings: &Settings,
    report: Name,
    args: &Object<'_>,
    paginate: Paginate,
) -> Result<(Made, Parts), DeliveryError> {
    args.only(&[
        "advertiser_id",
        "start_date",
        "end_date",
        "fields",
        "filtering",
        "order_field",
        "order_type",
        "page",
        "page_size",
    ])?;
    let missing = |name| args.refuse(name, "is missing");
    let advertiser = args.integer("advertiser_id", 1, i64::MAX)?.ok_or_else(|| missing("advertiser_id"))?;
    let (start, start_text) = date(args, "start_date")?;
    let (end, end_text) = date(args, "end_date")?;
    if end < start {
        return Err(args.refuse("end_date", "is earlier than start_date"));
    }
    if (end - start).num_days() > i64::from(settings.max_span_days) {
        return Err(args.refuse("end_date", format!("is more than {} days after start_date", settings.max_span_days)));
    }
    let fields = args.list("fields", |path, value| match value.as_str() {
        None => Err(invalid(path, "is not a text")),
        Some("") => Err(invalid(path, "is empty")),
        Some(field) => Ok(field),
    })?;
    let fields = fields.ok_or_else(|| missing("fields"))?;
    if fields.is_empty() {
        return Err(args.refuse("fields", "is empty: name the metrics that are wanted"));
    }
    let filtering = Object::at(args.field("filtering"), args.required("filtering")?)?;
    let (filtering, goal) = filtering::judge(report, &filtering)?;
    let order_field = args.optional_text("order_field")?;
    if settings.strict_fields {
        for (n, field) in fields.iter().enumerate() {
            metrics::check(report, goal, field).map_err(|why| args.refuse(&format!("fields.{n}"), why))?;
        }
        if let Some(field) = order_field {
            metrics::check(report, goal, field).map_err(|why| args.refuse("order_field", why))?;
        }
    }
    let order_type = args.word("order_type", &["ASC", "DESC"])?;
    let page = args.integer("page", 1, i64::MAX)?;
    let page_size = args.integer("page_size", 1, MOST_SIZE)?;
    let all = paginate == Paginate::All;
    let first = page.unwrap_or(1).unsigned_abs();

    let mut made = Made::default();
    made.push("advertiser_id", &advertiser);
    made.push("start_date", &start_text);
    made.push("end_date", &end_text);
    made.push("fields", &fields);
    made.push("filtering", &filtering);
    made.push_some("order_field", order_field);
    made.push_some("order_type", order_type);
    // Whoever asks for all pages leaves the page to the worker.
    made.push_some("page", page.or(all.then_some(1)));
    made.push_some("page_size", page_size);
    Ok((made, if all { Parts::Pages { first, most: MOST_PAGES } } else { Parts::One }))
}

fn date<'a>(args: &Object<'a>, name: &str) -> Result<(NaiveDate, &'a str), DeliveryError> {
    let text = args.text(name)?;
    // chrono also reads `2025-1-5`.
    let date = (text.len() == 10).then(|| NaiveDate::parse_from_str(text, "%Y-%m-%d").ok()).flatten();
    date.map(|date| (date, text)).ok_or_else(|| args.refuse(name, "is no date of the form YYYY-MM-DD"))
}
