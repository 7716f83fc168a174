//! Implements hosts: each is a network namespace with its own interfaces, addresses, routes and
//! ports, in which threads and processes run, and whose power can be cut. Files and processes are
//! shared with the machine.

use crate::clean::{kill_all_in, processes_in};
use crate::error::LabError;
use crate::fault::InjectedFault;
use crate::ground::LabState;
use crate::name::NAMESPACES;
use crate::packet;
use crate::process::{self, LabProcess};
use nix::ifaddrs::getifaddrs;
use nix::sys::socket::SockaddrStorage;
use rustix::fd::OwnedFd;
use rustix::fs::{Mode, OFlags};
use rustix::process::Pid;
use std::fmt;
use std::fs::File;
use std::io;
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::panic::resume_unwind;
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

/// A host of a [`Lab`](crate::Lab). Clones refer to the same host. Dropping its laboratory ends all
/// processes in it and removes the host.
#[derive(Clone)]
pub struct LabHost(Arc<LabHostState>);

struct LabHostState {
    name: String,
    namespace: String,
    fd: Arc<OwnedFd>,
    inode: u64,
    interfaces: AtomicU32,
    blocks: AtomicU32,
    /// Commands for `ip` that are repeated when the power returns.
    repeated_commands: Mutex<Vec<Vec<String>>>,
    ground: Arc<LabState>,
}

/// Moves the calling thread into a new network namespace with its loopback up. Threads and
/// processes that the thread starts are inside, too. So an instance that claims its machine, such
/// as a node of a cluster, does not conflict with other tests.
///
/// # Panics
/// The namespace cannot be created: otherwise the test would run on the wrong network.
pub fn enter_own_network() {
    process::begin_spawner();
    nix::sched::unshare(nix::sched::CloneFlags::CLONE_NEWNET)
        .unwrap_or_else(|errno| panic!("cannot create a network namespace: {errno}"));
    let network = File::open("/proc/thread-self/ns/net");
    let network = network.unwrap_or_else(|error| panic!("the namespace is not there: {error}"));
    process::OWN_NETWORK.set(Some(Arc::new(network.into())));
    let up = Command::new("ip")
        .args(["link", "set", "lo", "up"])
        .status();
    assert!(
        up.is_ok_and(|status| status.success()),
        "the loopback is down"
    );
}

impl fmt::Debug for LabHost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Host({})", self.0.namespace)
    }
}

impl LabHost {
    /// Opens an existing namespace as a host, and switches its loopback on. IPv6 addresses are
    /// usable at once, without duplicate address detection.
    pub(crate) fn open(
        name: &str,
        namespace: String,
        ground: Arc<LabState>,
    ) -> Result<Self, LabError> {
        let path = format!("{NAMESPACES}/{namespace}");
        let flags = OFlags::RDONLY | OFlags::CLOEXEC;
        let fd = rustix::fs::open(&path, flags, Mode::empty())
            .map_err(|errno| LabError::io("open", &path)(errno.into()))?;
        let inode = rustix::fs::fstat(&fd)
            .map_err(|errno| LabError::io("inspect", &path)(errno.into()))?
            .st_ino;
        let host = LabHost(Arc::new(LabHostState {
            name: name.to_owned(),
            namespace,
            fd: Arc::new(fd),
            inode,
            interfaces: AtomicU32::new(0),
            blocks: AtomicU32::new(0),
            repeated_commands: Mutex::default(),
            ground,
        }));
        host.ip(&["link", "set", "lo", "up"])?;
        host.sysctl("net/ipv6/conf/default/accept_dad", "0")?;
        Ok(host)
    }

    pub fn name(&self) -> &str {
        &self.0.name
    }

    pub fn namespace(&self) -> &str {
        &self.0.namespace
    }

    pub(crate) fn lab_state(&self) -> &Arc<LabState> {
        &self.0.ground
    }

    pub(crate) fn next_block(&self) -> u32 {
        self.0.blocks.fetch_add(1, Ordering::Relaxed)
    }

    fn repeated_commands(&self) -> MutexGuard<'_, Vec<Vec<String>>> {
        self.0
            .repeated_commands
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// Runs `ip`, and records the command as configured by the host's administrator: it is repeated
    /// after a power failure.
    pub(crate) fn configure(&self, words: &[&str]) -> Result<(), LabError> {
        self.ip(words)?;
        let words = words.iter().map(|word| (*word).to_owned()).collect();
        self.repeated_commands().push(words);
        Ok(())
    }

    pub(crate) fn remove_command(&self, words: &[&str]) {
        self.repeated_commands().retain(|known| known != words);
    }

    pub(crate) fn next_interface(&self) -> u32 {
        self.0.interfaces.fetch_add(1, Ordering::Relaxed)
    }

    /// Runs a closure on a thread inside this host. Sockets that it creates belong to the host
    /// permanently. A panic in the closure is propagated.
    ///
    /// # Panics
    /// The thread cannot be moved into the host, although the host could be created: otherwise the
    /// test would run on the wrong network.
    pub fn enter<T: Send>(&self, inside: impl FnOnce() -> T + Send) -> T {
        let run = || {
            if let Err(error) = process::move_in(&self.0.fd) {
                panic!("cannot enter {}: {error}", self.0.namespace);
            }
            inside()
        };
        let result = thread::scope(|scope| scope.spawn(run).join());
        result.unwrap_or_else(|panic| resume_unwind(panic))
    }

