//! A host is a network namespace: interfaces, addresses, routes and ports of its
//! own; files and processes are shared with everybody.

use crate::error::LabError;
use crate::firewall::{Block, Filter};
use crate::process::{self, Process};
use rustix::fd::OwnedFd;
use rustix::fs::{Mode, OFlags};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
use std::fmt;
use std::io;
use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::os::fd::AsFd;
use std::panic::resume_unwind;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::Duration;

/// Where named namespaces are.
pub(crate) const NAMESPACES: &str = "/run/netns";

/// A host of a [`Lab`](crate::Lab). Clones are the same host. It is gone, with all
/// that runs in it, when its laboratory is dropped.
#[derive(Clone)]
pub struct Host(Arc<Inner>);

struct Inner {
    name: String,
    namespace: String,
    fd: OwnedFd,
    interfaces: AtomicU32,
    blocks: AtomicU32,
}

impl fmt::Debug for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Host({})", self.0.namespace)
    }
}

impl Host {
    /// Of a namespace that was just made. Its loopback is up, and IPv6 addresses
    /// can be used at once, without waiting for duplicates to answer.
    pub(crate) fn open(name: &str, namespace: String) -> Result<Self, LabError> {
        let path = format!("{NAMESPACES}/{namespace}");
        let flags = OFlags::RDONLY | OFlags::CLOEXEC;
        let fd = rustix::fs::open(&path, flags, Mode::empty())
            .map_err(|errno| LabError::io("open", &path)(errno.into()))?;
        let host = Host(Arc::new(Inner {
            name: name.to_owned(),
            namespace,
            fd,
            interfaces: AtomicU32::new(0),
            blocks: AtomicU32::new(0),
        }));
        host.ip(&["link", "set", "lo", "up"])?;
        host.sysctl("net/ipv6/conf/default/accept_dad", "0")?;
        Ok(host)
    }

    /// As it was asked for.
    pub fn name(&self) -> &str {
        &self.0.name
    }

    /// The name of its namespace, for `ip netns exec`.
    pub fn namespace(&self) -> &str {
        &self.0.namespace
    }

    /// Moves the calling thread in. Only system calls: it is used between fork
    /// and exec.
    pub(crate) fn move_in(&self) -> io::Result<()> {
        let kind = Some(LinkNameSpaceType::Network);
        Ok(move_into_link_name_space(self.0.fd.as_fd(), kind)?)
    }

    pub(crate) fn next_interface(&self) -> u32 {
        self.0.interfaces.fetch_add(1, Ordering::Relaxed)
    }

    /// Runs a closure on a thread inside this host. Sockets that it makes belong
    /// to the host for good. A panic inside comes out here.
    ///
    /// # Panics
    /// When the thread cannot be moved, which it can whenever the host could be
    /// made: a test would be about the wrong network otherwise.
    pub fn enter<T: Send>(&self, inside: impl FnOnce() -> T + Send) -> T {
        let run = || {
            if let Err(error) = self.move_in() {
                panic!("cannot enter {}: {error}", self.0.namespace);
            }
            inside()
        };
        let result = thread::scope(|scope| scope.spawn(run).join());
        result.unwrap_or_else(|panic| resume_unwind(panic))
    }

    /// Starts a program inside.
    pub fn spawn(&self, command: Command) -> Result<Process, LabError> {
        Process::start(command, Some(self.clone()))
    }

    /// Runs a program inside to its end (within a bounded time) and gives what
    /// it wrote to standard output. It has to end with code 0.
    pub fn run(&self, command: Command) -> Result<String, LabError> {
        process::run(command, Some(self.clone()))
    }

    /// Runs `ip` on this host's network: `host.ip(&["route", "show"])`.
    pub fn ip(&self, words: &[&str]) -> Result<String, LabError> {
        let mut command = Command::new("ip");
        command.args(["-n", &self.0.namespace]).args(words);
        process::run(command, None)
    }

    /// Adds a route: `host.route("default", "10.0.0.1")`.
    pub fn route(&self, destination: &str, via: &str) -> Result<(), LabError> {
        let family = if via.contains(':') { "-6" } else { "-4" };
        let words = [family, "route", "add", destination, "via", via];
        self.ip(&words).map(drop)
    }

    /// Sets a value below `/proc/sys` that belongs to the network, as
    /// `net/ipv4/ip_forward`.
    pub fn sysctl(&self, name: &str, value: &str) -> Result<(), LabError> {
        let path = format!("/proc/sys/{name}");
        self.enter(|| std::fs::write(&path, value))
            .map_err(LabError::io("set", name))
    }

    /// Connects from here.
    pub fn tcp_connect(&self, to: SocketAddr, timeout: Duration) -> io::Result<TcpStream> {
        self.enter(|| TcpStream::connect_timeout(&to, timeout))
    }

    /// Listens here.
    pub fn tcp_listen(&self, at: SocketAddr) -> io::Result<TcpListener> {
        self.enter(|| TcpListener::bind(at))
    }

    /// A UDP socket here.
    pub fn udp_bind(&self, at: SocketAddr) -> io::Result<UdpSocket> {
        self.enter(|| UdpSocket::bind(at))
    }

    /// Drops, without an answer, what fits the filter, coming or going, until the
    /// value is dropped. Established connections are hit too.
    pub fn block(&self, filter: &Filter) -> Result<Block, LabError> {
        let number = self.0.blocks.fetch_add(1, Ordering::Relaxed);
        Block::place(self.clone(), number, filter)
    }
}

/// Where something runs: on this machine's own network, or in a host.
#[derive(Clone, Debug)]
pub enum Place {
    /// On the network of the test itself: loopback only, please.
    Here,
    /// In a host.
    In(Host),
}

impl From<&Host> for Place {
    fn from(host: &Host) -> Self {
        Place::In(host.clone())
    }
}

impl Place {
    /// Runs a closure there.
    pub fn enter<T: Send>(&self, inside: impl FnOnce() -> T + Send) -> T {
        match self {
            Place::Here => inside(),
            Place::In(host) => host.enter(inside),
        }
    }

    /// Starts a program there.
    pub fn spawn(&self, command: Command) -> Result<Process, LabError> {
        match self {
            Place::Here => Process::start(command, None),
            Place::In(host) => host.spawn(command),
        }
    }
}
