//! `postback replay`: plans what a filter selects, lets the worker run a plan, and watches, steers and lists replays.

mod show;
mod target;
mod watch;

use clap::Subcommand;

use self::target::Target;
use super::source::Access;
use super::{print, print_json};
use crate::exit::{self, Exit};
use crate::inspect::dead_letters::Filter;
use crate::operate::audit::{By, Via};
use crate::replay::view::DEFAULT_RATE;
use crate::replay::{ReplayView, Request};

/// Arguments of `postback replay`.
#[derive(Clone, Debug, clap::Args)]
#[command(
    about = "Publish dead letters again: plan, prediction, run, outcomes",
    args_conflicts_with_subcommands = true,
    after_help = "Examples:
  postback replay --config postback.toml --reason rejected --account acme-ps
  postback replay --config postback.toml --reason rejected --limit 10 --execute --why 'try ten first'
  postback replay run 20250115-080001-3fa2c1 --config postback.toml --why 'platform is back'
  postback replay status --config postback.toml
  postback replay cancel 20250115-080001-3fa2c1 --why 'wrong account'

Without --execute it makes a plan and publishes nothing: what is selected, what is refused and why, and what each event
would come to today. The worker runs a plan: closing the terminal changes nothing. Ctrl-C stops watching, not the replay.

Exit code: 0 planned, or run to its end; 1 the replay stopped itself, failed or was cancelled, another one runs, or Kafka
or Redis does not answer; 2 bad usage or configuration, or there is no such replay."
)]
pub struct Args {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    plan: PlanArgs,
}

#[derive(Clone, Debug, clap::Args)]
struct PlanArgs {
    #[command(flatten)]
    filter: Filter,
    /// One dead letter, as `dead-letters list` shows its place; may be given several times, instead of a filter
    #[arg(long, value_name = "PARTITION:OFFSET")]
    item: Vec<String>,
    /// Records per second over all replicas
    #[arg(long, value_name = "N", default_value_t = DEFAULT_RATE)]
    rate: u32,
    /// Publish also what is refused for a reason that a person may overrule; recorded
    #[arg(long)]
    force: bool,
    /// Go on however many end as dead letters again; recorded
    #[arg(long)]
    no_brake: bool,
    /// Run the plan at once, and watch it
    #[arg(long, requires = "why")]
    execute: bool,
    /// Why; kept in the audit
    #[arg(long, value_name = "TEXT")]
    why: Option<String>,
    #[command(flatten)]
    rest: Rest,
}

#[derive(Clone, Debug, Subcommand)]
enum Command {
    /// Run a plan that was made before, exactly as it stands
    #[command(after_help = "Example:
  postback replay run 20250115-080001-3fa2c1 --config postback.toml --why 'platform is back'

A plan is run once; plans are kept for 7 days.")]
    Run(Change),
    /// One replay, or the newest one: how far it is, what came of it, why it waits or stopped
    #[command(after_help = "Examples:
  postback replay status --config postback.toml
  postback replay status 20250115-080001-3fa2c1 --watch")]
    Status {
        /// The replay; without one the newest
        id: Option<String>,
        /// Show it until it has ended
        #[arg(long)]
        watch: bool,
        #[command(flatten)]
        rest: Rest,
    },
    /// Plans and replays, the newest first
    #[command(after_help = "Example:\n  postback replay list --config postback.toml --json")]
    List {
        #[command(flatten)]
        rest: Rest,
    },
    /// Stop a replay; what it has published goes on
    #[command(after_help = "Example:\n  postback replay cancel 20250115-080001-3fa2c1 --why 'wrong account'")]
    Cancel(Change),
    /// Go on with a replay that was cancelled, stopped itself or failed
    #[command(
        after_help = "Example:\n  postback replay resume 20250115-080001-3fa2c1 --why 'the account is corrected'"
    )]
    Resume(Change),
    /// Change the rate, also while it runs
    #[command(after_help = "Example:\n  postback replay rate 20250115-080001-3fa2c1 200 --why 'the platform has room'")]
    Rate {
        id: String,
        /// Records per second over all replicas
        rate: u32,
        /// Why; kept in the audit
        #[arg(long, value_name = "TEXT")]
        why: String,
        #[command(flatten)]
        rest: Rest,
    },
}

#[derive(Clone, Debug, clap::Args)]
struct Change {
    id: String,
    /// Why; kept in the audit
    #[arg(long, value_name = "TEXT")]
    why: String,
    /// Return at once instead of watching the replay
    #[arg(long)]
    no_watch: bool,
    #[command(flatten)]
    rest: Rest,
}

#[derive(Clone, Debug, clap::Args)]
struct Rest {
    /// JSON instead of text
    #[arg(long)]
    json: bool,
    /// Who asks for it
    #[arg(long, value_name = "NAME", env = "USER", hide_env = true, default_value = "cli")]
    who: String,
    #[command(flatten)]
    access: Access,
}

