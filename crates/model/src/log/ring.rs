//! Keeps the newest log lines of each `ring` section in memory, for operators (`show events`) and
//! for servers that receive them over TCP. Each server has its own thread, started with the first
//! line, so a slow server delays nobody. A line that is discarded before the server received it
//! is counted as lost.

use crate::config::{Ring as Settings, RingServer};
use std::collections::VecDeque;
use std::io::{self, Write};
use std::net::TcpStream;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError, Weak};
use std::thread;
use std::time::Duration;
use tls::side;

/// Maximum number of open rings; the oldest are closed first.
const RINGS_MAX: usize = 256;
/// Pause before another attempt to connect to a server.
const RETRY_PAUSE: Duration = Duration::from_secs(1);
/// Timeout for a connection and for a write where the configuration sets none.
const TIMEOUT_DEFAULT: Duration = Duration::from_secs(5);
/// Maximum number of lines in one write to a server.
const BATCH_MAX: usize = 256;

static RINGS: OnceLock<Mutex<Vec<Arc<Ring>>>> = OnceLock::new();

fn rings() -> MutexGuard<'static, Vec<Arc<Ring>>> {
    let rings = RINGS.get_or_init(Mutex::default);
    rings.lock().unwrap_or_else(PoisonError::into_inner)
}

#[derive(Debug, Default)]
struct LogBuffer {
    lines: VecDeque<Arc<[u8]>>,
    bytes: usize,
    /// Sequence number of the oldest stored line.
    first: u64,
    /// Number of lines that were discarded before a server received them.
    lost: u64,
}

#[derive(Debug)]
pub struct Ring {
    settings: Arc<Settings>,
    lines: Mutex<LogBuffer>,
    /// Sequence number of the first line that this ring received itself. Earlier lines were copied
    /// from the ring that it replaced, which has already sent them to its servers.
    own_from: u64,
    more: Condvar,
    started: AtomicBool,
}

/// Description of a ring for `show events`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Summary {
    pub name: Box<str>,
    pub description: Box<str>,
    pub lost: u64,
}

/// Returns whether two sections have equal settings, regardless of their position in the file.
fn same(one: &Settings, other: &Settings) -> bool {
    let moved = Settings {
        span: other.span,
        ..one.clone()
    };
    moved == *other
}

/// Returns the open ring with these settings, or opens a new one. A new ring copies the lines of
/// the ring with the same name, which it replaces.
pub(super) fn open(settings: &Arc<Settings>) -> Arc<Ring> {
    let mut rings = rings();
    if let Some(known) = rings.iter().find(|ring| same(&ring.settings, settings)) {
        return Arc::clone(known);
    }
    let before = rings
        .iter()
        .position(|ring| ring.settings.name == settings.name);
    let before = before.map(|at| rings.remove(at));
    let lines = before.map_or_else(LogBuffer::default, |before| {
        let known = before.lines();
        LogBuffer {
            lines: known.lines.clone(),
            bytes: known.bytes,
            first: 0,
            lost: known.lost,
        }
    });
    let ring = Arc::new(Ring {
        settings: Arc::clone(settings),
        own_from: lines.lines.len() as u64,
        lines: Mutex::new(lines),
        more: Condvar::new(),
        started: AtomicBool::new(false),
    });
    ring.make_room(&mut ring.lines());
    if rings.len() >= RINGS_MAX {
        rings.remove(0);
    }
    rings.push(Arc::clone(&ring));
    ring
}

/// Returns a summary of each ring, sorted by name.
pub fn summaries() -> Vec<Summary> {
    let rings = rings();
    let mut all: Vec<Summary> = Vec::new();
    for ring in rings.iter().rev() {
        if all.iter().all(|known| known.name != ring.settings.name) {
            all.push(Summary {
                name: ring.settings.name.clone(),
                description: ring.settings.description.clone(),
                lost: ring.lines().lost,
            });
        }
    }
    all.reverse();
    all
}

/// Returns the lines of a ring, oldest first; None if there is no such ring.
pub fn lines(name: &str) -> Option<Vec<Arc<[u8]>>> {
    let rings = rings();
    let ring = rings
        .iter()
        .rev()
        .find(|ring| *ring.settings.name == *name)?;
    let lines = ring.lines();
    Some(lines.lines.iter().cloned().collect())
}

