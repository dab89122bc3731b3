use bytes::Bytes;
use serde_json::{Value, json};

use super::*;
use crate::error::Disposition;
use crate::metrics::Setup;
use crate::stub::PLATFORM;
use crate::stub::calls::{Caller, Replaceable};

/// Three accounts in this order: `acme` takes events, `off` is disabled, `strict` accepts no raw identifiers.
fn examiner() -> Examiner {
    let mut accounts = ["acme", "off", "strict"].map(Account::stub);
    accounts[1].enabled = false;
    accounts[2].validate.accept_raw_identifiers = false;
    let names = accounts.iter().map(|a| (a.platform, a.name.clone())).collect();
    let metrics = Metrics::new(Setup { accounts: names, ..Setup::default() });
    let results = crate::kafka::Config::stub("b:1", &[]).result_topics();
    Examiner::of(accounts.into_iter().map(Arc::new).collect(), results, metrics)
}

#[test]
fn a_platform_of_the_configurations_own_is_known_without_an_account_of_it() {
    let own = crate::platforms::declared::load(
        "own.toml",
        "name = \"own\"\ntitle = \"Own\"\nbase_url = \"https://own.example.com\"\n[[request]]\nurl = \"/x\"\n\
         [answer]\ndelivered = \"status == 200\"\n",
    );
    let mut platforms = Platforms::default();
    platforms.add(own.unwrap_or_else(|found| panic!("{found}"))).unwrap();
    let examiner = examiner().knowing(platforms);
    for (platform, field) in [("own", "account"), ("nobody", "platform")] {
        let event = json!({"trans_id": "t", "platform": platform, "account": "shop", "event_type": "install",
                           "event_time_ms": 1_736_899_200_123_i64});
        let (reason, found, _) = end(&examiner, &record(&event));
        assert_eq!((reason, &*found), ("unknown_account", field), "{platform}");
    }
}

fn record(event: &Value) -> Record {
    Record {
        topic: "in".into(),
        partition: 3,
        offset: 7,
        timestamp_ms: None,
        key: None,
        value: Some(Bytes::from(event.to_string())),
        headers: Vec::new(),
        unreadable_headers: 0,
    }
}

fn judge(examiner: &Examiner, record: &Record) -> Subject {
    examiner.judge(record, &Envelope::read(record, Source::Input, 1).0, 1)
}

/// How the record ends, the field at fault, and the index it is counted under.
fn end(examiner: &Examiner, record: &Record) -> (&'static str, String, usize) {
    match judge(examiner, record) {
        Subject::Ready(ready) => ("ready", String::new(), ready.index),
        Subject::Ended(ended) => match &ended.end {
            Ok(outcome) => (outcome.as_str(), String::new(), ended.index),
            Err(error) => {
                let Disposition::DeadLetter(reason) = error.disposition() else { panic!("{error:?}") };
                (reason.as_str(), error.fault().unwrap().field.to_string(), ended.index)
            }
        },
    }
}

#[test]
fn of_all_that_is_wrong_the_first_in_order_names_reason_and_field() {
    let examiner = examiner();
    let mut event = json!({
        "schema": "postback.event/2", "trans_id": "t-1", "platform": "nobody", "account": "none",
        "kind": "call", "call": "list", "event_type": "unmapped", "event_time_ms": 1_736_899_200_123_i64, "user": {"phone": "13812345678"},
        "consent": {"opt_out": true}
    });
    let mut seen = vec![end(&examiner, &Record { unreadable_headers: 1, ..record(&event) })];
    let mends: [&dyn Fn(&mut Value); 9] = [
        &|_| {},
        &|event| event["schema"] = "postback.event/1".into(),
        &|event| event["platform"] = "qihoo360".into(),
        &|event| event["account"] = "off".into(),
        &|event| event["platform"] = PLATFORM.into(),
        &|event| event["account"] = "strict".into(),
        &|event| event["consent"] = json!({}),
        &|event| event["user"] = json!({}),
        &|event| event["kind"] = json!("conversion"),
    ];
    for mend in mends {
        mend(&mut event);
        seen.push(end(&examiner, &record(&event)));
    }
    // Admission does not check the time: an old copy of a delivered event must reach its claim.
    event["event_type"] = "install".into();
    seen.push(end(&examiner, &record(&event)));
    let unknown = |platform| examiner.metrics.unknown(platform);
    let expected = [
        ("quarantined", "", unknown(None)),
        ("malformed", "schema", unknown(None)),
        ("unknown_account", "platform", unknown(None)),
        ("unknown_account", "account", unknown(Some("qihoo360"))),
        ("unknown_account", "account", unknown(Some("qihoo360"))),
        ("unknown_account", "account", 1),
        ("suppressed", "", 2),
        ("invalid", "user.phone", 2),
        ("invalid", "kind", 2),
        ("unmapped_event", "event_type", 2),
        ("ready", "", 2),
    ];
    let seen: Vec<_> = seen.iter().map(|(reason, field, index)| (*reason, &**field, *index)).collect();
    assert_eq!(seen, expected);
}

