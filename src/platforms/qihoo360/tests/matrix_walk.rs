use std::collections::BTreeSet;

use super::*;
use crate::platforms::qihoo360::matrix::Line;

const LINES: [(&str, &str); 4] =
    [("web", "ocpc_web_convert"), ("ps", "ocpc_ps_convert"), ("ms", "ocpc_ms_convert"), ("zs", "ocpc_zs_convert")];

/// The rows of the reference table, by column name.
fn rows() -> Vec<BTreeMap<String, String>> {
    let text = include_str!("../../../../tests/fixtures/360-events.csv");
    let mut lines = text.lines().map(cells);
    let head = lines.next().unwrap();
    lines.map(|row| head.iter().cloned().zip(row).collect()).collect()
}

/// The cells of a row; a quoted one may hold commas.
fn cells(row: &str) -> Vec<String> {
    let (mut cells, mut quoted) = (vec![String::new()], false);
    for c in row.chars() {
        match c {
            '"' => quoted = !quoted,
            ',' if !quoted => cells.push(String::new()),
            c => cells.last_mut().unwrap().push(c),
        }
    }
    cells
}

fn names(cell: &str) -> BTreeSet<&str> {
    cell.split('|').filter(|name| !name.is_empty()).collect()
}

#[test]
fn all_cells_of_the_matrix_send_what_they_allow_and_refuse_the_rest() {
    let (mut sent, mut refused) = (0, 0);
    for row in rows() {
        let required = names(&row["trans_id_required"]);
        for (line, industry) in LINES {
            let sender = sender(&format!("data_industry = '{industry}'\njzqs = '1000001'"));
            let code = row["event"].as_str();
            for native in [false, true] {
                let event = edited(|e| {
                    e["event_type"] = json!(if native { "anything" } else { row["canonical_event"].as_str() });
                    e["platform_event"] = if native { json!(code) } else { Value::Null };
                });
                if row[line] != "1" {
                    let field = if native { "platform_event" } else { "event_type" };
                    assert_eq!(refusal(&sender, &event), ("unmapped_event", field.into()), "{code} on {line}");
                    refused += 1;
                    continue;
                }
                let body = body(&sender, &event);
                let detail = &body["data"]["data_detail"];
                assert_eq!(body["data"]["data_industry"], industry);
                assert_eq!(detail["event"], code);
                assert_eq!(detail.get("impression_id").is_some(), line == "web");
                assert_eq!(detail.get("qhclickid").is_some(), line != "web");
                assert_eq!(detail.get("jzqs").is_some(), line == "zs");
                if required.contains(line) {
                    assert!(detail["trans_id"].as_str().is_some_and(|id| !id.is_empty()), "{code} on {line}");
                }
                let allowed = names(&row[&format!("event_param_{line}")]);
                let members: BTreeSet<&str> = match detail.get("event_param") {
                    Some(members) => members.as_object().unwrap().keys().map(String::as_str).collect(),
                    None => BTreeSet::new(),
                };
                assert_eq!(members, allowed, "{code} on {line}");
                assert_eq!(detail.get("event_param").is_none(), allowed.is_empty(), "{code} on {line}");
                let stripped =
                    sender.prepare(&event).unwrap().warnings.iter().filter(|w| w.contains("left out")).count();
                assert_eq!(stripped, ALL_PARAMS.len() - allowed.len(), "{code} on {line}");
                sent += 1;
            }
        }
    }
    assert_eq!((sent, refused), (2 * 144, 2 * (53 * 4 - 144)));
}

#[test]
fn disallowed_members_are_refused_or_sent_where_the_account_says_so() {
    for row in rows() {
        for (line, industry) in LINES.into_iter().filter(|(line, _)| row[*line] == "1") {
            let event = edited(|e| e["event_type"] = json!(row["canonical_event"]));
            let allowed = names(&row[&format!("event_param_{line}")]);
            let account = format!("data_industry = '{industry}'\njzqs = '1000001'\nevent_param.disallowed = ");

            let sent = body(&sender(&format!("{account}'send'")), &event);
            let members = sent["data"]["data_detail"]["event_param"].as_object().unwrap().clone();
            assert_eq!(members.len(), ALL_PARAMS.len(), "{} on {line}", row["event"]);

            let strict = sender(&format!("{account}'reject'"));
            let fields = ["order.amount", "params.score", "user.user_id", "params.bname", "user.registered_at_ms"];
            match ALL_PARAMS.iter().position(|member| !allowed.contains(member)) {
                Some(first) => assert_eq!(refusal(&strict, &event), ("invalid", fields[first].into())),
                None => assert!(strict.prepare(&event).is_ok()),
            }
        }
    }
}

#[test]
fn the_compiled_table_is_the_reference_table() {
    let rows = rows();
    assert_eq!(rows.len(), 53);
    for row in rows {
        let entry = matrix::Matrix::get().by_code(&row["event"]).unwrap();
        assert_eq!(entry.canonical, row["canonical_event"]);
        assert_eq!(matrix::Matrix::get().by_canonical(&row["canonical_event"]).unwrap().code, row["event"]);
        for (line, (name, industry)) in Line::ALL.into_iter().zip(LINES) {
            assert_eq!(line.industry(), industry);
            assert_eq!(entry.on(line).is_some(), row[name] == "1");
        }
    }
}

#[test]
fn members_stand_in_the_printed_order() {
    let sender = sender("data_industry = 'ocpc_zs_convert'\njzqs = '1000001'\ndata_source = 'tool'");
    let prepared = sender.prepare(&edited(|_| {})).unwrap();
    let text = prepared.item.text().unwrap();
    let order = [
        "data_industry",
        "data_source",
        "data_detail",
        "qhclickid",
        "jzqs",
        "trans_id",
        "event",
        "event_time",
        "event_param",
        "value",
        "score",
        "outeruserid",
        "bname",
        "urtime",
    ];
    let at: Vec<usize> = order.iter().map(|name| text.find(&format!("\"{name}\":")).unwrap()).collect();
    assert!(at.is_sorted(), "{text}");
}
