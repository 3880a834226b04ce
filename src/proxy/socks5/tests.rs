use std::net::IpAddr;

use proptest::prelude::*;

use super::*;

#[test]
fn a_greeting_offers_methods() {
    let (greeting, taken) = Greeting::decode(&[5, 2, 0, 2, 5]).unwrap().unwrap();
    assert_eq!((&greeting.methods[..], taken), (&[0, 2][..], 4));
    assert_eq!(greeting.choose(true), Method::Password);
    assert_eq!(greeting.choose(false), Method::Nothing);
    let (greeting, _) = Greeting::decode(&[5, 1, 1]).unwrap().unwrap();
    assert_eq!(greeting.choose(true), Method::NoneOffered);
    assert_eq!(greeting.choose(false).encode(), [5, 0xff]);
    assert_eq!(Greeting::decode(&[5, 2, 0]), Ok(None));
    assert_eq!(Greeting::decode(b"GET / HTTP/1.1"), Err(Malformed::Version));
}

#[test]
fn a_login_has_two_fields() {
    let (login, taken) = Login::decode(b"\x01\x05alice\x06secret+").unwrap().unwrap();
    assert_eq!(
        (login.user, login.password),
        (&b"alice"[..], &b"secret"[..])
    );
    assert_eq!(taken, 14);
    assert!(matches!(Login::decode(b"\x01\x05alice\x06"), Ok(None)));
    assert!(matches!(Login::decode(b"\x05"), Err(Malformed::Login)));
    assert_eq!(
        (Login::answer(true), Login::answer(false)),
        ([1, 0], [1, 1])
    );
}

#[test]
fn a_request_asks_for_a_target() {
    for (bytes, target) in [
        (&b"\x05\x01\0\x01\x7f\0\0\x01\0\x50"[..], "127.0.0.1:80"),
        (b"\x05\x01\0\x03\x0bExample.org\x01\xbb", "example.org:443"),
        (b"\x05\x01\0\x03\x03::1\x01\xbb", "[::1]:443"),
        (
            b"\x05\x01\0\x04\x20\x01\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\x01\0\x16",
            "[2001:db8::1]:22",
        ),
    ] {
        let expected = Request::Connect(target.parse().unwrap());
        let more = [bytes, b"more"].concat();
        assert_eq!(Request::decode(&more), Ok(Some((expected, bytes.len()))));
        for n in 0..bytes.len() {
            assert_eq!(
                Request::decode(&bytes[..n]),
                Ok(None),
                "{n} bytes of {target}"
            );
        }
    }
}

#[test]
fn what_is_no_request_is_told_apart() {
    let decode = |bytes: &[u8]| Request::decode(bytes).map(|it| it.unwrap().0);
    assert_eq!(
        decode(b"\x05\x03\0\x01\0\0\0\0\0\0"),
        Ok(Request::Associate)
    );
    assert_eq!(
        decode(b"\x05\x02\0\x01\0\0\0\0\0\x50"),
        Ok(Request::Other(2))
    );
    assert_eq!(decode(b"\x04\x01\0\x50"), Err(Malformed::Version));
    assert_eq!(decode(b"\x05\x01\0\x02"), Err(Malformed::AddressType));
    for none in [
        &b"\x05\x01\0\x01\x7f\0\0\x01\0\0"[..],
        b"\x05\x01\0\x03\0\0\x50",
        b"\x05\x01\0\x03\x03a b\0\x50",
        b"\x05\x01\0\x03\x02\xff\xfe\0\x50",
    ] {
        assert_eq!(decode(none), Err(Malformed::Address), "{none:?}");
    }
}

#[test]
fn a_reply_names_an_address() {
    assert_eq!(Reply::Done.encode(None), [5, 0, 0, 1, 0, 0, 0, 0, 0, 0]);
    let bound = "[::1]:258".parse().ok();
    let reply = Reply::Refused.encode(bound);
    assert_eq!(reply[..4], [5, 5, 0, 4]);
    assert_eq!(reply[19..], [1, 1, 2]);
}

#[test]
fn fragments_of_datagrams_are_not_passed_on() {
    let whole = b"\0\0\0\x01\x7f\0\0\x01\0\x35hello";
    let addr = "127.0.0.1:53".parse().unwrap();
    assert_eq!(decode_datagram(whole), Ok(Some((addr, &b"hello"[..]))));
    let fragment = b"\0\0\x01\x01\x7f\0\0\x01\0\x35hello";
    assert_eq!(decode_datagram(fragment), Ok(None));
    for n in 0..10 {
        assert_eq!(decode_datagram(&whole[..n]), Err(Malformed::Truncated));
    }
}

fn addr() -> impl Strategy<Value = HostPort> {
    let ip = prop_oneof![
        any::<[u8; 4]>().prop_map(IpAddr::from),
        any::<[u8; 16]>().prop_map(IpAddr::from),
    ];
    let name = "[a-z][a-z0-9_-]{0,50}(\\.[a-z0-9_-]{1,60}){0,3}";
    let host = prop_oneof![ip.prop_map(Host::Ip), name.prop_map(Host::Name)];
    (host, 1u16..).prop_map(|(host, port)| HostPort { host, port })
}

proptest! {
    #[test]
    fn datagrams_survive_the_journey(addr in addr(), payload: Vec<u8>) {
        let datagram = [&encode_datagram_header(&addr)[..], &payload].concat();
        prop_assert_eq!(decode_datagram(&datagram), Ok(Some((addr, &payload[..]))));
    }

    #[test]
    fn requests_survive_the_journey(addr in addr(), more: Vec<u8>) {
        let mut bytes = vec![VERSION, 1, 0];
        encode_address(&addr, &mut bytes);
        let length = bytes.len();
        prop_assert!(length <= LONGEST);
        prop_assert_eq!(Request::decode(&bytes[..length - 1]), Ok(None));
        bytes.extend(more);
        prop_assert_eq!(Request::decode(&bytes), Ok(Some((Request::Connect(addr), length))));
    }

    #[test]
    fn no_message_is_longer_than_the_longest(mut bytes in prop::collection::vec(any::<u8>(), LONGEST)) {
        for version in [LOGIN_VERSION, VERSION] {
            bytes[0] = version;
            prop_assert!(!matches!(Greeting::decode(&bytes), Ok(None)));
            prop_assert!(!matches!(Login::decode(&bytes), Ok(None)));
            prop_assert!(!matches!(Request::decode(&bytes), Ok(None)));
            let _ = decode_datagram(&bytes);
        }
    }
}
