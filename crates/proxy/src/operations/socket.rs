//! The statistics sockets: opened with the rights of the start. `serving` accepts
//! on them.

use crate::config::{Bind, BindAddress, BindOwner, Config, StatsLevel, StatsSocket};
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

/// A statistics socket that listens.
#[derive(Debug)]
pub struct OperationsSocket {
    pub(super) fd: OwnedFd,
    pub(super) unix: bool,
    pub(super) rights: Rights,
    pub(super) text: String,
}

/// Why a statistics socket could not be opened.
#[derive(Debug)]
pub struct OpenFailure {
    /// Where its line stands.
    pub span: Span,
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

/// Opens every `stats socket`, or takes it from those that were inherited. What
/// could be opened is returned beside what could not.
///
/// What others can see of it is put in place by [`Inherited::settle`].
pub fn open(
    config: &Config,
    inherited: &mut Inherited,
) -> (Vec<OperationsSocket>, Vec<OpenFailure>) {
    let (mut opened, mut failures) = (Vec::new(), Vec::new());
    for socket in &config.global.stats_sockets {
        match open_alone(config, &socket.bind, inherited).and_then(own) {
            Ok(fd) => opened.push(OperationsSocket::new(fd, socket)),
            Err((step, errno)) => {
                failures.push(OpenFailure {
                    span: socket.bind.span,
                    address: describe(&socket.bind.address).1,
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

/// Gives the `stats socket`s sockets that another process opened, in the order
/// of the file.
pub fn assign(
    config: &Config,
    sockets: Vec<OwnedFd>,
) -> Result<Vec<OperationsSocket>, AssignError> {
    let described = &config.global.stats_sockets;
    let (wanted, given) = (described.len(), sockets.len());
    if wanted != given {
        return Err(AssignError::Count { wanted, given });
    }
    let both = sockets.into_iter().zip(described).enumerate();
    both.map(|(place, (fd, socket))| {
        inode(&fd).map_err(|errno| AssignError::Descriptor { place, errno })?;
        Ok(OperationsSocket::new(fd, socket))
    })
    .collect()
}

/// The `fd@` numbers of the `stats socket`s, in the order of the file.
pub fn tags(config: &Config) -> impl Iterator<Item = Option<RawFd>> + '_ {
    let sockets = config.global.stats_sockets.iter();
    sockets.map(|socket| socket.bind.address.inherited_number())
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
    fn new(fd: OwnedFd, socket: &StatsSocket) -> Self {
        let (unix, text) = describe(&socket.bind.address);
        OperationsSocket {
            fd,
            unix,
            rights: Rights {
                level: socket.level,
                expose_listeners: socket.expose_listeners,
            },
            text,
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
