//! Checks the health of hosts: each host gets a Connection Request, and has to respond in time. A
//! host that accepts and never responds counts as down. To detect a host that hangs later, the
//! check periodically also sends a TLS ClientHello, and waits for a reaction.

use super::client::{ClientEnd, read_packet};
use crate::site::FarmState;
use protocol::rdp::{ConnectionRequest, HYBRID, Negotiated, NegotiationRequest, Routing, SSL};
use rustls::crypto::aws_lc_rs::{default_provider, kx_group};
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, RootCertStore};
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until, timeout};

const ANSWER_BYTES_MAX: usize = 256;
/// Interval of checks with a ClientHello while a host is up: the host may compute and log something
/// for each.
const HELLO_EVERY: Duration = Duration::from_secs(10);

/// Checks all hosts of a farm periodically, and forgets its expired sessions. Never returns.
pub(super) async fn run(site: Arc<FarmState>) {
    let hello = hello();
    // Last reaction of each address to a ClientHello.
    let mut reacted: BTreeMap<SocketAddr, Instant> = BTreeMap::new();
    loop {
        let (check, hosts) = site.checks();
        let next = Instant::now() + Duration::from_millis(check.interval_ms);
        let limit = Duration::from_millis(check.timeout_ms);
        reacted.retain(|address, at| {
            at.elapsed() < HELLO_EVERY && hosts.iter().any(|(_, host)| host == address)
        });
        let mut checks = JoinSet::new();
        for (host, address) in hosts {
            let site = Arc::clone(&site);
            // Sends a ClientHello also in the check after a failure, so that a host which hangs
            // there does not pass.
            let hello = hello.as_ref().filter(|_| !reacted.contains_key(&address));
            let hello = hello.cloned();
            checks.spawn(async move {
                let result = one(address, hello.as_deref(), limit).await;
                let has_passed = result.is_ok() && hello.is_some();
                site.checked(&host, result);
                has_passed.then_some(address)
            });
        }
        let passed = checks.join_all().await.into_iter().flatten();
        reacted.extend(passed.map(|address| (address, Instant::now())));
        site.expire();
        sleep_until(next).await;
    }
}

async fn one(address: SocketAddr, hello: Option<&[u8]>, limit: Duration) -> Result<(), String> {
    let asked = timeout(limit, send_connection_request(address)).await;
    let within = |what: &str| format!("no response to {what} within {} ms", limit.as_millis());
    let (mut stream, is_tls) = asked.unwrap_or_else(|_| Err(within("a request")))?;
    let Some(hello) = hello.filter(|_| is_tls) else {
        return Ok(());
    };
    let reacts = async {
        let mut byte = [0];
        // Ignores errors: a host that closes the connection does not hang. Which clients it accepts
        // does not matter here.
        let _ = stream.write_all(hello).await;
        let _ = stream.read(&mut byte).await;
    };
    let reacts = timeout(limit, reacts).await;
    reacts.map_err(|_| {
        format!(
            "it responds to requests, then hangs: {}",
            within("the TLS ClientHello")
        )
    })
}

/// Sends the Connection Request. Returns the connection, and whether TLS follows on it.
async fn send_connection_request(address: SocketAddr) -> Result<(TcpStream, bool), String> {
    let connected = TcpStream::connect(address).await;
    let mut stream =
        connected.map_err(|error| format!("cannot connect: {}", language::reason(&error)))?;
    let request = ConnectionRequest {
        routing: Routing::None,
        negotiation: Some(NegotiationRequest {
            flags: 0,
            protocols: SSL | HYBRID,
        }),
    };
    let asked = async {
        stream.write_all(&request.encode()).await?;
        let packet = read_packet(&mut stream, ANSWER_BYTES_MAX).await?;
        Negotiated::decode(&packet).map_err(ClientEnd::from)
    };
    match asked.await {
        Ok(Negotiated::Selected { protocol, .. }) => Ok((stream, protocol != 0)),
        // Counts a negotiation failure as a response.
        Ok(_) => Ok((stream, false)),
        Err(ClientEnd::Gone(error)) => Err(format!("no response: {}", language::reason(&error))),
        Err(error) => Err(error.to_string()),
    }
}

