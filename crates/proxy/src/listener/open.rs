//! Opening listening sockets.

use crate::config::{Bind, BindAddress, BindOwner, Config, Proxy, ProxyIndex, ProxyOption, Tune};
use crate::state::ListenerState;
use nix::libc;
use rustix::fs::{Gid, Mode, Uid};
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType, sockopt};
use std::fmt;
use std::net::SocketAddr;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};
use std::path::Path;
use std::sync::Arc;

/// A listening socket and the listener that it belongs to.
#[derive(Debug, Clone)]
pub struct Listening {
    /// The descriptor; all threads accept from it.
    pub fd: Arc<OwnedFd>,
    /// The kernel's number of the socket: the same for all its descriptors.
    pub inode: u64,
    /// The frontend.
    pub proxy: ProxyIndex,
    /// The place in its `binds`.
    pub bind: u32,
    /// Its counts on all threads: connections where it has a `maxconn`, all
    /// with `option socket-stats`.
    pub state: Arc<ListenerState>,
}

/// Why a listener could not be opened.
#[derive(Debug)]
pub struct OpenError {
    /// The frontend.
    pub proxy: ProxyIndex,
    /// The place in its `binds`.
    pub bind: u32,
    /// The step that failed.
    pub step: OpenStep,
    /// The system's reason.
    pub errno: Errno,
}

/// A step of opening a listener.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum OpenStep {
    /// socket(2)
    Create,
    /// setsockopt(2)
    Option,
    /// bind(2)
    Bind,
    /// listen(2)
    Listen,
    /// chown(2), chmod(2) of a Unix socket
    Own,
    /// The inherited descriptor is none.
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

/// Connections that wait in the kernel when neither `backlog` nor `maxconn` says.
const BACKLOG_DEFAULT: i32 = 4096;

/// Opens every listener of a configuration. What could be opened is returned
/// beside what could not.
pub fn open(config: &Config) -> (Vec<Listening>, Vec<OpenError>) {
    let (mut opened, mut errors) = (Vec::new(), Vec::new());
    for (index, proxy) in config
        .iter()
        .filter(|(_, p)| p.kind.is_frontend() && !p.disabled)
    {
        for (n, bind) in proxy.binds.iter().enumerate() {
            let numbered = |fd: OwnedFd| {
                let inode = rustix::fs::fstat(&fd).map_err(at(OpenStep::Option))?.st_ino;
                Ok((fd, inode))
            };
            match open_one(config, proxy, bind).and_then(numbered) {
                Ok((fd, inode)) => opened.push(Listening {
                    fd: Arc::new(fd),
                    inode,
                    proxy: index,
                    bind: n as u32,
                    state: proxy.state.listener(bind.id),
                }),
                Err((step, errno)) => {
                    errors.push(OpenError {
                        proxy: index,
                        bind: n as u32,
                        step,
                        errno,
                    });
                }
            }
        }
    }
    (opened, errors)
}

type Step<T> = Result<T, (OpenStep, Errno)>;

/// Opens a listener that belongs to no frontend (`stats socket`).
pub(crate) fn open_alone(config: &Config, bind: &Bind) -> Result<OwnedFd, (OpenStep, Errno)> {
    open_one(config, &Proxy::default(), bind)
}

fn open_one(config: &Config, proxy: &Proxy, bind: &Bind) -> Step<OwnedFd> {
    let backlog = bind
        .backlog
        .or(proxy.backlog)
        .or(proxy.maxconn.filter(|n| *n > 0))
        .map_or(BACKLOG_DEFAULT, |n| i32::try_from(n).unwrap_or(i32::MAX));
    match &bind.address {
        BindAddress::Inet(address) => open_inet(config, proxy, bind, *address, backlog),
        BindAddress::Unix(path) => {
            let prefix = config.global.unix_bind_prefix.as_deref();
            let path = prefix.map_or_else(|| path.clone(), |p| join(p, path));
            open_unix_path(&path, owner(config, bind), backlog)
        }
        BindAddress::Abstract(name) => {
            let address = SocketAddrUnix::new_abstract_name(name).map_err(at(OpenStep::Bind))?;
            let fd = create(AddressFamily::UNIX)?;
            rustix::net::bind(&fd, &address).map_err(at(OpenStep::Bind))?;
            rustix::net::listen(&fd, backlog).map_err(at(OpenStep::Listen))?;
            Ok(fd)
        }
        // Names are looked up while loading; this one was only checked.
        BindAddress::Name(..) => Err((OpenStep::Bind, Errno::ADDRNOTAVAIL)),
        BindAddress::Fd(number) => {
            // SAFETY: the descriptor is only borrowed for one duplication; a
            // number that is not open gives EBADF.
            let inherited = unsafe { BorrowedFd::borrow_raw(*number) };
            let fd =
                rustix::io::fcntl_dupfd_cloexec(inherited, 0).map_err(at(OpenStep::Inherit))?;
            sockopt::socket_type(&fd).map_err(at(OpenStep::Inherit))?;
            rustix::io::ioctl_fionbio(&fd, true).map_err(at(OpenStep::Option))?;
            rustix::net::listen(&fd, backlog).map_err(at(OpenStep::Listen))?;
            Ok(fd)
        }
    }
}

