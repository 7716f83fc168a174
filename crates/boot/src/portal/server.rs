//! Runs the portal of one network (iSCSI and NBD): opens the disks, accepts connections at the
//! interface, starts a thread for each connection, and decides which client may use which disk.

use super::clients::{Clients, DiskUse, Initiator};
use super::iscsi::{self, Targets, UsedDisk};
use super::keeper::MonitoredDisk;
use super::nbd::{self, Exports, NbdCloseReason};
use super::stream::PortalConnection;
use crate::counters::{Counters, Counting, FetchOutcome};
use crate::disk::{BootCounts, Disk, DiskUser, Overlays, Storage};
use crate::iscsi::LoginRejectStatus;
use crate::iscsi::login::LoggedInSession;
use crate::iscsi::pdu::IscsiError;
use crate::mac::Mac;
use crate::net::{six, tcp};
use part::channel::timespec;
use part::lock;
use part::voice::write_error;
use part::wake::WakeEvent;
use rustix::event::{PollFd, PollFlags, poll};
use rustix::net::netdevice::name_to_index;
use std::collections::BTreeMap;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

const LOOK: Duration = Duration::from_secs(2);
/// Maximum number of connections that are accepted before the listeners are checked again.
const TURN: usize = 64;
/// Maximum wait for the end of the connections when the portal stops: shorter than the stop timeout
/// of the role.
const END_MAX: Duration = Duration::from_millis(1500);
/// Pause of a listener when there are no descriptors left.
const REST: Duration = Duration::from_millis(50);
/// Status of a disk immediately after a change of the configuration.
const NOT_OPEN: &str = "its port is not open yet";
const STACK_BYTES: usize = 256 << 10;

/// Function that returns the machine at an address, if that machine may use a disk.
pub type MachineFinder = Arc<dyn Fn(IpAddr, &str) -> Option<Mac> + Send + Sync>;

