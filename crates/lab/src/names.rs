//! Runs a nameserver inside the test, over UDP and TCP, whose zone a test changes while the server
//! runs.

use namespace::{LabError, Location};
use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{IpAddr, SocketAddr, TcpListener, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

/// Maximum time until the threads notice that the server is dropped.
const STOP_POLL: Duration = Duration::from_millis(20);
/// Maximum length of a query in bytes.
const QUESTION_BYTES_MAX: usize = 512;
/// Maximum number of recorded queries. Later ones are not recorded.
const QUESTIONS_MAX: usize = 100_000;

#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Records {
    Addresses(Vec<IpAddr>),
    /// Priority, weight, port and host of services (SRV). If the flag is true, the response also
    /// has the addresses of the hosts.
    Services(Vec<(u16, u16, u16, String)>, bool),
    /// Response without records and with this code: 3 is "no such name", 5 "refused".
    Error(u8),
    Silence,
    /// Addresses that are sent over TCP only: over UDP the response is truncated.
    OnlyOverTcp(Vec<IpAddr>),
    /// Invalid bytes after the ID of the query.
    Garbage(Vec<u8>),
    /// Sends the correct response to another query, and no response to the received one.
    Foreign(Vec<IpAddr>),
}

type Zone = BTreeMap<String, Records>;

#[derive(Debug, Default)]
struct NameserverState {
    zone: Mutex<Zone>,
    /// Names and types of the queries.
    queries: Mutex<Vec<(String, u16)>>,
    stop: AtomicBool,
}

