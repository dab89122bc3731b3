//! Tests which part of `src/` may use which, and that no files use each other in a circle. It reads the `use` lines and
//! the paths that begin with `crate`, `super`, `self` or a child module. Tests do not count. It also tests what else
//! the files have to keep to: who completes a record, and where a platform may be named.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

/// What every part may use. A leaf uses nothing of ours, or only the leaves before it in this list.
const LEAVES: [&str; 11] = [
    "byte_order_mark",
    "unreadable",
    "exit",
    "units",
    "secret",
    "error",
    "clock",
    "redact",
    "quiet",
    "similar",
    "slots",
];

/// The values of claims that records carry. The code that asks Redis is not among them.
const CLAIM_VALUES: [&str; 4] = ["claim::rules", "claim::value", "claim::outcome", "claim::claim_attempt"];

/// A part, and what it may use in addition to the leaves: a folder with everything in it, or one of its modules
/// (`settle::policy`). Each entry is needed; a part that comes to need another one gets it here, if it stands below.
const TABLE: [(&str, &[&str]); 30] = [
    ("sandbox", &[]),
    ("event", &[]),
    ("metrics", &[]),
    ("config", &[]),
    ("telemetry", &[]),
    ("storm", &[]),
    ("kafka", &["config"]),
    ("redis", &["config"]),
    ("envelope", &["kafka"]),
    ("platforms", &["event", "config"]),
    ("account", &["config", "platforms", "event", "kafka"]),
    ("delivery", &["account", "platforms", "event", "kafka", "envelope", "claim values"]),
    ("claim", &["redis"]),
    ("send", &["account", "platforms", "redis"]),
    ("settle", &["account", "delivery", "envelope", "kafka", "metrics", "platforms", "redis", "claim"]),
    ("lane", &["account", "event", "delivery", "envelope", "metrics", "platforms", "redis", "claim", "send", "settle"]),
    ("admit", &["account", "delivery", "envelope", "event", "kafka", "metrics", "platforms", "claim values", "lane"]),
    ("operate", &["account", "delivery", "kafka", "metrics", "redis", "storm", "lane::handle", "lane::threads"]),
    ("intake", &["account", "delivery", "kafka", "metrics", "redis", "storm", "admit", "lane"]),
    ("redelivery", &["delivery", "envelope", "kafka", "metrics", "redis", "admit", "lane", "settle"]),
    (
        "inspect",
        &[
            "account",
            "delivery",
            "envelope",
            "event",
            "kafka",
            "metrics",
            "platforms",
            "redis",
            "admit",
            "settle::policy",
            "claim values",
            "operate::audit",
            "operate::keys",
        ],
    ),
    ("replay", &["account", "envelope", "kafka", "metrics", "redis", "claim values", "operate", "inspect"]),
    ("embedded", &["redis"]),
    ("settings", &["config", "kafka", "redis", "platforms", "account", "telemetry", "send::token::seal"]),
    ("process_limits", &["settings"]),
    ("admin", &["event", "kafka", "redis", "platforms", "operate", "inspect", "replay", "settings"]),
    (
        "app",
        &[
            "account",
            "admin",
            "admit",
            "delivery",
            "embedded",
            "inspect",
            "intake",
            "kafka",
            "lane",
            "metrics",
            "operate",
            "platforms",
            "process_limits",
            "redelivery",
            "redis",
            "replay",
            "sandbox",
            "settings",
            "settle",
            "storm",
            "telemetry",
        ],
    ),
    (
        "demo",
        &["admin", "app", "embedded", "envelope", "inspect", "kafka", "operate", "platforms", "sandbox", "settings"],
    ),
    (
        "cli",
        &[
            "account",
            "admin",
            "app",
            "config",
            "demo",
            "envelope",
            "inspect",
            "kafka",
            "lane",
            "operate",
            "platforms",
            "redis",
            "replay",
            "sandbox",
            "send",
            "settings",
            "storm",
            "telemetry",
        ],
    ),
    ("main", &["app", "cli", "sandbox"]),
];

