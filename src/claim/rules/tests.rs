use proptest::prelude::*;

use super::*;
use crate::claim::value::origin_tag;

const ORIGIN: &str = "conversions:3:17";
const OTHER: &str = "conversions:4:99";
const FP: u64 = 0x12_3456_789a;

fn claim_request() -> ClaimRequest {
    ClaimRequest {
        key: Key::new("qihoo360", "acme", "ORDER", "t-1"),
        origin: ORIGIN.into(),
        fingerprint: FP,
        own: 0,
        in_doubt: false,
        spare: Spare::None,
        force: false,
        possible: 0,
    }
}

fn in_doubt(own: u32) -> ClaimRequest {
    ClaimRequest { own, in_doubt: true, ..claim_request() }
}

fn of(origin: &str) -> ClaimRequest {
    ClaimRequest { origin: origin.into(), ..claim_request() }
}

fn claimed(by: Token) -> Value {
    Value::parse(of(OTHER).claimed(by, false).as_bytes())
}

fn unknown(origin: &str, fingerprint: u64) -> Value {
    Value::parse(ClaimRequest { fingerprint, own: 2, ..of(origin) }.unknown().as_bytes())
}

fn done(origin: &str, fingerprint: u64, own: u32) -> Value {
    Value::Done(Done::new(&ClaimRequest { fingerprint, own, ..of(origin) }, Token::random()))
}

/// An origin whose ten-bit tag differs from that of [`ORIGIN`].
fn far() -> String {
    (0..).map(|n| format!("conversions:5:{n}")).find(|o| origin_tag(o) != origin_tag(ORIGIN)).unwrap()
}

#[test]
fn near_equal_identities_have_different_keys() {
    let all = [
        ("qihoo360", "acme", "ORDER", "t-1"),
        ("qihoo360", "acme", "PAY", "t-1"),
        ("qihoo360", "acme2", "ORDER", "t-1"),
        ("baizhu", "acme", "ORDER", "t-1"),
        ("qihoo360", "acme", "ORDER", "t-1 "),
        ("qihoo360", "acme", "ORDER", "T-1"),
        // The lengths are part of the key: these parts join to the same text.
        ("qihoo360", "acmeO", "RDER", "t-1"),
        ("qihoo360a", "cme", "ORDER", "t-1"),
    ];
    let keys: std::collections::HashSet<_> = all.iter().map(|(p, a, e, t)| Key::new(p, a, e, t)).collect();
    assert_eq!(keys.len(), all.len());
}

#[test]
fn the_key_never_changes_between_versions() {
    let hex: String = Key::new("qihoo360", "acme", "ORDER", "t-1").0.iter().map(|b| format!("{b:02x}")).collect();
    assert_eq!(hex, "a4d9ded453e54faccf8cc55311776e98");
}

#[test]
fn nothing_found_is_fresh() {
    assert_eq!(judge(None, Token::random(), &claim_request()), Judgement::Fresh);
}

#[test]
fn our_own_token_is_our_first_try_whose_reply_was_lost() {
    let token = Token::random();
    assert_eq!(judge(Some(&claimed(token)), token, &claim_request()), Judgement::OwnToken);
}

#[test]
fn anothers_claim_is_taken_over_only_when_it_is_stale_whatever_its_fingerprint() {
    let value = claimed(Token::random());
    assert_eq!(judge(Some(&value), Token::random(), &claim_request()), Judgement::TakeOverIfStale);
    let other_money = ClaimRequest { fingerprint: FP + 1, ..claim_request() };
    assert_eq!(judge(Some(&value), Token::random(), &other_money), Judgement::TakeOverIfStale);
    let forced = ClaimRequest { force: true, ..claim_request() };
    assert_eq!(judge(Some(&value), Token::random(), &forced), Judgement::TakeOverIfStale);
}

#[test]
fn an_unknown_or_a_done_of_other_money_is_a_conflict() {
    for value in [unknown(ORIGIN, FP + 1), done(ORIGIN, FP + 1, 0)] {
        let judged = judge(Some(&value), Token::random(), &claim_request());
        assert_eq!(judged, Judgement::Conflict { possible_duplicate: false });
        let judged = judge(Some(&value), Token::random(), &in_doubt(0));
        assert_eq!(judged, Judgement::Conflict { possible_duplicate: true });
    }
}

#[test]
fn an_unknown_is_taken_over_by_its_own_lineage_or_by_force_and_holds_all_others() {
    assert_eq!(judge(Some(&unknown(ORIGIN, FP)), Token::random(), &claim_request()), Judgement::TakeOver);
    assert_eq!(judge(Some(&unknown(OTHER, FP)), Token::random(), &claim_request()), Judgement::Held);
    let forced = ClaimRequest { force: true, ..claim_request() };
    assert_eq!(judge(Some(&unknown(OTHER, FP)), Token::random(), &forced), Judgement::TakeOver);
}

