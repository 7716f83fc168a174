//! One `bind` address of a frontend, with its options.

use language::Span;
use std::net::SocketAddr;
use std::os::fd::RawFd;
use std::path::PathBuf;
use std::sync::Arc;
use tls::BindTls;
use tls::acceptor::Acceptor;

/// Where a listener listens.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub enum BindAddress {
    /// An IPv4 or IPv6 address and port.
    Inet(SocketAddr),
    /// A Unix socket in the file system.
    Unix(PathBuf),
    /// A Unix socket in the abstract name space.
    Abstract(Vec<u8>),
    /// A listening descriptor inherited from the parent process.
    Fd(RawFd),
    /// A host name and port, where names were not to be looked up: such a
    /// configuration was only checked and cannot serve.
    Name(Box<str>, u16),
}

impl BindAddress {
    /// An abstract socket by the name that HAProxy binds for `abns@`: filled up
    /// with zeros.
    pub fn abstract_filled(name: &str) -> BindAddress {
        const NAME_BYTES: usize = 107;
        let mut bytes = name.as_bytes().to_vec();
        bytes.resize(NAME_BYTES.max(bytes.len()), 0);
        BindAddress::Abstract(bytes)
    }

    /// The number of an inherited descriptor.
    pub fn inherited_number(&self) -> Option<RawFd> {
        match self {
            BindAddress::Fd(number) => Some(*number),
            _ => None,
        }
    }
}

/// Who owns a Unix socket's file (`user`, `group`, `uid`, `gid`, `mode`).
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct BindOwner {
    /// User id.
    pub uid: Option<u32>,
    /// Group id.
    pub gid: Option<u32>,
    /// Permission bits.
    pub mode: Option<u32>,
}

/// A version of HTTP that `proto` asks for on a `bind` or `server` line.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum HttpProtocol {
    /// `h1`
    Http1,
    /// `h2`
    Http2,
    /// `fcgi`, of servers.
    FastCgi,
}

/// Headers with the addresses of a client in front of its connection, in this order.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Preface {
    /// `accept-proxy`, `expect-proxy`: of the PROXY protocol.
    pub proxy: bool,
    /// `accept-netscaler-cip`, `expect-netscaler-cip`: NetScaler Client IP with this magic number.
    pub netscaler_magic: Option<u32>,
}

/// One listener: a `bind` line makes one for each address and port that it names.
#[derive(Clone, Debug)]
pub struct Bind {
    /// Where it stands in the file.
    pub span: Span,
    /// `id`; assigned from 1 upwards in a proxy where the file gives none.
    pub id: u32,
    /// `name`; empty where the file gives none.
    pub name: Box<str>,
    /// The address.
    pub address: BindAddress,
    /// `proto`: the version of HTTP that is spoken whatever is negotiated or seen.
    pub protocol: Option<HttpProtocol>,
    /// `proto none`: a connection in `mode tcp` never becomes one of HTTP.
    pub stays_raw: bool,
    /// Headers that are required before anything else.
    pub preface: Preface,
    /// `backlog`.
    pub backlog: Option<u32>,
    /// `maxconn` of this listener.
    pub maxconn: Option<u32>,
    /// `defer-accept`.
    pub defer_accept: bool,
    /// `interface`.
    pub interface: Option<Box<str>>,
    /// `mss`; negative counts from the interface's.
    pub mss: Option<i32>,
    /// `tcp-ut`, milliseconds.
    pub tcp_user_timeout_ms: Option<u32>,
    /// `tfo`.
    pub tcp_fast_open: bool,
    /// `transparent`.
    pub transparent: bool,
    /// `v4v6` or `v6only`: whether an IPv6 listener takes IPv4 too; None leaves it to the system.
    pub v6only: Option<bool>,
    /// `user`, `group`, `uid`, `gid`, `mode`.
    pub owner: BindOwner,
    /// What is said of TLS, shared by the listeners of a line.
    pub tls_words: Option<Arc<BindTls>>,
    /// With `ssl`: who is shown which certificate. The end of loading makes it
    /// of the words.
    pub tls: Option<Arc<Acceptor>>,
    /// It takes datagrams (`dgram-bind`), not connections.
    pub datagrams: bool,
}

impl Bind {
    /// A listener at an address, without any option.
    pub fn new(span: Span, address: BindAddress) -> Bind {
        Bind {
            span,
            id: 0,
            name: "".into(),
            address,
            protocol: None,
            stays_raw: false,
            preface: Preface::default(),
            backlog: None,
            maxconn: None,
            defer_accept: false,
            interface: None,
            mss: None,
            tcp_user_timeout_ms: None,
            tcp_fast_open: false,
            transparent: false,
            v6only: None,
            owner: BindOwner::default(),
            tls_words: None,
            tls: None,
            datagrams: false,
        }
    }
}
