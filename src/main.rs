//! Arguments, configuration, one command, exit code.

use std::process::ExitCode;
use std::sync::Arc;

use clap::error::ErrorKind;
use clap::{CommandFactory, Parser, Subcommand};

use postback::app::local_sandbox;
use postback::cli::source::{Access, Known};
use postback::cli::{
    accounts, blocked, check, dead_letters, demo, load, platforms, preview, probe, reconcile, replay, run, sandbox,
    send, trace, unblock,
};
use postback::exit::{Exit, block_on};
use postback::sandbox::SandboxAccount;

/// The polling thread allocates events and a lane's thread frees them. glibc's allocator takes a lock and searches a
/// list for each of these, jemalloc does not. It serves librdkafka and OpenSSL too, so that memory which one part gives
/// back is there for the others.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

/// What jemalloc reads at its start. By default it has four arenas per core and keeps freed pages for ten seconds; both
/// cost memory when a burst moves from one thread to the next. Without `thp:never` one small block may take 2 MiB.
// SAFETY: jemalloc declares it as `const char *malloc_conf`, and the text ends in a zero byte.
#[unsafe(export_name = "malloc_conf")]
static MALLOC_CONF: &[u8; 39] = b"narenas:4,dirty_decay_ms:500,thp:never\0";

/// Delivers advertising conversions from Kafka to ad platforms: at least once, never silently lost.
#[derive(Parser)]
#[command(
    name = "postback",
    version,
    arg_required_else_help = true,
    after_help = "\
Examples:
  postback demo                              see it at work; nothing to install
  postback check --config postback.toml      what is wrong with a configuration
  postback run --config postback.toml        the worker
  postback run                               the same with nothing installed, to try it: nothing is durable
  postback send --config postback.toml events.json"
)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    Demo(demo::Args),
    Run(run::Args),
    Check(check::Args),
    Preview(preview::Args),
    Probe(probe::Args),
    Platforms(platforms::Args),
    DeadLetters(dead_letters::Args),
    Replay(Box<replay::Args>),
    Trace(trace::Args),
    Reconcile(reconcile::Args),
    Send(send::Args),
    Accounts(accounts::Args),
    Blocked(blocked::Args),
    Unblock(unblock::Args),
    Sandbox(sandbox::SandboxArgs),
}

fn main() -> ExitCode {
    // The process uses one TLS provider. Nothing has installed another one yet, so this cannot fail.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let result = match parse().command {
        Command::Check(args) => return check::run(&args),
        Command::DeadLetters(args) => dead_letters::run(&args),
        Command::Replay(args) => replay::run(&args),
        Command::Trace(args) => trace::run(&args),
        Command::Reconcile(args) => reconcile::run(&args),
        Command::Preview(args) => preview::run(&args),
        Command::Probe(args) => probe::run(&args),
        Command::Platforms(args) => platforms::run(&args),
        Command::Demo(args) => demo::run(&args),
        Command::Run(args) => run::run(&args),
        Command::Send(args) => load(args.config.as_deref()).and_then(|config| block_on(send::run(args, config))),
        Command::Sandbox(args) => serve_fakes(args),
        Command::Accounts(args) => {
            ask(args.access(), async |known| accounts::run(&args, known, &mut std::io::stdout()).await)
        }
        Command::Blocked(args) => {
            ask(&args.access, async |known| blocked::run(&args, known, &mut std::io::stdout()).await)
        }
        Command::Unblock(args) => {
            ask(args.access(), async |known| unblock::run(&args, known, &mut std::io::stdout()).await)
        }
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(Exit { code, text }) => {
            for line in text.lines() {
                eprintln!("error: {line}");
            }
            ExitCode::from(code)
        }
    }
}

/// Reads the command line, and names the commands there are after one that there is not.
fn parse() -> Cli {
    Cli::try_parse().unwrap_or_else(|error| {
        if error.kind() != ErrorKind::InvalidSubcommand {
            error.exit();
        }
        let _ = error.print();
        let all = Cli::command();
        let mut known = &all;
        for word in std::env::args().skip(1) {
            let Some(command) = known.find_subcommand(word) else { break };
            known = command;
        }
        let names: Vec<&str> = known.get_subcommands().map(clap::Command::get_name).filter(|n| *n != "help").collect();
        eprintln!("Commands: {}", names.join(", "));
        std::process::exit(error.exit_code())
    })
}