#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PortalDiskConfig {
    pub storage: Storage,
    /// Name of the iSCSI target; None: the disk is not served by iSCSI.
    pub target: Option<String>,
    pub is_export: bool,
    pub is_open: bool,
    pub overlays: Option<Overlays>,
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PortalConfig {
    pub interface: String,
    /// TCP ports of iSCSI and of NBD.
    pub ports: [u16; 2],
    pub is_six: bool,
    pub disks: BTreeMap<String, PortalDiskConfig>,
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PortalDiskStatus {
    pub name: String,
    pub served: PortalDiskConfig,
    /// Reason why this node does not serve the disk; None: it serves the disk.
    pub trouble: Option<String>,
    pub clients: usize,
}

/// Portal of a network. Dropping the value stops it.
pub struct Portal {
    shared: Arc<PortalState>,
    thread: Option<JoinHandle<()>>,
}

struct PortalState {
    confine: fn() -> io::Result<()>,
    finds: MachineFinder,
    boots: BootCounts,
    table: Mutex<Table>,
    clients: Clients,
    /// Counters of iSCSI and of NBD.
    counting: [Arc<Counting>; 2],
    wake: WakeEvent,
}

#[derive(Default)]
struct Table {
    stop: bool,
    interface: String,
    ports: [u16; 2],
    is_six: bool,
    disks: BTreeMap<String, (PortalDiskConfig, Arc<MonitoredDisk>)>,
    is_looked_at: bool,
    troubles: [Option<String>; 2],
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Protocol {
    Iscsi,
    Nbd,
}

const PROTOCOLS: [Protocol; 2] = [Protocol::Iscsi, Protocol::Nbd];

impl PortalDiskConfig {
    fn is_by(&self, protocol: Protocol) -> bool {
        match protocol {
            Protocol::Iscsi => self.target.is_some(),
            Protocol::Nbd => self.is_export,
        }
    }
}

impl Portal {
    /// Creates a portal without disks. `confine` restricts a thread to reading files.
    ///
    /// # Errors
    ///
    /// The system has no descriptor left.
    pub fn new(
        confine: fn() -> io::Result<()>,
        finds: MachineFinder,
        boots: BootCounts,
    ) -> io::Result<Portal> {
        let shared = PortalState {
            confine,
            finds,
            boots,
            table: Mutex::default(),
            clients: Clients::default(),
            counting: Default::default(),
            wake: WakeEvent::new()?,
        };
        Ok(Portal {
            shared: Arc::new(shared),
            thread: None,
        })
    }

    /// Applies another configuration. Connections to an unchanged disk continue, if their address
    /// may still use it. The caller is a thread that may open the files.
    ///
    /// # Errors
    ///
    /// The system has no thread left.
    pub fn change(&mut self, change: PortalConfig) -> io::Result<()> {
        let shared = &self.shared;
        let mut gone = Vec::new();
        {
            let mut table = lock(&shared.table);
            table.is_looked_at = false;
            table.interface = change.interface;
            table.ports = change.ports;
            table.is_six = change.is_six;
            let all = std::mem::take(&mut table.disks);
            for (name, (served, kept)) in all {
                let is_same = change.disks.get(&name) == Some(&served);
                if is_same {
                    drop(table.disks.insert(name, (served, kept)))
                } else {
                    gone.push((name, kept))
                }
            }
        }
        for (_, kept) in &gone {
            kept.close();
        }
        let is_gone = |disk: &str| gone.iter().any(|(name, _)| name == disk);
        shared
            .clients
            .retain(|from, disk| !is_gone(disk) && shared.may_use(from, disk));
        for (name, served) in change.disks {
            if lock(&shared.table).disks.contains_key(&name) {
                continue;
            }
            let kept = Arc::new(MonitoredDisk::start(
                &name,
                &served.storage,
                served.overlays.clone(),
                &shared.boots,
                shared.confine,
            )?);
            let mut table = lock(&shared.table);
            table.is_looked_at = false;
            table.disks.insert(name, (served, kept));
        }
        if self.thread.is_none() && !lock(&shared.table).disks.is_empty() {
            let shared = Arc::clone(shared);
            let thread = std::thread::Builder::new().name("portal".to_owned());
            self.thread = Some(thread.spawn(move || match (shared.confine)() {
                Ok(()) => run(&shared),
                Err(error) => {
                    let why = language::reason(&error);
                    write_error(&format!("evenkeel: boot: cannot confine a thread: {why}\n"));
                }
            })?);
        }
        self.shared.wake.wake();
        Ok(())
    }

    pub fn disk_statuses(&self) -> Vec<PortalDiskStatus> {
        let table = lock(&self.shared.table);
        let status =
            |(name, (served, kept)): (&String, &(PortalDiskConfig, Arc<MonitoredDisk>))| {
                let troubles = PROTOCOLS.into_iter().zip(&table.troubles);
                let troubles = troubles.filter(|(protocol, _)| served.is_by(*protocol));
                let mut troubles = troubles.filter_map(|(_, trouble)| trouble.clone());
                PortalDiskStatus {
                    name: name.clone(),
                    served: served.clone(),
                    trouble: troubles
                        .next()
                        .or_else(|| kept.trouble())
                        .or_else(|| (!table.is_looked_at).then(|| NOT_OPEN.to_owned())),
                    clients: self.shared.clients.count(name),
                }
            };
        table.disks.iter().map(status).collect()
    }

    /// Returns the counters of iSCSI and of NBD.
    pub fn counters(&self) -> [Counters; 2] {
        self.shared.counting.each_ref().map(|one| one.read())
    }
}

impl Drop for Portal {
    fn drop(&mut self) {
        lock(&self.shared.table).stop = true;
        self.shared.wake.wake();
        if let Some(thread) = self.thread.take() {
            // Ignores a panic of the thread, whose message has been printed.
            let _ = thread.join();
        }
        let disks = std::mem::take(&mut lock(&self.shared.table).disks);
        for (_, kept) in disks.values() {
            kept.close();
        }
        self.shared.clients.end_all(END_MAX);
    }
}

impl PortalState {
    fn is_open(&self, disk: &str) -> bool {
        let table = lock(&self.table);
        table
            .disks
            .get(disk)
            .is_some_and(|(served, _)| served.is_open)
    }

    fn may_use(&self, from: IpAddr, disk: &str) -> bool {
        self.is_open(disk) || (self.finds)(from, disk).is_some()
    }

    fn disks_for(
        &self,
        from: IpAddr,
        protocol: Protocol,
    ) -> Vec<(String, PortalDiskConfig, Arc<MonitoredDisk>)> {
        let table = lock(&self.table);
        let mut all: Vec<_> = table
            .disks
            .iter()
            .filter(|(_, (served, _))| served.is_by(protocol))
            .map(|(name, (served, kept))| (name.clone(), served.clone(), Arc::clone(kept)))
            .collect();
        drop(table);
        all.retain(|(name, ..)| self.may_use(from, name));
        all
    }

    fn of_target(&self, target: &str) -> Option<(String, Arc<MonitoredDisk>)> {
        let table = lock(&self.table);
        let mut all = table.disks.iter();
        let (name, (_, kept)) =
            all.find(|(_, (served, _))| served.target.as_deref() == Some(target))?;
        Some((name.clone(), Arc::clone(kept)))
    }

    fn serve(&self, visit: &ClientVisit<'_>, stream: TcpStream) {
        let counting = &self.counting[visit.protocol as usize];
        let ended = match PortalConnection::new(stream, Arc::clone(counting)) {
            Err(_) => FetchOutcome::Failed,
            Ok(mut stream) => match visit.protocol {
                Protocol::Iscsi => {
                    let number = u16::try_from(visit.number & 0x7fff).unwrap_or(0);
                    match iscsi::serve(&mut stream, number, visit) {
                        Ok(()) | Err(IscsiError::Ended) => FetchOutcome::Done,
                        Err(_) => FetchOutcome::Failed,
                    }
                }
                Protocol::Nbd => match nbd::serve(&mut stream, visit) {
                    Ok(()) | Err(NbdCloseReason::Ended) => FetchOutcome::Done,
                    Err(_) => FetchOutcome::Failed,
                },
            },
        };
        counting.end(ended);
    }
}

/// Connection of one client, with access to the disks that the client may use.
struct ClientVisit<'s> {
    shared: &'s PortalState,
    protocol: Protocol,
    number: u64,
    from: IpAddr,
    at: SocketAddr,
}

impl ClientVisit<'_> {
    fn user_of(&self, name: &str) -> DiskUser {
        let machine = (self.shared.finds)(self.from, name);
        machine.map_or(DiskUser::Address(self.from), DiskUser::Machine)
    }

    fn use_of(&self, name: &str, kept: &MonitoredDisk) -> DiskUse {
        DiskUse {
            disk: name.to_owned(),
            user: self.user_of(name),
            is_alone: kept.is_written() && !self.shared.is_open(name),
        }
    }

    /// Returns whether no other machine has the disk, and reports a machine that has it.
    fn is_free(&self, name: &str, kept: &MonitoredDisk) -> bool {
        let wanted = self.use_of(name, kept);
        match self.shared.clients.other_user(&wanted) {
            None => true,
            Some(other) => {
                self.refuse(&wanted, other);
                false
            }
        }
    }

    fn refuse(&self, wanted: &DiskUse, other: DiskUser) {
        self.shared.counting[self.protocol as usize].refuse();
        write_error(&format!(
            "evenkeel: boot: disk {}: {} is refused: {other} has it, and a disk that is written has one machine at a time. \
             Give each machine a disk of its own or an `overlay`; `open` lets several write one\n",
            wanted.disk, wanted.user
        ));
    }

    /// Records the use of a disk. Returns false if another machine has it.
    fn begin_use(&self, name: &str, kept: &MonitoredDisk, initiator: Option<Initiator>) -> bool {
        let wanted = self.use_of(name, kept);
        let clients = &self.shared.clients;
        match clients.begin_use(self.number, wanted.clone(), initiator) {
            Ok(()) => true,
            Err(other) => {
                self.refuse(&wanted, other);
                false
            }
        }
    }

    fn disk_of(&self, name: &str, kept: &MonitoredDisk) -> Option<Arc<dyn Disk>> {
        kept.disk_of(self.user_of(name))
    }
}

