//! Connects the two ends of `evenkeel copy` for the volume role. On the source node a thread relays
//! between the command and the target node. On the target node a thread checks that the volume is
//! free, and writes the copy as a client of the volume's socket. Access is checked before: nodes of
//! the cluster, and local users that may reach the supervisor.

use super::listening::ReplicationListener;
use super::worker::WorkerState;
use crate::client::{Address, Ender, Server};
use crate::config::Volumes;
use crate::copy::frame::CopyFrame;
use crate::copy::{CopyError, receive};
use crate::export::VolumeUser;
use crate::link::PORT;
use crate::link::dial::{CopyReceiver, LinkFailure, Registry, ReplicationLink, dial_copy};
use crate::link::greeting::{CopyGreeting, GreetingError};
use crate::report::clients_words;
use part::lock;
use part::status::VolumeServiceState;
use part::voice::write_error;
use rustix::event::{PollFd, PollFlags, poll};
use std::collections::BTreeMap;
use std::io::{self, PipeWriter, Write};
use std::net::Shutdown;
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Duration;
use wire::{NodeConnection, Relay, RelayPeer, TrustedNodes};

const COPIES_MAX: usize = 4;
/// Time to wait for the end of the previous copy when the same command connects again.
const LEAVE_MAX: Duration = Duration::from_secs(10);

#[derive(Debug)]
pub(super) struct CopyService {
    copies: Arc<Copies>,
    registry: Arc<Registry>,
    port: u16,
    /// Listener for copies from other nodes, if the replication listener does not listen at the
    /// right addresses.
    listening: Option<ReplicationListener>,
    dialled: Arc<AtomicUsize>,
}

/// Copies that other nodes write to this node.
#[derive(Debug)]
pub(super) struct Copies {
    volumes: Mutex<BTreeMap<String, Arc<WorkerState>>>,
    /// Volumes that are being written: the identifier of the command, and the socket whose shutdown
    /// ends the copy.
    written: Mutex<BTreeMap<String, (u64, UnixStream)>>,
    ended: Condvar,
}

impl CopyService {
    pub(super) fn new(links: &Registry) -> CopyService {
        let copies = Arc::new(Copies {
            volumes: Mutex::default(),
            written: Mutex::default(),
            ended: Condvar::new(),
        });
        let registry = Arc::new(Registry::default());
        links.allow_copies(copies.clone());
        registry.allow_copies(copies.clone());
        CopyService {
            copies,
            registry,
            port: PORT,
            listening: None,
            dialled: Arc::default(),
        }
    }

    pub(super) fn trust(&mut self, trusted: Arc<TrustedNodes>, links: Option<&ReplicationLink>) {
        self.registry.trust(trusted);
        // Restarts the listener, because this node's address may have changed.
        self.listening = None;
        self.listen(links);
    }

    /// Applies the configured volumes. `links` is the link of the replication listener, if that
    /// listens.
    pub(super) fn change(&mut self, volumes: &Volumes, links: Option<&ReplicationLink>) {
        let mut pairs = volumes.0.values().filter_map(|spec| spec.pair.as_ref());
        self.port = pairs.next().map_or(PORT, |pair| pair.cable.port);
        self.listen(links);
    }

    pub(super) fn set_running_volumes(
        &self,
        volumes: impl Iterator<Item = (String, Arc<WorkerState>)>,
    ) {
        *lock(&self.copies.volumes) = volumes.collect();
    }

    /// Starts a listener for copies, unless the replication listener accepts them. Does nothing
    /// without a certificate, because copies need TLS.
    fn listen(&mut self, links: Option<&ReplicationLink>) {
        let trusted = self.registry.trusted();
        let covered = |trusted: &TrustedNodes| {
            let reached = trusted.addresses_of(&trusted.me);
            links.is_some_and(|cable| cable.covers(self.port, reached))
        };
        if trusted.is_none_or(|trusted| covered(&trusted)) {
            self.listening = None;
            return;
        }
        let cable = ReplicationLink {
            port: self.port,
            ..ReplicationLink::default()
        };
        if self.listening.as_ref().map(ReplicationListener::cable) != Some(&cable) {
            self.listening = None;
            self.listening = ReplicationListener::start(&cable, &self.registry);
        }
    }