fn at(step: OpenStep) -> impl Fn(Errno) -> (OpenStep, Errno) {
    move |errno| (step, errno)
}

fn create(family: AddressFamily) -> Step<OwnedFd> {
    let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
    rustix::net::socket_with(family, SocketType::STREAM, flags, None).map_err(at(OpenStep::Create))
}

fn join(prefix: &Path, path: &Path) -> std::path::PathBuf {
    // The manual's prefix is text before the path, not a directory.
    let mut whole = prefix.as_os_str().to_owned();
    whole.push(path.as_os_str());
    whole.into()
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
    config: &Config,
    proxy: &Proxy,
    bind: &Bind,
    address: SocketAddr,
    backlog: i32,
) -> Step<OwnedFd> {
    let family = if address.is_ipv4() {
        AddressFamily::INET
    } else {
        AddressFamily::INET6
    };
    let fd = create(family)?;
    inet_options(&fd, proxy, bind, address).map_err(at(OpenStep::Option))?;
    buffer_sizes(&fd, &config.global.tune).map_err(at(OpenStep::Option))?;
    rustix::net::bind(&fd, &address).map_err(at(OpenStep::Bind))?;
    rustix::net::listen(&fd, backlog).map_err(at(OpenStep::Listen))?;
    Ok(fd)
}

/// `tune.rcvbuf.client`, `tune.sndbuf.client`: accepted connections inherit
/// them, and the window of the handshake is known only before listen(2).
fn buffer_sizes(fd: &OwnedFd, tune: &Tune) -> Result<(), Errno> {
    if let Some(bytes) = tune.rcvbuf_client {
        sockopt::set_socket_recv_buffer_size(fd, bytes as usize)?;
    }
    if let Some(bytes) = tune.sndbuf_client {
        sockopt::set_socket_send_buffer_size(fd, bytes as usize)?;
    }
    Ok(())
}

/// Options of a listening socket. Accepted connections inherit most of them,
/// which saves system calls for each.
fn inet_options(
    fd: &OwnedFd,
    proxy: &Proxy,
    bind: &Bind,
    address: SocketAddr,
) -> Result<(), Errno> {
    sockopt::set_socket_reuseaddr(fd, true)?;
    // An older process of ours, or HAProxy, may still accept on the address.
    let _ = sockopt::set_socket_reuseport(fd, true);
    sockopt::set_tcp_nodelay(fd, true)?;
    // An address that this host does not have (yet) is bound all the same.
    if address.is_ipv4() {
        let _ = sockopt::set_ip_freebind(fd, true);
    } else {
        let _ = sockopt::set_ipv6_freebind(fd, true);
        sockopt::set_ipv6_v6only(fd, bind.v6only.unwrap_or(false))?;
    }
    if proxy.has(ProxyOption::ClientTcpKeepAlive) {
        sockopt::set_socket_keepalive(fd, true)?;
    }
    if let Some(ms) = bind.tcp_user_timeout_ms {
        sockopt::set_tcp_user_timeout(fd, ms)?;
    }
    if let Some(interface) = &bind.interface {
        set_option(
            fd,
            libc::SOL_SOCKET,
            libc::SO_BINDTODEVICE,
            interface.as_bytes(),
        )?;
    }
    if let Some(mss) = bind.mss {
        let mss = if mss > 0 {
            mss
        } else {
            segment_size(fd)? + mss
        };
        set_int_option(fd, libc::IPPROTO_TCP, libc::TCP_MAXSEG, mss)?;
    }
    if bind.defer_accept {
        set_int_option(fd, libc::IPPROTO_TCP, libc::TCP_DEFER_ACCEPT, 1)?;
    }
    if bind.tcp_fast_open {
        set_int_option(fd, libc::IPPROTO_TCP, libc::TCP_FASTOPEN, FAST_OPEN_QUEUE)?;
    }
    if bind.transparent {
        let (level, name) = match address {
            SocketAddr::V4(_) => (libc::IPPROTO_IP, libc::IP_TRANSPARENT),
            SocketAddr::V6(_) => (libc::IPPROTO_IPV6, libc::IPV6_TRANSPARENT),
        };
        set_int_option(fd, level, name, 1)?;
    }
    Ok(())
}

