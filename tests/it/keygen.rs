//! `rstun keygen`: what it writes, and what it leaves alone.

use std::os::unix::fs::PermissionsExt;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use aws_lc_rs::digest::{SHA256, digest};

use crate::harness::sockets::{Target, join};
use crate::harness::tunnel::Mode;
use crate::harness::{Ended, Site};

const FILES: [&str; 2] = ["certificate.der", "priv_key.der"];
const DAY: Duration = Duration::from_secs(24 * 60 * 60);

fn keygen(site: &Site, args: &[&str]) -> Ended {
    site.run(site.command("rstun").arg("keygen").args(args))
}

fn contains(bytes: &[u8], part: &[u8]) -> bool {
    bytes.windows(part.len()).any(|window| window == part)
}

/// The SHA-256 of a site's certificate, as other tools print it.
fn fingerprint(site: &Site) -> String {
    let hash = digest(&SHA256, &site.read("certificate.der"));
    let bytes: Vec<String> = hash.as_ref().iter().map(|b| format!("{b:02X}")).collect();
    bytes.join(":")
}

#[test]
fn writes_a_pair_to_the_current_directory() {
    let site = Site::without_keys();
    let ended = keygen(&site, &[]);
    assert_eq!(ended.code, 0, "{}", ended.stderr);
    // prime256v1: 1.2.840.10045.3.1.7
    let p256 = b"\x2a\x86\x48\xce\x3d\x03\x01\x07";
    for name in FILES {
        let der = site.read(name);
        assert_eq!(der[0], 0x30, "{name} is no DER sequence");
        assert!(contains(&der, p256), "{name} is not about P-256");
    }
    let key = std::fs::metadata(site.path("priv_key.der")).expect("the key");
    assert_eq!(key.permissions().mode() & 0o777, 0o600);
}

#[test]
fn prints_the_fingerprint_that_the_server_logs() {
    let site = Site::without_keys();
    let ended = keygen(&site, &[]);
    let fingerprint = fingerprint(&site);
    assert!(ended.stdout.contains(&fingerprint), "{}", ended.stdout);
    let listening = site.server(&[]).line("listening on ");
    let expected = format!(", certificate SHA-256 {fingerprint}");
    assert!(listening.ends_with(&expected), "{listening}");
}

#[test]
fn each_run_makes_another_pair() {
    let site = Site::new();
    assert_eq!(keygen(&site, &["--out-dir", "new/place"]).code, 0);
    for name in FILES {
        let other = site.read(&format!("new/place/{name}"));
        assert_ne!(site.read(name), other, "{name}");
    }
}

#[test]
fn overwrites_only_when_forced() {
    let site = Site::new();
    let before = FILES.map(|name| site.read(name));
    let ended = keygen(&site, &[]);
    assert_eq!(ended.code, 1);
    assert!(ended.error().contains("--force"), "{}", ended.stderr);
    assert_eq!(FILES.map(|name| site.read(name)), before);

    let ended = keygen(&site, &["--force"]);
    assert_eq!(ended.code, 0, "{}", ended.stderr);
    let after = FILES.map(|name| site.read(name));
    assert!(after[0] != before[0] && after[1] != before[1]);
}

#[test]
fn half_a_pair_is_not_completed() {
    for (there, missing) in [(FILES[0], FILES[1]), (FILES[1], FILES[0])] {
        let site = Site::without_keys();
        site.write(there, "mine");
        let ended = keygen(&site, &[]);
        assert_eq!(ended.code, 1);
        assert!(ended.error().contains(there), "{}", ended.stderr);
        assert_eq!(site.read(there), b"mine");
        assert!(!site.path(missing).exists(), "{missing} was written");
    }
}

#[test]
fn a_forced_key_is_readable_by_its_owner_alone() {
    let site = Site::without_keys();
    site.write("priv_key.der", "open to all");
    let path = site.path("priv_key.der");
    std::fs::set_permissions(&path, PermissionsExt::from_mode(0o666)).expect("a mode");
    assert_eq!(keygen(&site, &["--force"]).code, 0);
    let key = std::fs::metadata(path).expect("the key");
    assert_eq!(key.permissions().mode() & 0o777, 0o600);
}

