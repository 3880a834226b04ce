//! What can be watched of a program by HTTP: a status page, metrics, and health.
//!
//! Whoever has the token sees all, and without it nothing but whether the program is well; the page
//! itself holds no number. So nothing hangs on where a request comes from or which host it names: a
//! page elsewhere whose name is turned to this address (DNS rebinding) has no token, for a browser
//! keeps it for this page's own origin, and it is sent in a header that no form or link can set.

mod token;

use std::collections::VecDeque;
use std::convert::Infallible;
use std::future::pending;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::{Context, Result};
use aws_lc_rs::digest::{SHA256, digest};
use base64::prelude::{BASE64_STANDARD, Engine};
use bytes::Bytes;
use http::header::{self, HeaderName, HeaderValue};
use http::{Method, Request, Response, StatusCode};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use socket2::{Domain, Socket, Type};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};

use crate::config::{Serves, WebConfig};
use crate::status::{Format, Observed};

pub use token::Token;

/// Most connections at a time; for one more the oldest has to go.
const MAX_CONNECTIONS: usize = 64;

/// Longest that a request's head may take, also the next one's on the same connection.
const HEAD: Duration = Duration::from_secs(5);

/// Most bytes of a request's head.
const MAX_HEAD: usize = 16 * 1024;

/// Longest that a connection lasts, and then longest for the answer under way.
const LIFETIME: Duration = Duration::from_secs(60);
const LAST_ANSWER: Duration = Duration::from_secs(5);

/// Time until the next try when no connection can be accepted, as for want of descriptors.
const PAUSE: Duration = Duration::from_millis(200);

/// The status page, which fetches all that it shows.
const PAGE: &str = include_str!("web/page.html");

type Answer = Response<Full<Bytes>>;

/// The listeners for HTTP.
#[derive(Debug, Default)]
pub struct Web {
    listeners: Vec<(TcpListener, Serves)>,
    token: Option<Token>,
}

impl Web {
    /// Binds what is to listen; must be called within a runtime. A process that takes another one's
    /// place listens beside it until that is gone.
    pub fn bind(config: &WebConfig, succeeds: bool) -> Result<Self> {
        let token = match &config.token {
            None => None,
            Some((Some(token), _)) => Some(token.clone()),
            Some((None, path)) => {
                let token = Token::load_or_make(path);
                Some(token.with_context(|| format!("--metrics: token {}", path.display()))?)
            }
        };
        let mut listeners = Vec::new();
        for (addr, serves) in &config.listeners {
            let flag = serves.flag;
            let listener = listen(*addr, succeeds);
            let listener =
                listener.with_context(|| format!("{flag} {addr}: cannot listen there"))?;
            let addr = listener.local_addr()?;
            if serves.status {
                let file = config.token.as_ref().map(|(_, path)| path);
                let file = file.map(PathBuf::as_path).unwrap_or("".as_ref()).display();
                info!("status page at http://{addr}/ for those with the token in {file}");
            }
            if serves.health {
                info!("health at http://{addr}/healthz and /readyz");
            }
            listeners.push((listener, *serves));
        }
        Ok(Self { listeners, token })
    }

    /// Answers all who ask, until `leave` is cancelled: who comes then finds another process here, and who
    /// is there already gets one more answer at most. Does not return. Cancel-safe: connections are closed.
    pub async fn serve(self, source: Observed, leave: CancellationToken) {
        let policy = HeaderValue::try_from(policy()).unwrap_or(HeaderValue::from_static(""));
        let mut accepting = JoinSet::new();
        // One for the page and one for health, if they are apart.
        for (listener, serves) in self.listeners {
            let site = Site {
                source: source.clone(),
                token: self.token.clone(),
                serves,
                policy: policy.clone(),
                leave: leave.clone(),
            };
            accepting.spawn(accept_all(listener, Arc::new(site)));
        }
        while accepting.join_next().await.is_some() {}
        pending().await
    }
}