type Uses = BTreeMap<String, BTreeSet<String>>;

/// Splits code into words and signs. Comments, strings and numbers give none.
fn tokens(code: &str) -> Vec<String> {
    let chars: Vec<char> = code.chars().collect();
    let at = |i: usize| chars.get(i).copied().unwrap_or('\0');
    let word = |c: char| c.is_alphanumeric() || c == '_';
    let (mut found, mut i) = (Vec::new(), 0);
    while i < chars.len() {
        let c = at(i);
        if c == '/' && at(i + 1) == '/' {
            while i < chars.len() && at(i) != '\n' {
                i += 1;
            }
        } else if c == '/' && at(i + 1) == '*' {
            i += 2;
            while i < chars.len() && !(at(i) == '*' && at(i + 1) == '/') {
                i += 1;
            }
            i += 2;
        } else if c == '"' {
            i = end_of_string(&chars, i + 1);
        } else if c == 'r' && (at(i + 1) == '"' || (at(i + 1) == '#' && matches!(at(i + 2), '"' | '#'))) {
            let hashes = chars[i + 1..].iter().take_while(|c| **c == '#').count();
            i += hashes + 2;
            while i < chars.len() && !(at(i) == '"' && (1..=hashes).all(|n| at(i + n) == '#')) {
                i += 1;
            }
            i += hashes + 1;
        } else if c == '\'' && (at(i + 1) == '\\' || at(i + 2) == '\'') {
            // A character literal. A lifetime has no second quote.
            i += if at(i + 1) == '\\' { 3 } else { 2 };
            while i < chars.len() && at(i) != '\'' {
                i += 1;
            }
            i += 1;
        } else if c == ':' && at(i + 1) == ':' {
            found.push("::".to_owned());
            i += 2;
        } else if word(c) {
            let end = (i..).find(|n| !word(at(*n))).unwrap_or(chars.len());
            found.push(chars[i..end].iter().collect());
            i = end;
            // The quote of b"..." and c"..." follows its letter and is read as a string next.
        } else {
            if !c.is_whitespace() {
                found.push(c.to_string());
            }
            i += 1;
        }
    }
    found
}

fn end_of_string(chars: &[char], mut i: usize) -> usize {
    while i < chars.len() && chars[i] != '"' {
        i += if chars[i] == '\\' { 2 } else { 1 };
    }
    i + 1
}

/// Removes what is compiled only for tests. It also returns the modules among it that have files of their own.
fn without_tests(tokens: &[String]) -> (Vec<String>, Vec<String>) {
    const MARK: [&str; 7] = ["#", "[", "cfg", "(", "test", ")", "]"];
    let (mut kept, mut modules, mut i) = (Vec::new(), Vec::new(), 0);
    while i < tokens.len() {
        if !tokens[i..].iter().map(String::as_str).take(MARK.len()).eq(MARK) {
            kept.push(tokens[i].clone());
            i += 1;
            continue;
        }
        i += MARK.len();
        while tokens.get(i).is_some_and(|t| t == "#") {
            i = after_brackets(tokens, i + 1);
        }
        let start = i;
        // The item ends with its braces, or with a `;` or `,` outside of any brackets.
        let import = tokens[i..].iter().take(5).any(|t| t == "use");
        let mut depth = 0;
        while i < tokens.len() {
            match tokens[i].as_str() {
                "(" | "[" | "{" => depth += 1,
                ")" | "]" => depth -= 1,
                "}" => {
                    depth -= 1;
                    if depth == 0 && !import {
                        break;
                    }
                }
                ";" | "," if depth == 0 => break,
                _ => {}
            }
            // The end of the block that holds the item.
            if depth < 0 {
                i -= 1;
                break;
            }
            i += 1;
        }
        let item = &tokens[start..(i + 1).min(tokens.len())];
        if let Some(n) = item.iter().position(|t| t == "mod")
            && item.get(n + 2).is_some_and(|t| t == ";")
        {
            modules.push(item[n + 1].clone());
        }
        i += 1;
    }
    (kept, modules)
}

