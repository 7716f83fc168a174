//! Opens the sockets of the side thread with the initial privileges: statistics sockets, and the
//! listening sockets of `peers` and `log-forward` sections.

use crate::listener::{AssignError, Inherited, OpenStep, inode, open_alone};
use language::Span;
use model::config::{
    Bind, BindAddress, BindOwner, Config, LogForward, Peers, SeverityOutput, StatsLevel,
    StatsSocket,
};
use rustix::io::Errno;
use std::borrow::Cow;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd, RawFd};
use std::sync::Arc;
use tls::acceptor::Acceptor;

#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Rights {
    pub level: StatsLevel,
    /// The client may request the listening sockets (`expose-fd listeners`).
    pub expose_listeners: bool,
    /// Initial format of the severity in front of replies (`severity-output`).
    pub severity: SeverityOutput,
}

impl From<StatsLevel> for Rights {
    fn from(level: StatsLevel) -> Self {
        Rights {
            level,
            expose_listeners: false,
            severity: SeverityOutput::None,
        }
    }
}

#[derive(Debug)]
pub struct OperationsSocket {
    pub(super) fd: OwnedFd,
    pub(super) unix: bool,
    pub(super) text: String,
    pub(super) takes: Takes,
}

#[derive(Clone, Debug)]
pub(super) enum Takes {
    Commands(Rights),
    /// Connections of peers; another module accepts them on a duplicate of the descriptor.
    Peers,
    /// Log messages of a `log-forward` section, in connections or datagrams.
    Messages {
        section: Arc<str>,
        datagrams: bool,
        tls: Option<Arc<Acceptor>>,
    },
}

/// A socket as the configuration describes it.
enum Described<'c> {
    Stats(&'c StatsSocket),
    Peers(&'c Peers, Bind),
    Logs(&'c LogForward, &'c Bind),
}

impl Described<'_> {
    fn bind(&self) -> &Bind {
        match self {
            Described::Stats(socket) => &socket.bind,
            Described::Peers(_, bind) => bind,
            Described::Logs(_, bind) => bind,
        }
    }

    fn owner(&self) -> Cow<'static, str> {
        match self {
            Described::Stats(_) => "frontend GLOBAL".into(),
            Described::Peers(peers, _) => format!("peers {}", peers.name).into(),
            Described::Logs(section, _) => format!("log-forward {}", section.name).into(),
        }
    }

    fn socket(&self, fd: OwnedFd) -> Result<OperationsSocket, Errno> {
        let takes = match self {
            Described::Stats(socket) => Takes::Commands(Rights {
                level: socket.level,
                expose_listeners: socket.expose_listeners,
                severity: socket.severity,
            }),
            Described::Peers(peers, _) => {
                peers.socket.put(rustix::io::fcntl_dupfd_cloexec(&fd, 0)?);
                Takes::Peers
            }
            Described::Logs(section, bind) => Takes::Messages {
                section: Arc::from(&*section.name),
                datagrams: bind.datagrams,
                tls: bind.tls.clone(),
            },
        };
        let (unix, text) = describe(&self.bind().address);
        Ok(OperationsSocket {
            fd,
            unix,
            text,
            takes,
        })
    }
}

/// Returns all sockets in the order in which their descriptors are passed to other processes.
fn described(config: &Config) -> Vec<Described<'_>> {
    let stats = config.global.stats_sockets.iter().map(Described::Stats);
    let peers = config.peers.iter().filter(|peers| peers.runs());
    let peers = peers.filter_map(|peers| {
        let bind = Bind::new(peers.span, peers.bind_address()?);
        Some(Described::Peers(peers, bind))
    });
    let sections = config.log_forwards.iter();
    let logs = sections.flat_map(|one| one.binds.iter().map(|bind| Described::Logs(one, bind)));
    stats.chain(peers).chain(logs).collect()
}

#[derive(Debug, thiserror::Error)]
#[error("{of}: {step} ({errno}) [{address}]")]
pub struct OpenFailure {
    /// Index among all sockets that the configuration describes, in the order of [`open`].
    pub index: u32,
    /// Owner of the socket: `frontend GLOBAL`, `peers NAME`, `log-forward NAME`, `stats socket`.
    pub of: Cow<'static, str>,
    pub span: Span,
    pub address: String,
    pub step: OpenStep,
    pub errno: Errno,
}

