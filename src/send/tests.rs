//! Attempts over real sockets: everything that a platform, or the network before it, can do to an attempt.

mod callbacks;
mod proxy;
mod tls;

use std::io::Write as _;
use std::net::{SocketAddr, TcpListener};
use std::time::Duration;

use super::*;
use crate::error::{Class, Fault};
use crate::platforms::reading::HttpAnswer;
use crate::platforms::{ANSWER_BYTES, Receipt};
use crate::send::client::{Unanswered, reachable};
use crate::stub::prepared;
use crate::stub::server::{self, Server, answer};

const SHORT: Duration = Duration::from_millis(400);
const LONG: Duration = Duration::from_secs(20);

fn account(urls: &[String]) -> Account {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let mut account = Account::stub("acme");
    account.base_urls = urls.to_vec();
    account.limits.timeout = LONG;
    account.limits.connect_timeout = LONG;
    account
}

fn dispatcher(server: &Server) -> Dispatcher {
    over(account(&[server.url()]))
}

fn over(account: Account) -> Dispatcher {
    Dispatcher::new(Arc::new(account), Arc::default()).unwrap()
}

async fn attempt(dispatcher: &Dispatcher) -> Result<Receipt, DeliveryError> {
    attempt_of(dispatcher, "t-1", 0).await
}

async fn attempt_of(dispatcher: &Dispatcher, trans_id: &str, now_ms: i64) -> Result<Receipt, DeliveryError> {
    loop {
        let item = prepared(trans_id);
        let line = dispatcher.connect(dispatcher.destination(&item), LONG).await?;
        match line.attempt(&[&item], None, now_ms, || Ok::<_, ()>(())).await {
            Ok(verdicts) => return verdicts.one(),
            Err(Unanswered::Failed(error)) => return Err(error),
            Err(Unanswered::Closed) => {}
            Err(Unanswered::Stopped(())) => panic!("nobody stopped it"),
        }
    }
}

/// Checks the class, the status, and whether a byte may have gone out.
#[track_caller]
fn end(result: Result<Receipt, DeliveryError>) -> (Class, Option<u16>, bool) {
    match result {
        Ok(_) => (Class::Delivered, None, true),
        Err(error) => {
            let answer = error.answer().unwrap();
            assert!(!answer.detail.is_empty(), "an end that says nothing: {error:?}");
            assert!(!answer.detail.contains("127.0.0.1"), "an address in a text for people: {error:?}");
            (error.class().unwrap(), answer.status, answer.sent)
        }
    }
}

/// A port on which nobody listens.
fn nobody() -> String {
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    format!("http://127.0.0.1:{port}")
}

#[tokio::test]
async fn exactly_what_the_sender_says_goes_out() {
    let server = Server::answering(answer("200 OK\r\nset-cookie: a=b", "ok"));
    let dispatcher = dispatcher(&server);
    for _ in 0..2 {
        assert_eq!(attempt(&dispatcher).await, Ok(Receipt::default()));
    }
    let requests = server.requests();
    let (head, body) = requests[0].split_once("\r\n\r\n").unwrap();
    let mut lines: Vec<_> = head.lines().map(str::to_ascii_lowercase).collect();
    assert_eq!(lines.remove(0), "post /postback?v=1 http/1.1");
    lines.sort();
    let agent = concat!("user-agent: postback/", env!("CARGO_PKG_VERSION"));
    let host = format!("host: 127.0.0.1:{}", server.port);
    assert_eq!(lines, ["accept: */*", "content-length: 3", "content-type: text/plain", &host, agent, "x-sign: abc"]);
    assert_eq!(body, "t-1");
    assert_eq!(requests[1], requests[0], "a cookie, or anything else, was remembered");
    assert_eq!(server.connections(), 1, "the connection is kept");
}

#[tokio::test]
async fn the_accounts_path_replaces_the_platforms() {
    let server = Server::answering(answer("200 OK", "ok"));
    let mut account = account(&[server.url()]);
    account.path = Some("/elsewhere".into());
    attempt(&over(account)).await.unwrap();
    assert!(server.requests()[0].starts_with("POST /elsewhere?v=1 HTTP/1.1\r\n"));
}

