//! Tracks the client connections of a portal (iSCSI and NBD): their limits, the disks that they
//! use, and how they are closed.

use crate::disk::DiskUser;
use std::collections::BTreeMap;
use std::net::{IpAddr, Shutdown, TcpStream};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Limit of connections of a network: each has a thread.
const CONNECTIONS_MAX: usize = 512;
const OF_ONE_MAX: usize = 8;

/// Name of an iSCSI initiator, and its ISID.
pub type Initiator = (String, [u8; 6]);

#[derive(Debug, Default)]
pub struct Clients {
    all: Mutex<ConnectionTable>,
    ended: Condvar,
}

#[derive(Debug, Default)]
struct ConnectionTable {
    next: u64,
    connections: BTreeMap<u64, Connection>,
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub struct DiskUse {
    pub disk: String,
    pub user: DiskUser,
    /// True if the disk has one user at a time: machines write the disk itself, not overlays.
    pub is_alone: bool,
}

#[derive(Debug)]
struct Connection {
    stream: TcpStream,
    from: IpAddr,
    disk: Option<(String, DiskUser)>,
    initiator: Option<Initiator>,
}

impl Clients {
    fn lock(&self) -> MutexGuard<'_, ConnectionTable> {
        self.all.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds a connection, and returns its number. None: a limit of connections is reached, or there
    /// is no descriptor left.
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

    pub fn other_user(&self, wanted: &DiskUse) -> Option<DiskUser> {
        self.lock().other_user(wanted)
    }

    /// Records that a connection uses a disk. An older connection of the same iSCSI session ends
    /// (RFC 7143, 6.3.5).
    ///
    /// # Errors
    ///
    /// Another user has the disk, which has one user at a time. The error is that user, and nothing
    /// changes.
    pub fn begin_use(
        &self,
        number: u64,
        wanted: DiskUse,
        initiator: Option<Initiator>,
    ) -> Result<(), DiskUser> {
        let mut all = self.lock();
        if let Some(other) = all.other_user(&wanted) {
            return Err(other);
        }
        let DiskUse { disk, user, .. } = wanted;
        let is_same = |one: &Connection| {
            initiator.is_some() && one.initiator == initiator && one.disk_name() == Some(&disk)
        };
        for one in all.connections.values().filter(|one| is_same(one)) {
            end(one);
        }
        if let Some(own) = all.connections.get_mut(&number) {
            own.disk = Some((disk, user));
            own.initiator = initiator;
        }
        Ok(())
    }

    pub fn remove(&self, number: u64) {
        self.lock().connections.remove(&number);
        self.ended.notify_all();
    }

    pub fn count(&self, disk: &str) -> usize {
        let all = self.lock();
        let uses = |one: &&Connection| one.disk_name() == Some(disk);
        all.connections.values().filter(uses).count()
    }

    pub fn retain(&self, may_use: impl Fn(IpAddr, &str) -> bool) {
        // Copies the list before the callback runs, because the callback may acquire other locks.
        let all: Vec<(u64, IpAddr, String)> = {
            let all = self.lock();
            let using = all.connections.iter();
            using
                .filter_map(|(number, one)| Some((*number, one.from, one.disk_name()?.to_owned())))
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

    /// Closes all connections, and waits for their end for at most this time.
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

impl ConnectionTable {
    fn other_user(&self, wanted: &DiskUse) -> Option<DiskUser> {
        let uses = self
            .connections
            .values()
            .filter_map(|one| one.disk.as_ref());
        let mut others = uses
            .filter(|(disk, user)| *disk == wanted.disk && *user != wanted.user)
            .map(|(_, user)| *user);
        others.next().filter(|_| wanted.is_alone)
    }
}

impl Connection {
    fn disk_name(&self) -> Option<&str> {
        self.disk.as_ref().map(|(disk, _)| disk.as_str())
    }
}

fn end(one: &Connection) {
    // Ignores an error: the connection may have ended by itself.
    let _ = one.stream.shutdown(Shutdown::Both);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mac::Mac;
    use std::net::TcpListener;

    #[test]
    fn written_disk_has_one_machine_at_a_time() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let stream = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let clients = Clients::default();
        let add = |last: u8| clients.add(&stream, [10, 0, 0, last].into()).unwrap();
        let wanted = |user: DiskUser, is_alone: bool| DiskUse {
            disk: "system".to_owned(),
            user,
            is_alone,
        };
        let [one, other] = [1, 2].map(|last| DiskUser::Machine(Mac([2, 0, 0, 0, 0, last])));
        let first = add(1);
        assert_eq!(clients.begin_use(first, wanted(one, true), None), Ok(()));
        let second = add(2);
        assert_eq!(clients.other_user(&wanted(other, true)), Some(one));
        assert_eq!(
            clients.begin_use(second, wanted(other, true), None),
            Err(one)
        );
        assert_eq!(clients.count("system"), 1);
        // The boot loader and the operating system of one machine may connect from different
        // addresses.
        let again = add(3);
        assert_eq!(clients.begin_use(again, wanted(one, true), None), Ok(()));
        // Further users may share a disk with overlays, a read-only disk, or a disk that is open
        // for all addresses.
        let shared = add(2);
        assert_eq!(
            clients.begin_use(shared, wanted(other, false), None),
            Ok(())
        );
        clients.remove(shared);
        clients.remove(first);
        assert_eq!(clients.other_user(&wanted(other, true)), Some(one));
        clients.remove(again);
        assert_eq!(clients.begin_use(second, wanted(other, true), None), Ok(()));
    }
}
