//! What is said at the beginning: where everything is, and what to try in another terminal (pure).

/// What the text names.
#[derive(Clone, Debug, Default)]
pub struct Places {
    pub broker: String,
    pub store: String,
    /// The worker's API and metrics.
    pub admin: String,
    /// Whether that is the address where other commands look.
    pub usual_admin: bool,
    pub sandbox: String,
    /// The seed of the events.
    pub seed: u64,
    /// How the program was called.
    pub program: String,
    /// It will run until it is stopped.
    pub endless: bool,
}

/// One sentence on what this is.
pub const WHAT: &str = "postback demo: a generator publishes conversions, the worker delivers them, a sandbox plays \
                        the platforms. Everything is in this process and in memory; nothing goes out to anybody.";

/// Addresses, and lines to try.
pub fn text(p: &Places) -> String {
    let Places { broker, store, admin, sandbox, seed, .. } = p;
    let mut text = format!(
        "
  broker    {broker}
  store     {store}
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

/// Lines for another terminal. What takes longer than a demo of few events is for one that runs on.
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

/// The three lines that make a platform fail and bring its account back.
pub fn break_heal_resume(p: &Places) -> [String; 3] {
    let Places { sandbox, program, .. } = p;
    [
        format!("break a platform   curl -X PUT {sandbox}/_faults -d '{{\"demo-360-web\": {{\"status\": 401}}}}'"),
        format!("heal it            curl -X PUT {sandbox}/_faults -d '{{}}'"),
        format!("resume it          {program} accounts resume demo-360-web{}", p.option()),
    ]
}

impl Places {
    /// What commands need where the API is not where they look for it.
    fn option(&self) -> String {
        if self.usual_admin { String::new() } else { format!(" --admin {}", self.admin) }
    }
}

/// An event that the shell gives its time.
fn event() -> &'static str {
    r#"{"trans_id":"my-1","platform":"qihoo360","account":"demo-360-ps","event_type":"register","event_time_ms":'$(date +%s)000',"click":{"qhclickid":"a1b2c3d4e5f60718"}}"#
}

/// The program as it can be typed again.
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
