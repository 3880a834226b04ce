//! HTTP as it is spoken to a proxy: which target a request is for, and what of its head goes on.
//!
//! What one hop says to the next is not for the one after (RFC 9110, section 7.6): it is removed,
//! and what says who we are and for whom we ask is added.

use std::net::IpAddr;

use ::http::header::{
    CONNECTION, CONTENT_LENGTH, FORWARDED, HOST, HeaderMap, HeaderName, HeaderValue,
    PROXY_AUTHENTICATE, PROXY_AUTHORIZATION, TE, TRANSFER_ENCODING, UPGRADE, VIA,
};
use ::http::uri::{Authority, PathAndQuery, Scheme, Uri};
use ::http::{Method, StatusCode, Version, request, response};
use base64::prelude::{BASE64_STANDARD, Engine};
use zeroize::Zeroizing;

use crate::tunnel::{Credentials, Host, HostPort};

/// Where `http:` goes if its URL has no port.
const DEFAULT_PORT: u16 = 80;

/// Headers for one hop that are not named in `Connection` by all who send them.
const HOP_BY_HOP: [HeaderName; 7] = [
    HeaderName::from_static("keep-alive"),
    HeaderName::from_static("proxy-connection"),
    PROXY_AUTHENTICATE,
    PROXY_AUTHORIZATION,
    TE,
    TRANSFER_ENCODING,
    UPGRADE,
];

/// Why a request is not fulfilled: the status of the answer, and a line for people.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// The status.
    pub status: StatusCode,
    /// What to say.
    pub text: String,
}

impl Refusal {
    /// With a text that is fit to be sent.
    pub fn new(status: StatusCode, text: impl Into<String>) -> Self {
        let text = text.into();
        Self { status, text }
    }

    /// What the answer has to ask of the visitor, if anything.
    pub fn challenge(&self) -> Option<HeaderValue> {
        let asks = self.status == StatusCode::PROXY_AUTHENTICATION_REQUIRED;
        asks.then(|| HeaderValue::from_static("Basic realm=\"rstun\", charset=\"UTF-8\""))
    }
}

/// Asks for the user and the password (RFC 7617) where some are wanted.
pub fn admit(headers: &HeaderMap, wanted: Option<&Credentials>) -> Result<(), Refusal> {
    let Some(wanted) = wanted else {
        return Ok(());
    };
    let given = headers.get(PROXY_AUTHORIZATION).and_then(basic);
    let admitted = given.is_some_and(|given| {
        let colon = given.iter().position(|b| *b == b':');
        colon.is_some_and(|at| wanted.admit(&given[..at], &given[at + 1..]))
    });
    let status = StatusCode::PROXY_AUTHENTICATION_REQUIRED;
    let refusal = || Refusal::new(status, "this proxy asks for a user and a password");
    admitted.then_some(()).ok_or_else(refusal)
}

/// `user:password`, if that is what a header holds.
fn basic(value: &HeaderValue) -> Option<Zeroizing<Vec<u8>>> {
    let (scheme, encoded) = value.to_str().ok()?.split_once(' ')?;
    if !scheme.eq_ignore_ascii_case("basic") {
        return None;
    }
    BASE64_STANDARD
        .decode(encoded.trim())
        .ok()
        .map(Zeroizing::new)
}

/// The target of a CONNECT (RFC 9110, section 9.3.6).
pub fn tunnel(uri: &Uri) -> Result<HostPort, Refusal> {
    let bad = || Refusal::new(StatusCode::BAD_REQUEST, "CONNECT takes HOST:PORT");
    let authority = uri.authority().ok_or_else(bad)?;
    let port = authority.port_u16().ok_or_else(bad)?;
    target(authority, port).ok_or_else(bad)
}

/// Makes of a request to the proxy the one to its target, and tells what that is.
pub fn forward(head: &mut request::Parts, from: Option<IpAddr>) -> Result<HostPort, Refusal> {
    let bad = |text: &str| Err(Refusal::new(StatusCode::BAD_REQUEST, text));
    let Some(authority) = head.uri.authority().cloned() else {
        return bad("this is a proxy: it takes whole URLs, http://HOST/PATH, and CONNECT");
    };
    if head.uri.scheme() != Some(&Scheme::HTTP) {
        return bad("this proxy takes URLs of http: alone, and CONNECT for everything else");
    }
    let port = authority.port_u16().unwrap_or(DEFAULT_PORT);
    let Some(target) = target(&authority, port) else {
        return bad("the URL's host is none");
    };
    if head.method == Method::TRACE {
        // It would send whoever asks what others have put into the request.
        let text = "this proxy does not take TRACE";
        return Err(Refusal::new(StatusCode::METHOD_NOT_ALLOWED, text));
    }
    if !is_plain(&head.headers) {
        let text = "this proxy knows no other transfer coding than chunked";
        return Err(Refusal::new(StatusCode::NOT_IMPLEMENTED, text));
    }
    let path = head.uri.path_and_query().cloned();
    let path = path.unwrap_or(PathAndQuery::from_static("/"));
    head.uri = Uri::from(path);

    let upgrade = wanted_upgrade(&head.headers);
    remove_hop_by_hop(&mut head.headers);
    // One request, one flow: its target is told so.
    let connection = match &upgrade {
        Some(_) => HeaderValue::from_static("upgrade"),
        None => HeaderValue::from_static("close"),
    };
    head.headers.insert(CONNECTION, connection);
    if let Some(upgrade) = upgrade {
        head.headers.insert(UPGRADE, upgrade);
    }
    let host = without_user(&authority);
    if let Ok(value) = HeaderValue::from_str(host) {
        head.headers.insert(HOST, value);
    }
    if let Ok(value) = HeaderValue::from_str(&forwarded(from, host)) {
        head.headers.append(FORWARDED, value);
    }
    head.headers.append(VIA, via(head.version));
    head.version = Version::HTTP_11;
    Ok(target)
}

