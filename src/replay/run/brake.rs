//! Reads the brake, which the counting of outcomes sets (pure).

use std::collections::BTreeMap;

use crate::replay::view::Stopped;

/// Why a run has to stop, according to its outcomes. `None`: it goes on.
pub fn stopped(outcomes: &BTreeMap<String, String>) -> Option<Stopped> {
    let text = outcomes.get("brake")?;
    // Another version may say it in other words. It stops all the same.
    Some(serde_json::from_str(text).unwrap_or_else(|_| Stopped { reason: text.clone(), sample: None }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_brake_says_why_and_stops_whatever_it_says() {
        assert_eq!(stopped(&BTreeMap::new()), None);
        let said = |text: &str| stopped(&BTreeMap::from([("brake".to_owned(), text.to_owned())])).unwrap();
        let why = said(r#"{"reason":"26 of 50","sample":{"trans_id":"t-1","code":"3","new":1}}"#);
        assert_eq!((why.reason.as_str(), why.sample.unwrap().code.as_str()), ("26 of 50", "3"));
        assert_eq!(said("too many").reason, "too many");
    }
}
