use std::task::{Context, Waker};

use http::header::HOST;

use super::connection::IDLE;
use super::growth::tests::MANY;
use super::*;
use crate::stub::server::{Server, answer};

const LONG: Duration = Duration::from_secs(20);

fn connections(server: &Server) -> Connections {
    let _ = rustls::crypto::ring::default_provider().install_default();
    Connections::new(Connector::new(true, None).unwrap(), server.url().parse().unwrap(), LONG)
}

fn request() -> Request<Full<Bytes>> {
    Request::post("/").header(HOST, "h").body(Full::from("x")).unwrap()
}

async fn exchange(connections: &Connections) -> Result<Answered, Failure> {
    loop {
        let line = connections.line(LONG).await?;
        match line.exchange(request(), LONG, 1024, || Ok::<_, ()>(())).await {
            Ok(answered) => return Ok(answered),
            Err(Unanswered::Failed(failure)) => return Err(failure),
            Err(Unanswered::Closed) => {}
            Err(Unanswered::Stopped(())) => panic!("nobody stopped it"),
        }
    }
}

fn age(connections: &Connections, by: Duration) {
    connections.kept.borrow_mut().iter_mut().for_each(|c| c.age(by));
}

#[tokio::test]
async fn a_connection_that_was_idle_for_too_long_is_not_used_again() {
    for many in [false, true] {
        MANY.set(many);
        let server = Server::answering(answer("200 OK", "ok"));
        let connections = connections(&server);
        for (idle, made) in [(Duration::ZERO, 1), (IDLE - Duration::from_secs(5), 1), (IDLE, 2), (Duration::ZERO, 2)] {
            age(&connections, idle);
            assert_eq!(exchange(&connections).await.unwrap().body.as_deref(), Ok(&b"ok"[..]));
            assert_eq!(server.connections(), made, "after {idle:?}, with many others: {many}");
        }
    }
}

#[tokio::test]
async fn only_with_few_connections_open_and_after_short_answers_the_state_of_http_is_kept() {
    for (length, is_short) in [(4096, true), (4097, false)] {
        let server = Server::answering(answer("200 OK", &"a".repeat(length)));
        let connections = connections(&server);
        for many in [false, true, true, false, false] {
            MANY.set(many);
            let line = connections.line(LONG).await.unwrap();
            assert!(line.exchange(request(), LONG, 8192, || Ok::<_, ()>(())).await.is_ok());
            let kept: Vec<bool> = connections.kept.borrow().iter().map(Connection::is_ready).collect();
            assert_eq!((kept, server.connections()), (vec![is_short && !many], 1));
        }
    }
}

