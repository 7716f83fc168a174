//! Holds the runtime state of one farm, shared by its connections, its checks and the role. One
//! lock protects it, which is never held across a wait.

mod admission;
mod agents;
mod collections;
mod disconnect;
mod gateway;
mod glance;
mod kept;
mod meeting;
mod sessions;
mod share;
mod show;
mod sign_outs;
mod tries;
mod turn;

pub use admission::TRY_AGAIN_S;
pub use agents::ToAsk;
pub use gateway::{Arrival, GatewayCounters, Numbered, ReauthenticationWait};
pub use kept::{KeptUser, SavedFarm};
pub use meeting::{Meeting, Routed};
pub use sessions::{How, Stay};
pub use share::{MessageNotifier, SharingParameters};
pub use show::rows;
pub use turn::ClientPermit;

use crate::agreement::Agreement;
use crate::config::{Check, Farm};
use crate::directory::{Counts, Decision, Directory, DirectoryId, Health, HostState, NoHost};
use crate::history::History;
use crate::token::{Key, NameId};
use crate::user::UserId;
use access::ldap::LdapAvailability;
use part::lock;
use part::report::{Event, Moment};
use part::role::Membership;
use part::voice::write_error;
use std::collections::{BTreeMap, VecDeque};
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Instant;
use tokio::sync::{Notify, oneshot, watch};

const EVENTS_MAX: usize = 20;

/// State of one farm, shared by its connections, its checks, the link to the other nodes and the
/// role. All methods may be called on any thread. The lock is never held across a wait.
pub struct FarmState {
    name: String,
    id: NameId,
    /// Notified when a message is due to another node; None on a node without others.
    bell: Option<MessageNotifier>,
    /// Time at which the farm started.
    began: Instant,
    heard: watch::Sender<bool>,
    turns: turn::PermitSemaphore,
    sign_outs: OnceLock<sign_outs::SignOuts>,
    tries: Arc<tries::Tries>,
    membership: Mutex<Membership>,
    inner: Mutex<FarmStateInner>,
}

struct FarmStateInner {
    farm: Farm,
    key: Key,
    agreement: Agreement,
    /// Logons that wait for the other nodes, by ticket.
    waiting: BTreeMap<u64, oneshot::Sender<Result<Decision, NoHost>>>,
    history: History,
    told: SentSteps,
    heard: BTreeMap<DirectoryId, u64>,
    clients: BTreeMap<u64, Client>,
    next_client: u64,
    counters: FarmCounters,
    checks: BTreeMap<String, HostChecks>,
    /// Address of the last client with an invalid token, and the reason.
    last_refused: Option<String>,
    troubles: Troubles,
    gateway: gateway::GatewayState,
    has_changed: bool,
}

/// Steps that other nodes received.
#[derive(Debug, Default)]
struct SentSteps {
    /// Number of the last step that each node received.
    last: BTreeMap<String, u64>,
    /// Number of the last step that may be sent now, and the time of that decision, milliseconds.
    upto: u64,
    since_ms: u64,
}

/// Current errors: of the farm's addresses, and of its LDAP servers.
#[derive(Debug, Default)]
struct Troubles {
    rdp: Vec<String>,
    web: Vec<String>,
    directory: Option<Arc<LdapAvailability>>,
}

#[derive(Clone, Debug)]
struct Client {
    user: UserId,
    host: String,
    from: IpAddr,
    by_gateway: bool,
    ends: Arc<Notify>,
}

/// Events since the role started.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct FarmCounters {
    pub accepted: u64,
    pub routed: u64,
    pub redirected: u64,
    pub tokens: u64,
    pub malformed: u64,
    /// Clients that were refused: there was no host, or the client could not be redirected.
    pub refused: u64,
    pub slow: u64,
    pub over: u64,
    pub unanswered: u64,
}

/// Results of the checks of a host.
#[derive(Debug, Default)]
struct HostChecks {
    passed: u32,
    failed: u32,
    why: String,
    since: Option<Moment>,
    events: VecDeque<Event>,
    agent: agents::AgentPolls,
}