#[tokio::test]
async fn a_redirect_is_not_followed_and_halts() {
    let target = Server::answering(answer("200 OK", "ok"));
    for status in ["301 Moved", "302 Found", "303 See Other", "307 Temporary", "308 Permanent"] {
        let server = Server::answering(answer(&format!("{status}\r\nlocation: {}/", target.url()), "ok"));
        let code = status[..3].parse().ok();
        assert_eq!(end(attempt(&dispatcher(&server)).await), (Class::Halt, code, true), "{status}");
    }
    assert_eq!(target.connections(), 0);
}

#[tokio::test]
async fn a_name_that_leads_to_a_private_address_halts_before_anything_connects() {
    let server = Server::answering(answer("200 OK", "ok"));
    let at = |allow_private| {
        let mut account = account(&[format!("http://localhost:{}", server.port)]);
        account.allow_private = allow_private;
        over(account)
    };
    assert_eq!(end(attempt(&at(false)).await), (Class::Halt, None, false));
    assert_eq!(server.connections(), 0);
    assert_eq!(end(attempt(&at(true)).await).0, Class::Delivered, "the same name, allowed");
}

#[test]
fn one_private_address_among_those_found_refuses_them_all() {
    let public: [SocketAddr; 2] = ["1.1.1.1:0".parse().unwrap(), "[2606:4700::1111]:0".parse().unwrap()];
    assert_eq!(reachable(public.to_vec(), false).unwrap(), public);
    for ip in [
        "127.0.0.1",
        "10.0.0.1",
        "169.254.169.254",
        "100.64.0.1",
        "0.0.0.0",
        "::1",
        "::",
        "::ffff:127.0.0.1",
        "::ffff:169.254.169.254",
        "fc00::1",
        "fdff::1",
        "fe80::1",
    ] {
        let private = SocketAddr::new(ip.parse().unwrap(), 0);
        for found in [vec![private], vec![public[0], public[1], private], vec![private, public[0]]] {
            assert!(reachable(found.clone(), false).is_err(), "{ip} passed");
            assert_eq!(reachable(found.clone(), true).unwrap(), found, "{ip}, allowed");
        }
    }
}

#[tokio::test]
async fn a_name_that_does_not_resolve_is_tried_again_later() {
    let dispatcher = over(account(&["http://nowhere.invalid".into()]));
    assert_eq!(end(attempt(&dispatcher).await), (Class::Retry, None, false));
}

#[tokio::test]
async fn a_credential_that_is_not_in_force_halts_and_sends_nothing() {
    let server = Server::answering(answer("200 OK", "ok"));
    let result = attempt_of(&dispatcher(&server), "", 0).await;
    assert_eq!(end(result), (Class::Halt, None, false));
    assert_eq!(server.requests(), [""; 0]);
}

#[tokio::test]
async fn an_answer_is_read_to_64_kib_and_no_further() {
    let body = |length: usize| format!("ok{}", "x".repeat(length - 2));
    let fits = Server::answering(answer("200 OK", &body(ANSWER_BYTES)));
    assert_eq!(end(attempt(&dispatcher(&fits)).await).0, Class::Delivered);
    let longer = Server::answering(answer("200 OK", &body(ANSWER_BYTES + 1)));
    assert_eq!(end(attempt(&dispatcher(&longer)).await), (Class::Ambiguous, Some(200), true));
    let failing = Server::answering(answer("503 Busy\r\nretry-after: 7", &body(ANSWER_BYTES + 1)));
    let result = attempt(&dispatcher(&failing)).await;
    let Err(DeliveryError::Retry(said)) = result else { panic!("the status alone decides: {result:?}") };
    assert_eq!((said.status, said.retry_after), (Some(503), Some(Duration::from_secs(7))));
}

/// In the form of a `Date` header.
fn http_date(ms: i64) -> String {
    httpdate::fmt_http_date(std::time::UNIX_EPOCH + Duration::from_millis(ms.try_into().unwrap()))
}

#[tokio::test]
async fn a_date_to_wait_for_is_read_beside_the_date_of_its_answer_and_without_one_beside_ours() {
    const NOW_MS: i64 = 784_111_777_000;
    let due = http_date(NOW_MS + 10_000);
    let dated = format!("\r\ndate: {}", http_date(NOW_MS));
    // Our clock is right, an hour ahead, an hour behind.
    let rows = [
        (&*dated, &*due, 0, 10),
        (&dated, &due, 3_600_000, 10),
        (&dated, &due, -3_600_000, 10),
        ("", &due, 0, 10),
        ("", &due, 3_000, 7),
        ("\r\ndate: today", &due, 3_000, 7),
        (&dated, "7", 3_600_000, 7),
    ];
    for (date, retry_after, our_clock_ms, waits) in rows {
        let status = format!("503 Busy\r\nretry-after: {retry_after}{date}");
        let server = Server::answering(answer(&status, "busy"));
        let result = attempt_of(&dispatcher(&server), "t-1", NOW_MS + our_clock_ms).await;
        let Err(DeliveryError::Retry(said)) = result else { panic!("{result:?}") };
        assert_eq!(said.retry_after, Some(Duration::from_secs(waits)), "{date:?}, {retry_after}, {our_clock_ms} ms");
    }
}

