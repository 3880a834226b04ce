//! What is listened on and what is dialed, as bytes.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use super::reader::{Reader, encode_text};
use super::{DecodeError, unknown};
use crate::tunnel::{
    Credentials, Host, HostPort, Listen, ListenAddr, MAX_UNIX_PATH, ProxyHeader, Target, UnixPath,
};

/// Longest name of a host, in bytes.
const MAX_NAME: usize = 253;

/// What a [`Listen`] or a [`Target`] is, in its first byte.
const TCP: u8 = 0;
const UDP: u8 = 1;
const UNIX: u8 = 2;
const SOCKS5: u8 = 3;
const HTTP: u8 = 4;
const ASKED: u8 = 5;
const STDIO: u8 = 6;

/// Family of an address: none, which stands for all; a name; IPv4; IPv6.
const FAMILY_ALL: u8 = 0;
const FAMILY_NAME: u8 = 1;
const FAMILY_IPV4: u8 = 4;
const FAMILY_IPV6: u8 = 6;

pub(super) fn encode_listen(listen: &Listen, out: &mut Vec<u8>) {
    match listen {
        Listen::Tcp(addr) => {
            out.push(TCP);
            encode_listen_addr(addr, out);
        }
        Listen::Udp { addr, timeout } => {
            out.push(UDP);
            encode_listen_addr(addr, out);
            let seconds = timeout.map_or(0, |timeout| timeout.as_secs() as u32);
            out.extend(seconds.to_be_bytes());
        }
        Listen::Unix { path, mode } => {
            out.push(UNIX);
            encode_text(path.as_str(), MAX_UNIX_PATH, out);
            out.extend((*mode as u16).to_be_bytes());
        }
        // It is a client's own, and never asked of a server.
        Listen::Stdio => out.push(STDIO),
        Listen::Socks5 { addr, auth } => {
            out.push(SOCKS5);
            encode_listen_addr(addr, out);
            encode_auth(auth.as_ref(), out);
        }
        Listen::Http { addr, auth } => {
            out.push(HTTP);
            encode_listen_addr(addr, out);
            encode_auth(auth.as_ref(), out);
        }
    }
}

pub(super) fn decode_listen(reader: &mut Reader<'_>) -> Result<Listen, DecodeError> {
    Ok(match reader.u8()? {
        TCP => Listen::Tcp(decode_listen_addr(reader)?),
        UDP => Listen::Udp {
            addr: decode_listen_addr(reader)?,
            timeout: match reader.u32()? {
                0 => None,
                seconds => Some(Duration::from_secs(seconds.into())),
            },
        },
        UNIX => Listen::Unix {
            path: decode_path(reader)?,
            mode: u32::from(reader.u16()?) & 0o777,
        },
        SOCKS5 => Listen::Socks5 {
            addr: decode_listen_addr(reader)?,
            auth: decode_auth(reader)?,
        },
        HTTP => Listen::Http {
            addr: decode_listen_addr(reader)?,
            auth: decode_auth(reader)?,
        },
        n => return Err(unknown("listener", n)),
    })
}

pub(super) fn encode_target(target: &Target, out: &mut Vec<u8>) {
    match target {
        Target::Tcp(addr) => {
            out.push(TCP);
            encode_host_port(addr, out);
        }
        Target::Udp(addr) => {
            out.push(UDP);
            encode_host_port(addr, out);
        }
        Target::Unix(path) => {
            out.push(UNIX);
            encode_text(path.as_str(), MAX_UNIX_PATH, out);
        }
        Target::Asked => out.push(ASKED),
    }
}

pub(super) fn decode_target(reader: &mut Reader<'_>) -> Result<Target, DecodeError> {
    Ok(match reader.u8()? {
        TCP => Target::Tcp(decode_host_port(reader)?),
        UDP => Target::Udp(decode_host_port(reader)?),
        UNIX => Target::Unix(decode_path(reader)?),
        ASKED => Target::Asked,
        n => return Err(unknown("target", n)),
    })
}

