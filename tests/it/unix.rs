//! Unix sockets at either side of a tunnel, and what becomes of their files.

use std::io::{ErrorKind, Read, Write};
use std::net::Shutdown;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;

use crate::harness::sockets::{
    Target, assert_reset, assert_turned_away, receive, receive_all, reset, send, visit,
};
use crate::harness::tunnel::{Mode, in_both_modes};
use crate::harness::{DEADLINE, Program, Signal, Site};

in_both_modes!(listening, dialing, both_ends);

/// More than any buffer on the way holds, so that it has to flow.
const MUCH: usize = 4 << 20;

fn connect(path: &Path) -> UnixStream {
    let stream = UnixStream::connect(path);
    with_deadlines(stream.unwrap_or_else(|error| panic!("no way in at {path:?}: {error}")))
}

fn accept(listener: &UnixListener) -> UnixStream {
    with_deadlines(listener.accept().expect("a connection at the target").0)
}

fn with_deadlines(stream: UnixStream) -> UnixStream {
    stream.set_read_timeout(Some(DEADLINE)).expect("a timeout");
    stream.set_write_timeout(Some(DEADLINE)).expect("a timeout");
    stream
}

/// A server that lets clients make sockets in the site and reach `targets`.
fn server(site: &Site, targets: &[String]) -> Program {
    let dir = site.path("");
    let dir = dir.to_str().expect("a path in UTF-8").trim_end_matches('/');
    let mut args = vec!["--unix-dir", dir];
    for target in targets {
        args.extend(["--downstream", target]);
    }
    site.server_with("127.0.0.1:0", &[], &args)
}

fn client(site: &Site, server: &Program, mode: Mode, target: &str, entrance: &str) -> Program {
    let (flag, mapping) = match mode {
        Mode::Out => ("-L", format!("{entrance}^{target}")),
        Mode::In => ("-R", format!("{target}^{entrance}")),
    };
    let client = site.client(server.server_addr(), &[flag, &mapping]);
    client.line("connected to ");
    client.line(match mode {
        Mode::Out => ": listening on ",
        Mode::In => ": the server listens on ",
    });
    client
}

/// Half-close both ways, with more than any buffer holds.
fn listening(mode: Mode) {
    let site = Site::new();
    let target = Target::new();
    let server = server(&site, &[target.addr().to_string()]);
    let entrance = site.path("in.sock");
    let _client = client(
        &site,
        &server,
        mode,
        &target.addr().to_string(),
        &site.unix("in.sock"),
    );

    let mut visitor = connect(&entrance);
    visitor
        .write_all(b"the whole request")
        .expect("bytes written");
    visitor.shutdown(Shutdown::Write).expect("an end");
    let end = target.accept();
    assert_eq!(receive_all(&end), b"the whole request");
    std::thread::scope(|scope| {
        scope.spawn(|| {
            send(&end, vec![b'a'; MUCH]);
            end.shutdown(Shutdown::Write).expect("an end");
        });
        let mut all = Vec::new();
        visitor.read_to_end(&mut all).expect("an end");
        assert_eq!(all, vec![b'a'; MUCH]);
    });

    // A visitor's writes fail when the flow broke, for a Unix socket cannot be reset.
    let mut visitor = connect(&entrance);
    visitor.write_all(b"x").expect("a byte written");
    let end = target.accept();
    assert_eq!(receive(&end, 1), b"x");
    reset(end);
    assert!(matches!(visitor.read(&mut [0]), Ok(0) | Err(_)));
    let error = std::iter::repeat_with(|| visitor.write(b"x")).find_map(Result::err);
    assert_eq!(error.map(|e| e.kind()), Some(ErrorKind::BrokenPipe));
}

fn dialing(mode: Mode) {
    let site = Site::new();
    let target = UnixListener::bind(site.path("out.sock")).expect("a socket");
    let name = site.unix("out.sock");
    let server = server(&site, std::slice::from_ref(&name));
    let client = client(&site, &server, mode, &name, "127.0.0.1:0");
    let entrance = client.addr(match mode {
        Mode::Out => ": listening on ",
        Mode::In => ": the server listens on ",
    });
    let visitor = visit(entrance);
    send(&visitor, b"hello");
    let mut end = accept(&target);
    end.read_exact(&mut [0; 5]).expect("bytes read");
    end.write_all(b"bye").expect("bytes written");
    drop(end);
    assert_eq!(receive_all(&visitor), b"bye");

    // What is left unread when a socket is closed breaks the flow, as with TCP.
    let visitor = visit(entrance);
    send(&visitor, vec![0; 1 << 16]);
    let mut end = accept(&target);
    end.read_exact(&mut [0]).expect("a byte read");
    drop(end);
    assert_reset(&visitor);

    drop(target);
    assert_turned_away(entrance, b"anyone there?");
}

