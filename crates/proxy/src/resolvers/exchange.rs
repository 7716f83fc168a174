//! Sends one DNS query to one nameserver and receives the response: over UDP, and over TCP if the
//! response is truncated. Each query has a source port of its own, so that only a host that sees
//! the query can forge a response.

use model::config::NameServer;
use model::names::Events;
use model::names::resolution::QueryOutcome;
use protocol::dns::{DnsMessageError, DnsQuestion, DnsResponse, parse};
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UdpSocket};
use tokio::time::{Instant, timeout_at};

/// Number of unrelated datagrams after which a query fails.
const FOREIGN_MAX: u32 = 100;

#[derive(Clone, Debug)]
pub(super) struct Exchange {
    pub server: NameServer,
    pub question: DnsQuestion,
    pub id: u16,
    pub payload_max: u16,
    pub until: Instant,
}

impl Exchange {
    pub async fn run(&self) -> (QueryOutcome, Events) {
        let mut events = Events::default();
        let message = self.question.message(self.id, self.payload_max);
        let asked = timeout_at(self.until, self.ask(&message, &mut events)).await;
        let outcome = match asked {
            Err(_) => QueryOutcome::Silent,
            Ok(Ok(answer)) => QueryOutcome::Answered(answer),
            Ok(Err(Trouble::Invalid)) => {
                events.invalid = true;
                QueryOutcome::Unusable
            }
            Ok(Err(Trouble::Unreachable)) => {
                events.unsent = true;
                QueryOutcome::Unusable
            }
            // Treats a closed connection, as when no nameserver listens, like a missing response.
            Ok(Err(Trouble::Closed)) => QueryOutcome::Silent,
        };
        (outcome, events)
    }

    async fn ask(&self, message: &[u8], events: &mut Events) -> Result<DnsResponse, Trouble> {
        if !self.server.stream {
            let answer = self.over_udp(message, events).await?;
            if !answer.truncated {
                return Ok(answer);
            }
            events.truncated = true;
        }
        let answer = self.over_tcp(message).await?;
        if answer.truncated {
            Err(Trouble::Invalid)
        } else {
            Ok(answer)
        }
    }

    async fn over_udp(&self, message: &[u8], events: &mut Events) -> Result<DnsResponse, Trouble> {
        let own: SocketAddr = match self.server.address {
            SocketAddr::V4(_) => (Ipv4Addr::UNSPECIFIED, 0).into(),
            SocketAddr::V6(_) => (Ipv6Addr::UNSPECIFIED, 0).into(),
        };
        let unreachable = |_: io::Error| Trouble::Unreachable;
        let socket = UdpSocket::bind(own).await.map_err(unreachable)?;
        // Connects the socket, so that the kernel accepts datagrams of the nameserver only.
        socket
            .connect(self.server.address)
            .await
            .map_err(unreachable)?;
        socket.send(message).await.map_err(unreachable)?;
        let mut bytes = vec![0; usize::from(self.payload_max)];
        for _ in 0..FOREIGN_MAX {
            let length = socket.recv(&mut bytes).await.map_err(|_| Trouble::Closed)?;
            match parse(&bytes[..length], self.id, &self.question) {
                Ok(answer) => return Ok(answer),
                Err(DnsMessageError::Broken) => return Err(Trouble::Invalid),
                Err(DnsMessageError::Foreign) => events.foreign += 1,
            }
        }
        Err(Trouble::Invalid)
    }

    async fn over_tcp(&self, message: &[u8]) -> Result<DnsResponse, Trouble> {
        let mut stream = TcpStream::connect(self.server.address)
            .await
            .map_err(|_| Trouble::Unreachable)?;
        let mut out = Vec::with_capacity(message.len() + 2);
        // Needs no check of the length: a query is never longer than 65535 bytes.
        out.extend_from_slice(&(message.len() as u16).to_be_bytes());
        out.extend_from_slice(message);
        let closed = |_: io::Error| Trouble::Closed;
        stream.write_all(&out).await.map_err(closed)?;
        let length = stream.read_u16().await.map_err(closed)?;
        let mut bytes = vec![0; usize::from(length)];
        stream.read_exact(&mut bytes).await.map_err(closed)?;
        parse(&bytes, self.id, &self.question).map_err(|_| Trouble::Invalid)
    }
}

enum Trouble {
    Unreachable,
    Closed,
    Invalid,
}
