//! Runs the AoE server of one network: a thread receives the frames of the interface, and queues
//! each request at the targets to which it is addressed.

use super::bay::{AoeTarget, AoeTargetConfig, FrameSender, SharedInterface};
use super::frame::AoeAddress;
use super::queue::AoeClientRequest;
use super::request::Request;
use super::wire::{AoeSocket, FRAME_BYTES_MAX};
use crate::counters::Counters;
use crate::disk::{BootCounts, Overlays, ServedDisk, Storage};
use part::channel::timespec;
use part::voice::write_error;
use part::wake::WakeEvent;
use rustix::event::{PollFd, PollFlags, poll};
use rustix::net::netdevice::name_to_index;
use std::collections::BTreeMap;
use std::io;
use std::net::{Ipv4Addr, UdpSocket};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

const LOOK: Duration = Duration::from_secs(2);
/// Maximum number of frames that are received before the interface is checked again.
const TURN: usize = 256;

#[derive(Clone, PartialEq, Eq, Debug)]
pub struct AoeDiskConfig {
    pub target: AoeAddress,
    pub storage: Storage,
    pub overlays: Option<Overlays>,
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub struct AoeDiskStatus {
    pub name: String,
    pub target: AoeAddress,
    /// Reason why this node does not serve the disk; None: it serves the disk.
    pub trouble: Option<String>,
    pub counters: Counters,
}

/// AoE server of a network's disks. Dropping the value stops it.
pub struct Server {
    confine: fn() -> io::Result<()>,
    boots: BootCounts,
    table: Arc<Mutex<Table>>,
    port: SharedInterface,
    wake: Arc<WakeEvent>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Default)]
struct Table {
    stop: bool,
    interface: String,
    bays: BTreeMap<String, (AoeDiskConfig, AoeTarget)>,
    trouble: Option<String>,
}

fn lock<T>(of: &Mutex<T>) -> MutexGuard<'_, T> {
    of.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Server {
    /// Creates a server without disks. `confine` restricts a thread to reading files.
    ///
    /// # Errors
    ///
    /// The system has no descriptor left.
    pub fn new(confine: fn() -> io::Result<()>, boots: BootCounts) -> io::Result<Server> {
        Ok(Server {
            confine,
            boots,
            table: Arc::default(),
            port: Arc::default(),
            wake: Arc::new(WakeEvent::new()?),
            thread: None,
        })
    }

    /// Sets the disks and the interface to serve. Requests to an unchanged disk continue. The
    /// caller is a thread that may open the files.
    ///
    /// # Errors
    ///
    /// The system has no thread left.
    pub fn change(
        &mut self,
        interface: &str,
        disks: BTreeMap<String, AoeDiskConfig>,
    ) -> io::Result<()> {
        let mut gone = Vec::new();
        let new: Vec<(String, AoeDiskConfig)> = {
            let mut table = lock(&self.table);
            interface.clone_into(&mut table.interface);
            let all = std::mem::take(&mut table.bays);
            for (name, (served, bay)) in all {
                if disks.get(&name) == Some(&served) {
                    drop(table.bays.insert(name, (served, bay)))
                } else {
                    gone.push(bay)
                }
            }
            let is_new = |(name, _): &(String, AoeDiskConfig)| !table.bays.contains_key(name);
            disks.into_iter().filter(is_new).collect()
        };
        // The threads of removed targets end before new ones use the same storage.
        drop(gone);
        for (name, served) in new {
            let plan = AoeTargetConfig {
                name: name.clone(),
                target: served.target,
                disk: ServedDisk::new(&served.storage, self.boots.clone()),
                overlays: served.overlays.clone(),
                is_file: served.storage.is_file(),
            };
            let bay = AoeTarget::start(plan, Arc::clone(&self.port), self.confine)?;
            lock(&self.table).bays.insert(name, (served, bay));
        }
        if self.thread.is_none() && !lock(&self.table).bays.is_empty() {
            let (table, port) = (Arc::clone(&self.table), Arc::clone(&self.port));
            let (wake, confine) = (Arc::clone(&self.wake), self.confine);
            let thread = std::thread::Builder::new().name("aoe".to_owned());
            self.thread = Some(thread.spawn(move || match confine() {
                Ok(()) => run(&table, &port, &wake),
                Err(error) => {
                    let why = language::reason(&error);
                    write_error(&format!("evenkeel: boot: cannot confine a thread: {why}\n"));
                }
            })?);
        }
        self.wake.wake();
        Ok(())
    }

    pub fn disk_statuses(&self) -> Vec<AoeDiskStatus> {
        let table = lock(&self.table);
        let status =
            |(name, (served, bay)): (&String, &(AoeDiskConfig, AoeTarget))| AoeDiskStatus {
                name: name.clone(),
                target: served.target,
                trouble: table.trouble.clone().or_else(|| bay.trouble()),
                counters: bay.counters(),
            };
        table.bays.iter().map(status).collect()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        lock(&self.table).stop = true;
        self.wake.wake();
        if let Some(thread) = self.thread.take() {
            // Ignores a panic of the thread, whose message has been printed.
            let _ = thread.join();
        }
        let bays = std::mem::take(&mut lock(&self.table).bays);
        drop(bays);
    }
}

