//! The sockets of the side thread, opened with the rights of the start: those for
//! operators, and those of `log-forward` sections. `serving` accepts on them.

use crate::config::{Bind, BindAddress, BindOwner, Config, StatsLevel};
use crate::listener::{AssignError, Inherited, OpenStep, inode, open_alone};
use language::Span;
use rustix::io::Errno;
use std::fmt;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd, RawFd};
use std::sync::Arc;

/// What whoever connects to a statistics socket may do.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Rights {
    /// With commands.
    pub level: StatsLevel,
    /// `expose-fd listeners`: the listening sockets are handed to him.
    pub expose_listeners: bool,
}

impl From<StatsLevel> for Rights {
    fn from(level: StatsLevel) -> Self {
        Rights {
            level,
            expose_listeners: false,
        }
    }
}

/// A socket of the side thread that listens.
#[derive(Debug)]
pub struct OperationsSocket {
    pub(super) fd: OwnedFd,
    pub(super) unix: bool,
    pub(super) text: String,
    pub(super) takes: Takes,
}

/// What a socket takes.
#[derive(Clone, Debug)]
pub(super) enum Takes {
    /// Commands.
    Commands(Rights),
    /// Log messages for a `log-forward` section, perhaps as datagrams.
    Messages { section: Arc<str>, datagrams: bool },
}

impl Takes {
    fn section(&self) -> Option<Arc<str>> {
        match self {
            Takes::Commands(_) => None,
            Takes::Messages { section, .. } => Some(Arc::clone(section)),
        }
    }
}

/// The sockets of a configuration, in the order in which they are opened, handed
/// over and assigned.
fn wanted(config: &Config) -> impl Iterator<Item = (&Bind, Takes)> + '_ {
    let commands = config.global.stats_sockets.iter().map(|socket| {
        let rights = Rights {
            level: socket.level,
            expose_listeners: socket.expose_listeners,
        };
        (&socket.bind, Takes::Commands(rights))
    });
    let messages = config.log_forwards.iter().flat_map(|section| {
        let name: Arc<str> = Arc::from(&*section.name);
        section.binds.iter().map(move |bind| {
            let takes = Takes::Messages {
                section: Arc::clone(&name),
                datagrams: bind.datagrams,
            };
            (bind, takes)
        })
    });
    commands.chain(messages)
}

/// Why a statistics socket could not be opened.
#[derive(Debug)]
pub struct OpenFailure {
    /// Where its line stands.
    pub span: Span,
    /// The `log-forward` section that it belongs to; None is one for operators.
    pub section: Option<Arc<str>>,
    /// Its address.
    pub address: String,
    /// The step that failed.
    pub step: OpenStep,
    /// The system's reason.
    pub errno: Errno,
}

impl fmt::Display for OpenFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "stats socket: {} ({}) [{}]",
            self.step, self.errno, self.address
        )
    }
}

/// Opens every socket, or takes it from those that were inherited. What
/// could be opened is returned beside what could not.
///
/// What others can see of it is put in place by [`Inherited::settle`].
pub fn open(
    config: &Config,
    inherited: &mut Inherited,
) -> (Vec<OperationsSocket>, Vec<OpenFailure>) {
    let (mut opened, mut failures) = (Vec::new(), Vec::new());
    for (bind, takes) in wanted(config) {
        match open_alone(config, bind, inherited).and_then(own) {
            Ok(fd) => opened.push(OperationsSocket::new(fd, bind, takes)),
            Err((step, errno)) => {
                failures.push(OpenFailure {
                    span: bind.span,
                    section: takes.section(),
                    address: describe(&bind.address).1,
                    step,
                    errno,
                });
            }
        }
    }
    (opened, failures)
}

/// Opens a socket for commands that no file names (the master's), with the
/// rights of the start.
pub fn open_one(
    address: BindAddress,
    owner: BindOwner,
    backlog: Option<u32>,
) -> Result<OwnedFd, OpenFailure> {
    let text = describe(&address).1;
    let bind = Bind {
        backlog,
        owner,
        ..Bind::new(Span::default(), address)
    };
    let failed = |(step, errno)| OpenFailure {
        span: Span::default(),
        section: None,
        address: text.clone(),
        step,
        errno,
    };
    let mut inherited = Inherited::default();
    let opened = open_alone(&Config::default(), &bind, &mut inherited).map_err(failed)?;
    // A Unix socket has its name from here on.
    if let Err(errors) = inherited.settle() {
        let first = errors.first().map(|error| (error.step, error.errno));
        return Err(failed(first.unwrap_or((OpenStep::Bind, Errno::INVAL))));
    }
    own(opened).map_err(failed)
}

/// A descriptor of its own: two lines may name one that was inherited.
fn own(fd: Arc<OwnedFd>) -> Result<OwnedFd, (OpenStep, Errno)> {
    Arc::try_unwrap(fd).or_else(|shared| {
        rustix::io::fcntl_dupfd_cloexec(&shared, 0).map_err(|errno| (OpenStep::Inherit, errno))
    })
}

/// Gives a configuration the sockets that another process opened, in their order.
pub fn assign(
    config: &Config,
    sockets: Vec<OwnedFd>,
) -> Result<Vec<OperationsSocket>, AssignError> {
    let (count, given) = (wanted(config).count(), sockets.len());
    if count != given {
        return Err(AssignError::Count {
            wanted: count,
            given,
        });
    }
    let both = sockets.into_iter().zip(wanted(config)).enumerate();
    both.map(|(place, (fd, (bind, takes)))| {
        inode(&fd).map_err(|errno| AssignError::Descriptor { place, errno })?;
        Ok(OperationsSocket::new(fd, bind, takes))
    })
    .collect()
}

/// The `fd@` numbers of the sockets, in their order.
pub fn tags(config: &Config) -> impl Iterator<Item = Option<RawFd>> + '_ {
    wanted(config).map(|(bind, _)| bind.address.inherited_number())
}

/// Whether an address is a Unix socket's, and its text.
fn describe(address: &BindAddress) -> (bool, String) {
    match address {
        BindAddress::Inet(address) if address.is_ipv4() => (false, format!("ipv4@{address}")),
        BindAddress::Inet(address) => (false, format!("ipv6@{address}")),
        BindAddress::Unix(path) => (true, format!("unix@{}", path.display())),
        BindAddress::Abstract(name) => (true, format!("abns@{}", String::from_utf8_lossy(name))),
        BindAddress::Fd(number) => (true, format!("fd@{number}")),
        BindAddress::Name(name, port) => (false, format!("{name}:{port}")),
    }
}

impl AsFd for OperationsSocket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

impl OperationsSocket {
    fn new(fd: OwnedFd, bind: &Bind, takes: Takes) -> Self {
        let (unix, text) = describe(&bind.address);
        OperationsSocket {
            fd,
            unix,
            text,
            takes,
        }
    }

    /// An inherited descriptor is what it is.
    pub(super) fn is_unix(&self) -> bool {
        match rustix::net::sockopt::socket_domain(&self.fd) {
            Ok(domain) => domain == rustix::net::AddressFamily::UNIX,
            Err(_) => self.unix,
        }
    }
}
