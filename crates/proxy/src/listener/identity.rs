//! Identifies a listening socket by what the kernel reports about it: the address, and the
//! options that distinguish two listeners on one address. The identity does not depend on the
//! process that opened the socket, so sockets inherited from HAProxy are recognized like those of
//! Evenkeel.

use super::options::{get_option, int_option, transparent};
use model::config::{Bind, BindAddress};
use nix::libc;
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketAddrAny, SocketAddrUnix, SocketType, sockopt};
use std::ffi::OsStr;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::OwnedFd;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

/// Cookie of a socket's network namespace, since Linux 5.14.
const SO_NETNS_COOKIE: i32 = 71;
/// Buffer size for an interface's name with its terminator, bytes.
const INTERFACE_BYTES: usize = 16;

#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(super) enum ListenAddress {
    Inet(SocketAddr),
    /// Path at which clients find the socket.
    Unix(PathBuf),
    Abstract(Vec<u8>),
}

#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(super) struct SocketIdentity {
    pub place: ListenAddress,
    datagrams: bool,
    interface: Option<Box<[u8]>>,
    v6only: bool,
    transparent: bool,
}

/// Reason why a descriptor cannot be used as a listener.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Unrecognized {
    #[error("it is not a socket ({0})")]
    NoSocket(#[from] Errno),
    #[error("it is a socket of another type")]
    OtherKind,
    #[error("it does not listen")]
    NotListening,
    #[error("it has no address")]
    Unnamed,
    #[error("it belongs to another network namespace")]
    OtherNamespace,
}

impl SocketIdentity {
    pub fn of(fd: &OwnedFd) -> Result<SocketIdentity, Unrecognized> {
        let datagrams = match sockopt::socket_type(fd)? {
            SocketType::STREAM => false,
            SocketType::DGRAM => true,
            _ => return Err(Unrecognized::OtherKind),
        };
        // A datagram socket can receive once it is bound; a stream socket must listen.
        let listens = datagrams || sockopt::socket_acceptconn(fd)?;
        match sockopt::socket_domain(fd)? {
            AddressFamily::UNIX if listens => SocketIdentity::of_unix(fd, datagrams),
            // A frontend that was disabled in HAProxy has a socket that does not listen but keeps
            // its address.
            AddressFamily::INET | AddressFamily::INET6 if listens || is_paused(fd) => {
                SocketIdentity::of_inet(fd, datagrams)
            }
            AddressFamily::UNIX | AddressFamily::INET | AddressFamily::INET6 => {
                Err(Unrecognized::NotListening)
            }
            _ => Err(Unrecognized::OtherKind),
        }
    }

    fn of_unix(fd: &OwnedFd, datagrams: bool) -> Result<SocketIdentity, Unrecognized> {
        let address = SocketAddrUnix::try_from(rustix::net::getsockname(fd)?)
            .map_err(|_| Unrecognized::OtherKind)?;
        let place = if let Some(name) = address.abstract_name() {
            ListenAddress::Abstract(name.to_vec())
        } else {
            let path = address.path().ok_or(Unrecognized::Unnamed)?;
            ListenAddress::Unix(name_of_clients(Path::new(OsStr::from_bytes(
                path.to_bytes(),
            ))))
        };
        Ok(SocketIdentity::plain(place, datagrams))
    }

    fn of_inet(fd: &OwnedFd, datagrams: bool) -> Result<SocketIdentity, Unrecognized> {
        let protocol = int_option(fd, libc::SOL_SOCKET, libc::SO_PROTOCOL)?;
        let wanted = if datagrams {
            libc::IPPROTO_UDP
        } else {
            libc::IPPROTO_TCP
        };
        if protocol != wanted {
            return Err(Unrecognized::OtherKind);
        }
        if !same_namespace(fd) {
            return Err(Unrecognized::OtherNamespace);
        }
        let address = inet_address(rustix::net::getsockname(fd)?)?;
        let (level, name) = transparent(address.is_ipv4());
        Ok(SocketIdentity {
            place: ListenAddress::Inet(address),
            datagrams,
            interface: interface(fd)?,
            v6only: both_families(address.ip()) && sockopt::ipv6_v6only(fd)?,
            transparent: int_option(fd, level, name)? != 0,
        })
    }

