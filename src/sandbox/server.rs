//! Serves connections: hyper reads requests and writes answers. Where a fault breaks a request off, its service returns
//! an error, and the server resets the connection.

use std::future::poll_fn;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::http::header::{CONNECTION, CONTENT_LENGTH, TRANSFER_ENCODING};
use axum::http::{HeaderValue, Request as HttpRequest, Response};
use bytes::Bytes;
use http_body_util::{BodyExt, LengthLimitError, Limited};
use hyper::body::{Body as _, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;

use super::answer::{self, Reset};
use super::control;
use super::recorder::{Recorded, Recorder};
use super::request::{Answer, MAX_BODY, Request, header_lines};
use super::state::State;

/// The largest request line and header block.
const MAX_HEAD: usize = 16 * 1024;
const MAX_HEADERS: usize = 64;
/// After its last answer a client may go on sending for this long; then the server cuts the connection.
const FAREWELL: Duration = Duration::from_millis(500);

/// Serves connections until the sandbox stops.
pub(super) async fn accept(listener: TcpListener, state: Arc<State>, mut stop: watch::Receiver<bool>) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => {
                    connections.spawn(serve(stream, state.clone()));
                }
                // Most likely the process has no file handle left. Open connections may close meanwhile.
                Err(_) => tokio::time::sleep(Duration::from_millis(50)).await,
            },
            Some(_) = connections.join_next() => {}
            () = stopped(&mut stop) => break,
        }
    }
    connections.shutdown().await;
}

/// Returns when the sandbox stops or is dropped.
async fn stopped(stop: &mut watch::Receiver<bool>) {
    // An error means that the sender was dropped, and the sandbox with it.
    let _ = stop.wait_for(|&stop| stop).await;
}

async fn serve(stream: TcpStream, state: Arc<State>) {
    // With Nagle's algorithm the second small answer on a connection would wait for the client's delayed
    // acknowledgement.
    let _ = stream.set_nodelay(true);
    let (io, recorded) = Recorder::new(stream);
    let service = service_fn(move |request| Box::pin(respond(request, recorded.clone(), state.clone())));
    let mut connection = http1::Builder::new()
        .title_case_headers(true)
        .auto_date_header(false)
        .max_headers(MAX_HEADERS)
        .max_buf_size(MAX_HEAD)
        .serve_connection(TokioIo::new(io), service);
    // hyper must not close the connection itself: a reset has no effect after an orderly end.
    let ended = poll_fn(|cx| connection.poll_without_shutdown(cx)).await;
    let stream = connection.into_parts().io.into_inner().into_stream();
    match ended {
        // With a linger time of zero, closing the socket sends a reset instead of an orderly end.
        Err(error) if error.is_user() => drop(stream.set_zero_linger()),
        _ => farewell(stream).await,
    }
}

/// Closes the connection and waits a moment for the client. Closing with unread bytes would reset the connection and
/// could lose the answer.
async fn farewell(mut stream: TcpStream) {
    if stream.shutdown().await.is_ok() {
        let drain = async { while matches!(stream.read(&mut [0; 4096]).await, Ok(1..)) {} };
        let _ = tokio::time::timeout(FAREWELL, drain).await;
    }
}

async fn respond(
    request: HttpRequest<Incoming>,
    recorded: Recorded,
    state: Arc<State>,
) -> Result<Response<Body>, Reset> {
    let chunked = request.headers().contains_key(TRANSFER_ENCODING);
    let head = recorded.take_head();
    let request = match read(request, head).await {
        Ok(request) => request,
        Err(refused) => return Ok(last(answer::response(&refused))),
    };
    recorded.skip(request.body.len());
    let answered = if request.target.starts_with("/_") {
        control::answer(&request, &state)
    } else {
        answer::answer(&request, &state).await?
    };
    // The length of a chunked body on the network is unknown, so the next request cannot be told from it. The
    // connection ends here.
    Ok(if chunked { last(answered) } else { answered })
}

/// Makes an answer the last one on its connection.
fn last(mut response: Response<Body>) -> Response<Body> {
    response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    response
}

/// Reads the whole request, or returns the answer that refuses it.
async fn read(request: HttpRequest<Incoming>, head: Bytes) -> Result<Request, Answer> {
    let refuse = |status, text| Err(Answer::text(status, text));
    // hyper accepts two statements about one length where it can make sense of them. Requests are smuggled this way, so
    // the sandbox refuses them.
    let says_length =
        |name: &[u8]| [CONTENT_LENGTH, TRANSFER_ENCODING].iter().any(|n| name.eq_ignore_ascii_case(n.as_ref()));
    if header_lines(&head).filter(|(name, _)| says_length(name)).count() > 1 {
        return refuse(400, "more than one Content-Length or Transfer-Encoding\n");
    }
    let (parts, body) = request.into_parts();
    if usize::try_from(body.size_hint().lower()).is_ok_and(|length| length > MAX_BODY) {
        return refuse(413, "body too large\n");
    }
    let body = match Limited::new(body, MAX_BODY).collect().await {
        Ok(body) => Bytes::copy_from_slice(&body.to_bytes()),
        Err(error) if error.is::<LengthLimitError>() => return refuse(413, "body too large\n"),
        Err(_) => return refuse(400, "unreadable body\n"),
    };
    Ok(Request { method: parts.method.to_string(), target: parts.uri.to_string(), head, body })
}
