//! Calls of several chunks, which make one result together, and the call that deletes: the worker is killed at each of
//! their steps. What only reads is made again without a word; what deletes is never made again.

use crate::support::event::{Event, Expect};
use crate::support::ledger::{Books, Check};
use crate::support::own::{Asked, Judged, Own};
use crate::support::platform::Request;
use crate::support::proxy::Mode;
use crate::support::worker::Worker;
use crate::support::world::{Setup, World};
use crate::support::{eventually, millis, now_ms, secs, unique};
use serde_json::{Value, json};
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::sync::{Arc, Mutex};

const ACCOUNT: &str = "acme-doudian";
const DECRYPT: &str = "doudian.decrypt";
const DELETE: &str = "template.delete_flows";
const TEXTS: usize = 120;

/// A request that came to the platform: the call, and which of its texts it was about.
type Part = (String, Vec<usize>);

/// Decrypts texts and deletes flows. A request that it is to hold is answered after [`Shop::let_go`].
struct Shop {
    platform: Own,
    asked: Arc<Mutex<Vec<Part>>>,
    goes: Arc<AtomicBool>,
}

impl Shop {
    fn new(is_held: impl Fn(&Part) -> bool + Send + Sync + 'static) -> Self {
        let (asked, goes) = (Arc::new(Mutex::new(Vec::<Part>::new())), Arc::new(AtomicBool::new(false)));
        let (book, may_go) = (asked.clone(), goes.clone());
        let platform = Own::open(ACCOUNT, move |Asked { path, body, .. }| {
            let (part, ident, answer) = if path.contains("batchDecrypts") { decrypted(body) } else { deleted(body) };
            book.lock().unwrap().push(part.clone());
            while is_held(&part) && !may_go.load(SeqCst) {
                std::thread::sleep(millis(10));
            }
            Judged { ident, problem: None, answer }
        });
        Self { platform, asked, goes }
    }

    /// How many texts each request about this call had, and the first of them.
    fn about(&self, call: &str) -> Vec<(usize, usize)> {
        let asked = self.asked.lock().unwrap();
        asked.iter().filter(|(of, _)| of == call).map(|(_, texts)| (texts.len(), texts[0])).collect()
    }

    fn let_go(&self) {
        self.goes.store(true, SeqCst);
    }

    /// The calls that were made to their end, once for each time.
    fn made(&self) -> Vec<Request> {
        self.platform.requests()
    }
}

/// The texts are answered in another order than asked, and the closed one is refused.
fn decrypted(body: &Value) -> (Part, Option<String>, Value) {
    let ciphers = body["cipher_infos"].as_array().unwrap();
    let text = |cipher: &Value| cipher["auth_id"].as_str().unwrap().to_owned();
    let of = text(&ciphers[0]).split_once('/').unwrap().0.to_owned();
    let texts: Vec<usize> =
        ciphers.iter().map(|cipher| text(cipher).split_once('/').unwrap().1.parse().unwrap()).collect();
    let info = |cipher: &Value| {
        let err_no = if text(cipher).ends_with("/77") { 200_001 } else { 0 };
        json!({"auth_id": cipher["auth_id"], "cipher_text": cipher["cipher_text"], "err_no": err_no, "err_msg": "",
               "decrypt_text": "x"})
    };
    let infos: Vec<Value> = ciphers.iter().rev().map(info).collect();
    let answer = json!({"err_no": 0, "code": 10_000, "message": "success", "msg": "success",
                        "data": {"decrypt_infos": infos}});
    // With its last text a call is made to its end.
    let ident = texts.contains(&(TEXTS - 1)).then(|| format!("{DECRYPT}:{of}"));
    ((of, texts), ident, answer)
}

fn deleted(body: &Value) -> (Part, Option<String>, Value) {
    let of = body["parentTemplateId"].as_str().unwrap().to_owned();
    let answer = json!({"success": true, "code": "200", "message": "ok", "data": null});
    ((of.clone(), vec![0]), Some(format!("{DELETE}:{of}")), answer)
}

