//! Polls an address continuously as a client, evaluates gaps and changes of the responding machine,
//! and runs a responder at an address that sends the name of its machine.
//!
//! The watcher opens a new connection at a fixed pace, whether the previous ones have ended or not,
//! so that a gap is measured with its real length. It runs on its own thread inside its host, with
//! priority over ordinary processes if permitted, so that a busy machine causes no gap. The watcher
//! can also query a web server that returns the name of its machine in the last line of its
//! response.

use namespace::{LabError, Location, raise_priority};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fd::OwnedFd;
use rustix::io::Errno;
use rustix::net::{
    AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, connect, recv, send, socket_with,
    sockopt,
};
use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::io::Write;
use std::net::{SocketAddr, TcpListener};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::sync_channel;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

/// Maximum number of recorded polls: an hour of polls every 5 ms. Later ones are not recorded.
const LOOKS_MAX: usize = 720_000;

/// Maximum number of open connections; a poll beyond it is recorded as [`Miss::NotTried`].
const UNDER_WAY_MAX: usize = 500;

/// Maximum length of a name in bytes.
const NAME_BYTES_MAX: usize = 64;

/// Maximum length of a web server's response in bytes.
const ANSWER_BYTES_MAX: usize = 4096;

/// Maximum time until the thread notices the end.
const STOP_POLL: Duration = Duration::from_millis(20);

/// Server that sends its name on every connection, and closes it. Started on two machines that
/// share an address, on any address (`0.0.0.0:PORT`, `[::]:PORT`), it shows which of them
/// responded.
#[derive(Debug)]
pub struct Answerer {
    address: SocketAddr,
    listener: Arc<TcpListener>,
    thread: Option<JoinHandle<()>>,
}

