//! Defines the addresses, routes and rules that the role installs in the kernel, and the delays
//! after which a change of an interface counts.

use serde::{Deserialize, Serialize};
use std::net::IpAddr;
use std::time::Duration;

/// The scope of an address or route, by the kernel's number (0 global, 200 site,
/// 253 link, 254 host, 255 nowhere).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Scope(pub u8);

/// Preferred lifetime of an address (`preferred_lft`).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Lifetime {
    Forever,
    Seconds(u32),
}

/// A line of `virtual_ipaddress` or `virtual_ipaddress_excluded`.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Address {
    pub address: IpAddr,
    /// Prefix length; default: 32 or 128.
    pub prefix: u8,
    /// `dev`; None: the instance's interface (or its virtual one).
    pub interface: Option<String>,
    /// `brd`: an address, or `+`/`-` resolved to one; None: no broadcast address.
    pub broadcast: Option<IpAddr>,
    pub peer: Option<IpAddr>,
    pub scope: Option<Scope>,
    pub label: Option<String>,
    pub no_dad: bool,
    pub home: bool,
    /// Keyword `mngtmpaddr` of `ip address`.
    pub manage_temporary: bool,
    pub no_prefix_route: bool,
    pub auto_join: bool,
    pub preferred: Option<Lifetime>,
    /// True if the loss of the address causes no fault (`no_track`).
    pub no_track: bool,
    pub track_group: Option<String>,
    /// True if the address is on a virtual interface on top of its interface (`use_vmac` of the
    /// address, or `use_vmac_addr`).
    pub vmac: bool,
}

impl Address {
    pub fn new(address: IpAddr, prefix: u8) -> Address {
        Address {
            address,
            prefix,
            interface: None,
            broadcast: None,
            peer: None,
            scope: None,
            label: None,
            no_dad: false,
            home: false,
            manage_temporary: false,
            no_prefix_route: false,
            auto_join: false,
            preferred: None,
            no_track: false,
            track_group: None,
            vmac: false,
        }
    }
}

/// The type of a route.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub enum RouteKind {
    #[default]
    Unicast,
    Local,
    Broadcast,
    Multicast,
    Anycast,
    Throw,
    Unreachable,
    Prohibit,
    Blackhole,
    Nat,
}

/// A next hop of a route.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct NextHop {
    pub via: Option<IpAddr>,
    pub interface: Option<String>,
    /// Weight as configured, 1 to 256. Netlink carries the weight minus one.
    pub weight: u16,
    pub on_link: bool,
    pub realms: Option<u32>,
}

/// A line of `virtual_routes`, `static_routes`, with the names of iproute2.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Route {
    /// True if the address family is IPv6: by the keyword `inet6`, or derived from the addresses.
    pub ipv6: bool,
    pub kind: RouteKind,
    /// Destination network; None: the default route.
    pub destination: Option<(IpAddr, u8)>,
    /// `from`: the source network to which the route is limited (IPv6).
    pub from: Option<(IpAddr, u8)>,
    /// Preferred source address (keyword `src`).
    pub source: Option<IpAddr>,
    pub hops: Vec<NextHop>,
    pub scope: Option<Scope>,
    pub table: Option<u32>,
    pub protocol: Option<u8>,
    pub metric: Option<u32>,
    pub tos: Option<u8>,
    /// `mtu`, `window`, `rtt` and other metrics: the kernel's RTAX number, the value,
    /// and whether it is locked.
    pub metrics: Vec<(u16, u32, bool)>,
    /// Congestion control algorithm (keyword `congctl`).
    pub congestion: Option<String>,
    /// `pref`: low 3, medium 0, high 1.
    pub preference: Option<u8>,
    pub append: bool,
    pub no_track: bool,
    pub track_group: Option<String>,
    pub text: String,
}

/// Action of a policy routing rule, as in `ip rule`.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub enum RuleAction {
    Table(u32),
    Goto(u32),
    #[default]
    Nop,
    Blackhole,
    Unreachable,
    Prohibit,
    L3mdev,
}

/// A line of `virtual_rules`, `static_rules`.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Rule {
    pub ipv6: bool,
    pub invert: bool,
    pub from: Option<(IpAddr, u8)>,
    pub to: Option<(IpAddr, u8)>,
    /// Name of the input interface (keyword `iif`).
    pub input: Option<String>,
    /// Name of the output interface (keyword `oif`).
    pub output: Option<String>,
    pub tos: Option<u8>,
    /// Firewall mark with its mask (keyword `fwmark`).
    pub mark: Option<(u32, u32)>,
    pub preference: Option<u32>,
    pub realms: Option<u32>,
    pub suppress_prefix: Option<u32>,
    pub suppress_group: Option<u32>,
    pub uids: Option<(u32, u32)>,
    pub protocol: Option<u8>,
    pub source_ports: Option<(u16, u16)>,
    pub destination_ports: Option<(u16, u16)>,
    /// Identifier of a tunnel (keyword `tun_id`).
    pub tunnel: Option<u64>,
    /// `protocol`: the originator of the rule.
    pub made_by: Option<u8>,
    pub action: RuleAction,
    pub no_track: bool,
    pub track_group: Option<String>,
    pub text: String,
}

/// Delays before a change of an interface counts (`interface_up_down_delays`).
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct InterfaceDelay {
    pub interface: String,
    pub down: Duration,
    pub up: Duration,
}
