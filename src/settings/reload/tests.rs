use std::fs;
use std::path::PathBuf;

use super::*;

const DAY_MS: i64 = 86_400_000;

const FILE: &str = r#"
platform_files = []
kafka.brokers = "b:9092"
redis.url = "redis://r:6379"
limits.rps = 20

[accounts.acme]
platform = "qihoo360"
secrets = [{ id = "old", key = "k", secret = "s" }]
data_industry = "ocpc_ps_convert"

[accounts.other]
platform = "baizhu"
product = { install = "p", register = "p", back = "p" }
base_url = "https://bz.example"
"#;

/// A configuration that was loaded from a file, which may be written anew.
struct World {
    _folder: tempfile::TempDir,
    file: PathBuf,
    running: Config,
}

impl World {
    fn new(text: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("postback.toml");
        fs::write(&file, text).unwrap();
        let running = Config::load(Some(&file), []).unwrap_or_else(|found| panic!("{found}")).config;
        Self { _folder: folder, file, running }
    }

    fn reload(&self, text: &str) -> Result<Reloaded, Vec<String>> {
        fs::write(&self.file, text).unwrap();
        self.running.reload(20_000 * DAY_MS).map_err(|found| found.problems.iter().map(ToString::to_string).collect())
    }

    fn refused(&self, text: &str) -> String {
        self.reload(text).err().expect("it is refused").join("\n")
    }

    /// Which of the accounts are the same as before.
    fn same(&self, reloaded: &Reloaded) -> Vec<bool> {
        let new = reloaded.config.accounts.iter();
        new.map(|(name, new)| self.running.accounts.get(name).is_some_and(|old| Arc::ptr_eq(old, new))).collect()
    }
}

#[test]
fn an_account_that_did_not_change_stays_as_it_is_and_limits_are_those_of_every_account() {
    let world = World::new(FILE);
    let same = world.reload(FILE).unwrap_or_else(|found| panic!("{found:?}"));
    assert_eq!((world.same(&same), same.difference), (vec![true, true], Difference::default()));
    let one = world.reload(&FILE.replace("ocpc_ps_convert", "ocpc_ms_convert")).ok().unwrap();
    assert_eq!(world.same(&one), [false, true]);
    let all = world.reload(&FILE.replace("limits.rps = 20", "limits.rps = 7")).ok().unwrap();
    assert_eq!(world.same(&all), [false, false]);
    assert!(all.config.accounts.values().all(|account| account.limits.rps == 7.0));
}

#[test]
fn what_needs_a_restart_stays_as_it_is_and_is_named() {
    let world = World::new(FILE);
    let text = FILE.replace("b:9092", "c:9092").replace("rps = 20", "rps = 7") + "[dedupe]\nwindow = \"13d\"\n";
    let reloaded = world.reload(&text).ok().unwrap();
    let config = &reloaded.config;
    assert_eq!((config.kafka.brokers.as_str(), config.dedupe.window), ("b:9092", world.running.dedupe.window));
    let named: Vec<_> = reloaded.difference.at_restart.iter().map(|changed| changed.key.as_str()).collect();
    assert_eq!(named, ["dedupe.window", "kafka.brokers"]);
    assert!(config.accounts.values().all(|account| account.limits.rps == 7.0), "the rest is taken");
}

#[test]
fn a_file_that_cannot_be_used_is_refused_with_file_line_and_key_of_every_problem() {
    let world = World::new(FILE);
    let text = world.refused(
        &FILE.replace("limits.rps = 20", "limits.rps = -1").replace("platform = \"baizhu\"", "platform = \"bazhu\""),
    );
    assert!(text.contains("postback.toml:5: limits.rps: "), "{text}");
    assert!(text.contains("postback.toml:13: accounts.other.platform: "), "{text}");
    assert!(world.refused("not TOML").contains("postback.toml:1: is not TOML"));
    fs::remove_file(&world.file).unwrap();
    let gone = world.running.reload(0).err().unwrap();
    assert!(gone.to_string().contains("cannot be read"), "{gone}");
}

#[test]
fn an_account_keeps_its_platform_and_one_that_would_halt_is_refused_if_that_is_new() {
    let world = World::new(FILE);
    let text = world.refused(&FILE.replace(
        "platform = \"baizhu\"\nproduct = { install = \"p\", register = \"p\", back = \"p\" }",
        "platform = \"webhook\"\nsecret = \"eA==\"",
    ));
    assert!(text.contains("accounts.other.platform: was baizhu"), "{text}");
    let ended = FILE.replace("secret = \"s\" }", "secret = \"s\", not_after = \"2020-01-01T00:00:00Z\" }");
    let text = world.refused(&ended);
    assert!(text.contains("postback.toml:9: accounts.acme.secrets: holds none that is valid now"), "{text}");
    let halting = World::new(&ended);
    assert!(halting.reload(&ended.replace("bz.example", "bz2.example")).is_ok(), "it was so before");
}

#[test]
fn other_codes_and_removed_accounts_are_warned_of() {
    let world = World::new(FILE);
    let told = |text: &str| world.reload(text).ok().unwrap().warnings.join("\n");
    let mapped = FILE.replace("data_industry", "map = { purchase = \"ORDER\" }\ndata_industry");
    assert!(told(&mapped).contains("accounts.acme.map: other codes are other keys"), "{}", told(&mapped));
    let without = FILE.split("[accounts.other]").next().unwrap();
    assert!(told(without).contains("accounts.other: is removed"), "{}", told(without));
    assert_eq!(told(FILE), "");
}

#[test]
fn a_platform_file_that_did_not_change_is_the_same_platform_and_a_changed_one_changes_its_accounts() {
    let folder = tempfile::tempdir().unwrap();
    let platform = folder.path().join("mine.toml");
    let text =
        include_str!("../../../config/platforms/webhook.toml").replacen("name = \"webhook\"", "name = \"mine\"", 1);
    fs::write(&platform, &text).unwrap();
    let file = FILE.replace("platform_files = []", &format!("platform_files = [{:?}]", platform.display().to_string()))
        + "[accounts.mine]\nplatform = \"mine\"\nbase_url = \"https://hooks.example\"\nsecret = \"eA==\"\n";
    let world = World::new(&file);
    assert_eq!(world.same(&world.reload(&file).ok().unwrap()), [true, true, true]);
    fs::write(&platform, text.replacen("title = \"", "title = \"My ", 1)).unwrap();
    let changed = world.reload(&file).ok().unwrap();
    assert_eq!(world.same(&changed), [true, false, true]);
    assert_eq!(changed.difference.taken[0].key, "platform_files (mine)");
}