/// Returns the lines from a sequence number on, and the number of the next line. Returns None if
/// there is no such ring. A number that belongs to a replaced ring counts as the first one.
pub fn since(name: &str, from: u64) -> Option<(Vec<Arc<[u8]>>, u64)> {
    let rings = rings();
    let ring = rings
        .iter()
        .rev()
        .find(|ring| *ring.settings.name == *name)?;
    let lines = ring.lines();
    let end = lines.first + lines.lines.len() as u64;
    let skip = if from <= end {
        from.saturating_sub(lines.first)
    } else {
        0
    };
    let taken = lines.lines.iter().skip(skip as usize).cloned().collect();
    Some((taken, end))
}

impl Ring {
    fn lines(&self) -> MutexGuard<'_, LogBuffer> {
        self.lines.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Appends a line and discards the oldest ones if there is no room.
    pub(super) fn push(self: &Arc<Ring>, line: &[u8]) -> usize {
        let line = line.strip_suffix(b"\n").unwrap_or(line);
        let kept = &line[..line.len().min(self.settings.line_max)];
        let mut lines = self.lines();
        lines.bytes += kept.len() + 1;
        lines.lines.push_back(kept.into());
        self.make_room(&mut lines);
        drop(lines);
        if !self.settings.servers.is_empty() {
            if !self.started.swap(true, Relaxed) {
                self.start();
            }
            self.more.notify_all();
        }
        line.len()
    }

    /// Discards the oldest lines until the rest fits into the size of the ring. The newest line
    /// always stays.
    fn make_room(&self, lines: &mut LogBuffer) {
        while lines.bytes > self.settings.size && lines.lines.len() > 1 {
            if let Some(oldest) = lines.lines.pop_front() {
                lines.bytes -= oldest.len() + 1;
                lines.first += 1;
            }
        }
    }

    fn start(self: &Arc<Ring>) {
        for server in self.settings.servers.clone() {
            let ring = Arc::downgrade(self);
            let forward = move || forward(&ring, &server);
            // If the thread cannot start, the lines stay in the ring.
            let _ = thread::Builder::new().name("ring".into()).spawn(forward);
        }
    }

    /// Waits for lines from a sequence number on, at most `RETRY_PAUSE`. Returns them, and the
    /// number of the next line.
    fn take(&self, from: u64) -> (Vec<Arc<[u8]>>, u64) {
        let mut lines = self.lines();
        loop {
            let end = lines.first + lines.lines.len() as u64;
            if from < end {
                let lost = lines.first.saturating_sub(from);
                lines.lost += lost;
                let skip = (from + lost - lines.first) as usize;
                let taken: Vec<_> = lines
                    .lines
                    .iter()
                    .skip(skip)
                    .take(BATCH_MAX)
                    .cloned()
                    .collect();
                let next = from + lost + taken.len() as u64;
                return (taken, next);
            }
            let (again, timeout) = self
                .more
                .wait_timeout(lines, RETRY_PAUSE)
                .unwrap_or_else(PoisonError::into_inner);
            if timeout.timed_out() {
                return (Vec::new(), from);
            }
            lines = again;
        }
    }
}

/// Sends the lines of a ring to a server, until the ring is dropped.
fn forward(ring: &Weak<Ring>, server: &RingServer) {
    let mut next = ring.upgrade().map_or(0, |ring| ring.own_from);
    let mut connection: Option<Box<dyn Write + Send>> = None;
    let mut batch = Vec::new();
    while let Some(ring) = ring.upgrade() {
        if connection.is_none() {
            connection = connect(&ring.settings, server).ok();
            if connection.is_none() {
                drop(ring);
                thread::sleep(RETRY_PAUSE);
                continue;
            }
        }
        let (lines, behind) = ring.take(next);
        batch.clear();
        for line in &lines {
            if server.counted {
                batch.extend_from_slice(format!("{} ", line.len()).as_bytes());
            }
            batch.extend_from_slice(line);
            if !server.counted {
                batch.push(b'\n');
            }
        }
        let sent = connection
            .as_mut()
            .map(|to| to.write_all(&batch).and_then(|()| to.flush()));
        match sent {
            Some(Ok(())) => next = behind,
            // Closes the connection. The lines are sent again on the next one, as far as the ring
            // still has them.
            _ => connection = None,
        }
    }
}

