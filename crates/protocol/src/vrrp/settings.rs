//! Defines what is configured for a virtual router (VRRP version, priority, timing and transport of
//! adverts, announcements) and for a sync group. Nothing here checks the values.

use std::net::IpAddr;
use std::time::Duration;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum VrrpVersion {
    /// RFC 3768; intervals are whole seconds on the wire.
    V2,
    /// RFC 9568; intervals are hundredths of a second.
    V3,
}

/// Authentication of adverts (version 2 only).
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Authentication {
    /// Clear-text password, padded with zeroes.
    Pass([u8; 8]),
    /// The IP authentication header with HMAC-MD5-96 (RFC 2402, 2403).
    Ah([u8; 16]),
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Peer {
    pub address: IpAddr,
    /// Range of accepted TTLs; None: not checked.
    pub ttl: Option<(u8, u8)>,
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub enum AdvertTransport {
    /// To a multicast group, with TTL 255 both ways.
    Multicast(IpAddr),
    Unicast {
        peers: Vec<Peer>,
        /// Adverts from other sources than the configured peers are dropped.
        check_source: bool,
    },
}

/// Probing of the owner of an address before a takeover.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Probing {
    pub wait: Duration,
    /// Maximum time without adverts before this router becomes master, even if the owner's kernel
    /// still responds to probes.
    pub bound: Duration,
}

/// Announcements to neighbours (gratuitous ARP, neighbour advertisements), in blocks. A block has
/// `repeat` announcements of each address; if another router claims the addresses,
/// `lower_prio_repeat`; in a periodic repetition, `refresh_repeat`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Garp {
    /// Delay of the second block after the router became master; zero: none.
    pub delay: Duration,
    pub repeat: u32,
    /// Delay of the second block after an advert of another router; zero: none.
    pub lower_prio_delay: Duration,
    pub lower_prio_repeat: u32,
    /// Interval of periodic blocks; zero: none.
    pub refresh: Duration,
    pub refresh_repeat: u32,
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Settings {
    pub name: String,
    /// Virtual router id, 1 to 255.
    pub vrid: u8,
    /// Protocol version to send; adverts of other versions are dropped.
    pub version: VrrpVersion,
    /// Adverts use IPv6 (version 3).
    pub ipv6: bool,
    /// Configured priority, 1 to 255; 255 owns the addresses.
    pub priority: u8,
    pub interval: Duration,
    /// Number of consecutive missing adverts after which the owner counts as failed; 3 in the RFC.
    pub down_adverts: u8,
    /// Addresses in adverts, in order.
    pub addresses: Vec<IpAddr>,
    /// Source address of adverts, which decides between equal priorities; None until it is known.
    pub source: Option<IpAddr>,
    pub transport: AdvertTransport,
    pub authentication: Option<Authentication>,
    /// `state MASTER`: with priority 255 the router starts as master at once.
    pub starts_as_master: bool,
    /// A router with a better priority takes the addresses from an owner with a worse one.
    pub preempt: bool,
    /// Delay of a preemption after the first advert with a lower priority.
    pub preempt_delay: Duration,
    /// Time that is added to the first wait for adverts after the start.
    pub startup_delay: Duration,
    /// An advert with a lower priority is not answered with an advert of this router.
    pub lower_prio_no_advert: bool,
    /// A last advert answers an advert with a higher priority, before the addresses are released.
    /// Otherwise it is sent only if another router may have been master all the time.
    pub higher_prio_send_advert: bool,
    /// The addresses in adverts are compared only when the owner changes.
    pub skip_check_addresses: bool,
    /// `old_unicast_checksum`: the version 3 checksum of keepalived up to 1.3.6. True sends it,
    /// true and None accept it from others, false never accepts it.
    pub old_unicast_checksum: Option<bool>,
    /// Strict conformance: for example, an advert with different addresses is dropped.
    pub strict: bool,
    pub garp: Garp,
    /// Probing of a silent owner; None: no probes.
    pub probing: Option<Probing>,
    /// Priorities reserved for this router's position in `prefer`. Another router that announces
    /// one of them has a different list. Empty: unknown.
    pub place: Vec<u8>,
}

/// A sync group, whose members move together.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct GroupSettings {
    pub name: String,
    /// Indices of the members in the list of settings.
    pub members: Vec<usize>,
}