impl Answerer {
    /// Starts a server at an address with a name.
    pub fn start(
        place: impl Into<Location>,
        address: SocketAddr,
        name: &str,
    ) -> Result<Self, LabError> {
        let failed = || LabError::io("listen at", address);
        let bind = || TcpListener::bind(address);
        let listener = Arc::new(place.into().enter(bind).map_err(failed())?);
        let address = listener.local_addr().map_err(failed())?;
        let name: String = name.chars().take(NAME_BYTES_MAX / 4).collect();
        let (listening, name) = (Arc::clone(&listener), name + "\n");
        let thread = thread::spawn(move || {
            raise_priority();
            // Accepts until the listener is shut down, which is an error.
            while let Ok((mut stream, _)) = listening.accept() {
                // Ignores an error: the client may be gone.
                let _ = stream.write_all(name.as_bytes());
            }
        });
        Ok(Answerer {
            address,
            listener,
            thread: Some(thread),
        })
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for Answerer {
    fn drop(&mut self) {
        // Ends a waiting accept, as this does on Linux.
        let _ = rustix::net::shutdown(&*self.listener, rustix::net::Shutdown::Both);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// Reason why a poll got no response.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Miss {
    Refused,
    /// There is no route, or no machine has the address.
    Unreachable,
    /// The connection was closed before a name arrived.
    BrokenOff,
    /// No name arrived in time.
    TimedOut,
    /// Too many other connections were open.
    NotTried,
    Other,
}

impl From<Errno> for Miss {
    fn from(errno: Errno) -> Self {
        match errno {
            Errno::CONNREFUSED => Miss::Refused,
            Errno::NETUNREACH | Errno::HOSTUNREACH | Errno::NETDOWN | Errno::ADDRNOTAVAIL => {
                Miss::Unreachable
            }
            Errno::CONNRESET | Errno::PIPE => Miss::BrokenOff,
            Errno::TIMEDOUT => Miss::TimedOut,
            _ => Miss::Other,
        }
    }
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PollRecord {
    /// Start of the poll, relative to the start of the watcher.
    pub begun: Duration,
    /// End of the poll, relative to the start of the watcher.
    pub ended: Duration,
    /// Name of the responder, or the reason why there was none.
    pub outcome: Result<Arc<str>, Miss>,
}

#[derive(Clone, Copy, Debug)]
pub struct Pace {
    /// Time from one new connection to the next.
    pub every: Duration,
    pub patience: Duration,
}

impl Default for Pace {
    /// Every 5 ms with a timeout of 400 ms: a lost first packet is retransmitted only after a
    /// second, and by then a later connection has succeeded.
    fn default() -> Self {
        Pace {
            every: Duration::from_millis(5),
            patience: Duration::from_millis(400),
        }
    }
}

/// A running watcher, which stops when it is dropped.
#[derive(Debug)]
pub struct Watcher {
    stop: Arc<AtomicBool>,
    polls: Arc<Mutex<Vec<PollRecord>>>,
    start: Instant,
    thread: Option<JoinHandle<()>>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Watcher {
    /// Starts to poll an address from a host of the lab or from this machine.
    pub fn start(
        place: impl Into<Location>,
        address: SocketAddr,
        pace: Pace,
    ) -> Result<Self, LabError> {
        Watcher::with(place.into(), address, pace, Vec::new())
    }

    /// Polls a web server: requests a path, each time with a new connection that the server closes.
    /// The last line of a 200 response is the name; for other responses, their first line is
    /// recorded as the name.
    pub fn asking(
        place: impl Into<Location>,
        address: SocketAddr,
        path: &str,
        pace: Pace,
    ) -> Result<Self, LabError> {
        let request = format!("GET {path} HTTP/1.0\r\nhost: {address}\r\n\r\n");
        Watcher::with(place.into(), address, pace, request.into_bytes())
    }

    fn with(
        place: Location,
        address: SocketAddr,
        pace: Pace,
        request: Vec<u8>,
    ) -> Result<Self, LabError> {
        let stop = Arc::new(AtomicBool::new(false));
        let looks = Arc::new(Mutex::new(Vec::new()));
        let start = Instant::now();
        let (stopped, recorded) = (Arc::clone(&stop), Arc::clone(&looks));
        let (entered, enters) = sync_channel(1);
        let thread = thread::spawn(move || {
            place.enter(|| {
                raise_priority();
                let _ = entered.send(());
                Eye {
                    address,
                    pace,
                    request,
                    start,
                    polls: &recorded,
                    under_way: VecDeque::new(),
                    names: Vec::new(),
                }
                .run(&stopped);
            });
        });
        // Returns an error if the thread could not enter the host, which closes the channel.
        enters
            .recv()
            .map_err(|_| LabError::io("watch", address)(std::io::ErrorKind::NotFound.into()))?;
        Ok(Watcher {
            stop,
            polls: looks,
            start,
            thread: Some(thread),
        })
    }

    /// Returns the start of the watch, to which the times of its polls are relative.
    pub fn began(&self) -> Instant {
        self.start
    }

    /// Returns the results of the polls that have ended so far.
    pub fn results(&self) -> WatcherResults {
        WatcherResults::of(lock(&self.polls).clone())
    }

    /// Stops, and returns all results.
    pub fn stop(mut self) -> WatcherResults {
        self.end();
        WatcherResults::of(std::mem::take(&mut *lock(&self.polls)))
    }

    /// Waits until this number of further polls got a response, from any machine or from `who`.
    pub fn wait_for(&self, who: Option<&str>, looks: usize, within: Duration) -> bool {
        let mut from = lock(&self.polls).len();
        let mut found = 0;
        namespace::eventually(within, || {
            let all = lock(&self.polls);
            let new = all.get(from..).unwrap_or_default();
            found += new
                .iter()
                .filter(|look| match (&look.outcome, who) {
                    (Ok(name), Some(who)) => **name == *who,
                    (Ok(_), None) => true,
                    (Err(_), _) => false,
                })
                .count();
            from = all.len();
            found >= looks
        })
    }

    fn end(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

impl Drop for Watcher {
    fn drop(&mut self) {
        self.end();
    }
}

#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct WatcherResults {
    /// All polls, in the order in which they ended.
    pub polls: Vec<PollRecord>,
}

impl WatcherResults {
    fn of(looks: Vec<PollRecord>) -> Self {
        WatcherResults { polls: looks }
    }

    /// Returns the number of polls with a response.
    pub fn response_count(&self) -> usize {
        self.polls
            .iter()
            .filter(|look| look.outcome.is_ok())
            .count()
    }

    /// Returns the longest time between two consecutive responses; zero with fewer than two.
    pub fn longest_gap(&self) -> Duration {
        let answers = self.polls.iter().filter(|look| look.outcome.is_ok());
        let times: Vec<Duration> = answers.map(|look| look.ended).collect();
        let gaps = times.windows(2).map(|w| w[1].saturating_sub(w[0]));
        gaps.max().unwrap_or_default()
    }

    /// Returns the number of polls without a response, by reason.
    pub fn misses(&self) -> BTreeMap<Miss, usize> {
        let mut all = BTreeMap::new();
        for miss in self
            .polls
            .iter()
            .filter_map(|look| look.outcome.as_ref().err())
        {
            *all.entry(*miss).or_insert(0) += 1;
        }
        all
    }

    /// Returns the number of responses of each machine.
    pub fn responses_by_machine(&self) -> BTreeMap<Arc<str>, usize> {
        let mut all = BTreeMap::new();
        for name in self
            .polls
            .iter()
            .filter_map(|look| look.outcome.as_ref().ok())
        {
            *all.entry(Arc::clone(name)).or_insert(0) += 1;
        }
        all
    }

    /// Returns the responding machines in the order in which the polls began: an entry with the
    /// time of the first response whenever the machine changes. Late responses of a delayed machine
    /// may arrive between those of the next one.
    pub fn responder_changes(&self) -> Vec<(Duration, Arc<str>)> {
        let mut turns: Vec<(Duration, Arc<str>)> = Vec::new();
        let mut looks: Vec<&PollRecord> = self.polls.iter().collect();
        looks.sort_by_key(|look| look.begun);
        for look in looks {
            let Ok(name) = &look.outcome else { continue };
            if turns.last().is_none_or(|(_, last)| last != name) {
                turns.push((look.ended, Arc::clone(name)));
            }
        }
        turns
    }
}

impl fmt::Display for WatcherResults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} polls, {} responses from {:?}, longest gap {:?}, missed polls {:?}",
            self.polls.len(),
            self.response_count(),
            self.responses_by_machine(),
            self.longest_gap(),
            self.misses()
        )
    }
}

struct UnderWay {
    begun: Duration,
    socket: OwnedFd,
    is_request_sent: bool,
    received: Vec<u8>,
}

struct Eye<'a> {
    address: SocketAddr,
    pace: Pace,
    /// Request to send; empty: the responder sends first.
    request: Vec<u8>,
    start: Instant,
    polls: &'a Mutex<Vec<PollRecord>>,
    under_way: VecDeque<UnderWay>,
    names: Vec<Arc<str>>,
}

impl Eye<'_> {
    fn run(mut self, stop: &AtomicBool) {
        let mut next = Instant::now();
        while !stop.load(Ordering::Relaxed) {
            let now = Instant::now();
            if now >= next {
                self.begin();
                next += self.pace.every;
                if next + self.pace.every < now {
                    // Skips the missed polls, without a burst: the watcher itself was late, which
                    // is no gap of the machines.
                    next = now + self.pace.every;
                }
            }
            self.wait(next);
            self.listen();
        }
        // Ends without recording the open connections, which have not failed.
    }

