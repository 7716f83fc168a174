//! Generates the load of the demo: clients that send requests through the proxy at a steady pace,
//! and count the results. A request fails without a complete response, or with a status other than
//! 200. No request is repeated.

use super::server::{NAMES, SERVERS};
use std::collections::BTreeMap;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Pace {
    pub clients: u32,
    pub per_client: u32,
    pub patience: Duration,
}

pub const PACE: Pace = Pace {
    clients: 4,
    per_client: 75,
    patience: Duration::from_secs(5),
};

const REQUESTS_PER_CONNECTION: u32 = 40;
const ANSWER_MAX: u64 = 1 << 20;

#[derive(Debug, Default)]
pub struct LoadStatistics {
    pub served: [AtomicU64; SERVERS],
    pub failed: AtomicU64,
    waiting: Mutex<BTreeMap<u32, Instant>>,
}

pub const HANGS_AFTER: Duration = Duration::from_secs(1);

impl LoadStatistics {
    /// Records since when a client waits for a response; None: the client does not wait.
    fn waits(&self, client: u32, since: Option<Instant>) {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        match since {
            Some(since) => waiting.insert(client, since),
            None => waiting.remove(&client),
        };
    }

    /// Returns the number of clients that have waited for a response for [`HANGS_AFTER`] or longer.
    pub fn hanging(&self, now: Instant) -> usize {
        let waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        let hangs = |since: &&Instant| now.saturating_duration_since(**since) >= HANGS_AFTER;
        waiting.values().filter(hangs).count()
    }

    pub fn read(&self) -> Counted {
        let load = |count: &AtomicU64| count.load(Ordering::Relaxed);
        Counted {
            served: self.served.each_ref().map(load),
            failed: load(&self.failed),
        }
    }
}

/// Counters of requests at one time.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Counted {
    pub served: [u64; SERVERS],
    pub failed: u64,
}

impl Counted {
    pub fn since(self, before: Counted) -> Counted {
        Counted {
            served: std::array::from_fn(|at| self.served[at] - before.served[at]),
            failed: self.failed - before.failed,
        }
    }

    pub fn requests(self) -> u64 {
        self.served.iter().sum::<u64>() + self.failed
    }
}

/// Clients that send requests until this value is dropped.
pub struct DemoClients {
    stop: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
}

impl DemoClients {
    /// Starts the clients. `told` receives the reason of each failed request.
    pub fn start(
        proxy: SocketAddr,
        pace: Pace,
        seen: &Arc<LoadStatistics>,
        told: impl Fn(String) + Clone + Send + 'static,
    ) -> io::Result<DemoClients> {
        let mut load = DemoClients {
            stop: Arc::default(),
            threads: Vec::new(),
        };
        for number in 0..pace.clients {
            let (stop, seen, told) = (Arc::clone(&load.stop), Arc::clone(seen), told.clone());
            let thread = std::thread::Builder::new().name("client".into());
            load.threads
                .push(thread.spawn(move || client(proxy, pace, number, &stop, &seen, &told))?);
        }
        Ok(load)
    }
}

impl Drop for DemoClients {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            // Ignores a panic of the thread, which the panic hook has printed.
            let _ = thread.join();
        }
    }
}

fn client(
    proxy: SocketAddr,
    pace: Pace,
    number: u32,
    stop: &AtomicBool,
    seen: &LoadStatistics,
    told: &impl Fn(String),
) {
    let pause = Duration::from_secs(1) / pace.per_client.max(1);
    let mut next = Instant::now();
    let mut connection: Option<BufReader<TcpStream>> = None;
    let mut used = 0;
    while !stop.load(Ordering::Relaxed) {
        if used == REQUESTS_PER_CONNECTION {
            connection = None;
        }
        used = if connection.is_some() { used + 1 } else { 1 };
        seen.waits(number, Some(Instant::now()));
        let result = match connection.take() {
            Some(open) => Ok(open),
            None => connect(proxy, pace.patience),
        };
        let result = result.and_then(ask);
        seen.waits(number, None);
        match result {
            Ok((server, open)) => {
                seen.served[server].fetch_add(1, Ordering::Relaxed);
                connection = open;
            }
            Err(error) => {
                seen.failed.fetch_add(1, Ordering::Relaxed);
                told(format!("a request failed: {error}"));
            }
        }
        next += pause;
        match next.checked_duration_since(Instant::now()) {
            Some(left) => std::thread::sleep(left),
            // Restarts the pace: a client that is late must not catch up with a burst.
            None => next = Instant::now(),
        }
    }
}

fn connect(proxy: SocketAddr, patience: Duration) -> io::Result<BufReader<TcpStream>> {
    let stream = TcpStream::connect_timeout(&proxy, patience)?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(patience))?;
    stream.set_write_timeout(Some(patience))?;
    Ok(BufReader::new(stream))
}

/// Sends one request and reads the response. Returns the index of the server in [`NAMES`], and the
/// connection if the response keeps it open.
fn ask(mut connection: BufReader<TcpStream>) -> io::Result<(usize, Option<BufReader<TcpStream>>)> {
    connection
        .get_mut()
        .write_all(b"GET /demo HTTP/1.1\r\nHost: demo\r\n\r\n")?;
    let mut status = String::new();
    let (mut server, mut length, mut keep) = (None, None, true);
    let mut head = (&mut connection).take(ANSWER_MAX);
    head.read_line(&mut status)?;
    if status.is_empty() {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    loop {
        let mut line = String::new();
        if head.read_line(&mut line)? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let line = line.trim_end().to_ascii_lowercase();
        let Some((name, value)) = line.split_once(':') else {
            break;
        };
        match (name, value.trim()) {
            ("x-served-by", name) => server = NAMES.iter().position(|known| *known == name),
            ("content-length", value) => length = value.parse::<u64>().ok(),
            ("connection", "close") => keep = false,
            _ => {}
        }
    }
    let length = length
        .filter(|length| *length <= ANSWER_MAX)
        .ok_or(io::ErrorKind::InvalidData)?;
    let copied = io::copy(&mut (&mut connection).take(length), &mut io::sink())?;
    if copied != length {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    match server.filter(|_| status.starts_with("HTTP/1.1 200")) {
        Some(server) => Ok((server, keep.then_some(connection))),
        None => Err(io::Error::new(
            io::ErrorKind::InvalidData,
            status.trim().to_owned(),
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn phase_counters_are_differences() {
        let before = Counted {
            served: [10, 20, 0],
            failed: 0,
        };
        let phase = Counted {
            served: [15, 29, 1],
            failed: 1,
        }
        .since(before);
        assert_eq!(
            phase,
            Counted {
                served: [5, 9, 1],
                failed: 1
            }
        );
        assert_eq!(phase.requests(), 16);
    }

    #[test]
    fn a_request_hangs_until_its_client_has_a_response() {
        let (seen, began) = (LoadStatistics::default(), Instant::now());
        let late = began + HANGS_AFTER;
        seen.waits(0, Some(began));
        seen.waits(1, Some(late));
        assert_eq!((seen.hanging(began), seen.hanging(late)), (0, 1));
        seen.waits(0, None);
        assert_eq!(seen.hanging(late), 0);
        assert_eq!(seen.hanging(late + HANGS_AFTER), 1);
    }
}
