//! Implements the servers behind the proxies in addition to the benchmark's: one with WebSocket,
//! and one that is down.
//!
//! The server that is down listens and responds, so that misdirected requests are
//! counted: its checks get 500, and so does a request that should not have arrived.

use std::io::{self, BufRead, BufReader, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use super::error::ChangesError;

/// Path that the checks request.
pub const CHECK_PATH: &str = "/check";
/// Maximum length of a line of a request in bytes.
const LINE_BYTES_MAX: u64 = 4096;
const LINES_MAX: usize = 100;
/// Time for which a silent connection is kept.
const QUIET: Duration = Duration::from_secs(120);

const SWITCHING: &[u8] = b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\n\
Upgrade: websocket\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";
const REFUSAL: &[u8] = b"HTTP/1.1 500 Down\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";

#[derive(Debug, Default)]
struct Shared {
    stop: AtomicBool,
    tried: AtomicU64,
    checks: AtomicU64,
}

/// A server that accepts WebSockets and responds to everything else with 500. Dropping it stops it.
#[derive(Debug)]
pub struct SpecialServer {
    pub port: u16,
    shared: Arc<Shared>,
}

impl SpecialServer {
    pub fn start() -> Result<Self, ChangesError> {
        let failed = "starting a server";
        let listener =
            TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).map_err(ChangesError::system(failed))?;
        let port = listener
            .local_addr()
            .map_err(ChangesError::system(failed))?
            .port();
        let shared = Arc::new(Shared::default());
        let accepting = Arc::clone(&shared);
        std::thread::Builder::new()
            .name("down".to_owned())
            .spawn(move || accept(&listener, &accepting))
            .map_err(ChangesError::system(failed))?;
        Ok(Self { port, shared })
    }

    /// Returns the number of requests that were neither a check nor for a WebSocket.
    pub fn tried(&self) -> u64 {
        self.shared.tried.load(Ordering::Relaxed)
    }

    pub fn checks(&self) -> u64 {
        self.shared.checks.load(Ordering::Relaxed)
    }
}

impl Drop for SpecialServer {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::Relaxed);
        // Wakes the accepting thread, which sees the flag.
        let _ = TcpStream::connect((Ipv4Addr::LOCALHOST, self.port));
    }
}

fn accept(listener: &TcpListener, shared: &Arc<Shared>) {
    while let Ok((stream, _)) = listener.accept() {
        if shared.stop.load(Ordering::Relaxed) {
            return;
        }
        let shared = Arc::clone(shared);
        // Without a thread the connection is closed, which its client sees.
        let _ = std::thread::Builder::new().spawn(move || serve(stream, &shared));
    }
}

/// Serves one request. The other side decides how its connection ends.
fn serve(stream: TcpStream, shared: &Shared) -> io::Result<()> {
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(QUIET))?;
    let mut reader = BufReader::new(&stream);
    let start = line(&mut reader)?;
    let mut upgrade = false;
    for _ in 0..LINES_MAX {
        let header = line(&mut reader)?.to_ascii_lowercase();
        if header.is_empty() {
            break;
        }
        upgrade |= header.starts_with("upgrade:") && header.contains("websocket");
    }
    if upgrade {
        (&stream).write_all(SWITCHING)?;
        io::copy(&mut reader, &mut &stream)?;
        return Ok(());
    }
    if start.split(' ').nth(1) == Some(CHECK_PATH) {
        shared.checks.fetch_add(1, Ordering::Relaxed);
    } else if !start.is_empty() {
        shared.tried.fetch_add(1, Ordering::Relaxed);
    }
    (&stream).write_all(REFUSAL)
}

fn line(reader: &mut impl BufRead) -> io::Result<String> {
    let mut line = String::new();
    io::Read::take(&mut *reader, LINE_BYTES_MAX).read_line(&mut line)?;
    line.truncate(line.trim_end().len());
    Ok(line)
}

#[cfg(test)]
mod tests {
    use super::*;
    use lab::{Location, Probe};
    use std::io::Read;
    use std::net::SocketAddr;

    #[test]
    fn what_is_not_a_check_is_counted_as_tried() {
        let server = SpecialServer::start().expect("a server");
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, server.port));
        let mut probe = Probe::new(Location::Here, address);
        assert_eq!(probe.get(CHECK_PATH).expect("an answer").status, 500);
        assert_eq!((server.checks(), server.tried()), (1, 0));
        assert_eq!(probe.get("/plain/100").expect("an answer").status, 500);
        assert_eq!((server.checks(), server.tried()), (1, 1));
    }

    #[test]
    fn a_websocket_is_an_echo() {
        let server = SpecialServer::start().expect("a server");
        let mut stream =
            TcpStream::connect((Ipv4Addr::LOCALHOST, server.port)).expect("a connection");
        stream
            .write_all(b"GET / HTTP/1.1\r\nUpgrade: websocket\r\n\r\nabc")
            .expect("to say something");
        let mut heard = vec![0; SWITCHING.len() + 3];
        stream.read_exact(&mut heard).expect("an echo");
        assert_eq!(heard.split_off(SWITCHING.len()), b"abc");
        assert_eq!(server.tried(), 0);
    }
}
