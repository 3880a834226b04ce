//! What a client would meet: its own ports and targets, and each server from its name to the tunnels.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Result;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use super::{Report, or_runs, reach, resolve};
use crate::client;
use crate::config::{ClientConfig, Upstream};
use crate::listener::Listener;
use crate::metrics::{Account, Metrics};
use crate::session::{self, ALPN, LoggedIn, NotGiven, Opener, SessionError, Summons};
use crate::status::Role;
use crate::transport::{Connection, Lost};
use crate::tunnel::{Direction, Half, Listen, Target, Tunnel};

/// Longest that a step with the server may take.
const PATIENCE: Duration = Duration::from_secs(5);

pub(super) async fn check(config: ClientConfig, report: &mut Report) {
    for tunnel in &config.tunnels {
        near(tunnel, report).await;
    }
    let (failed, mut fine) = (report.failed, 0);
    for upstream in &config.servers {
        fine += usize::from(server(&config, upstream, report).await);
    }
    // Of servers that stand by for each other, or addresses of one, one is enough.
    if fine > 0 && fine < config.servers.len() && !config.all_servers {
        report.failed = failed;
        report.note(
            "servers",
            format_args!("{fine} can be used, and one is enough"),
        );
    }
}

/// What a tunnel needs of this machine.
async fn near(tunnel: &Tunnel, report: &mut Report) {
    let begun = Instant::now();
    match tunnel.near() {
        Half::Listen(Listen::Stdio, _) => {}
        Half::Listen(listen, _) => {
            let bound = Listener::bind(&listen).map(|_| "it is free".to_owned());
            let bound = or_runs(bound, Role::Client).await;
            report.step(format_args!("{tunnel}: listen on {listen}"), begun, &bound);
        }
        Half::Dial(target) => {
            let reached = reach(&target).await;
            report.step(
                format_args!("{tunnel}: dial {target} here"),
                begun,
                &reached,
            );
        }
    }
}

/// The way to one server; whether all of it can be gone.
async fn server(config: &ClientConfig, upstream: &Upstream, report: &mut Report) -> bool {
    let (name, begun, failed) = (&upstream.addr, Instant::now(), report.failed);
    let found = resolve(name).await;
    if !report.step(format_args!("{name}: address"), begun, &found) {
        return false;
    }
    let Some(connection) = connect(config, upstream, report).await else {
        return false;
    };
    let begun = Instant::now();
    let logged_in = log_in(config, connection, &[]).await;
    let said = logged_in.as_ref().map(|_| "accepted");
    if !report.step(format_args!("{name}: login"), begun, &said) {
        return false;
    }
    if let Ok(LoggedIn { session, .. }) = logged_in {
        let (stop, opener) = (CancellationToken::new(), session.opener());
        let summons = Summons::default();
        let run = session.run(&stop, &summons, Duration::ZERO);
        let probe = async {
            far_targets(config, &opener, report).await;
            stop.cancel();
        };
        tokio::join!(run, probe);
    }
    far_listeners(config, upstream, report).await;
    report.failed == failed
}

/// The handshake, which shows that UDP gets there and that the server is the right one.
async fn connect(
    config: &ClientConfig,
    upstream: &Upstream,
    report: &mut Report,
) -> Option<Connection> {
    let (name, begun) = (&upstream.addr, Instant::now());
    let connected = open(config, upstream).await;
    let said = connected.as_ref().map(|connection| {
        let rtt = connection.rtt().as_secs_f64() * 1000.0;
        let from = connection.remote_address();
        format!("{from} is the right server, {rtt:.1} ms away")
    });
    report.step(
        format_args!("{name}: handshake and certificate"),
        begun,
        &said,
    );
    connected.ok()
}

async fn open(config: &ClientConfig, upstream: &Upstream) -> Result<Connection> {
    let tls = Arc::new(upstream.trust.config(ALPN, config.credential.key())?);
    let connected = client::connect(&upstream.addr, &upstream.ways, &tls, config.tuning).await;
    Ok(connected.map_err(|lost| match lost {
        Lost::Certificate(why) => SessionError::Untrusted(upstream.trust.complaint(&why)),
        lost => SessionError::Lost(lost),
    })?)
}

async fn log_in(
    config: &ClientConfig,
    connection: Connection,
    tunnels: &[Tunnel],
) -> Result<LoggedIn, SessionError> {
    let account = Account::new(&Arc::<Metrics>::default(), "");
    let instance = std::array::from_fn(|_| fastrand::u8(..));
    let (credential, idle) = (&config.credential, config.udp_idle);
    let tunnels: Vec<_> = (0..).zip(tunnels.iter().cloned()).collect();
    let login = session::login(
        connection,
        credential,
        (instance, session::Former::Breaks),
        &tunnels,
        idle,
        account,
    );
    let logged_in = timeout(PATIENCE, login).await;
    logged_in.unwrap_or(Err(SessionError::Lost(Lost::TimedOut)))
}

/// What the tunnels out of this machine lead to, through a session without tunnels.
async fn far_targets(config: &ClientConfig, opener: &Opener, report: &mut Report) {
    for tunnel in config
        .tunnels
        .iter()
        .filter(|t| t.direction == Direction::Out)
    {
        let begun = Instant::now();
        if matches!(tunnel.target, Target::Udp(_) | Target::Asked) {
            continue;
        }
        let reached = opener.connect(tunnel.target.clone()).await;
        let said = reached.map(|_| "the server reaches it");
        report.step(
            format_args!("{tunnel}: {} there", tunnel.target),
            begun,
            &said,
        );
    }
}

/// Where the server listens for the tunnels into this machine, for a moment.
async fn far_listeners(config: &ClientConfig, upstream: &Upstream, report: &mut Report) {
    let inward = |tunnel: &&Tunnel| tunnel.direction == Direction::In;
    let tunnels: Vec<_> = config.tunnels.iter().filter(inward).cloned().collect();
    if tunnels.is_empty() {
        return;
    }
    let begun = Instant::now();
    let logged_in = match open(config, upstream).await {
        Ok(connection) => log_in(config, connection, &tunnels).await,
        Err(e) => {
            report.step(
                format_args!("{}: tunnels", upstream.addr),
                begun,
                &Err::<&str, _>(e),
            );
            return;
        }
    };
    match logged_in {
        Ok(LoggedIn { session, listening }) => {
            for (tunnel, addr) in tunnels.iter().zip(listening) {
                let free = Ok::<_, &str>(addr.unwrap_or_default() + " is free at the server");
                report.step(tunnel, begun, &free);
            }
            let stop = CancellationToken::new();
            stop.cancel();
            session
                .run(&stop, &Summons::default(), Duration::ZERO)
                .await;
        }
        Err(SessionError::Refused(refused)) => {
            for NotGiven { tunnel, why, .. } in refused {
                let taken = std::io::Error::from(std::io::ErrorKind::AddrInUse);
                let refused = match why.ends_with("is taken at the server") {
                    true => or_runs(Err(taken), Role::Client).await.map_err(|_| why),
                    false => Err(why),
                };
                report.step(tunnel, begun, &refused);
            }
        }
        Err(e) => {
            report.step(
                format_args!("{}: tunnels", upstream.addr),
                begun,
                &Err::<&str, _>(e),
            );
        }
    }
}
