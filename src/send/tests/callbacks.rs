//! Requests whose host an event brings, through a proxy that leads every name to this machine.

use super::proxy::{LOGIN, Small};
use super::*;
use crate::account::proxy::{Proxy, ProxyProtocol};
use crate::event::ConversionEvent;
use crate::platforms::reading::Reading;
use crate::platforms::{CallbackHost, Context, Sender};
use server::read_request;

/// Sends an event's callback to the hosts of its list: `/cb`, with the trans_id as body.
struct CallingBack;

impl Sender for CallingBack {
    fn natives(&self) -> Vec<Cow<'static, str>> {
        Vec::new()
    }

    fn prepare(&self, event: &ConversionEvent) -> Result<Prepared, DeliveryError> {
        Ok(prepared(&event.trans_id))
    }

    fn request(&self, items: &[&Prepared], _: &Context<'_>) -> Result<Request, Fault> {
        let body = Bytes::copy_from_slice(items[0].item.bytes());
        Ok(Request { path: if body == "broken" { "/c b" } else { "/cb?x=1" }.into(), body, ..Request::default() })
    }

    fn read(&self, _: &[&Prepared], _: &HttpAnswer<'_>) -> Reading {
        Reading::All(Ok(Receipt::default()))
    }

    fn code(&self, _: &HttpAnswer<'_>) -> String {
        "190".into()
    }

    fn callback_hosts(&self) -> Vec<&str> {
        vec!["first.example", "second.example"]
    }
}

fn called_back(host: &str, is_https: bool) -> Option<CallbackHost> {
    Some(CallbackHost { field: "click.callback".into(), is_https, host: host.into(), is_fixed: false })
}

async fn call_back(
    dispatcher: &Dispatcher,
    body: &str,
    callback: Option<CallbackHost>,
) -> Result<Receipt, DeliveryError> {
    let item = Prepared { callback: callback.map(Box::new), ..prepared(body) };
    let line = dispatcher.connect(dispatcher.destination(&item), LONG).await?;
    match line.attempt(&[&item], None, 0, || Ok::<_, ()>(())).await {
        Ok(verdicts) => verdicts.one(),
        Err(Unanswered::Failed(error)) => Err(error),
        Err(other) => panic!("{other:?}"),
    }
}

fn calling_back(proxy: Proxy, has_own_base: bool) -> Account {
    let mut account = account(&["http://first.invalid".to_owned(), "http://second.invalid".to_owned()]);
    (account.proxy, account.has_own_base) = (Some(proxy), has_own_base);
    account.sender = Some(Arc::new(CallingBack));
    account.path = Some("/own".into());
    account
}

#[tokio::test]
async fn a_callback_goes_to_its_host_with_its_path_and_over_connections_of_its_own() {
    let platform = Server::answering(answer("200 OK", "ok"));
    let small = Small::http(platform.port);
    let dispatcher = over(calling_back(small.of(ProxyProtocol::Http, LOGIN), false));
    for _ in 0..2 {
        call_back(&dispatcher, "a", called_back("second.example", false)).await.unwrap();
        call_back(&dispatcher, "b", None).await.unwrap();
    }
    assert_eq!(small.asked(), ["CONNECT second.example:80 HTTP/1.1", "CONNECT first.invalid:80 HTTP/1.1"]);
    let requests: Vec<_> = platform.requests().iter().map(|request| request.to_ascii_lowercase()).collect();
    let starts = |path: &str, host: &str| {
        requests
            .iter()
            .filter(|r| r.starts_with(&format!("post {path} ")) && r.contains(&format!("host: {host}\r\n")))
            .count()
    };
    assert_eq!((starts("/cb?x=1", "second.example"), starts("/own?x=1", "first.invalid")), (2, 2), "{requests:?}");

    // The account's own host takes its place, with the callback's path.
    let own = over(calling_back(small.of(ProxyProtocol::Http, LOGIN), true));
    call_back(&own, "c", called_back("second.example", true)).await.unwrap();
    assert_eq!(small.asked().last().unwrap(), "CONNECT first.invalid:80 HTTP/1.1");
    assert!(platform.requests().last().unwrap().starts_with("POST /cb?x=1 "));
    assert_eq!(own.hosts.len(), 2, "nothing else can be reached");
}