#[tokio::test]
async fn the_date_of_an_answer_is_compared_with_our_clock_at_most_once_a_second() {
    let hour_ahead = || http_date(crate::clock::now_ms() + 3_600_000);
    let health = Arc::new(Health::default());
    // The date of an answer that a cache has kept is ignored.
    for (more, status, warns) in [("\r\nage: 3600", "200 OK", 0), ("", "429 Slow down", 1), ("", "200 OK", 1)] {
        let server = Server::answering(answer(&format!("{status}\r\ndate: {}{more}", hour_ahead()), "ok"));
        let dispatcher = Dispatcher::new(Arc::new(account(&[server.url()])), health.clone()).unwrap();
        let _ = attempt(&dispatcher).await;
        let said = health.clock.warnings();
        assert_eq!(said.len(), warns, "{status}{more}: {said:?}");
        assert!(said.iter().all(|text| text.contains("account acme") && text.contains("60 min behind")), "{said:?}");
        // The next answer is looked at again once a second has passed, and not before.
        let looked = dispatcher.dated_at.get();
        let _ = attempt(&dispatcher).await;
        let again = dispatcher.dated_at.get();
        assert!(again == looked || again.unwrap() - looked.unwrap() >= DATE_EVERY);
    }
    assert_eq!(health.hold(), None, "one host alone holds nobody");
}

#[tokio::test]
async fn an_answer_that_never_ends_is_cut_off() {
    let (sender, cut_off) = std::sync::mpsc::channel();
    let server = Server::start(move |mut connection| {
        connection.request();
        connection.say("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n");
        let chunk = format!("2000\r\n{}\r\n", "x".repeat(0x2000));
        let mut written = 0;
        while connection.tcp.write_all(chunk.as_bytes()).is_ok() {
            written += chunk.len();
        }
        sender.send(written).unwrap();
    });
    let dispatcher = dispatcher(&server);
    assert_eq!(end(attempt(&dispatcher).await), (Class::Ambiguous, Some(200), true));
    // Not on this thread, because this thread closes the connection.
    let cut_off = tokio::task::spawn_blocking(move || cut_off.recv_timeout(LONG)).await.unwrap();
    cut_off.expect("the connection of an endless answer is closed");
}

/// An answer as some server writes it. Our own code writes no line of its head.
fn raw(head: &str, body: impl AsRef<[u8]>) -> Vec<u8> {
    [head.as_bytes(), b"\r\n\r\n", body.as_ref()].concat()
}

#[tokio::test]
async fn an_answer_whose_header_lines_are_no_good_http_is_read_all_the_same() {
    let many: String = (0..150).map(|n| format!("x-header-{n}: {n}\r\n")).collect();
    let rows = [
        ("HTTP/1.1 200 OK\r\nContent-Length : 2", "a space before the colon"),
        ("HTTP/1.1 200 OK\r\nPHP Warning:  Undefined index: x in /srv/a.php on line 3\r\ncontent-length: 2", "PHP"),
        ("HTTP/1.1 200 OK\r\n<br />\r\ncontent-length: 2", "a line without a colon"),
        ("HTTP/1.1 200 OK\r\nx-long: a\r\n b\r\n\tc\r\ncontent-length: 2", "a folded line"),
        ("HTTP/1.1 200 OK\r\nx-odd: a\x01b\r\ncontent-length: 2", "a control character"),
        ("HTTP/1.1 200 OK\nserver: x\ncontent-length: 2", "bare line feeds"),
        ("HTTP/1.1 200\r\ncontent-length: 2", "no reason"),
        (&format!("HTTP/1.1 200 OK\r\n{many}content-length: 2"), "150 headers"),
    ];
    for (head, what) in rows {
        let server = Server::answering(raw(head, "ok"));
        let dispatcher = dispatcher(&server);
        for _ in 0..2 {
            assert_eq!(attempt(&dispatcher).await, Ok(Receipt::default()), "{what}");
        }
        assert_eq!((server.requests().len(), server.connections()), (2, 1), "{what}");
    }
}

