//! Model of `vrrp_instance` and `virtual-ip`.

use super::{Account, Address, Options, Route, Rule, Tracked};
use serde::{Deserialize, Serialize};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;

/// Configured initial state.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub enum Start {
    /// `state BACKUP`
    #[default]
    Backup,
    /// `state MASTER`
    Master,
}

/// Transport of adverts.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum InstanceTransport {
    /// To a multicast group: 224.0.0.18, ff02::12, or `mcast_dst_ip`.
    Multicast { group: IpAddr },
    /// To each of the peers.
    Unicast {
        /// `unicast_peer`
        peers: Vec<Peer>,
        /// `unicast_ttl`
        ttl: Option<u8>,
        /// `check_unicast_src`
        check_source: bool,
    },
}

/// A line of `unicast_peer`.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Peer {
    pub address: IpAddr,
    /// `min_ttl`
    pub min_ttl: Option<u8>,
    /// `max_ttl`
    pub max_ttl: Option<u8>,
}

/// `authentication`
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Authentication {
    /// `auth_type PASS`: the password, padded with zeroes.
    Pass([u8; 8]),
    /// `auth_type AH`: the key of HMAC-MD5-96, padded with zeroes.
    Ah([u8; 16]),
}

/// `use_vmac`, `use_ipvlan`
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Vmac {
    /// Name of the interface; `Config::name_vmacs` assigns one if it is None.
    pub name: Option<String>,
    /// MAC other than 00:00:5e:00:01:VRID (00:00:5e:00:02:VRID for IPv6).
    pub mac: Option<[u8; 6]>,
    /// `vmac_xmit_base`: adverts are sent from the parent interface.
    pub transmit_on_base: bool,
    /// `use_ipvlan`: an ipvlan instead of a macvlan.
    #[serde(default)]
    pub is_ipvlan: bool,
    /// Address of the ipvlan.
    pub ipvlan: Option<IpAddr>,
    /// Mode flag of the ipvlan: `bridge`, `private`, `vepa`.
    pub ipvlan_mode: Option<String>,
}

/// `garp_*`: announcements to neighbours.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Garp {
    /// `garp_master_delay`: delay of the second block; zero sends none.
    pub delay: Duration,
    /// `garp_master_repeat`: number of announcements in a block.
    pub repeat: u32,
    /// `garp_lower_prio_delay`
    pub lower_prio_delay: Duration,
    /// `garp_lower_prio_repeat`
    pub lower_prio_repeat: u32,
    /// `garp_master_refresh`: interval of repeated announcements; zero disables them.
    pub refresh: Duration,
    /// `garp_master_refresh_repeat`
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
    /// `notify_master`
    pub master: Option<Notify>,
    /// `notify_backup`
    pub backup: Option<Notify>,
    /// `notify_fault`
    pub fault: Option<Notify>,
    /// `notify_stop`
    pub stop: Option<Notify>,
    /// `notify_deleted`, with a script or without: the state word of the generic script changes.
    #[serde(default)]
    pub reports_deleted: bool,
    /// Script of `notify_deleted`.
    pub deleted: Option<Notify>,
    /// `notify_master_rx_lower_pri`
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

/// `vrrp_instance`, `virtual-ip`
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Instance {
    pub name: String,
    /// `interface`; empty if unicast needs none.
    pub interface: String,
    /// `virtual_router_id`
    pub vrid: u8,
    /// `priority`, 1 to 255.
    pub priority: u8,
    /// True: adverts use IPv6.
    pub ipv6: bool,
    /// `state`
    pub start: Start,
    /// Settings with a single value.
    pub options: Options,
    pub transport: InstanceTransport,
    /// `mcast_src_ip`, `unicast_src_ip`
    pub source: Option<IpAddr>,
    /// `use_vmac`
    pub vmac: Option<Vmac>,
    /// `virtual_ipaddress`: addresses that adverts name.
    pub addresses: Vec<Address>,
    /// `virtual_ipaddress_excluded`
    pub excluded: Vec<Address>,
    /// `virtual_routes`
    pub routes: Vec<Route>,
    /// `virtual_rules`
    pub rules: Vec<Rule>,
    /// `track_*`
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

/// Default priority of an instance.
pub const PRIORITY_DEFAULT: u8 = 100;
/// Default IPv4 multicast group.
pub const GROUP4: IpAddr = IpAddr::V4(Ipv4Addr::new(224, 0, 0, 18));
/// Default IPv6 multicast group.
pub const GROUP6: IpAddr = IpAddr::V6(Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 0x12));