fn connect(settings: &Settings, server: &RingServer) -> io::Result<Box<dyn Write + Send>> {
    let time = |ms: Option<u32>| {
        ms.filter(|ms| *ms > 0)
            .map_or(TIMEOUT_DEFAULT, |ms| Duration::from_millis(ms.into()))
    };
    let connection = TcpStream::connect_timeout(&server.address, time(settings.connect_ms))?;
    connection.set_write_timeout(Some(time(settings.server_ms)))?;
    connection.set_nodelay(true)?;
    match &server.tls.0 {
        None => Ok(Box::new(connection)),
        Some(connector) => {
            connection.set_read_timeout(Some(time(settings.connect_ms)))?;
            side::connect_blocking(connection, connector)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use language::Span;

    fn ring(change: impl FnOnce(&mut Settings)) -> Arc<Ring> {
        let mut settings = Settings::new("test", Span::default());
        change(&mut settings);
        open(&Arc::new(settings))
    }

    fn texts(name: &str) -> Vec<String> {
        let lines = lines(name).unwrap();
        lines
            .iter()
            .map(|line| String::from_utf8_lossy(line).into_owned())
            .collect()
    }

    #[test]
    fn the_oldest_lines_make_room() {
        let ring = ring(|settings| {
            settings.name = "room".into();
            (settings.size, settings.line_max) = (12, 4);
        });
        for line in ["one\n", "two\n", "three\n", "four\n"] {
            ring.push(line.as_bytes());
        }
        assert_eq!(texts("room"), ["thre", "four"]);
        assert!(lines("other").is_none());
    }

    #[test]
    fn lines_stay_when_the_section_moves_or_changes() {
        let settings = |size: usize, span: Span| {
            let mut settings = Settings::new("kept", span);
            (settings.size, settings.line_max) = (size, 80);
            Arc::new(settings)
        };
        let span = Span::default();
        let first = open(&settings(1024, span));
        first.push(b"one\n");
        first.push(b"two\n");
        let moved = Span {
            end: span.end + 1,
            ..span
        };
        assert!(Arc::ptr_eq(&open(&settings(1024, moved)), &first));
        let smaller = open(&settings(4, span));
        assert_eq!(texts("kept"), ["two"]);
        smaller.push(b"new\n");
        assert_eq!(texts("kept"), ["new"]);
        let (lines, end) = since("kept", 2).unwrap();
        assert_eq!((lines.len(), end), (1, 3));
        assert_eq!(since("kept", 3).unwrap().0.len(), 0);
        assert_eq!(since("kept", 9).unwrap().0.len(), 1);
        assert!(since("none", 0).is_none());
    }

    #[test]
    fn a_server_gets_lines_in_the_form_that_it_wants() {
        use std::io::Read;
        for (counted, wanted) in [(false, "one\ntwo\n"), (true, "3 one3 two")] {
            let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
            let address = listener.local_addr().unwrap();
            let ring = ring(|settings| {
                settings.name = format!("forward {counted}").into();
                settings.servers.push(RingServer {
                    name: "s".into(),
                    address,
                    counted,
                    tls: Default::default(),
                });
            });
            ring.push(b"one\n");
            ring.push(b"two\n");
            let (mut peer, _) = listener.accept().unwrap();
            let mut got = vec![0; wanted.len()];
            peer.read_exact(&mut got).unwrap();
            assert_eq!(String::from_utf8(got).unwrap(), wanted);
        }
    }

    #[test]
    fn a_server_gets_lines_over_tls() {
        use lab::pki::{Leaf, self_signed};
        use rustls::sign::{CertifiedKey, SingleCertAndKey};
        use std::io::Read;
        let issued = self_signed(&Leaf::default()).unwrap();
        let provider = tls::build::provider();
        let key = provider
            .key_provider
            .load_private_key(issued.key())
            .unwrap();
        let shown = CertifiedKey::new(issued.certificates(), key);
        let config = rustls::ServerConfig::builder_with_provider(Arc::clone(provider))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_cert_resolver(Arc::new(SingleCertAndKey::from(shown)));
        let connector = tls::Connector::new(Default::default()).unwrap();
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let ring = ring(|settings| {
            settings.name = "secured".into();
            settings.servers.push(RingServer {
                name: "s".into(),
                address,
                counted: false,
                tls: crate::config::RingTls(Some(Arc::new(connector))),
            });
        });
        ring.push(b"one\n");
        let (peer, _) = listener.accept().unwrap();
        let session = rustls::ServerConnection::new(Arc::new(config)).unwrap();
        let mut got = [0; 4];
        rustls::StreamOwned::new(session, peer)
            .read_exact(&mut got)
            .unwrap();
        assert_eq!(&got, b"one\n");
    }
}
