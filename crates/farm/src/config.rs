//! What the files say of farms, as the role gets it.

use crate::collection::CollectionId;
use access::proxies::TrustedProxies;
use access::user::List;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;

/// Connections at one time where no line says so.
pub const MAXCONN: u32 = 2_000;
/// Where clients find a gateway.
pub const GATEWAY_PATH: &str = "/remoteDesktopGateway/";
/// The port of RDP.
pub const PORT: u16 = 3389;
/// The port of the link between farm roles.
pub const LINK_PORT: u16 = 7448;

/// All farms, by the names of their sections.
#[derive(Serialize, Deserialize, Clone, PartialEq, Eq, Debug, Default)]
#[serde(default)]
pub struct Farms {
    /// The farms.
    pub farms: BTreeMap<String, Farm>,
    /// Whether other nodes of a cluster serve them, too.
    pub shared: bool,
}

/// Session hosts behind one name.
#[derive(Serialize, Deserialize, Clone, PartialEq, Eq, Debug)]
pub struct Farm {
    /// The name by which clients reach it; empty: they connect to the address that they used before.
    pub name: String,
    /// Where it listens.
    pub binds: Vec<Bind>,
    /// The hosts, by name.
    pub hosts: BTreeMap<String, Host>,
    /// How a host is chosen for a user without a session.
    pub balance: Balance,
    /// How hosts are checked.
    pub check: Check,
    /// How long sessions belong to their hosts.
    pub sessions: Sessions,
    /// How tokens are signed.
    pub tokens: Tokens,
    /// Connections at one time.
    pub maxconn: u32,
    /// Who may sign in at the portal and at the gateway.
    #[serde(default)]
    pub users: List,
    /// The portal.
    #[serde(default)]
    pub portal: Option<Portal>,
    /// Where it listens for HTTPS.
    #[serde(default)]
    pub web: Vec<Bind>,
    /// The gateway.
    #[serde(default)]
    pub gateway: Option<Gateway>,
    /// The agents of hosts.
    #[serde(default)]
    pub agents: Agents,
    /// The proxies in front.
    #[serde(default)]
    pub proxies: TrustedProxies,
}

impl Farm {
    /// Where it listens for RDP, and for HTTPS.
    pub fn addresses(&self) -> [&[Bind]; 2] {
        [&self.binds, &self.web]
    }

    /// The collection of something that is on these hosts; none: on all.
    pub fn collection(&self, hosts: &BTreeSet<String>) -> CollectionId {
        match hosts.is_empty() || self.hosts.keys().eq(hosts) {
            true => CollectionId::ALL,
            false => CollectionId::of(hosts),
        }
    }

    /// The collections of what users start, but that of all hosts.
    pub fn collections(&self) -> BTreeMap<CollectionId, BTreeSet<String>> {
        let portal = self.portal.iter();
        let hosts = portal.flat_map(|portal| {
            let desktop = portal.desktop.iter().map(|desktop| &desktop.hosts);
            desktop.chain(portal.apps.iter().map(|app| &app.hosts))
        });
        let all = hosts.map(|hosts| (self.collection(hosts), hosts.clone()));
        all.filter(|(id, _)| *id != CollectionId::ALL).collect()
    }

    /// All collections of what users start, where some of it is not on all hosts; without hosts: all.
    pub fn all_collections(&self) -> BTreeMap<CollectionId, BTreeSet<String>> {
        let mut all = self.collections();
        if !all.is_empty() && !self.starts(CollectionId::ALL).is_empty() {
            all.insert(CollectionId::ALL, BTreeSet::new());
        }
        all
    }

    /// What users start in a collection, by title.
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

    /// The collection of a client that brings no token: it wants a desktop.
    pub fn desktop(&self) -> CollectionId {
        let desktop = self.portal.as_ref().and_then(|one| one.desktop.as_ref());
        desktop.map_or(CollectionId::ALL, |desktop| self.collection(&desktop.hosts))
    }
}

/// The agents of hosts, and what they show.
#[derive(Serialize, Deserialize, Clone, PartialEq, Eq, Debug, Default)]
#[serde(default)]
pub struct Agents {
    /// The hosts that have one.
    pub hosts: BTreeMap<String, Agent>,
    /// What users of a drained host are shown; empty: nothing.
    pub notice: String,
}

/// An agent: a program on a host that says how that is.
#[derive(Serialize, Deserialize, Clone, Copy, PartialEq, Eq, Debug)]
pub struct Agent {
    /// Its port, at the address of the host.
    pub port: u16,
    /// From one question to the next, milliseconds.
    pub interval_ms: u64,
}

