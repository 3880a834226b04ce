//! Ranges of ports: a tunnel for each, and what is wrong with each told at once.

use std::net::{SocketAddr, TcpListener};

use crate::harness::Site;
use crate::harness::sockets::{Target, join, receive, send, steady_row, visit};
use crate::harness::tunnel::{Mode, in_both_modes};

in_both_modes!(each_port_leads_to_its_own);

fn each_port_leads_to_its_own(mode: Mode) {
    let site = Site::new();
    let first = steady_row(3);
    let targets: Vec<Target> = (first..first + 3)
        .map(|port| Target::at(([127, 0, 0, 1], port).into()))
        .collect();
    let range = format!("127.0.0.1:{first}-{}", first + 2);
    let server = site.server_with("127.0.0.1:0", &[], &["--downstream", &range]);
    let entrances = steady_row(3);
    let entrance = format!("127.0.0.1:{entrances}-{}", entrances + 2);
    let [flag, mapping] = match mode {
        Mode::Out => ["-L", &format!("{entrance}^{range}")],
        Mode::In => ["-R", &format!("{range}^{entrance}")],
    };
    let client = site.client(server.server_addr(), &[flag, mapping]);
    client.line("connected to ");
    for (target, port) in targets.iter().zip(entrances..) {
        let announced = match mode {
            Mode::Out => format!("{}: listening on ", target.addr()),
            Mode::In => format!("127.0.0.1:{port}: the server listens on "),
        };
        let announced: SocketAddr = client.addr(&announced);
        assert_eq!(announced.port(), port);
        join(announced, target);
    }
}

#[test]
fn each_port_that_is_taken_is_named() {
    let site = Site::new();
    let server = site.server_with("127.0.0.1:0", &[], &["--downstream", "1-3"]);
    let first = steady_row(3);
    let _held = [first, first + 2].map(|port| {
        TcpListener::bind(("127.0.0.1", port)).expect("a port that was free a moment ago")
    });
    let entrance = format!("127.0.0.1:{first}-{}", first + 2);
    for (flag, mapping) in [
        ("-L", format!("{entrance}^1-3")),
        ("-R", format!("1-3^{entrance}")),
    ] {
        let client = site.client(server.server_addr(), &[flag, &mapping]);
        let ended = client.ended();
        assert_eq!(ended.code, 1, "{}", ended.stderr);
        let errors = ended.errors();
        assert_eq!(errors.len(), 2, "{errors:#?}");
        for port in [first, first + 2] {
            let named = |error: &&str| error.contains(&format!("127.0.0.1:{port}"));
            assert!(errors.iter().any(named), "{port}: {errors:#?}");
        }
    }
}

/// A network of the rules is matched by what a name stands for, and that is what is dialed.
#[test]
fn networks_bound_what_is_reached() {
    let site = Site::new();
    let target = Target::new();
    let rule = "127.0.0.0/8:1-65535";
    let server = site.server_with("127.0.0.1:0", &[], &["--downstream", rule]);
    let name = format!("localhost:{}", target.port());
    let client = site.client(server.server_addr(), &["-L", &format!("0^{name}")]);
    let visitor = visit(client.entrance(": listening on "));
    send(&visitor, b"hello");
    assert_eq!(receive(&target.accept(), 5), b"hello");

    for other in ["192.0.2.1:80", "[::1]:80", "unix:///run/app.sock"] {
        let refused = site.client(server.server_addr(), &["-L", &format!("0^{other}")]);
        let ended = refused.ended();
        assert_eq!(ended.code, 1, "{}", ended.stderr);
        assert!(ended.error().contains("--downstream"), "{}", ended.stderr);
    }
}
