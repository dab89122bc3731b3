//! The body of an upload: reads its form strictly, and checks the rules between its members.

use std::collections::HashMap;
use std::fmt;
use std::marker::PhantomData;
use std::ops::Deref;
use std::sync::LazyLock;

use serde::de::value::MapAccessDeserializer;
use serde::de::{MapAccess, Visitor};
use serde::{Deserialize, Deserializer};

use super::account::Qihoo360Account;

/// The largest allowed error of the sender's clock.
const MAX_SKEW_SECONDS: i64 = 300;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Upload {
    pub(super) data: Object<Data>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Data {
    #[serde(default, deserialize_with = "given")]
    request_time: Option<i32>,
    pub(super) data_industry: String,
    #[serde(default, deserialize_with = "given")]
    data_source: Option<String>,
    pub(super) data_detail: Object<Detail>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Detail {
    #[serde(default, deserialize_with = "given")]
    pub(super) impression_id: Option<String>,
    #[serde(default, deserialize_with = "given")]
    pub(super) qhclickid: Option<String>,
    #[serde(default, deserialize_with = "given")]
    pub(super) jzqs: Option<String>,
    #[serde(default, deserialize_with = "given")]
    pub(super) trans_id: Option<String>,
    pub(super) event: String,
    #[serde(default, deserialize_with = "given")]
    event_time: Option<i32>,
    #[serde(default, deserialize_with = "given")]
    event_param: Option<Object<EventParam>>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct EventParam {
    #[serde(default, deserialize_with = "given")]
    value: Option<i64>,
    #[serde(default, deserialize_with = "given")]
    score: Option<i64>,
    #[serde(default, deserialize_with = "given")]
    outeruserid: Option<String>,
    #[serde(default, deserialize_with = "given")]
    bname: Option<String>,
    #[serde(default, deserialize_with = "given")]
    urtime: Option<i64>,
}

/// Reads a member that is there and must have a value. serde alone would take `null` for an absent member.
fn given<'de, T: Deserialize<'de>, D: Deserializer<'de>>(deserializer: D) -> Result<Option<T>, D::Error> {
    T::deserialize(deserializer).map(Some)
}

/// A JSON object and nothing else. serde alone would also take an array for a struct.
#[derive(Debug)]
pub(super) struct Object<T>(T);

impl<T> Deref for Object<T> {
    type Target = T;
    fn deref(&self) -> &T {
        &self.0
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Object<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Members<T>(PhantomData<T>);
        impl<'de, T: Deserialize<'de>> Visitor<'de> for Members<T> {
            type Value = Object<T>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }
            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Self::Value, A::Error> {
                T::deserialize(MapAccessDeserializer::new(map)).map(Object)
            }
        }
        deserializer.deserialize_map(Members(PhantomData))
    }
}

/// Reads a body. Unknown and repeated members, wrong types and nulls are problems.
pub(super) fn parse(body: &[u8]) -> Result<Upload, String> {
    let upload: Object<Upload> = serde_json::from_slice(body).map_err(|error| format!("body: {error}"))?;
    Ok(upload.0)
}

/// One row of the event table. It says for each product line whether the event exists there, which members its
/// `event_param` has, and whether `trans_id` is mandatory.
#[derive(Debug, Default, Clone, Copy)]
struct Cell {
    exists: bool,
    members: &'static str,
    trans_id: bool,
}

/// The product lines in the order of the table's columns.
const LINES: [(&str, &str); 4] =
    [("web", "ocpc_web_convert"), ("ps", "ocpc_ps_convert"), ("ms", "ocpc_ms_convert"), ("zs", "ocpc_zs_convert")];
const WEB: usize = 0;
const ZS: usize = 3;

static EVENTS: LazyLock<HashMap<&'static str, [Cell; 4]>> = LazyLock::new(|| {
    let mut events = HashMap::new();
    for row in include_str!("../360-events.csv").lines().skip(1) {
        let columns: Vec<&str> = row.split(',').collect();
        if let [event, exists @ .., trans_id] = &columns[..]
            && let Some((exists, members)) = exists.split_at_checked(4)
        {
            let mut cells = [Cell::default(); 4];
            for (((cell, &exists), &members), (line, _)) in cells.iter_mut().zip(exists).zip(members).zip(LINES) {
                *cell = Cell { exists: exists == "1", members, trans_id: trans_id.split('|').any(|l| l == line) };
            }
            events.insert(*event, cells);
        }
    }
    events
});

