//! Whole volumes that are copied from node to node. Here: a thread that connects a command to
//! the other node. There: a thread that writes the volume, as a client of its socket. Who may
//! begin is decided before: nodes of the cluster, and here those who may reach the supervisor.

use super::listening::Listening;
use super::worker::Shared;
use crate::client::{Address, Ender, Server};
use crate::config::Volumes;
use crate::copy::frame::Frame;
use crate::copy::{CopyError, receive};
use crate::export::Holder;
use crate::link::PORT;
use crate::link::dial::{Cable, CopyReceiver, Registry, WireTrouble, dial_copy};
use crate::link::greeting::{CopyGreeting, GreetingError};
use crate::report::clients_words;
use crate::status::State;
use part::lock;
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
use wire::{Peer, Relay, Trusted, Wire};

/// Copies at a time, in each direction.
const COPIES_MAX: usize = 4;
/// How long the copy before may take to end when its command connects again.
const LEAVE_MAX: Duration = Duration::from_secs(10);

/// Copies of this role.
#[derive(Debug)]
pub(super) struct Copying {
    copies: Arc<Copies>,
    registry: Arc<Registry>,
    port: u16,
    /// Where other nodes connect, if they do not at the place of the links.
    listening: Option<Listening>,
    /// Commands that are connected with another node.
    dialled: Arc<AtomicUsize>,
}

/// Volumes that other nodes write.
#[derive(Debug)]
pub(super) struct Copies {
    /// The volumes of this node.
    volumes: Mutex<BTreeMap<String, Arc<Shared>>>,
    /// Those that are being written: for which command, and what ends that.
    written: Mutex<BTreeMap<String, (u64, UnixStream)>>,
    ended: Condvar,
}

impl Copying {
    /// None yet; other nodes may come by this registry, too.
    pub(super) fn new(links: &Registry) -> Copying {
        let copies = Arc::new(Copies {
            volumes: Mutex::default(),
            written: Mutex::default(),
            ended: Condvar::new(),
        });
        let registry = Arc::new(Registry::default());
        links.allow_copies(copies.clone());
        registry.allow_copies(copies.clone());
        Copying {
            copies,
            registry,
            port: PORT,
            listening: None,
            dialled: Arc::default(),
        }
    }

    /// The cluster says this of its nodes.
    pub(super) fn trust(&mut self, trusted: Arc<Trusted>, links: Option<&Cable>) {
        self.registry.trust(trusted);
        // This node may have another address now.
        self.listening = None;
        self.listen(links);
    }

    /// These volumes are configured; links use this cable here, if they listen.
    pub(super) fn change(&mut self, volumes: &Volumes, links: Option<&Cable>) {
        let mut pairs = volumes.0.values().filter_map(|spec| spec.pair.as_ref());
        self.port = pairs.next().map_or(PORT, |pair| pair.cable.port);
        self.listen(links);
    }

    /// These volumes run.
    pub(super) fn know(&self, volumes: impl Iterator<Item = (String, Arc<Shared>)>) {
        *lock(&self.copies.volumes) = volumes.collect();
    }

    /// Listens where other nodes connect to write a volume, if nothing does already. Without a
    /// certificate nobody can.
    fn listen(&mut self, links: Option<&Cable>) {
        let trusted = self.registry.trusted();
        let covered = |trusted: &Trusted| {
            let reached = trusted.addresses_of(&trusted.me);
            links.is_some_and(|cable| cable.covers(self.port, reached))
        };
        if trusted.is_none_or(|trusted| covered(&trusted)) {
            self.listening = None;
            return;
        }
        let cable = Cable {
            port: self.port,
            ..Cable::default()
        };
        if self.listening.as_ref().map(Listening::cable) != Some(&cable) {
            self.listening = None;
            self.listening = Listening::start(&cable, &self.registry);
        }
    }

