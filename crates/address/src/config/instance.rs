//! Defines the configuration of one virtual router (`vrrp_instance` or `virtual-ip`): its adverts,
//! addresses, announcements, scripts and probing. Plain data, which the role applies.

use super::{Account, Address, Options, Route, Rule, Tracked};
use serde::{Deserialize, Serialize};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;

#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub enum Start {
    #[default]
    Backup,
    Master,
}

#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum InstanceTransport {
    /// To a multicast group: 224.0.0.18, ff02::12, or `mcast_dst_ip`.
    Multicast { group: IpAddr },
    Unicast {
        peers: Vec<Peer>,
        ttl: Option<u8>,
        check_source: bool,
    },
}

/// Unicast peer, and the range of TTLs accepted from it.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Peer {
    pub address: IpAddr,
    pub min_ttl: Option<u8>,
    pub max_ttl: Option<u8>,
}

/// Authentication of adverts, which only VRRP version 2 has.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Authentication {
    /// `auth_type PASS`: the password, padded with zeroes.
    Pass([u8; 8]),
    /// `auth_type AH`: the key of HMAC-MD5-96, padded with zeroes.
    Ah([u8; 16]),
}

/// Virtual interface of an instance (`use_vmac`, `use_ipvlan`).
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Vmac {
    /// Name of the interface; `Config::name_vmacs` assigns one if it is None.
    pub name: Option<String>,
    /// MAC other than 00:00:5e:00:01:VRID (00:00:5e:00:02:VRID for IPv6).
    pub mac: Option<[u8; 6]>,
    /// True if adverts are sent from the parent interface (`vmac_xmit_base`).
    pub transmit_on_base: bool,
    /// True if the virtual interface is an ipvlan instead of a macvlan (`use_ipvlan`).
    #[serde(default)]
    pub is_ipvlan: bool,
    pub ipvlan: Option<IpAddr>,
    /// Mode flag of the ipvlan: `bridge`, `private`, `vepa`.
    pub ipvlan_mode: Option<String>,
}

/// Timing of gratuitous ARPs and neighbour advertisements (`garp_*`): after the instance becomes
/// master, after adverts of lower priority, and periodically.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Garp {
    /// `garp_master_delay`: delay of the second block; zero sends none.
    pub delay: Duration,
    /// `garp_master_repeat`: number of announcements in a block.
    pub repeat: u32,
    pub lower_prio_delay: Duration,
    pub lower_prio_repeat: u32,
    /// `garp_master_refresh`: interval of repeated announcements; zero disables them.
    pub refresh: Duration,
    pub refresh_repeat: u32,
    /// `garp_extra_if`: interval, where zero disables it; true: on all interfaces, not only virtual
    /// ones.
    pub extra_interfaces: (Duration, bool),
}

impl Default for Garp {
    fn default() -> Self {
        Garp {
            delay: Duration::from_secs(5),
            repeat: 5,
            lower_prio_delay: Duration::from_secs(5),
            lower_prio_repeat: 5,
            refresh: Duration::ZERO,
            refresh_repeat: 1,
            extra_interfaces: (Duration::ZERO, false),
        }
    }
}

/// A script that is started directly, never through a shell.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Notify {
    pub words: Vec<String>,
    /// User that runs the script; `None`: `script_user`.
    pub account: Option<Account>,
}

/// `notify_master` and the other notify scripts.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct NotifyScripts {
    pub master: Option<Notify>,
    pub backup: Option<Notify>,
    pub fault: Option<Notify>,
    pub stop: Option<Notify>,
    /// True if `notify_deleted` is configured, with or without a script.
    #[serde(default)]
    pub reports_deleted: bool,
    pub deleted: Option<Notify>,
    /// Script of `notify_master_rx_lower_pri`, with its arguments.
    pub lower_priority: Option<Notify>,
    /// `notify`: runs for every state, with four arguments.
    pub any: Option<Notify>,
}

/// Probing of the owner before a takeover.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Probing {
    pub wait: Duration,
    /// Minimum time since the last advert before a takeover while the owner's kernel still responds
    /// to probes.
    pub bound: Duration,
}

/// Virtual router: one `vrrp_instance` block or `virtual-ip` section.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Instance {
    pub name: String,
    /// Keyword `interface`; empty for a unicast instance without an interface.
    pub interface: String,
    pub vrid: u8,
    /// Priority of the keyword `priority`, 1 to 255.
    pub priority: u8,
    pub ipv6: bool,
    pub start: Start,
    pub options: Options,
    pub transport: InstanceTransport,
    /// Source address of adverts (`mcast_src_ip` or `unicast_src_ip`).
    pub source: Option<IpAddr>,
    pub vmac: Option<Vmac>,
    /// `virtual_ipaddress`: addresses that adverts name.
    pub addresses: Vec<Address>,
    /// `virtual_ipaddress_excluded`: addresses that adverts do not name.
    pub excluded: Vec<Address>,
    pub routes: Vec<Route>,
    pub rules: Vec<Rule>,
    pub tracked: Tracked,
    pub garp: Garp,
    pub notify: NotifyScripts,
    /// Probing of the owner before a takeover; `None`: takeover without a probe.
    pub probing: Option<Probing>,
    /// Lifetime of the addresses unless the role renews them; None: they stay in the kernel, as in
    /// keepalived. See `kernel::lifetime`.
    pub lifetime: Option<Duration>,
    /// Our language: priorities by health band: healthy, some frontends unavailable, none available
    /// (or the proxy is dead). None: health changes nothing.
    pub bands: Option<[u8; 3]>,
    /// Our language: nodes in order of preference, the best first; for display.
    pub prefer: Vec<String>,
}

impl Default for Instance {
    fn default() -> Self {
        Instance {
            name: String::new(),
            interface: String::new(),
            vrid: 0,
            priority: PRIORITY_DEFAULT,
            ipv6: false,
            start: Start::Backup,
            options: Options::default(),
            transport: InstanceTransport::Multicast { group: GROUP4 },
            source: None,
            vmac: None,
            addresses: Vec::new(),
            excluded: Vec::new(),
            routes: Vec::new(),
            rules: Vec::new(),
            tracked: Tracked::default(),
            garp: Garp::default(),
            notify: NotifyScripts::default(),
            probing: None,
            lifetime: None,
            bands: None,
            prefer: Vec::new(),
        }
    }
}

pub const PRIORITY_DEFAULT: u8 = 100;
pub const GROUP4: IpAddr = IpAddr::V4(Ipv4Addr::new(224, 0, 0, 18));
pub const GROUP6: IpAddr = IpAddr::V6(Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 0x12));
