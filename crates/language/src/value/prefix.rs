//! Parses the prefixes of addresses: `ipv4@`, `udp6@`, `stream+ip@`, `unix@`…

/// The socket type that a prefix selects.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum SocketTransport {
    /// No type in the prefix: the keyword decides, a stream for `bind` and `server`, datagrams for
    /// `log`.
    Default,
    /// Stream socket: `tcp@`, `stream+`, `uxst@`.
    Stream,
    /// Datagram socket: `udp@`, `dgram+`, `uxdg@`.
    Datagram,
    /// QUIC over UDP: `quic4@`, `quic6@`.
    Quic,
    /// Multipath TCP socket: `mptcp@`, `mptcp4@`, `mptcp6@`.
    Multipath,
}

/// The address family that a prefix selects.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Family {
    Any,
    V4,
    V6,
}

/// The kind of text that follows a prefix.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum PrefixKind {
    Ip(Family),
    Path,
    Abstract { zero_terminated: bool },
    Descriptor,
    Pair,
    Ring,
}

/// Every prefix without `stream+` or `dgram+`.
pub(super) static PREFIXES: &[(&str, SocketTransport, PrefixKind)] = &[
    (
        "abns@",
        SocketTransport::Default,
        PrefixKind::Abstract {
            zero_terminated: false,
        },
    ),
    (
        "abnsz@",
        SocketTransport::Default,
        PrefixKind::Abstract {
            zero_terminated: true,
        },
    ),
    ("fd@", SocketTransport::Default, PrefixKind::Descriptor),
    ("ip@", SocketTransport::Default, PrefixKind::Ip(Family::Any)),
    (
        "ipv4@",
        SocketTransport::Default,
        PrefixKind::Ip(Family::V4),
    ),
    (
        "ipv6@",
        SocketTransport::Default,
        PrefixKind::Ip(Family::V6),
    ),
    (
        "mptcp4@",
        SocketTransport::Multipath,
        PrefixKind::Ip(Family::V4),
    ),
    (
        "mptcp6@",
        SocketTransport::Multipath,
        PrefixKind::Ip(Family::V6),
    ),
    (
        "mptcp@",
        SocketTransport::Multipath,
        PrefixKind::Ip(Family::Any),
    ),
    ("quic4@", SocketTransport::Quic, PrefixKind::Ip(Family::V4)),
    ("quic6@", SocketTransport::Quic, PrefixKind::Ip(Family::V6)),
    ("ring@", SocketTransport::Default, PrefixKind::Ring),
    ("sockpair@", SocketTransport::Default, PrefixKind::Pair),
    ("tcp4@", SocketTransport::Stream, PrefixKind::Ip(Family::V4)),
    ("tcp6@", SocketTransport::Stream, PrefixKind::Ip(Family::V6)),
    ("tcp@", SocketTransport::Stream, PrefixKind::Ip(Family::Any)),
    (
        "udp4@",
        SocketTransport::Datagram,
        PrefixKind::Ip(Family::V4),
    ),
    (
        "udp6@",
        SocketTransport::Datagram,
        PrefixKind::Ip(Family::V6),
    ),
    (
        "udp@",
        SocketTransport::Datagram,
        PrefixKind::Ip(Family::Any),
    ),
    ("unix@", SocketTransport::Default, PrefixKind::Path),
    ("uxdg@", SocketTransport::Datagram, PrefixKind::Path),
    ("uxst@", SocketTransport::Stream, PrefixKind::Path),
];

/// Returns the transport and kind that the prefix selects, and the text after it.
pub(super) fn split(text: &str) -> Option<(SocketTransport, PrefixKind, &str)> {
    let (forced, rest) = if let Some(rest) = text.strip_prefix("stream+") {
        (Some(SocketTransport::Stream), rest)
    } else if let Some(rest) = text.strip_prefix("dgram+") {
        (Some(SocketTransport::Datagram), rest)
    } else {
        (None, text)
    };
    PREFIXES.iter().find_map(|(prefix, transport, kind)| {
        let follows = rest.strip_prefix(prefix)?;
        Some((forced.unwrap_or(*transport), *kind, follows))
    })
}
