//! Prefixes of addresses: `ipv4@`, `udp6@`, `stream+ip@`, `unix@`…

/// The socket type that a prefix selects.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Transport {
    /// The default of the keyword: a stream for `bind` and `server`, datagrams for `log`.
    Default,
    /// `tcp@`, `stream+`, `uxst@`
    Stream,
    /// `udp@`, `dgram+`, `uxdg@`
    Datagram,
    /// `quic4@`, `quic6@`
    Quic,
    /// `mptcp@`, `mptcp4@`, `mptcp6@`
    Multipath,
}

/// The address family that a prefix selects.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Family {
    /// Either family.
    Any,
    /// IPv4.
    V4,
    /// IPv6.
    V6,
}

/// The kind of text that follows a prefix.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Kind {
    Ip(Family),
    Path,
    Abstract { zero_terminated: bool },
    Descriptor,
    Pair,
    Ring,
}

/// Every prefix without `stream+` or `dgram+`.
pub(super) static PREFIXES: &[(&str, Transport, Kind)] = &[
    (
        "abns@",
        Transport::Default,
        Kind::Abstract {
            zero_terminated: false,
        },
    ),
    (
        "abnsz@",
        Transport::Default,
        Kind::Abstract {
            zero_terminated: true,
        },
    ),
    ("fd@", Transport::Default, Kind::Descriptor),
    ("ip@", Transport::Default, Kind::Ip(Family::Any)),
    ("ipv4@", Transport::Default, Kind::Ip(Family::V4)),
    ("ipv6@", Transport::Default, Kind::Ip(Family::V6)),
    ("mptcp4@", Transport::Multipath, Kind::Ip(Family::V4)),
    ("mptcp6@", Transport::Multipath, Kind::Ip(Family::V6)),
    ("mptcp@", Transport::Multipath, Kind::Ip(Family::Any)),
    ("quic4@", Transport::Quic, Kind::Ip(Family::V4)),
    ("quic6@", Transport::Quic, Kind::Ip(Family::V6)),
    ("ring@", Transport::Default, Kind::Ring),
    ("sockpair@", Transport::Default, Kind::Pair),
    ("tcp4@", Transport::Stream, Kind::Ip(Family::V4)),
    ("tcp6@", Transport::Stream, Kind::Ip(Family::V6)),
    ("tcp@", Transport::Stream, Kind::Ip(Family::Any)),
    ("udp4@", Transport::Datagram, Kind::Ip(Family::V4)),
    ("udp6@", Transport::Datagram, Kind::Ip(Family::V6)),
    ("udp@", Transport::Datagram, Kind::Ip(Family::Any)),
    ("unix@", Transport::Default, Kind::Path),
    ("uxdg@", Transport::Datagram, Kind::Path),
    ("uxst@", Transport::Stream, Kind::Path),
];

/// Returns the transport and kind that the prefix selects, and the text after it.
pub(super) fn split(text: &str) -> Option<(Transport, Kind, &str)> {
    let (forced, rest) = if let Some(rest) = text.strip_prefix("stream+") {
        (Some(Transport::Stream), rest)
    } else if let Some(rest) = text.strip_prefix("dgram+") {
        (Some(Transport::Datagram), rest)
    } else {
        (None, text)
    };
    PREFIXES.iter().find_map(|(prefix, transport, kind)| {
        let follows = rest.strip_prefix(prefix)?;
        Some((forced.unwrap_or(*transport), *kind, follows))
    })
}
