//! A ticket: all that a client has to be given, as one word. Pure.
//!
//! It holds where the server is, the SHA-256 of its certificate and what proves who the client is,
//! so it is a secret as a whole. The word is `rstun://` and base58: letters and digits alone, none of
//! which look alike, so that it is selected by a double click and means nothing to a shell.
//!
//! ```text
//! version (1 byte) | content | checksum (4 bytes)
//! content of version 1:
//!   SHA-256 of the certificate (32 bytes)
//!   name of the client (length in 1 byte, 0 for all who know the password)
//!   how the secret is written: 0 as text, 1 as bytes that stand for hexadecimal digits (1 byte)
//!   secret (length in 1 byte)
//!   servers, to the end, each: kind (1 byte), host, port (2 bytes, big-endian)
//!     kind 4: 4 bytes of IPv4, kind 6: 16 bytes of IPv6, kind 0: name (length in 1 byte)
//! ```
//!
//! The checksum is the first bytes of the SHA-256 of all before it, in every version, so that a
//! mistyped ticket is told from one that another version of rstun made.

use std::fmt;
use std::net::IpAddr;

use thiserror::Error;
use zeroize::Zeroizing;

use crate::access::{Password, is_name};
use crate::tls::Fingerprint;
use crate::tunnel::{Host, HostPort};

/// What each ticket begins with.
const SCHEME: &str = "rstun://";

/// The version that is written, and the only one that is read.
const VERSION: u8 = 1;

/// Bytes of the checksum: one of 4 billion mistakes goes unnoticed.
const CHECKSUM: usize = 4;

/// Most servers in a ticket.
pub const MAX_SERVERS: usize = 16;

/// Longest ticket that is looked at, in bytes: the longest that can be made is half as long. The
/// time to read one grows with the square of its length.
const MAX_LENGTH: usize = 16 * 1024;

const AS_TEXT: u8 = 0;
const AS_DIGITS: u8 = 1;

const NAME: u8 = 0;
const IPV4: u8 = 4;
const IPV6: u8 = 6;

/// All that a client has to be given.
#[derive(Clone)]
pub struct Ticket {
    /// Where the server can be reached, the best address first; 1 to [`MAX_SERVERS`].
    pub servers: Vec<HostPort>,
    /// What makes it the right one.
    pub pin: Fingerprint,
    /// The client's name in the server's `--clients`; none for all who know the password.
    pub name: Option<String>,
    /// Its secret, or the password; at most 255 bytes.
    pub secret: Password,
}

/// Why a text is no ticket that can be used.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum TicketError {
    /// It does not look like one.
    #[error("a ticket is one word that begins with {SCHEME}, as `rstun ticket` prints it")]
    NotOne,
    /// Not all of it is as it was written.
    #[error(
        "the ticket is mistyped or cut short; copy it again, or have `rstun ticket` print it again \
         at the server"
    )]
    Mistyped,
    /// It is of a later version.
    #[error("a newer rstun made this ticket (version {0}); update rstun here")]
    TooNew(u8),
    /// It is of an earlier version.
    #[error(
        "an older rstun made this ticket (version {0}); update rstun at the server, where `rstun \
         ticket` prints a new one then"
    )]
    TooOld(u8),
    /// It was written as it stands, but says nothing that makes sense.
    #[error("the ticket is malformed; have `rstun ticket` print a new one at the server")]
    Malformed,
}

/// Why a ticket cannot be written.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum NoTicket {
    /// There is no place for the secret.
    #[error("the password is too long for a ticket: it may have 255 bytes")]
    LongSecret,
    /// There are no servers in it, or too many.
    #[error("a ticket has room for 1 to {MAX_SERVERS} addresses")]
    Servers,
}

impl Ticket {
    /// Whether a text is meant to be a ticket.
    pub fn is_meant(text: &str) -> bool {
        text.trim_start().starts_with(SCHEME)
    }

