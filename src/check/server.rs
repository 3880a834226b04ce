//! What a server would meet: its port, its files, and what its clients may reach.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, TcpListener, UdpSocket};
use std::time::Instant;

use super::{Report, or_runs, reach};
use crate::access::{Machines, Rule};
use crate::config::ServerConfig;
use crate::status::Role;
use crate::tunnel::{Host, HostPort, ListenAddr, Target};

pub(super) async fn check(config: ServerConfig, report: &mut Report) {
    report.note(
        "certificate and key",
        format_args!("SHA-256 {}", config.identity.fingerprint()),
    );
    let begun = Instant::now();
    let clients = config.clients.as_ref();
    let entries = clients.map_or(0, |clients| clients.entries.len());
    let may_log_in = match (&config.password, entries) {
        (None, 0) => Err("nobody can: --clients lists no client, and there is no password"),
        (None, n) => Ok(format!("{n} clients by their entries")),
        (Some(_), 0) => Ok("all who know the password".to_owned()),
        (Some(_), n) => Ok(format!(
            "all who know the password, and {n} clients by entries"
        )),
    };
    report.step("who may log in", begun, &may_log_in);
    let begun = Instant::now();
    let listened = bind(config.addr);
    let listened = or_runs(listened, Role::Server).await;
    report.step(format_args!("--addr {}", config.addr), begun, &listened);
    for target in config
        .password
        .iter()
        .flat_map(|(_, access)| singles(&access.reach))
    {
        let begun = Instant::now();
        let reached = reach(&target).await;
        report.step(format_args!("--downstream {target}"), begun, &reached);
    }
}

/// Takes the address as the server would, and gives it back.
fn bind(addr: ListenAddr) -> io::Result<String> {
    let ips = match addr.ip {
        Some(ip) => vec![ip],
        None => vec![
            IpAddr::V6(Ipv6Addr::UNSPECIFIED),
            IpAddr::V4(Ipv4Addr::UNSPECIFIED),
        ],
    };
    let mut outcome = Ok(());
    for ip in ips {
        let port = addr.port;
        outcome = UdpSocket::bind((ip, port)).and_then(|_| TcpListener::bind((ip, port)).map(drop));
        // A machine without IPv6 has the other.
        if !matches!(&outcome, Err(e) if e.kind() != io::ErrorKind::AddrInUse) {
            break;
        }
    }
    outcome.map(|()| "it is free, for UDP and TCP".to_owned())
}

/// What is listed as one port of one machine, or as a socket: that can be tried.
fn singles(rules: &[Rule]) -> Vec<Target> {
    let single = |rule: &Rule| {
        let (machines, ports) = match rule {
            Rule::Unix(path) => return Some(Target::Unix(path.clone())),
            Rule::Tcp(machines, ports) | Rule::Udp(machines, ports) => (machines, ports),
        };
        let host = match machines {
            Machines::Named(name) => Host::Name(name.clone()),
            Machines::Network(network) if network.is_single() => Host::Ip(network.address()),
            Machines::Network(_) => return None,
        };
        let mut ports = ports.iter();
        let (port, None) = (ports.next()?, ports.next()) else {
            return None;
        };
        let addr = HostPort { host, port };
        Some(match rule {
            Rule::Udp(..) => Target::Udp(addr),
            _ => Target::Tcp(addr),
        })
    };
    rules.iter().filter_map(single).collect()
}