#[tokio::test]
async fn a_connection_that_is_closed_or_brings_more_than_its_answer_is_not_used_again() {
    for (many, stray) in [(false, ""), (true, ""), (false, "?"), (true, "?")] {
        MANY.set(many);
        let (sender, closed) = std::sync::mpsc::channel();
        let server = Server::start(move |mut connection| {
            connection.request();
            connection.say(&format!("{}{stray}", answer("200 OK", "ok")));
            if !stray.is_empty() {
                connection.drain();
            }
            drop(connection);
            sender.send(()).unwrap();
        });
        let connections = connections(&server);
        for made in 1..=3 {
            exchange(&connections).await.unwrap();
            assert_eq!(server.connections(), made, "with many others: {many}, {stray:?}");
            assert!(stray.is_empty() || connections.kept.borrow().is_empty(), "with many others: {many}");
            let ends = async {
                while closed.try_recv().is_err() {
                    tokio::time::sleep(Duration::from_millis(1)).await;
                }
            };
            timeout(LONG, ends).await.expect("one end closes it");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
}

#[tokio::test]
async fn a_sweep_closes_what_was_idle_for_too_long_and_nothing_else() {
    let (sender, closed) = std::sync::mpsc::channel();
    let server = Server::start(move |mut connection| {
        connection.request();
        connection.say(&answer("200 OK", "ok"));
        connection.drain();
        sender.send(()).unwrap();
    });
    let connections = connections(&server);
    exchange(&connections).await.unwrap();
    connections.sweep();
    assert_eq!(connections.kept.borrow().len(), 1);
    age(&connections, IDLE);
    connections.sweep();
    assert_eq!(connections.kept.borrow().len(), 0);
    let closed = tokio::task::spawn_blocking(move || closed.recv_timeout(Duration::from_secs(20)));
    closed.await.unwrap().expect("its other end is told");
}

#[tokio::test]
async fn no_more_than_were_allowed_are_kept_for_later() {
    // None is answered before all have arrived, so each has a connection of its own.
    let all = std::sync::Barrier::new(3);
    let server = Server::start(move |mut connection| {
        connection.request();
        all.wait();
        connection.say(&answer("200 OK", "ok"));
        connection.drain();
    });
    let connections = connections(&server);
    connections.keep_at_most(2);
    let three = [(); 3].map(|()| exchange(&connections));
    assert!(futures_util::future::join_all(three).await.iter().all(Result::is_ok));
    connections.sweep();
    assert_eq!((server.connections(), connections.kept.borrow().len()), (3, 2));
}

#[tokio::test]
async fn one_more_than_are_kept_is_made_only_for_an_attempt_that_has_waited() {
    for (kept, made_at_once) in [(1, false), (2, true)] {
        let (let_go, gate) = std::sync::mpsc::channel::<()>();
        let gate = std::sync::Mutex::new(gate);
        let server = Server::start(move |mut connection| {
            connection.request();
            if connection.number == 0 {
                let _ = gate.lock().unwrap().recv();
            }
            connection.say(&answer("200 OK", "ok"));
            connection.drain();
        });
        let connections = connections(&server);
        connections.keep_at_most(kept);
        let mut hanging = Box::pin(exchange(&connections));
        while server.requests().is_empty() {
            assert!(timeout(Duration::from_millis(5), &mut hanging).await.is_err());
        }
        let began = Instant::now();
        let mut second = Box::pin(exchange(&connections));
        assert!(second.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
        assert_eq!(connections.growth.total() == 2, made_at_once, "{kept} are kept");
        let patience = connections.patience();
        assert!(second.await.is_ok() && (made_at_once || began.elapsed() >= patience));
        drop(let_go);
        assert!(hanging.await.is_ok());
    }
}

#[tokio::test]
async fn of_requests_at_once_the_first_alone_begins_to_connect() {
    let server = Server::answering(answer("200 OK", "ok"));
    let connections = connections(&server);
    let mut at_once = [(); 64].map(|()| Box::pin(exchange(&connections)));
    for request in &mut at_once {
        assert!(request.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
    }
    assert!(connections.growth.start().is_none(), "one is being made, and none is open");
    assert!(futures_util::future::join_all(at_once).await.iter().all(Result::is_ok));
}

#[tokio::test]
async fn requests_that_wait_for_their_answers_do_not_wait_for_each_other() {
    let (sender, arrived) = std::sync::mpsc::channel();
    let all = std::sync::Arc::new(std::sync::Barrier::new(33));
    let together = all.clone();
    let server = Server::start(move |mut connection| {
        connection.request();
        sender.send(()).unwrap();
        together.wait();
        connection.say(&answer("200 OK", "ok"));
        connection.drain();
    });
    let let_go = tokio::task::spawn_blocking(move || {
        (0..32).for_each(|_| arrived.recv_timeout(Duration::from_secs(20)).expect("all of them are under way"));
        all.wait();
    });
    let connections = connections(&server);
    let at_once = [(); 32].map(|()| exchange(&connections));
    assert!(futures_util::future::join_all(at_once).await.iter().all(Result::is_ok));
    let_go.await.unwrap();
}

#[tokio::test]
async fn an_answer_that_announces_its_end_is_the_connections_last() {
    let server = Server::start(|mut connection| {
        connection.request();
        connection.say(&answer("200 OK\r\nconnection: close", "ok"));
        connection.drain();
    });
    let connections = connections(&server);
    for (made, many) in [(1, false), (2, true), (3, false)] {
        MANY.set(many);
        exchange(&connections).await.unwrap();
        assert_eq!((connections.kept.borrow().len(), server.connections()), (0, made));
    }
}