    fn record(&self, begun: Duration, outcome: Result<Arc<str>, Miss>) {
        let mut looks = lock(self.polls);
        if looks.len() < LOOKS_MAX {
            looks.push(PollRecord {
                begun,
                ended: self.start.elapsed(),
                outcome,
            });
        }
    }

    fn begin(&mut self) {
        let begun = self.start.elapsed();
        if self.under_way.len() >= UNDER_WAY_MAX {
            return self.record(begun, Err(Miss::NotTried));
        }
        match connecting(self.address) {
            Ok(socket) => self.under_way.push_back(UnderWay {
                begun,
                socket,
                is_request_sent: self.request.is_empty(),
                received: Vec::new(),
            }),
            Err(errno) => self.record(begun, Err(errno.into())),
        }
    }

    fn wait(&self, next: Instant) {
        let left = next.saturating_duration_since(Instant::now());
        let timeout = Timespec::try_from(left.min(STOP_POLL)).ok();
        let ways = self.under_way.iter().map(|way| {
            let wanted = if way.is_request_sent {
                PollFlags::IN
            } else {
                PollFlags::OUT
            };
            PollFd::new(&way.socket, wanted)
        });
        let mut fds: Vec<_> = ways.collect();
        let _ = poll(&mut fds, timeout.as_ref());
    }

