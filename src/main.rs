//! Arguments, configuration, one command, exit code.

use std::process::ExitCode;
use std::sync::Arc;

use clap::{Parser, Subcommand};

use postback::cli::source::{Access, Known};
use postback::cli::{
    Exit, accounts, block_on, blocked, check, dead_letters, demo, load, preview, run, sandbox, send, trace, unblock,
};
use postback::sandbox::SandboxAccount;
use postback::senders::Platform;

/// Events are allocated on the polling thread and freed on a lane's: glibc's arenas pay a lock and a walk for each.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

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
    DeadLetters(dead_letters::Args),
    Trace(trace::Args),
    Send(send::Args),
    Accounts(accounts::Args),
    Blocked(blocked::Args),
    Unblock(unblock::Args),
    Sandbox(sandbox::SandboxArgs),
}

fn main() -> ExitCode {
    // One provider for all of the process; a second installation cannot happen this early.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let result = match Cli::parse().command {
        Command::Check(args) => return check::run(&args),
        Command::DeadLetters(args) => dead_letters::run(&args),
        Command::Trace(args) => trace::run(&args),
        Command::Preview(args) => preview::run(&args),
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

/// Commands that ask a running worker: the configuration says where its Redis is and which accounts there are.
fn ask(access: &Access, work: impl AsyncFnOnce(&Known<'_>) -> anyhow::Result<()>) -> Result<(), Exit> {
    let config = load(access.config.as_deref())?;
    let accounts: Vec<(Platform, Arc<str>)> = config.accounts.values().map(|a| (a.platform, a.name.clone())).collect();
    let admin = access.admin.clone().unwrap_or_else(|| format!("http://{}", config.admin.listen));
    let known = Known { redis: &config.redis, accounts: &accounts, admin: &admin };
    block_on(async { work(&known).await.map_err(Exit::from) })
}

/// The fakes know what the configuration says of each account; without one, example accounts.
fn serve_fakes(args: sandbox::SandboxArgs) -> Result<(), Exit> {
    let accounts = match &args.config {
        Some(file) => sandbox::accounts(&load(Some(file))?),
        None => SandboxAccount::examples(),
    };
    args.faults().map_err(|error| Exit::usage(format!("{error:#}")))?;
    block_on(async { sandbox::run(args, accounts).await.map_err(|error| Exit::failed(format!("{error:#}"))) })
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

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
}