    pub fn spawn(&self, command: Command) -> Result<LabProcess, LabError> {
        LabProcess::start(command, Some(Arc::clone(&self.0.fd)))
    }

    /// Runs a program inside the host to its end, and returns its standard output. A time limit, or
    /// an exit code other than 0, is an error.
    pub fn run(&self, command: Command) -> Result<String, LabError> {
        process::run(command, Some(Arc::clone(&self.0.fd)))
    }

    /// Runs `ip` on this host's network: `host.ip(&["route", "show"])`.
    pub fn ip(&self, words: &[&str]) -> Result<String, LabError> {
        let mut command = Command::new("ip");
        command.args(["-n", &self.0.namespace]).args(words);
        process::run(command, None)
    }

    /// Returns whether an interface has this address. Starts no program, because tests that wait
    /// for an address call this often.
    pub fn has_address(&self, address: IpAddr) -> bool {
        let is_it = |one: SockaddrStorage| match address {
            IpAddr::V4(v4) => one.as_sockaddr_in().is_some_and(|one| one.ip() == v4),
            IpAddr::V6(v6) => one.as_sockaddr_in6().is_some_and(|one| one.ip() == v6),
        };
        let has = || {
            let mut all = getifaddrs().into_iter().flatten();
            all.any(|interface| interface.address.is_some_and(is_it))
        };
        self.enter(has)
    }

    /// Adds a route: `host.route("default", "10.0.0.1")`.
    pub fn route(&self, destination: &str, via: &str) -> Result<(), LabError> {
        let family = if via.contains(':') { "-6" } else { "-4" };
        self.configure(&[family, "route", "add", destination, "via", via])
    }

    /// Sets a network setting below `/proc/sys`, such as `net/ipv4/ip_forward`.
    pub fn sysctl(&self, name: &str, value: &str) -> Result<(), LabError> {
        let path = format!("/proc/sys/{name}");
        self.enter(|| std::fs::write(&path, value))
            .map_err(LabError::io("set", name))
    }

    pub fn tcp_connect(&self, to: SocketAddr, timeout: Duration) -> io::Result<TcpStream> {
        self.enter(|| TcpStream::connect_timeout(&to, timeout))
    }

    pub fn tcp_listen(&self, at: SocketAddr) -> io::Result<TcpListener> {
        self.enter(|| TcpListener::bind(at))
    }

    pub fn udp_bind(&self, at: SocketAddr) -> io::Result<UdpSocket> {
        self.enter(|| UdpSocket::bind(at))
    }

    pub fn processes(&self) -> Vec<Pid> {
        processes_in(self.0.inode)
    }

    /// Cuts the power: all processes inside are killed and all interfaces switched off at the same
    /// moment, so that no process can send a final message. When the fault heals, the host is as
    /// after a start: with what [`Interface::address`](crate::Interface::address) and
    /// [`LabHost::route`] configured, without addresses that programs added, and without programs.
    pub fn power_off(&self) -> Result<InjectedFault, LabError> {
        let failed = || LabError::io("power off", self.name());
        let off = || {
            let interfaces = packet::interfaces()?;
            // Uses the interfaces that were looked up in advance, so that kill and cut happen at
            // the same moment.
            process::kill_at_once(&self.processes());
            packet::switch(&interfaces, false)
        };
        self.enter(off).map_err(failed())?;
        kill_all_in(self.0.inode);
        let host = self.clone();
        let what = format!("{} has no power", self.name());
        let faults = &self.0.ground.faults;
        Ok(faults.register_fault(what, move || host.power_on()))
    }

    fn power_on(&self) -> Result<(), LabError> {
        let failed = || LabError::io("power on", self.name());
        let interfaces = self.enter(packet::interfaces).map_err(failed())?;
        for name in &interfaces {
            self.ip(&["address", "flush", "dev", name])?;
        }
        self.enter(|| packet::switch(&interfaces, true))
            .map_err(failed())?;
        let own = self.repeated_commands().clone();
        for words in own {
            let words: Vec<&str> = words.iter().map(String::as_str).collect();
            self.ip(&words)?;
        }
        Ok(())
    }
}

/// Network on which something runs: the machine's own, or that of a host.
#[derive(Clone, Debug)]
pub enum Location {
    /// Network of the test itself: only loopback should be used.
    Here,
    In(LabHost),
}

impl From<&LabHost> for Location {
    fn from(host: &LabHost) -> Self {
        Location::In(host.clone())
    }
}

impl Location {
    pub fn enter<T: Send>(&self, inside: impl FnOnce() -> T + Send) -> T {
        match self {
            Location::Here => inside(),
            Location::In(host) => host.enter(inside),
        }
    }

    pub fn spawn(&self, command: Command) -> Result<LabProcess, LabError> {
        match self {
            Location::Here => LabProcess::start(command, None),
            Location::In(host) => host.spawn(command),
        }
    }
}