/// The segment size that the system would take by itself.
fn segment_size(fd: &OwnedFd) -> Result<i32, Errno> {
    let mut size: libc::c_int = 0;
    let mut length = size_of::<libc::c_int>() as libc::socklen_t;
    // SAFETY: both pointers are live, and the length is that of the integer.
    let result = unsafe {
        libc::getsockopt(
            fd.as_raw_fd(),
            libc::IPPROTO_TCP,
            libc::TCP_MAXSEG,
            (&raw mut size).cast(),
            &raw mut length,
        )
    };
    if result == 0 {
        Ok(size)
    } else {
        Err(Errno::from_raw_os_error(nix::errno::Errno::last_raw()))
    }
}

/// Handshakes with data that may wait on one listener.
const FAST_OPEN_QUEUE: i32 = 256;

fn set_int_option(fd: &OwnedFd, level: i32, name: i32, value: i32) -> Result<(), Errno> {
    set_option(fd, level, name, &value.to_ne_bytes())
}

/// Socket options that rustix has no function for.
fn set_option(fd: &OwnedFd, level: i32, name: i32, value: &[u8]) -> Result<(), Errno> {
    // SAFETY: the pointer and the length are those of a live slice, which the
    // kernel only reads.
    let result = unsafe {
        libc::setsockopt(
            fd.as_raw_fd(),
            level,
            name,
            value.as_ptr().cast(),
            value.len() as libc::socklen_t,
        )
    };
    if result == 0 {
        Ok(())
    } else {
        Err(Errno::from_raw_os_error(nix::errno::Errno::last_raw()))
    }
}

/// A Unix socket is made beside its name and renamed onto it, so that there is
/// no moment at which a client finds none, or one with the wrong owner.
fn open_unix_path(path: &Path, owner: BindOwner, backlog: i32) -> Step<OwnedFd> {
    let mut beside = path.as_os_str().to_owned();
    beside.push(format!(".{}.tmp", std::process::id()));
    let beside = Path::new(&beside);
    let address = SocketAddrUnix::new(beside).map_err(at(OpenStep::Bind))?;
    let fd = create(AddressFamily::UNIX)?;
    let _ = rustix::fs::unlink(beside);
    rustix::net::bind(&fd, &address).map_err(at(OpenStep::Bind))?;
    let made = (|| {
        if owner.uid.is_some() || owner.gid.is_some() {
            let (uid, gid) = (owner.uid.map(Uid::from_raw), owner.gid.map(Gid::from_raw));
            rustix::fs::chown(beside, uid, gid).map_err(at(OpenStep::Own))?;
        }
        if let Some(mode) = owner.mode {
            rustix::fs::chmod(beside, Mode::from_raw_mode(mode)).map_err(at(OpenStep::Own))?;
        }
        rustix::net::listen(&fd, backlog).map_err(at(OpenStep::Listen))?;
        rustix::fs::rename(beside, path).map_err(at(OpenStep::Bind))
    })();
    if made.is_err() {
        let _ = rustix::fs::unlink(beside);
    }
    made.map(|()| fd)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::keyword::testing::load_text;

    fn opened(global: &str, options: &str) -> OwnedFd {
        let text = format!("global\n{global}\nfrontend f\nbind 127.0.0.1:1 {options}\n");
        let mut config = load_text(&text)
            .config
            .unwrap_or_else(|| panic!("{text}: refused"));
        config.proxies[0].binds[0].address = BindAddress::Inet(([127, 0, 0, 1], 0).into());
        let (mut listening, errors) = open(&config);
        assert!(errors.is_empty(), "{errors:?}");
        Arc::into_inner(listening.remove(0).fd).unwrap()
    }

    #[test]
    fn buffer_sizes_of_clients_are_those_of_the_listening_socket() {
        let fd = opened("tune.rcvbuf.client 30000\ntune.sndbuf.client 40000", "");
        // The system reserves as much again for its own books.
        assert_eq!(sockopt::socket_recv_buffer_size(&fd).unwrap(), 60_000);
        assert_eq!(sockopt::socket_send_buffer_size(&fd).unwrap(), 80_000);
    }

    #[test]
    fn a_segment_size_below_zero_counts_from_the_systems() {
        let usual = segment_size(&opened("", "")).unwrap();
        assert_eq!(segment_size(&opened("", "mss 400")).unwrap(), 400);
        assert_eq!(segment_size(&opened("", "mss -36")).unwrap(), usual - 36);
    }
}