fn listen(addr: SocketAddr, beside_another: bool) -> std::io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(addr), Type::STREAM, None)?;
    #[cfg(unix)]
    socket.set_reuse_address(true)?;
    #[cfg(unix)]
    socket.set_reuse_port(beside_another)?;
    socket.bind(&addr.into())?;
    // Only now, so that nobody else's port is shared by mistake, and a successor may share this one.
    #[cfg(unix)]
    socket.set_reuse_port(true)?;
    socket.listen(MAX_CONNECTIONS as i32)?;
    socket.set_nonblocking(true)?;
    TcpListener::from_std(socket.into())
}

/// Serves all who connect, each in a task, of which there are only so many.
async fn accept_all(listener: TcpListener, site: Arc<Site>) {
    let mut serving = JoinSet::new();
    let mut open: VecDeque<AbortHandle> = VecDeque::new();
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            Some(_) = serving.join_next() => continue,
            () = site.leave.cancelled() => break,
        };
        let socket = match accepted {
            Ok((socket, _)) => socket,
            Err(e) => {
                warn!("{}: no connection accepted: {e}", site.serves.flag);
                sleep(PAUSE).await;
                continue;
            }
        };
        open.retain(|connection| !connection.is_finished());
        if open.len() >= MAX_CONNECTIONS
            && let Some(oldest) = open.pop_front()
        {
            oldest.abort();
        }
        open.push_back(serving.spawn(serve_one(socket, site.clone())));
    }
    for socket in queued(listener) {
        serving.spawn(serve_one(socket, site.clone()));
    }
    while serving.join_next().await.is_some() {}
}

/// Closes a listener, and returns those who have connected and would be cut off by that.
fn queued(listener: TcpListener) -> Vec<TcpStream> {
    let Ok(listener) = listener.into_std() else {
        return Vec::new();
    };
    let socket = |socket: std::net::TcpStream| {
        socket.set_nonblocking(true)?;
        TcpStream::from_std(socket)
    };
    let accepted = std::iter::from_fn(|| listener.accept().ok());
    let accepted = accepted.take(MAX_CONNECTIONS);
    accepted.filter_map(|(it, _)| socket(it).ok()).collect()
}

