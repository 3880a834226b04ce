//! The relay loop: two TCP connections joined by a stream of a real QUIC connection, over loopback.
//!
//! Both ends and the load share one thread, so that what is measured is all the work that they and
//! the kernel do, and not how threads wake each other. A TCP connection alone stands beside it, for
//! what the load itself costs.

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use criterion::{BenchmarkGroup, Criterion, Throughput, measurement::WallTime};
use rstun::keygen::certify;
use rstun::metrics::Account;
use rstun::relay::relay;
use rstun::session::ALPN;
use rstun::socket::Socket;
use rstun::tls::{ServerIdentity, Trust};
use rstun::transport::{Bound, Congestion, Connection, Endpoint, Hop, Tuning, connect};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::{self, Runtime};
use tokio::task::JoinSet;

/// Any port of this machine's.
const ANYWHERE: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 0);

/// How the connection works.
const TUNING: Tuning = Tuning {
    congestion: Congestion::Bbr,
    idle_timeout: Duration::from_secs(30),
    hop: Hop {
        interval: None,
        more_ports: 0,
    },
};

/// Bytes of a bulk transfer.
const BULK: usize = 16 * 1024 * 1024;

/// Bytes of each write and read of a bulk transfer's load.
const BLOCK: usize = 256 * 1024;

/// Bytes of a request, and of its answer.
const REQUESTS: [usize; 2] = [64, 16 * 1024];

/// A TCP connection alone, and one through a tunnel.
pub(crate) fn measure(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("relay");
    let runtime = runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    let mut tasks = JoinSet::new();
    let (alone, tunnel) = runtime.block_on(async { (tcp().await, tunnel(&mut tasks).await) });
    for (name, mut ends) in [("TCP alone", alone), ("tunnel", tunnel)] {
        measure_flow(&mut group, name, &runtime, &mut ends);
    }
    group.finish();
}

fn measure_flow(
    group: &mut BenchmarkGroup<'_, WallTime>,
    name: &str,
    runtime: &Runtime,
    ends: &mut Ends,
) {
    let mut buffer = vec![0; BLOCK];
    group.throughput(Throughput::Bytes(BULK as u64));
    group.bench_function(format!("{name}, bulk"), |b| {
        b.iter(|| runtime.block_on(ends.bulk(&mut buffer)).expect("a flow"));
    });
    for size in REQUESTS {
        let buffer = &mut buffer[..size];
        group.throughput(Throughput::Elements(1));
        group.bench_function(format!("{name}, request of {size} bytes"), |b| {
            b.iter(|| runtime.block_on(ends.request(buffer)).expect("a flow"));
        });
    }
}

/// The two ends of a flow, where its bytes go in and come out.
struct Ends {
    near: TcpStream,
    far: TcpStream,
}

impl Ends {
    async fn bulk(&mut self, buffer: &mut [u8]) -> io::Result<()> {
        let block = vec![0; BLOCK];
        let send = async {
            for _ in 0..BULK / BLOCK {
                self.near.write_all(&block).await?;
            }
            Ok(())
        };
        let receive = async {
            for _ in 0..BULK / BLOCK {
                self.far.read_exact(buffer).await?;
            }
            Ok(())
        };
        tokio::try_join!(send, receive).map(drop)
    }

    async fn request(&mut self, buffer: &mut [u8]) -> io::Result<()> {
        self.near.write_all(buffer).await?;
        self.far.read_exact(buffer).await?;
        self.far.write_all(buffer).await?;
        self.near.read_exact(buffer).await.map(drop)
    }
}

/// A TCP connection.
async fn tcp() -> Ends {
    let listener = TcpListener::bind(ANYWHERE).await.expect("a port");
    let addr = listener.local_addr().expect("an address");
    let (near, accepted) = tokio::try_join!(TcpStream::connect(addr), listener.accept())
        .expect("a connection over loopback");
    let ends = Ends {
        near,
        far: accepted.0,
    };
    for socket in [&ends.near, &ends.far] {
        socket.set_nodelay(true).expect("a TCP socket");
    }
    ends
}

/// Two TCP connections, and between them a QUIC connection with a relay at each end. The tasks are
/// what keeps it going.
async fn tunnel(tasks: &mut JoinSet<()>) -> Ends {
    let (near, far) = (tcp().await, tcp().await);
    let (client, server) = connection().await;
    server.admit();
    let (mut near_tx, near_rx) = client.open().await.expect("a stream");
    // As a flow's header does, this tells the server of the stream.
    near_tx
        .write(Bytes::from_static(b"x"))
        .await
        .expect("a stream");
    let (far_tx, mut far_rx) = server.accept().await.expect("a stream");
    let byte = far_rx.read_some(1).await.expect("a stream");
    assert!(byte.is_some());
    for connection in [client, server] {
        tasks.spawn(async move { connection.exchange_credit().await });
    }
    let (near_far, far_near) = (
        Socket::tcp(near.far).expect("a socket"),
        Socket::tcp(far.near).expect("a socket"),
    );
    let account = Account::new(&Arc::default(), "");
    for (name, (socket, tx, rx)) in [
        ("near", (near_far, near_tx, near_rx)),
        ("far", (far_near, far_tx, far_rx)),
    ] {
        let count = account.listened(name);
        tasks.spawn(async move {
            let relayed = relay(socket, tx, rx, None, &count).await;
            relayed.expect("a flow");
        });
    }
    Ends {
        near: near.near,
        far: far.far,
    }
}

/// A QUIC connection, from its client's side and its server's.
async fn connection() -> (Connection, Connection) {
    let (certificate, key) = certify(&["localhost".to_owned()], 1).expect("a certificate");
    let identity = ServerIdentity::new(certificate.clone(), key);
    let tls = identity.config(ALPN, false).expect("a TLS configuration");
    let endpoint =
        Endpoint::bind(ANYWHERE.into(), Bound::default(), tls, [0; 32], TUNING).expect("a port");
    let pinned = Trust::from(certificate).config(ALPN, None);
    let tls = Arc::new(pinned.expect("a TLS configuration"));
    let accept = async { endpoint.accept().await.expect("a client").handshake().await };
    tokio::try_join!(connect(endpoint.local_addr(), tls, "rstun", TUNING), accept)
        .expect("a connection over loopback")
}