    /// Returns the identity of the socket that a `bind` line needs; None if only the kernel knows
    /// it (`fd@`, any port).
    pub fn wanted(bind: &Bind, prefix: Option<&Path>) -> Option<SocketIdentity> {
        match &bind.address {
            BindAddress::Inet(address) if address.port() == 0 => None,
            BindAddress::Inet(address) => Some(SocketIdentity {
                place: ListenAddress::Inet(*address),
                datagrams: bind.datagrams,
                interface: bind.interface.as_ref().map(|name| name.as_bytes().into()),
                v6only: both_families(address.ip()) && bind.v6only.unwrap_or(false),
                transparent: bind.transparent,
            }),
            BindAddress::Unix(path) => {
                let place = ListenAddress::Unix(prefixed(prefix, path));
                Some(SocketIdentity::plain(place, bind.datagrams))
            }
            BindAddress::Abstract(name) => {
                let place = ListenAddress::Abstract(name.clone());
                Some(SocketIdentity::plain(place, bind.datagrams))
            }
            BindAddress::Fd(_) | BindAddress::Name(..) => None,
        }
    }

    fn plain(place: ListenAddress, datagrams: bool) -> SocketIdentity {
        SocketIdentity {
            place,
            datagrams,
            interface: None,
            v6only: false,
            transparent: false,
        }
    }
}

/// Returns the path of a Unix listener. `unix-bind prefix` is text before the path, not a
/// directory.
pub(super) fn prefixed(prefix: Option<&Path>, path: &Path) -> PathBuf {
    let mut whole = prefix.map_or_else(Default::default, |p| p.as_os_str().to_owned());
    whole.push(path.as_os_str());
    whole.into()
}

/// Returns the inode of a socket, which identifies it under any descriptor number.
///
/// # Errors
/// Fails only if fstat(2) fails.
pub fn inode(fd: &OwnedFd) -> Result<u64, Errno> {
    rustix::fs::fstat(fd).map(|stat| stat.st_ino)
}

/// Returns whether a socket has a local address and no peer: a paused listener.
fn is_paused(fd: &OwnedFd) -> bool {
    let address = rustix::net::getsockname(fd).map(inet_address);
    matches!(address, Ok(Ok(address)) if address.port() != 0)
        && rustix::net::getpeername(fd).is_err_and(|errno| errno == Errno::NOTCONN)
}

/// Returns whether an IPv6 address may also accept IPv4.
fn both_families(ip: IpAddr) -> bool {
    ip.is_ipv6() && ip.is_unspecified()
}

fn inet_address(address: SocketAddrAny) -> Result<SocketAddr, Unrecognized> {
    SocketAddr::try_from(address).map_err(|_| Unrecognized::OtherKind)
}

pub(crate) fn interface(fd: &OwnedFd) -> Result<Option<Box<[u8]>>, Errno> {
    let mut name = [0; INTERFACE_BYTES];
    let length = get_option(fd, libc::SOL_SOCKET, libc::SO_BINDTODEVICE, &mut name)?;
    let name = &name[..length];
    let end = memchr::memchr(0, name).unwrap_or(name.len());
    Ok((end > 0).then(|| name[..end].into()))
}

/// Returns whether a socket is in the network namespace of this process. If the kernel cannot
/// report that, returns true.
fn same_namespace(fd: &OwnedFd) -> bool {
    let cookie = |fd: &OwnedFd| {
        let mut bytes = [0; size_of::<u64>()];
        get_option(fd, libc::SOL_SOCKET, SO_NETNS_COOKIE, &mut bytes).map(|_| bytes)
    };
    let Ok(theirs) = cookie(fd) else { return true };
    let ours = super::options::create(AddressFamily::INET).and_then(|own| cookie(&own));
    ours.is_ok_and(|ours| ours == theirs)
}

/// Returns the path that clients use. A Unix socket is first bound as `name.NUMBER.tmp` and
/// then renamed; the kernel continues to report the first name.
fn name_of_clients(bound: &Path) -> PathBuf {
    let name = bound.as_os_str().as_bytes();
    let stripped = name.strip_suffix(b".tmp").and_then(|rest| {
        let digits = rest.iter().rev().take_while(|b| b.is_ascii_digit()).count();
        let before = rest[..rest.len() - digits].strip_suffix(b".")?;
        (digits > 0 && !before.is_empty()).then_some(before)
    });
    PathBuf::from(std::ffi::OsString::from_vec(
        stripped.unwrap_or(name).to_vec(),
    ))
}
