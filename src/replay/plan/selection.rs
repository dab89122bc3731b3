//! What a request for a plan selects: a filter, or places (pure).

use crate::inspect::dead_letters::Filter;
use crate::replay::error::ReplayError;
use crate::replay::places::Place;
use crate::replay::view::Request;

/// The most dead letters that a request may name one by one.
const MOST_ITEMS: usize = 10_000;

/// What a request selects.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Selection {
    Filter(Box<Filter>),
    Items(Vec<Place>),
}

impl Selection {
    /// Reads and checks what a request selects.
    ///
    /// # Errors
    /// Nothing narrows the selection, or an item is none. The error names the field.
    pub fn read(request: &Request) -> Result<Self, ReplayError> {
        if request.items.is_empty() {
            let acting = request.filter.clone().acting();
            let acting = acting.map_err(|error| ReplayError::bad(error.field, error.message))?;
            return Ok(Selection::Filter(Box::new(acting)));
        }
        if request.filter != Filter::default() {
            return Err(ReplayError::bad("items", "stands beside a filter: give either of them"));
        }
        if request.items.len() > MOST_ITEMS {
            return Err(ReplayError::bad("items", format!("has more than {MOST_ITEMS} places: use a filter")));
        }
        let place = |item: &String| {
            let (partition, offset) = item.split_once(':')?;
            Some((partition.parse().ok().filter(|n| *n >= 0)?, offset.parse().ok().filter(|n| *n >= 0)?))
        };
        let mut places = Vec::new();
        for item in &request.items {
            let wrong =
                || ReplayError::bad("items", format!("`{}` is no PARTITION:OFFSET", crate::operate::audit::safe(item)));
            places.push(place(item).ok_or_else(wrong)?);
        }
        places.sort_unstable();
        places.dedup();
        Ok(Selection::Items(places))
    }
}