impl Targets for ClientVisit<'_> {
    fn find(&self, target: &str) -> Result<UsedDisk, LoginRejectStatus> {
        let (name, kept) = self
            .shared
            .of_target(target)
            .ok_or(LoginRejectStatus::NotFound)?;
        if !self.shared.may_use(self.from, &name) {
            self.shared.counting[0].refuse();
            return Err(LoginRejectStatus::Authorization);
        }
        if kept.trouble().is_some() {
            return Err(LoginRejectStatus::Unavailable);
        }
        if !self.is_free(&name, &kept) {
            return Err(LoginRejectStatus::Unavailable);
        }
        let disk = self
            .disk_of(&name, &kept)
            .ok_or(LoginRejectStatus::Removed)?;
        Ok((kept, disk))
    }

    fn all(&self) -> Vec<(String, String)> {
        let all = self
            .shared
            .disks_for(self.from, Protocol::Iscsi)
            .into_iter();
        all.filter_map(|(_, served, _)| Some((served.target?, self.at.to_string())))
            .collect()
    }

    fn begins(&self, session: &LoggedInSession) -> bool {
        let target = session.target.as_deref();
        let Some((name, kept)) = target.and_then(|target| self.shared.of_target(target)) else {
            return true;
        };
        self.begin_use(&name, &kept, Some(session.initiator.clone()))
    }
}

impl Exports for ClientVisit<'_> {
    fn all(&self) -> Vec<(String, Arc<MonitoredDisk>)> {
        let all = self.shared.disks_for(self.from, Protocol::Nbd);
        if all.is_empty() {
            self.shared.counting[1].refuse();
        }
        all.into_iter()
            .map(|(name, _, kept)| (name, kept))
            .collect()
    }

    fn find(&self, name: &str, kept: &MonitoredDisk) -> Option<Arc<dyn Disk>> {
        self.disk_of(name, kept)
            .filter(|_| self.is_free(name, kept))
    }

    fn begins(&self, name: &str, kept: &MonitoredDisk) -> bool {
        self.begin_use(name, kept, None)
    }
}

