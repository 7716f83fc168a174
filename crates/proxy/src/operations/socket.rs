//! The statistics sockets: opened with the rights of the start, served on the
//! side thread's runtime.

use super::command::Context;
use super::connection;
use crate::config::{BindAddress, Config, StatsLevel, StatsSocket};
use crate::listener::{AssignError, Inherited, OpenStep, inode, open_alone};
use crate::runtime::Runtime;
use language::Span;
use rustix::io::Errno;
use std::fmt;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd, RawFd};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, UnixListener};
use tokio::runtime::Handle;
use tokio::sync::Semaphore;

/// Connections of all sockets together where `stats maxconn` says nothing.
const CONNECTIONS_DEFAULT: u32 = 10;
/// Most that `stats maxconn` may say with an effect: each may hold a report.
const CONNECTIONS_MAX: u32 = 1000;
/// How long accepting rests when descriptors run out.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// A statistics socket that listens.
#[derive(Debug)]
pub struct OperationsSocket {
    fd: Arc<OwnedFd>,
    unix: bool,
    level: StatsLevel,
    text: String,
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
        match open_alone(config, &socket.bind, inherited) {
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
        Ok(OperationsSocket::new(Arc::new(fd), socket))
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
    fn new(fd: Arc<OwnedFd>, socket: &StatsSocket) -> Self {
        let (unix, text) = describe(&socket.bind.address);
        OperationsSocket {
            fd,
            unix,
            level: socket.level,
            text,
        }
    }

    /// An inherited descriptor is what it is.
    fn is_unix(&self) -> bool {
        match rustix::net::sockopt::socket_domain(&*self.fd) {
            Ok(domain) => domain == rustix::net::AddressFamily::UNIX,
            Err(_) => self.unix,
        }
    }
}

/// Serves the sockets on a Tokio runtime, until that ends.
pub fn start(
    runtime: &'static Runtime,
    sockets: Vec<OperationsSocket>,
    handle: &Handle,
) -> io::Result<()> {
    let config = runtime.config();
    let most = config
        .global
        .stats_maxconn
        .unwrap_or(CONNECTIONS_DEFAULT)
        .clamp(1, CONNECTIONS_MAX);
    let places = Arc::new(Semaphore::new(most as usize));
    let texts = sockets
        .iter()
        .map(|socket| (socket.text.clone(), socket.level))
        .collect();
    let context = Context {
        runtime,
        sockets: texts,
        connections_max: runtime.connections_max.load(Ordering::Relaxed),
    };
    let _entered = handle.enter();
    for socket in sockets {
        let unix = socket.is_unix();
        let OperationsSocket { fd, level, .. } = socket;
        // Two `stats socket`s may name one descriptor.
        let fd = Arc::try_unwrap(fd).or_else(|shared| shared.try_clone())?;
        rustix::io::ioctl_fionbio(&fd, true)?;
        let (context, places) = (context.clone(), Arc::clone(&places));
        if unix {
            let listener = UnixListener::from_std(fd.into())?;
            handle.spawn(async move {
                loop {
                    let accepted = listener.accept().await.map(|(stream, _)| stream);
                    admit(accepted, level, &context, &places).await;
                }
            });
        } else {
            let listener = TcpListener::from_std(fd.into())?;
            handle.spawn(async move {
                loop {
                    let accepted = listener.accept().await.map(|(stream, _)| stream);
                    admit(accepted, level, &context, &places).await;
                }
            });
        }
    }
    Ok(())
}

/// Serves a connection as soon as there is a place for it.
async fn admit<S>(
    accepted: io::Result<S>,
    level: StatsLevel,
    context: &Context,
    places: &Arc<Semaphore>,
) where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let Ok(stream) = accepted else {
        return tokio::time::sleep(ACCEPT_PAUSE).await;
    };
    // Never closed, so a place always comes.
    let Ok(place) = Arc::clone(places).acquire_owned().await else {
        return;
    };
    let context = context.clone();
    tokio::spawn(async move {
        // A peer that goes away is nothing to tell anyone.
        let _ = connection::serve(stream, level, &context).await;
        drop(place);
    });
}
