//! Tracks which clients have used a disk, and ends their use when another user has had the disk.
//!
//! A client caches the blocks that it has read. If another user has had the volume meanwhile, the
//! client must not continue: its requests fail until it boots again. For a client whose boots this
//! node does not see, a silence of 60 s counts as a boot. Clients that have not used the disk are
//! served at once.

use super::device::Disk;
use super::storage::Storage;
use crate::mac::Mac;
use part::lock;
use std::collections::BTreeMap;
use std::fmt;
use std::net::IpAddr;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// Maximum number of remembered clients. The oldest client is forgotten first.
const CLIENTS_MAX: usize = 4096;
const BOOTS_MAX: usize = 20_000;
/// Time without requests after which a client counts as a new one, if this node has not seen its
/// boots.
const QUIET: Duration = Duration::from_secs(60);

/// User of a disk: a machine with any of its addresses, or a single address.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum DiskUser {
    Machine(Mac),
    /// An address that belongs to no configured machine.
    Address(IpAddr),
}

impl fmt::Display for DiskUser {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            DiskUser::Machine(mac) => write!(f, "machine {mac}"),
            DiskUser::Address(address) => write!(f, "{address}"),
        }
    }
}

/// Number of boots of each machine that this node has seen. Clones share the counts.
#[derive(Clone, Debug, Default)]
pub struct BootCounts(Arc<Mutex<BTreeMap<Mac, u64>>>);

impl BootCounts {
    /// Counts a boot of a machine: its firmware or boot loader has sent a request.
    pub fn count(&self, mac: Mac) {
        let mut all = lock(&self.0);
        if all.len() < BOOTS_MAX || all.contains_key(&mac) {
            *all.entry(mac).or_default() += 1;
        }
    }

    fn of(&self, user: DiskUser) -> u64 {
        match user {
            DiskUser::Machine(mac) => lock(&self.0).get(&mac).copied().unwrap_or_default(),
            DiskUser::Address(_) => 0,
        }
    }
}

/// Disk that clients use, replaced when it is superseded, with the clients that have used it.
pub struct ServedDisk {
    new: Box<dyn Fn() -> Arc<dyn Disk> + Send + Sync>,
    boots: BootCounts,
    clients: Mutex<DiskClients>,
}

struct DiskClients {
    disk: Arc<dyn Disk>,
    using: BTreeMap<DiskUser, Instant>,
    superseded: BTreeMap<DiskUser, SupersededClient>,
}

/// Client that has used a disk which another user has had since.
struct SupersededClient {
    /// Superseded disk, on which each request fails.
    disk: Arc<dyn Disk>,
    boots: u64,
    last_request: Instant,
}

impl ServedDisk {
    /// Creates the disk, which is unreachable at first.
    pub fn new(storage: &Storage, boots: BootCounts) -> ServedDisk {
        let storage = storage.clone();
        ServedDisk::by(move || storage.disk(), boots)
    }

    /// Creates a disk by a function, which is called again when the disk is superseded.
    pub fn by(
        new: impl Fn() -> Arc<dyn Disk> + Send + Sync + 'static,
        boots: BootCounts,
    ) -> ServedDisk {
        let clients = DiskClients {
            disk: new(),
            using: BTreeMap::new(),
            superseded: BTreeMap::new(),
        };
        ServedDisk {
            new: Box::new(new),
            boots,
            clients: Mutex::new(clients),
        }
    }

    /// Returns the current disk, which new clients use.
    pub fn current(&self) -> Arc<dyn Disk> {
        Arc::clone(&lock(&self.clients).disk)
    }

    /// Returns the disk for a client. If the client's disk was superseded, returns that disk, on
    /// which each request fails, until the client has booted. For a client whose boots this node
    /// has not seen, a silence of 60 s counts as a boot.
    pub fn of(&self, user: DiskUser) -> Arc<dyn Disk> {
        let (boots, now) = (self.boots.of(user), Instant::now());
        let mut clients = lock(&self.clients);
        if let Some(superseded) = clients.superseded.get_mut(&user) {
            let is_quiet = now.saturating_duration_since(superseded.last_request) >= QUIET;
            // Silence counts as a boot only if this node has not seen any boot of the client.
            let has_booted = superseded.boots == 0 && is_quiet;
            if boots == superseded.boots && !has_booted {
                superseded.last_request = now;
                return Arc::clone(&superseded.disk);
            }
            clients.superseded.remove(&user);
        }
        if !clients.using.contains_key(&user) {
            make_room(&mut clients.using, |since| *since);
            clients.using.insert(user, now);
        }
        Arc::clone(&clients.disk)
    }

    /// Replaces the disk if it was superseded. Returns the number of clients that the old disk had;
    /// None: the disk was not replaced.
    pub fn replace_superseded(&self) -> Option<usize> {
        let mut clients = lock(&self.clients);
        if !clients.disk.is_superseded() {
            return None;
        }
        let disk = std::mem::replace(&mut clients.disk, (self.new)());
        let using = std::mem::take(&mut clients.using);
        let (count, now) = (using.len(), Instant::now());
        for user in using.into_keys() {
            let superseded = SupersededClient {
                disk: Arc::clone(&disk),
                boots: self.boots.of(user),
                last_request: now,
            };
            make_room(&mut clients.superseded, |one| one.last_request);
            clients.superseded.insert(user, superseded);
        }
        Some(count)
    }
}