impl FarmState {
    /// Creates a farm. `own` is the token key to use if the configuration has none. `shared` is
    /// None on a node without other nodes.
    pub fn new(name: &str, farm: Farm, own: &[u8], shared: Option<SharingParameters>) -> FarmState {
        let mut agreement = match &shared {
            Some(shared) => Agreement::shared(shared.origin, Moment::now().boottime_ms),
            None => Agreement::alone(DirectoryId::default()),
        };
        agreement.directory.configure(&farm);
        let has_no_agent = farm.agents.hosts.is_empty();
        let inner = FarmStateInner {
            key: key(&farm, own),
            agreement,
            waiting: BTreeMap::new(),
            history: History::default(),
            told: SentSteps::default(),
            heard: BTreeMap::new(),
            clients: BTreeMap::new(),
            next_client: 0,
            counters: FarmCounters::default(),
            checks: BTreeMap::new(),
            last_refused: None,
            troubles: Troubles::default(),
            gateway: gateway::GatewayState::default(),
            has_changed: true,
            farm,
        };
        FarmState {
            name: name.to_owned(),
            id: NameId::of(name),
            tries: Arc::new(tries::Tries::new(
                shared.as_ref().map(|one| one.bell.clone()),
            )),
            bell: shared.map(|shared| shared.bell),
            began: Instant::now(),
            heard: watch::Sender::new(has_no_agent),
            turns: turn::PermitSemaphore::default(),
            sign_outs: OnceLock::new(),
            membership: Mutex::default(),
            inner: Mutex::new(inner),
        }
    }

    pub fn change(&self, farm: Farm, own: &[u8]) {
        let mut inner = lock(&self.inner);
        let before: Vec<String> = inner.farm.hosts.keys().cloned().collect();
        inner.agreement.directory.configure(&farm);
        inner.agreement.reopen();
        inner.key = key(&farm, own);
        let FarmStateInner {
            checks, agreement, ..
        } = &mut *inner;
        let hosts: BTreeMap<&str, &HostState> = agreement.directory.hosts().collect();
        checks.retain(|host, _| hosts.contains_key(host.as_str()));
        let removed = before.iter().filter_map(|host| {
            let state = hosts.get(host.as_str()).filter(|state| state.is_removed)?;
            let Counts {
                connected, left, ..
            } = state.counts;
            Some(format!(
                "evenkeel: farm {}: host {host} was removed with {connected} connected and {left} \
                 disconnected sessions: only their users still return to it\n",
                self.name
            ))
        });
        let removed: String = removed.collect();
        inner.farm = farm;
        inner.end_outdated_tunnels(&self.name);
        inner.has_changed = true;
        drop(inner);
        if !removed.is_empty() {
            write_error(&removed);
        }
        self.ring();
    }

    pub fn name(&self) -> &str {
        &self.name
    }

    pub fn maxconn(&self) -> u32 {
        lock(&self.inner).farm.maxconn
    }

    pub fn trusts(&self, address: IpAddr) -> bool {
        lock(&self.inner).farm.proxies.has(address)
    }

    pub fn checks(&self) -> (Check, Vec<(String, SocketAddr)>) {
        let inner = lock(&self.inner);
        let hosts = inner.agreement.directory.hosts();
        let hosts = hosts.map(|(name, host)| (name.to_owned(), host.address));
        (inner.farm.check, hosts.collect())
    }

    pub fn count(&self, which: impl FnOnce(&mut FarmCounters) -> &mut u64) {
        let mut inner = lock(&self.inner);
        let count = which(&mut inner.counters);
        *count = count.saturating_add(1);
    }

    pub fn counters(&self) -> FarmCounters {
        lock(&self.inner).counters
    }

    /// Sets the errors of the addresses for RDP; an empty list means that all are open.
    pub fn opened(&self, troubles: Vec<String>) {
        lock(&self.inner).troubles.rdp = troubles;
    }

    /// Sets the errors of the addresses for HTTPS; an empty list means that all are open.
    pub fn opened_web(&self, troubles: Vec<String>) {
        lock(&self.inner).troubles.web = troubles;
    }

    pub fn asks_directory(&self, standing: Arc<LdapAvailability>) {
        lock(&self.inner).troubles.directory = Some(standing);
    }

