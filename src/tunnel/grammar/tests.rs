use std::time::Duration;

use proptest::prelude::*;

use super::*;
use crate::tunnel::{Host, UnixPath};

fn all(direction: Direction, mapping: &str) -> Result<Vec<Tunnel>, ParseError> {
    Tunnel::parse(direction, mapping)
}

fn out(mapping: &str) -> Result<String, ParseError> {
    Ok(all(Direction::Out, mapping)?.remove(0).to_string())
}

fn inward(mapping: &str) -> Result<String, ParseError> {
    Ok(all(Direction::In, mapping)?.remove(0).to_string())
}

fn dynamic(proxy: &str) -> Result<String, ParseError> {
    Ok(Tunnel::dynamic(proxy)?.to_string())
}

/// Reads what a tunnel prints.
fn again(printed: &str) -> Tunnel {
    let (direction, text) = printed.split_once(' ').unwrap();
    let read = match (direction, text.contains('^')) {
        ("TunnelOut", false) => Tunnel::dynamic(text).map(|tunnel| vec![tunnel]),
        ("TunnelOut", true) => all(Direction::Out, text),
        _ => all(Direction::In, text),
    };
    read.unwrap().remove(0)
}

#[test]
fn what_is_left_out_is_filled_in() {
    for (mapping, printed) in [
        ("9900^8800", "127.0.0.1:9900^127.0.0.1:8800"),
        ("tcp://9900^8800", "127.0.0.1:9900^127.0.0.1:8800"),
        ("udp://5353^53", "udp://127.0.0.1:5353^udp://127.0.0.1:53"),
        ("5353^udp://53", "udp://127.0.0.1:5353^udp://127.0.0.1:53"),
        (
            "udp://1?timeout=5^2",
            "udp://127.0.0.1:1?timeout=5^udp://127.0.0.1:2",
        ),
        (
            "unix:///run/a.sock^8800",
            "unix:///run/a.sock^127.0.0.1:8800",
        ),
        ("unix:///a?mode=0600^1", "unix:///a^127.0.0.1:1"),
        ("unix:///a?mode=666^1", "unix:///a?mode=0666^127.0.0.1:1"),
        (
            "2222^unix:///run/s.sock",
            "127.0.0.1:2222^unix:///run/s.sock",
        ),
        ("1^unix:///a?proxy=v1", "127.0.0.1:1^unix:///a?proxy=v1"),
        ("stdio^22", "stdio^127.0.0.1:22"),
        ("1^[db.internal]:2", "127.0.0.1:1^db.internal:2"),
    ] {
        assert_eq!(out(mapping).unwrap(), format!("TunnelOut {printed}"));
    }
    for (mapping, printed) in [
        ("3000^18080", "127.0.0.1:3000^18080"),
        ("3000?proxy=v2^18080", "127.0.0.1:3000?proxy=v2^18080"),
        (
            "udp://127.0.0.1:1^0.0.0.0:2",
            "udp://127.0.0.1:1^udp://0.0.0.0:2",
        ),
        (
            "unix:///run/d.sock^127.0.0.1:2375",
            "unix:///run/d.sock^127.0.0.1:2375",
        ),
        (
            "80^unix:///run/rstun/a?mode=0660",
            "127.0.0.1:80^unix:///run/rstun/a?mode=0660",
        ),
        ("socks5^0.0.0.0:1080", "socks5^0.0.0.0:1080"),
        ("http^tcp://3128", "http^3128"),
    ] {
        assert_eq!(inward(mapping).unwrap(), format!("TunnelIn {printed}"));
    }
    for (proxy, printed) in [
        ("1080", "socks5://127.0.0.1:1080"),
        ("0.0.0.0:1080", "socks5://0.0.0.0:1080"),
        ("http://3128", "http://127.0.0.1:3128"),
        (
            "socks5://alice:secret@1080",
            "socks5://alice:***@127.0.0.1:1080",
        ),
        ("http://alice:s@c:r@t@[::1]:1", "http://alice:***@[::1]:1"),
    ] {
        assert_eq!(dynamic(proxy).unwrap(), format!("TunnelOut {printed}"));
    }
}

