use super::*;

const MINUTE_MS: i64 = 60_000;

/// What hosts say about our clock. Each line has an account, its host, and the minutes that the host is ahead of our
/// clock.
fn told(said: &[(&str, &str, i64)]) -> Shared {
    let clock = Shared::default();
    let now = now_ms();
    for (account, host, minutes) in said {
        clock.saw_date(&Arc::from(*account), host, now + minutes * MINUTE_MS, Instant::now());
    }
    clock
}

#[test]
fn one_platforms_wrong_date_is_said_and_holds_nobody() {
    let clock = told(&[("acme", "a.example", 60)]);
    assert_eq!(clock.trouble(), None, "it alone may be wrong");
    let said = clock.warnings();
    let [text] = &said[..] else { panic!("{said:?}") };
    for part in ["account acme", "60 min behind", "a.example", "NTP"] {
        assert!(text.contains(part), "{part}: {text}");
    }
    // The `Date` header has whole seconds, and an answer may be slow: such differences are no news.
    for more_ms in [-9_000, 400, 9_000] {
        clock.saw_date(&"acme".into(), "a.example", now_ms() + 60 * MINUTE_MS + more_ms, Instant::now());
        assert_eq!(clock.warnings(), said, "{more_ms} ms more");
    }
    clock.saw_date(&"acme".into(), "a.example", now_ms(), Instant::now());
    assert_eq!(clock.warnings(), Vec::<String>::new(), "it was set right");
}

#[test]
fn what_several_hosts_agree_on_holds_the_worker_and_one_that_says_otherwise_does_not_let_it() {
    let rows: [(&[_], bool); 8] = [
        (&[("a", "a.example", 60), ("b", "b.example", 70)], true),
        (&[("a", "a.example", -60), ("b", "b.example", -7)], true),
        (&[("a", "a.example", 60), ("b", "a.example", 60)], false),
        (&[("a", "a.example", 60), ("b", "b.example", 0)], false),
        (&[("a", "a.example", 60), ("b", "b.example", 4)], false),
        (&[("a", "a.example", 60), ("b", "b.example", -60)], false),
        (&[("a", "a.example", 60), ("b", "b.example", 60), ("c", "c.example", 0)], false),
        (&[("a", "a.example", 0), ("b", "b.example", 0)], false),
    ];
    for (said, holds) in rows {
        let clock = told(said);
        assert_eq!(clock.trouble().is_some(), holds, "{said:?}");
        // An event that is settled meanwhile is settled by the nearest of these clocks.
        let nearest = said.iter().map(|(_, _, minutes)| minutes).min_by_key(|m| m.abs()).unwrap();
        let off = if holds { nearest * MINUTE_MS } else { 0 };
        assert!((clock.now_ms() - now_ms() - off).abs() < 30_000, "{said:?}");
    }
}

#[test]
fn a_redis_by_the_same_wrong_clock_does_not_hide_it() {
    let clock = told(&[("a", "a.example", 60), ("b", "b.example", 60)]);
    clock.saw((now_ms() / 1000, 0), Instant::now());
    assert!(clock.trouble().unwrap().contains("60 min behind those of the platforms"));
}

#[test]
fn once_our_own_clock_is_set_the_worker_goes_on_without_an_answer() {
    set_by(-60 * MINUTE_MS);
    let clock = told(&[("a", "a.example", 60), ("b", "b.example", 60)]);
    assert!(clock.trouble().is_some() && clock.warnings().len() == 2);
    set_by(0);
    assert_eq!((clock.trouble(), clock.warnings()), (None, Vec::new()));
    // An answer from before our clock was set says nothing against an answer of now.
    set_by(-30 * MINUTE_MS);
    clock.saw_date(&"b".into(), "b.example", now_ms() + 30 * MINUTE_MS, Instant::now());
    assert_eq!(clock.trouble(), None, "one host alone");
    clock.saw_date(&"a".into(), "a.example", now_ms() + 30 * MINUTE_MS, Instant::now());
    let trouble = clock.trouble();
    set_by(0);
    assert!(trouble.unwrap().contains("30 min behind"));
}

