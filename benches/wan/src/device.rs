//! Network devices, through the interface of netdevice(7), so that nothing need be installed.

use std::fs::File;
use std::io;
use std::net::Ipv4Addr;

use rustix::fd::AsFd;
use rustix::fs::{Mode, OFlags};
use rustix::ioctl::{Opcode, Updater, ioctl};
use rustix::net::{AddressFamily, SocketType, socket};

// From linux/if_tun.h and linux/sockios.h.
const TUNSETIFF: Opcode = 0x4004_54CA;
const SIOCGIFFLAGS: Opcode = 0x8913;
const SIOCSIFFLAGS: Opcode = 0x8914;
const SIOCSIFADDR: Opcode = 0x8916;
const SIOCSIFNETMASK: Opcode = 0x891C;
const SIOCSIFMTU: Opcode = 0x8922;
const SIOCSIFTXQLEN: Opcode = 0x8943;

const IFF_UP: u16 = 0x1;
const IFF_TUN: u16 = 0x1;
const IFF_NO_PI: u16 = 0x1000;

const NAME: &str = "wan0";

/// Packets that wait in the device itself. The link reads at once, so this is for its thread's pauses.
const DEVICE_QUEUE: i32 = 2000;

/// Makes a TUN device named `wan0` in the calling thread's namespace, and brings it up. What is read
/// from it is one IP packet at a time; reads do not block.
pub(crate) fn tun(address: Ipv4Addr, mtu: u16) -> io::Result<File> {
    let flags = OFlags::RDWR | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let device = rustix::fs::open("/dev/net/tun", flags, Mode::empty())?;
    let kind = IFF_TUN | IFF_NO_PI;
    request::<TUNSETIFF>(&device, NAME, &kind.to_ne_bytes())?;

    let control = socket(AddressFamily::INET, SocketType::DGRAM, None)?;
    request::<SIOCSIFADDR>(&control, NAME, &inet(address))?;
    request::<SIOCSIFNETMASK>(&control, NAME, &inet(Ipv4Addr::new(255, 255, 255, 0)))?;
    request::<SIOCSIFMTU>(&control, NAME, &i32::from(mtu).to_ne_bytes())?;
    // In a user namespace that is not allowed, and the usual 500 will do.
    let _ = request::<SIOCSIFTXQLEN>(&control, NAME, &DEVICE_QUEUE.to_ne_bytes());
    bring_up(NAME)?;
    Ok(device.into())
}

/// Brings a device of the calling thread's namespace up.
pub(crate) fn bring_up(name: &str) -> io::Result<()> {
    let control = socket(AddressFamily::INET, SocketType::DGRAM, None)?;
    let value = request::<SIOCGIFFLAGS>(&control, name, &[])?;
    let flags = u16::from_ne_bytes([value[0], value[1]]) | IFF_UP;
    request::<SIOCSIFFLAGS>(&control, name, &flags.to_ne_bytes())?;
    Ok(())
}

/// `struct ifreq`: a device's name, and a union of which each request has its own member.
#[repr(C, align(8))]
struct Request {
    name: [u8; 16],
    value: [u8; 24],
}

/// Makes a request about a device, and returns the value that the kernel has left in it.
#[allow(unsafe_code)]
fn request<const CODE: Opcode>(fd: impl AsFd, name: &str, value: &[u8]) -> io::Result<[u8; 24]> {
    let mut request = Request {
        name: [0; 16],
        value: [0; 24],
    };
    request.name[..name.len()].copy_from_slice(name.as_bytes());
    request.value[..value.len()].copy_from_slice(value);
    // SAFETY: each of the codes above takes one `struct ifreq`, as large as this one, and writes to
    // nothing else.
    unsafe { ioctl(fd, Updater::<CODE, Request>::new(&mut request)) }?;
    Ok(request.value)
}

/// `struct sockaddr_in` with port 0.
fn inet(address: Ipv4Addr) -> [u8; 8] {
    let [a, b, c, d] = address.octets();
    let [x, y] = AddressFamily::INET.as_raw().to_ne_bytes();
    [x, y, 0, 0, a, b, c, d]
}
