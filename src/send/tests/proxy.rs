//! Attempts through minimal proxies: what reaches them, what passes through them, and what their refusals mean.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::sync::Mutex;

use rustls::{ServerConnection, StreamOwned};

use super::*;
use crate::account::proxy::{Proxy, ProxyLogin, ProxyProtocol};
use crate::secret::SecretString;
use server::read_request;

/// A proxy that leads every name to one port of this machine. It records what it was asked.
pub(super) struct Small {
    server: Server,
    asked: Arc<Mutex<Vec<String>>>,
}

impl Small {
    pub(super) fn start(
        platform: u16,
        serve: impl Fn(&mut TcpStream) -> Option<String> + Send + Sync + 'static,
    ) -> Self {
        let asked = Arc::new(Mutex::new(Vec::new()));
        let noted = asked.clone();
        let server = Server::start(move |mut connection| {
            let Some(target) = serve(&mut connection.tcp) else { return };
            noted.lock().unwrap().push(target);
            pass(&connection.tcp, &TcpStream::connect(("127.0.0.1", platform)).unwrap());
        });
        Self { server, asked }
    }

    /// A proxy that is asked by `CONNECT` and demands the password.
    pub(super) fn http(platform: u16) -> Self {
        Self::start(platform, |tcp| {
            let head = read_request(tcp)?;
            // Base64 of `li:s3cret`.
            if !head.contains("\r\nProxy-Authorization: Basic bGk6czNjcmV0\r\n") {
                let asks = "HTTP/1.1 407 Proxy Authentication Required\r\nproxy-authenticate: Basic\r\n\r\n";
                tcp.write_all(asks.as_bytes()).ok()?;
                return None;
            }
            tcp.write_all(b"HTTP/1.1 200 Connection established\r\nvia: a proxy\r\n\r\n").ok()?;
            Some(head.lines().next()?.to_owned())
        })
    }

    /// The same over TLS with the proxy, which has this certificate.
    fn https(platform: u16, certificate: &str) -> Self {
        let (inside, tls) = (Self::http(platform), server::tls(certificate));
        let port = inside.server.port;
        let server = Server::start(move |connection| {
            let tls = StreamOwned::new(ServerConnection::new(tls.clone()).unwrap(), connection.tcp);
            unpack(tls, &TcpStream::connect(("127.0.0.1", port)).unwrap());
        });
        Self { server, asked: inside.asked }
    }

    /// A SOCKS5 proxy that demands the password.
    fn socks5(platform: u16) -> Self {
        Self::start(platform, |tcp| {
            let methods = counted(tcp, 1)?;
            if !methods.contains(&2) {
                tcp.write_all(&[5, 0xff]).ok()?;
                return None;
            }
            tcp.write_all(&[5, 2]).ok()?;
            let user = counted(tcp, 1)?;
            let password = counted(tcp, 0)?;
            let is_known = (&*user, &*password) == (b"li", b"s3cret");
            tcp.write_all(&[1, u8::from(!is_known)]).ok()?;
            if !is_known {
                return None;
            }
            let mut command = [0; 4];
            tcp.read_exact(&mut command).ok()?;
            assert_eq!(command, [5, 1, 0, 3], "a name, which the proxy resolves");
            let name = String::from_utf8(counted(tcp, 0)?).unwrap();
            let mut port = [0; 2];
            tcp.read_exact(&mut port).ok()?;
            tcp.write_all(&[5, 0, 0, 1, 0, 0, 0, 0, 0, 0]).ok()?;
            Some(format!("{name}:{}", u16::from_be_bytes(port)))
        })
    }

    pub(super) fn of(&self, protocol: ProxyProtocol, login: Option<(&str, &str)>) -> Proxy {
        let login = login.map(|(user, password)| ProxyLogin {
            user: SecretString::new(user),
            password: SecretString::new(password),
        });
        // The certificates are valid for a name only.
        let host = if protocol == ProxyProtocol::Https { "localhost" } else { "127.0.0.1" };
        Proxy { protocol, host: host.into(), port: self.server.port, login }
    }

