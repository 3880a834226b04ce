//! Visitors, targets, and the ways a TCP connection can end.

use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::sync::LazyLock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use socket2::{Domain, SockRef, Socket, Type};

use super::DEADLINE;

/// A port that is free for TCP and for UDP, and that nobody else is given by chance: it is below those that
/// systems choose from when they are asked for any.
pub(crate) fn steady_port() -> u16 {
    steady_row(1)
}

/// So many such ports in a row: the first of them.
pub(crate) fn steady_row(length: u16) -> u16 {
    const FIRST: u16 = 10_000;
    const COUNT: u32 = 20_000;
    // Two runs on one machine begin at different places.
    static NEXT: LazyLock<AtomicU32> =
        LazyLock::new(|| AtomicU32::new(std::process::id().wrapping_mul(1009)));
    let is_free = |port: &u16| {
        let any = (Ipv4Addr::UNSPECIFIED, *port);
        TcpListener::bind(any).is_ok() && UdpSocket::bind(any).is_ok()
    };
    let first = || FIRST + (NEXT.fetch_add(length.into(), Ordering::Relaxed) % COUNT) as u16;
    let mut rows = (0..COUNT).map(|_| first());
    let row = rows.find(|first| (*first..first + length).all(|port| is_free(&port)));
    row.expect("free ports in a row")
}

/// A TCP service in the test's own hands.
pub(crate) struct Target(TcpListener);

impl Target {
    /// Listens on a free port of 127.0.0.1.
    pub(crate) fn new() -> Self {
        Self::at("127.0.0.1:0".parse().expect("an address"))
    }

    /// Listens on `addr`.
    pub(crate) fn at(addr: SocketAddr) -> Self {
        let listener = TcpListener::bind(addr).expect("a free port");
        // Linux applies this to accept(2) too.
        let timeout = SockRef::from(&listener).set_read_timeout(Some(DEADLINE));
        timeout.expect("a deadline for accept");
        Self(listener)
    }

    pub(crate) fn addr(&self) -> SocketAddr {
        self.0.local_addr().expect("a bound listener")
    }

    pub(crate) fn port(&self) -> u16 {
        self.addr().port()
    }

    /// Whether anybody has come who was not accepted. What is over by now has come by now.
    #[cfg(target_os = "linux")]
    pub(crate) fn was_visited(&self) -> bool {
        self.0.set_nonblocking(true).expect("a socket of its own");
        let accepted = self.0.accept().map_err(|error| error.kind());
        accepted.map_or_else(|kind| kind != ErrorKind::WouldBlock, |_| true)
    }

    /// Waits for the next connection.
    pub(crate) fn accept(&self) -> TcpStream {
        let (stream, _) = self.0.accept().expect("a connection at the target");
        with_deadlines(stream)
    }
}

/// An address of 127.0.0.1 where connections are refused, for as long as this lives: the port is bound, so
/// that nobody else can get it, but nothing listens.
pub(crate) struct ClosedPort(Socket);

impl ClosedPort {
    pub(crate) fn new() -> Self {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
        let any = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        socket.bind(&any.into()).expect("a free port");
        Self(socket)
    }

    pub(crate) fn addr(&self) -> SocketAddr {
        let addr = self.0.local_addr().expect("a bound socket");
        addr.as_socket().expect("an IP address")
    }
}

/// Connects to a tunnel's entrance.
pub(crate) fn visit(entrance: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect_timeout(&entrance, DEADLINE);
    with_deadlines(stream.unwrap_or_else(|error| panic!("no way in at {entrance}: {error}")))
}

/// As [`visit`], with a socket that takes in little before it is read from.
pub(crate) fn visit_with_small_buffer(entrance: SocketAddr) -> TcpStream {
    let socket = Socket::new(Domain::for_address(entrance), Type::STREAM, None);
    let socket = socket.expect("a socket");
    socket.set_recv_buffer_size(4096).expect("a small buffer");
    let connected = socket.connect(&entrance.into());
    connected.unwrap_or_else(|error| panic!("no way in at {entrance}: {error}"));
    with_deadlines(socket.into())
}

fn with_deadlines(stream: TcpStream) -> TcpStream {
    stream.set_read_timeout(Some(DEADLINE)).expect("a timeout");
    stream.set_write_timeout(Some(DEADLINE)).expect("a timeout");
    stream
}

/// Writes all of `bytes`.
pub(crate) fn send(mut stream: &TcpStream, bytes: impl AsRef<[u8]>) {
    stream.write_all(bytes.as_ref()).expect("bytes written");
}