/// The end of what the bracket at `i` opens.
fn after_brackets(tokens: &[String], mut i: usize) -> usize {
    let mut depth = 0;
    while i < tokens.len() {
        match tokens[i].as_str() {
            "[" | "(" | "{" => depth += 1,
            "]" | ")" | "}" => depth -= 1,
            _ => {}
        }
        i += 1;
        if depth == 0 {
            break;
        }
    }
    i
}

/// One path in a file: its segments from the root, and whether it is imported under a name.
struct Mention {
    path: Vec<String>,
    alias: Option<String>,
    /// `pub use`: it counts as a use only if the file itself needs the name.
    passed_on: bool,
}

struct Source {
    module: Vec<String>,
    tokens: Vec<String>,
}

/// All files below `root`, by module, without those of tests.
fn sources(root: &Path) -> BTreeMap<String, Source> {
    let mut found = BTreeMap::new();
    let mut tests = BTreeSet::new();
    let mut folders = vec![(root.to_owned(), Vec::<String>::new())];
    while let Some((folder, module)) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_stem().unwrap().to_str().unwrap().to_owned();
            let mut module = module.clone();
            if name != "mod" {
                module.push(name);
            }
            if path.is_dir() {
                folders.push((path, module));
            } else if path.extension().is_some_and(|e| e == "rs") {
                let (tokens, of_tests) = without_tests(&tokens(&fs::read_to_string(&path).unwrap()));
                let base = if module == ["lib"] { Vec::new() } else { module.clone() };
                tests.extend(of_tests.into_iter().map(|name| [base.clone(), vec![name]].concat().join("::")));
                found.insert(module.join("::"), Source { module, tokens });
            }
        }
    }
    found.retain(|module, _| !tests.iter().any(|test| module == test || module.starts_with(&format!("{test}::"))));
    found
}

/// The paths in a file. `modules` are all modules that exist.
fn mentions(source: &Source, modules: &BTreeSet<String>) -> Vec<Mention> {
    let mut found = Vec::new();
    let tokens = &source.tokens;
    // The modules inside the file, by the depth of their brace.
    let (mut inner, mut depth, mut i) = (Vec::<(String, i32)>::new(), 0, 0);
    while i < tokens.len() {
        let scope: Vec<String> =
            source.module.iter().cloned().chain(inner.iter().map(|(name, _)| name.clone())).collect();
        let token = tokens[i].as_str();
        let before = if i == 0 { "" } else { tokens[i - 1].as_str() };
        match token {
            "{" => depth += 1,
            "}" => {
                depth -= 1;
                inner.retain(|(_, at)| *at <= depth);
            }
            "mod" if tokens.get(i + 2).is_some_and(|t| t == "{") => {
                inner.push((tokens[i + 1].clone(), depth + 1));
            }
            // Not the captures of a returned `impl`.
            "use" if tokens.get(i + 1).is_some_and(|t| t != "<") => {
                let passed_on = before == "pub" || before == ")";
                let end = (i..).find(|n| tokens.get(*n).is_none_or(|t| t == ";")).unwrap();
                let mut at = i + 1;
                while at < end {
                    imports(&tokens[..end], &mut at, &[], &mut |path, alias| {
                        if let Some(path) = absolute(path, &scope, modules) {
                            found.push(Mention { path, alias, passed_on });
                        }
                    });
                    at += 1;
                }
                i = end;
            }
            // In `pub(in crate::redis)` the path only says who sees the item.
            _ if before == "in" && i > 1 && tokens[i - 2] == "(" => {
                while tokens.get(i + 1).is_some_and(|t| t != ")") {
                    i += 1;
                }
            }
            _ if before != "::" && before != "." && tokens.get(i + 1).is_some_and(|t| t == "::") => {
                let mut path = vec![token.to_owned()];
                while tokens.get(i + 1).is_some_and(|t| t == "::") && tokens.get(i + 2).is_some_and(|t| is_name(t)) {
                    path.push(tokens[i + 2].clone());
                    i += 2;
                }
                if let Some(path) = absolute(&path, &scope, modules) {
                    found.push(Mention { path, alias: None, passed_on: false });
                }
            }
            _ => {}
        }
        i += 1;
    }
    found
}