    pub(super) fn asked(&self) -> Vec<String> {
        self.asked.lock().unwrap().clone()
    }
}

/// Reads a length and that many bytes, after `skip` bytes that do not matter.
fn counted(tcp: &mut TcpStream, skip: usize) -> Option<Vec<u8>> {
    let mut head = vec![0; skip + 1];
    tcp.read_exact(&mut head).ok()?;
    let mut bytes = vec![0; head[skip].into()];
    tcp.read_exact(&mut bytes).ok()?;
    Some(bytes)
}

/// Passes bytes on in both directions until both have ended.
fn pass(a: &TcpStream, b: &TcpStream) {
    let one_way = |from: &TcpStream, to: &TcpStream| {
        let _ = std::io::copy(&mut &*from, &mut &*to);
        let _ = to.shutdown(std::net::Shutdown::Write);
    };
    std::thread::scope(|scope| {
        scope.spawn(|| one_way(a, b));
        one_way(b, a);
    });
}

/// Passes bytes on between TLS and plain text, one direction after the other, until one has ended.
fn unpack(mut tls: StreamOwned<ServerConnection, TcpStream>, mut plain: &TcpStream) {
    let turn = Some(Duration::from_millis(1));
    tls.sock.set_read_timeout(turn).unwrap();
    plain.set_read_timeout(turn).unwrap();
    while one_turn(&mut tls, &mut plain) && one_turn(&mut plain, &mut tls) {}
    tls.conn.send_close_notify();
    let _ = tls.flush();
}

/// Passes on the bytes that have arrived. `false`: the stream has ended.
fn one_turn(from: &mut impl std::io::Read, to: &mut impl std::io::Write) -> bool {
    let mut bytes = [0; 16 * 1024];
    match from.read(&mut bytes) {
        Ok(0) => false,
        Ok(n) => to.write_all(&bytes[..n]).and_then(|()| to.flush()).is_ok(),
        Err(error) => error.kind() == std::io::ErrorKind::WouldBlock,
    }
}

pub(super) const LOGIN: Option<(&str, &str)> = Some(("li", "s3cret"));

/// An account that may reach no private address, behind a proxy of this machine.
fn behind(url: &str, proxy: Proxy) -> Dispatcher {
    let mut account = account(&[url.to_owned()]);
    (account.proxy, account.allow_private) = (Some(proxy), false);
    Dispatcher::trusting(Arc::new(account), Arc::default(), server::root())
}

fn detail(result: Result<Receipt, DeliveryError>) -> (Class, bool, String) {
    let error = result.unwrap_err();
    let answer = error.answer().unwrap();
    assert!(!answer.detail.contains("s3cret") && !answer.detail.contains("127.0.0.1"), "{answer:?}");
    (error.class().unwrap(), answer.sent, answer.detail.clone())
}

#[tokio::test]
async fn requests_go_through_each_kind_of_proxy_which_resolves_the_name() {
    let platform = Server::answering(answer("200 OK", "ok"));
    let (http, socks5) = (Small::http(platform.port), Small::socks5(platform.port));
    let https = Small::https(platform.port, "valid.pem");
    for (proxy, small, asked) in [
        (http.of(ProxyProtocol::Http, LOGIN), &http, "CONNECT platform.invalid:80 HTTP/1.1"),
        (https.of(ProxyProtocol::Https, LOGIN), &https, "CONNECT platform.invalid:80 HTTP/1.1"),
        (socks5.of(ProxyProtocol::Socks5, LOGIN), &socks5, "platform.invalid:80"),
    ] {
        let dispatcher = behind("http://platform.invalid", proxy);
        for _ in 0..2 {
            assert_eq!(attempt(&dispatcher).await, Ok(Receipt::default()));
        }
        assert_eq!(small.asked(), [asked], "one connection, and a name that only the proxy knows");
        dispatcher.probe(0).await.unwrap();
    }
    let requests = platform.requests();
    assert_eq!(requests.len(), 6);
    for request in requests {
        let request = request.to_ascii_lowercase();
        assert!(request.starts_with("post /postback?v=1 http/1.1\r\n") && !request.contains("proxy"), "{request}");
        assert!(request.contains("\r\nhost: platform.invalid\r\n"), "{request}");
    }
}

