//! Opens the listening sockets of a configuration, or reuses inherited ones, and stops and resumes
//! those of frontends that are paused.

use super::assign::places;
use super::identity::{ListenAddress, SocketIdentity, inode, prefixed};
use super::inherited::Inherited;
use super::names;
use super::options::{self, Options, create, create_for_datagrams};
use language::Span;
use model::config::{Bind, BindAddress, BindOwner, Config, Proxy, ProxyIndex};
use model::state::ListenerState;
use rustix::io::Errno;
use rustix::net::{AddressFamily, Shutdown, SocketAddrUnix, sockopt};
use std::fmt;
use std::net::SocketAddr;
use std::os::fd::{BorrowedFd, OwnedFd, RawFd};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

#[derive(Debug, Clone)]
pub struct Listening {
    pub fd: Arc<OwnedFd>,
    /// Inode of the socket; the same in every process and under every descriptor number.
    pub inode: u64,
    pub proxy: ProxyIndex,
    /// Index in the frontend's `binds`.
    pub bind: u32,
    /// State of the listener, shared by all threads.
    pub state: Arc<ListenerState>,
}

impl Listening {
    pub(crate) fn is_inet(&self) -> bool {
        let domain = sockopt::socket_domain(&self.fd);
        domain.is_ok_and(|domain| matches!(domain, AddressFamily::INET | AddressFamily::INET6))
    }
}

/// Shuts down the TCP listeners of disabled or shut-down frontends, so that the kernel refuses
/// their clients, and makes those of other frontends listen again. A listener for which this fails
/// accepts nothing.
///
/// Uses shutdown(2), because other processes may hold the same socket. A Unix socket could
/// not listen again after that, so its clients wait.
pub(crate) fn apply_frontend_states<'a>(
    config: &Config,
    listening: impl IntoIterator<Item = &'a Listening>,
) {
    for one in listening {
        let Ok(listens) = sockopt::socket_acceptconn(&one.fd) else {
            continue;
        };
        let proxy = config.proxies.get(one.proxy.0 as usize);
        let Some(proxy) = proxy.filter(|_| one.is_inet()) else {
            continue;
        };
        let is_open = !proxy.state.frontend.paused.load(Relaxed) && !proxy.state.is_shut_down();
        match (listens, is_open) {
            (true, false) => drop(rustix::net::shutdown(&one.fd, Shutdown::Both)),
            (false, true) => {
                if let Some(bind) = proxy.binds.get(one.bind as usize) {
                    let backlog = Options::of(config, proxy, bind).backlog;
                    let _ = rustix::net::listen(&one.fd, backlog);
                }
            }
            (true, true) | (false, false) => {}
        }
    }
}

#[derive(Debug)]
pub struct OpenError {
    pub proxy: ProxyIndex,
    pub bind: u32,
    pub step: OpenStep,
    pub errno: Errno,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum OpenStep {
    Create,
    Option,
    Bind,
    Listen,
    /// chown(2), chmod(2) of a Unix socket
    Own,
    Inherit,
}

impl fmt::Display for OpenStep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            OpenStep::Create => "cannot create listening socket",
            OpenStep::Option => "cannot set socket options",
            OpenStep::Bind => "cannot bind socket",
            OpenStep::Listen => "cannot listen to socket",
            OpenStep::Own => "cannot set the socket file's owner or mode",
            OpenStep::Inherit => "inherited descriptor is not a socket",
        })
    }
}

/// Opens every listener of a configuration, or uses an inherited socket for it. Returns both the
/// opened listeners and the failures.
///
/// [`Inherited::settle`] applies the externally visible changes, for everything opened with
/// the same value at once.
pub fn open(config: &Config, inherited: &mut Inherited) -> (Vec<Listening>, Vec<OpenError>) {
    let (mut opened, mut errors) = (Vec::new(), Vec::new());
    for (index, proxy, n, bind) in places(config) {
        let result = open_one(config, proxy, bind, inherited);
        match result.and_then(|fd| Ok((inode(&fd).map_err(at(OpenStep::Create))?, fd))) {
            Ok((inode, fd)) => opened.push(Listening {
                fd,
                inode,
                proxy: index,
                bind: n,
                state: proxy.state.listener(bind.id),
            }),
            Err((step, errno)) => {
                inherited.failed = true;
                errors.push(OpenError {
                    proxy: index,
                    bind: n,
                    step,
                    errno,
                });
            }
        }
    }
    (opened, errors)
}