fn is_name(token: &str) -> bool {
    token.starts_with(|c: char| c.is_alphabetic() || c == '_')
}

/// Each path of a `use` tree, with the name that it gets.
fn imports(tokens: &[String], at: &mut usize, before: &[String], take: &mut dyn FnMut(&[String], Option<String>)) {
    let mut path = before.to_vec();
    while *at < tokens.len() {
        match tokens[*at].as_str() {
            "::" => *at += 1,
            "{" => {
                *at += 1;
                while *at < tokens.len() && tokens[*at] != "}" {
                    if tokens[*at] == "," {
                        *at += 1;
                    } else {
                        imports(tokens, at, &path, take);
                    }
                }
                *at += 1;
                return;
            }
            "*" => {
                *at += 1;
                return take(&path, None);
            }
            "as" => {
                let alias = tokens[*at + 1].clone();
                *at += 2;
                return take(&path, Some(alias));
            }
            name if is_name(name) => {
                if name != "self" || path.is_empty() {
                    path.push(name.to_owned());
                }
                *at += 1;
            }
            _ => break,
        }
    }
    take(&path, path.last().cloned());
}

/// The path from the root. `None`: it leads out of the program.
fn absolute(path: &[String], scope: &[String], modules: &BTreeSet<String>) -> Option<Vec<String>> {
    let scope = if scope == ["lib"] { &[] } else { scope };
    match path.first()?.as_str() {
        "crate" | "postback" => Some(path[1..].to_vec()),
        "self" => Some([scope, &path[1..]].concat()),
        "super" => {
            let up = path.iter().take_while(|p| *p == "super").count();
            Some([&scope[..scope.len().saturating_sub(up)], &path[up..]].concat())
        }
        child => {
            let whole = [scope, &[child.to_owned()]].concat();
            modules.contains(&whole.join("::")).then(|| [scope, path].concat())
        }
    }
}

/// Which file uses which below `root`.
fn uses(root: &Path) -> Uses {
    let sources = sources(root);
    let modules: BTreeSet<String> = sources.keys().cloned().collect();
    let all: BTreeMap<&String, Vec<Mention>> = sources.iter().map(|(m, s)| (m, mentions(s, &modules))).collect();
    let mut aliases = BTreeMap::new();
    for (module, mentions) in &all {
        for mention in mentions {
            if let Some(alias) = &mention.alias {
                aliases.insert((module.as_str(), alias.as_str()), &mention.path);
            }
        }
    }
    // The file that a path means, also where files pass a name on.
    let file_of = |path: &[String]| -> Option<String> {
        let mut path = path.to_vec();
        for _ in 0..8 {
            let n = (1..=path.len()).rev().find(|n| modules.contains(&path[..*n].join("::")))?;
            let module = path[..n].join("::");
            let next = path.get(n).and_then(|name| aliases.get(&(module.as_str(), name.as_str())));
            match next {
                Some(target) if **target != path => path = [&target[..], &path[n + 1..]].concat(),
                _ => return Some(module),
            }
        }
        None
    };
    let mut uses = Uses::new();
    for (module, mentions) in &all {
        let own = uses.entry((*module).clone()).or_default();
        for mention in mentions {
            let name = mention.alias.as_deref().unwrap_or_default();
            let needed = sources[*module].tokens.iter().filter(|t| *t == name).count() > 1;
            if (!mention.passed_on || needed)
                && let Some(used) = file_of(&mention.path).filter(|used| used != *module)
            {
                own.insert(used);
            }
        }
    }
    uses
}

fn part(module: &str) -> &str {
    module.split("::").next().unwrap_or(module)
}

fn is_in(module: &str, place: &str) -> bool {
    module == place || module.strip_prefix(place).is_some_and(|rest| rest.starts_with("::"))
}

