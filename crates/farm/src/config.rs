//! Defines the configuration of farms, as the role receives it.

use crate::collection::CollectionId;
use access::proxies::TrustedProxies;
use access::user::List;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;

pub const MAXCONN: u32 = 2_000;
pub const GATEWAY_PATH: &str = "/remoteDesktopGateway/";
pub const PORT: u16 = 3389;
pub const LINK_PORT: u16 = 7448;

/// All farms, by the names of their sections.
#[derive(Serialize, Deserialize, Clone, PartialEq, Eq, Debug, Default)]
#[serde(default)]
pub struct Farms {
    pub farms: BTreeMap<String, Farm>,
    /// True if other nodes of a cluster serve the farms, too.
    pub shared: bool,
}

/// A farm: session hosts that clients reach by one name.
#[derive(Serialize, Deserialize, Clone, PartialEq, Eq, Debug)]
pub struct Farm {
    /// Host name for RDP clients; empty: a client reconnects to the address that it used before.
    pub name: String,
    pub binds: Vec<Bind>,
    pub hosts: BTreeMap<String, SessionHost>,
    pub balance: Balance,
    pub check: Check,
    pub sessions: Sessions,
    pub tokens: Tokens,
    pub maxconn: u32,
    #[serde(default)]
    pub users: List,
    #[serde(default)]
    pub portal: Option<Portal>,
    #[serde(default)]
    pub web: Vec<Bind>,
    #[serde(default)]
    pub gateway: Option<Gateway>,
    #[serde(default)]
    pub agents: Agents,
    #[serde(default)]
    pub proxies: TrustedProxies,
}

impl Farm {
    pub fn addresses(&self) -> [&[Bind]; 2] {
        [&self.binds, &self.web]
    }

    /// Returns the collection of these hosts; of all hosts if the set is empty.
    pub fn collection(&self, hosts: &BTreeSet<String>) -> CollectionId {
        if hosts.is_empty() || self.hosts.keys().eq(hosts) {
            CollectionId::ALL
        } else {
            CollectionId::of(hosts)
        }
    }

    /// Returns the collections of the desktop and the programs, except that of all hosts.
    pub fn collections(&self) -> BTreeMap<CollectionId, BTreeSet<String>> {
        let portal = self.portal.iter();
        let hosts = portal.flat_map(|portal| {
            let desktop = portal.desktop.iter().map(|desktop| &desktop.hosts);
            desktop.chain(portal.apps.iter().map(|app| &app.hosts))
        });
        let all = hosts.map(|hosts| (self.collection(hosts), hosts.clone()));
        all.filter(|(id, _)| *id != CollectionId::ALL).collect()
    }

    /// Returns all collections of the desktop and the programs if some of them are not on all
    /// hosts. The collection of all hosts has an empty set.
    pub fn all_collections(&self) -> BTreeMap<CollectionId, BTreeSet<String>> {
        let mut all = self.collections();
        if !all.is_empty() && !self.starts(CollectionId::ALL).is_empty() {
            all.insert(CollectionId::ALL, BTreeSet::new());
        }
        all
    }

    pub fn starts(&self, collection: CollectionId) -> Vec<&str> {
        let portal = self.portal.iter();
        let all = portal.flat_map(|portal| {
            let desktop = portal.desktop.iter();
            let desktop = desktop.map(|one| (one.title.as_str(), &one.hosts));
            let apps = portal
                .apps
                .iter()
                .map(|one| (one.title.as_str(), &one.hosts));
            desktop.chain(apps)
        });
        let all = all.filter(|(_, hosts)| self.collection(hosts) == collection);
        all.map(|(title, _)| title).collect()
    }

    pub fn desktop(&self) -> CollectionId {
        let desktop = self.portal.as_ref().and_then(|one| one.desktop.as_ref());
        desktop.map_or(CollectionId::ALL, |desktop| self.collection(&desktop.hosts))
    }
}

/// Agents of the hosts, and the notice that they show.
#[derive(Serialize, Deserialize, Clone, PartialEq, Eq, Debug, Default)]
#[serde(default)]
pub struct Agents {
    pub hosts: BTreeMap<String, Agent>,
    /// Notice for the users of a drained host; empty: none.
    pub notice: String,
}

/// Address and poll interval of an agent: the program on a host that reports the host's state.
#[derive(Serialize, Deserialize, Clone, Copy, PartialEq, Eq, Debug)]
pub struct Agent {
    pub port: u16,
    pub interval_ms: u64,
}

/// Gateway of a farm, for clients that can use only HTTPS.
#[derive(Serialize, Deserialize, Clone, PartialEq, Eq, Debug)]
pub struct Gateway {
    pub name: String,
    pub port: u16,
    /// Idle timeout of a tunnel, milliseconds; None: no timeout.
    pub idle_ms: Option<u64>,
    /// Time after which a user has to authenticate again, milliseconds; None: never.
    pub session_ms: Option<u64>,
}