/// Builds a TLS ClientHello. Returns None without random numbers.
fn hello() -> Option<Vec<u8>> {
    let mut provider = default_provider();
    // Uses only widely supported groups, so that the ClientHello fits into one TCP segment.
    provider.kx_groups = vec![kx_group::X25519, kx_group::SECP256R1];
    let config = ClientConfig::builder_with_provider(Arc::new(provider));
    let config = config.with_safe_default_protocol_versions().ok()?;
    let mut config = config
        .with_root_certificates(RootCertStore::empty())
        .with_no_client_auth();
    config.enable_sni = false;
    let name = ServerName::try_from("host").ok()?;
    let mut client = ClientConnection::new(Arc::new(config), name).ok()?;
    let mut hello = Vec::new();
    client.write_tls(&mut hello).ok()?;
    Some(hello)
}

#[cfg(test)]
mod tests {
    use super::*;
    use protocol::rdp::{HYBRID_EX, REQUEST_BYTES_MAX, TpktFrame, frame};
    use tokio::net::TcpListener;

    /// Host that selects a protocol and reads the next bytes. It then sends `then`, closes if that
    /// is empty, or hangs if it is None.
    async fn host(protocol: u32, then: Option<&'static [u8]>) -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut request = Vec::new();
            while let Ok(TpktFrame::Incomplete { .. }) = frame(&request, REQUEST_BYTES_MAX) {
                request.push(stream.read_u8().await.unwrap());
            }
            let selected = Negotiated::Selected { flags: 0, protocol };
            stream.write_all(&selected.encode()).await.unwrap();
            let first = stream.read_u8().await;
            match then {
                Some(bytes) => {
                    // A record with a handshake.
                    assert_eq!(first.unwrap(), 22);
                    stream.write_all(bytes).await.unwrap();
                }
                None => std::future::pending().await,
            }
        });
        address
    }

    fn run<T>(what: impl Future<Output = T>) -> T {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build();
        runtime.unwrap().block_on(what)
    }

    #[test]
    fn a_tls_host_must_respond_to_the_client_hello() {
        let hello = hello().unwrap();
        let checked = |protocol, then, limit_ms| {
            run(async {
                let address = host(protocol, then).await;
                let limit = Duration::from_millis(limit_ms);
                one(address, Some(&hello), limit).await
            })
        };
        const LONG_MS: u64 = 20_000;
        for protocol in [SSL, HYBRID, HYBRID_EX] {
            // An alert, a response, and a connection that ends.
            for then in [&[21, 3, 3, 0, 2, 2, 40][..], &[22], &[]] {
                assert_eq!(checked(protocol, Some(then), LONG_MS), Ok(()));
            }
            assert_eq!(
                checked(protocol, None, 100).unwrap_err(),
                "it responds to requests, then hangs: no response to the TLS ClientHello within 100 ms"
            );
        }
        // Standard RDP Security starts without a ClientHello.
        assert_eq!(checked(0, None, LONG_MS), Ok(()));
    }

    #[test]
    fn without_tls_the_response_to_the_request_suffices() {
        let checked = run(async {
            let address = host(SSL, None).await;
            one(address, None, Duration::from_secs(20)).await
        });
        assert_eq!(checked, Ok(()));
    }

    #[test]
    fn the_client_hello_fits_one_record_and_segment() {
        let hello = hello().unwrap();
        let length = usize::from(u16::from_be_bytes([hello[3], hello[4]]));
        assert_eq!((hello[0], hello[5], hello.len()), (22, 1, length + 5));
        assert!(hello.len() < 1_200);
    }
}