/// Checks the rules between the members, and names the first one that is broken.
pub(super) fn check(upload: &Upload, account: &Qihoo360Account, now: i64) -> Result<(), String> {
    let data = &upload.data;
    let detail = &data.data_detail;
    if let Some(time) = data.request_time
        && (now - i64::from(time)).abs() > MAX_SKEW_SECONDS
    {
        return Err(format!("data.request_time: {time} is more than {MAX_SKEW_SECONDS} s off {now}"));
    }
    let line = LINES.iter().position(|(_, name)| *name == data.data_industry);
    let line = line.ok_or_else(|| format!("data.data_industry: unknown line `{}`", data.data_industry))?;
    match (&data.data_source, &account.data_source) {
        (None, Some(_)) => return Err("data.data_source: mandatory for this account".to_owned()),
        (Some(_), None) => return Err("data.data_source: the account reports through no tool".to_owned()),
        (Some(source), Some(_)) if source.is_empty() => return Err("data.data_source: empty".to_owned()),
        _ => {}
    }
    check_ids(detail, line, account)?;
    let cell = EVENTS.get(detail.event.as_str()).and_then(|cells| cells.get(line)).filter(|cell| cell.exists);
    let cell = cell.ok_or_else(|| format!("data.data_detail.event: no `{}` on this line", detail.event))?;
    match detail.trans_id.as_deref() {
        None if cell.trans_id => return Err(format!("data.data_detail.trans_id: mandatory for {}", detail.event)),
        Some("") => return Err("data.data_detail.trans_id: empty".to_owned()),
        _ => {}
    }
    if detail.event_time.is_some_and(|time| time < 0) {
        return Err("data.data_detail.event_time: negative".to_owned());
    }
    detail.event_param.as_ref().map_or(Ok(()), |param| check_param(param, cell, &detail.event))
}

fn check_ids(detail: &Detail, line: usize, account: &Qihoo360Account) -> Result<(), String> {
    let (wanted, unwanted, name, other) = if line == WEB {
        (&detail.impression_id, &detail.qhclickid, "impression_id", "qhclickid")
    } else {
        (&detail.qhclickid, &detail.impression_id, "qhclickid", "impression_id")
    };
    if unwanted.is_some() {
        return Err(format!("data.data_detail.{other}: not of this line"));
    }
    let id = wanted.as_deref().filter(|id| !id.is_empty());
    let id = id.ok_or_else(|| format!("data.data_detail.{name}: mandatory on this line"))?;
    let length = if line == ZS { 12 } else { 16 };
    if line != WEB && !account.any_click_length && id.chars().count() != length {
        return Err(format!("data.data_detail.qhclickid: not {length} characters"));
    }
    match (&detail.jzqs, &account.jzqs) {
        (Some(_), _) if line != ZS => Err("data.data_detail.jzqs: only on ocpc_zs_convert".to_owned()),
        (None, _) if line == ZS => Err("data.data_detail.jzqs: mandatory on this line".to_owned()),
        (Some(jzqs), _) if jzqs.is_empty() => Err("data.data_detail.jzqs: empty".to_owned()),
        (Some(jzqs), Some(own)) if jzqs != own => Err("data.data_detail.jzqs: another advertiser's".to_owned()),
        _ => Ok(()),
    }
}

fn check_param(param: &EventParam, cell: &Cell, event: &str) -> Result<(), String> {
    let members = [
        ("value", param.value.map(|fen| fen >= 0), "not an amount in fen"),
        ("score", param.score.map(|score| score > 0), "not a positive integer"),
        ("outeruserid", param.outeruserid.as_ref().map(|id| !id.is_empty()), "empty"),
        ("bname", param.bname.as_ref().map(|name| !name.is_empty()), "empty"),
        ("urtime", param.urtime.map(|time| (1_000_000_000..=9_999_999_999).contains(&time)), "not 10 digits"),
    ];
    if members.iter().all(|(_, fine, _)| fine.is_none()) {
        return Err("data.data_detail.event_param: empty".to_owned());
    }
    for (member, fine, text) in members {
        let Some(fine) = fine else { continue };
        if !cell.members.split('|').any(|allowed| allowed == member) {
            return Err(format!("data.data_detail.event_param.{member}: not for {event} on this line"));
        }
        if !fine {
            return Err(format!("data.data_detail.event_param.{member}: {text}"));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_has_every_event_of_every_line() {
        let on = |line: usize| EVENTS.values().filter(|cells| cells[line].exists).count();
        assert_eq!((EVENTS.len(), on(0), on(1), on(2), on(3)), (53, 4, 46, 49, 45));
        let only = |line: usize| {
            let mut names: Vec<_> =
                EVENTS.iter().filter(|(_, c)| (0..4).all(|l| c[l].exists == (l == line))).map(|(e, _)| *e).collect();
            names.sort_unstable();
            names
        };
        assert_eq!(only(1), ["ACTIVATION"]);
        assert_eq!(only(2), ["APP_ACTIVATION", "APP_DOWNLOAD", "APP_PAY", "APP_RETENTION", "STARTUP_APP"]);
        assert_eq!(only(3), ["APPLET_PAY", "APPLET_ROLE_CREAT"]);
    }

    #[test]
    fn the_table_follows_the_rules_for_members_and_trans_id() {
        for (event, cells) in EVENTS.iter() {
            for (line, cell) in cells.iter().enumerate().filter(|(_, cell)| cell.exists) {
                let pays = ["ORDER", "LOW_PAY", "APP_PAY", "PAY_SUCCESS", "PAY"].contains(event);
                let registers = ["ORDER", "COUSTOMIZE"].contains(event);
                let expected: Vec<&str> = [
                    ("value", line != WEB && pays),
                    ("score", line != WEB),
                    ("outeruserid", line != WEB),
                    ("bname", line == ZS),
                    ("urtime", (line == 1 || line == ZS) && registers),
                ]
                .into_iter()
                .filter_map(|(member, there)| there.then_some(member))
                .collect();
                assert_eq!(cell.members, expected.join("|"), "{event} {line}");
                assert_eq!(cell.trans_id, line == ZS || ["SUBMIT", "ORDER"].contains(event), "{event} {line}");
            }
        }
    }
}
