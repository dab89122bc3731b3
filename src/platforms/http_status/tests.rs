use super::*;
use crate::error::Class;
use crate::platforms::Receipt;
use crate::platforms::headers::Headers;

fn http(status: u16) -> HttpAnswer<'static> {
    HttpAnswer { status, retry_after: Some("7"), headers: Headers::default(), body: b"", now_ms: 0 }
}

fn judged(status: u16, said: Reading) -> Verdict {
    let Verdicts::All(verdict) = judge(1, &http(status), || said) else { panic!("one item has one verdict") };
    verdict
}

fn class(status: u16, said: Reading) -> Option<Class> {
    judged(status, said).err().and_then(|e| e.class())
}

fn success() -> Reading {
    Reading::All(Ok(Receipt::default()))
}

#[test]
fn every_row_of_the_status_table_has_its_class() {
    let rows: [(&[u16], Class); 7] = [
        (&[300, 301, 302, 304, 307, 308, 399], Class::Halt),
        (&[401, 403, 407], Class::Halt),
        (&[408, 425], Class::Retry),
        (&[429], Class::Throttled),
        (&[500, 502, 503, 504, 599], Class::Retry),
        (&[400, 404, 405, 413, 415, 422], Class::Permanent),
        (&[402, 406, 409, 410, 418, 451, 499, 100, 600, 999], Class::Retry),
    ];
    for (statuses, expected) in rows {
        for status in statuses {
            assert_eq!(class(*status, Reading::Nothing), Some(expected), "{status}");
            assert_eq!(class(*status, success()), Some(expected), "{status}, success body");
        }
    }
    for status in [200, 201, 204, 299] {
        assert_eq!(class(status, Reading::Nothing), Some(Class::Ambiguous), "{status}");
        assert_eq!(class(status, success()), None, "{status}");
    }
}

#[test]
fn a_status_that_refuses_who_asks_refuses_the_token_first_where_there_is_one() {
    for (status, expected) in [
        (401, Class::Refresh),
        (403, Class::Refresh),
        (407, Class::Refresh),
        (302, Class::Halt),
        (429, Class::Throttled),
        (400, Class::Permanent),
    ] {
        let verdicts = of_a_token(judge(1, &http(status), || Reading::Nothing));
        assert_eq!(verdicts.one().err().and_then(|e| e.class()), Some(expected), "{status}");
    }
}

#[test]
fn a_status_at_the_url_of_an_event_halts_nobody_and_the_platforms_own_words_do() {
    for status in [301, 302, 401, 403, 407] {
        let verdicts = of_a_token(of_a_callback(judge(1, &http(status), || Reading::Nothing)));
        let error = verdicts.one().unwrap_err();
        assert_eq!(error.class(), Some(Class::Permanent), "{status}");
        assert!(error.answer().unwrap().detail.ends_with("at the URL that the event brought"), "{error:?}");
    }
    let refused = || Reading::All(Err(DeliveryError::Halt(http(200).answer())));
    let verdicts = of_a_callback(judge(1, &http(200), refused));
    assert_eq!(verdicts.one().err().and_then(|e| e.class()), Some(Class::Halt));
}

#[test]
fn a_refusal_in_the_body_decides_only_where_the_body_speaks() {
    let refused = || Reading::All(Err(DeliveryError::Halt(Answer::default())));
    for status in [200, 400, 404, 405, 413, 415, 422, 409] {
        assert_eq!(class(status, refused()), Some(Class::Halt), "{status}");
    }
    assert_eq!(class(429, refused()), Some(Class::Throttled));
    assert_eq!(class(503, refused()), Some(Class::Retry));
    assert_eq!(class(408, refused()), Some(Class::Retry));
}

#[test]
fn a_success_that_says_nothing_is_an_answer_that_cannot_be_read() {
    let answer = judged(200, Reading::Nothing).unwrap_err().answer().cloned().unwrap();
    assert!(answer.detail.starts_with("an answer that cannot be read: "), "{}", answer.detail);
    assert!(answer.sent && answer.unclassified);
}

#[test]
fn a_wait_is_kept_for_429_and_5xx_alone() {
    let wait = |status| judged(status, Reading::Nothing).err().and_then(|e| e.answer().and_then(|a| a.retry_after));
    assert_eq!(wait(429), Some(Duration::from_secs(7)));
    assert_eq!(wait(503), Some(Duration::from_secs(7)));
    for status in [200, 302, 400, 403, 408, 409, 425] {
        assert_eq!(wait(status), None, "{status}");
    }
}

#[test]
fn only_a_status_without_a_row_and_a_success_that_says_nothing_are_unclassified() {
    for status in 100..=999 {
        let answer = judged(status, Reading::Nothing).err().and_then(|e| e.answer().cloned());
        let known =
            matches!(status, 300..=408 | 413 | 415 | 422 | 425 | 429 | 500..=599) && !matches!(status, 402 | 406);
        assert_eq!(answer.as_ref().map(|a| a.unclassified), Some(!known), "{status}");
        assert_eq!(answer.map(|a| (a.status, a.sent)), Some((Some(status), true)), "{status}");
    }
}

fn classes(verdicts: Verdicts) -> Vec<Option<Class>> {
    let Verdicts::Each(verdicts) = verdicts else { panic!("not one per item") };
    verdicts.iter().map(|v| v.as_ref().err().and_then(DeliveryError::class)).collect()
}

#[test]
fn an_item_that_its_answer_does_not_mention_is_ambiguous() {
    let refused = || Some(Err(DeliveryError::Permanent(Answer::default())));
    let accepted = || Some(Ok(Receipt::default()));
    let (ambiguous, permanent) = (Some(Class::Ambiguous), Some(Class::Permanent));
    let said = || Reading::Each(vec![accepted(), None, refused()]);
    assert_eq!(classes(judge(3, &http(200), said)), [None, ambiguous, permanent]);
    // Each item gets a verdict, and a success under a status that refuses does not count as one.
    assert_eq!(classes(judge(4, &http(200), said)), [None, ambiguous, permanent, ambiguous]);
    assert_eq!(classes(judge(2, &http(200), said)), [None, ambiguous]);
    assert_eq!(classes(judge(3, &http(400), said)), [ambiguous, ambiguous, permanent]);
    assert_eq!(class(200, Reading::Each(vec![None])), ambiguous);
    assert_eq!(class(200, Reading::Each(Vec::new())), ambiguous);
    assert_eq!(class(200, Reading::Each(vec![accepted()])), None);
}

#[test]
fn a_request_of_several_that_is_refused_as_a_whole_is_split_and_one_of_one_is_permanent() {
    let permanent = || Reading::All(Err(DeliveryError::Permanent(Answer::default())));
    let readings: [(u16, &dyn Fn() -> Reading); 4] =
        [(200, &|| Reading::Split), (200, &permanent), (400, &|| Reading::Nothing), (413, &success)];
    for (status, said) in readings {
        assert!(matches!(judge(2, &http(status), said), Verdicts::Split), "{status}");
        assert_eq!(class(status, said()), Some(Class::Permanent), "{status}");
    }
    // Where the status decides, the body cannot ask for a split.
    assert!(matches!(judge(2, &http(503), || Reading::Split), Verdicts::All(Err(DeliveryError::Retry(_)))));
}