#[test]
fn ranges_make_a_tunnel_for_each_port() {
    let tunnels = all(Direction::In, "8000-8009^0.0.0.0:18000-18009").unwrap();
    let printed: Vec<_> = tunnels.iter().map(Tunnel::to_string).collect();
    assert_eq!(printed.len(), 10);
    assert_eq!(printed[0], "TunnelIn 127.0.0.1:8000^0.0.0.0:18000");
    assert_eq!(printed[9], "TunnelIn 127.0.0.1:8009^0.0.0.0:18009");
    let udp = all(Direction::Out, "udp://1-2^db.internal:3-4").unwrap();
    assert_eq!(
        udp[1].to_string(),
        "TunnelOut udp://127.0.0.1:2^udp://db.internal:4"
    );
    assert_eq!(all(Direction::Out, "1-200^1-200").unwrap().len(), 200);
}

#[test]
fn each_mistake_says_what_it_is() {
    for (mapping, says) in [
        ("9900", "LOCAL^REMOTE"),
        ("9900^", "an address is missing"),
        ("^80", "an address is missing"),
        ("udp://^80", "an address is missing"),
        ("70000^80", "port '70000' is not a number"),
        ("1^127.0.0.1:", "port '' is not a number"),
        ("1^+80", "port '+80'"),
        ("1^2^3", "port '2^3'"),
        ("1^0", "port 0 cannot be dialed"),
        ("1^::1:80", "brackets"),
        ("1^[::1]", "'[::1]' is neither"),
        ("1^300.1.1.1:80", "'300.1.1.1' is neither"),
        ("1^a b:80", "'a b' is neither"),
        ("1^:80", "'' is neither"),
        ("localhost:1^80", "'localhost' is a name"),
        ("udp://1^tcp://2", "one side is UDP"),
        ("tcp://1^udp://2", "one side is UDP"),
        ("udp://1^unix:///a", "one side is UDP"),
        ("stdio^udp://53", "one side is UDP"),
        (
            "ftp://1^2",
            "'ftp' is no scheme; there are tcp, udp, unix, socks5 and http",
        ),
        ("1^http://example.org:80", "http has no fixed target"),
        ("socks5://1^2", "write -D socks5://[IP:]PORT"),
        ("socks5^1080", "-R socks5^[IP:]PORT"),
        ("1^stdio", "left of -L"),
        ("stdio://1^2", "left of -L"),
        ("unix://a.sock^1", "unix:///path/to/socket"),
        ("unix:///a/^1", "unix:///path/to/socket"),
        ("alice:hunter2@1^2", "for socks5 and http alone"),
        ("1-3^1-2", "1-3 is 3 ports, 1-2 is 2 ports"),
        ("1-3^4", "1-3 is 3 ports, 4 is one"),
        ("1-3^unix:///a", "unix:///a is one"),
        ("3-1^3-1", "'3-1' is no range of ports"),
        ("0-3^1-4", "'0-3' is no range of ports"),
        ("1-^2", "port '1-' is not a number"),
        ("1-201^1-201", "201 ports are more than the 200"),
        (
            "1?mode=0600^2",
            "option 'mode' has no meaning here; a TCP port",
        ),
        ("1?proxy=v2^2", "goes with the target"),
        ("1^2?mode=0600", "a target takes proxy=v1|v2"),
        ("udp://1?proxy=v1^2", "takes timeout=SECONDS"),
        ("1^udp://2?proxy=v1", "a UDP target takes none"),
        ("unix:///a?x=1^2", "takes mode=OCTAL"),
        ("stdio?x=1^2", "stdio takes none"),
        (
            "unix:///a?mode=9^2",
            "mode=9: it takes permissions in octal",
        ),
        ("unix:///a?mode=1777^2", "permissions in octal"),
        ("1^2?proxy=v3", "proxy=v3: it takes v1 or v2"),
        ("udp://1?timeout=0^2", "timeout=0: it takes seconds"),
        ("1^2?proxy", "option 'proxy' has no value"),
        ("1^2?proxy=", "option 'proxy=' has no value"),
        ("1^2?", "option '' has no value"),
        ("1^2?proxy=v1&proxy=v2", "option 'proxy' is there twice"),
    ] {
        let error = all(Direction::Out, mapping).unwrap_err().to_string();
        assert!(error.contains(says), "{mapping}: {error}");
    }
    for (mapping, says) in [
        ("stdio^1", "left of -L"),
        ("1^stdio", "left of -L"),
        ("1^socks5://2", "has no fixed target"),
        ("socks5^udp://1", "a proxy listens on TCP"),
        ("socks5^unix:///a", "a proxy listens on TCP"),
        ("socks5?auth=x^1", "behind its address"),
        ("socks5^1?mode=0600", "a proxy takes auth=FILE"),
        ("http^1-2", "one port is wanted"),
        ("1^example.org:2", "'example.org' is a name"),
    ] {
        let error = all(Direction::In, mapping).unwrap_err().to_string();
        assert!(error.contains(says), "{mapping}: {error}");
    }
    for (proxy, says) in [
        ("udp://1", "a proxy listens on TCP"),
        ("stdio", "a proxy listens on TCP"),
        ("localhost:1080", "'localhost' is a name"),
        ("1080-1081", "one port is wanted"),
        ("alice@1080", "user:password"),
        (
            "1080?auth=/nowhere/to/be/found",
            "auth=/nowhere/to/be/found: ",
        ),
        ("1080?mode=0600", "a proxy takes auth=FILE"),
    ] {
        let error = Tunnel::dynamic(proxy).unwrap_err().to_string();
        assert!(error.contains(says), "{proxy}: {error}");
    }
}