fn make_room<T>(all: &mut BTreeMap<DiskUser, T>, since: impl Fn(&T) -> Instant) {
    if all.len() < CLIENTS_MAX {
        return;
    }
    let first = all.iter().min_by_key(|(_, one)| since(one));
    if let Some(first) = first.map(|(user, _)| *user) {
        all.remove(&first);
    }
}

pub fn replaced(name: &str, clients: usize) -> String {
    format!(
        "evenkeel: boot: disk {name}: another user has had its volume since the connection was lost: requests of the \
         {clients} client(s) that used it before fail until they boot again\n"
    )
}

#[cfg(test)]
mod tests {
    use super::super::device::DiskError;
    use super::*;
    use std::io;
    use std::sync::atomic::{AtomicBool, Ordering};

    const MACHINE: DiskUser = DiskUser::Machine(Mac([2, 0, 0, 0, 0, 7]));

    /// Disk whose requests fail once it is superseded.
    #[derive(Default)]
    struct Volume(AtomicBool);

    impl Disk for Volume {
        fn reach(&self) -> Result<(), DiskError> {
            Ok(())
        }

        fn size(&self) -> Result<u64, DiskError> {
            Ok(4096)
        }

        fn read(&self, _: u64, _: &mut [u8]) -> Result<(), DiskError> {
            if self.is_superseded() {
                return Err(DiskError::Failed(io::ErrorKind::Other.into()));
            }
            Ok(())
        }

        fn write(&self, _: u64, _: &[u8]) -> Result<(), DiskError> {
            self.read(0, &mut [])
        }

        fn flush(&self) -> Result<(), DiskError> {
            self.read(0, &mut [])
        }

        fn is_superseded(&self) -> bool {
            self.0.load(Ordering::Relaxed)
        }

        fn close(&self) {}
    }

    fn served(boots: &BootCounts) -> (ServedDisk, Arc<Mutex<Vec<Arc<Volume>>>>) {
        let all = Arc::new(Mutex::new(Vec::new()));
        let made = Arc::clone(&all);
        let new = move || {
            let one = Arc::new(Volume::default());
            lock(&made).push(Arc::clone(&one));
            one as Arc<dyn Disk>
        };
        (ServedDisk::by(new, boots.clone()), all)
    }

    fn supersede(all: &Mutex<Vec<Arc<Volume>>>) {
        lock(all).last().unwrap().0.store(true, Ordering::Relaxed);
    }

    #[test]
    fn machine_of_a_superseded_disk_is_served_after_its_next_boot() {
        let boots = BootCounts::default();
        let Mac(mac) = Mac([2, 0, 0, 0, 0, 7]);
        boots.count(Mac(mac));
        let (served, all) = served(&boots);
        let session = served.of(MACHINE);
        session.write(0, &[1]).unwrap();
        assert_eq!(served.replace_superseded(), None);
        supersede(&all);
        assert_eq!(served.replace_superseded(), Some(1));
        // Writes fail in the open session, and in a new session of the system that still runs.
        assert!(session.write(0, &[1]).is_err());
        assert!(served.of(MACHINE).write(0, &[1]).is_err());
        // Another machine has cached nothing.
        let other = DiskUser::Machine(Mac([2, 0, 0, 0, 0, 8]));
        served.of(other).write(0, &[1]).unwrap();
        // Counts only a boot as the end of the errors, and no silence, because this node sees the
        // boots of the machine.
        let quiet = Instant::now().checked_sub(QUIET).unwrap();
        let mut clients = lock(&served.clients);
        clients.superseded.get_mut(&MACHINE).unwrap().last_request = quiet;
        drop(clients);
        assert!(served.of(MACHINE).write(0, &[1]).is_err());
        boots.count(Mac(mac));
        served.of(MACHINE).write(0, &[1]).unwrap();
        assert!(session.write(0, &[1]).is_err());
        // The disk is superseded again: the machine is a client of the second disk by now.
        supersede(&all);
        assert_eq!(served.replace_superseded(), Some(2));
        assert!(served.of(MACHINE).write(0, &[1]).is_err());
    }

    #[test]
    fn client_whose_boots_are_not_seen_is_served_after_silence() {
        let (served, all) = served(&BootCounts::default());
        let user = DiskUser::Address([10, 0, 0, 9].into());
        served.of(user);
        supersede(&all);
        assert_eq!(served.replace_superseded(), Some(1));
        assert!(served.of(user).write(0, &[1]).is_err());
        let quiet = Instant::now().checked_sub(QUIET).unwrap();
        let mut clients = lock(&served.clients);
        clients.superseded.get_mut(&user).unwrap().last_request = quiet;
        drop(clients);
        served.of(user).write(0, &[1]).unwrap();
    }

    #[test]
    fn clients_that_are_remembered_are_bounded() {
        let (served, all) = served(&BootCounts::default());
        for number in 0..CLIENTS_MAX as u32 + 9 {
            served.of(DiskUser::Address(std::net::Ipv4Addr::from(number).into()));
        }
        supersede(&all);
        assert_eq!(served.replace_superseded(), Some(CLIENTS_MAX));
    }
}