impl Drop for ClientVisit<'_> {
    /// Removes the connection, even after a panic of its thread.
    fn drop(&mut self) {
        self.shared.clients.remove(self.number);
    }
}

struct PortalListener {
    listener: TcpListener,
    interface: (String, u32),
    port: u16,
}

/// Listeners of a protocol: over IPv4, and over IPv6.
type PortalListeners = [Option<PortalListener>; 2];

fn run(shared: &Arc<PortalState>) {
    let mut doors: [PortalListeners; 2] = Default::default();
    let mut looks = Instant::now();
    while !lock(&shared.table).stop {
        if looks <= Instant::now() {
            poll_interface(shared, &mut doors);
            looks = Instant::now() + LOOK;
        }
        let mut watched = vec![PollFd::new(&shared.wake, PollFlags::IN)];
        let open = doors.iter().flatten().flatten();
        watched.extend(open.map(|door| PollFd::new(&door.listener, PollFlags::IN)));
        let left = looks.saturating_duration_since(Instant::now());
        let timeout = timespec(left);
        // Ignores an interruption of the poll: everything is checked again in any case.
        let _ = poll(&mut watched, Some(&timeout));
        if shared.wake.reset() {
            looks = Instant::now();
        }
        for (protocol, door) in PROTOCOLS.into_iter().zip(&doors) {
            for door in door.iter().flatten() {
                accept(shared, protocol, door);
            }
        }
    }
}

fn poll_interface(shared: &PortalState, doors: &mut [PortalListeners; 2]) {
    let mut table = lock(&shared.table);
    table.is_looked_at = true;
    let index = index(&table.interface);
    let interface = index.map(|index| (table.interface.clone(), index));
    for (at, protocol) in PROTOCOLS.into_iter().enumerate() {
        let mut served = table.disks.values().map(|(served, _)| served);
        let is_needed = served.any(|served| served.is_by(protocol));
        let needed = [is_needed, is_needed && table.is_six];
        let (port, name) = (table.ports[at], table.interface.clone());
        let opens: [PortOpener; 2] = [tcp::listen, six::listen];
        let all = doors[at].iter_mut().zip(needed).zip(opens);
        let troubles = all.map(|((door, is_needed), opens)| {
            open(door, is_needed, interface.as_ref(), port, opens).err()
        });
        let trouble = troubles.collect::<Vec<_>>().into_iter().flatten().next();
        table.troubles[at] = trouble.map(|error| {
            let why = language::reason(&error);
            format!("cannot open port {port} at {name}: {why}")
        });
    }
}

/// Function that opens a port for connections at an interface.
type PortOpener = fn(&str, u16) -> io::Result<TcpListener>;

fn open(
    door: &mut Option<PortalListener>,
    is_needed: bool,
    interface: Option<&(String, u32)>,
    port: u16,
    opens: PortOpener,
) -> io::Result<()> {
    let is_right = |door: &PortalListener| {
        is_needed && door.port == port && Some(&door.interface) == interface
    };
    if !door.as_ref().is_some_and(is_right) {
        *door = None;
    }
    if door.is_some() || !is_needed {
        return Ok(());
    }
    let interface = interface.ok_or(io::ErrorKind::NotFound)?;
    *door = Some(PortalListener {
        listener: opens(&interface.0, port)?,
        interface: interface.clone(),
        port,
    });
    Ok(())
}

fn accept(shared: &Arc<PortalState>, protocol: Protocol, door: &PortalListener) {
    for _ in 0..TURN {
        let (stream, from) = match door.listener.accept() {
            Ok(accepted) => accepted,
            Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => continue,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
            Err(_) => {
                std::thread::sleep(REST);
                return;
            }
        };
        let (from, Ok(at)) = (from.ip(), stream.local_addr()) else {
            continue;
        };
        let counting = &shared.counting[protocol as usize];
        let Some(number) = shared.clients.add(&stream, from) else {
            counting.refuse();
            continue;
        };
        counting.begin();
        let serves = Arc::clone(shared);
        let thread = std::thread::Builder::new().stack_size(STACK_BYTES);
        let spawned = thread.name("root".to_owned()).spawn(move || {
            let visit = ClientVisit {
                shared: &serves,
                protocol,
                number,
                from,
                at,
            };
            serves.serve(&visit, stream);
        });
        if spawned.is_err() {
            shared.clients.remove(number);
            counting.end(FetchOutcome::Failed);
        }
    }
}

fn index(interface: &str) -> Option<u32> {
    // Any socket can be used for this query.
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).ok()?;
    name_to_index(&socket, interface).ok()
}
