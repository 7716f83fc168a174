//! One farm while it runs: what its connections, its checks and the role know together, behind one
//! lock that is never held while something waits.

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
pub use gateway::{Arrival, Counters as GatewayCounters, Numbered, Waiting};
pub use kept::{Kept, KeptUser};
pub use meeting::{Meeting, Routed};
pub use sessions::{How, Stay};
pub use share::{Bell, Shared};
pub use show::rows;
pub use turn::Turn;

use crate::agreement::Agreement;
use crate::config::{Check, Farm};
use crate::directory::{Counts, Decision, Health, HostState, NoHost, Origin};
use crate::history::History;
use crate::token::{Key, NameId};
use crate::user::UserId;
use access::ldap::Standing;
use part::lock;
use part::report::{Event, Moment};
use part::role::Membership;
use part::voice::write_error;
use std::collections::{BTreeMap, VecDeque};
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Instant;
use tokio::sync::{Notify, oneshot, watch};

/// Events of a host that are kept.
const EVENTS_MAX: usize = 20;

/// A farm.
pub struct Site {
    name: String,
    id: NameId,
    /// Rings when something is to be sent to another node; None: there is no other one.
    bell: Option<Bell>,
    /// When it began, and whether all agents were asked since.
    began: Instant,
    heard: watch::Sender<bool>,
    turns: turn::Turns,
    /// None before there is a portal.
    sign_outs: OnceLock<sign_outs::SignOuts>,
    tries: Arc<tries::Tries>,
    membership: Mutex<Membership>,
    inner: Mutex<Inner>,
}

/// What is behind the lock.
struct Inner {
    farm: Farm,
    key: Key,
    agreement: Agreement,
    /// Logons that wait for the other nodes, by their tickets.
    waiting: BTreeMap<u64, oneshot::Sender<Result<Decision, NoHost>>>,
    history: History,
    /// The steps that other nodes got, and the last one of each other directory that came.
    told: Told,
    heard: BTreeMap<Origin, u64>,
    /// Routed connections by their numbers.
    clients: BTreeMap<u64, Client>,
    next_client: u64,
    counters: Counters,
    checks: BTreeMap<String, Checks>,
    /// Where the last token came from that was not valid, and why it was not.
    last_refused: Option<String>,
    troubles: Troubles,
    gateway: gateway::State,
    /// Something has changed that the next role has to know.
    has_changed: bool,
}

/// Steps that other nodes got.
#[derive(Debug, Default)]
struct Told {
    /// The last one that each node got.
    last: BTreeMap<String, u64>,
    /// The last one that they may get now, and since when, milliseconds.
    upto: u64,
    since_ms: u64,
}

/// What is wrong with it.
#[derive(Debug, Default)]
struct Troubles {
    /// Why an address is not open.
    rdp: Vec<String>,
    web: Vec<String>,
    /// Which servers of the directory of users answer.
    directory: Option<Arc<Standing>>,
}

/// A routed connection.
#[derive(Clone, Debug)]
struct Client {
    user: UserId,
    host: String,
    from: IpAddr,
    by_gateway: bool,
    /// Ends it.
    ends: Arc<Notify>,
}

/// What happened since the role began.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Counters {
    /// Connections that were accepted.
    pub accepted: u64,
    /// Connections that were routed to a host.
    pub routed: u64,
    /// Logons that were redirected.
    pub redirected: u64,
    /// Tokens that were not valid.
    pub tokens: u64,
    /// Clients that do not speak RDP, or not as they have to.
    pub malformed: u64,
    /// Clients that were refused: no host, or no way to redirect them.
    pub refused: u64,
    /// Clients that did not go on in time.
    pub slow: u64,
    /// Connections beyond the limits.
    pub over: u64,
    /// Routed connections whose host did not respond.
    pub unanswered: u64,
}

/// What the checks of a host say.
#[derive(Debug, Default)]
struct Checks {
    passed: u32,
    failed: u32,
    /// The reason of the last failure.
    why: String,
    since: Option<Moment>,
    events: VecDeque<Event>,
    agent: agents::Asked,
}