    fn listen(&mut self) {
        let now = self.start.elapsed();
        let mut still = VecDeque::with_capacity(self.under_way.len());
        while let Some(mut way) = self.under_way.pop_front() {
            match read_name(&mut way, &self.request) {
                Some(Ok(())) => {
                    let name = self.name(&way.received);
                    self.record(way.begun, Ok(name));
                }
                Some(Err(miss)) => self.record(way.begun, Err(miss)),
                None if now.saturating_sub(way.begun) >= self.pace.patience => {
                    self.record(way.begun, Err(Miss::TimedOut));
                }
                None => still.push_back(way),
            }
        }
        self.under_way = still;
    }

    /// Returns the name in a response; each name is stored once.
    fn name(&mut self, said: &[u8]) -> Arc<str> {
        let text = String::from_utf8_lossy(said);
        let mut lines = text.lines();
        let first = lines.next().unwrap_or_default();
        let text = match lines.next_back() {
            Some(last) if first.split(' ').nth(1) == Some("200") => last,
            _ => first,
        };
        if let Some(known) = self.names.iter().find(|known| ***known == *text) {
            return Arc::clone(known);
        }
        let new: Arc<str> = text.into();
        self.names.push(Arc::clone(&new));
        new
    }
}

/// Starts a connection without waiting for it. The socket is reset when it is closed, so that no
/// port stays in use.
fn connecting(address: SocketAddr) -> Result<OwnedFd, Errno> {
    let family = if address.is_ipv4() {
        AddressFamily::INET
    } else {
        AddressFamily::INET6
    };
    let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
    let socket = socket_with(family, SocketType::STREAM, flags, None)?;
    sockopt::set_socket_linger(&socket, Some(Duration::ZERO))?;
    match connect(&socket, &address) {
        Ok(()) | Err(Errno::INPROGRESS) => Ok(socket),
        Err(errno) => Err(errno),
    }
}