fn says(clock: &Shared, account: &str, minutes: i64) {
    clock.saw_date(&account.into(), &format!("{account}.example"), now_ms() + minutes * MINUTE_MS, Instant::now());
}

#[test]
fn what_platforms_said_holds_no_longer_than_it_stands_unless_they_say_it_again() {
    let clock = told(&[("a", "a.example", 60), ("b", "b.example", 60)]);
    pass(dates::STANDS_FOR / 2);
    assert!(clock.trouble().is_some());
    // An answer that was still under way says the same again.
    says(&clock, "a", 60);
    pass(dates::STANDS_FOR * 3 / 4);
    assert!(clock.trouble().is_some());
    pass(dates::STANDS_FOR / 4);
    assert_eq!(clock.trouble(), None, "nobody has said anything since");
    assert!((clock.now_ms() - now_ms()).abs() < 30_000);
    // One host alone does not stop the worker, and the other host's answer is too old. But no host has said otherwise.
    says(&clock, "a", 60);
    assert_eq!(clock.trouble(), None);
    assert!((clock.doubted_now_ms().unwrap() - now_ms() - 60 * MINUTE_MS).abs() < 30_000);
    says(&clock, "b", 60);
    assert!(clock.trouble().is_some(), "both say it again");
    pass(dates::STANDS_FOR);
    assert_eq!(clock.trouble(), None);
    // The two hosts had the wrong time.
    says(&clock, "b", 0);
    assert_eq!((clock.trouble(), clock.doubted_now_ms()), (None, None));
    says(&clock, "a", 60);
    assert_eq!(clock.trouble(), None);
}

#[test]
fn a_hold_by_wrong_dates_ends_with_the_first_that_agrees_with_ours() {
    let clock = told(&[("a", "a.example", 60), ("b", "b.example", 60)]);
    assert!(clock.trouble().is_some() && clock.doubted_now_ms().is_some());
    says(&clock, "a", 0);
    assert_eq!((clock.trouble(), clock.doubted_now_ms()), (None, None));
}

#[test]
fn little_by_little_is_judged_like_all_at_once() {
    // A difference of 4 min 55 s does not stop the worker. With 10 s more, which would otherwise be no news, it does.
    let clock = Shared::default();
    for host in ["a", "b"] {
        clock.saw_date(&host.into(), host, now_ms() + 295_000, Instant::now());
    }
    assert_eq!(clock.trouble(), None);
    for host in ["a", "b"] {
        clock.saw_date(&host.into(), host, now_ms() + 305_000, Instant::now());
    }
    assert!(clock.trouble().is_some());
}

#[test]
fn an_answer_that_took_long_does_not_tell_the_time() {
    let Some(asked) = Instant::now().checked_sub(LONGEST_ANSWER + Duration::from_secs(1)) else { return };
    let clock = Shared::default();
    clock.saw_date(&"a".into(), "a.example", now_ms() + 60 * MINUTE_MS, asked);
    assert_eq!(clock.warnings(), Vec::<String>::new());
    // A process that was stopped for a quarter of an hour after Redis had answered.
    let Some(asked) = Instant::now().checked_sub(Duration::from_secs(900)) else { return };
    clock.saw((now_ms() / 1000 - 900, 0), asked);
    assert_eq!((clock.trouble(), clock.warning()), (None, None));
}

#[test]
fn the_largest_offset_is_that_of_whichever_clock_differs_most() {
    let clock = Shared::default();
    assert_eq!(clock.largest_offset_ms(), 0, "no other clock was read");
    let about = |minutes: i64| (clock.largest_offset_ms() - minutes * MINUTE_MS).abs() < 30_000;
    clock.saw(((now_ms() + 2 * MINUTE_MS) / 1000, 0), Instant::now());
    assert!(about(-2), "ours is behind that of Redis");
    says(&clock, "a", -3);
    assert!(about(3), "ours is ahead of that of a platform");
    says(&clock, "a", 0);
    assert!(about(-2), "the platform agrees with ours again");
}