/// The account at this platform. A call that stops is taken up again after a short lease.
fn account(w: &mut World, shop: &Shop, rps: i64) {
    w.quick_lease(16);
    w.set("limits.timeout", "3s");
    let mut table = toml::toml! {
        platform = "solinkup"
        allow_http = true
        allow_private = true
        allow_destructive = true
        open_id = "OpenId@1"
        secrets = [{ id = "s1", key = "AppKey@0123456789ABCDEF0123456789ABCDEF", secret = "AppSecret@1" }]
        token = { access = "AccessToken@1" }
        limits = { concurrency = 4 }
    };
    table["limits"].as_table_mut().unwrap().insert("rps".into(), rps.into());
    w.own_account(ACCOUNT, table, shop.platform.port);
}

fn call(id: &str, name: &str, args: Value) -> Event {
    let json = json!({
        "kind": "call", "trans_id": id, "platform": "solinkup", "account": ACCOUNT, "event_time_ms": now_ms(),
        "call": name, "args": args, "reply": {"key": "acme", "ttl_s": 600},
    });
    Event::of(ACCOUNT, &format!("{name}:{id}"), json)
}

fn decrypt(id: &str) -> Event {
    let cipher = |n: usize| json!({"auth_id": format!("{id}/{n}"), "cipher_text": format!("$c{n}$1$$")});
    call(id, DECRYPT, json!({"cipher_infos": (0..TEXTS).map(cipher).collect::<Vec<_>>()}))
}

fn results(w: &World) -> Vec<Value> {
    w.records("results").iter().map(|r| serde_json::from_slice(r.value.as_deref().unwrap()).unwrap()).collect()
}

fn results_of(w: &World, call: &str) -> Vec<Value> {
    results(w).into_iter().filter(|result| result["trans_id"] == call).collect()
}

/// It is whole: every text in the order of the event, the closed one alone with an error.
#[track_caller]
fn is_whole(result: &Value) {
    let of = result["trans_id"].as_str().unwrap();
    let items = result["items"].as_array().unwrap();
    let expected = (0..TEXTS).map(|n| (n as u64, format!("{of}/{n}"), if n == 77 { "error" } else { "ok" }.to_owned()));
    let found = items.iter().map(|item| {
        let text = |name: &str| item[name].as_str().unwrap_or_default().to_owned();
        (item["index"].as_u64().unwrap(), text("auth_id"), text("status"))
    });
    assert_eq!(found.collect::<Vec<_>>(), expected.collect::<Vec<_>>());
    let named = ["status", "page", "final", "attempts"].map(|name| result[name].clone());
    assert_eq!(named, [json!("partial"), json!(0), json!(true), json!(1)], "{result}");
}

/// Kills the worker while one call stands between its first and its last chunk, with others before and after it. `stop`
/// says when that is, by what the platform was asked of it.
fn killed(name: &str, rps: i64, held: usize, stop: &[(usize, usize)]) {
    let mut w = World::new(name);
    let id = unique("c");
    let of = id.clone();
    let shop = Shop::new(move |(call, texts)| *call == of && texts[0] == held);
    account(&mut w, &shop, rps);
    let mut worker = w.started();
    let before: Vec<String> = (0..2).map(|_| unique("c")).collect();
    w.publish(before.iter().map(|id| decrypt(id)).collect());
    w.settle(secs(60));
    w.publish(vec![decrypt(&id)]);
    eventually(secs(60), "the call stands between two chunks", || shop.about(&id) == stop);
    // The answer to the first chunk is read, and the claim is renewed.
    std::thread::sleep(millis(300));
    worker.kill();
    assert_eq!(shop.about(&id), stop);
    assert_eq!(results_of(&w, &id).len(), 0, "a chunk has no result of its own");
    let after: Vec<String> = (0..2).map(|_| unique("c")).collect();
    w.publish(after.iter().map(|id| decrypt(id)).collect());
    shop.let_go();
    let books = restart(&w, &shop, &mut worker);
    let all = [(50, 0), (50, 50), (20, 100)];
    // Asked for twice is what the killed visit had asked for, and nothing else. It reads, so nothing is declared.
    assert_eq!(shop.about(&id), [stop, &all].concat());
    for id in before.iter().chain(&after) {
        assert_eq!(shop.about(id), all, "the other calls are made once");
    }
    assert_eq!(books.declared(), 0);
    for id in before.iter().chain(&after).chain([&id]) {
        let found = results_of(&w, id);
        assert_eq!(found.len(), 1, "{found:?}");
        is_whole(&found[0]);
    }
    worker.stop();
}