    /// Connects a command, which waits at a socket, with another node.
    ///
    /// # Errors
    /// In words.
    pub(super) fn dial(
        &self,
        socket: &Path,
        (node, volume): (&str, &str),
        run: u64,
    ) -> Result<(), String> {
        let failed = |error: std::io::Error| format!("cannot connect to the command: {error}");
        let trusted = self.registry.trusted();
        let trusted = trusted.ok_or_else(|| WireTrouble::NoCertificate.to_string())?;
        // Names of nodes have no case.
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
        let done = Guard(Box::new(move || {
            dialled.fetch_sub(1, Ordering::Relaxed);
        }));
        let stream = UnixStream::connect(socket).map_err(failed)?;
        let builder = std::thread::Builder::new().name("copy/relay".to_owned());
        let thread = builder.spawn(move || {
            let _done = done;
            match dial_copy(port, &trusted, &ours) {
                // How it ends the command sees.
                Ok(wire) => drop(Relay::new(wire, stream, Peer::Node).run()),
                Err(trouble) => refuse(&stream, &unreachable(&trouble)),
            }
        });
        thread
            .map(drop)
            .map_err(|error| format!("cannot start a thread: {error}"))
    }
}

/// Does something at its end.
struct Guard(Box<dyn Fn() + Send>);

impl Drop for Guard {
    fn drop(&mut self) {
        (self.0)();
    }
}

/// Why the other node is not connected. It may be soon, if it is one.
fn unreachable(trouble: &WireTrouble) -> CopyError {
    CopyError::Refused {
        words: trouble.to_string(),
        again: matches!(
            trouble,
            WireTrouble::Connect(..)
                | WireTrouble::Greeting(_, GreetingError::Io(_) | GreetingError::NoTls)
        ),
    }
}

impl Copies {
    /// Takes the volume for a command, if it can be written now.
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
            // The connection before this one is of no use any more.
            let _ = before.shutdown(Shutdown::Both);
            let is_there = |all: &mut BTreeMap<_, _>| all.contains_key(name);
            let waited = self.ended.wait_timeout_while(written, LEAVE_MAX, is_there);
            written = waited.unwrap_or_else(PoisonError::into_inner).0;
            if written.contains_key(name) {
                let words = format!("volume '{name}' is still busy with the attempt before");
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

    /// Refuses a volume that cannot be written.
    fn usable(&self, theirs: &CopyGreeting) -> Result<Address, CopyError> {
        let (name, me) = (&theirs.volume, &theirs.to);
        let refuse = |words: String, again| Err(CopyError::Refused { words, again });
        let Some(shared) = lock(&self.volumes).get(name).cloned() else {
            return refuse(format!("{me} has no volume '{name}'"), false);
        };
        let status = shared.status();
        let colon = if status.why.is_empty() { "" } else { ": " };
        if status.served.is_none() || status.state == State::Frozen {
            let (word, _) = status.state.words();
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
        if let Some(holder @ Holder::User { .. }) = status.meter.tenure.holder() {
            let words = format!("volume '{name}': {holder} uses it on {me}: stop it first");
            return refuse(words, true);
        }
        if let Some(has) = clients_words(&clients) {
            let words =
                format!("volume '{name}' {has}: stop them first (`evenkeel volume show {name}`)");
            // One that has just ended may not be noticed yet.
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

    /// Lets a node write a volume, until the end of that.
    fn serve(&self, wire: Wire, theirs: &CopyGreeting) -> Result<(), CopyError> {
        let (near, far) = UnixStream::pair().map_err(CopyError::Broken)?;
        let ender = Arc::new(Ender::default());
        let _watch = watch(&wire, &near, &ender).map_err(CopyError::Broken)?;
        let builder = std::thread::Builder::new().name("copy/relay".to_owned());
        builder
            .spawn(move || Relay::new(wire, far, Peer::Node).run())
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
            "evenkeel: volume {name}: {from} begins to copy into it\n"
        ));
        let received = receive(&near, name, &address, &ender);
        self.leave(name);
        received
    }
}

/// Ends a copy when the other side has closed the connection, also while the volume is waited
/// for: until the returned value is dropped.
fn watch(wire: &Wire, near: &UnixStream, ender: &Arc<Ender>) -> io::Result<PipeWriter> {
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
            // Interrupted or not: everything is looked at again.
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

/// Sends the other side a refusal.
fn refuse(mut stream: &UnixStream, error: &CopyError) {
    let (words, again) = (error.to_string(), error.may_repeat());
    let mut bytes = Vec::new();
    Frame::Refused { again, words }.encode(&mut bytes);
    // It may be gone.
    let _ = stream.write_all(&bytes);
}

impl CopyReceiver for Copies {
    fn begin(self: Arc<Self>, wire: Wire, theirs: CopyGreeting) {
        let builder = std::thread::Builder::new().name("copy/write".to_owned());
        // Without a thread the connection is closed, and the command tries again.
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