pub(super) fn proxy_code(proxy: Option<ProxyHeader>) -> u8 {
    match proxy {
        None => 0,
        Some(ProxyHeader::V1) => 1,
        Some(ProxyHeader::V2) => 2,
    }
}

pub(super) fn decode_proxy(reader: &mut Reader<'_>) -> Result<Option<ProxyHeader>, DecodeError> {
    match reader.u8()? {
        0 => Ok(None),
        1 => Ok(Some(ProxyHeader::V1)),
        2 => Ok(Some(ProxyHeader::V2)),
        n => Err(unknown("PROXY header", n)),
    }
}

fn encode_auth(auth: Option<&Credentials>, out: &mut Vec<u8>) {
    match auth {
        None => out.push(0),
        Some(credentials) => {
            out.push(1);
            out.extend(credentials.digest());
        }
    }
}

fn decode_auth(reader: &mut Reader<'_>) -> Result<Option<Credentials>, DecodeError> {
    match reader.u8()? {
        0 => Ok(None),
        1 => Ok(Some(Credentials::from_digest(reader.array()?))),
        n => Err(unknown("authentication", n)),
    }
}

fn decode_path(reader: &mut Reader<'_>) -> Result<UnixPath, DecodeError> {
    // Through the grammar's parser, so that nothing that it does not allow gets any further.
    reader.text()?.parse().map_err(|_| DecodeError::Text)
}

fn encode_listen_addr(addr: &ListenAddr, out: &mut Vec<u8>) {
    match addr.ip {
        None => out.push(FAMILY_ALL),
        Some(ip) => encode_ip(ip, out),
    }
    out.extend(addr.port.to_be_bytes());
}

fn decode_listen_addr(reader: &mut Reader<'_>) -> Result<ListenAddr, DecodeError> {
    let ip = match reader.u8()? {
        FAMILY_ALL => None,
        family => Some(decode_ip(family, reader)?),
    };
    Ok(ListenAddr {
        ip,
        port: reader.u16()?,
    })
}

fn encode_host_port(addr: &HostPort, out: &mut Vec<u8>) {
    match &addr.host {
        Host::Ip(ip) => encode_ip(*ip, out),
        Host::Name(name) => {
            out.push(FAMILY_NAME);
            encode_text(name, MAX_NAME, out);
        }
    }
    out.extend(addr.port.to_be_bytes());
}

fn decode_host_port(reader: &mut Reader<'_>) -> Result<HostPort, DecodeError> {
    let host = match reader.u8()? {
        // Through the grammar's parser too.
        FAMILY_NAME => match reader.text()?.parse() {
            Ok(Host::Name(name)) => Host::Name(name),
            Ok(Host::Ip(_)) | Err(_) => return Err(DecodeError::Text),
        },
        family => Host::Ip(decode_ip(family, reader)?),
    };
    Ok(HostPort {
        host,
        port: reader.u16()?,
    })
}

pub(super) fn encode_socket_addr(addr: SocketAddr, out: &mut Vec<u8>) {
    encode_ip(addr.ip(), out);
    out.extend(addr.port().to_be_bytes());
}

pub(super) fn decode_socket_addr(reader: &mut Reader<'_>) -> Result<SocketAddr, DecodeError> {
    let family = reader.u8()?;
    let ip = decode_ip(family, reader)?;
    Ok(SocketAddr::new(ip, reader.u16()?))
}

fn encode_ip(ip: IpAddr, out: &mut Vec<u8>) {
    match ip {
        IpAddr::V4(ip) => {
            out.push(FAMILY_IPV4);
            out.extend(ip.octets());
        }
        IpAddr::V6(ip) => {
            out.push(FAMILY_IPV6);
            out.extend(ip.octets());
        }
    }
}

fn decode_ip(family: u8, reader: &mut Reader<'_>) -> Result<IpAddr, DecodeError> {
    match family {
        FAMILY_IPV4 => Ok(reader.array::<4>()?.into()),
        FAMILY_IPV6 => Ok(reader.array::<16>()?.into()),
        n => Err(unknown("address family", n)),
    }
}
