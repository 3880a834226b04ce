//! A client opens towards the server what it asked for, and nothing else: here the server is hostile.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, mpsc};

use quinn::crypto::rustls::QuicServerConfig;
use quinn::{ReadError, VarInt};
use rstun::wire::{FRAME_HEADER, FlowHeader, Grant, Message, NO_TUNNEL};
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

use crate::harness::sockets::{Target, receive};
use crate::harness::{DEADLINE, Site};

/// "No such tunnel, or its target is not allowed" (PROTOCOL.md).
const NOT_ALLOWED: VarInt = VarInt::from_u32(0x15);

#[test]
fn nothing_but_what_was_asked_for() {
    let site = Site::new();
    let [asked, other] = [Target::new(), Target::new()];
    let (hostile, flows) = (config(&site), flows(other.addr()));
    let (addr, at) = mpsc::channel();
    let server = std::thread::spawn(move || run(serve(hostile, flows, addr)));
    let addr: SocketAddr = at.recv().expect("a server that starts");
    let (out, inward) = (format!("0^{}", other.addr()), format!("{}^1", asked.addr()));
    let client = site.client(addr, &["-L", &out, "-R", &inward]);
    client.line("connected to ");
    // The one that was asked for comes through, and comes last.
    assert_eq!(receive(&asked.accept(), 5), b"hello");
    server.join().expect("flows that are refused");
}

/// Flows that a server must not open, by their headers. Tunnel 0 is a TunnelOut, tunnel 1 a TunnelIn.
fn flows(other: SocketAddr) -> Vec<FlowHeader> {
    let target = || rstun::tunnel::Target::Tcp(other.into());
    vec![
        FlowHeader::Fixed(0),
        FlowHeader::Fixed(2),
        FlowHeader::Fixed(NO_TUNNEL),
        FlowHeader::Asked(0, target()),
        FlowHeader::Asked(1, target()),
        FlowHeader::Asked(NO_TUNNEL, target()),
    ]
}

async fn serve(
    config: quinn::ServerConfig,
    refused: Vec<FlowHeader>,
    started: mpsc::Sender<SocketAddr>,
) {
    let endpoint = quinn::Endpoint::server(config, (Ipv4Addr::LOCALHOST, 0).into());
    let endpoint = endpoint.expect("an endpoint");
    started
        .send(endpoint.local_addr().expect("an address"))
        .expect("a test that waits");
    let connection = endpoint.accept().await.expect("a client").await;
    let connection = connection.expect("a handshake");
    let (mut tx, mut rx) = connection.accept_bi().await.expect("a control stream");
    let mut header = [0; FRAME_HEADER];
    rx.read_exact(&mut header).await.expect("a login");
    let mut body = vec![0; Message::body_length(&header).expect("a length")];
    rx.read_exact(&mut body).await.expect("a whole login");
    let login = Message::decode(&header, &body).expect("a login");
    assert!(matches!(login, Message::Login(_)), "{login:?}");
    let listening = Grant::Listening((Ipv4Addr::LOCALHOST, 1).into());
    let welcome = Message::Welcome(vec![Grant::Open, listening]);
    tx.write_all(&welcome.encode())
        .await
        .expect("an answer sent");
    for flow in refused {
        let (mut tx, mut rx) = connection.open_bi().await.expect("a stream");
        tx.write_all(&flow.encode()).await.expect("a header sent");
        let read = rx.read(&mut [0; 1]).await;
        assert_eq!(read, Err(ReadError::Reset(NOT_ALLOWED)), "{flow:?}");
    }
    let (mut tx, mut rx) = connection.open_bi().await.expect("a stream");
    let flow = FlowHeader::Fixed(1).encode();
    tx.write_all(&[&flow, &b"hello"[..]].concat())
        .await
        .expect("a flow begun");
    // Until the target is gone, and so all has been seen.
    let _ = rx.read(&mut [0; 1]).await;
}

/// A server with the site's key, whose every client trusts it.
fn config(site: &Site) -> quinn::ServerConfig {
    let certificate = CertificateDer::from(site.read("certificate.der"));
    let key = PrivateKeyDer::try_from(site.read("priv_key.der")).expect("a key");
    let crypto = Arc::new(aws_lc_rs::default_provider());
    let mut tls = rustls::ServerConfig::builder_with_provider(crypto)
        .with_protocol_versions(&[&rustls::version::TLS13])
        .expect("TLS 1.3")
        .with_no_client_auth()
        .with_single_cert(vec![certificate], key)
        .expect("a pair");
    tls.alpn_protocols = vec![rstun::wire::ALPN.to_vec()];
    let quic = QuicServerConfig::try_from(tls).expect("a configuration for QUIC");
    quinn::ServerConfig::with_crypto(Arc::new(quic))
}

fn run(future: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    let runtime = runtime.expect("a runtime");
    let ended = runtime.block_on(async { tokio::time::timeout(DEADLINE, future).await });
    ended.expect("an end within the deadline");
}
