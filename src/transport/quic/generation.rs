//! Two processes at one UDP port: the one that goes, and the one that takes its place.
//!
//! Each has a socket of its own at the port (SO_REUSEPORT). Which of the two gets a packet is up to
//! the connection id that it carries: those that one generation of servers makes are even in their
//! first byte, those of the next one odd. A classic BPF program in the kernel looks at that.

use std::io;
use std::net::UdpSocket;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;

use quinn_proto::{ConnectionId, ConnectionIdGenerator, HashedConnectionIdGenerator, InvalidCid};
#[cfg(target_os = "linux")]
use socket2::{Domain, Protocol, SockRef, Socket, Type};

/// Which of two servers at one port this is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Generation {
    /// Whether the first byte of its connection ids is odd.
    odd: bool,
    /// Whether another that went before is still there.
    second: bool,
}

impl Generation {
    /// The one that comes after this.
    pub fn next(self) -> Self {
        Self {
            odd: !self.odd,
            second: true,
        }
    }

    /// Whether there is no other, as of the process's start.
    pub(super) fn is_alone(self) -> bool {
        !self.second
    }

    /// As one byte, for another process.
    pub fn to_byte(self) -> u8 {
        self.odd.into()
    }

    /// The generation of a process that takes another's place.
    pub fn second(byte: u8) -> Self {
        Self {
            odd: byte & 1 == 1,
            second: true,
        }
    }
}

/// Makes the connection ids of a generation.
pub(super) struct Ids {
    inner: HashedConnectionIdGenerator,
    odd: bool,
    /// Whether there is no other generation.
    alone: Arc<AtomicBool>,
}

impl Ids {
    pub(super) fn new(key: u64, generation: Generation, alone: Arc<AtomicBool>) -> Self {
        Self {
            inner: HashedConnectionIdGenerator::from_key(key),
            odd: generation.odd,
            alone,
        }
    }

    fn is_ours(&self, cid: &ConnectionId) -> bool {
        cid.first()
            .is_some_and(|first| (first & 1 == 1) == self.odd)
    }
}

impl ConnectionIdGenerator for Ids {
    fn generate_cid(&mut self) -> ConnectionId {
        loop {
            // Every second one is.
            let cid = self.inner.generate_cid();
            if self.is_ours(&cid) {
                return cid;
            }
        }
    }

    /// What is not valid is not reset, even if it went astray: the other generation may well know it.
    fn validate(&self, cid: &ConnectionId) -> Result<(), InvalidCid> {
        match self.is_ours(cid) || self.alone.load(Relaxed) {
            true => self.inner.validate(cid),
            false => Err(InvalidCid),
        }
    }

    fn cid_len(&self) -> usize {
        self.inner.cid_len()
    }

    fn cid_lifetime(&self) -> Option<Duration> {
        self.inner.cid_lifetime()
    }
}

/// Binds a second socket at the port of `first`, which goes on to get every packet.
///
/// Between two system calls the second may get one: whoever takes it over does not know it, and
/// whoever sent it sends it again.
#[cfg(target_os = "linux")]
pub(super) fn second_socket(first: &UdpSocket) -> io::Result<UdpSocket> {
    let (addr, socket) = (first.local_addr()?, SockRef::from(first));
    // Not before there is a need: until then nobody else is to have the port.
    socket.set_reuse_port(true)?;
    let bind = || {
        let second = Socket::new(Domain::for_address(addr), Type::DGRAM, Some(Protocol::UDP))?;
        if addr.is_ipv6() {
            second.set_only_v6(socket.only_v6()?)?;
        }
        second.set_reuse_port(true)?;
        second.set_nonblocking(true)?;
        second.bind(&addr.into())?;
        attach(first, vec![RETURN_FIRST])?;
        Ok(UdpSocket::from(second))
    };
    bind().inspect_err(|_: &io::Error| drop(socket.set_reuse_port(false)))
}

#[cfg(not(target_os = "linux"))]
pub(super) fn second_socket(_: &UdpSocket) -> io::Result<UdpSocket> {
    Err(io::ErrorKind::Unsupported.into())
}

/// Has the second socket get the packets of new connections, and of those of its own generation.
#[cfg(target_os = "linux")]
pub(super) fn steer(first: &UdpSocket, generation: Generation) -> io::Result<()> {
    attach(first, steering(generation.odd))
}

#[cfg(not(target_os = "linux"))]
pub(super) fn steer(_: &UdpSocket, _: Generation) -> io::Result<()> {
    Err(io::ErrorKind::Unsupported.into())
}

/// Gives the port to one socket alone.
pub(super) fn claim(socket: &UdpSocket) {
    #[cfg(target_os = "linux")]
    if let Err(e) = SockRef::from(socket).set_reuse_port(false) {
        tracing::debug!("the port may be shared: {e}");
    }
    #[cfg(not(target_os = "linux"))]
    let _ = socket;
}

#[cfg(target_os = "linux")]
const RETURN_FIRST: libc::sock_filter = instruction(RETURN, 0, 0, 0);