impl Site {
    /// A farm whose key, where the file has none, is `own`. What it shares with other nodes is None on
    /// a node alone.
    pub fn new(name: &str, farm: Farm, own: &[u8], shared: Option<Shared>) -> Site {
        let mut agreement = match &shared {
            Some(shared) => Agreement::shared(shared.origin, Moment::now().boottime_ms),
            None => Agreement::alone(Origin::default()),
        };
        agreement.directory.configure(&farm);
        let has_no_agent = farm.agents.hosts.is_empty();
        let inner = Inner {
            key: key(&farm, own),
            agreement,
            waiting: BTreeMap::new(),
            history: History::default(),
            told: Told::default(),
            heard: BTreeMap::new(),
            clients: BTreeMap::new(),
            next_client: 0,
            counters: Counters::default(),
            checks: BTreeMap::new(),
            last_refused: None,
            troubles: Troubles::default(),
            gateway: gateway::State::default(),
            has_changed: true,
            farm,
        };
        Site {
            name: name.to_owned(),
            id: NameId::of(name),
            tries: Arc::new(tries::Tries::new(
                shared.as_ref().map(|one| one.bell.clone()),
            )),
            bell: shared.map(|shared| shared.bell),
            began: Instant::now(),
            heard: watch::Sender::new(has_no_agent),
            turns: turn::Turns::default(),
            sign_outs: OnceLock::new(),
            membership: Mutex::default(),
            inner: Mutex::new(inner),
        }
    }

    /// Goes over to other lines of its section.
    pub fn change(&self, farm: Farm, own: &[u8]) {
        let mut inner = lock(&self.inner);
        let before: Vec<String> = inner.farm.hosts.keys().cloned().collect();
        inner.agreement.directory.configure(&farm);
        inner.agreement.reopen();
        inner.key = key(&farm, own);
        let Inner {
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
                "evenkeel: farm {}: host {host} was removed with {connected} connected and {left} disconnected \
                 sessions: their users still come back to it, nobody else does\n",
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

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Connections at one time.
    pub fn maxconn(&self) -> u32 {
        lock(&self.inner).farm.maxconn
    }

    /// Whether an address is that of a proxy in front.
    pub fn trusts(&self, address: IpAddr) -> bool {
        lock(&self.inner).farm.proxies.has(address)
    }

    /// How its hosts are checked, and where they are.
    pub fn checks(&self) -> (Check, Vec<(String, SocketAddr)>) {
        let inner = lock(&self.inner);
        let hosts = inner.agreement.directory.hosts();
        let hosts = hosts.map(|(name, host)| (name.to_owned(), host.address));
        (inner.farm.check, hosts.collect())
    }

    /// Counts something.
    pub fn count(&self, which: impl FnOnce(&mut Counters) -> &mut u64) {
        let mut inner = lock(&self.inner);
        let count = which(&mut inner.counters);
        *count = count.saturating_add(1);
    }

    /// What happened since the role began.
    pub fn counters(&self) -> Counters {
        lock(&self.inner).counters
    }

    /// Its addresses are open, or not, for these reasons.
    pub fn opened(&self, troubles: Vec<String>) {
        lock(&self.inner).troubles.rdp = troubles;
    }

    /// Its addresses for HTTPS are open, or not, for these reasons.
    pub fn opened_web(&self, troubles: Vec<String>) {
        lock(&self.inner).troubles.web = troubles;
    }

    /// The directory of users, if it has one, is asked by this.
    pub fn asks_directory(&self, standing: Arc<Standing>) {
        lock(&self.inner).troubles.directory = Some(standing);
    }

    /// A connection to a host begins to carry bytes. Returns its number, and what ends it.
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

    /// A connection lasts as only one with a session does.
    pub fn proves(&self, number: u64) {
        let mut inner = lock(&self.inner);
        if let Some(Client { user, host, .. }) = inner.clients.get(&number).cloned() {
            let now_ms = Moment::now().boottime_ms;
            inner.agreement.directory.proved(user, &host, now_ms);
            inner.has_changed = true;
            self.ring();
        }
    }

    /// A connection has ended.
    pub fn ends(&self, number: u64) {
        let mut inner = lock(&self.inner);
        if let Some(Client { user, host, .. }) = inner.clients.remove(&number) {
            let now_ms = Moment::now().boottime_ms;
            inner.agreement.directory.ended(user, &host, now_ms);
            inner.has_changed = true;
            self.ring();
        }
    }

    /// A check of a host has ended, or a client's connection to it, which counts as one.
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

    /// Forgets what is over.
    pub fn expire(&self) {
        let mut inner = lock(&self.inner);
        let now_ms = Moment::now().boottime_ms;
        inner.agreement.directory.expire(now_ms);
    }

    /// Drains a host, or ends that. False: it has no such host.
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
    match farm.tokens.key.is_empty() {
        true => Key::new(own),
        false => Key::new(&farm.tokens.key),
    }
}
