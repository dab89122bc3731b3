//! Requests to a platform: where they go, where they must never go, and how much of an answer is read.

use crate::support::event::Expect;
use crate::support::ledger::Check;
use crate::support::platform::{Account, Action, Platform, Rule};
use crate::support::world::World;
use crate::support::{eventually, free_port, secs};
use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream, ToSocketAddrs};
use std::sync::{Arc, Mutex};

#[test]
fn a_redirect_halts_the_account_and_is_not_followed() {
    let mut w = World::new("redirect");
    let account = w.account("acme-ps", Platform::Qihoo360);
    let elsewhere = Account::open("elsewhere", Platform::Qihoo360);
    account.rules(vec![Rule::all(Action::Redirect(elsewhere.port))]);
    let worker = w.started();
    let events = w.make.orders("acme-ps", 40);
    w.publish(events);
    eventually(secs(20), "the account is halted", || worker.lane_state("acme-ps") == "halted");
    eventually(secs(20), "everything is parked", || w.records("parked").len() == 40);
    assert!(worker.must(&["accounts", "list"]).contains("a redirect"));
    assert_eq!(elsewhere.request_count(), 0, "signature and body went to another host");
    account.rules(Vec::new());
    worker.must(&["accounts", "resume", "acme-ps", "--reason", "a test"]);
    w.settle(secs(60));
    let books = w.ledger(&Check::EXACT);
    w.counters(&worker, &books);
    elsewhere.close();
}

#[test]
fn a_proxy_that_the_environment_names_is_not_asked() {
    let mut w = World::new("env-proxy");
    w.account("acme-ps", Platform::Qihoo360);
    let proxy = TcpListener::bind("127.0.0.1:0").unwrap();
    proxy.set_nonblocking(true).unwrap();
    let url = format!("http://{}", proxy.local_addr().unwrap());
    for name in ["HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"] {
        w.environment(name, &url);
    }
    let worker = w.started();
    let events = w.make.orders("acme-ps", 20);
    w.publish(events);
    w.settle(secs(60));
    let books = w.ledger(&Check::EXACT);
    w.counters(&worker, &books);
    assert!(proxy.accept().is_err(), "something connected to the proxy");
}

/// A name of this machine that leads to the machine itself and is not `localhost`, which the configuration knows.
fn private_name() -> String {
    let own = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let private = |ip: std::net::IpAddr| match ip {
        std::net::IpAddr::V4(ip) => ip.is_loopback() || ip.is_private(),
        std::net::IpAddr::V6(ip) => ip.is_loopback(),
    };
    let names = ["ip6-localhost", "ip6-loopback", "localhost4", "localhost6", own.trim()];
    let found = names.into_iter().find(|name| {
        let addresses = (*name, 1).to_socket_addrs().map(Iterator::collect::<Vec<_>>).unwrap_or_default();
        !addresses.is_empty() && addresses.iter().all(|a| private(a.ip()))
    });
    found.expect("no name in /etc/hosts leads to this machine, not even its own").to_owned()
}

#[test]
fn a_host_that_turns_out_to_be_private_halts_the_account_and_localhost_refuses_the_start() {
    let mut w = World::new("private-host");
    let account = w.account("acme-ps", Platform::Qihoo360);
    w.set("accounts.acme-ps.allow_private", false);
    w.set("accounts.acme-ps.base_url", format!("http://localhost:{}", account.port));
    let mut refused = w.worker();
    refused.launch();
    assert_eq!(refused.wait(secs(30)).and_then(|s| s.code()), Some(2), "{}", refused.log());
    let said = refused.log();
    assert!(said.contains("accounts.acme-ps.base_url") && said.contains("allow_private"), "{said}");

    // It listens on every address, so that a connection is seen wherever the name leads.
    let trap = TcpListener::bind("[::]:0").unwrap();
    trap.set_nonblocking(true).unwrap();
    w.set("accounts.acme-ps.base_url", format!("https://{}:{}", private_name(), trap.local_addr().unwrap().port()));
    let events = w.make.orders("acme-ps", 20);
    w.publish(events);
    let mut worker = w.started();
    eventually(secs(20), "the account is halted", || worker.lane_state("acme-ps") == "halted");
    eventually(secs(20), "everything is parked", || w.records("parked").len() == 20);
    assert!(worker.must(&["accounts", "list"]).contains("allow_private"));
    assert!(trap.accept().is_err(), "it connected before it looked at the address");
    worker.stop();

    w.set("accounts.acme-ps.allow_private", true);
    w.set("accounts.acme-ps.base_url", format!("http://127.0.0.1:{}", account.port));
    let corrected = w.started();
    corrected.must(&["accounts", "resume", "acme-ps", "--reason", "a test"]);
    w.settle(secs(60));
    w.ledger(&Check { disturbed: true, exact: true, ..Check::default() });
    assert_eq!(account.request_count(), 20);
}