fn run(table: &Mutex<Table>, port: &SharedInterface, wake: &WakeEvent) {
    let mut frame = vec![0; FRAME_BYTES_MAX];
    let mut looks = Instant::now();
    let mut wire: Option<Arc<AoeSocket>> = None;
    while !lock(table).stop {
        if looks <= Instant::now() {
            wire = poll_interface(table, port, wire);
            looks = Instant::now() + LOOK;
        }
        let mut watched = vec![PollFd::new(wake, PollFlags::IN)];
        watched.extend(
            wire.iter()
                .map(|wire| PollFd::from_borrowed_fd(wire.wakes(), PollFlags::IN)),
        );
        let left = looks.saturating_duration_since(Instant::now());
        let timeout = timespec(left);
        // Ignores an interruption of the poll: everything is checked again in any case.
        let _ = poll(&mut watched, Some(&timeout));
        if wake.reset() {
            looks = Instant::now();
        }
        if let Some(wire) = &wire {
            take_in(table, wire, &mut frame);
        }
    }
}

fn take_in(table: &Mutex<Table>, wire: &AoeSocket, frame: &mut [u8]) {
    for _ in 0..TURN {
        let Some((length, from)) = wire.receive(frame) else {
            return;
        };
        let Some(request) = Request::parse(&frame[..length], wire.mtu()) else {
            continue;
        };
        let table = lock(table);
        let bays = table.bays.values().map(|(_, bay)| bay);
        for bay in bays.filter(|bay| bay.target().is_asked(request.header.asked)) {
            bay.queue_request(AoeClientRequest {
                from,
                request: request.clone(),
            });
        }
    }
}

/// Polls the interface: opens one that has appeared, and closes one that has gone or is not
/// needed.
fn poll_interface(
    table: &Mutex<Table>,
    port: &SharedInterface,
    open: Option<Arc<AoeSocket>>,
) -> Option<Arc<AoeSocket>> {
    let mut table = lock(table);
    let index = index(&table.interface).filter(|_| !table.bays.is_empty());
    let open = open.filter(|wire| index.is_some_and(|index| wire.is_of(index)));
    let opened = match (open, index) {
        (Some(open), _) => Ok(open),
        (None, Some(index)) => AoeSocket::open(index).map(Arc::new),
        (None, None) => Err(io::ErrorKind::NotFound.into()),
    };
    table.trouble = opened.as_ref().err().map(|error| {
        let why = language::reason(error);
        format!("cannot open the frames of {}: {why}", table.interface)
    });
    let opened = opened.ok();
    *lock(port) = opened.clone().map(|wire| wire as Arc<dyn FrameSender>);
    opened
}

fn index(interface: &str) -> Option<u32> {
    // Any socket can be used for this query.
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).ok()?;
    name_to_index(&socket, interface).ok()
}