#[test]
fn what_is_shown_has_no_password() {
    for (mapping, shown) in [
        ("1^2", "1^2"),
        ("alice:hunter2@1^2", "alice:***@1^2"),
        ("socks5^bob:a@b:c@1080", "socks5^bob:***@1080"),
        ("socks5://alice:hunter2@1080", "socks5://alice:***@1080"),
        ("unix:///a@b^1", "unix:///a@b^1"),
    ] {
        assert_eq!(redacted(mapping), shown);
    }
}

fn ip() -> impl Strategy<Value = IpAddr> {
    prop_oneof![
        any::<[u8; 4]>().prop_map(IpAddr::from),
        any::<[u8; 16]>().prop_map(IpAddr::from),
    ]
}

fn listen_addr(direction: Direction) -> impl Strategy<Value = ListenAddr> {
    let ip = match direction {
        Direction::Out => ip().prop_map(Some).boxed(),
        Direction::In => prop::option::of(ip()).boxed(),
    };
    (ip, any::<u16>()).prop_map(|(ip, port)| ListenAddr { ip, port })
}

fn host_port() -> impl Strategy<Value = HostPort> {
    let name = "[a-z][a-z0-9_-]{0,20}(\\.[a-z0-9_-]{1,20}){0,3}";
    let host = prop_oneof![ip().prop_map(Host::Ip), name.prop_map(Host::Name)];
    (host, 1u16..).prop_map(|(host, port)| HostPort { host, port })
}

fn unix_path() -> impl Strategy<Value = UnixPath> {
    "(/[a-zA-Z0-9._@ -]{1,20}){1,4}".prop_map(|path| path.parse().unwrap())
}

