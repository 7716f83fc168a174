//! `vrrp_instance` and `virtual-ip`.

use super::{Account, Address, Options, Route, Rule, Tracked};
use serde::{Deserialize, Serialize};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;

/// The initial state.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub enum Start {
    /// `state BACKUP`
    #[default]
    Backup,
    /// `state MASTER`
    Master,
}

/// How adverts travel.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Transport {
    /// To a group: 224.0.0.18, ff02::12, or `mcast_dst_ip`.
    Multicast {
        /// The group.
        group: IpAddr,
    },
    /// To each of these.
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
    /// Its address.
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
    /// `auth_type AH`: the key, padded with zeroes, of HMAC-MD5-96.
    Ah([u8; 16]),
}

/// `use_vmac`, `use_ipvlan`
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Vmac {
    /// The interface's name; `Config::name_vmacs` gives one to those without.
    pub name: Option<String>,
    /// Another MAC than 00:00:5e:00:01:VRID (00:00:5e:00:02:VRID for IPv6).
    pub mac: Option<[u8; 6]>,
    /// `vmac_xmit_base`: adverts go by the interface below.
    pub transmit_on_base: bool,
    /// `use_ipvlan`: an ipvlan with this address instead.
    pub ipvlan: Option<Option<IpAddr>>,
    /// The ipvlan's mode flag: `bridge`, `private`, `vepa`.
    pub ipvlan_mode: Option<String>,
}

/// `garp_*`: announcements to neighbours.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Garp {
    /// `garp_master_delay`: until the second block; zero sends none.
    pub delay: Duration,
    /// `garp_master_repeat`: how many in a block.
    pub repeat: u32,
    /// `garp_lower_prio_delay`
    pub lower_prio_delay: Duration,
    /// `garp_lower_prio_repeat`
    pub lower_prio_repeat: u32,
    /// `garp_master_refresh`: zero does not.
    pub refresh: Duration,
    /// `garp_master_refresh_repeat`
    pub refresh_repeat: u32,
    /// `garp_extra_if`: zero does not; true: on all interfaces, not only virtual ones.
    pub extra_interfaces: (Duration, bool),
}

impl Default for Garp {
    /// keepalived's defaults.
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

/// A script that is started: never through a shell.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Notify {
    /// The program and its arguments.
    pub words: Vec<String>,
    /// The user that runs it; `None` is `script_user`.
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
    /// `notify_deleted`: given without a script only the word changes.
    pub deleted: Option<Option<Notify>>,
    /// `notify_master_rx_lower_pri`
    pub lower_priority: Option<Notify>,
    /// `notify`: all, with four words.
    pub any: Option<Notify>,
}

/// Whether the address is asked for before it is taken over.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Probing {
    /// How long to wait for a reply.
    pub wait: Duration,
    /// While the owner's kernel still responds to probes, silence leads to a takeover
    /// only after this time in all, counted from the last advert.
    pub bound: Duration,
}

/// `vrrp_instance`, `virtual-ip`
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Instance {
    /// Its name.
    pub name: String,
    /// `interface`; empty where unicast needs none.
    pub interface: String,
    /// `virtual_router_id`
    pub vrid: u8,
    /// `priority`, 1 to 255.
    pub priority: u8,
    /// True: adverts are of IPv6.
    pub ipv6: bool,
    /// `state`
    pub start: Start,
    /// Settings with a single value.
    pub options: Options,
    /// How adverts travel.
    pub transport: Transport,
    /// `mcast_src_ip`, `unicast_src_ip`
    pub source: Option<IpAddr>,
    /// `use_vmac`
    pub vmac: Option<Vmac>,
    /// `virtual_ipaddress`: those that adverts name.
    pub addresses: Vec<Address>,
    /// `virtual_ipaddress_excluded`
    pub excluded: Vec<Address>,
    /// `virtual_routes`
    pub routes: Vec<Route>,
    /// `virtual_rules`
    pub rules: Vec<Rule>,
    /// `track_*`
    pub tracked: Tracked,
    /// Announcements to neighbours.
    pub garp: Garp,
    /// Notify scripts.
    pub notify: NotifyScripts,
    /// Probing of the address before a takeover; `None` takes over without it.
    pub probing: Option<Probing>,
    /// Addresses of this instance live only as long as the role renews them; none
    /// keeps them as keepalived does. See `kernel::lifetime`.
    pub lifetime: Option<Duration>,
    /// Our language: priorities of the bands of health: healthy, some of its frontends
    /// cannot be served, none can (or the proxy is dead). None: health changes nothing.
    pub bands: Option<[u8; 3]>,
    /// Our language: nodes by preference, the first is the best; for people.
    pub prefer: Vec<String>,
}

impl Default for Instance {
    /// keepalived's defaults.
    fn default() -> Self {
        Instance {
            name: String::new(),
            interface: String::new(),
            vrid: 0,
            priority: PRIORITY_DEFAULT,
            ipv6: false,
            start: Start::Backup,
            options: Options::default(),
            transport: Transport::Multicast { group: GROUP4 },
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

/// The priority of an instance that states none.
pub const PRIORITY_DEFAULT: u8 = 100;
/// The multicast group of IPv4.
pub const GROUP4: IpAddr = IpAddr::V4(Ipv4Addr::new(224, 0, 0, 18));
/// The multicast group of IPv6.
pub const GROUP6: IpAddr = IpAddr::V6(Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 0x12));
