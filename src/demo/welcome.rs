//! The text at the beginning: addresses, and commands to try in another terminal (pure).

use super::accounts::{Account, SEARCH, WEB};

/// The addresses and names in the text.
#[derive(Clone, Debug, Default)]
pub struct Places {
    pub broker: String,
    pub store: String,
    /// The address of the worker's API and metrics.
    pub admin: String,
    /// `admin` is the address that other commands use by default.
    pub usual_admin: bool,
    pub sandbox: String,
    /// The seed of the events.
    pub seed: u64,
    /// The command that started the program.
    pub program: String,
    /// The demo runs until it is stopped.
    pub endless: bool,
}

/// One sentence that says what the demo is.
pub const WHAT: &str = "postback demo: a generator publishes conversions, the worker delivers them, a sandbox plays \
                        the platforms. Everything is in this process and in memory; nothing goes out to anybody.";

/// The addresses, and commands to try.
pub fn text(p: &Places) -> String {
    let Places { broker, store, admin, sandbox, seed, .. } = p;
    let mut text = format!(
        "
  broker    {broker}
  store     {store}
  console   {admin}/
  API       {admin}/api/v1/status
  metrics   {admin}/metrics
  sandbox   {sandbox}/_ledger
  seed      {seed}   (the same events again: --seed {seed})

In another terminal:
"
    );
    for line in try_out(p) {
        text.push_str(&format!("  {line}\n"));
    }
    if p.endless {
        text.push_str("\nCtrl-C ends it with the ledger.\n");
    }
    text
}

/// Commands for another terminal. Commands that take longer than a short demo are shown only if the demo runs on.
fn try_out(p: &Places) -> Vec<String> {
    let (program, option) = (&p.program, p.option());
    let mut lines = break_heal_resume(p).to_vec();
    if p.endless {
        lines.extend([
            format!("publish an event   echo '{}' | {program} send{option} -", event()),
            format!("and follow it      {program} trace my-1{option}"),
            format!("look around        {program} blocked{option}; {program} dead-letters stats{option}"),
        ]);
    }
    lines
}

/// The three commands that make a platform fail and bring its account back.
pub fn break_heal_resume(p: &Places) -> [String; 3] {
    let Places { sandbox, program, .. } = p;
    let account = WEB.name;
    [
        format!("break a platform   curl -X PUT {sandbox}/_faults -d '{{\"{account}\": {{\"status\": 401}}}}'"),
        format!("heal it            curl -X PUT {sandbox}/_faults -d '{{}}'"),
        format!("resume it          {program} accounts resume {account}{}", p.option()),
    ]
}

/// The commands of a replay: look, plan, run.
pub fn replay(p: &Places) -> [String; 4] {
    let Places { program, admin, .. } = p;
    let (option, account) = (p.option(), WEB.name);
    [
        format!("see them           {program} dead-letters stats{option} --account {account}"),
        format!("plan a replay      {program} replay{option} --account {account} --reason rejected"),
        format!(
            "run it             {program} replay{option} --account {account} --reason rejected --execute \
             --why 'the platform is back'"
        ),
        format!("or in a browser    {admin}/#/dead-letters?account={account}"),
    ]
}

impl Places {
    /// The option that commands need if the API is not at its default address.
    fn option(&self) -> String {
        if self.usual_admin { String::new() } else { format!(" --admin {}", self.admin) }
    }
}

/// An event as a shell text; the shell fills in the time.
fn event() -> String {
    let Account { name, platform } = SEARCH;
    format!(
        r#"{{"trans_id":"my-1","platform":"{platform}","account":"{name}","event_type":"register","event_time_ms":'$(date +%s)000',"click":{{"qhclickid":"a1b2c3d4e5f60718"}}}}"#
    )
}

/// The command that started the program, so that the user can type it again.
pub fn program() -> String {
    let name = std::env::args_os().next().and_then(|name| name.into_string().ok()).unwrap_or_default();
    let plain = |c: char| c.is_ascii_alphanumeric() || "./_-".contains(c);
    if name.contains('/') && name.chars().all(plain) { name } else { "postback".to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(usual_admin: bool, endless: bool) -> String {
        text(&Places {
            broker: "127.0.0.1:41235".into(),
            store: "redis://127.0.0.1:38123".into(),
            admin: "http://127.0.0.1:9464".into(),
            usual_admin,
            sandbox: "http://127.0.0.1:9470".into(),
            seed: 4711,
            program: "postback".into(),
            endless,
        })
    }

    #[test]
    fn every_address_and_the_three_lines_are_there() {
        let text = shown(true, false);
        for part in [
            "127.0.0.1:41235",
            "redis://127.0.0.1:38123",
            "http://127.0.0.1:9464/api/v1/status",
            "http://127.0.0.1:9464/metrics",
            "console   http://127.0.0.1:9464/\n",
            "--seed 4711",
            "break a platform   curl -X PUT http://127.0.0.1:9470/_faults -d '{\"demo-360-web\": {\"status\": 401}}'",
            "postback accounts resume demo-360-web\n",
        ] {
            assert!(text.contains(part), "{part} is not in\n{text}");
        }
        assert!(!text.contains("send"));
    }

    #[test]
    fn the_event_that_can_be_published_is_one_that_the_worker_takes() {
        let text = event().replace("'$(date +%s)000'", "1767225600000");
        let event = crate::event::decode(Some(text.as_bytes())).unwrap();
        assert_eq!((event.account.as_str(), event.trans_id.as_str()), ("demo-360-ps", "my-1"));
        assert!(shown(true, true).contains("| postback send -\n"));
    }

    #[test]
    fn where_the_usual_port_is_taken_every_command_names_the_other() {
        let text = shown(false, true);
        for command in ["accounts resume demo-360-web", "send", "trace my-1", "blocked", "dead-letters stats"] {
            assert!(text.contains(&format!("{command} --admin http://127.0.0.1:9464")), "{command}\n{text}");
        }
    }
}