/// Portal of a farm: the pages for browsers, and what users may start.
#[derive(Serialize, Deserialize, Clone, PartialEq, Eq, Debug)]
pub struct Portal {
    /// Host name for browsers, followed by the port unless that is 443.
    pub authority: String,
    /// The full desktop; None if users may start only programs.
    pub desktop: Option<Desktop>,
    pub apps: Vec<App>,
    #[serde(default)]
    pub consoles: Vec<Consoles>,
    /// Certificate that signs `.rdp` files, with its issuers and its key, PEM.
    #[serde(with = "serde_bytes")]
    pub signs: Vec<u8>,
}

#[derive(Serialize, Deserialize, Clone, PartialEq, Eq, Debug)]
pub struct Desktop {
    pub title: String,
    /// Groups whose users may start the desktop; empty: all users.
    pub groups: Vec<String>,
    /// Hosts that have the desktop; empty: all hosts of the farm.
    #[serde(default)]
    pub hosts: BTreeSet<String>,
}

/// A program of the hosts (RemoteApp).
#[derive(Serialize, Deserialize, Clone, PartialEq, Eq, Debug)]
pub struct App {
    pub name: String,
    pub title: String,
    /// Program path or alias at the hosts, such as `||WINWORD`.
    pub path: String,
    pub args: String,
    /// Icon, PNG; empty: the portal draws one.
    #[serde(with = "serde_bytes")]
    pub icon: Vec<u8>,
    /// Groups whose users may start the program; empty: all users.
    pub groups: Vec<String>,
    /// Hosts that have the program; empty: all hosts of the farm.
    #[serde(default)]
    pub hosts: BTreeSet<String>,
}

/// Rule that allows some users to open displays and terminals of guests.
#[derive(Serialize, Deserialize, Clone, PartialEq, Eq, Debug)]
pub struct Consoles {
    /// Names of the guests to which the rule applies; empty: all guests.
    pub guests: Vec<String>,
    /// Groups whose users may open the displays and terminals; at least one.
    pub groups: Vec<String>,
}

/// Listening address with its certificate.
#[derive(Serialize, Deserialize, Clone, PartialEq, Eq, Debug)]
pub struct Bind {
    pub address: SocketAddr,
    #[serde(with = "serde_bytes")]
    pub pem: Vec<u8>,
    /// True if connections of trusted proxies begin with a PROXY header.
    #[serde(default)]
    pub accepts_proxy: bool,
}

#[derive(Serialize, Deserialize, Clone, Copy, PartialEq, Eq, Debug)]
pub struct SessionHost {
    pub address: SocketAddr,
    pub weight: u32,
    /// True if the host gets no new users.
    pub drained: bool,
}

/// Algorithm that chooses the host of a user without a session.
#[derive(Serialize, Deserialize, Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Balance {
    /// Counts sessions, including disconnected ones, and logons that have not connected yet.
    #[default]
    Load,
    /// Counts connections, and logons that have not connected yet.
    Leastconn,
}

impl Balance {
    pub fn word(self) -> &'static str {
        match self {
            Balance::Load => "load",
            Balance::Leastconn => "leastconn",
        }
    }
}

#[derive(Serialize, Deserialize, Clone, Copy, PartialEq, Eq, Debug)]
pub struct Check {
    pub interval_ms: u64,
    /// Timeout for a response, milliseconds.
    pub timeout_ms: u64,
    /// Consecutive failures after which a host is down.
    pub fall: u32,
    /// Consecutive successes after which a host is up again.
    pub rise: u32,
}

impl Default for Check {
    fn default() -> Check {
        Check {
            interval_ms: 2_000,
            timeout_ms: 2_000,
            fall: 3,
            rise: 2,
        }
    }
}

/// Times for which sessions belong to their hosts.
#[derive(Serialize, Deserialize, Clone, Copy, PartialEq, Eq, Debug)]
pub struct Sessions {
    /// Time for which a session belongs to its host after the last connection has ended,
    /// milliseconds.
    pub keep_ms: u64,
    /// Time for which a host is down before its sessions count as lost, milliseconds.
    pub lost_after_ms: u64,
}

impl Default for Sessions {
    fn default() -> Sessions {
        Sessions {
            keep_ms: 24 * 3_600_000,
            lost_after_ms: 60_000,
        }
    }
}

#[derive(Serialize, Deserialize, Clone, PartialEq, Eq, Debug)]
pub struct Tokens {
    /// Signing key; empty: the role generates one.
    #[serde(with = "serde_bytes")]
    pub key: Vec<u8>,
    /// Lifetime of a token, milliseconds.
    pub lifetime_ms: u64,
}

impl Default for Tokens {
    fn default() -> Tokens {
        Tokens {
            key: Vec::new(),
            lifetime_ms: 12 * 3_600_000,
        }
    }
}