/// Opens the sockets of `stats socket` lines and of `peers` and `log-forward` sections, or uses
/// inherited ones. Returns both the opened sockets and the failures.
///
/// [`Inherited::settle`] applies the externally visible changes.
pub fn open(
    config: &Config,
    inherited: &mut Inherited,
) -> (Vec<OperationsSocket>, Vec<OpenFailure>) {
    let (mut opened, mut failures) = (Vec::new(), Vec::new());
    for (index, socket) in (0..).zip(described(config)) {
        let bind = socket.bind();
        let fd = open_alone(config, bind, inherited).and_then(own);
        let kept = |fd| {
            socket
                .socket(fd)
                .map_err(|errno| (OpenStep::Inherit, errno))
        };
        match fd.and_then(kept) {
            Ok(socket) => opened.push(socket),
            Err((step, errno)) => {
                failures.push(OpenFailure {
                    index,
                    of: socket.owner(),
                    span: bind.span,
                    address: describe(&bind.address).1,
                    step,
                    errno,
                });
            }
        }
    }
    (opened, failures)
}

/// Opens a socket for commands that is not in the configuration (the master's), with the
/// initial privileges.
///
/// # Errors
/// Returns the first step that failed, with the error of its system call.
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
        index: 0,
        of: "stats socket".into(),
        span: Span::default(),
        address: text.clone(),
        step,
        errno,
    };
    let mut inherited = Inherited::default();
    let opened = open_alone(&Config::default(), &bind, &mut inherited).map_err(failed)?;
    // Gives a Unix socket its name.
    if let Err(errors) = inherited.settle() {
        let first = errors.first().map(|error| (error.step, error.errno));
        return Err(failed(first.unwrap_or((OpenStep::Bind, Errno::INVAL))));
    }
    own(opened).map_err(failed)
}

/// Duplicates a shared descriptor, because two lines may name the same inherited descriptor.
fn own(fd: Arc<OwnedFd>) -> Result<OwnedFd, (OpenStep, Errno)> {
    Arc::try_unwrap(fd).or_else(|shared| {
        rustix::io::fcntl_dupfd_cloexec(&shared, 0).map_err(|errno| (OpenStep::Inherit, errno))
    })
}

/// Assigns the sockets that another process opened to the `stats socket` lines, then to the peers
/// and the `log-forward` sections, in configuration order. The lines at the indices `left_out` get
/// none.
///
/// # Errors
/// Fails if the number of sockets differs from that of the configuration, or if fstat(2) or the
/// duplication of a peers socket fails. All sockets are then closed.
pub fn assign(
    config: &Config,
    sockets: Vec<OwnedFd>,
    left_out: &[u32],
) -> Result<Vec<OperationsSocket>, AssignError> {
    let all = (0..).zip(described(config));
    let open = all.filter(|(index, _)| !left_out.contains(index));
    let described: Vec<Described<'_>> = open.map(|(_, socket)| socket).collect();
    let (wanted, given) = (described.len(), sockets.len());
    if wanted != given {
        return Err(AssignError::Count { wanted, given });
    }
    let both = sockets.into_iter().zip(described).enumerate();
    both.map(|(place, (fd, socket))| {
        inode(&fd).map_err(|errno| AssignError::Descriptor { place, errno })?;
        let own = socket.socket(fd);
        own.map_err(|errno| AssignError::Descriptor { place, errno })
    })
    .collect()
}

/// Returns the `fd@` numbers of all sockets of the side thread, in the order of [`open`]; None for
/// a socket with another address.
pub fn tags(config: &Config) -> impl Iterator<Item = Option<RawFd>> + '_ {
    let sockets = described(config).into_iter();
    sockets.map(|socket| socket.bind().address.inherited_number())
}

/// Returns whether an address is that of a Unix socket, and its text.
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
    /// Returns whether the socket is a Unix socket. An inherited descriptor may be of either
    /// kind.
    pub(super) fn is_unix(&self) -> bool {
        match rustix::net::sockopt::socket_domain(&self.fd) {
            Ok(domain) => domain == rustix::net::AddressFamily::UNIX,
            Err(_) => self.unix,
        }
    }
}
