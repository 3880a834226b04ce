use ::http::{Request, Response};

use super::*;

fn request(method: &str, uri: &str, headers: &[(&str, &str)]) -> request::Parts {
    let request = Request::builder().method(method).uri(uri);
    let request = headers.iter().fold(request, |request, (name, value)| {
        request.header(*name, *value)
    });
    request.body(()).unwrap().into_parts().0
}

fn lines(headers: &HeaderMap) -> Vec<String> {
    let line =
        |(name, value): (&HeaderName, &HeaderValue)| format!("{name}: {}", value.to_str().unwrap());
    headers.iter().map(line).collect()
}

fn refused(head: &mut request::Parts) -> u16 {
    forward(head, None).unwrap_err().status.as_u16()
}

#[test]
fn a_request_goes_on_to_its_target() {
    let mut head = request(
        "GET",
        "http://me:secret@Example.org:8080/a?b",
        &[
            ("host", "elsewhere"),
            ("accept", "*/*"),
            ("connection", "close, X-Own"),
            ("x-own", "1"),
            ("te", "trailers"),
            ("proxy-connection", "keep-alive"),
            ("proxy-authorization", "Basic eDp5"),
            ("via", "1.0 before"),
        ],
    );
    let from = "2001:db8::1".parse().ok();
    let target = forward(&mut head, from).unwrap();
    assert_eq!(target.to_string(), "example.org:8080");
    assert_eq!(head.uri, "/a?b");
    let mut found = lines(&head.headers);
    found.sort();
    let expected = [
        "accept: */*",
        "connection: close",
        "forwarded: for=\"[2001:db8::1]\";host=\"Example.org:8080\";proto=http",
        "host: Example.org:8080",
        "via: 1.0 before",
        "via: 1.1 rstun",
    ];
    assert_eq!(found, expected);
}

#[test]
fn what_is_left_out_of_a_url_is_known() {
    let mut head = request("GET", "http://192.0.2.1", &[]);
    let target = forward(&mut head, "192.0.2.9".parse().ok()).unwrap();
    assert_eq!(target.to_string(), "192.0.2.1:80");
    assert_eq!(head.uri, "/");
    assert_eq!(
        head.headers[FORWARDED],
        "for=192.0.2.9;host=192.0.2.1;proto=http"
    );
    let mut head = request("GET", "http://[::1]:81/", &[]);
    assert_eq!(forward(&mut head, None).unwrap().to_string(), "[::1]:81");
    assert_eq!(
        head.headers[FORWARDED],
        "for=unknown;host=\"[::1]:81\";proto=http"
    );
}

#[test]
fn requests_that_are_not_for_a_proxy_are_refused() {
    for (method, uri, status) in [
        ("GET", "/", 400),
        ("OPTIONS", "*", 400),
        ("GET", "https://example.org/", 400),
        ("GET", "ftp://example.org/", 400),
        ("GET", "http://example.org:0/", 400),
        ("GET", "http://1.2.3/", 400),
        ("TRACE", "http://example.org/", 405),
    ] {
        assert_eq!(
            refused(&mut request(method, uri, &[])),
            status,
            "{method} {uri}"
        );
    }
    let mut coded = request(
        "POST",
        "http://a/",
        &[("transfer-encoding", "gzip, chunked")],
    );
    assert_eq!(refused(&mut coded), 501);
}

#[test]
fn an_upgrade_goes_on_except_to_http_2() {
    let upgrade = |protocol| {
        let headers = [("connection", "keep-alive, Upgrade"), ("upgrade", protocol)];
        let mut head = request("GET", "http://a/", &headers);
        forward(&mut head, None).unwrap();
        (
            head.headers[CONNECTION].clone(),
            head.headers.get(UPGRADE).cloned(),
        )
    };
    let (connection, protocol) = upgrade("websocket");
    assert_eq!(
        (connection, protocol.unwrap()),
        (
            HeaderValue::from_static("upgrade"),
            HeaderValue::from_static("websocket"),
        )
    );
    assert_eq!(upgrade("h2c"), (HeaderValue::from_static("close"), None));
}

#[test]
fn where_a_body_ends_cannot_be_hidden() {
    let headers = [
        ("connection", "content-length, host"),
        ("content-length", "5"),
    ];
    let mut head = request("POST", "http://a/", &headers);
    forward(&mut head, None).unwrap();
    assert_eq!(head.headers[CONTENT_LENGTH], "5");
    assert_eq!(head.headers[HOST], "a");
}

#[test]
fn an_answer_says_that_it_has_been_passed_on() {
    let answer_with = |asked: bool, status: u16, headers: &[(&str, &str)]| {
        let response = Response::builder().status(status);
        let response = headers
            .iter()
            .fold(response, |r, (name, value)| r.header(*name, *value));
        let mut head = response.body(()).unwrap().into_parts().0;
        answer(&mut head, asked)
            .map(|()| lines(&head.headers))
            .map_err(|e| e.status.as_u16())
    };
    let headers = [
        ("connection", "close"),
        ("keep-alive", "timeout=5"),
        ("transfer-encoding", "chunked"),
        ("proxy-authenticate", "Basic realm=\"phishing\""),
        ("etag", "1"),
    ];
    assert_eq!(
        answer_with(false, 200, &headers).unwrap(),
        ["etag: 1", "via: 1.1 rstun"]
    );
    let switched = [("connection", "upgrade"), ("upgrade", "websocket")];
    let found = answer_with(true, 101, &switched).unwrap();
    assert_eq!(
        found,
        [
            "connection: upgrade",
            "upgrade: websocket",
            "via: 1.1 rstun"
        ]
    );
    assert_eq!(answer_with(false, 101, &switched), Err(502));
    assert_eq!(
        answer_with(false, 200, &[("transfer-encoding", "gzip")]),
        Err(502)
    );
}

#[test]
fn a_tunnel_needs_a_port() {
    let target = |authority: &str| tunnel(&authority.parse().unwrap()).map(|t| t.to_string());
    assert_eq!(target("example.org:443").unwrap(), "example.org:443");
    assert_eq!(target("[::1]:443").unwrap(), "[::1]:443");
    for none in ["example.org", "example.org:0", "/", "*"] {
        assert_eq!(target(none).unwrap_err().status.as_u16(), 400, "{none}");
    }
}

#[test]
fn a_password_is_asked_for() {
    let wanted = "http://alice:s:ecret@1";
    let crate::tunnel::Listen::Http { auth, .. } =
        crate::tunnel::Tunnel::dynamic(wanted).unwrap().listen
    else {
        panic!("no HTTP proxy");
    };
    let status = |value: &str| {
        let head = request("GET", "http://a/", &[("proxy-authorization", value)]);
        admit(&head.headers, auth.as_ref()).map_err(|e| e.status.as_u16())
    };
    let encoded = BASE64_STANDARD.encode("alice:s:ecret");
    assert_eq!(status(&format!("Basic {encoded}")), Ok(()));
    assert_eq!(status(&format!("basic  {encoded}")), Ok(()));
    for wrong in [
        "",
        "Basic",
        "Basic !",
        "Basic YWxpY2U=",
        "Basic YWxpY2U6eA==",
        "Bearer x",
    ] {
        assert_eq!(status(wrong), Err(407), "{wrong}");
    }
    assert_eq!(admit(&HeaderMap::new(), None), Ok(()));
    let refusal = admit(&HeaderMap::new(), auth.as_ref()).unwrap_err();
    assert!(refusal.challenge().is_some());
}