// Classic BPF (linux/filter.h): a byte of the payload, a constant and, jumps, and the socket's number.
#[cfg(target_os = "linux")]
const LOAD: u16 = (libc::BPF_LD | libc::BPF_B | libc::BPF_ABS) as u16;
#[cfg(target_os = "linux")]
const AND: u16 = (libc::BPF_ALU | libc::BPF_AND | libc::BPF_K) as u16;
#[cfg(target_os = "linux")]
const JUMP: u16 = (libc::BPF_JMP | libc::BPF_JA) as u16;
#[cfg(target_os = "linux")]
const IF_BITS: u16 = (libc::BPF_JMP | libc::BPF_JSET | libc::BPF_K) as u16;
#[cfg(target_os = "linux")]
const IF_EQUAL: u16 = (libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K) as u16;
#[cfg(target_os = "linux")]
const RETURN: u16 = (libc::BPF_RET | libc::BPF_K) as u16;

#[cfg(target_os = "linux")]
const fn instruction(code: u16, jt: u8, jf: u8, k: u32) -> libc::sock_filter {
    libc::sock_filter { code, jt, jf, k }
}

/// The first socket for packets with an id of the first generation's, the second for all others.
///
/// A client's first packet has an id of the client's own making, of 20 bytes from ours; ids that we
/// make have 8 (RFC 8999, sections 5.1 and 5.2). Another client that begins with 8 bytes may meet the
/// old process, which does not answer, and has to try again.
#[cfg(target_os = "linux")]
fn steering(first_is_odd: bool) -> Vec<libc::sock_filter> {
    vec![
        instruction(LOAD, 0, 0, 0),
        instruction(IF_BITS, 2, 0, 0x80),
        // A short header: the id follows.
        instruction(LOAD, 0, 0, 1),
        instruction(JUMP, 0, 0, 3),
        // A long one: the version comes first, then the id's length.
        instruction(LOAD, 0, 0, 5),
        instruction(IF_EQUAL, 0, 4, 8),
        instruction(LOAD, 0, 0, 6),
        instruction(AND, 0, 0, 1),
        instruction(IF_EQUAL, 0, 1, first_is_odd.into()),
        RETURN_FIRST,
        instruction(RETURN, 0, 0, 1),
    ]
}

#[cfg(target_os = "linux")]
fn attach(socket: &UdpSocket, mut program: Vec<libc::sock_filter>) -> io::Result<()> {
    use nix::sys::socket::{setsockopt, sockopt::AttachReusePortCbpf};

    let program = libc::sock_fprog {
        len: program.len() as u16,
        filter: program.as_mut_ptr(),
    };
    Ok(setsockopt(&socket, AttachReusePortCbpf, &program)?)
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    fn ids(generation: Generation, alone: &Arc<AtomicBool>) -> Ids {
        Ids::new(7, generation, alone.clone())
    }

    #[test]
    fn a_generation_resets_its_own_alone_while_there_is_another() {
        let first = Generation::default();
        let (alone, not_alone) = (Arc::new(AtomicBool::new(true)), Arc::default());
        let mut old = ids(first, &alone);
        let mut new = ids(first.next(), &not_alone);
        for _ in 0..100 {
            let (theirs, ours) = (old.generate_cid(), new.generate_cid());
            assert!(old.is_ours(&theirs) && !old.is_ours(&ours));
            assert!(new.validate(&ours).is_ok());
            assert!(new.validate(&theirs).is_err());
            // One that has nobody beside it ends what another left behind.
            assert!(old.validate(&ours).is_ok());
        }
        not_alone.store(true, Relaxed);
        assert!(new.validate(&old.generate_cid()).is_ok());
    }

    /// Which of two sockets gets a packet.
    #[test]
    fn packets_go_to_the_generation_that_knows_them() {
        let first = UdpSocket::bind("127.0.0.1:0").unwrap();
        let addr = first.local_addr().unwrap();
        let second = second_socket(&first).unwrap();
        let visitor = UdpSocket::bind("127.0.0.1:0").unwrap();
        let gets = |packet: &[u8]| {
            visitor.send_to(packet, addr).unwrap();
            let mut buffer = [0; 64];
            // On loopback it has arrived when it is sent.
            match second.recv(&mut buffer) {
                Ok(_) => "second",
                Err(_) => {
                    first.recv(&mut buffer).unwrap();
                    "first"
                }
            }
        };
        let short = |id: u8| [0x40, id, 9, 9, 9, 9, 9, 9, 9, 0];
        let long = |length: u8, id: u8| [0xc0, 0, 0, 0, 1, length, id, 9, 9, 9, 9, 9, 9, 9, 0];
        for packet in [&short(0)[..], &short(1), &long(20, 1), &long(8, 1)] {
            assert_eq!(gets(packet), "first");
        }
        for odd in [false, true] {
            steer(&first, Generation { odd, second: false }).unwrap();
            let (old, new) = (u8::from(odd), u8::from(!odd));
            for packet in [&short(old)[..], &short(old + 0x10), &long(8, old)] {
                assert_eq!(gets(packet), "first", "{packet:?}");
            }
            for packet in [
                &short(new)[..],
                &long(8, new),
                &long(20, old),
                &long(20, new),
            ] {
                assert_eq!(gets(packet), "second", "{packet:?}");
            }
        }
        // The one that stays gets all.
        drop(first);
        claim(&second);
        for id in 0..4 {
            visitor.send_to(&short(id), addr).unwrap();
            second.recv(&mut [0; 64]).unwrap();
        }
        assert!(UdpSocket::bind(addr).is_err());
    }
}
