//! Shows plans and replays to people.

use std::collections::BTreeMap;

use crate::cli::table;
use crate::exit::Exit;
use crate::replay::ReplayView;
use crate::replay::cause::meaning;
use crate::replay::view::State;
use crate::units::{show_count, show_span};

/// The groups that a plan shows; the rest is a number.
const GROUPS: usize = 20;

/// A plan or a replay in full.
pub(super) fn text(view: &ReplayView) -> String {
    if view.state != State::Planned {
        return replay(view);
    }
    let mut text = plan(view);
    if view.progress.is_none() && view.left > 0 {
        text.push_str(&format!(
            "\nNothing is published yet. Run exactly this with:\n  postback replay run {} --why TEXT\n",
            view.id
        ));
    }
    text
}

/// A plan: what is selected, refused and foreseen.
pub(super) fn plan(view: &ReplayView) -> String {
    if let Some(progress) = &view.progress {
        return format!(
            "plan {} is being made: looked at {} of {} dead letters\n",
            view.id, progress.scanned, progress.total
        );
    }
    let mut text = format!("plan {}: {} selected\n", view.id, letters(view.selected));
    text.push_str(&left_out(view));
    if view.selected == 0 {
        text.push_str("Nothing fits the filter: `postback dead-letters stats` shows what there is.\n");
        return text;
    }
    let ages = &view.ages;
    text.push_str(&format!(
        "failed    in the last hour {}, day {}, week {}, earlier {}\n\n",
        ages.under_1h, ages.under_1d, ages.under_7d, ages.older
    ));
    text.push_str(&groups(view));
    text.push_str(&format!("\ntoday     {} would be sent", view.predicted.sent));
    if view.predicted.suppressed > 0 {
        text.push_str(&format!(", {} would end suppressed (opt-out)", view.predicted.suppressed));
    }
    if view.predicted.halted > 0 {
        text.push_str(&format!(", {} would wait: their account has no valid credential", view.predicted.halted));
    }
    text.push('\n');
    for refusal in &view.predicted.refused {
        let field = if refusal.field.is_empty() { String::new() } else { format!(" {}", refusal.field) };
        text.push_str(&format!(
            "          {} would be refused again: {}{field}, e.g. {}\n",
            refusal.count, refusal.reason, refusal.sample
        ));
    }
    if !view.refused.is_empty() {
        text.push_str("refused\n");
        text.push_str(&causes(view, &view.refused));
    }
    let time = view.eta_ms.map_or_else(String::new, |ms| format!(": {} at {}/s", span(ms), view.rate));
    text.push_str(&format!("to run    {}{time}\n", letters(view.left)));
    text
}

/// What the plan could not see.
fn left_out(view: &ReplayView) -> String {
    if view.left_out == 0 {
        return String::new();
    }
    format!(
        "note      {} older dead letters were not looked at, because a plan sees only the newest ones: those that fit are \
         not in it (--item names them one by one)\n",
        show_count(view.left_out)
    )
}

fn groups(view: &ReplayView) -> String {
    let headings = ["REASON", "CODE", "FIELD", "PLATFORM", "ACCOUNT", "COUNT", "FIRST", "LAST", "SAMPLE"];
    let rows: Vec<Vec<String>> = view
        .groups
        .iter()
        .take(GROUPS)
        .map(|group| {
            let texts = [&group.reason, &group.code, &group.field, &group.platform, &group.account].map(Clone::clone);
            let (first, last) = (table::time(Some(group.first_ms)), table::time(Some(group.last_ms)));
            [&texts[..], &[group.count.to_string(), first, last, group.sample.clone()]].concat()
        })
        .collect();
    let mut text = table::render(&headings, &rows);
    if view.groups.len() > GROUPS {
        text.push_str(&format!("and {} more groups; --json shows all\n", view.groups.len() - GROUPS));
    }
    text
}

fn causes(view: &ReplayView, counts: &BTreeMap<String, u64>) -> String {
    let line = |(cause, count): (&String, &u64)| {
        let sample = view.samples.get(cause).map(|at| format!(", e.g. {at}")).unwrap_or_default();
        format!("          {count} {cause}: {}{sample}\n", meaning(cause).unwrap_or("see the log"))
    };
    counts.iter().map(line).collect()
}