fn allows(row: &[&str], used: &str) -> bool {
    row.iter().any(|name| if *name == "claim values" { allows(&CLAIM_VALUES, used) } else { is_in(used, name) })
}

/// Each entry of the table that no file needs.
fn unneeded(uses: &Uses) -> Vec<String> {
    let needs = |own: &str, name: &str| {
        uses.iter().any(|(module, used)| part(module) == own && used.iter().any(|used| allows(&[name], used)))
    };
    let entries = TABLE.iter().flat_map(|(own, row)| row.iter().map(move |name| (*own, *name)));
    entries.filter(|(own, name)| !needs(own, name)).map(|(own, name)| format!("{own} does not need {name}")).collect()
}

/// Each use that the table does not allow. A part without a row may use nothing.
fn upward(uses: &Uses) -> BTreeSet<(String, String)> {
    let mut found = BTreeSet::new();
    for (module, used) in uses {
        let own = part(module);
        let row = TABLE.iter().find(|(name, _)| *name == own).map_or(&[][..], |(_, row)| row);
        let leaves = LEAVES.iter().position(|leaf| *leaf == own).map_or(&LEAVES[..], |n| &LEAVES[..n]);
        for used in used {
            if part(used) != own && !allows(row, used) && !leaves.contains(&part(used)) {
                found.insert((module.clone(), used.clone()));
            }
        }
    }
    found
}

/// Each set of files that reach each other.
fn circles(uses: &Uses) -> BTreeSet<Vec<String>> {
    let reached = |from: &String| {
        let (mut seen, mut next) = (BTreeSet::new(), vec![from]);
        while let Some(module) = next.pop() {
            for used in uses.get(module).into_iter().flatten() {
                if seen.insert(used) {
                    next.push(used);
                }
            }
        }
        seen
    };
    let reach: BTreeMap<&String, BTreeSet<&String>> = uses.keys().map(|module| (module, reached(module))).collect();
    let of = |module: &String| -> Vec<String> {
        reach[module]
            .iter()
            .filter(|m| reach.get(**m).is_some_and(|r| r.contains(module)))
            .map(|m| (*m).clone())
            .collect()
    };
    uses.keys().map(of).filter(|circle| circle.len() > 1).collect()
}

/// Everything that is wrong, as sentences.
fn faults(uses: &Uses) -> Vec<String> {
    let upward = upward(uses).into_iter().map(|(module, used)| format!("{module} may not use {used}"));
    let circles = circles(uses).into_iter().map(|circle| format!("a circle: {circle:?}"));
    upward.chain(circles).collect()
}

