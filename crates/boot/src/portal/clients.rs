//! The connections that there are: how many there may be, which of them use what, and how they are ended.

use std::collections::BTreeMap;
use std::net::{IpAddr, Shutdown, TcpStream};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Connections of a network: each has a thread.
const CONNECTIONS_MAX: usize = 512;
/// Connections of one address.
const OF_ONE_MAX: usize = 8;

/// Who an initiator says it is, with its number for the session.
pub type Initiator = (String, [u8; 6]);

/// The connections.
#[derive(Debug, Default)]
pub struct Clients {
    all: Mutex<All>,
    ended: Condvar,
}

#[derive(Debug, Default)]
struct All {
    next: u64,
    connections: BTreeMap<u64, Connection>,
}

#[derive(Debug)]
struct Connection {
    stream: TcpStream,
    from: IpAddr,
    /// The disk that it uses.
    disk: Option<String>,
    /// Its session of iSCSI.
    initiator: Option<Initiator>,
}

impl Clients {
    fn lock(&self) -> MutexGuard<'_, All> {
        self.all.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes a connection in, and returns its number. None: there are too many, or it failed already.
    pub fn add(&self, stream: &TcpStream, from: IpAddr) -> Option<u64> {
        let stream = stream.try_clone().ok()?;
        let mut all = self.lock();
        let own = all.connections.values().filter(|one| one.from == from);
        if own.count() >= OF_ONE_MAX || all.connections.len() >= CONNECTIONS_MAX {
            return None;
        }
        all.next += 1;
        let number = all.next;
        let connection = Connection {
            stream,
            from,
            disk: None,
            initiator: None,
        };
        all.connections.insert(number, connection);
        Some(number)
    }

    /// A connection uses a disk from now on. One with the same session ends (RFC 7143, 6.3.5).
    pub fn uses(&self, number: u64, disk: &str, initiator: Option<Initiator>) {
        let mut all = self.lock();
        let is_same = |one: &Connection| {
            initiator.is_some() && one.initiator == initiator && one.disk.as_deref() == Some(disk)
        };
        for one in all.connections.values().filter(|one| is_same(one)) {
            end(one);
        }
        if let Some(own) = all.connections.get_mut(&number) {
            own.disk = Some(disk.to_owned());
            own.initiator = initiator;
        }
    }

    /// A connection has ended.
    pub fn remove(&self, number: u64) {
        self.lock().connections.remove(&number);
        self.ended.notify_all();
    }

    /// How many connections use a disk.
    pub fn count(&self, disk: &str) -> usize {
        let all = self.lock();
        let uses = |one: &&Connection| one.disk.as_deref() == Some(disk);
        all.connections.values().filter(uses).count()
    }

    /// Ends the connections that use a disk which their address may not use.
    pub fn retain(&self, may_use: impl Fn(IpAddr, &str) -> bool) {
        // Without the lock: the answer may need others.
        let all: Vec<(u64, IpAddr, String)> = {
            let all = self.lock();
            let using = all.connections.iter();
            using
                .filter_map(|(number, one)| Some((*number, one.from, one.disk.clone()?)))
                .collect()
        };
        for (number, from, disk) in all {
            if !may_use(from, &disk)
                && let Some(one) = self.lock().connections.get(&number)
            {
                end(one);
            }
        }
    }

    /// Ends all connections, and waits for them for a while.
    pub fn end_all(&self, patience: Duration) {
        let until = Instant::now() + patience;
        let mut all = self.lock();
        all.connections.values().for_each(end);
        while !all.connections.is_empty() {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return;
            }
            let waited = self.ended.wait_timeout(all, left);
            all = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }
}

fn end(one: &Connection) {
    // It may have ended by itself.
    let _ = one.stream.shutdown(Shutdown::Both);
}
