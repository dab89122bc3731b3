//! The pages as files, and the route over a real socket.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path as File;

use pulldown_cmark::{CodeBlockKind, Event, Options, Parser, Tag, TagEnd};

use super::page::anchor;
use super::*;
use crate::admin::Server;
use crate::admin::tests::raw;
use crate::settings::Config as Settings;

const ROOT: &str = env!("CARGO_MANIFEST_DIR");
/// What begins each page.
const TOP: [&str; 5] = ["Means", "Look", "Do", "Stop", "Call"];
/// Pages without an alert: the index, and what `/ready` says.
const WITHOUT_ALERT: [&str; 2] = ["NotReady", INDEX];
/// Files of the folder that are no pages: the record of a walk through them.
const NO_PAGES: [&str; 1] = ["WALK"];

/// Every page but the index.
fn pages() -> impl Iterator<Item = &'static Page> {
    PAGES.iter().filter(|(name, _)| *name != INDEX)
}

fn events(markdown: &str) -> Vec<Event<'_>> {
    Parser::new_ext(markdown, Options::ENABLE_TABLES).collect()
}

fn links(markdown: &str) -> Vec<String> {
    let link = |event: Event<'_>| match event {
        Event::Start(Tag::Link { dest_url, .. }) => Some(dest_url.to_string()),
        _ => None,
    };
    events(markdown).into_iter().filter_map(link).collect()
}

fn anchors(markdown: &str) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    let mut inside = None;
    for event in events(markdown) {
        match event {
            Event::Start(Tag::Heading { .. }) => inside = Some(String::new()),
            Event::End(TagEnd::Heading(_)) => found.extend(inside.take().map(|text| anchor(&text))),
            Event::Text(text) | Event::Code(text) => {
                if let Some(heading) = &mut inside {
                    heading.push_str(&text);
                }
            }
            _ => {}
        }
    }
    found
}

