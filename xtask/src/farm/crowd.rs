//! Simulates clients that log on at the same time, and records the results of each.

use super::packets::{self, Person};
use lab::tls::{TlsClient, TlsOffer};
use protocol::rdp::{
    ConnectionRequest, HYBRID, Negotiated, NegotiationRequest, Redirection, Routing, SSL,
};
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, mpsc};
use std::time::{Duration, Instant};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

/// Number of clients, half of them at each node.
pub const CLIENTS: u16 = 1_000;
/// Network of the clients' addresses.
pub const NETWORK: &str = "10.63.0.0/16";
const FIRST: Ipv4Addr = Ipv4Addr::new(10, 63, 0, 1);
/// Pause between a failed connection and the next one.
const PAUSE: Duration = Duration::from_millis(20);
/// Timeout of all clients together.
const SOON: Duration = Duration::from_secs(120);
/// Timeout of one connection until its response.
const ANSWER_MAX: Duration = Duration::from_secs(20);
/// Maximum length of a packet in bytes.
const PACKET_MAX: usize = 4_096;

/// Way in which a client transmits its user name.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum By {
    /// In its first request, which is routed without a redirection.
    Hint,
    /// Over TLS; the client then follows the redirection.
    Redirection,
}

#[derive(Clone, Copy, Debug)]
pub struct Plan {
    pub by: By,
    pub nodes: [SocketAddr; 2],
    /// The node that dies when half of all clients have a response.
    pub doomed: Option<usize>,
}

#[derive(Clone, Debug)]
pub struct Seen {
    /// Time from the first connection to the first response of a host.
    pub took: Duration,
    /// The hosts that answered, in their order.
    pub hosts: Vec<u8>,
    /// Time at which the last client was done.
    pub last: Instant,
    /// Connections that ended without a response.
    pub failed: u32,
}

struct Crowd {
    plan: Plan,
    tls: Arc<ClientConfig>,
    /// Number of clients that got a response.
    answered: AtomicUsize,
    settled: AtomicUsize,
    half: mpsc::Sender<()>,
    over: watch::Sender<bool>,
}

/// Runs all clients at once, from within their machine. `half` is notified when half of them have a
/// response. Ends when all have a lasting one.
pub fn logs_on(plan: Plan, half: mpsc::Sender<()>) -> io::Result<Vec<Seen>> {
    super::yields()?;
    let tls = TlsClient::new_local(&TlsOffer::default()).map_err(io::Error::other)?;
    let crowd = Arc::new(Crowd {
        plan,
        tls: tls.config(),
        answered: AtomicUsize::new(0),
        settled: AtomicUsize::new(0),
        half,
        over: watch::Sender::new(false),
    });
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(async {
        let mut all = JoinSet::new();
        for number in 0..CLIENTS {
            all.spawn(timeout(SOON, Arc::clone(&crowd).client(number)));
        }
        let mut seen = Vec::new();
        while let Some(one) = all.join_next().await {
            let one = one.map_err(io::Error::other)?;
            seen.push(one.map_err(|_| io::Error::from(io::ErrorKind::TimedOut))?);
        }
        Ok(seen)
    })
}

impl Crowd {
    /// Runs one client, which retries through the other node if one does not serve it.
    async fn client(self: Arc<Self>, number: u16) -> Seen {
        let mut over = self.over.subscribe();
        let mut node = usize::from(number) % 2;
        let began = Instant::now();
        let (mut is_settled, mut failed) = (false, 0);
        let (mut took, mut hosts) = (None, Vec::new());
        loop {
            let to = self.plan.nodes[node];
            let came = timeout(ANSWER_MAX, self.comes(number, to)).await;
            let Ok(Ok((mut stream, host))) = came else {
                failed += 1;
                node = 1 - node;
                tokio::time::sleep(PAUSE).await;
                continue;
            };
            let last = Instant::now();
            hosts.push(host);
            let took = *took.get_or_insert_with(|| {
                self.answered();
                last - began
            });
            if self.plan.doomed != Some(node) && !std::mem::replace(&mut is_settled, true) {
                self.settled();
            }
            let mut byte = [0];
            tokio::select! {
                _ = over.wait_for(|over| *over) => {
                    return Seen { took, hosts, last, failed };
                }
                _ = stream.read(&mut byte) => node = 1 - node,
            }
        }
    }