    /// Writes it as one word.
    pub fn encode(&self) -> Result<Zeroizing<String>, NoTicket> {
        let mut bytes = self.bytes()?;
        let checksum = checksum(&bytes);
        bytes.extend(checksum);
        let mut word = Zeroizing::new(String::with_capacity(2 * bytes.len() + SCHEME.len()));
        word.push_str(SCHEME);
        let mut digits = Zeroizing::new(vec![0; 2 * bytes.len()]);
        // Each byte takes less than two digits.
        let length = bs58::encode(&*bytes).onto(digits.as_mut_slice());
        let digits = &digits[..length.unwrap_or_default()];
        word.extend(digits.iter().map(|digit| char::from(*digit)));
        Ok(word)
    }

    /// Version and content.
    fn bytes(&self) -> Result<Zeroizing<Vec<u8>>, NoTicket> {
        if !(1..=MAX_SERVERS).contains(&self.servers.len()) {
            return Err(NoTicket::Servers);
        }
        // As much as it can be: growing would leave copies behind.
        let most = 1024 + self.servers.len() * 300;
        let mut out = Zeroizing::new(Vec::with_capacity(most));
        out.push(VERSION);
        out.extend(self.pin.as_bytes());
        let name = self.name.as_deref().unwrap_or_default();
        put(&mut out, name.as_bytes());
        let secret = self.secret.as_bytes();
        match digits(secret) {
            Some(bytes) => {
                out.push(AS_DIGITS);
                put(&mut out, &bytes);
            }
            None if secret.len() > usize::from(u8::MAX) => return Err(NoTicket::LongSecret),
            None => {
                out.push(AS_TEXT);
                put(&mut out, secret);
            }
        }
        for server in &self.servers {
            match &server.host {
                Host::Ip(IpAddr::V4(ip)) => {
                    out.push(IPV4);
                    out.extend(ip.octets());
                }
                Host::Ip(IpAddr::V6(ip)) => {
                    out.push(IPV6);
                    out.extend(ip.octets());
                }
                Host::Name(name) => {
                    out.push(NAME);
                    put(&mut out, name.as_bytes());
                }
            }
            out.extend(server.port.to_be_bytes());
        }
        Ok(out)
    }

    /// Reads what [`encode`](Self::encode) wrote; space in it, as mail programs put there, does not
    /// matter.
    pub fn decode(text: &str) -> Result<Self, TicketError> {
        let mut word = Zeroizing::new(String::with_capacity(text.len()));
        word.extend(text.split_whitespace());
        let digits = word.strip_prefix(SCHEME).ok_or(TicketError::NotOne)?;
        if digits.len() > MAX_LENGTH {
            return Err(TicketError::Mistyped);
        }
        let mut bytes = Zeroizing::new(vec![0; digits.len()]);
        let length = bs58::decode(digits).onto(bytes.as_mut_slice());
        let bytes = &bytes[..length.map_err(|_| TicketError::Mistyped)?];
        let (content, sum) = bytes
            .split_last_chunk::<CHECKSUM>()
            .ok_or(TicketError::Mistyped)?;
        if *sum != checksum(content) {
            return Err(TicketError::Mistyped);
        }
        Self::from_bytes(content)
    }

    /// Reads what is in a ticket beside its checksum.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, TicketError> {
        match bytes {
            [VERSION, content @ ..] => read(content).ok_or(TicketError::Malformed),
            [version, ..] if *version > VERSION => Err(TicketError::TooNew(*version)),
            [version, ..] => Err(TicketError::TooOld(*version)),
            [] => Err(TicketError::Malformed),
        }
    }
}

impl fmt::Debug for Ticket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ticket")
            .field("servers", &self.servers)
            .field("pin", &self.pin)
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}