/// Any tunnel that does not hold a typed password, and so is printed whole.
fn tunnel(direction: Direction) -> impl Strategy<Value = Tunnel> {
    let proxy = prop_oneof![
        Just(None),
        Just(Some(ProxyHeader::V1)),
        Just(Some(ProxyHeader::V2)),
    ];
    let timeout = prop::option::of((1u64..=86_400).prop_map(Duration::from_secs));
    let addr = || listen_addr(direction);
    let stream_listen = prop_oneof![
        addr().prop_map(Listen::Tcp),
        (unix_path(), 0u32..=0o777).prop_map(|(path, mode)| Listen::Unix { path, mode }),
        match direction {
            Direction::Out => Just(Listen::Stdio).boxed(),
            Direction::In => addr().prop_map(Listen::Tcp).boxed(),
        },
    ];
    let stream_target = prop_oneof![
        host_port().prop_map(Target::Tcp),
        unix_path().prop_map(Target::Unix),
    ];
    let udp_listen = (addr(), timeout).prop_map(|(addr, timeout)| Listen::Udp { addr, timeout });
    let proxy_listen = prop_oneof![
        addr().prop_map(|addr| Listen::Socks5 { addr, auth: None }),
        addr().prop_map(|addr| Listen::Http { addr, auth: None }),
    ];
    let whole = prop_oneof![
        (stream_listen, stream_target, proxy),
        (udp_listen, host_port().prop_map(Target::Udp), Just(None)),
        (proxy_listen, Just(Target::Asked), Just(None)),
    ];
    whole.prop_map(move |(listen, target, proxy)| Tunnel {
        direction,
        listen,
        target,
        proxy,
    })
}

proptest! {
    #[test]
    fn what_is_printed_reads_back_the_same(
        tunnel in prop_oneof![tunnel(Direction::Out), tunnel(Direction::In)]
    ) {
        prop_assert_eq!(again(&tunnel.to_string()), tunnel);
    }

    #[test]
    fn a_proxy_with_a_password_in_a_file_reads_back_the_same(
        mut tunnel in prop_oneof![tunnel(Direction::Out), tunnel(Direction::In)]
            .prop_filter("a proxy", Tunnel::is_dynamic)
    ) {
        let file = tempfile::NamedTempFile::new()?;
        std::fs::write(&file, "alice:hunter2")?;
        if let Listen::Socks5 { auth, .. } | Listen::Http { auth, .. } = &mut tunnel.listen {
            *auth = Some(Credentials::load(file.path())?);
        }
        prop_assert_eq!(again(&tunnel.to_string()), tunnel);
    }

    #[test]
    fn no_text_makes_it_panic(text in ".{0,80}", mapping in "[a-z0-9:/?^@=&.-]{0,40}") {
        for text in [text, mapping] {
            let _ = all(Direction::Out, &text);
            let _ = all(Direction::In, &text);
            let _ = Tunnel::dynamic(&text);
            let _ = text.parse::<Target>();
            let _ = redacted(&text);
        }
    }
}

#[test]
fn a_server_address_may_leave_its_port_out() {
    let read = |s| HostPort::of_server(s, 6060).unwrap().0.to_string();
    assert_eq!(read("example.org"), "example.org:6060");
    assert_eq!(read("example.org:1"), "example.org:1");
    assert_eq!(read("1.2.3.4"), "1.2.3.4:6060");
    assert_eq!(read("[::1]"), "[::1]:6060");
    assert_eq!(read("[::1]:2"), "[::1]:2");
    assert_eq!(read("7000"), "127.0.0.1:7000");
}

#[test]
fn a_server_may_have_many_ports() {
    let (first, more) = HostPort::of_server("example.org:6060-6099", 1).unwrap();
    assert_eq!((first.to_string().as_str(), more), ("example.org:6060", 39));
    assert_eq!(HostPort::of_server("[::1]:7", 1).unwrap().1, 0);
    assert!(HostPort::of_server("example.org:6099-6060", 1).is_err());
    let (first, more) = ListenAddr::of_server("0.0.0.0:6060-6099").unwrap();
    assert_eq!((first.to_string().as_str(), more), ("0.0.0.0:6060", 39));
    assert_eq!(ListenAddr::of_server("0").unwrap().1, 0);
}
