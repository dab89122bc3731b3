//! Compares the event mapping with the table of the specification (section 8). The mapping itself is `[events]` of each
//! platform's file. The table is kept as a file of its own: a cell with a question mark there has no default and is
//! empty here, and of two values in a cell the first one belongs to the first canonical name.

use std::collections::{BTreeMap, BTreeSet};

const TABLE: &str = include_str!("../../tests/fixtures/event-mapping.csv");

/// The columns, the file that they are about, and which of its `[[request]]`s has the events; `None`: those of
/// `[events]`.
const COLUMNS: [(&str, &str, Option<usize>); 7] = [
    ("oceanengine v2", include_str!("../../config/platforms/oceanengine.toml"), None),
    ("oceanengine v1", include_str!("../../config/platforms/oceanengine.toml"), Some(1)),
    ("tencent_ads", include_str!("../../config/platforms/tencent_ads.toml"), None),
    ("baidu", include_str!("../../config/platforms/baidu.toml"), None),
    ("kuaishou", include_str!("../../config/platforms/kuaishou.toml"), None),
    ("meta", include_str!("../../config/platforms/meta.toml"), None),
    ("tiktok", include_str!("../../config/platforms/tiktok.toml"), None),
];

/// Canonical to native, as a file has it.
fn of_file(text: &str, form: Option<usize>) -> BTreeMap<String, String> {
    let file: toml::Table = text.parse().unwrap();
    let events = match form {
        None => &file["events"],
        Some(n) => &file["request"][n]["events"],
    };
    let text = |native: &toml::Value| native.as_str().map_or_else(|| native.to_string(), str::to_owned);
    events.as_table().unwrap().iter().map(|(name, native)| (name.clone(), text(native))).collect()
}

#[test]
fn the_events_of_each_platforms_file_are_those_of_the_specification() {
    let mut rows = TABLE.lines().map(|row| row.split(',').collect::<Vec<_>>());
    let names = rows.next().unwrap();
    assert_eq!(names[1..], COLUMNS.map(|(name, ..)| name));
    let rows: Vec<_> = rows.collect();
    let canonical: BTreeSet<_> = rows.iter().map(|row| row[0]).collect();
    assert_eq!(canonical.len(), 23);
    for (n, (name, file, form)) in COLUMNS.into_iter().enumerate() {
        let stated = rows.iter().filter(|row| !row[n + 1].is_empty());
        let mut expected: BTreeMap<_, _> = stated.map(|row| (row[0].to_owned(), row[n + 1].to_owned())).collect();
        if name == "baidu" {
            // A refund has a form of its own.
            let refund = expected.remove("refund");
            assert_eq!(of_file(file, Some(0)).get("refund"), refund.as_ref());
        }
        assert_eq!(of_file(file, form), expected, "{name}");
    }
}

#[test]
fn the_app_callback_of_baidu_names_events_in_words() {
    let (_, file, _) = COLUMNS[3];
    let events = of_file(file, Some(1));
    for (canonical, word) in [("install", "activate"), ("pay", "orders"), ("retention_d1", "retain_1day")] {
        assert_eq!(events[canonical], word);
    }
}
