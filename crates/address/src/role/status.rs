//! How everything is, as a value that travels as JSON and can be shown in several ways.

use protocol::vrrp::{Counters, State};
use serde::{Deserialize, Serialize};
use std::net::IpAddr;

/// How many transitions of an instance are remembered.
pub const MAX_TRANSITIONS: usize = 32;

/// How everything is. Moments are milliseconds of CLOCK_BOOTTIME, with the time of
/// day beside them for people.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
pub struct Status {
    /// When it was asked, CLOCK_BOOTTIME.
    pub now_ms: u64,
    /// When it was asked, milliseconds since 1970.
    pub unix_ms: u64,
    /// `router_id`
    pub router: String,
    /// The role's process.
    pub pid: u32,
    /// Virtual routers, in the order of the configuration.
    pub instances: Vec<InstanceStatus>,
    /// Sync groups.
    pub groups: Vec<GroupStatus>,
    /// What is tracked.
    pub tracked: Vec<TrackedStatus>,
    /// What was granted: `SCHED_RR 50`, `memory locked`.
    pub privileges: Vec<String>,
}

/// One virtual router.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
pub struct InstanceStatus {
    /// Its name.
    pub name: String,
    /// Its interface.
    pub interface: String,
    /// Its router id.
    pub vrid: u8,
    /// 2 or 3.
    pub version: u8,
    /// Adverts are of IPv6.
    pub ipv6: bool,
    /// `MASTER`, `BACKUP`, `FAULT`, `INIT`.
    pub state: String,
    /// What the configuration wants at first.
    pub wanted: String,
    /// Since when, CLOCK_BOOTTIME.
    pub since_ms: u64,
    /// Since when, milliseconds since 1970.
    pub since_unix_ms: u64,
    /// Why, in words.
    pub why: String,
    /// Configured.
    pub base_priority: u8,
    /// Announced.
    pub priority: u8,
    /// Between two adverts.
    pub advert_interval_ms: u64,
    /// Which machine announces itself, if another does.
    pub owner: Option<OwnerStatus>,
    /// When silence will be believed, CLOCK_BOOTTIME.
    pub master_down_at_ms: Option<u64>,
    /// Where its own adverts come from.
    pub source: Option<IpAddr>,
    /// The addresses.
    pub addresses: Vec<AddressStatus>,
    /// What keeps it in fault, in words.
    pub faults: Vec<String>,
    /// What its priority is made of, in words: `100`, `script chk -20`.
    pub priority_from: Vec<String>,
    /// Its sync group.
    pub group: Option<String>,
    /// Nodes by preference (our language).
    pub prefer: Vec<String>,
    /// The band of health: 0 all can be served, 1 some cannot, 2 none; none: not asked.
    pub band: Option<u8>,
    /// Why not all can be served, in words; empty where they can or nobody asks.
    #[serde(default)]
    pub health_why: String,
    /// The last transitions, the newest last.
    pub transitions: Vec<Transition>,
    /// Gratuitous ARPs and neighbour advertisements that were sent.
    pub announcements: u64,
    /// Addresses of ours that somebody else deleted and that were put back.
    pub restored: u64,
    /// Who else uses our addresses, if anybody was seen: address and MAC.
    pub conflicts: Vec<String>,
    /// Counters by keepalived's names.
    #[serde(with = "counters")]
    pub counters: Counters,
    /// Whose adverts are rejected, and why, the newest last.
    #[serde(default)]
    pub rejected: Vec<RejectedStatus>,
    /// Another node announces a priority of this node's place in `prefer`: its address
    /// and the priority.
    #[serde(default)]
    pub same_place: Option<(IpAddr, u8)>,
    /// A planned hand-over is under way; none: an older role does not say.
    #[serde(default)]
    pub handing_over: Option<bool>,
    /// Whether a lease of the cluster decides who has the addresses.
    #[serde(default)]
    pub by_lease: bool,
    /// That lease was given up for a machine that can use it better.
    #[serde(default)]
    pub lease_moves: bool,
}

/// Adverts of one sender that were rejected.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct RejectedStatus {
    /// Who sent them.
    pub from: IpAddr,
    /// How many.
    pub count: u64,
    /// When the last one came, CLOCK_BOOTTIME.
    pub last_ms: u64,
    /// Why it was rejected, in words.
    pub why: String,
}

/// Another machine that announces itself as the owner.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct OwnerStatus {
    /// Where its adverts come from.
    pub address: IpAddr,
    /// What it announces.
    pub priority: u8,
    /// When the last one came, CLOCK_BOOTTIME.
    pub heard_ms: u64,
}

/// A virtual address.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct AddressStatus {
    /// With its prefix.
    pub address: String,
    /// Where it goes.
    pub interface: String,
    /// Whether adverts name it.
    pub advertised: bool,
    /// Its label.
    pub label: Option<String>,
    /// Whether it is here now.
    pub here: bool,
}

/// A sync group.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct GroupStatus {
    /// Its name.
    pub name: String,
    /// `MASTER`, `BACKUP`, `FAULT`, `INIT`.
    pub state: String,
    /// Its members.
    pub members: Vec<String>,
}

/// Something that is tracked.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct TrackedStatus {
    /// `interface`, `script`, `file`, `process`, `bfd`, `ping`.
    pub kind: String,
    /// Its name.
    pub name: String,
    /// `up`, `down`, `init`, or a value.
    pub state: String,
    /// When that was said last, CLOCK_BOOTTIME.
    pub since_ms: u64,
    /// The last outcome in words.
    pub outcome: String,
}

/// A state was entered.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Transition {
    /// Whose.
    pub name: String,
    /// When, CLOCK_BOOTTIME.
    pub at_ms: u64,
    /// When, milliseconds since 1970.
    pub at_unix_ms: u64,
    /// From where.
    pub from: String,
    /// Where it is now.
    pub to: String,
    /// Why, in words.
    pub why: String,
}

/// [`Counters`] as a map by name; a counter that is missing is zero, an unknown one is
/// ignored.
mod counters {
    use protocol::vrrp::{COUNTERS, Counters};
    use serde::{Deserialize, Deserializer, Serializer};
    use std::collections::BTreeMap;

    pub fn serialize<S: Serializer>(counters: &Counters, to: S) -> Result<S::Ok, S::Error> {
        to.collect_map(counters.iter().map(|(row, value)| (row.name, value)))
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Counters, D::Error> {
        let by_name = BTreeMap::<String, u64>::deserialize(from)?;
        let value = |at: usize| by_name.get(COUNTERS[at].name).copied();
        Ok(Counters::from_fn(|at| value(at).unwrap_or(0)))
    }
}

/// keepalived's word for a state.
pub fn state_word(state: State) -> &'static str {
    match state {
        State::Init => "INIT",
        State::Backup => "BACKUP",
        State::Master => "MASTER",
        State::Fault => "FAULT",
    }
}

/// A MAC as people write it.
pub fn mac_words(mac: [u8; 6]) -> String {
    let [a, b, c, d, e, f] = mac;
    format!("{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{f:02x}")
}

impl Status {
    /// As it travels.
    pub fn encode(&self) -> Vec<u8> {
        serde_json::to_vec(self).unwrap_or_default()
    }

    /// What travelled.
    pub fn decode(bytes: &[u8]) -> Result<Status, serde_json::Error> {
        serde_json::from_slice(bytes)
    }
}