/// Starts the worker again and checks the ledger.
fn restart(w: &World, shop: &Shop, worker: &mut Worker) -> Books {
    worker.start();
    w.settle(secs(120));
    w.ledger_with(shop.made(), &Check::DISTURBED)
}

#[test]
fn killed_while_a_chunk_is_under_way_it_begins_with_the_first_again_and_gives_one_result_for_all() {
    killed("chunks-sent", 5000, 50, &[(50, 0), (50, 50)]);
}

#[test]
fn killed_before_the_next_chunk_is_sent_it_begins_with_the_first_again_and_gives_one_result_for_all() {
    // The slot of the second request is a second away.
    killed("chunks-between", 1, usize::MAX, &[(50, 0)]);
}

#[test]
fn killed_after_its_result_and_before_the_confirm_it_is_made_again_and_gives_the_same_result() {
    let mut w = World::with("chunks-confirm", Setup { proxy: true, ..Setup::default() });
    let shop = Shop::new(|(_, texts)| texts[0] == 100);
    account(&mut w, &shop, 5000);
    let mut worker = w.started();
    let id = unique("c");
    w.publish(vec![decrypt(&id)]);
    eventually(secs(60), "the last chunk is asked for", || shop.about(&id).len() == 3);
    let proxy = w.proxy.as_ref().unwrap();
    proxy.set(Mode::Hold);
    shop.let_go();
    eventually(secs(20), "its result is published", || results(&w).len() == 1);
    worker.kill();
    proxy.cut();
    proxy.set(Mode::Pass);
    assert!(!w.admin.at_end(&w.group(), &w.topic("conversions")), "the call has passed before its confirm");
    worker.start();
    w.settle(secs(120));
    // The platform made it twice, and that is no harm that anybody has to declare.
    let mut made = shop.made();
    assert_eq!(made.len(), 2);
    made.pop();
    let books = w.ledger_with(made, &Check::DISTURBED);
    assert_eq!((books.outcomes("delivered"), books.declared()), (1, 0));
    let found = results(&w);
    assert_eq!(found.len(), 2);
    found.iter().for_each(is_whole);
    assert_eq!(found[0]["items"], found[1]["items"]);
    worker.stop();
}

#[test]
fn killed_while_a_call_that_deletes_is_under_way_it_says_that_nobody_knows_and_never_makes_it_again() {
    let mut w = World::new("call-deletes");
    let id = unique("c");
    let of = id.clone();
    let shop = Shop::new(move |(call, _)| *call == of);
    account(&mut w, &shop, 5000);
    let mut worker = w.started();
    let delete = |id: &str| call(id, DELETE, json!({"parentTemplateId": id}));
    let doubtful = Event { expect: Expect::Dead { reason: "unknown_outcome", field: "" }, ..delete(&id) };
    let plain = unique("c");
    w.publish(vec![delete(&plain), doubtful]);
    eventually(secs(60), "both are asked for, and one is answered", || {
        shop.about(&id).len() == 1 && w.receipts().len() == 1
    });
    worker.kill();
    shop.let_go();
    let books = restart(&w, &shop, &mut worker);
    assert_eq!((shop.about(&id).len(), shop.about(&plain).len()), (1, 1), "each was asked for once");
    assert_eq!((books.outcomes("delivered"), books.declared()), (1, 0));
    let named = |id: &str| {
        let found = results_of(&w, id);
        assert_eq!(found.len(), 1, "{found:?}");
        ["status", "final"]
            .map(|name| found[0][name].clone())
            .into_iter()
            .chain([found[0]["error"]["reason"].clone()])
            .collect::<Vec<_>>()
    };
    assert_eq!(named(&plain), [json!("ok"), json!(true), Value::Null]);
    assert_eq!(named(&id), [json!("transport_error"), json!(true), json!("unknown_outcome")]);
    worker.stop();
}
