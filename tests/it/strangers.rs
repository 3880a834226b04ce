//! Peers of another version, and those that speak nothing at all.

use std::future::Future;
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::sync::Arc;
use std::thread::JoinHandle;

use quinn::crypto::rustls::{QuicClientConfig, QuicServerConfig};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::{DigitallySignedStruct, SignatureScheme};

use crate::harness::sockets::{Target, assert_joined};
use crate::harness::tunnel::{Mode, Tunnel, in_both_modes};
use crate::harness::{DEADLINE, Site};

in_both_modes!(client_of_another_version, noise_at_the_servers_port);

/// The alert no_application_protocol (RFC 7301, section 3.2) as a QUIC error (RFC 9001, section 4.8).
const NO_APPLICATION_PROTOCOL: u64 = 0x100 + 120;

fn client_of_another_version(mode: Mode) {
    let tunnel = Tunnel::new(mode);
    let (visitor, target) = tunnel.flow();
    let addr = tunnel.server_addr;
    let refused = run(async move {
        let endpoint = quinn::Endpoint::client((Ipv4Addr::LOCALHOST, 0).into());
        let endpoint = endpoint.expect("an endpoint");
        let connecting = endpoint.connect_with(client_config(b"rstun/0"), addr, "rstun");
        connecting.expect("a connection begun").await.err()
    });
    let Some(quinn::ConnectionError::ConnectionClosed(close)) = refused else {
        panic!("not refused, or without a reason: {refused:?}");
    };
    assert_eq!(u64::from(close.error_code), NO_APPLICATION_PROTOCOL);
    tunnel.server.line("version");

    // Nobody else has noticed.
    assert_joined(&visitor, &target);
    tunnel.flow();
}

#[test]
fn server_of_another_version() {
    let site = Site::new();
    let certificate = CertificateDer::from(site.read("certificate.der"));
    let key = PrivateKeyDer::try_from(site.read("priv_key.der")).expect("a key");
    let mut tls = rustls::ServerConfig::builder_with_provider(crypto())
        .with_protocol_versions(&[&rustls::version::TLS13])
        .expect("TLS 1.3")
        .with_no_client_auth()
        .with_single_cert(vec![certificate], key)
        .expect("a pair");
    tls.alpn_protocols = vec![b"rstun/9".to_vec()];
    let quic = QuicServerConfig::try_from(tls).expect("a configuration for QUIC");
    let config = quinn::ServerConfig::with_crypto(Arc::new(quic));

    let server = ForeignServer::start(config);
    let target = Target::new();
    let args = Mode::In.args(target.addr());
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    let client = site.client(server.addr, &args);
    client.line("version");
    assert_eq!(client.count("connected to "), 0);
}

/// Random datagrams of all lengths, some of them with the form of a QUIC packet, while a flow works.
fn noise_at_the_servers_port(mode: Mode) {
    let tunnel = Tunnel::new(mode);
    let (visitor, target) = tunnel.flow();
    let socket = UdpSocket::bind("127.0.0.1:0").expect("a socket");
    let mut noise = [0; 1400];
    for round in 0..1000 {
        ::aws_lc_rs::rand::fill(&mut noise).expect("random bytes");
        match round % 4 {
            // Long header, version 1: an Initial packet if the rest were right.
            0 => noise[..5].copy_from_slice(&[0xc3, 0, 0, 0, 1]),
            // Short header.
            1 => noise[0] = noise[0] & 0x3f | 0x40,
            _ => {}
        }
        let len = 1 + usize::from(noise[1399]) * usize::from(noise[1398]) % noise.len();
        let sent = socket.send_to(&noise[..len], tunnel.server_addr);
        sent.expect("a datagram sent");
        if round % 50 == 0 {
            assert_joined(&visitor, &target);
        }
    }
    assert_joined(&visitor, &target);
    tunnel.flow();
    assert_eq!(tunnel.server.count("panicked"), 0);
    assert_eq!(tunnel.client.count("connected to "), 1);
}

/// Runs a future to its end on a runtime of its own, within the deadline.
fn run<T>(future: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    let ended = runtime.block_on(async { tokio::time::timeout(DEADLINE, future).await });
    ended.expect("an end within the deadline")
}

/// A QUIC server that answers handshakes as its configuration has it.
struct ForeignServer {
    addr: SocketAddr,
    endpoint: quinn::Endpoint,
    thread: Option<JoinHandle<()>>,
}

impl ForeignServer {
    fn start(config: quinn::ServerConfig) -> Self {
        let (sender, receiver) = std::sync::mpsc::channel();
        let thread = std::thread::spawn(move || {
            run(async move {
                let endpoint = quinn::Endpoint::server(config, (Ipv4Addr::LOCALHOST, 0).into());
                let endpoint = endpoint.expect("an endpoint");
                sender.send(endpoint.clone()).expect("a test that waits");
                while let Some(incoming) = endpoint.accept().await {
                    // A handshake that fails is what is wanted.
                    let _ = incoming.await;
                }
                endpoint.wait_idle().await;
            });
        });
        let endpoint = receiver.recv().expect("a server that starts");
        Self {
            addr: endpoint.local_addr().expect("an address"),
            endpoint,
            thread: Some(thread),
        }
    }
}

impl Drop for ForeignServer {
    fn drop(&mut self) {
        self.endpoint.close(0u8.into(), b"");
        if let Some(thread) = self.thread.take() {
            // It has failed only where the test has already.
            let _ = thread.join();
        }
    }
}

pub(crate) fn crypto() -> Arc<CryptoProvider> {
    Arc::new(aws_lc_rs::default_provider())
}

/// A client of the protocol `alpn` that trusts anybody.
fn client_config(alpn: &[u8]) -> quinn::ClientConfig {
    let quic = QuicClientConfig::try_from(client_tls(crypto(), alpn));
    quinn::ClientConfig::new(Arc::new(quic.expect("a configuration for QUIC")))
}

/// The same for TLS.
pub(crate) fn client_tls(crypto: Arc<CryptoProvider>, alpn: &[u8]) -> rustls::ClientConfig {
    let mut tls = rustls::ClientConfig::builder_with_provider(crypto)
        .with_protocol_versions(&[&rustls::version::TLS13])
        .expect("TLS 1.3")
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(TrustAnybody))
        .with_no_client_auth();
    tls.alpn_protocols = vec![alpn.to_vec()];
    tls
}

/// What is tested here comes before any question of trust.
#[derive(Debug)]
struct TrustAnybody;

impl ServerCertVerifier for TrustAnybody {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _cert: &CertificateDer<'_>,
        _dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _message: &[u8],
        _cert: &CertificateDer<'_>,
        _dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        let algorithms = crypto().signature_verification_algorithms;
        algorithms.supported_schemes()
    }
}