#[test]
fn a_call_goes_into_the_lane_for_calls_and_a_conversion_into_the_first_one() {
    let mut accounts = ["a", "b", "c"].map(Account::stub);
    accounts[1].call = Some(Arc::new(Caller));
    accounts[1].call_limits.rps = 7.0;
    accounts[2].sender = None;
    accounts[2].call = Some(Arc::new(Caller));
    let names = accounts.iter().map(|a| (a.platform, a.name.clone())).collect();
    let metrics = Metrics::new(Setup { accounts: names, ..Setup::default() });
    let results = crate::kafka::Config::stub("b:1", &[]).result_topics();
    let examiner = Examiner::of(accounts.into_iter().map(Arc::new).collect(), results, metrics);
    let event = |account: &str, kind: &str| {
        json!({"trans_id": "t", "platform": PLATFORM, "account": account, "event_type": "install", "kind": kind,
               "call": "list", "event_time_ms": 1_736_899_200_123_i64})
    };
    let lane = |account: &str, kind: &str| match judge(&examiner, &record(&event(account, kind))) {
        Subject::Ready(ready) => Some((ready.index, ready.lane, ready.account.limits.rps)),
        Subject::Ended(_) => None,
    };
    assert_eq!(lane("a", "conversion"), Some((0, 0, 20.0)));
    assert_eq!(lane("b", "conversion"), Some((1, 1, 20.0)));
    assert_eq!(lane("b", "call"), Some((1, 3, 7.0)));
    assert_eq!(lane("c", "call"), Some((2, 2, 20.0)));
    assert_eq!((lane("a", "call"), lane("c", "conversion")), (None, None));
}

#[test]
fn an_event_of_a_person_who_opted_out_is_suppressed_and_a_call_has_a_result() {
    let examiner = examiner();
    let mut event = json!({"trans_id": "t", "platform": PLATFORM, "account": "acme", "event_type": "install",
                           "event_time_ms": 1_736_899_200_123_i64, "consent": {"opt_out": true}});
    assert_eq!(end(&examiner, &record(&event)), ("suppressed", String::new(), 0));
    (event["kind"], event["call"]) = ("call".into(), "list".into());
    assert_eq!(end(&examiner, &record(&event)), ("suppressed", String::new(), 0));
    let Subject::Ended(ended) = judge(&examiner, &record(&event)) else { panic!("it is ready") };
    assert!(ended.reply.is_some());
}

