//! Connects a routed client with its host, and relays their bytes unchanged: TLS and NLA are
//! between client and host. Records that the user has a session once the connection has lasted and
//! the host has sent enough.

use super::places::ConnectionSlot;
use crate::site::{FarmState, Routed};
use rustix::net::sockopt;
use std::io;
use std::os::fd::AsFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

const CONNECT_LIMIT: Duration = Duration::from_secs(5);
const ANSWER_LIMIT: Duration = Duration::from_secs(10);
const END_LIMIT: Duration = Duration::from_secs(2);
/// Time after which a connection counts as a session, if the host has sent [`SESSION_BYTES`]. A
/// failed login, or a screen that requests a name, ends earlier or sends less.
const SESSION: Duration = Duration::from_secs(30);
/// Number of bytes from the host after which a connection counts as a session, if it lasts for
/// [`SESSION`].
const SESSION_BYTES: u64 = 32 << 10;
const BUFFER_BYTES: usize = 16 << 10;
const IDLE: Duration = Duration::from_secs(20);
const PROBE_INTERVAL: Duration = Duration::from_secs(5);
const PROBES: u32 = 3;
const UNACKNOWLEDGED_MS: u32 = 30_000;

/// A routed connection; dropping it removes its registration.
struct Begun<'a> {
    site: &'a FarmState,
    number: u64,
}

impl Drop for Begun<'_> {
    fn drop(&mut self) {
        self.site.ends(self.number);
    }
}

/// Enables TCP keepalive, which detects a peer that has vanished.
pub(crate) fn keep_alive(stream: &TcpStream) {
    let fd = stream.as_fd();
    // Ignores errors: if an option is not supported, a vanished peer is detected later.
    let _ = sockopt::set_socket_keepalive(fd, true);
    let _ = sockopt::set_tcp_keepidle(fd, IDLE);
    let _ = sockopt::set_tcp_keepintvl(fd, PROBE_INTERVAL);
    let _ = sockopt::set_tcp_keepcnt(fd, PROBES);
    let _ = sockopt::set_tcp_user_timeout(fd, UNACKNOWLEDGED_MS);
}

pub(super) async fn route(
    site: &Arc<FarmState>,
    routed: &Routed,
    mut client: TcpStream,
    request: &[u8],
    mut place: ConnectionSlot,
) {
    place.routed();
    // Yields first, so that if many clients connect at once, the others get their host before this
    // client's host is connected.
    tokio::task::yield_now().await;
    let (mut host, answer) = match reach(routed, &client, request).await {
        Ok(reached) => reached,
        Err(Some(why)) => {
            site.count(|counters| &mut counters.unanswered);
            return site.checked(&routed.host, Err(why));
        }
        // Ends silently: the client has disconnected.
        Err(None) => return,
    };
    let (number, ends) = site.begins(routed, place.from, place.by_gateway);
    let begun = Begun { site, number };
    let sent = AtomicU64::new(0);
    let carried = async {
        if client.write_all(&answer).await.is_ok() {
            carry(&mut client, &mut host, &sent).await;
        }
    };
    tokio::select! {
        () = carried => {}
        () = proves(&begun, &sent) => {}
        // Ends the connection on an operator's order.
        () = ends.notified() => {}
    }
    drop(begun);
}

/// Records that the user has a session as soon as the connection has lasted [`SESSION`] and the
/// host has sent [`SESSION_BYTES`]. Never returns.
async fn proves(begun: &Begun<'_>, sent: &AtomicU64) {
    tokio::time::sleep(SESSION).await;
    while sent.load(Ordering::Relaxed) < SESSION_BYTES {
        tokio::time::sleep(SESSION / 10).await;
    }
    begun.site.proves(begun.number);
    std::future::pending().await
}

/// Connects to a host and sends the request. Returns the host's first response.
///
/// # Errors
/// Returns why the host did not respond, or None if the client has disconnected.
async fn reach(
    routed: &Routed,
    client: &TcpStream,
    request: &[u8],
) -> Result<(TcpStream, Vec<u8>), Option<String>> {
    let said = |error: io::Error| format!("cannot connect: {}", language::reason(&error));
    let reached = async {
        let connect = timeout(CONNECT_LIMIT, TcpStream::connect(routed.address)).await;
        let mut host = match connect {
            Ok(connected) => connected.map_err(said)?,
            Err(_) => return Err("cannot connect: timeout".to_owned()),
        };
        // Ignores an error, which costs only latency.
        let _ = host.set_nodelay(true);
        keep_alive(&host);
        let mut answer = vec![0; BUFFER_BYTES];
        let asked = timeout(ANSWER_LIMIT, async {
            host.write_all(request).await?;
            host.read(&mut answer).await
        });
        match asked.await {
            Ok(Ok(0)) => {
                Err("it accepts connections, and closes them without a response".to_owned())
            }
            Ok(Ok(read)) => {
                answer.truncate(read);
                Ok((host, answer))
            }
            Ok(Err(error)) => Err(language::reason(&error)),
            Err(_) => Err("it accepts connections, and does not respond".to_owned()),
        }
    };
    tokio::select! {
        reached = reached => reached.map_err(Some),
        () = gone(client) => Err(None),
    }
}

/// Returns when the client has disconnected. A client has nothing to send before the host's
/// response.
async fn gone(client: &TcpStream) {
    let mut byte = [0];
    loop {
        match client.peek(&mut byte).await {
            Ok(0) | Err(_) => return,
            // Leaves early data of the client unread until the host has responded.
            Ok(_) => std::future::pending::<()>().await,
        }
    }
}

/// Relays both directions until both have ended, or one ended `END_LIMIT` ago. `sent` counts the
/// bytes of the host.
async fn carry(client: &mut TcpStream, host: &mut TcpStream, sent: &AtomicU64) {
    let ((mut from_client, mut to_client), (mut from_host, mut to_host)) =
        (client.split(), host.split());
    let up = pump(&mut from_client, &mut to_host, |_| ());
    let down = pump(&mut from_host, &mut to_client, |bytes| {
        sent.fetch_add(bytes, Ordering::Relaxed);
    });
    tokio::pin!(up, down);
    // Ignores a timeout: nobody is left to receive the data that is lost then.
    let _ = tokio::select! {
        () = &mut up => timeout(END_LIMIT, down).await,
        () = &mut down => timeout(END_LIMIT, up).await,
    };
}

async fn pump<R, W>(from: &mut R, to: &mut W, mut count: impl FnMut(u64))
where
    R: AsyncRead + Unpin,
    W: AsyncWrite + Unpin,
{
    let mut bytes = vec![0; BUFFER_BYTES];
    while let Ok(read @ 1..) = from.read(&mut bytes).await {
        if to.write_all(&bytes[..read]).await.is_err() {
            return;
        }
        count(read as u64);
    }
    // Ignores an error: the other side may be closed already.
    let _ = to.shutdown().await;
}