fn both_ends(mode: Mode) {
    let site = Site::new();
    let target = UnixListener::bind(site.path("out.sock")).expect("a socket");
    let name = site.unix("out.sock");
    let server = server(&site, std::slice::from_ref(&name));
    let _client = client(&site, &server, mode, &name, &site.unix("in.sock"));
    let mut visitor = connect(&site.path("in.sock"));
    visitor.write_all(b"ping").expect("bytes written");
    let mut end = accept(&target);
    end.read_exact(&mut [0; 4]).expect("bytes read");
    end.write_all(b"pong").expect("bytes written");
    visitor.read_exact(&mut [0; 4]).expect("bytes read");
    drop(visitor);
    assert_eq!(end.read(&mut [0]).expect("an end"), 0);
}

/// `-L` with a socket in the site as its entrance, ready.
fn at_the_client(site: &Site, server: &Program, options: &str) -> Program {
    let mapping = format!("{}{options}^1", site.unix("s"));
    let client = site.client(server.server_addr(), &["-L", &mapping]);
    client.line(": listening on ");
    client
}

#[test]
fn the_file_has_its_mode_and_goes_with_the_client() {
    let site = Site::new();
    let server = server(&site, &["1".into()]);
    let path = site.path("s");
    for (options, mode) in [("", 0o600), ("?mode=0660", 0o660), ("?mode=666", 0o666)] {
        let client = at_the_client(&site, &server, options);
        let permissions = std::fs::metadata(&path).expect("a file").permissions();
        assert_eq!(permissions.mode() & 0o777, mode);
        client.signal(Signal::Terminate);
        assert_eq!(client.ended().code, 0);
        assert!(!path.exists());
    }
}

#[test]
fn what_is_there_is_replaced_only_if_it_is_dead() {
    let site = Site::new();
    let server = server(&site, &["1".into()]);
    let path = site.path("s");

    // Left behind by one who was killed.
    at_the_client(&site, &server, "").kill();
    assert!(path.exists());
    assert!(UnixStream::connect(&path).is_err());
    let living = at_the_client(&site, &server, "");
    connect(&path);

    let fails = |says: &str| {
        let mapping = format!("{}^1", site.unix("s"));
        let ended = site.client(server.server_addr(), &["-L", &mapping]).ended();
        assert_eq!(ended.code, 1);
        assert!(ended.error().contains(says), "{}", ended.stderr);
    };
    fails("in use");
    connect(&path);
    living.signal(Signal::Terminate);
    living.ended();

    std::fs::write(&path, "precious").expect("a file");
    fails("is no socket");
    assert_eq!(site.read("s"), b"precious");
}

#[test]
fn the_server_makes_sockets_only_where_it_may() {
    let site = Site::new();
    std::fs::create_dir(site.path("sub")).expect("a directory");
    let open = server(&site, &[]);
    let closed = site.server(&[]);
    let outside = format!("{}/x.sock", site.unix("sub"));
    for (server, path, says) in [
        (&closed, site.unix("x.sock"), "without --unix-dir"),
        (&open, outside, "--unix-dir"),
    ] {
        let args = ["-R", &format!("1^{path}")];
        let ended = site.client(server.server_addr(), &args).ended();
        assert_eq!(ended.code, 1, "{}", ended.stderr);
        assert!(ended.error().contains(says), "{}", ended.stderr);
    }
    assert!(!site.path("x.sock").exists() && !site.path("sub/x.sock").exists());

    // It goes with the session.
    let client = client(&site, &open, Mode::In, "1", &site.unix("x.sock"));
    assert!(site.path("x.sock").exists());
    client.signal(Signal::Terminate);
    client.ended();
    open.line("client gone");
    assert!(!site.path("x.sock").exists());
}