#[tokio::test]
async fn tls_is_spoken_with_the_platform_inside_of_what_the_proxy_passes_on() {
    let platform = Server::secure(answer("200 OK", "ok"), || {});
    let (http, socks5) = (Small::http(platform.port), Small::socks5(platform.port));
    let https = Small::https(platform.port, "valid.pem");
    for proxy in [
        http.of(ProxyProtocol::Http, LOGIN),
        https.of(ProxyProtocol::Https, LOGIN),
        socks5.of(ProxyProtocol::Socks5, LOGIN),
    ] {
        let named = |name: &str| {
            let mut account = account(&[format!("https://{name}")]);
            account.proxy = Some(proxy.clone());
            Dispatcher::trusting(Arc::new(account), Arc::default(), server::root())
        };
        assert_eq!(attempt(&named("localhost")).await, Ok(Receipt::default()));
        // The certificate is judged by the name that the account states, whatever the proxy resolved.
        let (class, sent, said) = detail(attempt(&named("elsewhere.invalid")).await);
        assert_eq!((class, sent, &*said), (Class::Halt, false, "the host's TLS certificate is not valid for it"));
    }
    assert_eq!(platform.requests().len(), 3);
    for small in [http, https] {
        assert_eq!(small.asked(), ["CONNECT localhost:443 HTTP/1.1", "CONNECT elsewhere.invalid:443 HTTP/1.1"]);
    }
}

#[tokio::test]
async fn what_takes_many_tls_records_goes_through_a_proxy_that_is_reached_over_tls() {
    let head = format!("200 OK\r\nx-long: {}", "x".repeat(60_000));
    let platform = Server::secure(answer(&head, "ok"), || {});
    let small = Small::https(platform.port, "valid.pem");
    let mut account = account(&["https://localhost".to_owned()]);
    account.proxy = Some(small.of(ProxyProtocol::Https, LOGIN));
    let dispatcher = Dispatcher::trusting(Arc::new(account), Arc::default(), server::root());
    for sent in ["x".repeat(60_000), "y".repeat(300_000)] {
        attempt_of(&dispatcher, &sent, 0).await.unwrap();
        assert!(platform.requests().pop().unwrap().ends_with(&format!("\r\n\r\n{sent}")));
    }
    assert_eq!(small.asked().len(), 1, "the connection is kept");
}

#[tokio::test]
async fn a_proxy_whose_certificate_is_not_valid_for_its_host_halts_and_is_shown_no_password() {
    let platform = Server::answering(answer("200 OK", "ok"));
    for (shown, is_root_trusted) in
        [("wrong-name.pem", true), ("expired.pem", true), ("self-signed.pem", true), ("valid.pem", false)]
    {
        let small = Small::https(platform.port, shown);
        let mut account = account(&["http://platform.invalid".to_owned()]);
        account.proxy = Some(small.of(ProxyProtocol::Https, LOGIN));
        let dispatcher = match is_root_trusted {
            true => Dispatcher::trusting(Arc::new(account), Arc::default(), server::root()),
            false => over(account),
        };
        let (class, sent, said) = detail(attempt(&dispatcher).await);
        let why = "the TLS certificate of the proxy of accounts.acme.proxy is not valid for it";
        assert_eq!((class, sent, &*said), (Class::Halt, false, why), "{shown}");
        assert!(matches!(dispatcher.probe(0).await, Err(DeliveryError::Halt(_))));
        assert_eq!(small.asked(), [""; 0], "{shown}");
    }
}

