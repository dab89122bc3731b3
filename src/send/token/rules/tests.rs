use super::*;
use crate::error::{DeliveryError, Fault};
use crate::platforms::reading::HttpAnswer;
use crate::platforms::tokens::{Grant, Issued};
use crate::platforms::{Context, Request};
use crate::secret::SecretString;
use crate::send::token::record::Refusal;

fn seed(refresh: &str) -> Seed {
    Seed { refresh: Some(SecretString::new(refresh)), ..Seed::default() }
}

fn stored(generation: u64, begun_with: &Begin, refusal: Option<Refusal>) -> TokenRecord {
    let tokens = TokenSet { access: Some(SecretString::new("a")), ..TokenSet::default() };
    TokenRecord { generation, refusal, seeds: vec![begun_with.mark.clone()], tokens }
}

#[test]
fn the_seed_counts_until_the_store_holds_a_newer_pair() {
    let begin = Begin::new("acme", seed("r1"));
    let first = begin.choose(&Found::Absent).unwrap();
    assert_eq!((first.generation, &first.tokens.refresh), (1, &Some(SecretString::new("r1"))));
    let record = stored(2, &begin, None);
    assert_eq!(begin.choose(&Found::Record(record.clone())), Ok(record));
}

#[test]
fn a_changed_seed_wins_over_a_store_that_was_refused_and_over_no_other() {
    let (old, new) = (Begin::new("acme", seed("r1")), Begin::new("acme", seed("r2")));
    for access in [true, false] {
        let good = stored(4, &old, None);
        assert_eq!(new.choose(&Found::Record(good.clone())), Ok(good));
        let refused = stored(4, &old, Some(Refusal { at_ms: 1, access }));
        assert_eq!(old.choose(&Found::Record(refused.clone())), Ok(refused.clone()));
        let taken = new.choose(&Found::Record(refused)).unwrap();
        assert_eq!((taken.generation, taken.refusal), (5, None));
        assert_eq!(taken.tokens.refresh, Some(SecretString::new("r2")));
        // A replica that still has the old configuration does not return to it.
        let refused_too = TokenRecord { refusal: Some(Refusal { at_ms: 2, access }), ..taken };
        assert_eq!(old.choose(&Found::Record(refused_too.clone())), Ok(refused_too));
    }
}

#[test]
fn a_store_that_does_not_open_says_what_to_do_unless_the_seed_is_new() {
    let (old, new) = (Begin::new("acme", seed("r1")), Begin::new("acme", seed("r2")));
    let locked = Found::Locked { generation: 6, seeds: vec![old.mark.clone()] };
    assert!(old.choose(&locked).unwrap_err().contains("redis.token_key"));
    assert_eq!(new.choose(&locked).unwrap().generation, 7);
    assert!(new.choose(&Found::Unknown).unwrap_err().contains("not written by this version"));
}

#[test]
fn a_pair_is_lost_where_the_store_holds_less_than_was_stored() {
    let begin = Begin::new("acme", seed("r"));
    let known = stored(3, &begin, None);
    let found = |generation| Found::Record(stored(generation, &begin, None));
    assert!(is_lost(&Found::Absent, Some(&known)) && is_lost(&found(2), Some(&known)));
    assert!(!is_lost(&found(3), Some(&known)) && !is_lost(&found(4), Some(&known)));
    assert!(!is_lost(&Found::Absent, None) && !is_lost(&Found::Unknown, Some(&known)));
}

/// Refreshes this many ms before the end.
struct Before(Option<i64>);

impl TokenSource for Before {
    fn token_request(&self, _: Grant<'_>, _: &Context<'_>) -> Result<Request, Fault> {
        Err(Fault::whole("not asked"))
    }

    fn token_from(&self, _: &HttpAnswer<'_>) -> Result<Issued, DeliveryError> {
        Err(DeliveryError::Closed)
    }

    fn refresh_at_ms(&self, life: &Life) -> Option<i64> {
        Some(life.first_end_ms()? - self.0?)
    }
}

/// A platform that states no time.
struct Usual;

impl TokenSource for Usual {
    fn token_request(&self, _: Grant<'_>, _: &Context<'_>) -> Result<Request, Fault> {
        Err(Fault::whole("not asked"))
    }

    fn token_from(&self, _: &HttpAnswer<'_>) -> Result<Issued, DeliveryError> {
        Err(DeliveryError::Closed)
    }
}

#[test]
fn a_token_is_refreshed_ten_minutes_or_a_fifth_of_its_life_before_the_first_end_of_the_two() {
    let life = |access_ends_ms, refresh_ends_ms| Life { issued_ms: 0, access_ends_ms, refresh_ends_ms };
    assert_eq!(refresh_at_ms(&Usual, &life(None, None)), None);
    assert_eq!(refresh_at_ms(&Usual, &life(Some(7_200_000), None)), Some(6_600_000));
    assert_eq!(refresh_at_ms(&Usual, &life(Some(100_000), None)), Some(80_000));
    // The sample of 数环通: the refresh token ends days before the access token.
    assert_eq!(refresh_at_ms(&Usual, &life(Some(604_800_000), Some(15_120_000))), Some(14_520_000));
}

#[test]
fn a_platform_never_has_a_short_token_refreshed_before_half_of_its_life() {
    let life = Life { issued_ms: 1_000, access_ends_ms: Some(61_000), refresh_ends_ms: None };
    assert_eq!(refresh_at_ms(&Before(Some(600_000)), &life), Some(31_000));
    assert_eq!(refresh_at_ms(&Before(Some(10_000)), &life), Some(51_000));
    assert_eq!(refresh_at_ms(&Before(None), &life), None);
}

#[test]
fn after_a_refusal_nobody_asks_for_ten_seconds() {
    let record = stored(1, &Begin::new("acme", seed("r")), Some(Refusal { at_ms: 100_000, access: false }));
    assert!(is_refused_now(&record, 100_000) && is_refused_now(&record, 109_999) && is_refused_now(&record, 99_000));
    assert!(!is_refused_now(&record, 110_000));
}

#[test]
fn pauses_double_from_a_second_to_a_minute() {
    assert_eq!([1, 2, 3, 7, 99].map(|n| pause(n).as_secs()), [1, 2, 4, 60, 60]);
}