#[tokio::test]
async fn a_marked_or_packed_body_is_read() {
    let gzip = |text: &str| {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(text.as_bytes()).unwrap();
        encoder.finish().unwrap()
    };
    let packed = gzip("\u{feff}ok");
    let head = |more: &str, length: usize| format!("HTTP/1.1 200 OK\r\ncontent-length: {length}{more}");
    let rows = [
        raw(&head("", 5), "\u{feff}ok"),
        raw(&head("\r\ncontent-encoding: gzip", packed.len()), &packed),
        raw(&head("", packed.len()), &packed),
    ];
    for answer in rows {
        let result = attempt(&dispatcher(&Server::answering(answer.clone()))).await;
        assert_eq!(result, Ok(Receipt::default()), "{:?}", String::from_utf8_lossy(&answer));
    }
    let bomb = gzip(&" ".repeat(4 << 20));
    let bomb = raw(&head("\r\ncontent-encoding: gzip", bomb.len()), &bomb);
    let result = attempt(&dispatcher(&Server::answering(bomb))).await;
    assert_eq!(unreadable_detail(result), (Some(200), "it is longer than 64 KiB".into()));
}

/// The status and the detail of an answer that came and could not be read.
#[track_caller]
fn unreadable_detail(result: Result<Receipt, DeliveryError>) -> (Option<u16>, String) {
    let Err(DeliveryError::Ambiguous(said)) = &result else { panic!("{result:?}") };
    assert!(said.sent && said.unclassified, "{result:?}");
    let why = said.detail.strip_prefix("an answer that cannot be read: ").unwrap_or_else(|| panic!("{result:?}"));
    (said.status, why.to_owned())
}

#[tokio::test]
async fn an_answer_that_came_and_cannot_be_read_says_so() {
    let head = |more: &str| format!("HTTP/1.1 200 OK\r\n{more}");
    let rows = [
        (raw("{\"errno\":0}", ""), None),
        (raw("HTTP/2.0 200 OK\r\ncontent-length: 2", "ok"), None),
        (raw(&head("content-length: two"), "ok"), None),
        (raw(&head("content-length: 2\r\ncontent-length: 3"), "ok"), None),
        (raw(&head("transfer-encoding: chunked"), "two\r\nok\r\n0\r\n\r\n"), Some(200)),
        (raw(&head("content-length: 6"), "<html>"), Some(200)),
        (raw(&head("content-length: 0"), ""), Some(200)),
        (raw(&head("content-length: 5"), b"\x1f\x8bzip"), Some(200)),
        (raw(&head("content-encoding: br\r\ncontent-length: 6"), b"\x8b\x00\x80ok\x03"), Some(200)),
    ];
    for (answer, status) in rows {
        let result = attempt(&dispatcher(&Server::answering(answer.clone()))).await;
        assert_eq!(unreadable_detail(result).0, status, "{:?}", String::from_utf8_lossy(&answer));
    }
    let lines: String = (0..2000).map(|n| format!("x-{n}: {n}\r\n")).collect();
    let result = attempt(&dispatcher(&Server::answering(raw(&head(&lines), "ok")))).await;
    assert_eq!(unreadable_detail(result).0, None, "there is an end to header lines");
}

#[tokio::test]
async fn a_success_status_without_a_usable_body_is_ambiguous() {
    for said in [
        answer("204 No Content", ""),
        answer("200 OK", ""),
        answer("200 OK", "<html>"),
        answer("200 OK", "nothing of it"),
    ] {
        let (class, status, sent) = end(attempt(&dispatcher(&Server::answering(said.clone()))).await);
        assert_eq!((class, sent), (Class::Ambiguous, true), "{said}");
        assert!(status.is_some(), "{said}");
    }
    let garbage = Server::answering("\0\0garbage\r\n\r\n");
    assert_eq!(end(attempt(&dispatcher(&garbage)).await), (Class::Ambiguous, None, true));
}