/// A nameserver, which stops when it is dropped.
#[derive(Debug)]
pub struct Nameserver {
    address: SocketAddr,
    shared: Arc<NameserverState>,
    threads: Vec<JoinHandle<()>>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Nameserver {
    /// Starts a server at an address.
    pub fn start(place: impl Into<Location>, address: SocketAddr) -> Result<Nameserver, LabError> {
        let failed = || LabError::io("listen at", address);
        let place = place.into();
        let (udp, tcp) = place
            .enter(|| Ok((UdpSocket::bind(address)?, TcpListener::bind(address)?)))
            .map_err(failed())?;
        udp.set_read_timeout(Some(STOP_POLL)).map_err(failed())?;
        tcp.set_nonblocking(true).map_err(failed())?;
        let shared = Arc::new(NameserverState::default());
        let (one, other) = (Arc::clone(&shared), Arc::clone(&shared));
        let threads = vec![
            thread::spawn(move || over_udp(&udp, &one)),
            thread::spawn(move || over_tcp(&tcp, &other)),
        ];
        Ok(Nameserver {
            address,
            shared,
            threads,
        })
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Sets the response for a name.
    pub fn set(&self, name: &str, records: Records) {
        lock(&self.shared.zone).insert(name.to_owned(), records);
    }

    /// Sets addresses as the response for a name.
    pub fn addresses(&self, name: &str, addresses: &[&str]) {
        let parsed = addresses.iter().filter_map(|text| text.parse().ok());
        self.set(name, Records::Addresses(parsed.collect()));
    }

    /// Returns the number of queries for a name.
    pub fn query_count(&self, name: &str) -> usize {
        let asked = lock(&self.shared.queries);
        asked.iter().filter(|(known, _)| known == name).count()
    }
}

impl Drop for Nameserver {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}

fn over_udp(socket: &UdpSocket, shared: &NameserverState) {
    let mut buffer = [0; QUESTION_BYTES_MAX];
    while !shared.stop.load(Ordering::Relaxed) {
        // Continues after an error, which is usually the timeout.
        let Ok((length, from)) = socket.recv_from(&mut buffer) else {
            continue;
        };
        if let Some(answer) = respond_to_query(&buffer[..length], shared, false) {
            let _ = socket.send_to(&answer, from);
        }
    }
}

fn over_tcp(listener: &TcpListener, shared: &NameserverState) {
    while !shared.stop.load(Ordering::Relaxed) {
        let Ok((mut stream, _)) = listener.accept() else {
            thread::sleep(STOP_POLL);
            continue;
        };
        let _ = stream.set_nonblocking(false);
        let _ = stream.set_read_timeout(Some(Duration::from_secs(5)));
        let mut length = [0; 2];
        if stream.read_exact(&mut length).is_err() {
            continue;
        }
        let mut question = vec![0; usize::from(u16::from_be_bytes(length))];
        if stream.read_exact(&mut question).is_err() {
            continue;
        }
        if let Some(answer) = respond_to_query(&question, shared, true) {
            let length = u16::try_from(answer.len()).unwrap_or(u16::MAX);
            let _ = stream.write_all(&[&length.to_be_bytes()[..], &answer].concat());
        }
    }
}

fn name_bytes(name: &str) -> Vec<u8> {
    let mut out = Vec::new();
    for label in name.split('.').filter(|label| !label.is_empty()) {
        out.push(label.len() as u8);
        out.extend_from_slice(label.as_bytes());
    }
    out.push(0);
    out
}

/// Parses a DNS query. Returns its name and type, and the offset after the question.
fn read_question(message: &[u8]) -> Option<(String, u16, usize)> {
    let mut at = 12;
    let mut labels = Vec::new();
    loop {
        let length = usize::from(*message.get(at)?);
        at += 1;
        if length == 0 {
            break;
        }
        let label = message.get(at..at + length)?;
        labels.push(String::from_utf8_lossy(label).to_lowercase());
        at += length;
    }
    let kind = u16::from_be_bytes(message.get(at..at + 2)?.try_into().ok()?);
    Some((labels.join("."), kind, at + 4))
}

fn record(owner: &str, kind: u16, value: &[u8]) -> Vec<u8> {
    let mut out = name_bytes(owner);
    out.extend_from_slice(&kind.to_be_bytes());
    out.extend_from_slice(&[0, 1, 0, 0, 0, 60]);
    out.extend_from_slice(&(value.len() as u16).to_be_bytes());
    out.extend_from_slice(value);
    out
}

fn address_records(owner: &str, kind: u16, addresses: &[IpAddr]) -> Vec<Vec<u8>> {
    let of = |ip: &IpAddr| match (ip, kind) {
        (IpAddr::V4(ip), 1) => Some(record(owner, 1, &ip.octets())),
        (IpAddr::V6(ip), 28) => Some(record(owner, 28, &ip.octets())),
        _ => None,
    };
    addresses.iter().filter_map(of).collect()
}

fn respond_to_query(message: &[u8], shared: &NameserverState, over_tcp: bool) -> Option<Vec<u8>> {
    let (name, kind, end) = read_question(message)?;
    let mut asked = lock(&shared.queries);
    if asked.len() < QUESTIONS_MAX {
        asked.push((name.clone(), kind));
    }
    drop(asked);
    let zone = lock(&shared.zone).clone();
    let (mut flags, mut records, mut beside) = (0x8180_u16, Vec::new(), Vec::new());
    let mut question = message.get(12..end)?.to_vec();
    match zone.get(&name) {
        None => flags |= 3,
        Some(Records::Error(code)) => flags |= u16::from(*code),
        Some(Records::Silence) => return None,
        Some(Records::Addresses(addresses)) => {
            records = address_records(&name, kind, addresses);
        }
        Some(Records::OnlyOverTcp(addresses)) if over_tcp => {
            records = address_records(&name, kind, addresses);
        }
        Some(Records::OnlyOverTcp(_)) => flags |= 0x0200,
        Some(Records::Garbage(bytes)) => {
            return Some([message.get(..2)?, &bytes[..]].concat());
        }
        Some(Records::Foreign(addresses)) => {
            question = name_bytes("other.test");
            question.extend_from_slice(&kind.to_be_bytes());
            question.extend_from_slice(&[0, 1]);
            records = address_records("other.test", kind, addresses);
        }
        Some(Records::Services(services, with_addresses)) if kind == 33 => {
            for (priority, weight, port, host) in services {
                let mut value = Vec::new();
                for number in [priority, weight, port] {
                    value.extend_from_slice(&number.to_be_bytes());
                }
                value.extend_from_slice(&name_bytes(host));
                records.push(record(&name, 33, &value));
                if let (true, Some(Records::Addresses(addresses))) =
                    (*with_addresses, zone.get(host))
                {
                    beside.extend(address_records(host, 1, addresses));
                }
            }
        }
        Some(Records::Services(..)) => {}
    }
    let mut out = message.get(..2)?.to_vec();
    for number in [flags, 1, records.len() as u16, 0, beside.len() as u16] {
        out.extend_from_slice(&number.to_be_bytes());
    }
    out.extend_from_slice(&question);
    records
        .iter()
        .chain(&beside)
        .for_each(|r| out.extend_from_slice(r));
    Some(out)
}
