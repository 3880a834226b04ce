//! A visitor that speaks HTTP to a proxy (RFC 9110, section 3.7).
//!
//! A CONNECT becomes a flow, and so does each request with a whole URL: its target is told that there
//! will be no other. A visitor may go on to another target with its next request.

mod stream;

use std::convert::Infallible;
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use http::header::{CONNECTION, CONTENT_TYPE, HeaderValue, PROXY_AUTHENTICATE, UPGRADE};
use http::{Method, Request, Response, StatusCode};
use http_body_util::{Either, Full};
use hyper::body::Incoming;
use hyper::client::conn::http1 as client;
use hyper::server::conn::http1 as server;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::AsyncWriteExt;
use tokio::sync::oneshot;

pub(super) use self::stream::Stream;
use super::flow::{FlowError, Opener, Reached};
use super::local::Local;
use crate::listener::{Origin, Visitor};
use crate::proxy::http::{self as heads, Refusal};
use crate::relay::Broken;
use crate::socket::Socket;
use crate::transport::{ResetCode, StreamError};
use crate::tunnel::{Credentials, Target};

/// Longest that a visitor may take for the head of a request, and to begin with the next one.
const HEAD: Duration = Duration::from_secs(10);

/// Most bytes that are kept of what a visitor or a target has sent, which a head has to fit.
const MAX_BUFFERED: usize = 32 * 1024;

/// What is sent to a visitor: what its target answers, or our own words.
type Body = Either<Incoming, Full<Bytes>>;

/// A connection to a target that has stopped speaking HTTP.
type Upgraded = client::Parts<TokioIo<Stream>>;

/// Serves a visitor, through a session if there is one; what it asks for goes through the tunnel of
/// this number.
pub(super) async fn serve(
    opener: Option<&Opener>,
    number: u32,
    tunnel: &Local,
    auth: Option<&Credentials>,
    visitor: Visitor,
) -> Result<(), FlowError> {
    let Visitor { socket, from } = visitor;
    let proxy = Proxy {
        opener,
        number,
        tunnel,
        auth,
        from,
        next: Mutex::default(),
    };
    let service = service_fn(|request| {
        // Boxed, for hyper wants to move it.
        let answer: Pin<Box<dyn Future<Output = _> + Send>> = Box::pin(proxy.answer(request));
        answer
    });
    // A visitor that ends its direction before it has its answer is taken to have left, as by other
    // proxies too: nobody ends just one who wants to go on asking.
    let mut connection = server::Builder::new()
        .keep_alive(opener.is_some())
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD)
        .max_buf_size(MAX_BUFFERED)
        .serve_connection(TokioIo::new(socket), service);
    let draining = async {
        match opener {
            Some(opener) => opener.draining().await,
            None => std::future::pending().await,
        }
    };
    let ended = tokio::select! {
        ended = poll_fn(|cx| connection.poll_without_shutdown(cx)) => Some(ended),
        () = draining => None,
    };
    let ended = match ended {
        Some(ended) => ended,
        None => {
            Pin::new(&mut connection).graceful_shutdown();
            poll_fn(|cx| connection.poll_without_shutdown(cx)).await
        }
    };
    let server::Parts { io, read_buf, .. } = connection.into_parts();
    let socket = io.into_inner();
    if let Err(e) = ended {
        // What it sent was answered, or was nothing. Anything else breaks an answer off.
        if e.is_parse() || e.is_timeout() {
            socket.close().await;
        }
        return Err(FlowError::Visitor(e.to_string()));
    }
    proxy.go_on(socket, read_buf).await
}

/// What serves the requests of one visitor.
struct Proxy<'a> {
    opener: Option<&'a Opener>,
    number: u32,
    tunnel: &'a Local,
    auth: Option<&'a Credentials>,
    from: Origin,
    next: Mutex<Next>,
}

/// What becomes of a visitor's connection when no more HTTP is spoken on it.
#[derive(Default)]
enum Next {
    #[default]
    Close,
    /// What it says goes to a target that has been reached.
    Carry(Box<Reached>),
    /// The same, once the target's connection has stopped speaking HTTP too.
    Upgrade(oneshot::Receiver<Upgraded>),
}

/// What becomes of a target's connection when its answer is over.
enum Afterwards {
    Close,
    /// It is wanted by someone who waits here.
    HandOver(oneshot::Sender<Upgraded>),
}