impl Rest {
    fn by(&self, why: &str) -> Result<By, Exit> {
        let by = By::new(Via::Cli, &self.who, why);
        if by.why.is_empty() { Err(Exit::usage("say why: --why TEXT")) } else { Ok(by) }
    }

    fn show(&self, view: &ReplayView) -> Result<(), Exit> {
        if self.json { print_json(view) } else { print(&show::text(view)) }
    }
}

/// Runs the command.
///
/// # Errors
/// 1 where the replay did not end well, another one runs, or nobody answers; 2 for bad usage.
pub fn run(args: &Args) -> Result<(), Exit> {
    exit::block_on(async {
        match &args.command {
            None => plan(&args.plan).await,
            Some(Command::Run(change)) => steer(change, "run").await,
            Some(Command::Resume(change)) => steer(change, "resume").await,
            Some(Command::Cancel(change)) => {
                let by = change.rest.by(&change.why)?;
                let view = Target::open(&change.rest.access, false).await?.change("cancel", &change.id, &by).await?;
                change.rest.show(&view)
            }
            Some(Command::Rate { id, rate, why, rest }) => {
                let by = rest.by(why)?;
                rest.show(&Target::open(&rest.access, false).await?.rate(id, *rate, &by).await?)
            }
            Some(Command::Status { id, watch, rest }) => status(id.as_deref(), *watch, rest).await,
            Some(Command::List { rest }) => {
                let all = Target::open(&rest.access, false).await?.list().await?;
                if rest.json { print_json(&all) } else { print(&show::list(&all)) }
            }
        }
    })
}

async fn plan(args: &PlanArgs) -> Result<(), Exit> {
    let by = By::new(Via::Cli, &args.rest.who, args.why.as_deref().unwrap_or_default());
    if args.execute {
        args.rest.by(&by.why)?;
    }
    let request = Request {
        filter: args.filter.clone(),
        items: args.item.clone(),
        rate: Some(args.rate),
        force: args.force,
        no_brake: args.no_brake,
        who: by.who.clone(),
        via: Some(Via::Cli),
        why: by.why.clone(),
    };
    let target = Target::open(&args.rest.access, true).await?;
    let view = watch::plan(&target, &request, &by).await?;
    if !args.execute {
        return args.rest.show(&view);
    }
    if !args.rest.json {
        print(&show::plan(&view))?;
    }
    if view.left == 0 {
        return Err(Exit::failed("nothing of it would be published, so it is not run"));
    }
    let started = target.change("run", &view.id, &by).await?;
    follow(&target, started, &args.rest).await
}

async fn steer(change: &Change, what: &str) -> Result<(), Exit> {
    let by = change.rest.by(&change.why)?;
    let target = Target::open(&change.rest.access, false).await?;
    let view = target.change(what, &change.id, &by).await?;
    if change.no_watch { change.rest.show(&view) } else { follow(&target, view, &change.rest).await }
}

async fn status(id: Option<&str>, watches: bool, rest: &Rest) -> Result<(), Exit> {
    let target = Target::open(&rest.access, false).await?;
    let view = match id {
        Some(id) => target.get(id).await?,
        None => {
            let newest = target.list().await?.into_iter().next();
            newest.ok_or_else(|| Exit::failed("there is no replay and no plan yet"))?
        }
    };
    if watches { follow(&target, view, rest).await } else { rest.show(&view) }
}

/// Watches a replay to its end and shows what came of it.
async fn follow(target: &Target, view: ReplayView, rest: &Rest) -> Result<(), Exit> {
    let Some(ended) = watch::to_its_end(target, view).await? else { return Ok(()) };
    rest.show(&ended)?;
    show::verdict(&ended)
}

#[cfg(test)]
mod tests {
    use clap::{Args as _, Command as Clap, FromArgMatches as _};

    use super::*;

    fn read(words: &[&str]) -> Result<Args, clap::Error> {
        let all = ["replay"].iter().chain(words);
        Args::from_arg_matches(&Args::augment_args(Clap::new("replay")).try_get_matches_from(all)?)
    }

    #[test]
    fn what_changes_something_needs_a_reason() {
        for words in [
            &["--reason", "rejected", "--execute"][..],
            &["run", "r-1"],
            &["cancel", "r-1"],
            &["resume", "r-1"],
            &["rate", "r-1", "5"],
        ] {
            let error = read(words).unwrap_err().to_string();
            assert!(error.contains("--why"), "{words:?}: {error}");
        }
        assert!(read(&["--reason", "rejected"]).is_ok(), "a plan changes nothing");
        assert!(read(&["--reason", "rejected", "--execute", "--why", "x"]).is_ok());
        let args = read(&["run", "r-1", "--why", " "]).unwrap();
        let Some(Command::Run(change)) = args.command else { panic!("no run") };
        assert_eq!(change.rest.by(&change.why).unwrap_err().code, 2);
    }
}