/// A replay that was run.
fn replay(view: &ReplayView) -> String {
    let mut text = format!("replay {}: {}\n", view.id, view.state.as_str());
    text.push_str(&format!("by        {}: {}\n", view.by, view.why));
    if let Some(stopped) = &view.stopped {
        text.push_str(&format!("because   {}\n", stopped.reason));
        if let Some(sample) = &stopped.sample {
            text.push_str(&format!(
                "          e.g. {} of {}, code {}, field {}\n",
                sample.trans_id,
                sample.account,
                dash(&sample.code),
                dash(&sample.field)
            ));
        }
    }
    text.push_str(&format!("selected  {}\n", view.selected));
    text.push_str(&left_out(view));
    text.push_str(&format!("published {}\n", view.republished));
    for (name, counts) in [("skipped", &view.skipped), ("failed", &view.failed)] {
        text.push_str(&format!("{name:<9} {}\n", counts.values().sum::<u64>()));
        text.push_str(&causes(view, counts));
    }
    let time = view.eta_ms.map_or_else(String::new, |ms| format!(", {} at {}/s", span(ms), view.rate));
    text.push_str(&format!("left      {}{time}\n", view.left));
    for waiting in &view.waiting {
        let account = if waiting.account.is_empty() { "everything" } else { &waiting.account };
        text.push_str(&format!("waits     {account}: {}\n", waiting.why));
    }
    text.push_str(&outcomes(view));
    // Of a plan that could not be made nothing is left.
    if matches!(view.state, State::StoppedItself | State::Cancelled | State::Failed) && view.left > 0 {
        text.push_str(&format!("\nGo on with: postback replay resume {} --why TEXT\n", view.id));
    }
    text
}

fn outcomes(view: &ReplayView) -> String {
    let outcomes = &view.outcomes;
    let (at_least, why) = match (outcomes.at_least, outcomes.taken_over) {
        (true, true) => (
            "at least ",
            " (the replica that ran it was gone, and another one went on: some ends may be counted twice, and each of these \
             hides an open one)",
        ),
        (true, false) => ("at least ", " (some ends may be counted twice, and each of these hides an open one)"),
        (false, _) => ("", ""),
    };
    let mut text = format!(
        "outcomes  delivered {}, duplicate {}, suppressed {}, dead again {}, open {at_least}{}{why}\n",
        outcomes.delivered,
        outcomes.duplicate,
        outcomes.suppressed,
        outcomes.dead_lettered.values().sum::<u64>(),
        outcomes.open
    );
    for (reason, count) in &outcomes.dead_lettered {
        text.push_str(&format!("          {count} dead again: {reason}\n"));
    }
    text
}

/// One line, for a replay that is being watched.
pub(super) fn line(view: &ReplayView) -> String {
    let outcomes = &view.outcomes;
    let mut text = format!(
        "published {}, skipped {}, delivered {}, dead again {}, open {}",
        view.republished,
        view.skipped.values().sum::<u64>(),
        outcomes.delivered,
        outcomes.dead_lettered.values().sum::<u64>(),
        outcomes.open
    );
    if let Some(ms) = view.eta_ms {
        text.push_str(&format!(", {} left", span(ms)));
    }
    if let Some(waiting) = view.waiting.first() {
        text.push_str(&format!("; {} waits: {}", waiting.account, waiting.why));
    }
    text
}

/// A table of replays.
pub(super) fn list(all: &[ReplayView]) -> String {
    if all.is_empty() {
        return "no replays and no plans\n".to_owned();
    }
    let headings =
        ["ID", "STATE", "SELECTED", "PUBLISHED", "SKIPPED", "FAILED", "DELIVERED", "DEAD", "OPEN", "BY", "WHY"];
    let rows: Vec<Vec<String>> = all
        .iter()
        .map(|view| {
            let sum = |counts: &BTreeMap<String, u64>| counts.values().sum::<u64>();
            let numbers = [
                view.selected,
                view.republished,
                sum(&view.skipped),
                sum(&view.failed),
                view.outcomes.delivered,
                sum(&view.outcomes.dead_lettered),
                view.outcomes.open,
            ];
            let mut row = vec![view.id.clone(), view.state.as_str().to_owned()];
            row.extend(numbers.map(|number| number.to_string()));
            row.extend([view.by.clone(), view.why.clone()]);
            row
        })
        .collect();
    table::render(&headings, &rows)
}

/// The exit of a command that watched a replay to its end.
///
/// # Errors
/// 1 where it was not completed.
pub(super) fn verdict(view: &ReplayView) -> Result<(), Exit> {
    match view.state {
        State::Completed | State::Planned | State::Running => Ok(()),
        state => Err(Exit::failed(format!("replay {} is {}", view.id, state.as_str()))),
    }
}

fn letters(count: u64) -> String {
    if count == 1 { "1 dead letter".to_owned() } else { format!("{count} dead letters") }
}

fn span(ms: u64) -> String {
    show_span(i64::try_from(ms.div_ceil(1_000) * 1_000).unwrap_or(i64::MAX))
}

