//! Settings of a virtual router.

use std::net::IpAddr;
use std::time::Duration;

/// The version that is spoken.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Version {
    /// RFC 3768; intervals of whole seconds on the wire.
    V2,
    /// RFC 9568; intervals of hundredths.
    V3,
}

/// How adverts are authenticated (version 2 only).
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Authentication {
    /// A password in clear, padded with zeroes.
    Pass([u8; 8]),
    /// The IP authentication header with HMAC-MD5-96 (RFC 2402, 2403).
    Ah([u8; 16]),
}

/// A peer of unicast.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Peer {
    /// Its address.
    pub address: IpAddr,
    /// The TTLs that are taken; none checks nothing.
    pub ttl: Option<(u8, u8)>,
}

/// How adverts travel.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Transport {
    /// To a group, with TTL 255 both ways.
    Multicast(IpAddr),
    /// To each of these.
    Unicast {
        /// Peers.
        peers: Vec<Peer>,
        /// Adverts of others are dropped.
        check_source: bool,
    },
}

/// Probing of the owner of an address before a takeover.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Probing {
    /// How long an answer is waited for.
    pub wait: Duration,
    /// Maximum time without adverts before a takeover, although the owner's kernel still
    /// responds to probes.
    pub bound: Duration,
}

/// How neighbours are told. A block is `repeat` announcements of each address.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Garp {
    /// Until the second block; zero: none.
    pub delay: Duration,
    /// Announcements in a block.
    pub repeat: u32,
    /// As `delay`, after an advert of lower priority.
    pub lower_prio_delay: Duration,
    /// As `repeat`, after an advert of lower priority.
    pub lower_prio_repeat: u32,
    /// Every so often; zero: never.
    pub refresh: Duration,
    /// As `repeat`, at refreshes.
    pub refresh_repeat: u32,
}

/// A virtual router.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Settings {
    /// Its name, for words.
    pub name: String,
    /// Virtual router id, 1 to 255.
    pub vrid: u8,
    /// Protocol version that is sent; other versions are dropped.
    pub version: Version,
    /// Adverts are of IPv6 (version 3).
    pub ipv6: bool,
    /// Configured priority, 1 to 255; 255 owns the addresses.
    pub priority: u8,
    /// Between two adverts.
    pub interval: Duration,
    /// Adverts that have to be missing, 3 by the RFC.
    pub down_adverts: u8,
    /// The addresses that adverts name, in their order.
    pub addresses: Vec<IpAddr>,
    /// The source of our adverts: decides between equal priorities.
    pub source: Option<IpAddr>,
    /// How adverts travel.
    pub transport: Transport,
    /// How they are authenticated.
    pub authentication: Option<Authentication>,
    /// `state MASTER`: with priority 255 it starts as master at once.
    pub starts_as_master: bool,
    /// A better priority takes the addresses from a worse one.
    pub preempt: bool,
    /// How much later it does.
    pub preempt_delay: Duration,
    /// For this long after the start, missing adverts cause no takeover.
    pub startup_delay: Duration,
    /// Adverts with a lower priority are not answered by one of ours.
    pub lower_prio_no_advert: bool,
    /// Adverts with a higher priority are answered before the addresses are given away.
    pub higher_prio_send_advert: bool,
    /// The list of addresses is compared only when the owner changes.
    pub skip_check_addresses: bool,
    /// `old_unicast_checksum`: the checksum of version 3 as keepalived had it up to
    /// 1.3.6; true sends it, none takes it from others, false never takes it.
    pub old_unicast_checksum: Option<bool>,
    /// Strict conformance: an advert whose addresses differ is dropped, and so on.
    pub strict: bool,
    /// How neighbours are told.
    pub garp: Garp,
    /// Whether silence is asked about.
    pub probing: Option<Probing>,
    /// Priorities that only this router announces, as its position in `prefer` gives them;
    /// another router with one of them has a different list. Empty: not known.
    pub place: Vec<u8>,
}

/// A sync group: its members move together.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct GroupSettings {
    /// Its name, for words.
    pub name: String,
    /// Places of its members in the list of settings.
    pub members: Vec<usize>,
}