fn read(path: &str) -> String {
    fs::read_to_string(File::new(ROOT).join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// Whether the console has the page of what follows `#/`.
fn is_route(route: &str) -> bool {
    let page = route.split(['?', '/']).next().unwrap();
    read("src/admin/console/pages/list.js").contains(&format!("{{ path: \"{page}\""))
}

#[test]
fn the_list_of_pages_is_the_folder() {
    let mut files = BTreeSet::new();
    for entry in fs::read_dir(File::new(ROOT).join("deploy/runbook")).unwrap() {
        let path = entry.unwrap().path();
        assert_eq!(path.extension().and_then(|e| e.to_str()), Some("md"), "{}", path.display());
        files.insert(path.file_stem().unwrap().to_str().unwrap().to_owned());
    }
    NO_PAGES.iter().for_each(|name| _ = files.remove(*name));
    let listed: BTreeSet<String> = PAGES.iter().map(|(name, _)| (*name).to_owned()).collect();
    assert_eq!(files, listed);
    assert_eq!(listed.len(), PAGES.len(), "one is listed twice");
}

/// An alert of the rules, as far as its page depends on it.
#[derive(Default)]
struct Alert {
    name: String,
    severity: String,
    runbook: String,
    console: String,
}

fn alerts() -> Vec<Alert> {
    let mut found: Vec<Alert> = Vec::new();
    for line in read("deploy/prometheus/alerts.yml").lines() {
        let Some((key, value)) = line.trim().trim_start_matches("- ").split_once(": ") else { continue };
        let value = value.trim_matches(['\'', '"']).to_owned();
        match (key, found.last_mut()) {
            ("alert", _) => found.push(Alert { name: value, ..Alert::default() }),
            ("severity", Some(alert)) => alert.severity = value,
            ("runbook_url", Some(alert)) => alert.runbook = value,
            ("console_url", Some(alert)) => alert.console = value,
            _ => {}
        }
    }
    found
}

#[test]
fn each_alert_has_its_page_and_each_page_its_alert() {
    let alerts = alerts();
    let with_alert: BTreeSet<&str> =
        PAGES.iter().map(|(name, _)| *name).filter(|name| !WITHOUT_ALERT.contains(name)).collect();
    assert_eq!(alerts.iter().map(|alert| &*alert.name).collect::<BTreeSet<_>>(), with_alert);
    let index = PAGES.iter().find(|(name, _)| *name == INDEX).unwrap().1;
    for Alert { name, severity, runbook, console } in &alerts {
        assert_eq!(*runbook, format!("http://127.0.0.1:9464/runbook/{name}"));
        assert!(index.contains(&format!("| [{name}]({name}.md) | {severity} | ")), "{name} is {severity} in the rules");
        let route = console.strip_prefix("http://127.0.0.1:9464/#/").unwrap_or_else(|| panic!("{name}: {console}"));
        assert!(is_route(route), "{name}: the console has no page {route}");
    }
}

#[test]
fn what_a_page_says_to_write_into_the_configuration_is_accepted() {
    let account = "[kafka]\nbrokers = \"b:9092\"\n[redis]\nurl = \"redis://r\"\n[accounts.acme]\nplatform = \"qihoo360\"\n\
                   data_industry = \"ocpc_ps_convert\"\n";
    let half = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    let env = [
        half("ACME_KEY", "acmeps00000000000001"),
        half("ACME_KEY_OLD", "acmeps00000000000002"),
        half("ACME_SECRET", "0123456789abcdef0123456789abcdef"),
        half("ACME_SECRET_OLD", "fedcba9876543210fedcba9876543210"),
    ];
    let mut seen = 0;
    for (name, text) in PAGES {
        for block in text.split("```toml\n").skip(1) {
            let dir = tempfile::tempdir().unwrap();
            let file = dir.path().join("postback.toml");
            fs::write(&file, format!("{account}{}", block.split("```").next().unwrap())).unwrap();
            if let Err(found) = Settings::load(Some(&file), env.clone()) {
                panic!("{name}: {found}");
            }
            seen += 1;
        }
    }
    assert!(seen > 0, "no page shows a part of the configuration");
}

#[test]
fn each_page_begins_with_the_same_five_lines_and_goes_on_with_the_same_four_parts() {
    for (name, text) in pages() {
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines[0], format!("# {name}"));
        for (n, word) in TOP.iter().enumerate() {
            let line = lines[2 + n];
            assert!(line.starts_with(&format!("- **{word}:** ")), "{name}: {line}");
            assert!(line.len() < 200, "{name}: {word} is no single line: {}", line.len());
        }
        assert_eq!(lines[7], "", "{name}: five lines and no more");
        let parts: Vec<&str> = lines.iter().filter_map(|line| line.strip_prefix("## ")).collect();
        assert_eq!(parts, ["Causes", "Commands", "If nobody does anything", "How it clears"], "{name}");
        assert!(lines.len() <= 60, "{name} is longer than one screen and a half: {}", lines.len());
        assert!(lines[3].contains('`'), "{name}: it says no command to look with: {}", lines[3]);
    }
}

#[test]
fn every_page_stands_in_the_index_and_leads_to_the_console() {
    let index = links(PAGES.iter().find(|(name, _)| *name == INDEX).unwrap().1);
    for (name, text) in pages() {
        assert!(index.contains(&format!("{name}.md")), "the index lacks {name}");
        // Where no worker runs, there is no console either; and nothing of the console shows a wrong clock or file.
        let without = ["PostbackTargetAbsent", "PostbackClockOff"];
        let leads = links(text).iter().any(|link| link.starts_with("../#/"));
        assert!(leads || without.contains(name), "{name} has no link to the console");
    }
}

#[test]
fn every_link_leads_somewhere() {
    for (name, text) in PAGES {
        for link in links(text) {
            if let Some(route) = link.strip_prefix("../#/") {
                assert!(is_route(route), "{name}: the console has no page {route}");
                continue;
            }
            let (file, anchor) = link.split_once('#').map_or((&*link, None), |(file, anchor)| (file, Some(anchor)));
            let target = if file.is_empty() { name } else { file.strip_suffix(".md").unwrap_or(file) };
            let Some((_, target)) = PAGES.iter().find(|(page, _)| *page == target) else {
                panic!("{name}: {link} leads nowhere");
            };
            assert!(anchor.is_none_or(|anchor| anchors(target).contains(anchor)), "{name}: {link} has no such heading");
        }
    }
}

/// The names in a text that look like metrics: `postback_…` and those of the process.
fn metrics(text: &str) -> BTreeSet<&str> {
    let words = text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
    words.filter(|word| word.starts_with("postback_") || word.starts_with("process_")).collect()
}

#[test]
fn every_metric_that_a_page_names_exists() {
    let mut source = read("src/metrics.rs");
    for entry in fs::read_dir(File::new(ROOT).join("src/metrics")).unwrap() {
        let path = entry.unwrap().path();
        if path.is_file() {
            source += &fs::read_to_string(path).unwrap();
        }
    }
    let named: BTreeSet<(&str, &str)> =
        PAGES.iter().flat_map(|(page, text)| metrics(text).into_iter().map(move |metric| (*page, metric))).collect();
    assert!(named.len() > 2, "{named:?}");
    for (page, metric) in named {
        assert!(source.contains(&format!("\"{metric}\"")), "{page} names {metric}, which does not exist");
    }
}

#[test]
fn a_block_of_commands_says_its_language_and_a_command_stands_on_one_line() {
    for (name, text) in PAGES {
        for event in events(text) {
            if let Event::Start(Tag::CodeBlock(kind)) = event {
                let CodeBlockKind::Fenced(language) = kind else { panic!("{name}: an indented block") };
                assert!(["sh", "toml"].contains(&&*language), "{name}: a block of {language:?}");
            }
        }
        assert!(!text.contains("\\\n"), "{name}: a command over two lines cannot be copied at a glance");
    }
}

fn served(path: &str, headers: &str) -> (u16, String, String) {
    let server = Server::start("127.0.0.1:0".parse().unwrap(), routes()).unwrap();
    raw(server.address(), &format!("GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n{headers}\r\n"))
}

#[test]
fn a_page_is_html_that_needs_no_other_file_and_allows_no_script() {
    let (status, head, body) = served("/runbook/PostbackLaneHalted", "accept: text/html,*/*;q=0.8\r\n");
    assert_eq!(status, 200);
    assert!(head.contains("content-type: text/html; charset=utf-8"), "{head}");
    let policy = head.lines().find(|line| line.starts_with("content-security-policy")).unwrap();
    assert!(policy.contains("default-src 'none'; style-src 'sha256-") && !policy.contains("script-src"), "{policy}");
    assert!(body.contains("<h1 id=\"postbacklanehalted\">PostbackLaneHalted</h1>"), "{body}");
    assert!(body.contains("<h2 id=\"if-nobody-does-anything\">"), "{body}");
    assert!(body.contains("href=\"../#/lanes?state=halted\""), "{body}");
    assert!(body.contains("<a href=\"PostbackParkedTooLong\">"), "a link between pages: {body}");
    assert!(!body.contains("src=") && !body.contains("<script") && !body.contains("<link"), "{body}");
}

#[test]
fn the_style_sheet_of_a_page_is_the_one_that_its_policy_allows() {
    use base64::Engine as _;
    use sha2::{Digest as _, Sha256};
    let body = page::html("x", "# x");
    let style = body.split_once("<style>").unwrap().1.split_once("</style>").unwrap().0;
    let hash = base64::engine::general_purpose::STANDARD.encode(Sha256::digest(style));
    assert!(page::policy().contains(&hash));
}

#[test]
fn html_in_a_page_is_shown_as_text() {
    let body = page::html(
        "x",
        "# a <b>\n\n<script>alert(1)</script>\n\ntext <img src=x onerror=y> `<i>` [l](NotReady.md#causes)",
    );
    let body = body.split_once("<main>").unwrap().1;
    for raw in ["<script", "<img", "<b>", "<i>"] {
        assert!(!body.contains(raw), "{raw} in {body}");
    }
    assert!(body.contains("&lt;script&gt;") && body.contains("<a href=\"NotReady#causes\">"), "{body}");
}

#[test]
fn who_asks_for_the_file_gets_markdown() {
    let file = read("deploy/runbook/PostbackKafkaAway.md");
    for (path, headers) in [
        ("/runbook/PostbackKafkaAway.md", ""),
        ("/runbook/PostbackKafkaAway.md", "accept: text/html\r\n"),
        ("/runbook/PostbackKafkaAway", "accept: text/markdown\r\n"),
        ("/runbook/PostbackKafkaAway", "accept: text/plain;q=0.9, application/json\r\n"),
    ] {
        let (status, head, body) = served(path, headers);
        assert!(
            status == 200 && head.contains("content-type: text/markdown") && body == file,
            "{path} {headers}{head}"
        );
    }
    let (_, head, _) = served("/runbook/PostbackKafkaAway", "");
    assert!(head.contains("text/html"), "without a wish: {head}");
}

#[test]
fn the_index_lists_every_page_and_is_found_without_its_slash() {
    let (status, head, _) = served("/runbook", "");
    assert!(status == 308 && head.contains("location: runbook/"), "relative, so that it works under a prefix: {head}");
    let (status, _, body) = served("/runbook/", "");
    assert_eq!(status, 200);
    for (name, _) in pages() {
        assert!(body.contains(&format!("<a href=\"{name}\">")), "{name}");
    }
}

#[test]
fn an_unknown_name_lists_the_pages_that_may_have_been_meant() {
    for (asked, meant) in [
        ("PostbackLaneHaltd", "PostbackLaneHalted"),
        ("halted", "PostbackLaneHalted"),
        ("BreakerOpen", "PostbackBreakerOpen"),
        ("PostbackBreakerOpenNow", "PostbackBreakerOpen"),
    ] {
        let (status, _, body) = served(&format!("/runbook/{asked}"), "");
        assert!(status == 404 && body.contains(&format!("<a href=\"{meant}\">")), "{asked}: {body}");
        assert!(body.contains("<a href=\"./\">All pages</a>"), "{body}");
    }
    let (status, _, body) = served("/runbook/%3Cscript%3E", "");
    assert!(status == 404 && !body.contains("script"), "{body}");
    assert_eq!(served("/runbook/../Cargo.toml", "").0, 404);
}

#[test]
fn a_browser_that_has_the_page_gets_it_no_second_time() {
    let (_, head, _) = served("/runbook/NotReady", "");
    let tag = head.lines().find_map(|line| line.strip_prefix("etag: ")).unwrap().to_owned();
    // The head was lowered for the comparison; the tag is taken from the page itself.
    let page = PAGES.iter().find(|(name, _)| *name == "NotReady").unwrap();
    let exact = etag::of(page::html(page.0, page.1).as_bytes());
    assert_eq!(tag, exact.to_ascii_lowercase());
    let (status, _, body) = served("/runbook/NotReady", &format!("if-none-match: {exact}\r\n"));
    assert_eq!((status, body.as_str()), (304, ""));
}