#[test]
fn each_part_uses_only_what_stands_below_it_and_no_files_use_each_other_in_a_circle() {
    let uses = uses(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"));
    assert!(uses.len() > 100, "{} files were read", uses.len());
    let wrong = faults(&uses);
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    let unneeded = unneeded(&uses);
    assert!(unneeded.is_empty(), "the table allows more than is used:\n{}", unneeded.join("\n"));
}

#[test]
fn what_the_table_allows_and_nothing_uses_is_found() {
    let files = [("kafka.rs", "use crate::config::Config;"), ("redis.rs", "use crate::clock;"), ("config.rs", "")];
    let unneeded = unneeded(&uses(planted(&files).path()));
    assert!(!unneeded.contains(&"kafka does not need config".to_owned()), "{unneeded:?}");
    assert!(unneeded.contains(&"redis does not need config".to_owned()), "{unneeded:?}");
}

/// Whether the code completes a record's offset.
fn completes(tokens: &[String]) -> bool {
    tokens.windows(3).any(|t| t == ["ack", ".", "complete"])
}

#[test]
fn settle_alone_completes_a_record() {
    let elsewhere: Vec<String> = sources(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"))
        .into_iter()
        .filter(|(module, source)| part(module) != "settle" && completes(&source.tokens))
        .map(|(module, _)| module)
        .collect();
    assert_eq!(elsewhere, [""; 0]);
    assert!(completes(&tokens("delivery.ack.complete(End::Returned)")), "a planted one is found");
}

/// The platforms that the program began with, as code and people write their names.
const PLATFORM_NAMES: [&str; 6] = ["qihoo", "360", "奇虎", "点睛", "baizhu", "百助"];

/// The files outside of `platforms/` and its fakes that may name one of them, and why.
const NAMING: [(&str, &str); 6] = [
    ("admin/console/app.js", "a circle of colours has 360 degrees"),
    ("cli/dead_letters.rs", "an example in the help"),
    ("cli/preview.rs", "an example in the help: files of config/examples/"),
    ("cli/probe.rs", "an example in the help: an account of config/demo.toml"),
    ("cli/trace.rs", "an example in the help"),
    ("demo/accounts.rs", "the accounts of config/demo.toml"),
];

/// Whether a text names a platform. Part of a longer number is no name.
fn names_a_platform(text: &str) -> bool {
    let text = text.to_lowercase();
    let has_digit_at = |at: Option<usize>| at.and_then(|at| text.as_bytes().get(at)).is_some_and(u8::is_ascii_digit);
    let has_sign_at = |at: Option<usize>| at.and_then(|at| text.as_bytes().get(at)).is_some_and(|b| b"._".contains(b));
    PLATFORM_NAMES.iter().any(|name| {
        text.match_indices(name).any(|(at, _)| {
            let (before, after) = (at.checked_sub(1), Some(at + name.len()));
            let follows = has_digit_at(before) || (has_sign_at(before) && has_digit_at(at.checked_sub(2)));
            let goes_on = has_digit_at(after) || (has_sign_at(after) && has_digit_at(after.map(|at| at + 1)));
            *name != "360" || !(follows || goes_on)
        })
    })
}

/// All files below `root` but those of tests, with their text before the tests at its end.
fn texts(root: &Path) -> BTreeMap<String, String> {
    let (modules, mut found) = (sources(root), BTreeMap::new());
    let mut folders = vec![root.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            let name = path.strip_prefix(root).unwrap().to_str().unwrap().to_owned();
            let module =
                name.strip_suffix(".rs").map(|name| name.strip_suffix("/mod").unwrap_or(name).replace('/', "::"));
            if module.is_none_or(|module| modules.contains_key(&module)) {
                let text = fs::read_to_string(&path).unwrap();
                let tests = text.find("mod tests {").map(|at| text[..at].rfind("#[cfg(test)]").unwrap_or(at));
                found.insert(name, text[..tests.unwrap_or(text.len())].to_owned());
            }
        }
    }
    found
}

#[test]
fn nothing_outside_of_platforms_names_one() {
    let own = |name: &str| name.starts_with("platforms/") || name.starts_with("sandbox/fakes/");
    let texts = texts(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"));
    let naming: Vec<&str> = texts
        .iter()
        .filter(|(name, text)| !own(name) && names_a_platform(text))
        .map(|(name, _)| name.as_str())
        .collect();
    assert_eq!(naming, NAMING.map(|(name, _)| name), "the list is not what the files say");
    assert!(texts.keys().any(|name| own(name)));
}

#[test]
fn a_platform_is_found_however_it_is_named() {
    for text in [
        "\"demo-360-ps\"",
        "DEMO_360_ZS",
        "of 360.",
        "convert.dop.360.cn",
        "QIHOO_KEY",
        "of 百助",
        "fn baizhu() {}",
        "360",
    ] {
        assert!(names_a_platform(text), "{text}");
    }
    for text in ["3600", "13_600", "0.360", "360_000", "36 0", ""] {
        assert!(!names_a_platform(text), "{text}");
    }
    let files = [
        ("lib.rs", "#[cfg(test)] mod stub; mod lane;"),
        ("stub.rs", "// 360"),
        ("lane/mod.rs", "fn f() {}\n#[cfg(test)]\nmod tests {\n    // 360\n}\n"),
        ("page.html", "360"),
    ];
    let texts = texts(planted(&files).path());
    let naming: Vec<_> =
        texts.iter().filter(|(_, text)| names_a_platform(text)).map(|(name, _)| name.as_str()).collect();
    assert_eq!((naming, texts.len()), (vec!["page.html"], 3));
}

/// The comment lines of a text that are longer than the code may be. A URL cannot be wrapped.
fn long_comments(text: &str) -> Vec<usize> {
    let is_long = |line: &str| line.trim_start().starts_with("//") && line.chars().count() > 120;
    let lines = text.lines().enumerate().filter(|(_, line)| is_long(line) && !line.contains("://"));
    lines.map(|(at, _)| at + 1).collect()
}

#[test]
fn no_comment_line_is_longer_than_120_columns() {
    let (mut folders, mut found) = (vec![Path::new(env!("CARGO_MANIFEST_DIR")).join("src")], Vec::new());
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|e| e == "rs") {
                let lines = long_comments(&fs::read_to_string(&path).unwrap());
                found.extend(lines.into_iter().map(|line| format!("{}:{line}", path.display())));
            }
        }
    }
    assert!(found.is_empty(), "{}", found.join("\n"));
    let (long, url) = (format!("    /// {}", "a ".repeat(60)), format!("//! https://{}", "a".repeat(120)));
    assert_eq!(long_comments(&format!("{}\n{long}\n{url}\nlet a = 1;", &long[..120])), [2], "a planted one is found");
}