#[test]
fn a_body_without_end_is_cut_and_counts_as_no_answer_or_by_its_status() {
    let mut w = World::new("endless");
    let account = w.account("acme-ps", Platform::Qihoo360);
    w.set("accounts.acme-ps.limits.timeout", "5s");
    w.set("accounts.acme-ps.retry.inline.max_retries", 0);
    let worker = w.started();
    let (accepted, failed) = (w.make.order("acme-ps"), w.make.order("acme-ps"));
    account.rules(vec![
        Rule::all(Action::Endless(200)).about([accepted.ident()]).first(1),
        Rule::all(Action::Endless(500)).about([failed.ident()]).first(1),
    ]);
    w.publish(vec![accepted.clone(), failed.clone()]);
    w.settle(secs(60));
    let books = w.ledger(&Check::EXACT);
    w.counters(&worker, &books);
    for (event, resends) in [(&accepted, 1), (&failed, 0)] {
        let receipt = books.receipt(event);
        assert_eq!((receipt.attempts, receipt.resends), (2, resends), "status {}", 200 + 300 * (1 - resends));
        let first = &account.requests_about(event.ident())[0];
        let read = first.answered.unwrap().duration_since(first.arrived).unwrap();
        assert!(read < secs(4), "it was read for {read:?} instead of to 64 KiB");
    }
    assert_eq!(worker.metrics().total("attempts_total", &[("class", "ambiguous")]), 1.0);
    assert_eq!(worker.metrics().total("attempts_total", &[("class", "retry")]), 1.0);
}

#[test]
fn the_second_base_url_is_used_once_the_first_refuses_connections() {
    let mut w = World::new("base-urls");
    let account = w.account("acme-ps", Platform::Qihoo360);
    let second = format!("http://127.0.0.1:{}", account.port);
    w.unset("acme-ps", "base_url");
    w.set("accounts.acme-ps.base_urls", vec![format!("http://127.0.0.1:{}", free_port()), second]);
    w.set("accounts.acme-ps.limits.concurrency", 8);
    let worker = w.started();
    let events = w.make.orders("acme-ps", 200);
    w.publish(events);
    w.settle(secs(60));
    let books = w.ledger(&Check::EXACT);
    w.counters(&worker, &books);
    // Requests that were connecting at the same time fail together. No later one tries the first URL again.
    let refused = worker.metrics().total("attempts_total", &[("class", "retry")]);
    assert!((1.0..=8.0).contains(&refused), "{refused} connections were refused");
    assert!(books.events.iter().all(|e| e.expect == Expect::Delivered));
}

/// A `CONNECT` proxy that leads every name to one port of this machine, for clients that send this
/// `Proxy-Authorization`.
fn proxy_for(platform: u16, login: Arc<Mutex<String>>) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        for mut client in listener.incoming().flatten() {
            let login = login.lock().unwrap().clone();
            std::thread::spawn(move || {
                let mut head = Vec::new();
                while !head.ends_with(b"\r\n\r\n") {
                    let mut byte = [0];
                    client.read_exact(&mut byte).ok()?;
                    head.push(byte[0]);
                }
                let head = String::from_utf8(head).ok()?;
                let known = head.contains(&format!("\r\nProxy-Authorization: {login}\r\n"));
                if !known || !head.starts_with("CONNECT platform.invalid:80 HTTP/1.1\r\n") {
                    return client.write_all(b"HTTP/1.1 407 Proxy Authentication Required\r\n\r\n").ok();
                }
                let mut server = TcpStream::connect(("127.0.0.1", platform)).ok()?;
                client.write_all(b"HTTP/1.1 200 OK\r\n\r\n").ok()?;
                let (mut back, mut to) = (server.try_clone().ok()?, client.try_clone().ok()?);
                std::thread::spawn(move || std::io::copy(&mut back, &mut to));
                std::io::copy(&mut client, &mut server).ok().map(drop)
            });
        }
    });
    port
}

#[test]
fn an_account_goes_through_its_proxy_and_halts_where_that_refuses_its_password() {
    // Base64 of `li:s3cret-of-the-proxy`.
    const LOGIN: &str = "Basic bGk6czNjcmV0LW9mLXRoZS1wcm94eQ==";
    let mut w = World::new("proxy");
    let account = w.account("acme-ps", Platform::Qihoo360);
    let login = Arc::new(Mutex::new(LOGIN.to_owned()));
    let port = proxy_for(account.port, login.clone());
    // A name that only the proxy can resolve. The proxy may be private even if the platform may not.
    w.set("accounts.acme-ps.base_url", "http://platform.invalid");
    w.set("accounts.acme-ps.allow_private", false);
    w.set("accounts.acme-ps.proxy", "${ACME_PROXY}");
    w.environment("ACME_PROXY", &format!("http://li:s3cret-of-the-proxy@127.0.0.1:{port}"));
    let mut worker = w.started();
    let events = w.make.orders("acme-ps", 40);
    w.publish(events);
    w.settle(secs(60));
    let books = w.ledger(&Check::EXACT);
    w.counters(&worker, &books);
    worker.stop();

    "Basic another".clone_into(&mut login.lock().unwrap());
    let worker = w.started();
    let events = w.make.orders("acme-ps", 20);
    w.publish(events);
    eventually(secs(20), "the account is halted", || worker.lane_state("acme-ps") == "halted");
    eventually(secs(20), "everything is parked", || w.records("parked").len() == 20);
    let (said, log) = (worker.must(&["accounts", "list"]), worker.log());
    assert!(said.contains("accounts.acme-ps.proxy"), "{said}");
    assert!(!said.contains("s3cret") && !log.contains("s3cret"), "the proxy's password is shown");
    LOGIN.clone_into(&mut login.lock().unwrap());
    worker.must(&["accounts", "resume", "acme-ps", "--reason", "a test"]);
    w.settle(secs(60));
    w.ledger(&Check { disturbed: true, exact: true, ..Check::default() });
}
