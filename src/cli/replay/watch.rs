//! Watches a plan while it is made, and a replay while it runs. Ctrl-C stops the watching alone.

use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::show::line;
use super::target::Target;
use crate::cli::progress::Progress;
use crate::exit::Exit;
use crate::operate::audit::By;
use crate::replay::view::State;
use crate::replay::{ReplayView, Request};

const EVERY: Duration = Duration::from_millis(500);
/// After the last record is published, the watching goes on for so long without a new outcome.
const FOR_OUTCOMES: Duration = Duration::from_secs(10);

/// Makes a plan and waits for it.
///
/// # Errors
/// 2 for a bad request, 1 where nobody answers or no plan could be made.
pub(super) async fn plan(target: &Target, request: &Request, by: &By) -> Result<ReplayView, Exit> {
    let mut view = target.plan(request, by).await?;
    let bar = Progress::new("dead letters looked at");
    while let Some(progress) = &view.progress {
        bar.at(progress.scanned, progress.total);
        sleep(EVERY).await;
        view = target.get(&view.id).await?;
    }
    match (view.state, &view.stopped) {
        (State::Failed, Some(stopped)) => Err(Exit::failed(stopped.reason.clone())),
        _ => Ok(view),
    }
}

/// Watches a replay until it has ended and no more outcomes come. `None`: the user stopped watching.
///
/// # Errors
/// 1 where nobody answers.
pub(super) async fn to_its_end(target: &Target, view: ReplayView) -> Result<Option<ReplayView>, Exit> {
    let bar = Progress::new("");
    let id = view.id.clone();
    tokio::select! {
        ended = until_it_ends(target, view, &bar) => ended.map(Some),
        _ = tokio::signal::ctrl_c() => {
            drop(bar);
            eprintln!(
                "stopped watching; the replay goes on in the worker\n  \
                 postback replay status {id} --watch      watch it again\n  \
                 postback replay cancel {id} --why TEXT   stop it"
            );
            Ok(None)
        }
    }
}

async fn until_it_ends(target: &Target, mut view: ReplayView, bar: &Progress) -> Result<ReplayView, Exit> {
    let (mut ended, mut moved) = (0, Instant::now());
    loop {
        bar.say(view.selected.saturating_sub(view.left), view.selected, line(&view));
        if view.outcomes.ended() != ended {
            (ended, moved) = (view.outcomes.ended(), Instant::now());
        }
        let runs = matches!(view.state, State::Running);
        if runs {
            moved = Instant::now();
        } else if view.outcomes.open == 0 || moved.elapsed() > FOR_OUTCOMES {
            return Ok(view);
        }
        sleep(EVERY).await;
        view = target.get(&view.id).await?;
    }
}
