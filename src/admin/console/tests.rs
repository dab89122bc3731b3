use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use super::*;

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("src/admin/console")
}

fn below(folder: &Path, found: &mut BTreeSet<String>, prefix: &str) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = format!("{prefix}{}", path.file_name().unwrap().to_str().unwrap());
        if path.is_dir() {
            below(&path, found, &format!("{name}/"));
        } else {
            found.insert(name);
        }
    }
}

#[test]
fn every_file_is_served_and_all_of_them_stay_below_200_kib() {
    let mut there = BTreeSet::new();
    below(&folder(), &mut there, "");
    let not_served = |name: &String| name == "tests.rs" || name == "vendor/lock.txt" || name.contains("LICENSE");
    there.retain(|name| !not_served(name));
    let served: BTreeSet<String> = FILES.iter().map(|(path, _)| (*path).to_owned()).collect();
    assert_eq!(served, there);
    let bytes: usize = FILES.iter().map(|(_, bytes)| bytes.len()).sum();
    assert!(bytes < 200 * 1024, "the console has {bytes} bytes");
}

#[test]
fn every_import_names_a_file_that_is_served() {
    let served: BTreeSet<&str> = FILES.iter().map(|(path, _)| *path).collect();
    let map: serde_json::Value = serde_json::from_str(import_map()).unwrap();
    for (path, bytes) in FILES.iter().filter(|(path, _)| path.ends_with(".js") && !path.starts_with("vendor/")) {
        let (text, here) =
            (std::str::from_utf8(bytes).unwrap(), path.rsplit_once('/').map_or("", |(folder, _)| folder));
        for line in text.lines().filter(|line| line.starts_with("import ") || line.starts_with("export {")) {
            let Some(target) = line.rsplit_once(" from \"").map(|(_, rest)| rest.trim_end_matches("\";")) else {
                continue;
            };
            let file = match (target.strip_prefix("../"), target.strip_prefix("./")) {
                (Some(up), _) => up.to_owned(),
                (_, Some(beside)) if here.is_empty() => beside.to_owned(),
                (_, Some(beside)) => format!("{here}/{beside}"),
                _ => map["imports"][target].as_str().expect("in the import map")[2..].to_owned(),
            };
            assert!(served.contains(file.as_str()), "{path}: {target}");
        }
    }
}

/// The lock names each file of `vendor/` with its SHA-256, and the npm package that it comes from.
#[test]
fn what_others_wrote_is_byte_for_byte_what_the_lock_names() {
    use std::fmt::Write as _;
    let lock = std::fs::read_to_string(folder().join("vendor/lock.txt")).unwrap();
    let mut named = BTreeSet::from(["lock.txt".to_owned()]);
    for line in lock.lines().filter(|line| !line.starts_with('#')) {
        let [hash, file, _from] = line.split_whitespace().collect::<Vec<_>>().try_into().expect("three columns");
        let bytes = std::fs::read(folder().join("vendor").join(file)).unwrap();
        let is = Sha256::digest(&bytes).iter().fold(String::new(), |mut text, byte| {
            write!(text, "{byte:02x}").unwrap();
            text
        });
        assert_eq!(is, hash, "{file}");
        named.insert(file.to_owned());
    }
    let mut there = BTreeSet::new();
    below(&folder().join("vendor"), &mut there, "");
    assert_eq!(named, there);
}

#[test]
fn the_policy_allows_the_import_map_by_its_hash_and_nothing_else_inline() {
    let map: serde_json::Value = serde_json::from_str(import_map()).unwrap();
    let targets = map["imports"].as_object().unwrap().values();
    for target in targets {
        let target = target.as_str().unwrap().strip_prefix("./").expect("a relative URL");
        assert!(FILES.iter().any(|(path, _)| *path == target), "{target}");
    }
    let hash = STANDARD.encode(Sha256::digest(import_map().as_bytes()));
    assert!(policy().contains(&format!("script-src 'self' 'sha256-{hash}';")));
    assert!(!policy().contains("unsafe"));
    let script = PAGE.split("<script ").skip(1);
    assert_eq!(script.filter(|one| !one.starts_with("type=\"importmap\">") && !one.contains("src=")).count(), 0);
    for inline in ["<style", " style=", " onload=", " onclick=", "javascript:"] {
        assert!(!PAGE.contains(inline), "{inline}");
    }
}

#[test]
fn every_url_is_relative_so_that_a_path_prefix_needs_no_setting() {
    for (path, bytes) in FILES.iter().filter(|(path, _)| !path.starts_with("vendor/")) {
        let text = std::str::from_utf8(bytes).unwrap();
        for wrong in ["src=\"/", "href=\"/", "url(/", "from \"/", "fetch(\"/", "http://", "https://"] {
            let found = text.lines().find(|line| line.contains(wrong) && !line.contains("www.w3.org"));
            assert_eq!(found, None, "{path}");
        }
    }
}

#[test]
fn the_console_never_writes_html_from_text() {
    for (path, bytes) in FILES.iter().filter(|(path, _)| !path.starts_with("vendor/")) {
        let text = std::str::from_utf8(bytes).unwrap();
        for wrong in ["innerHTML", "insertAdjacentHTML", "document.write", "eval(", "new Function", "document.cookie"] {
            assert!(!text.contains(wrong), "{path}: {wrong}");
        }
    }
}