#[tokio::test]
async fn a_proxy_that_refuses_the_login_halts_and_names_the_key_to_mend() {
    let platform = Server::answering(answer("200 OK", "ok"));
    let (http, socks5) = (Small::http(platform.port), Small::socks5(platform.port));
    let https = Small::https(platform.port, "valid.pem");
    for login in [None, Some(("li", "wrong-s3cret"))] {
        for proxy in [
            http.of(ProxyProtocol::Http, login),
            https.of(ProxyProtocol::Https, login),
            socks5.of(ProxyProtocol::Socks5, login),
        ] {
            let dispatcher = behind("http://platform.invalid", proxy);
            let (class, sent, said) = detail(attempt(&dispatcher).await);
            assert_eq!((class, sent), (Class::Halt, false), "{said}");
            assert!(said.contains("user and password") && said.contains("accounts.acme.proxy"), "{said}");
            assert!(matches!(dispatcher.probe(0).await, Err(DeliveryError::Halt(_))));
        }
    }
    assert_eq!(platform.connections(), 0);
}

#[tokio::test]
async fn a_proxy_that_cannot_be_reached_or_does_not_connect_is_tried_again_later() {
    let refuses = Small::start(0, |tcp| {
        read_request(tcp)?;
        tcp.write_all(b"HTTP/1.1 502 Bad Gateway\r\ncontent-length: 0\r\n\r\n").ok()?;
        None
    });
    let cannot = Small::start(0, |tcp| {
        counted(tcp, 1)?;
        tcp.write_all(&[5, 0]).ok()?;
        let mut command = [0; 4];
        tcp.read_exact(&mut command).ok()?;
        counted(tcp, 0)?;
        tcp.read_exact(&mut [0; 2]).ok()?;
        // Reply code 4: the host is unreachable.
        tcp.write_all(&[5, 4, 0, 1, 0, 0, 0, 0, 0, 0]).ok()?;
        None
    });
    let closes = Small::start(0, |_| None);
    let no_tls = Small::start(0, |tcp| {
        tcp.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").ok()?;
        None
    });
    let mut nobody = closes.of(ProxyProtocol::Http, None);
    nobody.port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let unreached = "the proxy of accounts.acme.proxy cannot be reached";
    let no_way = "the proxy of accounts.acme.proxy makes no connection to the platform";
    for (proxy, why) in [
        (refuses.of(ProxyProtocol::Http, None), no_way),
        (cannot.of(ProxyProtocol::Socks5, None), no_way),
        (closes.of(ProxyProtocol::Socks5, None), unreached),
        (no_tls.of(ProxyProtocol::Https, None), unreached),
        (nobody.clone(), unreached),
        (Proxy { protocol: ProxyProtocol::Https, ..nobody.clone() }, unreached),
        (Proxy { protocol: ProxyProtocol::Socks5, ..nobody }, unreached),
    ] {
        let (class, sent, said) = detail(attempt(&behind("http://platform.invalid", proxy)).await);
        assert_eq!((class, sent, &*said), (Class::Retry, false, why));
    }
}

#[tokio::test]
async fn behind_a_proxy_the_named_host_is_what_must_not_be_private() {
    let platform = Server::answering(answer("200 OK", "ok"));
    let small = Small::http(platform.port);
    for host in ["localhost", "10.1.2.3", "[::1]", "api.localhost"] {
        let dispatcher = behind(&format!("http://{host}"), small.of(ProxyProtocol::Http, LOGIN));
        let (class, sent, said) = detail(attempt(&dispatcher).await);
        assert_eq!((class, sent), (Class::Halt, false), "{host}");
        assert!(said.contains("behind a proxy") && said.contains("allow_private"), "{said}");
    }
    assert_eq!(small.asked(), [""; 0]);
}