#[tokio::test]
async fn a_refused_connection_is_tried_again_at_the_next_base_url() {
    let second = Server::answering(answer("200 OK", "ok"));
    let dispatcher = over(account(&[nobody(), second.url(), nobody()]));
    assert_eq!(end(attempt(&dispatcher).await), (Class::Retry, None, false));
    for _ in 0..2 {
        assert_eq!(end(attempt(&dispatcher).await).0, Class::Delivered, "stays with what works");
    }
    assert_eq!(second.requests().len(), 2);

    let around = over(account(&[second.url(), nobody()]));
    assert!(around.base.leave(0));
    assert_eq!(end(attempt(&around).await), (Class::Retry, None, false));
    assert_eq!(end(attempt(&around).await).0, Class::Delivered, "after the last comes the first");
}

#[tokio::test]
async fn only_a_failed_connection_moves_on_to_the_next_base_url() {
    let first = Server::start(|mut connection| {
        connection.request();
        match connection.number {
            0 => connection.say(&answer("503 Busy\r\nconnection: close", "")),
            1 => {}
            _ => connection.say(&answer("302 Found\r\nconnection: close", "")),
        }
    });
    let second = Server::answering(answer("200 OK", "ok"));
    let dispatcher = over(account(&[first.url(), second.url()]));
    for class in [Class::Retry, Class::Ambiguous, Class::Halt] {
        assert_eq!(end(attempt(&dispatcher).await).0, class);
    }
    assert_eq!((first.requests().len(), second.connections()), (3, 0));
}

#[tokio::test]
async fn a_connection_that_is_not_made_in_time_is_tried_again_later() {
    // TLS is a part of connecting: this server takes the first bytes and never answers.
    let server = Server::start(|mut connection| connection.drain());
    for timeout in [LONG, SHORT] {
        let mut account = account(&[format!("https://localhost:{}", server.port)]);
        account.limits.connect_timeout = SHORT;
        account.limits.timeout = timeout;
        assert_eq!(end(attempt(&over(account)).await), (Class::Retry, None, false), "timeout {timeout:?}");
    }
}

#[tokio::test]
async fn an_answer_that_does_not_come_in_time_is_ambiguous() {
    for (said, status) in [
        ("", None),
        ("HTTP/1.1 200 OK\r\ncontent-le", None),
        ("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n", Some(200)),
        ("HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nok", Some(200)),
    ] {
        ends_by_its_timeout((Class::Ambiguous, status, true), async |timeout| {
            let server = Server::start(move |mut connection| {
                connection.request();
                connection.say(said);
                connection.drain();
            });
            let mut account = account(&[server.url()]);
            account.limits.timeout = timeout;
            let end = end(attempt(&over(account)).await);
            assert!(server.requests().len() <= 1, "{said:?}");
            end
        })
        .await;
    }
}

/// Makes attempts with ever longer timeouts until one ends as it should: within a short one a busy machine may not get
/// as far as the server's last word.
async fn ends_by_its_timeout(
    wanted: (Class, Option<u16>, bool),
    attempt: impl AsyncFn(Duration) -> (Class, Option<u16>, bool),
) {
    for timeout in [SHORT, 10 * SHORT] {
        if attempt(timeout).await == wanted {
            return;
        }
    }
    assert_eq!(attempt(LONG).await, wanted);
}

#[tokio::test]
async fn an_answer_that_drips_is_bounded_by_one_timeout() {
    ends_by_its_timeout((Class::Ambiguous, Some(200), true), async |timeout| {
        let server = Server::start(|mut connection| {
            connection.request();
            connection.say("HTTP/1.1 200 OK\r\ncontent-length: 100000\r\n\r\n");
            while connection.tcp.write_all(b"x").is_ok() {
                std::thread::sleep(Duration::from_millis(20));
            }
        });
        let mut account = account(&[server.url()]);
        account.limits.timeout = timeout;
        end(attempt(&over(account)).await)
    })
    .await;
}

#[tokio::test]
async fn a_connection_that_breaks_after_the_request_or_in_the_answer_is_ambiguous_and_never_sent_again() {
    let head = "HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\n";
    for (what, said, reset) in [
        ("reset after the request", "", true),
        ("closed after the request", "", false),
        ("reset in the head of the answer", "HTTP/1.1 200", true),
        ("closed in the body of the answer", "ok", false),
        ("reset in the body of the answer", "ok", true),
    ] {
        let server = Server::start(move |mut connection| {
            connection.request();
            if said == "ok" {
                connection.say(head);
            }
            connection.say(said);
            if reset {
                connection.reset();
            }
        });
        let (class, _, sent) = end(attempt(&dispatcher(&server)).await);
        assert_eq!((class, sent), (Class::Ambiguous, true), "{what}");
        assert_eq!(server.connections(), 1, "sent again: {what}");
    }
}

