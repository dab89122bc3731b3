//! A page of the runbook as HTML: one file that needs no other, because whoever opens it at night may have lost the
//! rest.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use pulldown_cmark::{CowStr, Event, Options, Parser, Tag, TagEnd};
use sha2::{Digest as _, Sha256};

/// The page that lists all others.
pub(super) const INDEX: &str = "README";

pub(super) const MEDIA_TYPE: &str = "text/html; charset=utf-8";

const STYLE: &str = include_str!("style.css");

/// The policy of a page: no script, no other host, and only the style sheet inside the page, which is allowed by its
/// hash.
pub(super) fn policy() -> String {
    format!(
        "default-src 'none'; style-src 'sha256-{}'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
        STANDARD.encode(Sha256::digest(STYLE))
    )
}

/// The page. HTML in the Markdown is shown as text. Headings get the ids that links to them use.
pub(super) fn html(title: &str, markdown: &str) -> String {
    let mut body = String::new();
    pulldown_cmark::html::push_html(&mut body, events(markdown).into_iter());
    format!(
        "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><title>{title} · postback runbook</title>\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\
         <meta name=\"color-scheme\" content=\"light dark\"><meta name=\"robots\" content=\"noindex\">\
         <style>{STYLE}</style></head>\n<body><nav><a href=\"./\">All pages</a> <a href=\"../#/\">Console</a> \
         <a href=\"../ready\">/ready</a><span>postback {}</span></nav>\n<main>\n{body}</main></body></html>\n",
        env!("CARGO_PKG_VERSION")
    )
}

fn events(markdown: &str) -> Vec<Event<'_>> {
    let mut events: Vec<Event<'_>> = Parser::new_ext(markdown, Options::ENABLE_TABLES).map(plain).collect();
    for at in 0..events.len() {
        let text = heading(&events[at..]);
        if let Event::Start(Tag::Heading { id, .. }) = &mut events[at] {
            *id = Some(CowStr::from(anchor(&text)));
        }
    }
    events
}

/// HTML becomes text, and a link to another page of the folder leads to that page here.
fn plain(event: Event<'_>) -> Event<'_> {
    match event {
        Event::Html(text) | Event::InlineHtml(text) => Event::Text(text),
        Event::Start(Tag::Link { link_type, dest_url, title, id }) => {
            Event::Start(Tag::Link { link_type, dest_url: CowStr::from(served(&dest_url)), title, id })
        }
        other => other,
    }
}

/// Where a link of a file leads when the file is served: `NAME.md` is the page `NAME`, `README.md` is the index.
fn served(link: &str) -> String {
    let (file, anchor) = link.split_once('#').map_or((link, None), |(file, anchor)| (file, Some(anchor)));
    let page = match file.strip_suffix(".md").filter(|name| !name.contains('/')) {
        Some(INDEX) => "./",
        Some(name) => name,
        None => return link.to_owned(),
    };
    anchor.map_or_else(|| page.to_owned(), |anchor| format!("{page}#{anchor}"))
}

/// The text of the heading that begins here.
fn heading(events: &[Event<'_>]) -> String {
    let inside = events.iter().take_while(|event| !matches!(event, Event::End(TagEnd::Heading(_))));
    let text = inside.filter_map(|event| match event {
        Event::Text(text) | Event::Code(text) => Some(&**text),
        _ => None,
    });
    text.collect()
}

/// The id of a heading, made as code hosts make it, so that a link to it works in both places.
pub(super) fn anchor(heading: &str) -> String {
    let kept = heading.trim().chars().filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'));
    kept.map(|c| if c == ' ' { '-' } else { c.to_ascii_lowercase() }).collect()
}