/// Makes of a target's answer the one to the visitor, who may have wanted to go on in another
/// protocol.
pub fn answer(head: &mut response::Parts, upgrade: bool) -> Result<(), Refusal> {
    let bad = |text: &str| Err(Refusal::new(StatusCode::BAD_GATEWAY, text));
    if !is_plain(&head.headers) {
        return bad("the target answered in a transfer coding other than chunked");
    }
    let switches = head.status == StatusCode::SWITCHING_PROTOCOLS;
    if switches && !upgrade {
        return bad("the target went on in a protocol that nobody had asked for");
    }
    let upgrade = wanted_upgrade(&head.headers).filter(|_| switches);
    remove_hop_by_hop(&mut head.headers);
    if let Some(upgrade) = upgrade {
        head.headers
            .insert(CONNECTION, HeaderValue::from_static("upgrade"));
        head.headers.insert(UPGRADE, upgrade);
    }
    head.headers.append(VIA, via(head.version));
    head.version = Version::HTTP_11;
    Ok(())
}

fn target(authority: &Authority, port: u16) -> Option<HostPort> {
    let host = authority.host();
    let address = host.strip_prefix('[').and_then(|h| h.strip_suffix(']'));
    let host: Host = address.unwrap_or(host).parse().ok()?;
    (port != 0).then_some(HostPort { host, port })
}

/// `HOST` or `HOST:PORT`. A user and a password before it are for nobody further on.
fn without_user(authority: &Authority) -> &str {
    let whole = authority.as_str();
    whole.rsplit_once('@').map_or(whole, |(_, host)| host)
}

/// Whether a body comes as it is, or in chunks.
fn is_plain(headers: &HeaderMap) -> bool {
    let mut codings = headers.get_all(TRANSFER_ENCODING).iter();
    codings.all(|coding| coding.as_bytes().eq_ignore_ascii_case(b"chunked"))
}

/// The tokens of all `Connection` headers.
fn connection_options(headers: &HeaderMap) -> impl Iterator<Item = &str> {
    let values = headers.get_all(CONNECTION).iter();
    let values = values.filter_map(|value| value.to_str().ok());
    values.flat_map(|value| value.split(',')).map(str::trim)
}

/// The protocol that a head wants the connection to go on with.
///
/// HTTP/2 begins with settings that are for one hop and do not go on, so that it cannot either.
fn wanted_upgrade(headers: &HeaderMap) -> Option<HeaderValue> {
    let wants = connection_options(headers).any(|option| option.eq_ignore_ascii_case("upgrade"));
    let protocol = headers.get(UPGRADE).filter(|_| wants)?;
    (!protocol.as_bytes().eq_ignore_ascii_case(b"h2c")).then(|| protocol.clone())
}

fn remove_hop_by_hop(headers: &mut HeaderMap) {
    // Where a body ends is not for the visitor to hide from us.
    let listed: Vec<HeaderName> = connection_options(headers)
        .filter_map(|option| option.parse().ok())
        .filter(|name| *name != CONTENT_LENGTH)
        .collect();
    for name in HOP_BY_HOP.iter().chain(&listed).chain([&CONNECTION]) {
        headers.remove(name);
    }
}

/// For whom we ask (RFC 7239).
fn forwarded(from: Option<IpAddr>, host: &str) -> String {
    let node = match from {
        Some(IpAddr::V4(ip)) => ip.to_string(),
        Some(IpAddr::V6(ip)) => format!("\"[{ip}]\""),
        None => "unknown".to_owned(),
    };
    let token = |b: u8| b.is_ascii_alphanumeric() || b"-._".contains(&b);
    let quote = if host.bytes().all(token) { "" } else { "\"" };
    format!("for={node};host={quote}{host}{quote};proto=http")
}

/// That we have passed a message on, in the version that it came in.
fn via(received: Version) -> HeaderValue {
    match received {
        Version::HTTP_10 => HeaderValue::from_static("1.0 rstun"),
        _ => HeaderValue::from_static("1.1 rstun"),
    }
}

#[cfg(test)]
mod tests;