    /// Connects a command, which waits on a socket, with another node.
    ///
    /// # Errors
    /// This node has no certificate of the cluster, [`COPIES_MAX`] copies run on it already, the
    /// socket of the command cannot be connected, or there is no thread. The text is for the
    /// operator.
    pub(super) fn dial(
        &self,
        socket: &Path,
        node: &str,
        volume: &str,
        run: u64,
    ) -> Result<(), String> {
        let failed = |error: std::io::Error| format!("cannot connect to the command: {error}");
        let trusted = self.registry.trusted();
        let trusted = trusted.ok_or_else(|| LinkFailure::NoCertificate.to_string())?;
        // Ignores the case of node names.
        let mut nodes = trusted.addresses.keys();
        let named = nodes.find(|one| one.eq_ignore_ascii_case(node));
        let node = named.map_or(node, String::as_str);
        let ours = CopyGreeting {
            volume: volume.to_owned(),
            from: trusted.me.clone(),
            to: node.to_owned(),
            run,
        };
        if self.dialled.fetch_add(1, Ordering::Relaxed) >= COPIES_MAX {
            self.dialled.fetch_sub(1, Ordering::Relaxed);
            return Err(format!("{COPIES_MAX} copies run on this node already"));
        }
        let (dialled, port) = (Arc::clone(&self.dialled), self.port);
        let done = DropGuard(Box::new(move || {
            dialled.fetch_sub(1, Ordering::Relaxed);
        }));
        let stream = UnixStream::connect(socket).map_err(failed)?;
        let builder = std::thread::Builder::new().name("copy/relay".to_owned());
        let thread = builder.spawn(move || {
            let _done = done;
            match dial_copy(port, &trusted, &ours) {
                // Ignores the result: the command itself sees how the copy ends.
                Ok(wire) => drop(Relay::new(wire, stream, RelayPeer::Node).run()),
                Err(trouble) => refuse(&stream, &unreachable(&trouble)),
            }
        });
        thread
            .map(drop)
            .map_err(|error| format!("cannot start a thread: {error}"))
    }
}

struct DropGuard(Box<dyn Fn() + Send>);

impl Drop for DropGuard {
    fn drop(&mut self) {
        (self.0)();
    }
}

/// Returns the error for a node to which there is no connection. The command tries again if the
/// connection or its greeting failed, but not if the node is unknown or refuses.
fn unreachable(trouble: &LinkFailure) -> CopyError {
    CopyError::Refused {
        words: trouble.to_string(),
        again: matches!(
            trouble,
            LinkFailure::Connect(..)
                | LinkFailure::Greeting(_, GreetingError::Io(_) | GreetingError::NoTls)
        ),
    }
}

impl Copies {
    fn take(&self, theirs: &CopyGreeting, session: &UnixStream) -> Result<Address, CopyError> {
        let name = &theirs.volume;
        let refuse = |words: String, again| Err(CopyError::Refused { words, again });
        let session = session.try_clone().map_err(CopyError::Broken)?;
        let mut written = lock(&self.written);
        if let Some((run, before)) = written.get(name) {
            if *run != theirs.run {
                let words = format!("volume '{name}' is being written by another copy");
                return refuse(words, true);
            }
            // Closes the command's previous connection, which is obsolete.
            let _ = before.shutdown(Shutdown::Both);
            let is_there = |all: &mut BTreeMap<_, _>| all.contains_key(name);
            let waited = self.ended.wait_timeout_while(written, LEAVE_MAX, is_there);
            written = waited.unwrap_or_else(PoisonError::into_inner).0;
            if written.contains_key(name) {
                let words = format!("volume '{name}' is still busy with the previous attempt");
                return refuse(words, true);
            }
        }
        if written.len() >= COPIES_MAX {
            let words = format!("{COPIES_MAX} copies are being written on this node already");
            return refuse(words, true);
        }
        let address = self.usable(theirs)?;
        written.insert(name.clone(), (theirs.run, session));
        Ok(address)
    }