/// Reads the content of this version; none if it is not as it would be written.
fn read(content: &[u8]) -> Option<Ticket> {
    let mut rest = content;
    let pin = Fingerprint::from(*take::<32>(&mut rest)?);
    let name = match text(take_field(&mut rest)?)? {
        "" => None,
        name => Some(is_name(name).then(|| name.to_owned())?),
    };
    let secret = match (take::<1>(&mut rest)?, take_field(&mut rest)?) {
        ([AS_TEXT], bytes) if digits(bytes).is_none() => Zeroizing::new(text(bytes)?.to_owned()),
        ([AS_DIGITS], bytes) => hexadecimal(bytes),
        _ => return None,
    };
    let mut servers = Vec::new();
    while !rest.is_empty() {
        servers.push(server(&mut rest)?);
    }
    let right = (1..=MAX_SERVERS).contains(&servers.len());
    Some(Ticket {
        servers: right.then_some(servers)?,
        pin,
        name,
        secret: Password::new(secret)?,
    })
}

fn server(rest: &mut &[u8]) -> Option<HostPort> {
    let host = match take::<1>(rest)? {
        [IPV4] => Host::Ip(IpAddr::from(*take::<4>(rest)?)),
        [IPV6] => Host::Ip(IpAddr::from(*take::<16>(rest)?)),
        [NAME] => {
            let name = text(take_field(rest)?)?;
            let host = name.parse().ok();
            host.filter(|host| matches!(host, Host::Name(read) if read == name))?
        }
        _ => return None,
    };
    let port = u16::from_be_bytes(*take::<2>(rest)?);
    (port != 0).then_some(HostPort { host, port })
}

/// Appends a field of at most 255 bytes, its length first.
fn put(out: &mut Vec<u8>, field: &[u8]) {
    debug_assert!(field.len() <= usize::from(u8::MAX));
    out.push(field.len() as u8);
    out.extend(field);
}

fn take_field<'b>(rest: &mut &'b [u8]) -> Option<&'b [u8]> {
    let [length] = *take::<1>(rest)?;
    let (field, after) = rest.split_at_checked(length.into())?;
    *rest = after;
    Some(field)
}

fn take<'b, const N: usize>(rest: &mut &'b [u8]) -> Option<&'b [u8; N]> {
    let (taken, after) = rest.split_first_chunk()?;
    *rest = after;
    Some(taken)
}

fn text(bytes: &[u8]) -> Option<&str> {
    std::str::from_utf8(bytes).ok()
}

/// The bytes that a secret's hexadecimal digits stand for, as generated secrets have them; half as
/// long.
fn digits(secret: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
    let (pairs, []) = secret.as_chunks::<2>() else {
        return None;
    };
    if pairs.is_empty() || pairs.len() > usize::from(u8::MAX) {
        return None;
    }
    let mut bytes = Zeroizing::new(Vec::with_capacity(pairs.len()));
    for pair in pairs {
        let [high, low] = pair.map(|digit| match digit {
            b'0'..=b'9' => Some(digit - b'0'),
            b'a'..=b'f' => Some(digit - b'a' + 10),
            _ => None,
        });
        bytes.push(high? << 4 | low?);
    }
    Some(bytes)
}

fn hexadecimal(bytes: &[u8]) -> Zeroizing<String> {
    let mut text = Zeroizing::new(String::with_capacity(2 * bytes.len()));
    let digit = |value: u8| char::from_digit(value.into(), 16).unwrap_or_default();
    for byte in bytes {
        text.push(digit(byte >> 4));
        text.push(digit(byte & 15));
    }
    text
}