/// Sends the request when the socket is connected, and receives available bytes. Returns None while
/// the response is incomplete, otherwise success or the reason why there is none.
fn read_name(way: &mut UnderWay, request: &[u8]) -> Option<Result<(), Miss>> {
    if !way.is_request_sent {
        match send(&way.socket, request, SendFlags::NOSIGNAL) {
            Ok(sent) if sent == request.len() => way.is_request_sent = true,
            Ok(_) => return Some(Err(Miss::Other)),
            // Waits, because the socket is not connected yet.
            Err(Errno::AGAIN | Errno::NOTCONN | Errno::INTR) => return None,
            Err(errno) => return Some(Err(errno.into())),
        }
    }
    let mut buffer = [0; ANSWER_BYTES_MAX];
    loop {
        match recv(&way.socket, &mut buffer[..], RecvFlags::empty()) {
            Ok((0, _)) if request.is_empty() || way.received.is_empty() => {
                return Some(Err(Miss::BrokenOff));
            }
            // Ends a complete response to a request, which ends with the connection.
            Ok((0, _)) => return Some(Ok(())),
            Ok((count, _)) => {
                way.received
                    .extend_from_slice(buffer.get(..count).unwrap_or_default());
                let all = if request.is_empty() {
                    way.received.contains(&b'\n') || way.received.len() >= NAME_BYTES_MAX
                } else {
                    way.received.len() >= ANSWER_BYTES_MAX
                };
                if all {
                    return Some(Ok(()));
                }
            }
            // Waits: a socket that is not connected yet looks the same as one with nothing to read.
            Err(Errno::AGAIN | Errno::NOTCONN) => return None,
            Err(Errno::INTR) => {}
            Err(errno) => return Some(Err(errno.into())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Lab;

    const SOON: Duration = Duration::from_secs(20);

    fn look(ended_ms: u64, outcome: Result<&str, Miss>) -> PollRecord {
        PollRecord {
            begun: Duration::from_millis(ended_ms.saturating_sub(1)),
            ended: Duration::from_millis(ended_ms),
            outcome: outcome.map(Arc::from),
        }
    }

    #[test]
    fn gap_lies_between_two_responses_and_owners_are_ordered() {
        let seen = WatcherResults::of(vec![
            look(10, Ok("alpha")),
            look(15, Ok("alpha")),
            look(21, Err(Miss::TimedOut)),
            look(65, Ok("beta")),
            look(70, Err(Miss::Refused)),
            look(75, Ok("beta")),
            look(80, Ok("alpha")),
        ]);
        assert_eq!(seen.response_count(), 5);
        assert_eq!(seen.longest_gap(), Duration::from_millis(50));
        let turns: Vec<String> = seen
            .responder_changes()
            .iter()
            .map(|(_, n)| n.to_string())
            .collect();
        assert_eq!(turns, ["alpha", "beta", "alpha"]);
        assert_eq!(seen.misses()[&Miss::Refused], 1);
        assert_eq!(seen.responses_by_machine()["beta"], 2);
        let late = PollRecord {
            begun: Duration::from_millis(18),
            ..look(90, Ok("alpha"))
        };
        let in_time = [look(10, Ok("alpha")), look(65, Ok("beta"))];
        let seen = WatcherResults::of(in_time.into_iter().chain([late]).collect());
        assert_eq!(
            seen.responder_changes().len(),
            2,
            "begun before beta answered"
        );
    }

    #[test]
    fn watcher_sees_the_owner_and_moves() {
        crate::skip_unless_root!();
        let lab = Lab::new("watcher").unwrap();
        let switch = lab.switch("lan").unwrap();
        let [client, a, b] = ["client", "a", "b"].map(|name| lab.host(name).unwrap());
        let at_client = switch.attach(&client).unwrap();
        at_client.address("10.9.0.9/24").unwrap();
        let (at_a, at_b) = (switch.attach(&a).unwrap(), switch.attach(&b).unwrap());
        let any: SocketAddr = "0.0.0.0:7".parse().unwrap();
        let _answerers = [(&a, "alpha"), (&b, "beta")]
            .map(|(host, name)| Answerer::start(host, any, name).unwrap());
        at_a.address("10.9.0.1/24").unwrap();
        let address = "10.9.0.1:7".parse().unwrap();
        let watcher = Watcher::start(&client, address, Pace::default()).unwrap();
        assert!(watcher.wait_for(Some("alpha"), 20, SOON));
        at_a.remove_address("10.9.0.1/24").unwrap();
        at_b.address("10.9.0.1/24").unwrap();
        // Flushes the client's neighbours, so that it resolves the moved address at once.
        client.ip(&["neighbour", "flush", "all"]).unwrap();
        assert!(watcher.wait_for(Some("beta"), 20, SOON));
        let seen = watcher.stop();
        let turns: Vec<String> = seen
            .responder_changes()
            .iter()
            .map(|(_, n)| n.to_string())
            .collect();
        assert_eq!(turns, ["alpha", "beta"], "{seen}");
        assert!(seen.longest_gap() > Duration::from_millis(5), "{seen}");
    }

    #[test]
    fn web_server_is_polled_for_its_name_or_error() {
        let origin = crate::OriginServer::start_local("web0").unwrap();
        let address = origin.address();
        let watcher = Watcher::asking(Location::Here, address, "/", Pace::default()).unwrap();
        assert!(watcher.wait_for(Some("web0"), 20, SOON));
        origin.set_behaviour(crate::Behaviour::Status(503));
        assert!(watcher.wait_for(Some("HTTP/1.1 503 Status"), 20, SOON));
        origin.set_behaviour(crate::Behaviour::Close);
        let broken = || watcher.results().misses().contains_key(&Miss::BrokenOff);
        assert!(namespace::eventually(SOON, broken));
        assert!(origin.take_requests()[0].starts_with("GET / HTTP/1.0\r\n"));
    }

    #[test]
    fn missing_responses_are_classified() {
        crate::skip_unless_root!();
        let lab = Lab::new("nobody").unwrap();
        let (client, server) = (lab.host("client").unwrap(), lab.host("server").unwrap());
        let link = lab.link(&client, &server).unwrap();
        link.a.address("10.9.1.1/24").unwrap();
        link.b.address("10.9.1.2/24").unwrap();
        for (address, wanted) in [
            ("10.9.1.2:9", Miss::Refused),
            ("192.0.2.1:9", Miss::Unreachable),
        ] {
            let pace = Pace::default();
            let watcher = Watcher::start(&client, address.parse().unwrap(), pace).unwrap();
            assert!(namespace::eventually(SOON, || {
                watcher
                    .results()
                    .misses()
                    .get(&wanted)
                    .is_some_and(|n| *n > 3)
            }));
            assert_eq!(watcher.stop().response_count(), 0);
        }
    }
}