    fn usable(&self, theirs: &CopyGreeting) -> Result<Address, CopyError> {
        let (name, me) = (&theirs.volume, &theirs.to);
        let refuse = |words: String, again| Err(CopyError::Refused { words, again });
        let Some(shared) = lock(&self.volumes).get(name).cloned() else {
            return refuse(format!("{me} has no volume '{name}'"), false);
        };
        let status = shared.status();
        let colon = if status.why.is_empty() { "" } else { ": " };
        if status.served.is_none() || status.state == VolumeServiceState::Frozen {
            let (word, _) = crate::status::state_words(status.state);
            let why = &status.why;
            let words = format!("volume '{name}' on {me} is not served ({word}{colon}{why})");
            return refuse(words, true);
        }
        let mut clients = vec![(me.as_str(), status.meter.clients() as u64)];
        if let Some(shown) = &status.mirror {
            let there = shown.users.unwrap_or_default();
            clients.push((&shown.other, there.clients.into()));
        }
        let only = status.mirror.as_ref();
        let only = only.and_then(|shown| shown.admission.only.as_ref());
        if let Some(only) = only.filter(|only| *only != me) {
            let words = format!(
                "only clients of {only} may write to volume '{name}': copy to {only}, or first `evenkeel volume admit {name} \
                 {me}` at the owner"
            );
            return refuse(words, false);
        }
        if let Some(holder @ VolumeUser::User { .. }) = status.meter.tenure.holder() {
            let words = format!("volume '{name}': {holder} uses it on {me}: stop it first");
            return refuse(words, true);
        }
        if let Some(has) = clients_words(&clients) {
            let words =
                format!("volume '{name}' {has}: stop them first (`evenkeel volume show {name}`)");
            // Permits a retry: a client that has just disconnected may still be counted.
            return refuse(words, true);
        }
        Ok(Address {
            server: Server::Unix(status.socket.clone()),
            export: name.clone(),
        })
    }

    fn leave(&self, name: &str) {
        lock(&self.written).remove(name);
        self.ended.notify_all();
    }

    fn serve(&self, wire: NodeConnection, theirs: &CopyGreeting) -> Result<(), CopyError> {
        let (near, far) = UnixStream::pair().map_err(CopyError::Broken)?;
        let ender = Arc::new(Ender::default());
        let _watch = watch(&wire, &near, &ender).map_err(CopyError::Broken)?;
        let builder = std::thread::Builder::new().name("copy/relay".to_owned());
        builder
            .spawn(move || Relay::new(wire, far, RelayPeer::Node).run())
            .map_err(CopyError::Broken)?;
        let (name, from) = (&theirs.volume, &theirs.from);
        let address = match self.take(theirs, &near) {
            Ok(address) => address,
            Err(error) => {
                refuse(&near, &error);
                return Err(error);
            }
        };
        write_error(&format!(
            "evenkeel: volume {name}: {from} starts to copy into it\n"
        ));
        let received = receive(&near, name, &address, &ender);
        self.leave(name);
        received
    }
}

/// Ends a copy when the other side closes the connection, also while the copy waits for the
/// volume. Stops watching when the returned value is dropped.
fn watch(wire: &NodeConnection, near: &UnixStream, ender: &Arc<Ender>) -> io::Result<PipeWriter> {
    let (wire, near) = (wire.as_fd().try_clone_to_owned()?, near.try_clone()?);
    let (ends, end) = io::pipe()?;
    let ender = Arc::clone(ender);
    let builder = std::thread::Builder::new().name("copy/watch".to_owned());
    builder.spawn(move || {
        let gone = PollFlags::RDHUP | PollFlags::HUP | PollFlags::ERR;
        loop {
            let mut watched = [
                PollFd::new(&wire, PollFlags::RDHUP),
                PollFd::new(&ends, PollFlags::IN),
            ];
            // Ignores errors: everything is checked again after any wake-up.
            let _ = poll(&mut watched, None);
            if !watched[1].revents().is_empty() {
                return;
            }
            if watched[0].revents().intersects(gone) {
                ender.end();
                let _ = near.shutdown(Shutdown::Both);
                return;
            }
        }
    })?;
    Ok(end)
}

fn refuse(mut stream: &UnixStream, error: &CopyError) {
    let (words, again) = (error.to_string(), error.may_repeat());
    let mut bytes = Vec::new();
    CopyFrame::Refused { again, words }.encode(&mut bytes);
    // Ignores failures: the other side may have disconnected.
    let _ = stream.write_all(&bytes);
}

impl CopyReceiver for Copies {
    fn begin(self: Arc<Self>, wire: NodeConnection, theirs: CopyGreeting) {
        let builder = std::thread::Builder::new().name("copy/write".to_owned());
        // Ignores a failure: without a thread the connection closes, and the command retries.
        let _ = builder.spawn(move || {
            let (name, from) = (&theirs.volume, &theirs.from);
            let how = match self.serve(wire, &theirs) {
                Ok(()) => format!("the copy from {from} is complete"),
                Err(error) => format!("the copy from {from} ended: {error}"),
            };
            write_error(&format!("evenkeel: volume {name}: {how}\n"));
        });
    }
}
