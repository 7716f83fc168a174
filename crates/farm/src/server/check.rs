//! Checks of hosts: each is sent a Connection Request, and has to answer it in time. A host that accepts
//! and never answers is as good as none.

use super::client::{Ended, read_packet};
use crate::site::Site;
use protocol::rdp::{ConnectionRequest, HYBRID, Negotiated, NegotiationRequest, Routing, SSL};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until, timeout};

/// Bytes of an answer.
const ANSWER_BYTES_MAX: usize = 256;

/// Checks all hosts of a farm again and again, and forgets its sessions that are over.
pub(super) async fn run(site: Arc<Site>) {
    loop {
        let (check, hosts) = site.checks();
        let next = Instant::now() + Duration::from_millis(check.interval_ms);
        let limit = Duration::from_millis(check.timeout_ms);
        let mut checks = JoinSet::new();
        for (host, address) in hosts {
            let site = Arc::clone(&site);
            checks.spawn(async move {
                let result = match timeout(limit, one(address)).await {
                    Ok(result) => result,
                    Err(_) => Err(format!(
                        "no answer to a request within {} ms",
                        limit.as_millis()
                    )),
                };
                site.checked(&host, result);
            });
        }
        checks.join_all().await;
        site.expire();
        sleep_until(next).await;
    }
}

async fn one(address: SocketAddr) -> Result<(), String> {
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
        Negotiated::decode(&packet).map_err(Ended::from)
    };
    match asked.await {
        // A refusal is an answer, too.
        Ok(_) => Ok(()),
        Err(Ended::Gone(error)) => Err(format!("no answer: {}", language::reason(&error))),
        Err(error) => Err(error.to_string()),
    }
}