/// Runs a command that asks a running worker. The configuration says where its Redis is and which accounts there are.
fn ask(access: &Access, work: impl AsyncFnOnce(&Known<'_>) -> anyhow::Result<()>) -> Result<(), Exit> {
    let config = load(access.config.as_deref())?;
    let accounts: Vec<(&'static str, Arc<str>)> =
        config.accounts.values().map(|a| (a.platform, a.name.clone())).collect();
    let admin = access.admin.clone().unwrap_or_else(|| format!("http://{}", config.admin.listen));
    let known = Known { redis: &config.redis, kafka: Some(&config.kafka), accounts: &accounts, admin: &admin };
    block_on(async { work(&known).await.map_err(Exit::from) })
}

/// Serves fakes of the accounts in the configuration, or of example accounts without one.
fn serve_fakes(args: sandbox::SandboxArgs) -> Result<(), Exit> {
    let accounts = match &args.config {
        Some(file) => local_sandbox::accounts(&load(Some(file))?),
        None => SandboxAccount::examples(),
    };
    args.faults().map_err(|error| Exit::usage(format!("{error:#}")))?;
    block_on(async { sandbox::run(args, accounts).await.map_err(|error| Exit::failed(format!("{error:#}"))) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_valid_and_every_command_has_an_example() {
        fn each(command: &clap::Command, path: &str) {
            let path = format!("{path} {}", command.get_name());
            let help = command.get_after_help().map(ToString::to_string).unwrap_or_default();
            assert!(help.contains("Example"), "{path} --help has no example");
            assert!(help.contains("postback"), "{path} --help shows no command");
            command.get_subcommands().filter(|c| c.get_name() != "help").for_each(|c| each(c, &path));
        }
        Cli::command().debug_assert();
        each(&Cli::command(), "");
    }

    /// The command in a line of examples, also behind a pipe or a variable. What a shell would fill in is left out.
    fn example(line: &str) -> Option<&str> {
        let mut parts = line.strip_prefix("  ")?.split("| ");
        let plain = |part: &str| part.starts_with("postback ") && !part.contains("$(");
        parts.find_map(|part| {
            let (variable, rest) = part.split_once(' ')?;
            [part, rest].into_iter().take(if variable.contains('=') { 2 } else { 1 }).find(|p| plain(p))
        })
    }

    /// A line of a shell as it would reach the program: quotes taken off, and no more than the first command.
    fn words(line: &str) -> Vec<String> {
        let (mut words, mut word, mut quoted) = (Vec::new(), String::new(), false);
        let command = line.split("  ").next().unwrap_or_default();
        for c in command.chars() {
            match c {
                '\'' => quoted = !quoted,
                '|' | '#' if !quoted => break,
                '>' if !quoted => {
                    // The number of what is sent elsewhere.
                    word.clear();
                    break;
                }
                ' ' if !quoted => words.push(std::mem::take(&mut word)),
                _ => word.push(c),
            }
        }
        words.push(word);
        words.retain(|w| !w.is_empty());
        words
    }

    #[test]
    fn every_example_of_a_help_text_is_accepted_by_the_command_line() {
        fn each(command: &clap::Command, lines: &mut Vec<String>) {
            let help = command.get_after_help().map(ToString::to_string).unwrap_or_default();
            lines.extend(help.lines().filter_map(example).map(ToOwned::to_owned));
            command.get_subcommands().for_each(|c| each(c, lines));
        }
        let mut lines = Vec::new();
        each(&Cli::command(), &mut lines);
        assert!(lines.len() >= 30, "{lines:?}");
        for line in lines {
            let words = words(&line);
            if let Err(error) = Cli::try_parse_from(&words) {
                panic!("{line}\n{words:?}\n{error}");
            }
        }
    }

    #[test]
    fn every_command_of_the_runbook_is_accepted_by_the_command_line() {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/deploy/runbook");
        let mut seen = 0;
        for file in std::fs::read_dir(folder).unwrap() {
            let file = file.unwrap().path();
            let text = std::fs::read_to_string(&file).unwrap();
            // A partition is a number and a reason one of a list; the other words in capitals are names.
            for line in text.lines().filter(|line| line.starts_with("postback ")) {
                let words = words(&line.replace("PARTITION", "0").replace("REASON", "rejected"));
                seen += 1;
                if let Err(error) = Cli::try_parse_from(&words) {
                    panic!("{}: {line}\n{error}", file.display());
                }
                // At night nobody should have to find out which configuration a command takes.
                assert!(line.ends_with(" --config postback.toml"), "{}: {line}", file.display());
            }
        }
        assert!(seen > 60, "{seen}");
    }

    #[test]
    fn the_readme_lists_the_commands_that_there_are() {
        let names = |command: &clap::Command| -> Vec<String> {
            command.get_subcommands().map(|c| c.get_name().to_owned()).filter(|n| n != "help").collect()
        };
        let (_, table) = include_str!("../README.md").split_once("\n## Commands\n").unwrap();
        let rows = table.lines().skip_while(|l| !l.starts_with('|')).take_while(|l| l.starts_with('|'));
        let mut shown = Vec::new();
        for cell in rows.filter_map(|row| row.strip_prefix("| `")?.split('`').next()) {
            let (name, rest) = cell.split_once(' ').unwrap_or((cell, ""));
            shown.push(name.to_owned());
            let cli = Cli::command();
            let command = cli.find_subcommand(name).unwrap_or_else(|| panic!("there is no command {name}"));
            // The next lines name its own commands, or its arguments in capitals.
            let is_command = |w: &&str| !w.is_empty() && w.bytes().all(|b| b.is_ascii_lowercase() || b == b'-');
            let below = rest.split(['\\', '|', ' ']).filter(is_command);
            let (mut below, mut real): (Vec<_>, _) = (below.map(ToOwned::to_owned).collect(), names(command));
            below.sort();
            real.sort();
            assert_eq!(below, real, "of {name}");
        }
        let mut real = names(&Cli::command());
        shown.sort();
        real.sort();
        assert_eq!(shown, real);
    }
}