#[test]
fn a_done_is_a_duplicate_and_tells_its_own_lineage_its_count() {
    let judged = judge(Some(&done(ORIGIN, FP, 3)), Token::random(), &claim_request());
    assert_eq!(judged, Judgement::Duplicate { possible_duplicate: false, own_lineage: Some(3) });
    let judged = judge(Some(&done(&far(), FP, 3)), Token::random(), &claim_request());
    assert_eq!(judged, Judgement::Duplicate { possible_duplicate: false, own_lineage: None });
}

#[test]
fn a_done_found_in_doubt_counts_one_unless_its_own_lineage_declared_it() {
    let possible = |value: &Value, who: &ClaimRequest| match judge(Some(value), Token::random(), who) {
        Judgement::Duplicate { possible_duplicate, .. } => possible_duplicate,
        other => panic!("{other:?}"),
    };
    assert!(possible(&done(ORIGIN, FP, 0), &in_doubt(0)));
    assert!(!possible(&done(ORIGIN, FP, 1), &in_doubt(0)));
    assert!(!possible(&done(ORIGIN, FP, 2), &in_doubt(2)));
    assert!(possible(&done(ORIGIN, FP, 1), &in_doubt(2)));
    assert!(possible(&done(&far(), FP, 9), &in_doubt(1)));
    // The count of a `done` is capped. A larger own count does not make the send undeclared.
    assert!(!possible(&done(ORIGIN, FP, 40), &in_doubt(40)));
}

#[test]
fn what_we_did_not_write_is_neither_sent_nor_overwritten() {
    for bytes in [&b"d"[..], b"", b"-5", b"c|x", b"u|a|zz|1", b"\xff", b"18446744073709551615", b"c|t|o|12345678901|0"]
    {
        assert_eq!(Value::parse(bytes), Value::Foreign, "{bytes:?}");
    }
    assert_eq!(judge(Some(&Value::Foreign), Token::random(), &claim_request()), Judgement::Held);
}

#[test]
fn a_take_over_or_a_claim_in_doubt_holds_own_plus_one_and_any_other_claim_none() {
    let resends = |value: String| Value::parse(value.as_bytes()).resends();
    let token = Token::random();
    assert_eq!(resends(claim_request().claimed(token, false)), 0);
    assert_eq!(resends(ClaimRequest { own: 4, ..claim_request() }.claimed(token, true)), 5);
    assert_eq!(resends(in_doubt(0).claimed(token, true)), 1);
}

#[test]
fn a_confirm_over_our_claim_or_our_earlier_try_counts_nothing() {
    let token = Token::random();
    let ours = Value::parse(claim_request().claimed(token, false).as_bytes());
    assert_eq!(judge_confirm(Some(&ours), token, &claim_request(), None), None);
    let earlier = Value::Done(Done::new(&claim_request(), token));
    assert_eq!(judge_confirm(Some(&earlier), token, &claim_request(), Some(0)), None);
    // Its count may have grown since, even beyond the most that a `done` can hold.
    for own in [1, 99] {
        let grown = ClaimRequest { own, ..claim_request() };
        assert_eq!(judge_confirm(Some(&earlier), token, &grown, Some(0)), None);
        let grown_done = Value::Done(Done::new(&grown, token));
        assert_eq!(judge_confirm(Some(&grown_done), token, &grown, Some(0)), None);
        assert_eq!(judge_confirm(Some(&grown_done), token, &grown, Some(own)), None);
    }
}

/// The tag of a token has nine bits, so one claim in 512 of the same lineage has the same tag.
#[test]
fn a_confirm_with_our_tags_that_we_never_wrote_counts() {
    let token = Token::random();
    let theirs = Value::Done(Done::new(&ClaimRequest { own: 1, ..claim_request() }, token));
    assert_eq!(judge_confirm(Some(&theirs), token, &claim_request(), None), Some(1));
    assert_eq!(judge_confirm(Some(&theirs), token, &claim_request(), Some(0)), Some(1));
    assert_eq!(judge_confirm(Some(&theirs), token, &ClaimRequest { own: 3, ..claim_request() }, Some(2)), Some(1));
}

#[test]
fn a_confirm_over_anything_else_counts_one_possible_duplicate_nil_included() {
    let token = Token::random();
    assert_eq!(judge_confirm(None, token, &claim_request(), Some(0)), Some(0));
    assert_eq!(judge_confirm(Some(&claimed(Token::random())), token, &claim_request(), Some(0)), Some(0));
    assert_eq!(judge_confirm(Some(&unknown(ORIGIN, FP)), token, &claim_request(), Some(0)), Some(2));
    let foreign = (0..).map(|_| Token::random()).find(|t| t.tag() != token.tag()).unwrap();
    let other = Value::Done(Done::new(&ClaimRequest { own: 3, ..claim_request() }, foreign));
    assert_eq!(judge_confirm(Some(&other), token, &ClaimRequest { own: 3, ..claim_request() }, Some(0)), Some(3));
    let other_lineage = Value::Done(Done::new(&of(&far()), token));
    assert_eq!(judge_confirm(Some(&other_lineage), token, &claim_request(), Some(0)), Some(0));
    let mut counted = ClaimRequest { own: 1, ..claim_request() };
    counted.count_possible(3);
    assert_eq!((counted.own, counted.possible), (4, 1));
}

