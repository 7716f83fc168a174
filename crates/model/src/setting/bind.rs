//! Holds the settings of a `bind` line: its address and options.

use language::Span;
use std::net::SocketAddr;
use std::os::fd::RawFd;
use std::path::PathBuf;
use std::sync::Arc;
use tls::BindTls;
use tls::acceptor::Acceptor;

#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub enum BindAddress {
    Inet(SocketAddr),
    Unix(PathBuf),
    Abstract(Vec<u8>),
    /// A listening descriptor inherited from the parent process.
    Fd(RawFd),
    /// A host name and port without resolution: the configuration was only checked and cannot
    /// serve.
    Name(Box<str>, u16),
}

impl BindAddress {
    /// Creates an abstract socket with the name that HAProxy binds for `abns@`: padded with zeros.
    pub fn abstract_filled(name: &str) -> BindAddress {
        const NAME_BYTES: usize = 107;
        let mut bytes = name.as_bytes().to_vec();
        bytes.resize(NAME_BYTES.max(bytes.len()), 0);
        BindAddress::Abstract(bytes)
    }

    pub fn inherited_number(&self) -> Option<RawFd> {
        match self {
            BindAddress::Fd(number) => Some(*number),
            _ => None,
        }
    }
}

/// Owner and permissions of a Unix socket's file (`user`, `group`, `uid`, `gid`, `mode`).
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct BindOwner {
    pub uid: Option<u32>,
    pub gid: Option<u32>,
    pub mode: Option<u32>,
}

/// HTTP version that `proto` selects on a `bind` or `server` line.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum HttpProtocol {
    Http1,
    Http2,
    /// `fcgi`, only for servers.
    FastCgi,
}

/// Headers with client addresses at the start of a connection, in this order.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Preface {
    /// `accept-proxy`, `expect-proxy`: a PROXY protocol header.
    pub proxy: bool,
    /// `accept-netscaler-cip`, `expect-netscaler-cip`: a NetScaler Client IP header with this magic
    /// number.
    pub netscaler_magic: Option<u32>,
}

/// A listener. A `bind` line creates one for each of its addresses and ports.
#[derive(Clone, Debug)]
pub struct Bind {
    pub span: Span,
    /// `id`; assigned from 1 upwards per proxy if the file has none.
    pub id: u32,
    /// `name`; empty if the file has none.
    pub name: Box<str>,
    pub address: BindAddress,
    /// `proto`: HTTP version regardless of negotiation and detection.
    pub protocol: Option<HttpProtocol>,
    /// `proto none`: a connection in `mode tcp` is never switched to HTTP.
    pub stays_raw: bool,
    pub preface: Preface,
    pub backlog: Option<u32>,
    pub maxconn: Option<u32>,
    pub defer_accept: bool,
    pub interface: Option<Box<str>>,
    /// `mss`; negative values are relative to the interface's.
    pub mss: Option<i32>,
    pub tcp_user_timeout_ms: Option<u32>,
    pub tcp_fast_open: bool,
    pub transparent: bool,
    /// True: an IPv6 listener accepts IPv6 only (`v6only`). False: it also accepts IPv4 (`v4v6`).
    /// None leaves it to the system.
    pub v6only: Option<bool>,
    /// `user`, `group`, `uid`, `gid`, `mode`.
    pub owner: BindOwner,
    /// TLS options, shared by the listeners of a line.
    pub tls_words: Option<Arc<BindTls>>,
    /// With `ssl`: TLS acceptor with the certificates. Built from the options at the end of
    /// loading.
    pub tls: Option<Arc<Acceptor>>,
    /// The socket receives datagrams (`dgram-bind`), not connections.
    pub datagrams: bool,
    /// Number that stands for the conditions under which the listener admits clients; see
    /// [`crate::admission`].
    pub admission: u64,
}

impl Bind {
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
            admission: 0,
        }
    }
}
