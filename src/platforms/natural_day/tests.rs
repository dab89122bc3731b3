use super::*;

fn ms(text: &str) -> i64 {
    DateTime::parse_from_rfc3339(text).unwrap().timestamp_millis()
}

#[test]
fn the_published_windows_come_out() {
    let vectors: serde_json::Value =
        serde_json::from_str(include_str!("../../../tests/fixtures/vectors.json")).unwrap();
    let windows = vectors["natural_day_window"].as_array().unwrap();
    assert_eq!(windows.len(), 4);
    for v in windows {
        let tz: Tz = v["tz"].as_str().unwrap().parse().unwrap();
        let end = day_end_ms(ms(v["anchor_utc"].as_str().unwrap()), tz);
        assert_eq!(end, v["window_end_epoch_s"].as_i64().unwrap() * 1000, "{}", v["id"]);
        assert_eq!(end, ms(v["window_end_exclusive_utc"].as_str().unwrap()), "{}", v["id"]);
        let last = ms(v["last_attempt_start_with_60s_guard_utc"].as_str().unwrap());
        assert_eq!(end - 60_000, last, "{}", v["id"]);
    }
}

#[test]
fn days_with_a_clock_change_end_where_the_next_one_begins() {
    let table = [
        // 23 and 25 hours
        ("Europe/Berlin", "2025-03-30T00:00:00+01:00", "2025-03-31T00:00:00+02:00"),
        ("Europe/Berlin", "2025-10-26T00:00:00+02:00", "2025-10-27T00:00:00+01:00"),
        // midnight itself is skipped
        ("America/Sao_Paulo", "2018-11-03T12:00:00-03:00", "2018-11-04T01:00:00-02:00"),
        // midnight is reached, and the clock goes back to 23:00 of the same day
        ("America/Sao_Paulo", "2018-02-17T12:00:00-02:00", "2018-02-18T00:00:00-03:00"),
        // a zone without the 30th
        ("Pacific/Apia", "2011-12-29T12:00:00-10:00", "2011-12-31T00:00:00+14:00"),
        ("Asia/Shanghai", "2025-01-15T23:59:59.999+08:00", "2025-01-16T00:00:00+08:00"),
    ];
    for (zone, anchor, end) in table {
        assert_eq!(day_end_ms(ms(anchor), zone.parse().unwrap()), ms(end), "{zone} {anchor}");
    }
}

#[test]
fn the_end_is_later_than_the_anchor_even_at_the_edges_of_the_calendar() {
    for anchor in [i64::MIN, -1, 0, 1, 1 << 62] {
        assert!(day_end_ms(anchor, chrono_tz::Asia::Shanghai) > anchor, "{anchor}");
    }
}

proptest::proptest! {
    #[test]
    fn anchor_and_end_lie_on_different_days_and_the_last_millisecond_on_the_anchors(
        anchor in 0_i64..4_102_444_800_000, zone in 0..chrono_tz::TZ_VARIANTS.len(),
    ) {
        let tz = chrono_tz::TZ_VARIANTS[zone];
        let date = |ms: i64| DateTime::<Utc>::from_timestamp_millis(ms).unwrap().with_timezone(&tz).date_naive();
        let end = day_end_ms(anchor, tz);
        proptest::prop_assert!(end > anchor);
        proptest::prop_assert!(end - anchor <= 50 * 3_600_000);
        proptest::prop_assert!(date(end) > date(anchor), "{} {}", tz, anchor);
    }
}
