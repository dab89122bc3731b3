//! Platforms of a configuration's own, beside it.

use std::fs;

use super::*;
use crate::platforms::Platform;

const PLATFORM: &str = "name = \"stranger\"\ntitle = \"Stranger\"\nbase_url = \"https://s.example.com\"\n\
                        [account.keys]\ntoken = { secret = true, required = true }\n[events]\npay = 3\n[[request]]\n\
                        url = \"/x\"\njson = { t = \"{{ account.token }}\" }\n[answer]\ndelivered = \"status == 200\"\n";

const ACCOUNT: &str = "platform_files = [\"stranger.toml\"]\n[kafka]\nbrokers = \"h:9092\"\n[redis]\nurl = \"redis://h\"\n\
                       [accounts.own]\nplatform = \"stranger\"\ntoken = \"T\"\nmap = { lead = 7 }\n";

/// Loads a configuration that stands in one folder with `stranger.toml`.
fn load(config: &str, platform: &str) -> Result<Loaded, Vec<String>> {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("postback.toml");
    fs::write(&file, config).unwrap();
    fs::write(folder.path().join("stranger.toml"), platform).unwrap();
    Config::load(Some(&file), []).map_err(|found| {
        let name =
            |problem: &Problem| problem.to_string().rsplit_once("/").map_or_else(String::new, |(_, told)| told.into());
        found.problems.iter().map(name).collect()
    })
}

#[test]
fn an_account_can_be_of_a_platform_in_a_file_beside_the_configuration() {
    let config = load(ACCOUNT, PLATFORM).unwrap_or_else(|told| panic!("{told:?}")).config;
    let account = &config.accounts["own"];
    assert_eq!(
        (account.platform, account.base_urls.as_slice()),
        ("stranger", &["https://s.example.com".to_owned()][..])
    );
    assert_eq!(account.native("lead", None).as_deref(), Some("7"));
    assert_eq!(config.platforms.find("stranger").map(Platform::title), Some("Stranger"));
    // Another configuration of this process knows nothing of it.
    let other = ACCOUNT.replace("platform_files = [\"stranger.toml\"]\n", "");
    let told = load(&other, PLATFORM).map(drop).unwrap_err();
    assert!(
        told[0].starts_with("postback.toml:6: accounts.own.platform: has to be ")
            && told[0].ends_with("not \"stranger\""),
        "{told:?}"
    );
}

#[test]
fn every_problem_of_a_platforms_file_is_told_with_its_own_line() {
    let broken = PLATFORM.replace("status == 200", "statsu == 200").replace("title", "titel");
    let told = load(ACCOUNT, &broken).map(drop).unwrap_err();
    let wanted = [
        "stranger.toml: title: is missing: what people call the platform",
        "stranger.toml:2: titel: is no key of this table; did you mean `title`?",
        "stranger.toml:12: answer.delivered: at character 1 (`statsu`): nothing is called `statsu` here; did you mean `status`?",
    ];
    assert_eq!(told, wanted, "that there is no platform `stranger` would be said twice");
}

#[test]
fn a_broken_file_of_a_platform_is_all_that_is_told_of_its_accounts() {
    let broken = PLATFORM.replace("[answer]", "[answer");
    let told = load(ACCOUNT, &broken).map(drop).unwrap_err();
    assert!(
        told.len() == 1 && told[0].starts_with("stranger.toml:1") && told[0].contains(": is not TOML: "),
        "{told:?}"
    );
    // The file has another name, so that nothing else says why the account has no platform.
    for line in ["name = 'other' # of it", "  name=\"other\""] {
        let other = broken.replace("name = \"stranger\"", line);
        let told = load(ACCOUNT, &other).map(drop).unwrap_err();
        assert!(
            told.len() == 2 && told[0].starts_with("postback.toml:7: accounts.own.platform: has to be "),
            "{told:?}"
        );
    }
    // A file that shows no name may be that of any platform.
    let told = load(ACCOUNT, &broken.replace("name = \"stranger\"\n", "")).map(drop).unwrap_err();
    assert_eq!(told.len(), 1, "{told:?}");
}

#[test]
fn a_file_that_is_not_there_and_a_name_that_is_taken_are_errors() {
    let told = load(&ACCOUNT.replace("stranger.toml", "nobody.toml"), PLATFORM).map(drop).unwrap_err();
    assert!(told.len() == 1 && told[0].contains("nobody.toml cannot be read"), "{told:?}");
    let taken = PLATFORM.replace("name = \"stranger\"", "name = \"qihoo360\"");
    let told = load(ACCOUNT, &taken).map(drop).unwrap_err();
    assert!(
        told.iter().any(|told| told.contains("platform_files.0: is named qihoo360, as another platform is")),
        "{told:?}"
    );
}

#[test]
fn a_platform_without_an_address_wants_one_of_each_account() {
    let open = PLATFORM.replace("base_url = \"https://s.example.com\"\n", "");
    let told = load(ACCOUNT, &open).map(drop).unwrap_err();
    assert_eq!(told, ["postback.toml:6: accounts.own.base_url: is missing: the platform has none of its own"]);
}