/// The way to a farm for clients that have only HTTPS.
#[derive(Serialize, Deserialize, Clone, PartialEq, Eq, Debug)]
pub struct Gateway {
    /// Its host name, as clients have it.
    pub name: String,
    /// Its port, as clients have it.
    pub port: u16,
    /// Without input for so long a tunnel ends, milliseconds; None: never.
    pub idle_ms: Option<u64>,
    /// After so long a user has to authenticate again, milliseconds; None: never.
    pub session_ms: Option<u64>,
}

/// What users see of a farm in a browser, and what they may start.
#[derive(Serialize, Deserialize, Clone, PartialEq, Eq, Debug)]
pub struct Portal {
    /// Its host name, as browsers have it, with a port that is not 443.
    pub authority: String,
    /// The full desktop, if there is one to start.
    pub desktop: Option<Desktop>,
    /// Programs of the hosts.
    pub apps: Vec<App>,
    /// Who may open the displays and terminals of guests.
    #[serde(default)]
    pub consoles: Vec<Consoles>,
    /// The certificate with its issuers and its key that signs `.rdp` files, PEM.
    #[serde(with = "serde_bytes")]
    pub signs: Vec<u8>,
}

/// The full desktop.
#[derive(Serialize, Deserialize, Clone, PartialEq, Eq, Debug)]
pub struct Desktop {
    /// What users see.
    pub title: String,
    /// For users of these groups; empty: for all.
    pub groups: Vec<String>,
    /// The hosts that have it; empty: all of the farm.
    #[serde(default)]
    pub hosts: BTreeSet<String>,
}

/// A program of the hosts (RemoteApp).
#[derive(Serialize, Deserialize, Clone, PartialEq, Eq, Debug)]
pub struct App {
    /// Its name in addresses.
    pub name: String,
    /// What users see.
    pub title: String,
    /// The program, as hosts know it: `||WINWORD`, or a path.
    pub path: String,
    /// Its arguments.
    pub args: String,
    /// A picture, PNG; empty: the portal draws one.
    #[serde(with = "serde_bytes")]
    pub icon: Vec<u8>,
    /// For users of these groups; empty: for all.
    pub groups: Vec<String>,
    /// The hosts that have it; empty: all of the farm.
    #[serde(default)]
    pub hosts: BTreeSet<String>,
}

/// Displays and terminals of guests that some users may open.
#[derive(Serialize, Deserialize, Clone, PartialEq, Eq, Debug)]
pub struct Consoles {
    /// These guests; empty: all.
    pub guests: Vec<String>,
    /// For users of one of these groups; there is at least one.
    pub groups: Vec<String>,
}

/// An address with its certificate.
#[derive(Serialize, Deserialize, Clone, PartialEq, Eq, Debug)]
pub struct Bind {
    /// Where it listens.
    pub address: SocketAddr,
    /// The certificate with its issuers and its key, PEM.
    #[serde(with = "serde_bytes")]
    pub pem: Vec<u8>,
    /// Connections of trusted proxies begin with a PROXY header.
    #[serde(default)]
    pub accepts_proxy: bool,
}

/// A session host.
#[derive(Serialize, Deserialize, Clone, Copy, PartialEq, Eq, Debug)]
pub struct Host {
    /// Where it accepts RDP.
    pub address: SocketAddr,
    /// Its share of users, 1 to 256.
    pub weight: u32,
    /// It gets nobody new.
    pub drained: bool,
}

/// How a host is chosen for a user without a session.
#[derive(Serialize, Deserialize, Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Balance {
    /// By sessions, also those without a connection, and pending logons.
    #[default]
    Load,
    /// By connections and pending logons.
    Leastconn,
}

impl Balance {
    /// The word in a file.
    pub fn word(self) -> &'static str {
        match self {
            Balance::Load => "load",
            Balance::Leastconn => "leastconn",
        }
    }
}

/// How hosts are checked.
#[derive(Serialize, Deserialize, Clone, Copy, PartialEq, Eq, Debug)]
pub struct Check {
    /// From one check to the next, milliseconds.
    pub interval_ms: u64,
    /// How long a response may take, milliseconds.
    pub timeout_ms: u64,
    /// Failed checks after which a host is down.
    pub fall: u32,
    /// Passed checks after which it is up again.
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

/// How long sessions belong to their hosts.
#[derive(Serialize, Deserialize, Clone, Copy, PartialEq, Eq, Debug)]
pub struct Sessions {
    /// After the end of the last connection, milliseconds.
    pub keep_ms: u64,
    /// While a host is down, milliseconds; then its sessions count as lost.
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

/// How tokens are signed.
#[derive(Serialize, Deserialize, Clone, PartialEq, Eq, Debug)]
pub struct Tokens {
    /// The key; empty: the role makes one.
    #[serde(with = "serde_bytes")]
    pub key: Vec<u8>,
    /// How long a token is valid, milliseconds.
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