/// Serves one connection, which does not last for ever whatever its peer does.
async fn serve_one(socket: TcpStream, site: Arc<Site>) {
    let answered = AtomicBool::new(false);
    let service = service_fn(|request| {
        let mut answer = site.answer(&request);
        answered.store(true, Ordering::Relaxed);
        if site.leave.is_cancelled() {
            let close = HeaderValue::from_static("close");
            answer.headers_mut().insert(header::CONNECTION, close);
        }
        async move { Ok::<_, Infallible>(answer) }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD)
        .max_buf_size(MAX_HEAD)
        .serve_connection(TokioIo::new(socket), service);
    let mut connection = pin!(connection);
    let lasts = timeout(LIFETIME, site.leave.cancelled());
    let served = tokio::select! {
        served = connection.as_mut() => served,
        _ = lasts => {
            // One that has asked for nothing yet would be closed without an answer.
            if answered.load(Ordering::Relaxed) {
                connection.as_mut().graceful_shutdown();
            }
            match timeout(LAST_ANSWER, connection).await {
                Ok(served) => served,
                Err(_) => return,
            }
        }
    };
    if let Err(e) = served {
        debug!("status page: {e}");
    }
}

/// What is served at one address.
struct Site {
    source: Observed,
    token: Option<Token>,
    serves: Serves,
    /// The page's Content-Security-Policy.
    policy: HeaderValue,
    /// Tells that another process answers in place of this one.
    leave: CancellationToken,
}

impl Site {
    fn answer(&self, request: &Request<Incoming>) -> Answer {
        if request.method() != Method::GET && request.method() != Method::HEAD {
            let mut answer = plain(
                StatusCode::METHOD_NOT_ALLOWED,
                "only GET is understood here",
            );
            let allowed = HeaderValue::from_static("GET, HEAD");
            answer.headers_mut().insert(header::ALLOW, allowed);
            return answer;
        }
        let Serves { status, health, .. } = self.serves;
        match request.uri().path() {
            "/healthz" if health => plain(StatusCode::OK, "ok"),
            "/readyz" if health => match self.source.ready() {
                Ok(()) => plain(StatusCode::OK, "ok"),
                Err(why) => plain(StatusCode::SERVICE_UNAVAILABLE, &why),
            },
            "/" if status => self.page(),
            "/metrics" if status => self.for_the_known(request, |site| site.metrics(request)),
            "/status.json" if status => self.for_the_known(request, Self::status),
            _ => plain(StatusCode::NOT_FOUND, "there is nothing here"),
        }
    }

    /// Answers those who show the token, as RFC 6750 has it, and nobody else.
    fn for_the_known(
        &self,
        request: &Request<Incoming>,
        answer: impl FnOnce(&Self) -> Answer,
    ) -> Answer {
        let shown = request.headers().get(header::AUTHORIZATION);
        let shown = shown.and_then(|value| value.to_str().ok()?.split_once(' '));
        let known = shown.is_some_and(|(scheme, shown)| {
            let token = self.token.as_ref();
            scheme.eq_ignore_ascii_case("bearer") && token.is_some_and(|t| t.is(shown.trim()))
        });
        if known {
            return answer(self);
        }
        let mut answer = plain(
            StatusCode::UNAUTHORIZED,
            "show the token: Authorization: Bearer ...",
        );
        let challenge = HeaderValue::from_static("Bearer realm=\"rstun\"");
        answer
            .headers_mut()
            .insert(header::WWW_AUTHENTICATE, challenge);
        answer
    }

    fn page(&self) -> Answer {
        let mut answer = respond(StatusCode::OK, "text/html; charset=utf-8", PAGE);
        let policy = self.policy.clone();
        answer
            .headers_mut()
            .insert(header::CONTENT_SECURITY_POLICY, policy);
        answer
    }

    fn metrics(&self, request: &Request<Incoming>) -> Answer {
        let accepted = request.headers().get(header::ACCEPT);
        let accepted = accepted.and_then(|value| value.to_str().ok());
        let format = match accepted.is_some_and(|a| a.contains("application/openmetrics-text")) {
            true => Format::OpenMetrics,
            false => Format::Prometheus,
        };
        let text = self.source.snapshot().metrics(format);
        respond(StatusCode::OK, format.content_type(), text)
    }

    fn status(&self) -> Answer {
        match serde_json::to_string(&self.source.snapshot()) {
            Ok(json) => respond(StatusCode::OK, "application/json", json),
            Err(e) => plain(StatusCode::INTERNAL_SERVER_ERROR, &e.to_string()),
        }
    }
}

fn plain(status: StatusCode, text: &str) -> Answer {
    respond(status, "text/plain; charset=utf-8", format!("{text}\n"))
}

fn respond(status: StatusCode, kind: &'static str, body: impl Into<Bytes>) -> Answer {
    const HEADERS: [(HeaderName, &str); 5] = [
        (header::CACHE_CONTROL, "no-store"),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::X_FRAME_OPTIONS, "DENY"),
        (header::REFERRER_POLICY, "no-referrer"),
        (
            HeaderName::from_static("cross-origin-resource-policy"),
            "same-origin",
        ),
    ];
    let mut response = Response::new(Full::new(body.into()));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    for (name, value) in HEADERS {
        headers.insert(name, HeaderValue::from_static(value));
    }
    response
}

/// What the page may do: run its own script in its own style, and fetch from where it came.
fn policy() -> String {
    let hash = |tag: &str| {
        let (_, rest) = PAGE.split_once(&format!("<{tag}>")).unwrap_or_default();
        let (text, _) = rest.split_once(&format!("</{tag}>")).unwrap_or_default();
        BASE64_STANDARD.encode(digest(&SHA256, text.as_bytes()))
    };
    format!(
        "default-src 'none'; script-src 'sha256-{}'; style-src 'sha256-{}'; connect-src 'self'; \
         base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
        hash("script"),
        hash("style")
    )
}
