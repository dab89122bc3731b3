//! The pages about what is away, followed while it is away: a command may fail then, and has to say what the page is
//! about.

use std::fs;

use crate::runbook::{Night, commands, read};
use crate::support::ledger::Check;
use crate::support::world::{Setup, World};
use crate::support::{eventually, secs};

/// How a command begins, its exit code, and what it says.
type End = (&'static str, i32, &'static str);

impl Night {
    /// Runs each command of a page as it is written. Each has to end as the list says.
    fn follow(&self, page: &str, ends: &[End]) {
        let text = read(page);
        for command in commands(&text) {
            let end = ends.iter().find(|(start, ..)| command.starts_with(start));
            let (_, code, says) = end.unwrap_or_else(|| panic!("{page}: how does `{command}` end?"));
            let output = self.worker.sh(&self.folder, &self.filled(page, command));
            let told = format!("{}{}", output.stdout, output.stderr);
            let is_as_listed = output.code == Some(*code) && told.contains(says) && !told.contains("Usage:");
            assert!(is_as_listed, "{page}: {command}: {:?}, and not {code} with `{says}`: {told}", output.code);
        }
    }

    fn recovers(&self) {
        eventually(secs(60), "all is well again", || self.is_calm());
    }
}

#[test]
fn the_commands_of_the_pages_about_what_is_away_say_so_while_it_is_away() {
    let own = Setup { brokers: 1, redis: true, ..Setup::default() };
    let mut night = Night::falls(World::with("runbook-away", own));

    night.w.redis.as_mut().unwrap().stop();
    eventually(secs(20), "the worker holds", || !night.worker.ready());
    let (ready, connect) = ("curl -s http://127.0.0.1:9464/ready", "postback check --connect");
    let ends = [(ready, 0, "redis"), (connect, 0, "redis.url"), ("postback blocked", 1, "correct redis.url")];
    night.follow("PostbackRedisAway", &ends);
    night.follow("NotReady", &ends);
    night.w.redis.as_mut().unwrap().start();
    night.recovers();

    night.w.cluster.as_mut().unwrap().stop();
    eventually(secs(30), "no broker answers", || !night.worker.ready());
    let ends = [(ready, 0, "kafka"), (connect, 0, "kafka.brokers"), ("postback blocked", 0, "kafka.brokers")];
    night.follow("PostbackKafkaAway", &ends);
    night.follow("NotReady", &ends);
    night.w.cluster.as_mut().unwrap().start();
    night.recovers();

    // Somebody has misspelt a key. Once it is corrected, the same commands succeed.
    let good = fs::read_to_string(&night.worker.config).unwrap();
    fs::write(&night.worker.config, format!("platform_filez = []\n{good}")).unwrap();
    let key = "platform_filez";
    let ends = [("postback check --config", 2, key), (connect, 2, key), ("curl -s -X POST", 0, key)];
    night.follow("PostbackReloadFailed", &ends);
    fs::write(&night.worker.config, good).unwrap();
    let page = read("PostbackReloadFailed");
    commands(&page).into_iter().for_each(|command| night.run("PostbackReloadFailed", command));

    // curl's 7: nobody listens.
    night.worker.stop();
    let ends = [
        ("curl -s ", 7, ""),
        ("postback check --config", 0, ""),
        (connect, 0, "connected"),
        ("postback blocked", 0, "no running worker"),
    ];
    night.follow("PostbackTargetAbsent", &ends);
    night.worker.start();
    night.recovers();
    night.w.settle(secs(60));
    night.w.ledger(&Check { disturbed: true, bad_requests: true, exact: false });
}