/// A tree of its own: files by their path, with their text.
fn planted(files: &[(&str, &str)]) -> tempfile::TempDir {
    let root = tempfile::tempdir().unwrap();
    for (path, text) in files {
        let path = root.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
    root
}

#[test]
fn a_use_that_runs_upward_is_found_however_it_is_written() {
    for code in [
        "use crate::lane::Lane;",
        "pub(crate) use crate::{error::Error, lane::{handle::LaneHandle, Lane}}; type L = Lane;",
        "fn f() { crate::lane::run(\"'\", 'x', '\\'', r#\"\"\"#); }",
        "mod inner { use super::super::lane::Lane; }",
        "fn f() -> impl Fn() + use<> { crate::lane::g() }",
        "/* use crate::error; */ // as it was\n#[cfg(test)] use crate::cli::X;\nuse super::lane as l;",
    ] {
        let root =
            planted(&[("lib.rs", "mod settle; mod lane;"), ("settle.rs", code), ("lane/mod.rs", ""), ("error.rs", "")]);
        let wrong = faults(&uses(root.path()));
        assert_eq!(wrong, ["settle may not use lane"], "{code}");
    }
}

#[test]
fn what_only_looks_like_a_use_is_none() {
    for code in [
        "//! [`crate::lane`]\n/* crate::lane::X */ const A: &str = \"use crate::lane::X;\";",
        "#[cfg(test)]\nmod tests { use crate::lane::Lane; fn f() { if true { crate::lane::g() } } }",
        "#[cfg(test)]\n#[expect(dead_code, reason = \"\")]\nfn f() { crate::lane::g() }",
        "pub(in crate::lane) struct X; use lane::Lane;",
    ] {
        let root = planted(&[("settle.rs", code), ("lane.rs", "")]);
        assert_eq!(faults(&uses(root.path())), [""; 0], "{code}");
    }
    let files = [("settle.rs", "#[cfg(test)] mod tests;"), ("settle/tests.rs", "use crate::lane::X;"), ("lane.rs", "")];
    assert_eq!(faults(&uses(planted(&files).path())), [""; 0], "a file of tests");
}

#[test]
fn files_that_use_each_other_in_a_circle_are_found_through_names_that_are_passed_on() {
    let root = planted(&[
        ("lane/mod.rs", "mod a; mod b; mod c; pub use a::A;"),
        ("lane/a.rs", "use super::b; pub struct A;"),
        ("lane/b.rs", "use crate::lane::c::C;"),
        ("lane/c.rs", "pub struct C(super::A);"),
        ("lane/d.rs", "use super::A;"),
    ]);
    let uses = uses(root.path());
    assert_eq!(faults(&uses), [r#"a circle: ["lane::a", "lane::b", "lane::c"]"#]);
}

#[test]
fn a_parent_and_a_child_that_use_each_other_are_a_circle() {
    let root = planted(&[("lane/mod.rs", "mod a; fn f() { a::run() }"), ("lane/a.rs", "use super::f;")]);
    assert_eq!(faults(&uses(root.path())), [r#"a circle: ["lane", "lane::a"]"#]);
}

/// The type of each `impl` block that is not of a trait, and the tokens of the block.
fn own_impls(tokens: &[String]) -> Vec<(String, &[String])> {
    let mut found = Vec::new();
    let mut i = 0;
    while i < tokens.len() {
        // Not the `impl` of an argument or of a returned type.
        let begins = i == 0 || matches!(tokens[i - 1].as_str(), ";" | "}" | "]" | "{" | "unsafe");
        if tokens[i] != "impl" || !begins {
            i += 1;
            continue;
        }
        let (mut name, mut depth, mut at) = (String::new(), 0, i + 1);
        let mut of_trait = false;
        while at < tokens.len() && tokens[at] != "{" {
            match tokens[at].as_str() {
                "<" => depth += 1,
                ">" if tokens[at - 1] != "-" => depth -= 1,
                "for" if depth == 0 => of_trait = true,
                "where" if depth == 0 => break,
                word if depth == 0 && is_name(word) => name = word.to_owned(),
                _ => {}
            }
            at += 1;
        }
        while at < tokens.len() && tokens[at] != "{" {
            at += 1;
        }
        let end = after_brackets(tokens, at);
        if !of_trait {
            found.push((name, &tokens[at..end]));
        }
        i = end;
    }
    found
}

/// Which file calls, on `self`, a method that another file of the same folder defines for the same type.
fn calls_on_self(root: &Path) -> Uses {
    let sources = sources(root);
    let mut defined = BTreeMap::new();
    let mut called = Vec::new();
    for (module, source) in &sources {
        let folder = module.rsplit_once("::").map_or("", |(folder, _)| folder);
        for (name, block) in own_impls(&source.tokens) {
            let of = format!("{folder}::{name}");
            for t in block.windows(4) {
                if t[0] == "fn" {
                    defined.insert((of.clone(), t[1].clone()), module);
                } else if t[0] == "self" && t[1] == "." && matches!(t[3].as_str(), "(" | "::") {
                    called.push((of.clone(), t[2].clone(), module));
                }
            }
        }
    }
    let mut uses = Uses::new();
    for (of, method, module) in called {
        if let Some(definer) = defined.get(&(of, method)).filter(|definer| **definer != module) {
            uses.entry(module.clone()).or_default().insert((*definer).clone());
        }
    }
    uses
}

/// A type whose methods stand in several files: no `use` line shows how those files depend on each other.
#[test]
fn no_files_call_each_others_methods_of_one_type_in_a_circle() {
    let calls = calls_on_self(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"));
    let loops = calls.keys().any(|module| module == "kafka::consumer::poll");
    assert!(loops, "the loop of the consumer calls methods of other files: {calls:?}");
    assert_eq!(circles(&calls), BTreeSet::new());
}

#[test]
fn a_circle_of_methods_of_one_type_is_found() {
    let root = planted(&[
        ("lane/mod.rs", "mod a; mod b; mod c; struct L;"),
        ("lane/a.rs", "impl<T: Fn(u8) -> u8> L<T> { fn a(&self) { self.b() } fn end(&self) {} }"),
        ("lane/b.rs", "impl<T> L<T> where T: Send { pub(super) fn b(&self) { self.c::<u8>() } }"),
        ("lane/c.rs", "impl L<u8> { fn c<X>(&self) { self.a() } }"),
        ("lane/d.rs", "impl Drop for L { fn drop(&mut self) { self.end() } } impl M { fn d(&self) { self.a() } }"),
    ]);
    let circle = ["lane::a", "lane::b", "lane::c"].map(str::to_owned).to_vec();
    assert_eq!(circles(&calls_on_self(root.path())), BTreeSet::from([circle]));
}