#[test]
fn hosts_stand_in_the_certificate() {
    let site = Site::without_keys();
    let hosts = ["tunnel.example.org", "198.51.100.7", "2001:db8::17"];
    let args: Vec<&str> = hosts.iter().flat_map(|host| ["--host", host]).collect();
    let ended = keygen(&site, &args);
    assert_eq!(ended.code, 0, "{}", ended.stderr);
    let certificate = site.read("certificate.der");
    // Subject alternative names: [2] is a DNS name, [7] an address (RFC 5280, section 4.2.1.6).
    let name = b"\x82\x12tunnel.example.org";
    let v4 = b"\x87\x04\xc6\x33\x64\x07";
    let v6 = b"\x87\x10\x20\x01\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\x17";
    for part in [&name[..], v4, v6] {
        assert!(contains(&certificate, part), "{part:02x?} is missing");
    }
}

#[test]
fn days_until_it_expires() {
    let site = Site::without_keys();
    let start = SystemTime::now();
    assert_eq!(keygen(&site, &["--days", "30"]).code, 0);
    let expected = start + 30 * DAY;
    let expiry = expiry(&site.read("certificate.der"));
    // The certificate counts whole seconds, and keygen took some time.
    let late = expiry.duration_since(expected - Duration::from_secs(1));
    let late = late.expect("no earlier than asked for");
    assert!(late < DEADLINE + Duration::from_secs(1), "{late:?} late");
}

const DEADLINE: Duration = crate::harness::DEADLINE;

/// The second of the certificate's two UTCTimes, YYMMDDhhmmssZ (RFC 5280, section 4.1.2.5.1).
fn expiry(certificate: &[u8]) -> SystemTime {
    let tag = b"\x17\x0d";
    let times: Vec<&[u8]> = certificate
        .windows(15)
        .filter(|window| window.starts_with(tag) && window.ends_with(b"Z"))
        .collect();
    let [_, not_after] = times[..] else {
        panic!("{} times in the certificate", times.len());
    };
    let digits = std::str::from_utf8(&not_after[2..14]).expect("digits");
    let [year, month, day, hour, minute, second] = [0, 2, 4, 6, 8, 10].map(|at| {
        let number = digits[at..at + 2].parse::<u64>();
        number.unwrap_or_else(|error| panic!("{digits}: {error}"))
    });
    let days = days_since_1970(2000 + year, month, day);
    UNIX_EPOCH + Duration::from_secs(((days * 24 + hour) * 60 + minute) * 60 + second)
}

/// Days from 1970 to a date, the year counted from March so that the leap day is its last.
fn days_since_1970(year: u64, month: u64, day: u64) -> u64 {
    let (year, month) = match month {
        1 | 2 => (year - 1, month + 9),
        _ => (year, month - 3),
    };
    let leap_days = year / 4 - year / 100 + year / 400;
    year * 365 + leap_days + (month * 153 + 2) / 5 + day - 1 - 719_468
}

#[test]
fn pem_is_told_from_der_by_content() {
    let site = Site::new();
    let target = Target::new();
    for (name, label) in FILES.into_iter().zip(["CERTIFICATE", "PRIVATE KEY"]) {
        let pem = pem(label, &site.read(name));
        site.write(name, pem);
    }
    let server = site.server(&[target.addr()]);
    let args = Mode::Out.args(target.addr());
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    let client = site.client(server.server_addr(), &args);
    join(
        client.entrance(&Mode::Out.announcement(target.addr())),
        &target,
    );
}

/// A PEM file (RFC 7468) with a line of text before the block, as openssl writes them.
fn pem(label: &str, der: &[u8]) -> String {
    let mut text = format!("subject=rstun\n-----BEGIN {label}-----\n");
    for line in der.chunks(48) {
        text += &base64(line);
        text += "\n";
    }
    text + &format!("-----END {label}-----\n")
}

fn base64(bytes: &[u8]) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::new();
    for chunk in bytes.chunks(3) {
        let mut group = [0; 4];
        group[1..=chunk.len()].copy_from_slice(chunk);
        let bits = u32::from_be_bytes(group);
        for place in 0..4 {
            let digit = (bits >> (18 - 6 * place)) & 63;
            match place <= chunk.len() {
                true => text.push(char::from(ALPHABET[digit as usize])),
                false => text.push('='),
            }
        }
    }
    text
}

#[test]
fn base64_as_in_rfc_4648() {
    for (plain, coded) in [
        ("", ""),
        ("f", "Zg=="),
        ("fo", "Zm8="),
        ("foob", "Zm9vYg=="),
    ] {
        assert_eq!(base64(plain.as_bytes()), coded);
    }
}

#[test]
fn days_are_counted_right() {
    assert_eq!(days_since_1970(1970, 1, 1), 0);
    assert_eq!(days_since_1970(2000, 3, 1), 11_017);
    assert_eq!(days_since_1970(2026, 11, 22), 20_779);
}