    fn answered(&self) {
        let before = self.answered.fetch_add(1, Ordering::Relaxed);
        if before + 1 == usize::from(CLIENTS) / 2 {
            // Ignores an error, because nobody waits for the message if no node dies.
            let _ = self.half.send(());
        }
    }

    fn settled(&self) {
        let before = self.settled.fetch_add(1, Ordering::Relaxed);
        if before + 1 == usize::from(CLIENTS) {
            self.over.send_replace(true);
        }
    }

    /// Connects to a host through a node. Returns the connection and the number of the host.
    async fn comes(&self, number: u16, to: SocketAddr) -> io::Result<(TcpStream, u8)> {
        let user = format!("u{number:04}");
        let from = Ipv4Addr::from_bits(FIRST.to_bits() + u32::from(number));
        let (routing, protocols) = match self.plan.by {
            By::Hint => (Routing::Hint(user), HYBRID),
            By::Redirection => {
                let token = redirected(Arc::clone(&self.tls), from, to, &user).await?;
                (Routing::Token(token), SSL)
            }
        };
        let mut stream = requests(from, to, routing, protocols).await?;
        let host = stream.read_u8().await?;
        Ok((stream, host))
    }
}

/// Logs on from this address over TLS; returns the token of the redirection.
pub async fn redirected(
    tls: Arc<ClientConfig>,
    from: Ipv4Addr,
    to: SocketAddr,
    user: &str,
) -> io::Result<Vec<u8>> {
    let stream = requests(from, to, Routing::None, SSL).await?;
    let name = ServerName::try_from("localhost").map_err(io::Error::other)?;
    let mut stream = TlsConnector::from(tls).connect(name, stream).await?;
    let person = Person::named(user);
    for sent in packets::answered(person) {
        stream.write_all(&sent).await?;
        stream.flush().await?;
        packet(&mut stream).await?;
    }
    stream.write_all(&packets::client_info(person)).await?;
    stream.flush().await?;
    // Skips the packet that ends licensing.
    packet(&mut stream).await?;
    let redirection = Redirection::decode(&packet(&mut stream).await?);
    let redirection = redirection.map_err(io::Error::other)?;
    let token = redirection.load_balance_info.strip_suffix(b"\r\n");
    Ok(token.ok_or(io::ErrorKind::InvalidData)?.to_vec())
}

/// Connects from this address, requests, and reads the confirmation.
async fn requests(
    from: Ipv4Addr,
    to: SocketAddr,
    routing: Routing,
    protocols: u32,
) -> io::Result<TcpStream> {
    let socket = TcpSocket::new_v4()?;
    socket.bind(SocketAddr::from((from, 0)))?;
    let mut stream = socket.connect(to).await?;
    stream.set_nodelay(true)?;
    let negotiation = Some(NegotiationRequest {
        flags: 0,
        protocols,
    });
    let request = ConnectionRequest {
        routing,
        negotiation,
    };
    stream.write_all(&request.encode()).await?;
    match Negotiated::decode(&packet(&mut stream).await?) {
        Ok(Negotiated::Selected { .. }) => Ok(stream),
        other => Err(io::Error::other(format!("{other:?}"))),
    }
}

pub async fn packet<S: AsyncRead + Unpin>(stream: &mut S) -> io::Result<Vec<u8>> {
    let mut head = [0; 4];
    stream.read_exact(&mut head).await?;
    let length = usize::from(u16::from_be_bytes([head[2], head[3]]));
    if !(head.len()..=PACKET_MAX).contains(&length) {
        return Err(io::ErrorKind::InvalidData.into());
    }
    let mut bytes = head.to_vec();
    bytes.resize(length, 0);
    stream.read_exact(&mut bytes[head.len()..]).await?;
    Ok(bytes)
}
