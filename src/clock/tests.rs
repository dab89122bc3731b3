use super::*;

const MINUTE_MS: i64 = 60_000;

/// What hosts say of our clock, each so many minutes ahead of it: one account per line.
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
    // A second of the header, or a slower answer, is nothing new to say.
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
        // What is settled meanwhile is settled by the nearest of them.
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
    // What was said of the clock as it was is no witness against what is said of it now.
    set_by(-30 * MINUTE_MS);
    clock.saw_date(&"b".into(), "b.example", now_ms() + 30 * MINUTE_MS, Instant::now());
    assert_eq!(clock.trouble(), None, "one host alone");
    clock.saw_date(&"a".into(), "a.example", now_ms() + 30 * MINUTE_MS, Instant::now());
    let trouble = clock.trouble();
    set_by(0);
    assert!(trouble.unwrap().contains("30 min behind"));
}

#[test]
fn an_answer_that_took_long_does_not_tell_the_time() {
    let Some(asked) = Instant::now().checked_sub(LONGEST_ANSWER + Duration::from_secs(1)) else { return };
    let clock = Shared::default();
    clock.saw_date(&"a".into(), "a.example", now_ms() + 60 * MINUTE_MS, asked);
    assert_eq!(clock.warnings(), Vec::<String>::new());
}