fn dash(text: &str) -> &str {
    if text.is_empty() { "-" } else { text }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::replay::view::{Ages, Group, Outcomes, Predicted, PredictedRefusal, Sample, Stopped, Waiting};

    fn view() -> ReplayView {
        let group = Group { reason: "rejected".into(), account: "acme-ps".into(), count: 8, ..Group::default() };
        let refusal = PredictedRefusal {
            reason: "invalid".into(),
            field: "click.qhclickid".into(),
            count: 2,
            sample: "0:17".into(),
        };
        ReplayView {
            id: "r-1".into(),
            state: State::Planned,
            filter: serde_json::Value::Null,
            items: Vec::new(),
            end_offsets: BTreeMap::new(),
            selected: 10,
            left_out: 0,
            refused: [("predicted".to_owned(), 2)].into(),
            republished: 0,
            skipped: BTreeMap::new(),
            failed: BTreeMap::new(),
            left: 8,
            samples: [("predicted".to_owned(), "0:17".to_owned())].into(),
            groups: vec![group],
            ages: Ages { under_1h: 10, ..Ages::default() },
            predicted: Predicted { sent: 8, refused: vec![refusal], ..Predicted::default() },
            outcomes: Outcomes::default(),
            rate: 4,
            eta_ms: Some(2_000),
            by: "li".into(),
            via: crate::operate::audit::Via::Cli,
            why: "platform is back".into(),
            force: false,
            no_brake: false,
            made_at_ms: 5,
            started_ms: None,
            ended_ms: None,
            stopped: None,
            waiting: Vec::new(),
            progress: None,
        }
    }

    #[test]
    fn a_plan_says_what_would_come_of_it_and_how_to_run_it() {
        let whole = text(&view());
        for part in [
            "plan r-1: 10 dead letters selected",
            "8 would be sent",
            "2 would be refused again: invalid click.qhclickid, e.g. 0:17",
            "2 predicted: it would be refused again",
            "to run    8 dead letters: 2s at 4/s",
            "postback replay run r-1 --why TEXT",
        ] {
            assert!(whole.contains(part), "no `{part}` in\n{whole}");
        }
        assert!(!plan(&view()).contains("Nothing is published yet"), "a plan that is run at once does not say so");
        assert!(plan(&ReplayView { selected: 0, left: 0, ..view() }).contains("Nothing fits the filter"));
        assert!(!whole.contains("not looked at"));
        for (selected, state) in [(0, State::Planned), (10, State::Planned), (10, State::Running)] {
            let cut = text(&ReplayView { left_out: 12_345, selected, state, ..view() });
            assert!(cut.contains("12,345 older dead letters were not looked at"), "{cut}");
        }
    }

    #[test]
    fn a_replay_that_stopped_says_why_with_a_sample_and_how_to_go_on() {
        let sample =
            Sample { trans_id: "t-1".into(), account: "acme-ps".into(), code: "3".into(), ..Sample::default() };
        let stopped = ReplayView {
            state: State::StoppedItself,
            republished: 50,
            outcomes: Outcomes { dead_lettered: [("rejected".to_owned(), 40)].into(), ..Outcomes::default() },
            stopped: Some(Stopped { reason: "40 of 50 are rejected".into(), sample: Some(sample) }),
            waiting: vec![Waiting { account: "acme-bz".into(), why: "its lane is paused: audit".into() }],
            ..view()
        };
        let shown = text(&stopped);
        for part in [
            "replay r-1: stopped_itself",
            "because   40 of 50 are rejected",
            "e.g. t-1 of acme-ps, code 3, field -",
            "40 dead again: rejected",
            "waits     acme-bz: its lane is paused: audit",
            "postback replay resume r-1 --why TEXT",
        ] {
            assert!(shown.contains(part), "no `{part}` in\n{shown}");
        }
        let outcomes = Outcomes { delivered: 9, open: 1, at_least: true, ..Outcomes::default() };
        let shown = text(&ReplayView { outcomes: outcomes.clone(), ..stopped.clone() });
        assert!(shown.contains("open at least 1 (some ends may be counted twice"), "{shown}");
        assert!(!shown.contains("killed") && !shown.contains("gone"), "{shown}");
        let outcomes = Outcomes { taken_over: true, ..outcomes };
        let shown = text(&ReplayView { outcomes, ..stopped.clone() });
        assert!(shown.contains("open at least 1 (the replica that ran it was gone"), "{shown}");
        assert_eq!(verdict(&stopped).unwrap_err().code, 1);
        assert!(verdict(&ReplayView { state: State::Completed, ..view() }).is_ok());
        assert!(list(&[stopped]).lines().count() == 2 && list(&[]).starts_with("no replays"));
    }
}
