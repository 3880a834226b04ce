//! What makes a server the right one: each way to say so, and that there has to be one.

use std::process::Command;

use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};

use crate::harness::sockets::{Target, join};
use crate::harness::tunnel::Mode;
use crate::harness::{Ended, PASSWORD, Program, Site};

/// Where `--trust first-use` remembers, within a site.
const KNOWN: &str = ".local/state/rstun/known_servers";

/// A client without anything said of trust.
fn client(site: &Site, server: &str, target: &Target, trust: &[&str]) -> Command {
    let mut command = site.command("rstunc");
    command.args(["--server-addr", server, "--password", PASSWORD]);
    command.args(Mode::Out.args(target.addr())).args(trust);
    command
}

fn assert_connects(command: &mut Command, target: &Target) {
    let client = Program::start(command);
    join(
        client.entrance(&Mode::Out.announcement(target.addr())),
        target,
    );
}

/// Exit code 1, without another try and with one error line that contains all of `parts`.
fn assert_refuses(ended: &Ended, parts: &[&str]) {
    assert_eq!(ended.code, 1, "{ended:?}");
    for part in parts {
        assert!(ended.error().contains(part), "{part}: {}", ended.stderr);
    }
    assert!(!ended.stderr.contains("retry"), "{}", ended.stderr);
    assert!(!ended.stderr.contains("connected to"), "{}", ended.stderr);
}

#[test]
fn without_trust_there_is_no_connection() {
    let site = Site::without_keys();
    let target = Target::new();
    let ended = site.run(&mut client(&site, "127.0.0.1:1", &target, &[]));
    assert_eq!(ended.code, 2);
    for way in ["--cert", "--pin", "--trust system", "--trust first-use"] {
        assert!(ended.error().contains(way), "{way}: {}", ended.stderr);
    }
    for trust in [
        ["--cert", "x", "--pin", "y"],
        ["--cert", "x", "--trust", "system"],
        ["--pin", "y", "--trust", "first-use"],
    ] {
        let ended = site.run(&mut client(&site, "127.0.0.1:1", &target, &trust));
        assert_eq!(ended.code, 2);
        assert!(
            ended.error().contains("cannot be used with"),
            "{}",
            ended.stderr
        );
    }
    for trust in [["--pin", "AB:CD"], ["--trust", "nobody"]] {
        let ended = site.run(&mut client(&site, "127.0.0.1:1", &target, &trust));
        assert_eq!(ended.code, 2);
        assert!(ended.error().contains(trust[1]), "{}", ended.stderr);
    }
}

#[test]
fn by_pins() {
    let site = Site::new();
    let target = Target::new();
    let server = site.server(&[target.addr()]);
    let addr = server.server_addr().to_string();
    let listening = server.line("certificate SHA-256 ");
    let pin = listening.rsplit(' ').next().expect("a fingerprint");
    let other = pin.replace(&pin[..2], "00").replace("00", &pin[3..5]);
    assert_ne!(pin, other);
    assert_connects(&mut client(&site, &addr, &target, &["--pin", pin]), &target);
    let both = ["--pin", &other, "--pin", pin];
    assert_connects(&mut client(&site, &addr, &target, &both), &target);
    let ended = site.run(&mut client(&site, &addr, &target, &["--pin", &other]));
    assert_refuses(&ended, &["--pin"]);
}

#[test]
fn by_first_use() {
    let site = Site::new();
    let target = Target::new();
    let server = site.server(&[target.addr()]);
    let addr = server.server_addr();
    let trust = ["--trust", "first-use"];
    for _ in 0..2 {
        assert_connects(
            &mut client(&site, &addr.to_string(), &target, &trust),
            &target,
        );
        let known = String::from_utf8(site.read(KNOWN)).expect("text");
        assert!(known.starts_with(&format!("{addr} SHA256:")), "{known}");
        assert_eq!(known.lines().count(), 1);
    }
    server.kill();

    let keygen = site.run(site.command("rstun").args(["keygen", "--force"]));
    assert_eq!(keygen.code, 0);
    let _server = site.server_again(addr, &[target.addr()]);
    let ended = site.run(&mut client(&site, &addr.to_string(), &target, &trust));
    assert_refuses(&ended, &[KNOWN, &addr.to_string(), "remove"]);
    site.write(KNOWN, "");
    assert_connects(
        &mut client(&site, &addr.to_string(), &target, &trust),
        &target,
    );
}

/// An authority that the client's system trusts, and a server with a certificate of it and a chain.
#[test]
fn by_the_system() {
    let site = Site::without_keys();
    let target = Target::new();
    let authority = |name: &str| {
        let mut params = CertificateParams::new(vec![]).expect("parameters");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let named = &mut params.distinguished_name;
        named.push(rcgen::DnType::CommonName, name);
        (params, KeyPair::generate().expect("a key"))
    };
    let (root_params, root_key) = authority("root");
    let root_certificate = root_params.self_signed(&root_key).expect("a certificate");
    let root = Issuer::new(root_params, root_key);
    let (middle_params, middle_key) = authority("middle");
    let middle_certificate = middle_params.signed_by(&middle_key, &root);
    let middle_certificate = middle_certificate.expect("a certificate");
    let middle = Issuer::new(middle_params, middle_key);
    let key = KeyPair::generate().expect("a key");
    let params = CertificateParams::new(vec!["localhost".to_owned()]).expect("parameters");
    let certificate = params.signed_by(&key, &middle).expect("a certificate");
    site.write("root.pem", root_certificate.pem());
    site.write(
        "chain.pem",
        [certificate.pem(), middle_certificate.pem()].concat(),
    );
    site.write("key.pem", key.serialize_pem());

    let mut command = site.command("rstund");
    command.args(["--addr", "127.0.0.1:0", "--password", PASSWORD]);
    command.args(["--cert", "chain.pem", "--key", "key.pem"]);
    command.args(["--downstream", &target.addr().to_string()]);
    let server = Program::start(&mut command);
    let addr = server.server_addr();
    let named = format!("localhost:{}", addr.port());
    let trust = ["--trust", "system"];
    let trusting = |server: &str| {
        let mut command = client(&site, server, &target, &trust);
        command.env("SSL_CERT_FILE", site.path("root.pem"));
        command.env_remove("SSL_CERT_DIR");
        command
    };
    assert_connects(&mut trusting(&named), &target);
    // Another name than the certificate's.
    let ended = site.run(&mut trusting(&addr.to_string()));
    assert_refuses(&ended, &["the system does not trust"]);
    // An authority that is not the system's.
    site.write("root.pem", {
        let (params, key) = authority("root");
        params.self_signed(&key).expect("a certificate").pem()
    });
    let ended = site.run(&mut trusting(&named));
    assert_refuses(&ended, &["the system does not trust"]);
    // A chain can be trusted by its own certificate too.
    let cert = ["--cert", "chain.pem"];
    assert_connects(&mut client(&site, &named, &target, &cert), &target);
}
