use super::*;

#[test]
fn both_forms_are_read_and_capped_and_garbage_is_none() {
    // 1994-11-06 08:49:37 UTC
    let now = 784_111_777_000;
    let table = [
        ("0", Some(0)),
        ("7", Some(7_000)),
        (" 7\t", Some(7_000)),
        ("007", Some(7_000)),
        ("900", Some(900_000)),
        ("901", Some(900_000)),
        ("18446744073709551615", Some(900_000)),
        ("99999999999999999999999999", Some(900_000)),
        ("Sun, 06 Nov 1994 08:49:37 GMT", Some(0)),
        ("Sun, 06 Nov 1994 08:49:47 GMT", Some(10_000)),
        ("Sunday, 06-Nov-94 08:49:47 GMT", Some(10_000)),
        ("Sun Nov  6 08:49:47 1994", Some(10_000)),
        ("Sun, 06 Nov 1994 08:49:07 GMT", Some(0)),
        ("Thu, 01 Jan 1970 00:00:00 GMT", Some(0)),
        ("Sat, 06 Nov 2094 08:49:37 GMT", Some(900_000)),
        ("", None),
        (" ", None),
        ("-1", None),
        ("+1", None),
        ("1.5", Some(2_000)),
        ("0.001", Some(1_000)),
        ("0.0", Some(0)),
        ("7.000", Some(7_000)),
        ("7.", Some(7_000)),
        (".5", Some(1_000)),
        ("899.01", Some(900_000)),
        ("900.5", Some(900_000)),
        ("18446744073709551615.9", Some(900_000)),
        (".", None),
        ("1.5.0", None),
        ("1,5", None),
        ("1.5s", None),
        ("-0.5", None),
        ("1e3", None),
        ("5s", None),
        ("soon", None),
        ("７", None),
        ("Sun, 06 Nov 1994", None),
        ("Mon, 06 Nov 1994 08:49:47 GMT", None),
        ("Sun, 99 Nov 1994 08:49:37 GMT", None),
    ];
    for (text, millis) in table {
        assert_eq!(parse(text, now), millis.map(Duration::from_millis), "{text:?}");
    }
}

#[test]
fn a_date_counts_from_the_millisecond_of_the_answer() {
    let due = "Sun, 06 Nov 1994 08:49:38 GMT";
    assert_eq!(parse(due, 784_111_777_250), Some(Duration::from_millis(750)));
    assert_eq!(parse(due, -1), Some(CAP));
}