fn checksum(bytes: &[u8]) -> [u8; CHECKSUM] {
    let whole = *Fingerprint::of_bytes(bytes).as_bytes();
    std::array::from_fn(|i| whole[i])
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn ticket() -> Ticket {
        Ticket {
            servers: vec![
                "198.51.100.7:6060".parse().unwrap(),
                "[2001:db8::7]:6060".parse().unwrap(),
                "tunnel.example.org:443".parse().unwrap(),
            ],
            pin: Fingerprint::of_bytes(b"certificate"),
            name: Some("laptop".into()),
            secret: Password::generate(),
        }
    }

    /// What a ticket says, secret and all.
    fn content(ticket: &Ticket) -> (Vec<HostPort>, Fingerprint, Option<String>, Vec<u8>) {
        let Ticket {
            servers,
            pin,
            name,
            secret,
        } = ticket.clone();
        (servers, pin, name, secret.as_bytes().to_vec())
    }

    fn again(ticket: &Ticket) -> Ticket {
        Ticket::decode(&ticket.encode().unwrap()).unwrap()
    }

    /// A ticket as some other version of rstun may write it.
    fn written(content: &[u8]) -> String {
        let bytes = [content, &checksum(content)].concat();
        format!("{SCHEME}{}", bs58::encode(bytes).into_string())
    }

    fn decoded(text: &str) -> Result<(), TicketError> {
        Ticket::decode(text).map(drop)
    }

    #[test]
    fn it_is_one_word_for_eyes_shells_and_mice() {
        let mut ticket = ticket();
        ticket.name = None;
        ticket.servers.truncate(1);
        let word = ticket.encode().unwrap();
        let (scheme, digits) = word.split_at(SCHEME.len());
        assert_eq!(scheme, "rstun://");
        assert!(
            digits.chars().all(|c| c.is_ascii_alphanumeric()),
            "{digits}"
        );
        assert!(!digits.contains(['0', 'O', 'I', 'l']));
        assert!(digits.len() <= 110, "{}", digits.len());
        assert!(Ticket::is_meant(&word) && !Ticket::is_meant(digits));
    }

    #[test]
    fn space_in_it_does_not_matter() {
        let ticket = ticket();
        let word = ticket.encode().unwrap();
        let (one, other) = word.split_at(40);
        let wrapped = format!("\t{one}\r\n  {other}\n");
        let read = Ticket::decode(&wrapped).unwrap();
        assert_eq!(content(&read), content(&ticket));
    }

    /// Another digit, one too few, one too many, or two that have changed places.
    #[test]
    fn each_mistake_in_typing_is_noticed() {
        let word = ticket().encode().unwrap();
        let digits: Vec<char> = word.chars().collect();
        let alphabet = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz0OIl-";
        let mut tried = 0;
        let mut wrong = |digits: Vec<char>| {
            let text: String = digits.into_iter().collect();
            assert_eq!(decoded(&text), Err(TicketError::Mistyped), "{text}");
            tried += 1;
        };
        for at in SCHEME.len()..digits.len() {
            for other in alphabet.chars().filter(|c| *c != digits[at]) {
                let mut changed = digits.clone();
                changed[at] = other;
                wrong(changed);
            }
            let mut short = digits.clone();
            short.remove(at);
            wrong(short);
            let mut doubled = digits.clone();
            doubled.insert(at, digits[at]);
            wrong(doubled);
            for other in at + 1..digits.len() {
                if digits[at] != digits[other] {
                    let mut swapped = digits.clone();
                    swapped.swap(at, other);
                    wrong(swapped);
                }
            }
            if at > SCHEME.len() {
                wrong(digits[..at].to_vec());
            }
        }
        assert!(tried > 10_000, "{tried}");
    }

    #[test]
    fn another_version_is_told_from_a_mistake() {
        for (content, why) in [
            (&[2, 1, 2, 3][..], TicketError::TooNew(2)),
            (&[255], TicketError::TooNew(255)),
            (&[0, 1], TicketError::TooOld(0)),
            (&[1, 2, 3], TicketError::Malformed),
            (&[], TicketError::Malformed),
        ] {
            assert_eq!(decoded(&written(content)), Err(why));
        }
        for text in ["", "hello", "https://1", "Rstun://1"] {
            assert_eq!(decoded(text), Err(TicketError::NotOne), "{text}");
        }
        for text in ["rstun://", "rstun://1", "rstun://é", &written(&[1])[..9]] {
            assert_eq!(decoded(text), Err(TicketError::Mistyped), "{text}");
        }
        let long = format!("{SCHEME}{}", "2".repeat(1 << 20));
        assert_eq!(decoded(&long), Err(TicketError::Mistyped));
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        let good = ticket().bytes().unwrap();
        assert_eq!(decoded(&written(&good)), Ok(()));
        let servers = good.len() - (1 + 1 + 18 + 2) - 19 - 7;
        let port_zero = [&good[..good.len() - 2], &[0, 0]].concat();
        let no_server = &good[..servers];
        let strange_host = [no_server, &[9, 1, 1, 1, 1, 1, 1]].concat();
        let upper_case = [no_server, &[NAME, 1, b'A', 0, 1]].concat();
        let address_as_name = [no_server, &[NAME, 3], b"::1", &[0, 1]].concat();
        let many = [no_server, &[IPV4, 1, 1, 1, 1, 0, 1].repeat(MAX_SERVERS + 1)].concat();
        for content in [
            &port_zero,
            no_server,
            &strange_host,
            &upper_case,
            &address_as_name,
            &many,
            &[good.as_slice(), &[0]].concat(),
        ] {
            assert_eq!(decoded(&written(content)), Err(TicketError::Malformed));
        }
    }

    #[test]
    fn what_does_not_fit_is_not_written() {
        let mut none = ticket();
        none.servers.clear();
        assert_eq!(none.encode().err(), Some(NoTicket::Servers));
        let mut many = ticket();
        many.servers = vec![many.servers[2].clone(); MAX_SERVERS + 1];
        assert_eq!(many.encode().err(), Some(NoTicket::Servers));
        let mut long = ticket();
        let secret = |length| Password::new(Zeroizing::new("x".repeat(length))).unwrap();
        long.secret = secret(256);
        assert_eq!(long.encode().err(), Some(NoTicket::LongSecret));
        long.secret = secret(255);
        long.servers = vec![
            HostPort {
                host: Host::Name(["a"; 127].join(".")),
                port: 1,
            };
            MAX_SERVERS
        ];
        assert_eq!(content(&again(&long)), content(&long));
    }

    #[test]
    fn no_secret_is_in_debug_output() {
        let ticket = ticket();
        let secret = String::from_utf8(ticket.secret.as_bytes().to_vec()).unwrap();
        assert!(!format!("{ticket:?}").contains(&secret[..8]));
    }

    fn host() -> impl Strategy<Value = Host> {
        prop_oneof![
            any::<[u8; 4]>().prop_map(|ip| Host::Ip(ip.into())),
            any::<[u8; 16]>().prop_map(|ip| Host::Ip(ip.into())),
            "([a-z][a-z0-9-]{0,20}\\.){0,3}[a-z]{1,10}".prop_map(Host::Name),
        ]
    }

    proptest! {
        #[test]
        fn what_is_written_reads_back_the_same(
            servers in prop::collection::vec((host(), 1u16..), 1..=MAX_SERVERS),
            pin: [u8; 32],
            name in prop::option::of("[a-zA-Z0-9][a-zA-Z0-9._-]{0,63}"),
            secret in prop_oneof!["\\PC{1,60}", "[0-9a-f]{1,300}"],
        ) {
            prop_assume!(name.as_deref() != Some("password"));
            prop_assume!(secret.len() <= 255 || secret.len().is_multiple_of(2));
            let ticket = Ticket {
                servers: servers.into_iter().map(|(host, port)| HostPort { host, port }).collect(),
                pin: pin.into(),
                name,
                secret: Password::new(Zeroizing::new(secret)).unwrap(),
            };
            prop_assert_eq!(content(&again(&ticket)), content(&ticket));
        }

        #[test]
        fn any_text_is_read_without_a_panic(text in "\\PC{0,200}", content: Vec<u8>) {
            let _ = Ticket::decode(&text);
            let _ = Ticket::decode(&format!("{SCHEME}{text}"));
            if let Ok(ticket) = Ticket::decode(&written(&content)) {
                prop_assert_eq!(ticket.bytes().unwrap().to_vec(), content);
            }
        }
    }
}