#[tokio::test]
async fn a_reset_before_the_request_is_a_clear_failure_only_where_no_byte_went_out() {
    let server = Server::start(server::Connection::reset);
    let dispatcher = dispatcher(&server);
    for n in 1..=50 {
        match end(attempt(&dispatcher).await) {
            // The end was noticed before the connection took the request, or after.
            (Class::Retry, None, false) | (Class::Ambiguous, None, true) => {}
            other => panic!("{other:?}"),
        }
        assert_eq!(server.connections(), n, "sent again");
    }
}

#[tokio::test]
async fn a_broken_answer_with_another_status_is_judged_by_the_status() {
    let server = Server::start(|mut connection| {
        connection.request();
        connection.say("HTTP/1.1 502 Bad Gateway\r\ncontent-length: 100\r\n\r\n<html>");
    });
    assert_eq!(end(attempt(&dispatcher(&server)).await), (Class::Retry, Some(502), true));
}

#[tokio::test]
async fn a_kept_connection_that_closes_under_a_request_is_never_a_silent_second_send() {
    // The second request arrives completely, and the connection ends without an answer.
    let server = Server::start(|mut connection| {
        connection.request();
        connection.say(&answer("200 OK", "ok"));
        connection.request();
    });
    let dispatcher = dispatcher(&server);
    assert_eq!(end(attempt(&dispatcher).await).0, Class::Delivered);
    assert_eq!(end(attempt(&dispatcher).await), (Class::Ambiguous, None, true));
    assert_eq!((server.requests().len(), server.connections()), (2, 1));
}

#[tokio::test]
async fn a_server_that_closes_after_each_answer_loses_and_doubles_nothing() {
    // The server does not announce it, so the next request may come just as the connection ends.
    let server = Server::start(|mut connection| {
        connection.request();
        connection.say(&answer("200 OK", "ok"));
    });
    let dispatcher = dispatcher(&server);
    let (mut delivered, mut ambiguous) = (0, 0);
    for n in 0..100 {
        match end(attempt(&dispatcher).await) {
            (Class::Delivered, ..) => delivered += 1,
            (Class::Ambiguous, None, true) => ambiguous += 1,
            other => panic!("{other:?}"),
        }
        if n % 2 == 0 {
            // Time for the end to be noticed: then another connection is used from the start.
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }
    let read = server.requests().len();
    assert_eq!(delivered, read, "each request that was read was answered, and each answer has its own request");
    assert_eq!(delivered + ambiguous, 100);
    assert!(delivered >= 50, "a connection seen to be closed costs nothing: {delivered}");
}

#[tokio::test]
async fn the_last_word_is_said_when_the_connection_is_there_and_keeps_every_byte_back() {
    let (let_go, gate) = std::sync::mpsc::channel::<()>();
    let gate = std::sync::Mutex::new(gate);
    let server = Server::secure(answer("200 OK", "ok"), move || {
        let _ = gate.lock().unwrap().recv();
    });
    let account = account(&[format!("https://localhost:{}", server.port)]);
    let dispatcher = Dispatcher::trusting(Arc::new(account), Arc::default(), server::root());
    let asked = Cell::new(0);
    let judge = |goes: bool| {
        asked.set(asked.get() + 1);
        if goes { Ok(()) } else { Err("too late") }
    };
    let mut connecting = Box::pin(dispatcher.connect(Destination::BaseUrl, LONG));
    assert!(timeout(Duration::from_millis(300), &mut connecting).await.is_err(), "its handshake is held");
    drop(let_go);
    let line = connecting.await.unwrap();
    let stopped = line.attempt(&[&prepared("t-1")], None, 0, || judge(false)).await;
    assert!(matches!(stopped, Err(Unanswered::Stopped("too late"))), "{stopped:?}");
    let line = dispatcher.kept(Destination::BaseUrl).expect("what was not used is kept");
    assert_eq!((asked.get(), server.requests().len()), (1, 0));
    // Another test may have called this port while it was somebody else's, so only new connections count.
    let before = server.connections();
    line.attempt(&[&prepared("t-2")], None, 0, || judge(true)).await.unwrap().one().unwrap();
    assert_eq!((asked.get(), server.requests().len(), server.connections()), (2, 1, before));
}
