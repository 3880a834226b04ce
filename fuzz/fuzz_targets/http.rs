//! Heads of requests to an HTTP proxy and of answers to them, as hyper has read them.

#![no_main]

use http::{HeaderMap, HeaderName, HeaderValue, Request, Response};
use libfuzzer_sys::fuzz_target;
use rstun::proxy::http::{admit, answer, forward, tunnel};
use rstun::tunnel::{Credentials, Target};

fuzz_target!(|bytes: &[u8]| {
    if let Some(request) = request(bytes) {
        let (mut head, ()) = request.into_parts();
        let credentials = Credentials::from_digest([0; 32]);
        assert!(admit(&head.headers, Some(&credentials)).is_err());
        if let Ok(target) = tunnel(&head.uri) {
            again(Target::Tcp(target));
        }
        if let Ok(target) = forward(&mut head, None) {
            again(Target::Tcp(target));
            assert!(head.uri.scheme().is_none() && head.uri.authority().is_none());
            let one_hop = [
                "proxy-authorization",
                "te",
                "transfer-encoding",
                "keep-alive",
            ];
            assert!(one_hop.iter().all(|name| !head.headers.contains_key(*name)));
            let ours = ["connection", "host", "via", "forwarded"];
            assert!(ours.iter().all(|name| head.headers.contains_key(*name)));
        }
    } else if let Some(response) = response(bytes) {
        let (mut head, ()) = response.into_parts();
        if answer(&mut head, true).is_ok() {
            assert!(head.headers.contains_key("via"));
            assert!(!head.headers.contains_key("transfer-encoding"));
        }
    }
});

/// What is asked for can be written, and reads back the same.
fn again(target: Target) {
    assert_eq!(target.to_string().parse(), Ok(target));
}

fn request(bytes: &[u8]) -> Option<Request<()>> {
    let mut headers = [httparse::EMPTY_HEADER; 100];
    let mut parsed = httparse::Request::new(&mut headers);
    parsed.parse(bytes).ok()?;
    let request = Request::builder().method(parsed.method?).uri(parsed.path?);
    let mut request = request.body(()).ok()?;
    *request.headers_mut() = header_map(parsed.headers)?;
    Some(request)
}

fn response(bytes: &[u8]) -> Option<Response<()>> {
    let mut headers = [httparse::EMPTY_HEADER; 100];
    let mut parsed = httparse::Response::new(&mut headers);
    parsed.parse(bytes).ok()?;
    let response = Response::builder().status(parsed.code?);
    let mut response = response.body(()).ok()?;
    *response.headers_mut() = header_map(parsed.headers)?;
    Some(response)
}

fn header_map(headers: &[httparse::Header<'_>]) -> Option<HeaderMap> {
    let fields = headers.iter().map(|header| {
        let name = HeaderName::from_bytes(header.name.as_bytes()).ok()?;
        Some((name, HeaderValue::from_bytes(header.value).ok()?))
    });
    fields.collect()
}