type OpenResult<T> = Result<T, (OpenStep, Errno)>;

/// Opens a listener that belongs to no frontend (`stats socket`).
pub(crate) fn open_alone(
    config: &Config,
    bind: &Bind,
    inherited: &mut Inherited,
) -> OpenResult<Arc<OwnedFd>> {
    let opened = open_one(config, &Proxy::default(), bind, inherited);
    inherited.failed |= opened.is_err();
    opened
}

fn open_one(
    config: &Config,
    proxy: &Proxy,
    bind: &Bind,
    inherited: &mut Inherited,
) -> OpenResult<Arc<OwnedFd>> {
    let options = Options::of(config, proxy, bind);
    let owner = owner(config, bind);
    let prefix = config.global.unix_bind_prefix.as_deref();
    if let Some(wanted) = SocketIdentity::wanted(bind, prefix)
        && let Some(fd) = inherited.take(&wanted)
    {
        let fd = Arc::new(fd);
        // Leaves a datagram socket as it is, because these options are for TCP.
        if !bind.datagrams {
            inherited.set_later(fd.clone(), Some(wanted.place), options, owner, bind.span);
        }
        return Ok(fd);
    }
    let opened = match &bind.address {
        BindAddress::Inet(address) if bind.datagrams => {
            open_udp(bind, *address, &options, inherited.dry)
        }
        BindAddress::Inet(address) => open_inet(bind, *address, &options, inherited.dry),
        BindAddress::Unix(path) => {
            let path = prefixed(prefix, path);
            let backlog = (!bind.datagrams).then_some(options.backlog);
            let (fd, name) = names::bind_beside(&path, owner, backlog)?;
            inherited.name_later(name, bind.span);
            Ok(fd)
        }
        BindAddress::Abstract(name) => {
            open_abstract(name, (!bind.datagrams).then_some(options.backlog))
        }
        // Fails for a name that was not resolved: the configuration was loaded only to be checked.
        BindAddress::Name(..) => Err((OpenStep::Bind, Errno::ADDRNOTAVAIL)),
        BindAddress::Fd(number) if bind.datagrams => {
            return take_numbered(*number, inherited);
        }
        BindAddress::Fd(number) => return open_numbered(*number, options, inherited, bind.span),
    };
    opened.map(Arc::new)
}

fn take_numbered(number: RawFd, inherited: &mut Inherited) -> OpenResult<Arc<OwnedFd>> {
    if let Some(fd) = inherited.take_numbered(number) {
        return Ok(fd);
    }
    // SAFETY: the descriptor is only borrowed for one duplication; a
    // number that is not open gives EBADF.
    let own = unsafe { BorrowedFd::borrow_raw(number) };
    let fd = rustix::io::fcntl_dupfd_cloexec(own, 0).map_err(at(OpenStep::Inherit))?;
    sockopt::socket_type(&fd).map_err(at(OpenStep::Inherit))?;
    Ok(Arc::new(fd))
}

fn open_numbered(
    number: RawFd,
    options: Options,
    inherited: &mut Inherited,
    span: Span,
) -> OpenResult<Arc<OwnedFd>> {
    let fd = take_numbered(number, inherited)?;
    if !sockopt::socket_acceptconn(&fd).map_err(at(OpenStep::Inherit))? {
        // The socket listens only from here on; no client was served on it before.
        rustix::net::listen(&fd, options.backlog).map_err(at(OpenStep::Listen))?;
    }
    // Keeps the owner and mode of a socket's file, which another process has set up.
    let place = SocketIdentity::of(&fd).ok().map(|identity| identity.place);
    let place = place.filter(|place| matches!(place, ListenAddress::Inet(_)));
    inherited.set_later(fd.clone(), place, options, BindOwner::default(), span);
    Ok(fd)
}

fn at(step: OpenStep) -> impl Fn(Errno) -> (OpenStep, Errno) {
    move |errno| (step, errno)
}