#[test]
fn a_done_is_an_integer_that_redis_keeps_without_a_string() {
    let most = ClaimRequest { fingerprint: (1 << 40) - 1, own: 99, ..claim_request() };
    assert!(i64::try_from(Done::new(&most, Token(u64::MAX)).to_int()).is_ok());
}

proptest! {
    #[test]
    fn every_value_reads_back(fingerprint in 0_u64..1 << 40, own in 0_u32..100_000, resend: bool, topic in "[a-z|.:]{1,20}") {
        let who = ClaimRequest { fingerprint, own, origin: format!("{topic}:1:2").into(), ..claim_request() };
        let token = Token::random();
        prop_assert_eq!(
            Value::parse(who.claimed(token, resend).as_bytes()),
            Value::Claimed {
                token: token.to_string(), origin: who.origin.to_string(), fingerprint,
                resends: if resend { own + 1 } else { 0 },
            }
        );
        prop_assert_eq!(
            Value::parse(who.unknown().as_bytes()),
            Value::Unknown { origin: who.origin.to_string(), fingerprint, resends: own }
        );
        let done = Done::new(&who, token);
        prop_assert_eq!(Value::parse(done.to_int().to_string().as_bytes()), Value::Done(done));
        prop_assert_eq!((done.fingerprint(), done.resends()), (fingerprint, own.min(15)));
        prop_assert!(done.is_of_origin(&who.origin) && done.is_of_token(token));
    }

    #[test]
    fn no_bytes_crash_the_reader(bytes in proptest::collection::vec(any::<u8>(), 0..64)) {
        let _ = Value::parse(&bytes);
    }
}

#[test]
fn a_send_is_a_second_one_where_something_tells_of_a_first() {
    let claim = |resend, unclaimed, replaced| Claim {
        token: Token::random(),
        resend,
        declared: false,
        replaced,
        since: tokio::time::Instant::now(),
        unclaimed,
        may_stand: true,
        primary: Primary::default(),
    };
    let stale = || Replaced::Stale(Vec::new());
    assert!(!claim(false, false, Replaced::Nothing).is_second(false));
    assert!(claim(true, false, Replaced::Nothing).is_second(true), "claimed in doubt");
    assert!(claim(true, false, stale()).is_second(false), "taken over");
    assert!(!claim(true, true, Replaced::Nothing).is_second(false), "unclaimed, it is declared by rule");
    assert!(claim(true, true, Replaced::Nothing).is_second(true));
    assert!(claim(true, true, stale()).is_second(false), "what could not be claimed told of it");
}

#[test]
fn a_refused_send_covers_the_next_one_only_where_exactly_what_was_put_back_is_found() {
    let stale = |of: &str| Value::parse(self::of(of).claimed(Token::random(), false).as_bytes());
    let done = |own| self::done(ORIGIN, FP, own);
    let unknown_of = |own| Value::parse(ClaimRequest { own, ..claim_request() }.unknown().as_bytes());
    let back = stale(ORIGIN);
    let here = |back: Option<&Value>| Spare::Here(back.cloned().map(Box::new));
    let other = || Some(stale(ORIGIN));
    let rows = [
        (here(Some(&back)), Some(back.clone()), true),
        (here(None), None, true),
        // Another process wrote a value in between, however small its count.
        (here(Some(&back)), other(), false),
        (here(Some(&back)), Some(stale(OTHER)), false),
        (here(Some(&back)), Some(unknown_of(0)), false),
        (here(Some(&back)), None, false),
        (here(None), other(), false),
        (here(None), Some(stale(OTHER)), false),
        (here(Some(&unknown_of(1))), Some(unknown_of(1)), true),
        (here(Some(&unknown_of(1))), Some(unknown_of(0)), false),
        // A value with as high a count as ours was written after our send.
        (here(Some(&unknown_of(2))), Some(unknown_of(2)), false),
        // Without a value that was put back, only the count decides.
        (Spare::Unclaimed, None, false),
        (Spare::Unclaimed, other(), true),
        (Spare::Unclaimed, Some(unknown_of(1)), true),
        (Spare::Unclaimed, Some(unknown_of(2)), false),
        (Spare::Unclaimed, Some(stale(OTHER)), false),
        (Spare::Earlier, None, false),
        (Spare::Earlier, other(), true),
        (Spare::Earlier, Some(done(0)), false),
        (Spare::None, Some(back.clone()), false),
    ];
    for (spare, found, covers) in rows {
        let who = ClaimRequest { spare: spare.clone(), ..in_doubt(2) };
        assert_eq!(who.is_covered(found.as_ref()), covers, "{spare:?} {found:?}");
    }
}