/// Writes until nothing goes any more.
pub(crate) fn fill(mut stream: &TcpStream) {
    let pause = Some(Duration::from_millis(500));
    stream.set_write_timeout(pause).expect("a timeout");
    let error = loop {
        if let Err(error) = stream.write(&[b'f'; 1 << 16]) {
            break error.kind();
        }
    };
    assert_eq!(error, ErrorKind::WouldBlock);
}

/// Reads `len` bytes.
pub(crate) fn receive(mut stream: &TcpStream, len: usize) -> Vec<u8> {
    let mut bytes = vec![0; len];
    stream.read_exact(&mut bytes).expect("bytes read");
    bytes
}

/// Reads up to the end of the stream, which must be a FIN and not a reset.
pub(crate) fn receive_all(mut stream: &TcpStream) -> Vec<u8> {
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes).expect("an orderly end");
    bytes
}

/// Ends the sending direction.
pub(crate) fn finish(stream: &TcpStream) {
    stream.shutdown(Shutdown::Write).expect("a FIN sent");
}

/// Closes with an RST.
pub(crate) fn reset(stream: TcpStream) {
    let linger = SockRef::from(&stream).set_linger(Some(Duration::ZERO));
    linger.expect("SO_LINGER");
}

/// Waits for an RST. Fails on an orderly end, and on any byte.
pub(crate) fn assert_reset(stream: &TcpStream) {
    let read = read_one(stream).map_err(|error| error.kind());
    assert_eq!(read, Err(ErrorKind::ConnectionReset));
}

/// Goes in at `entrance`, says `words`, and expects an RST, at whichever step it comes.
pub(crate) fn assert_turned_away(entrance: SocketAddr, words: &[u8]) {
    let connected = TcpStream::connect(entrance).map(with_deadlines);
    let read = connected.and_then(|mut visitor| {
        visitor.write_all(words)?;
        read_one(&visitor)
    });
    let read = read.map_err(|error| error.kind());
    assert_eq!(read, Err(ErrorKind::ConnectionReset));
}

/// Waits for a byte or the end. A machine that pauses the whole test interrupts whatever has a timeout
/// (signal(7)).
fn read_one(mut stream: &TcpStream) -> std::io::Result<usize> {
    loop {
        match stream.read(&mut [0; 1]) {
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            read => return read,
        }
    }
}

/// Sends `text` from one end of a flow and waits for it at the other, each way.
pub(crate) fn assert_joined(visitor: &TcpStream, target: &TcpStream) {
    for (from, to, text) in [(visitor, target, b"ping"), (target, visitor, b"pong")] {
        send(from, text);
        assert_eq!(receive(to, text.len()), text);
    }
}

/// Goes in at `entrance`, comes out at `target`, and returns both ends of the flow after a word each way.
pub(crate) fn join(entrance: SocketAddr, target: &Target) -> (TcpStream, TcpStream) {
    let visitor = visit(entrance);
    send(&visitor, b"hello");
    let end = target.accept();
    assert_eq!(receive(&end, 5), b"hello");
    assert_joined(&visitor, &end);
    (visitor, end)
}

/// What becomes of a visitor.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Reception {
    /// Nobody listens.
    Closed,
    /// Let in, and reset.
    TurnedAway,
    /// Let in, and nothing more has been seen of it.
    LetIn,
}

/// Sends visitors to `entrance` until one gets one of these receptions. Those who stay in leave by an RST, so
/// that no flow of theirs stays behind.
pub(crate) fn wait_for_reception(entrance: SocketAddr, expected: &[Reception]) {
    let deadline = Instant::now() + DEADLINE;
    // Doubled each time: long enough at last for whatever the far side takes, and no longer than twice that.
    let mut patience = Duration::from_millis(20);
    while !expected.contains(&receive_visitor(entrance, patience)) {
        assert!(Instant::now() < deadline, "{entrance}: never {expected:?}");
        patience *= 2;
    }
}

fn receive_visitor(entrance: SocketAddr, patience: Duration) -> Reception {
    let connected = TcpStream::connect_timeout(&entrance, DEADLINE);
    let read = connected.and_then(|visitor| {
        visitor.set_read_timeout(Some(patience))?;
        let read = read_one(&visitor);
        reset(visitor);
        read
    });
    match read.map_err(|error| error.kind()) {
        Err(ErrorKind::ConnectionRefused) => Reception::Closed,
        Err(ErrorKind::ConnectionReset) => Reception::TurnedAway,
        Err(ErrorKind::WouldBlock | ErrorKind::TimedOut) => Reception::LetIn,
        unexpected => panic!("{entrance}: {unexpected:?}"),
    }
}
