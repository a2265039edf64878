//! One connection: handshake, requests, end.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use http_body_util::{BodyExt as _, Full, LengthLimitError, Limited};
use hyper::body::{Body as _, Bytes, Incoming};
use hyper::header::{ALLOW, CONNECTION, CONTENT_TYPE, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::time::timeout;

use super::Shared;
use super::pace::{Pace, Paced};
use super::rate::{Address, Deposit};
use super::routes::{self, Route};
use crate::engine::{Answer, Refused, Reply};

/// The largest request header in bytes; ours have about 150.
const HEADER_BYTES: usize = 8192;

/// How long a request may take to finish when the service stops.
const GRACE: Duration = Duration::from_secs(5);

/// Serves one connection to its end, which comes within [`GRACE`] of the service's.
pub(super) async fn run(
    stream: TcpStream,
    address: Address,
    shared: Arc<Shared>,
    mut closed: watch::Receiver<()>,
) {
    // Small answers should not wait for acknowledgements of smaller ones.
    let _ = stream.set_nodelay(true);
    let handshake = timeout(shared.limits.handshake(), shared.acceptor.accept(stream));
    let stream = tokio::select! {
        accepted = handshake => match accepted {
            Ok(Ok(stream)) => stream,
            Ok(Err(error)) => return log::debug!("handshake: {error}"),
            Err(_) => return log::debug!("handshake: too slow"),
        },
        _ = closed.changed() => return,
    };
    let pace = Pace::new();
    let io = TokioIo::new(Paced::new(stream, pace.clone()));
    let service = service_fn(|request| {
        let (shared, pace) = (Arc::clone(&shared), pace.clone());
        async move {
            pace.begin_request();
            let response = respond(request, address, &shared).await;
            pace.end_request();
            Ok::<_, Infallible>(response)
        }
    });
    let mut builder = http1::Builder::new();
    builder.timer(TokioTimer::new()).header_read_timeout(None).max_buf_size(2 * HEADER_BYTES);
    builder.max_header_size(HEADER_BYTES).max_headers(32).half_close(false).pipeline_flush(false);
    let mut connection = std::pin::pin!(builder.serve_connection(io, service));
    tokio::select! {
        ended = connection.as_mut() => return log_end(ended),
        () = pace.overdue(&shared.limits) => return log::debug!("a connection was too slow or silent"),
        _ = closed.changed() => {}
    }
    connection.as_mut().graceful_shutdown();
    match timeout(GRACE, connection).await {
        Ok(ended) => log_end(ended),
        Err(_) => log::debug!("a connection was cut off"),
    }
}

fn log_end(ended: hyper::Result<()>) {
    if let Err(error) = ended {
        log::debug!("connection: {error}");
    }
}

async fn respond(request: Request<Incoming>, address: Address, shared: &Shared) -> Response<Full<Bytes>> {
    let (body_read, answer) = match routes::find(request.method(), request.uri().path()) {
        // Before the body is read, let alone decoded or verified.
        Ok(route) if route.is_paced() && !shared.rates.may(address) => (false, Err(too_many())),
        Ok(Route::Records) => match shared.rates.deposit(address) {
            Some(deposit) => answer(Route::Records, request, shared, Some(deposit)).await,
            None => (false, Err(too_many())),
        },
        Ok(route) => answer(route, request, shared, None).await,
        Err(refused) => (false, Err(refused)),
    };
    let mut response = response(answer);
    if !body_read {
        // What is left of the body would be read as the next request's header.
        response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    }
    response
}

/// The answer, and whether the body was read to its end. A deposit pays for what was done for nothing.
async fn answer(
    route: Route,
    request: Request<Incoming>,
    shared: &Shared,
    deposit: Option<Deposit>,
) -> (bool, Answer) {
    let limit = route.body_limit();
    let announced = request.body().size_hint();
    if announced.lower() > u64::try_from(limit).unwrap_or(u64::MAX) {
        return (false, Err(too_large(limit)));
    }
    let room = announced.upper().and_then(|upper| usize::try_from(upper).ok()).unwrap_or(limit).min(limit);
    let kib = u32::try_from(room.div_ceil(1024)).unwrap_or(u32::MAX);
    let read = async {
        // Held until the engine has answered: the decoded request is as large as the body.
        let permit = shared.bodies.acquire_many(kib).await;
        (permit, Limited::new(request.into_body(), limit).collect().await)
    };
    let (_permit, body) = match timeout(shared.limits.body(), read).await {
        Ok((permit, Ok(body))) => (permit, body.to_bytes()),
        Ok((_, Err(error))) if error.is::<LengthLimitError>() => return (false, Err(too_large(limit))),
        Ok((_, Err(_))) => return (false, Err(Refused::new(400, "request.body", "the body broke off"))),
        Err(_) => return (false, Err(Refused::new(408, "request.slow", "the body took too long"))),
    };
    match route.decode(&body) {
        Ok(request) => {
            let Reply { answer, wasted } = shared.engine.ask(request).await;
            if let Some(deposit) = deposit.filter(|_| wasted > 0) {
                deposit.spend(wasted);
            }
            (true, answer)
        }
        Err(refused) => (true, Err(refused)),
    }
}

fn too_many() -> Refused {
    Refused::new(429, "request.pace", "too many requests from this address; try again in a minute")
}

fn too_large(limit: usize) -> Refused {
    Refused::new(413, "request.too-large", format!("more than {limit} bytes"))
}

fn response(answer: Answer) -> Response<Full<Bytes>> {
    let (status, body) = match answer {
        Ok(body) => (StatusCode::OK, body),
        Err(refused) => {
            let status = StatusCode::from_u16(refused.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
            (status, assay_wire::cbor::to_vec(&refused.refusal))
        }
    };
    let mut response = Response::new(Full::new(Bytes::from(body)));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/cbor"));
    if status == StatusCode::METHOD_NOT_ALLOWED {
        headers.insert(ALLOW, HeaderValue::from_static("GET, POST"));
    }
    response
}
