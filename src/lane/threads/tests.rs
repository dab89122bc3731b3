use super::*;
use crate::account::Account;
use crate::delivery::TopicKind;
use crate::stub::calls::Caller;

#[test]
fn calls_have_a_lane_of_their_own_which_fills_no_place_of_conversions() {
    let account = |name: &str, sends: bool, calls: bool| {
        let mut account = Account::stub(name);
        account.call_limits.rps = 7.0;
        if !sends {
            account.sender = None;
        }
        account.call = calls.then(|| Arc::new(Caller) as _);
        Arc::new(account)
    };
    let roster = Roster::new([account("a", true, false), account("b", true, true), account("c", false, true)]);
    let bounds = Intake { max_in_flight: 1_000, max_in_flight_bytes: 64 << 20, drain_timeout: Duration::ZERO };
    let _ = rustls::crypto::ring::default_provider().install_default();
    let (lanes, _) = prepare(&roster, &bounds, &Arc::default(), &SecretString::default(), 2).unwrap();
    let shown =
        lanes.iter().map(|lane| (lane.id.name().into_owned(), lane.id.account_index, lane.account().limits.rps));
    let expected = [("a", 0, 20.0), ("b", 1, 20.0), ("c", 2, 7.0), ("b:calls", 1, 7.0)];
    assert_eq!(shown.collect::<Vec<_>>(), expected.map(|(name, index, rps)| (name.to_owned(), index, rps)));
    assert_eq!(lanes.accounts().map(|lane| lane.both().count()).collect::<Vec<_>>(), [1, 2, 1]);
    let (conversions, calls) = (lanes.get(1), lanes.get(3));
    (0..70).for_each(|_| calls.occupancy.live.add(0));
    assert!(calls.occupancy.is_full(TopicKind::Input) && !conversions.occupancy.is_full(TopicKind::Input));
    // Its account shows that calls are pushed back while conversions flow.
    calls.throttle.push_back(Duration::from_secs(60));
    assert!(conversions.is_open() && !calls.is_open());
    assert_eq!(conversions.shown().id.name(), "b:calls");
    assert_eq!(lanes.get(0).shown().id.name(), "a");
}

#[test]
fn records_of_many_lanes_reach_each_thread_in_one_message() {
    let roster = Roster::new((0..20).map(|n| Arc::new(Account::stub(&format!("a{n}")))));
    let bounds = Intake { max_in_flight: 1_000, max_in_flight_bytes: 64 << 20, drain_timeout: Duration::ZERO };
    let _ = rustls::crypto::ring::default_provider().install_default();
    let (lanes, mut prepared) = prepare(&roster, &bounds, &Arc::default(), &SecretString::default(), 2).unwrap();
    lanes.deliver((0..20).map(|lane| (lane, Vec::new())));
    for (setups, (_, posts)) in prepared.setups.iter().zip(&mut prepared.inboxes) {
        let post = posts.try_recv().unwrap();
        let own: Vec<_> = setups.iter().map(|setup| setup.handle.id.index).collect();
        assert_eq!(post.iter().map(|(lane, _)| lane.id.index).collect::<Vec<_>>(), own);
        assert!(posts.try_recv().is_err());
    }
}

#[test]
fn a_thread_counts_how_often_it_ran_out_of_work() {
    let idled = Arc::<AtomicU64>::default();
    let counted = idled.clone();
    runtime(idled.clone()).unwrap().block_on(async move {
        let before = counted.load(Relaxed);
        tokio::task::spawn_local(async {}).await.unwrap();
        assert_eq!(counted.load(Relaxed), before, "it waited for a task that was ready");
        sleep(Duration::from_millis(1)).await;
        assert!(counted.load(Relaxed) > before);
    });
}
