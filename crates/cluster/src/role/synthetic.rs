//! Sends synthetic requests to the frontends of a candidate version. Reads a response only up to
//! its status line, follows no redirect, and limits the time of each request.

use crate::machine::FrontendHealth;
use futures_util::future::join_all;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

pub const FRONTENDS_MAX: usize = 64;
const ANSWER_LIMIT: Duration = Duration::from_secs(2);
/// Maximum number of bytes read of a response: its first line.
const HEAD_BYTES_MAX: usize = 1024;

/// Result of a request to a frontend.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Answered {
    Status(u16),
    /// The listener accepted the connection; its protocol is not clear-text HTTP.
    Connected,
    Failed,
    Silent,
}

impl Answered {
    pub fn is_good(self) -> bool {
        match self {
            Answered::Status(status) => status < 500,
            Answered::Connected => true,
            Answered::Failed | Answered::Silent => false,
        }
    }
}

/// Requests each frontend that listens on this machine once, at most [`FRONTENDS_MAX`] of them. All
/// requests run at the same time, so that a round takes no longer than one timeout. Returns the
/// results by the frontends' names.
pub async fn round(frontends: &[FrontendHealth]) -> Vec<(String, Answered)> {
    let asked = frontends.iter().take(FRONTENDS_MAX).filter_map(|frontend| {
        let place = frontend
            .listens
            .iter()
            .find_map(|listen| local_address(listen))?;
        Some(async move {
            let answered = ask(place, frontend.http).await;
            (frontend.name.clone(), answered)
        })
    });
    join_all(asked).await
}

/// Returns an address of this machine for a frontend's listen address; None for an address of
/// another machine, because a request there would test that machine.
fn local_address(listen: &str) -> Option<SocketAddr> {
    let mut place: SocketAddr = listen.parse().ok()?;
    match place.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => place.set_ip(Ipv4Addr::LOCALHOST.into()),
        IpAddr::V6(ip) if ip.is_unspecified() => place.set_ip(Ipv6Addr::LOCALHOST.into()),
        // Skips an address of another machine: only a local address can be bound.
        ip => drop(std::net::UdpSocket::bind((ip, 0)).ok()?),
    }
    Some(place)
}

pub async fn ask(place: SocketAddr, http: bool) -> Answered {
    match timeout(ANSWER_LIMIT, exchange(place, http)).await {
        Ok(Ok(answered)) => answered,
        Ok(Err(_)) => Answered::Failed,
        Err(_) => Answered::Silent,
    }
}

async fn exchange(place: SocketAddr, http: bool) -> std::io::Result<Answered> {
    let mut stream = TcpStream::connect(place).await?;
    if !http {
        return Ok(Answered::Connected);
    }
    let request = format!(
        "GET / HTTP/1.1\r\nHost: {place}\r\nUser-Agent: evenkeel-judge\r\nConnection: close\r\n\r\n"
    );
    stream.write_all(request.as_bytes()).await?;
    let mut head = Vec::new();
    let mut stream = stream.take(HEAD_BYTES_MAX as u64);
    while !head.contains(&b'\n') {
        if stream.read_buf(&mut head).await? == 0 {
            break;
        }
    }
    Ok(status(&head).map_or(Answered::Failed, Answered::Status))
}

fn status(head: &[u8]) -> Option<u16> {
    let rest = head.strip_prefix(b"HTTP/1.")?;
    let code = rest.get(2..5)?;
    let code = std::str::from_utf8(code).ok()?;
    let known = |code: &u16| (100..600).contains(code);
    code.parse().ok().filter(known)
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::net::TcpListener;

    /// A server that answers each connection with the same bytes, or with nothing.
    async fn answering(bytes: &'static [u8]) -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let place = listener.local_addr().unwrap();
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let mut request = [0; 1024];
                let _ = stream.read(&mut request).await;
                let _ = stream.write_all(bytes).await;
            }
        });
        place
    }

    #[tokio::test]
    async fn frontend_is_judged_by_its_status_without_redirects() {
        let cases: [(&[u8], Answered, bool); 6] = [
            (b"HTTP/1.1 200 OK\r\n\r\n", Answered::Status(200), true),
            (
                b"HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:1/\r\n\r\n",
                Answered::Status(302),
                true,
            ),
            (
                b"HTTP/1.0 404 Not Found\r\n\r\n",
                Answered::Status(404),
                true,
            ),
            (
                b"HTTP/1.1 503 Service Unavailable\r\n\r\n",
                Answered::Status(503),
                false,
            ),
            (b"SSH-2.0-nothing\r\n", Answered::Failed, false),
            (b"", Answered::Failed, false),
        ];
        for (bytes, expected, good) in cases {
            let answered = ask(answering(bytes).await, true).await;
            assert_eq!(answered, expected);
            assert_eq!(answered.is_good(), good);
        }
    }

    #[tokio::test]
    async fn an_endless_line_is_read_up_to_a_bound() {
        static LONG: [u8; 1 << 20] = [b'x'; 1 << 20];
        assert_eq!(ask(answering(&LONG).await, true).await, Answered::Failed);
    }

    #[tokio::test]
    async fn frontends_on_other_addresses_are_not_probed() {
        let place = answering(b"HTTP/1.1 200 OK\r\n\r\n").await;
        let frontend = |name: &str, listens: &[String]| FrontendHealth {
            name: name.into(),
            listens: listens.into(),
            http: true,
            usable: true,
        };
        let frontends = [
            frontend("any", &[format!("0.0.0.0:{}", place.port())]),
            frontend("elsewhere", &["192.0.2.1:80".into()]),
            frontend("unix", &["/run/x.sock".into()]),
            frontend("both", &["192.0.2.1:80".into(), place.to_string()]),
        ];
        let answers = round(&frontends).await;
        let good = Answered::Status(200);
        assert_eq!(
            answers,
            [("any".to_owned(), good), ("both".to_owned(), good)]
        );
    }

    #[test]
    fn only_a_status_line_has_a_status() {
        for wrong in [
            "",
            "HTTP/1.1 9",
            "HTTP/1.1 999 x",
            "HTTP/2 200",
            "HTTP/1.1 abc",
        ] {
            assert_eq!(status(wrong.as_bytes()), None, "{wrong}");
        }
    }
}
