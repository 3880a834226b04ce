//! The way to a server through an HTTP proxy, by CONNECT (RFC 9110, section 9.3.6).

use std::fmt;
use std::pin::pin;

use http::header::{HOST, HeaderValue, PROXY_AUTHORIZATION};
use http::{Request, StatusCode, Uri};
use http_body_util::Empty;
use hyper::client::conn::http1;
use hyper_util::client::proxy::matcher::{Intercept, Matcher};
use hyper_util::rt::TokioIo;
use thiserror::Error;
use tokio::net::TcpStream;

use crate::transport::Lost;

/// The port of a proxy's URL that has none.
const DEFAULT_PORT: u16 = 80;

/// Most bytes of the head of its answer, and of what is read at once: one that answers again and again
/// that the answer is to follow does not hold up the thread for long.
const MAX_HEAD: usize = 16 * 1024;

/// A proxy, and what it is shown.
pub struct Proxy {
    host: String,
    port: u16,
    authorization: Option<HeaderValue>,
}

/// Why a text stands for no proxy. It does not say the text, which may hold a password.
#[derive(Clone, Copy, Debug, Error)]
#[error("write http://[USER:PASSWORD@]HOST:PORT")]
pub struct NoProxy;

impl Proxy {
    /// The proxy that a URL stands for.
    pub fn new(url: &str) -> Result<Self, NoProxy> {
        let matcher = Matcher::builder().https(url).build();
        let proxy = matcher.intercept(&Uri::from_static("https://server"));
        proxy.ok_or(NoProxy).and_then(Self::from_intercept)
    }

    /// The proxy that the environment wants for this host, whose variables these are.
    pub fn from_environment(
        https_proxy: &str,
        no_proxy: &str,
        host: &str,
    ) -> Result<Option<Self>, NoProxy> {
        Self::new(https_proxy)?;
        let matcher = Matcher::builder().https(https_proxy).no(no_proxy).build();
        let server = format!("https://{host}").parse().map_err(|_| NoProxy)?;
        let proxy = matcher.intercept(&server);
        proxy.map(Self::from_intercept).transpose()
    }

    fn from_intercept(proxy: Intercept) -> Result<Self, NoProxy> {
        let uri = proxy.uri();
        let host = uri.host().ok_or(NoProxy)?;
        if uri.scheme_str() != Some("http") {
            return Err(NoProxy);
        }
        let authorization = proxy.basic_auth().cloned().map(|mut value| {
            value.set_sensitive(true);
            value
        });
        Ok(Self {
            host: host.trim_matches(['[', ']']).to_owned(),
            port: uri.port_u16().unwrap_or(DEFAULT_PORT),
            authorization,
        })
    }

    /// Connects to the proxy, and through it to a server: `HOST:PORT`. Cancel-safe: it is given up.
    pub(super) async fn dial(&self, server: &str) -> Result<TcpStream, Lost> {
        self.connect(server)
            .await
            .map_err(|why| Lost::Failed(format!("proxy {self}: {why}")))
    }

    async fn connect(&self, server: &str) -> Result<TcpStream, String> {
        let stream = TcpStream::connect((self.host.as_str(), self.port));
        let stream = stream.await.map_err(|e| e.to_string())?;
        let mut http = http1::Builder::new();
        http.max_buf_size(MAX_HEAD);
        let shaken = http.handshake(TokioIo::new(stream)).await;
        let (mut requests, connection) = shaken.map_err(|e| e.to_string())?;
        let mut request = Request::connect(server).header(HOST, server);
        if let Some(authorization) = &self.authorization {
            request = request.header(PROXY_AUTHORIZATION, authorization);
        }
        let request = request.body(Empty::<&[u8]>::new());
        let request = request.map_err(|e| e.to_string())?;
        let mut connection = pin!(connection.with_upgrades());
        let opened = async {
            let response = requests.send_request(request).await;
            let response = response.map_err(|e| e.to_string())?;
            match response.status() {
                status if status.is_success() => {}
                StatusCode::PROXY_AUTHENTICATION_REQUIRED => {
                    return Err("it wants another user and password: see --proxy".into());
                }
                status => return Err(format!("it does not connect to {server}: {status}")),
            }
            let upgraded = hyper::upgrade::on(response).await;
            upgraded.map_err(|e| e.to_string())
        };
        let mut opened = pin!(opened);
        let upgraded = tokio::select! {
            upgraded = &mut opened => upgraded?,
            _ = &mut connection => opened.await?,
        };
        let parts = upgraded
            .downcast::<TokioIo<TcpStream>>()
            .map_err(|_| "it is no TCP connection".to_owned())?;
        match parts.read_buf.is_empty() {
            true => Ok(parts.io.into_inner()),
            false => Err("it spoke before the server was spoken to".into()),
        }
    }
}

/// Without the password.
impl fmt::Display for Proxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.host, self.port)
    }
}

impl fmt::Debug for Proxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Proxy({self})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_stands_for_a_proxy_and_its_password_is_not_shown() {
        let proxy = Proxy::new("http://user:p%40ss@proxy.example:3128").unwrap();
        assert_eq!(proxy.to_string(), "proxy.example:3128");
        let shown = proxy.authorization.as_ref().unwrap();
        assert_eq!(shown, "Basic dXNlcjpwQHNz");
        assert!(!format!("{proxy:?} {shown:?}").contains("Basic"));
        assert_eq!(Proxy::new("http://[::1]:8080/").unwrap().host, "::1");
        assert_eq!(Proxy::new("http://proxy").unwrap().port, 80);
    }

    #[test]
    fn what_is_no_http_proxy_is_told_so() {
        for url in ["", "https://proxy:1", "socks5://proxy:1", "http://"] {
            assert!(Proxy::new(url).is_err(), "{url}");
        }
    }

    #[test]
    fn the_environment_may_leave_hosts_out() {
        let proxied = |host, no| Proxy::from_environment("http://proxy:1", no, host).unwrap();
        assert!(proxied("server.example", "").is_some());
        for (host, no) in [
            ("server.example", "*"),
            ("server.example", "other,.example"),
            ("192.0.2.7", "192.0.2.0/24"),
            ("[::1]", "::1"),
        ] {
            assert!(proxied(host, no).is_none(), "{host} {no}");
        }
    }
}