#[test]
fn a_call_that_was_made_once_is_judged_by_the_time_of_its_first_attempt() {
    let account = Account { call: Some(Arc::new(Caller)), sender: None, ..Account::stub("a") };
    let names = vec![(account.platform, account.name.clone())];
    let metrics = Metrics::new(Setup { accounts: names, ..Setup::default() });
    let results = crate::kafka::Config::stub("b:1", &[]).result_topics();
    let examiner = Examiner::of(vec![Arc::new(account)], results, metrics);
    let event = json!({"kind": "call", "trans_id": "t", "platform": PLATFORM, "account": "a", "call": "list",
                       "event_time_ms": 1_736_899_200_123_i64, "args": {"until_ms": 2_000}});
    let record = record(&event);
    let is_ready = |first_attempt_ms| {
        let (mut envelope, _) = Envelope::read(&record, Source::Input, 1);
        envelope.first_attempt_ms = first_attempt_ms;
        matches!(examiner.judge(&record, &envelope, 3_000), Subject::Ready(_))
    };
    assert_eq!([None, Some(1_000), Some(2_500)].map(is_ready), [false, true, false]);
}

#[test]
fn what_ends_at_the_gate_still_says_who_and_what_it_was() {
    let event = json!({"trans_id": "t-1", "platform": PLATFORM, "account": "acme", "event_type": "pay", "order": 1});
    let Subject::Ended(ended) = judge(&examiner(), &record(&event)) else { panic!("it is ready") };
    let identity = &ended.identity;
    assert_eq!(identity.trans_id.as_deref(), Some("t-1"));
    assert_eq!(identity.account.as_deref(), Some("acme"));
    assert_eq!((identity.event.as_deref(), ended.index), (Some("pay"), 0));
}

#[test]
fn a_copy_brings_its_own_lineage_and_count_to_its_claim() {
    let event = json!({"trans_id": "t", "platform": PLATFORM, "account": "acme", "event_type": "install",
                       "event_time_ms": 1_736_899_200_123_i64});
    let record = record(&event);
    let (mut envelope, _) = Envelope::read(&record, Source::Input, 1);
    envelope.origin.topic = "in|:x\n".into();
    envelope.resends = 2;
    let Subject::Ready(ready) = examiner().judge(&record, &envelope, 1) else { panic!("it has ended") };
    assert_eq!(&*ready.claim_request.origin, "inx:3:7", "a forged name breaks no value in Redis");
    assert_eq!((ready.claim_request.own, ready.claim_request.in_doubt), (2, true));
}

#[test]
fn a_call_whose_account_is_broken_is_the_next_accounts_under_its_own_identity() {
    let account = |name: &str, others: &[&str], enabled| {
        let others = others.iter().map(|other| (*other).to_owned()).collect();
        Account { call: Some(Arc::new(Replaceable(others))), sender: None, enabled, ..Account::stub(name) }
    };
    let accounts = vec![account("a", &["off", "gone", "b"], true), account("b", &[], true), account("off", &[], false)];
    let names = accounts.iter().map(|a| (a.platform, a.name.clone())).collect();
    let metrics = Metrics::new(Setup { accounts: names, ..Setup::default() });
    let results = crate::kafka::Config::stub("b:1", &[]).result_topics();
    let examiner = Examiner::of(accounts.into_iter().map(Arc::new).collect(), results, metrics);
    let event = json!({"kind": "call", "trans_id": "c-1", "platform": crate::stub::PLATFORM, "account": "a",
                       "call": "get", "event_time_ms": 1_736_899_200_123_i64});
    let record = record(&event);
    let judged = |alternate| {
        let (mut envelope, _) = Envelope::read(&record, Source::Input, 1);
        envelope.alternate = alternate;
        match examiner.judge(&record, &envelope, 1) {
            Subject::Ready(ready) => ready,
            Subject::Ended(ended) => panic!("{:?}", ended.end),
        }
    };
    let own = judged(0);
    assert_eq!((own.index, &*own.account.name, own.call.as_ref().unwrap().alternates), (0, "a", 3));
    let other = judged(3);
    assert_eq!((other.index, &*other.account.name, &*other.asked().name), (1, "b", "a"));
    assert_eq!(other.claim_request.key, own.claim_request.key, "one call, whoever makes it");
    // Disabled, unknown, and past the list: its own account goes on.
    for alternate in [1, 2, 4, u32::MAX] {
        assert_eq!(
            (judged(alternate).index, judged(alternate).call.unwrap().asked.is_none()),
            (0, true),
            "{alternate}"
        );
    }
}