    /// Registers a connection to a host that begins to carry bytes. Returns its number, and the
    /// notifier that ends it.
    pub fn begins(&self, routed: &Routed, from: IpAddr, by_gateway: bool) -> (u64, Arc<Notify>) {
        let mut inner = lock(&self.inner);
        let (user, host) = (routed.id.user, routed.host.clone());
        let now_ms = Moment::now().boottime_ms;
        inner
            .agreement
            .directory
            .connected(routed.id, &host, now_ms);
        inner.counters.routed += 1;
        inner.next_client += 1;
        let number = inner.next_client;
        let ends = Arc::new(Notify::new());
        let client = Client {
            user,
            host,
            from,
            by_gateway,
            ends: Arc::clone(&ends),
        };
        inner.clients.insert(number, client);
        inner.has_changed = true;
        self.ring();
        (number, ends)
    }

    /// Records that a connection has lasted so long that the user must have a session.
    pub fn proves(&self, number: u64) {
        let mut inner = lock(&self.inner);
        if let Some(Client { user, host, .. }) = inner.clients.get(&number).cloned() {
            let now_ms = Moment::now().boottime_ms;
            inner.agreement.directory.proved(user, &host, now_ms);
            inner.has_changed = true;
            self.ring();
        }
    }

    pub fn ends(&self, number: u64) {
        let mut inner = lock(&self.inner);
        if let Some(Client { user, host, .. }) = inner.clients.remove(&number) {
            let now_ms = Moment::now().boottime_ms;
            inner.agreement.directory.ended(user, &host, now_ms);
            inner.has_changed = true;
            self.ring();
        }
    }

    /// Applies the result of a host's check, or of a client's connection to the host, which counts
    /// as a check.
    pub fn checked(&self, host: &str, result: Result<(), String>) {
        let mut inner = lock(&self.inner);
        let inner = &mut *inner;
        let check = inner.farm.check;
        let Some(state) = inner
            .agreement
            .directory
            .hosts()
            .find(|(name, _)| *name == host)
        else {
            return;
        };
        let (is_down, is_known) = (state.1.is_down(), state.1.health != Health::Unknown);
        let checks = inner.checks.entry(host.to_owned()).or_default();
        let now = Moment::now();
        let (health, word) = match result {
            Ok(()) => {
                (checks.failed, checks.passed) = (0, checks.passed.saturating_add(1));
                checks.why.clear();
                let rises = !is_known || is_down && checks.passed >= check.rise;
                if !rises {
                    return;
                }
                (Health::Up, "up")
            }
            Err(why) => {
                (checks.passed, checks.failed) = (0, checks.failed.saturating_add(1));
                checks.why = why;
                if is_down || checks.failed < check.fall {
                    return;
                }
                let since_ms = now.boottime_ms;
                (Health::Down { since_ms }, "down")
            }
        };
        let before = match (is_known, is_down) {
            (false, _) => "unknown",
            (true, true) => "down",
            (true, false) => "up",
        };
        checks.since = Some(now);
        if checks.events.len() >= EVENTS_MAX {
            checks.events.pop_front();
        }
        checks.events.push_back(Event {
            at: now,
            from: before.to_owned(),
            to: word.to_owned(),
            why: checks.why.clone(),
        });
        inner.agreement.directory.checked(host, health);
    }

    pub fn expire(&self) {
        let mut inner = lock(&self.inner);
        let now_ms = Moment::now().boottime_ms;
        inner.agreement.directory.expire(now_ms);
    }

    /// Drains a host, or ends its drain. Returns false if the host does not exist.
    pub fn drain(&self, host: &str, is_drained: bool) -> bool {
        let mut inner = lock(&self.inner);
        inner.has_changed = true;
        let is_known = inner
            .agreement
            .directory
            .drain(host, is_drained, Moment::now().unix_ms);
        inner.agreement.reopen();
        self.ring();
        is_known
    }
}

fn key(farm: &Farm, own: &[u8]) -> Key {
    if farm.tokens.key.is_empty() {
        Key::new(own)
    } else {
        Key::new(&farm.tokens.key)
    }
}