impl Proxy<'_> {
    async fn answer(&self, request: Request<Incoming>) -> Result<Response<Body>, Infallible> {
        let answer = self.fulfil(request).await;
        Ok(answer.unwrap_or_else(|refusal| refuse(&refusal, self.opener.is_some())))
    }

    async fn fulfil(&self, request: Request<Incoming>) -> Result<Response<Body>, Refusal> {
        heads::admit(request.headers(), self.auth)?;
        if request.method() == Method::CONNECT {
            let reached = self
                .reach(Target::Tcp(heads::tunnel(request.uri())?))
                .await?;
            self.set_next(Next::Carry(Box::new(reached)));
            return Ok(Response::new(Either::Right(Full::default())));
        }
        let (mut head, body) = request.into_parts();
        let from = match self.from {
            Origin::Tcp(addr) => Some(addr.ip()),
            Origin::Unix | Origin::Stdio => None,
        };
        let target = heads::forward(&mut head, from)?;
        let upgrade = head.headers.contains_key(UPGRADE);
        let reached = self.reach(Target::Tcp(target)).await?;
        let (answer, afterwards) = self.ask(reached, Request::from_parts(head, body)).await?;
        let (mut head, body) = answer.into_parts();
        heads::answer(&mut head, upgrade)?;
        // It fails where the connection has failed already, which the body tells of.
        let _ = afterwards.send(match head.status {
            StatusCode::SWITCHING_PROTOCOLS => {
                let (to, upgraded) = oneshot::channel();
                self.set_next(Next::Upgrade(upgraded));
                Afterwards::HandOver(to)
            }
            _ => Afterwards::Close,
        });
        Ok(Response::from_parts(head, Either::Left(body)))
    }

    async fn reach(&self, target: Target) -> Result<Reached, Refusal> {
        let reached = match self.opener {
            Some(opener) => opener.reach(self.number, self.tunnel, target).await,
            None => Err(FlowError::NoSession),
        };
        reached.map_err(|e| explain(&e))
    }

    /// Sends a request, and returns the answer, with what wants to know how to go on after it.
    ///
    /// If it is not told, because the visitor has left, the flow is broken.
    async fn ask(
        &self,
        reached: Reached,
        request: Request<Incoming>,
    ) -> Result<(Response<Incoming>, oneshot::Sender<Afterwards>), Refusal> {
        let failed = |e: hyper::Error| {
            if e.is_user() {
                let text = "the request's body ended early, or is malformed";
                return Refusal::new(StatusCode::BAD_REQUEST, text);
            }
            let text = format!("the target's answer is not to be had: {e}");
            Refusal::new(StatusCode::BAD_GATEWAY, text)
        };
        let opener = self.opener.ok_or_else(|| explain(&FlowError::NoSession))?;
        let stream = reached.into_stream();
        let kept = stream.rx.kept().clone();
        let stream = TokioIo::new(stream);
        let (mut sender, connection) = client::Builder::new()
            .max_buf_size(MAX_BUFFERED)
            .handshake(stream)
            .await
            .map_err(failed)?;
        let (answered, afterwards) = oneshot::channel();
        opener.spawn(async move {
            // Where it fails, whoever waits for the answer is told.
            let ended = tokio::select! {
                ended = connection.without_shutdown() => ended.ok(),
                () = kept.cut() => None,
            };
            if let Some(parts) = ended {
                match afterwards.await {
                    Ok(Afterwards::Close) => parts.io.into_inner().close().await,
                    Ok(Afterwards::HandOver(to)) => drop(to.send(parts)),
                    Err(_) => {}
                }
            }
        });
        let answer = sender.send_request(request).await.map_err(failed)?;
        Ok((answer, answered))
    }

    fn set_next(&self, next: Next) {
        *self.next.lock().unwrap_or_else(PoisonError::into_inner) = next;
    }

    /// Carries a visitor that has stopped speaking HTTP, if it has a target; `early` is what it has
    /// said already.
    async fn go_on(self, mut socket: Socket, early: Bytes) -> Result<(), FlowError> {
        let next = self.next.into_inner();
        let mut reached = match next.unwrap_or_else(PoisonError::into_inner) {
            Next::Close => {
                socket.close().await;
                return Ok(());
            }
            Next::Carry(reached) => *reached,
            Next::Upgrade(upgraded) => {
                let Ok(upgraded) = upgraded.await else {
                    return Err(StreamError::Reset(ResetCode::Broken).into());
                };
                socket.write_all(&upgraded.read_buf).await?;
                Reached::from(upgraded.io.into_inner())
            }
        };
        reached.send(early).await?;
        reached.carry(socket).await
    }
}

/// The answer to a request that is not fulfilled.
fn refuse(refusal: &Refusal, keep_alive: bool) -> Response<Body> {
    let text = format!("rstun: {}\n", refusal.text);
    let mut response = Response::new(Either::Right(Full::from(text)));
    *response.status_mut() = refusal.status;
    let headers = response.headers_mut();
    let plain = HeaderValue::from_static("text/plain; charset=utf-8");
    headers.insert(CONTENT_TYPE, plain);
    if let Some(challenge) = refusal.challenge() {
        headers.insert(PROXY_AUTHENTICATE, challenge);
    }
    if !keep_alive {
        headers.insert(CONNECTION, HeaderValue::from_static("close"));
    }
    response
}

/// What HTTP says where a flow is not to be had.
fn explain(error: &FlowError) -> Refusal {
    let status = match error {
        FlowError::Broken(Broken::Remote(StreamError::Reset(code))) => match code {
            ResetCode::NotAllowed => StatusCode::FORBIDDEN,
            ResetCode::TimedOut => StatusCode::GATEWAY_TIMEOUT,
            ResetCode::Draining | ResetCode::Overloaded | ResetCode::TooMany => {
                StatusCode::SERVICE_UNAVAILABLE
            }
            ResetCode::Broken
            | ResetCode::Refused
            | ResetCode::Unreachable
            | ResetCode::NoSuchName
            | ResetCode::BadHeader => StatusCode::BAD_GATEWAY,
        },
        _ => StatusCode::SERVICE_UNAVAILABLE,
    };
    Refusal::new(status, error.to_string())
}