#[tokio::test]
async fn a_callback_whose_url_the_platform_states_is_sent_below_the_accounts_base_url_and_path() {
    let platform = Server::answering(answer("200 OK", "ok"));
    let small = Small::http(platform.port);
    let fixed = || called_back("second.example", false).map(|callback| CallbackHost { is_fixed: true, ..callback });
    let mut own = calling_back(small.of(ProxyProtocol::Http, LOGIN), true);
    own.base_urls[0] = "http://first.invalid/ads".to_owned();
    call_back(&over(own), "a", fixed()).await.unwrap();
    assert!(platform.requests()[0].starts_with("POST /ads/own?x=1 "), "{:?}", platform.requests());

    let dispatcher = over(calling_back(small.of(ProxyProtocol::Http, LOGIN), false));
    call_back(&dispatcher, "b", fixed()).await.unwrap();
    assert!(platform.requests()[1].starts_with("POST /own?x=1 "), "{:?}", platform.requests());
    assert_eq!(small.asked(), ["CONNECT first.invalid:80 HTTP/1.1", "CONNECT second.example:80 HTTP/1.1"]);
}

#[tokio::test]
async fn the_platforms_code_stands_in_an_error_whose_class_the_status_decides() {
    let refuses = Server::answering(answer("400 Bad Request", "ok"));
    let small = Small::http(refuses.port);
    let dispatcher = over(calling_back(small.of(ProxyProtocol::Http, LOGIN), false));
    let error = call_back(&dispatcher, "a", None).await.unwrap_err();
    assert_eq!(error.answer().map(|answer| answer.code.as_str()), Some("190"), "{error:?}");
    assert_eq!(error.class(), Some(Class::Permanent));
}

#[tokio::test]
async fn a_callback_that_cannot_be_sent_says_nothing_of_the_account() {
    let refuses = Small::start(0, |tcp| {
        read_request(tcp)?;
        tcp.write_all(b"HTTP/1.1 502 Bad Gateway\r\ncontent-length: 0\r\n\r\n").ok()?;
        None
    });
    let dispatcher = over(calling_back(refuses.of(ProxyProtocol::Http, None), false));
    let result = call_back(&dispatcher, "a", called_back("first.example", true)).await;
    assert_eq!(end(result), (Class::Retry, None, false));
    assert_eq!(dispatcher.base.get(), 0, "the base URL stays in use");

    let platform = Server::answering(answer("200 OK", "ok"));
    let small = Small::http(platform.port);
    let mut account = calling_back(small.of(ProxyProtocol::Http, LOGIN), false);
    for host in ["third.example", "127.0.0.1"] {
        let result =
            call_back(&over(calling_back(account.proxy.clone().unwrap(), false)), "a", called_back(host, false)).await;
        assert_eq!(end(result), (Class::Permanent, None, false), "{host} is not on the list");
    }
    let result = call_back(
        &over(calling_back(account.proxy.clone().unwrap(), false)),
        "broken",
        called_back("first.example", false),
    )
    .await;
    assert_eq!(end(result), (Class::Permanent, None, false), "what HTTP cannot carry");
    let redirects = Server::answering(answer("302 Found\r\nlocation: http://elsewhere.example/", "ok"));
    let small = Small::http(redirects.port);
    let dispatcher = over(calling_back(small.of(ProxyProtocol::Http, LOGIN), false));
    let result = call_back(&dispatcher, "a", called_back("first.example", false)).await;
    assert_eq!(end(result), (Class::Permanent, Some(302), true), "a redirect is not followed and halts nobody");
    assert_eq!(small.asked(), ["CONNECT first.example:80 HTTP/1.1"]);
    assert_eq!(
        end(call_back(&dispatcher, "b", None).await),
        (Class::Halt, Some(302), true),
        "one of the base URL does"
    );
    let fixed = called_back("first.example", false).map(|callback| CallbackHost { is_fixed: true, ..callback });
    assert_eq!(
        end(call_back(&dispatcher, "c", fixed).await),
        (Class::Halt, Some(302), true),
        "one of a platform's URL does"
    );

    account.allow_http = false;
    let result = call_back(&over(account), "a", called_back("first.example", false)).await;
    assert_eq!(end(result), (Class::Permanent, None, false), "plain http is not allowed");
    assert_eq!(platform.requests(), [""; 0]);
}