fn owner(config: &Config, bind: &Bind) -> BindOwner {
    let default = config.global.unix_bind_owner;
    BindOwner {
        uid: bind.owner.uid.or(default.uid),
        gid: bind.owner.gid.or(default.gid),
        mode: bind.owner.mode.or(default.mode),
    }
}

fn open_inet(
    bind: &Bind,
    address: SocketAddr,
    options: &Options,
    dry: bool,
) -> OpenResult<OwnedFd> {
    let family = if address.is_ipv4() {
        AddressFamily::INET
    } else {
        AddressFamily::INET6
    };
    let fd = create(family).map_err(at(OpenStep::Create))?;
    options::fixed(&fd, bind, address).map_err(at(OpenStep::Option))?;
    options.share_port(&fd);
    options.set_on_new(&fd).map_err(at(OpenStep::Option))?;
    rustix::net::bind(&fd, &address).map_err(at(OpenStep::Bind))?;
    options::unfix(&fd, address);
    if dry {
        return Ok(fd);
    }
    rustix::net::listen(&fd, options.backlog).map_err(at(OpenStep::Listen))?;
    Ok(fd)
}

/// Opens a datagram socket. An older process may share the address and still receive, as with
/// listeners.
fn open_udp(bind: &Bind, address: SocketAddr, options: &Options, dry: bool) -> OpenResult<OwnedFd> {
    let family = if address.is_ipv4() {
        AddressFamily::INET
    } else {
        AddressFamily::INET6
    };
    let fd = create_for_datagrams(family).map_err(at(OpenStep::Create))?;
    options::fixed(&fd, bind, address).map_err(at(OpenStep::Option))?;
    options.share_port(&fd);
    if dry {
        // In a dry run the socket is not bound: it would receive datagrams meant for the processes
        // that share the address.
        return Ok(fd);
    }
    rustix::net::bind(&fd, &address).map_err(at(OpenStep::Bind))?;
    options::unfix(&fd, address);
    Ok(fd)
}

/// Opens a socket in the abstract namespace. Without a backlog it is a datagram socket.
fn open_abstract(name: &[u8], backlog: Option<i32>) -> OpenResult<OwnedFd> {
    let address = SocketAddrUnix::new_abstract_name(name).map_err(at(OpenStep::Bind))?;
    let created = match backlog {
        Some(_) => create(AddressFamily::UNIX),
        None => create_for_datagrams(AddressFamily::UNIX),
    };
    let fd = created.map_err(at(OpenStep::Create))?;
    rustix::net::bind(&fd, &address).map_err(at(OpenStep::Bind))?;
    if let Some(backlog) = backlog {
        rustix::net::listen(&fd, backlog).map_err(at(OpenStep::Listen))?;
    }
    Ok(fd)
}

#[cfg(test)]
mod tests {
    use super::*;
    use keyword::testing::load_text;

    fn opened(global: &str, options: &str) -> OwnedFd {
        let text = format!("global\n{global}\nfrontend f\nbind 127.0.0.1:1 {options}\n");
        let mut config = load_text(&text)
            .config
            .unwrap_or_else(|| panic!("{text}: refused"));
        config.proxies[0].binds[0].address = BindAddress::Inet(([127, 0, 0, 1], 0).into());
        let (mut listening, errors) = open(&config, &mut Inherited::default());
        assert!(errors.is_empty(), "{errors:?}");
        Arc::into_inner(listening.remove(0).fd).unwrap()
    }

    #[test]
    fn buffer_sizes_of_clients_are_those_of_the_listening_socket() {
        let fd = opened("tune.rcvbuf.client 30000\ntune.sndbuf.client 40000", "");
        // The kernel reports twice the size, for its own bookkeeping.
        assert_eq!(sockopt::socket_recv_buffer_size(&fd).unwrap(), 60_000);
        assert_eq!(sockopt::socket_send_buffer_size(&fd).unwrap(), 80_000);
    }

    #[test]
    fn a_segment_size_below_zero_counts_from_the_systems() {
        let usual = options::segment_size(&opened("", "")).unwrap();
        assert_eq!(options::segment_size(&opened("", "mss 400")).unwrap(), 400);
        assert_eq!(
            options::segment_size(&opened("", "mss -36")).unwrap(),
            usual - 36
        );
    }
}
