use super::*;
use crate::error::Reason;
use crate::inspect::dead_letters::Filter;
use crate::replay::bench::{Bench, by};
use crate::replay::view::{Request, State};

const LONG: Duration = Duration::from_secs(60);

fn request(filter: Filter) -> Request {
    Request { filter, ..Request::default() }
}

fn everything() -> Request {
    request(Filter { everything: true, ..Filter::default() })
}

fn refusal(request: &Request) -> (String, String) {
    match Selection::read(request) {
        Err(ReplayError::Bad { field, message }) => (field, message),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_selection_is_a_filter_that_narrows_or_a_list_of_places() {
    assert_eq!(refusal(&Request::default()).0, "filter");
    assert!(Selection::read(&everything()).is_ok());
    let items =
        |items: &[&str]| Request { items: items.iter().map(|i| (*i).to_owned()).collect(), ..Request::default() };
    let read = Selection::read(&items(&["1:7", "0:3", "1:7"])).unwrap();
    assert_eq!(read, Selection::Items(vec![(0, 3), (1, 7)]));
    for wrong in ["7", "a:1", "-1:2", "1:-2", "1:2:3", ""] {
        assert_eq!(refusal(&items(&[wrong])).0, "items", "{wrong}");
    }
    let both = Request { items: vec!["0:1".into()], ..everything() };
    assert_eq!(refusal(&both).0, "items");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_plan_says_what_would_come_of_each_and_changes_nothing() {
    let mut bench = Bench::new(20.0).await;
    let letter = |account, reason, id: &str| (account, reason, id.to_owned());
    bench.dead_letters(&[
        letter("a", "rejected", "a-1"),
        letter("a", "rejected", "a-2"),
        letter("b", "attempts_exhausted", "b-1"),
        letter("a", "conflict", "c-1"),
        letter("b", "unknown_outcome", "u-1"),
        letter("nobody", "unknown_account", "n-1"),
    ]);
    let view = bench.replays.plan(&everything(), &by(), LONG).await.unwrap();
    assert_eq!((view.state, view.selected, view.left, view.progress.is_none()), (State::Planned, 6, 3, true));
    let refused: Vec<(&str, u64)> = view.refused.iter().map(|(cause, n)| (cause.as_str(), *n)).collect();
    assert_eq!(refused, [("conflict", 1), ("predicted", 1), ("unknown_outcome", 1)]);
    assert_eq!(view.samples.len(), 3);
    assert_eq!((view.predicted.sent, view.predicted.refused.len()), (4, 1));
    let again = &view.predicted.refused[0];
    assert_eq!((again.reason.as_str(), again.field.as_str(), again.count), ("unknown_account", "account", 1));
    assert_eq!((view.groups[0].reason.as_str(), view.groups[0].count, view.ages.under_1h), ("rejected", 2, 6));
    assert_eq!(view.end_offsets.values().sum::<i64>(), 6);
    assert!(bench.published().is_empty());

    // What comes later is not part of it, and force lets pass what a person may judge.
    bench.dead_letters(&[letter("a", "rejected", "a-3")]);
    assert_eq!(bench.replays.get(&view.id).await.unwrap().selected, 6);
    let forced = Request { force: true, ..everything() };
    let view = bench.replays.plan(&forced, &by(), LONG).await.unwrap();
    assert_eq!((view.selected, view.left, view.refused.len(), view.force), (7, 6, 1, true));
    let one = request(Filter { reason: Some(Reason::Rejected), limit: Some(1), ..Filter::default() });
    let view = bench.replays.plan(&one, &by(), LONG).await.unwrap();
    assert_eq!(
        (view.selected, view.filter["limit"].as_u64(), view.filter["state"].as_str()),
        (1, Some(1), Some("open"))
    );
    bench.dead_letters(&[letter("a", "rejected", "13812345678")]);
    let personal = request(Filter { trans_id: Some("13812345678".into()), ..Filter::default() });
    let view = bench.replays.plan(&personal, &by(), LONG).await.unwrap();
    assert_eq!((view.selected, view.filter["trans_id"].as_str()), (1, Some("138****5678")));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn single_dead_letters_are_planned_by_their_places_and_a_wrong_one_is_named() {
    let mut bench = Bench::new(20.0).await;
    bench.dead_letters(&[("a", "rejected", "a-1".into()), ("a", "rejected", "a-2".into())]);
    let of = |items: &[&str]| Request { items: items.iter().map(|i| (*i).to_owned()).collect(), ..Request::default() };
    let view = bench.replays.plan(&of(&["1:0"]), &by(), LONG).await.unwrap();
    assert_eq!(
        (view.selected, view.items.as_slice(), view.groups[0].sample.as_str()),
        (1, &["1:0".to_owned()][..], "1:0")
    );
    let error = bench.replays.plan(&of(&["0:99"]), &by(), LONG).await.unwrap_err();
    assert_eq!((error.status(), error.to_string().as_str()), (400, "items: no dead letter lies at 0:99"));
    let error = bench.replays.plan(&of(&["1:0", "7:0"]), &by(), Duration::ZERO).await.unwrap_err();
    assert_eq!((error.status(), error.field()), (400, Some("items")), "whoever is in a hurry is refused at once, too");
    let kept: Vec<String> = bench.replays.list().await.unwrap().into_iter().map(|kept| kept.id).collect();
    assert_eq!(kept, [view.id], "a refused plan leaves nothing behind");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_plan_that_takes_longer_is_made_in_the_background() {
    let mut bench = Bench::new(20.0).await;
    bench.dead_letters(&[("a", "rejected", "a-1".into())]);
    let view = bench.replays.plan(&everything(), &by(), Duration::ZERO).await.unwrap();
    assert!(view.progress.is_some() && view.state == State::Planned);
    for _ in 0..600 {
        let now = bench.replays.get(&view.id).await.unwrap();
        if now.progress.is_none() {
            assert_eq!((now.state, now.selected), (State::Planned, 1));
            return;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("the plan is not made");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_plan_says_how_many_older_dead_letters_it_could_not_see() {
    let mut bench = Bench::seeing(20.0, 500).await;
    let letters: Vec<_> = (0..3_000).map(|n| ("a", "rejected", format!("a-{n}"))).collect();
    bench.dead_letters(&letters);
    let view = bench.replays.plan(&everything(), &by(), LONG).await.unwrap();
    assert!(view.selected >= 500 && view.left_out > 0, "{} {}", view.selected, view.left_out);
    assert_eq!(view.selected + view.left_out, 3_000);
    assert_eq!(bench.replays.get(&view.id).await.unwrap().left_out, view.left_out, "it is kept");
    // What is newer than everything that was left out is complete.
    let recent = Filter { since: Some(crate::clock::now_ms() + 3_600_000), ..Filter::default() };
    let view = bench.replays.plan(&request(recent), &by(), LONG).await.unwrap();
    assert_eq!((view.selected, view.left_out), (0, 0));
    let named = Request { items: vec!["0:1".into()], ..Request::default() };
    let view = bench.replays.plan(&named, &by(), LONG).await.unwrap();
    assert_eq!((view.selected, view.left_out), (1, 0), "a place is found wherever it lies");
}

/// What a delivery may be forgotten of is sent again only by force, whatever this machine believes the time is.
#[tokio::test]
async fn the_window_is_judged_by_the_clock_of_redis() {
    let mut bench = Bench::new(20.0).await;
    crate::clock::set_by(-13 * 24 * 3_600_000);
    bench.dead_letters(&[("a", "rejected", "a-1".to_owned())]);
    let view = bench.replays.plan(&everything(), &by(), LONG).await.unwrap();
    crate::clock::set_by(0);
    let refused: Vec<(&str, u64)> = view.refused.iter().map(|(cause, n)| (cause.as_str(), *n)).collect();
    assert_eq!((view.selected, refused), (1, vec![("past_window", 1)]));
}
