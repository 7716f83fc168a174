//! Schedules the resolution of the names that the newest configuration uses, with the servers
//! that use each name and the rules that wait for it. A state machine without socket or clock.

use super::resolution::{NameserverQuery, QueryOutcome, RecordKind, Resolution, ResolutionStatus};
use crate::config::{Config, ProxyIndex, Resolvers, Server, ServerIndex};
use protocol::dns::{DnsName, Service};
use std::collections::{BTreeSet, HashMap};
use std::net::IpAddr;
use std::sync::Arc;
use tokio::sync::oneshot;

/// Maximum number of names that rules may request at one time, over all sections.
pub const ASKED_MAX: usize = 4096;
/// Maximum number of rules that wait for one name.
const ASKERS_MAX: usize = 100_000;
/// Time for which a name that only rules request is kept after the last request that found no fresh
/// response, milliseconds.
const ASKED_MS: u64 = 60_000;

/// A name to resolve, with its `resolvers` section and the kind of records.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Key {
    pub section: Box<str>,
    pub name: DnsName,
    pub record_kind: RecordKind,
}

/// Counters of a nameserver, in the order of `show resolvers`.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Tallies {
    pub sent: u64,
    /// Queries that could not be sent.
    pub unsent: u64,
    pub valid: u64,
    /// Responses that changed a server.
    pub update: u64,
    /// Responses in which the requested name is an alias.
    pub cname: u64,
    /// Successful responses without a record of the requested type.
    pub any_error: u64,
    /// Responses that the requested name does not exist (NXDOMAIN).
    pub nx: u64,
    pub timeout: u64,
    pub refused: u64,
    pub other: u64,
    pub invalid: u64,
    pub truncated: u64,
    pub outdated: u64,
}

impl Tallies {
    /// Returns HAProxy's names with the values, in its order: scripts parse them.
    pub fn named(&self) -> [(&'static str, u64); 15] {
        [
            ("sent", self.sent),
            ("snd_error", self.unsent),
            ("valid", self.valid),
            ("update", self.update),
            ("cname", self.cname),
            // Always 0: an alias without an address is counted as a response without a record.
            ("cname_error", 0),
            ("any_err", self.any_error),
            ("nx", self.nx),
            ("timeout", self.timeout),
            ("refused", self.refused),
            ("other", self.other),
            ("invalid", self.invalid),
            // Always 0: the system truncates a datagram that is too long, which is counted as
            // invalid.
            ("too_big", 0),
            ("truncated", self.truncated),
            ("outdated", self.outdated),
        ]
    }
}

/// Name of a section, with the name and the counters of each nameserver.
pub type SectionReport = (Box<str>, Vec<(Box<str>, Tallies)>);

#[derive(Debug)]
struct Entry {
    resolution: Resolution,
    followers: Vec<(ProxyIndex, ServerIndex)>,
    askers: Vec<oneshot::Sender<Option<IpAddr>>>,
    /// Time of the last request by a rule that found no fresh response; None if no rule requested
    /// the name.
    asked_ms: Option<u64>,
    due_ms: u64,
}

/// A query that must be sent to the nameservers of a section now.
#[derive(Debug)]
pub struct Due {
    pub key: Key,
    pub ask: NameserverQuery,
}

/// Result of the resolution of a name at the end of a round.
#[derive(Debug)]
pub struct ResolutionResult {
    pub status: ResolutionStatus,
    pub addresses: Vec<IpAddr>,
    pub services: Vec<Service>,
    /// Section and nameserver that responded, as logs print them.
    pub by: String,
    pub followers: Vec<(ProxyIndex, ServerIndex)>,
}

/// Events during a query that only affect counters.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Events {
    pub unsent: bool,
    /// The response did not fit into a datagram.
    pub truncated: bool,
    pub invalid: bool,
    /// Number of received messages that were not a response to this query.
    pub foreign: u32,
}

#[derive(Debug, Default)]
pub struct ResolutionSchedule {
    config: Arc<Config>,
    entries: HashMap<Key, Entry>,
    due: BTreeSet<(u64, Key)>,
    tallies: HashMap<(Box<str>, Box<str>), Tallies>,
    asked: usize,
    /// Follow-up queries that must be sent now.
    pending: Vec<Due>,
}

/// Returns the names that a server needs: its own name, and the host of its service record.
fn keys_of(config: &Config, server: &Server) -> Vec<Key> {
    let Some(host) = &server.host else {
        return Vec::new();
    };
    let section = host
        .resolvers
        .and_then(|at| config.resolvers.get(at as usize));
    let Some(section) = section else {
        return Vec::new();
    };
    let key = |text: &str, wanted| {
        Some(Key {
            section: section.name.clone(),
            name: DnsName::new(text)?,
            record_kind: wanted,
        })
    };
    let prefer = RecordKind::Addresses(host.family.unwrap_or(server.options.resolving.prefer));
    let now = server.state.host();
    if !host.service {
        let set = now.as_ref().filter(|now| !now.by_record);
        let text = set.map_or(&*host.text, |now| &*now.text);
        if text.is_empty() {
            return Vec::new();
        }
        return key(text, prefer).into_iter().collect();
    }
    let record = now.filter(|now| now.by_record && !now.told_beside);
    let of_host = record.and_then(|now| key(&now.text, prefer));
    key(&host.text, RecordKind::Services)
        .into_iter()
        .chain(of_host)
        .collect()
}

impl ResolutionSchedule {
    pub fn change(&mut self, config: &Arc<Config>, now_ms: u64) {
        self.config = Arc::clone(config);
        self.tallies.retain(|(section, server), _| {
            let of = config.resolvers.iter().find(|s| s.name == *section);
            of.is_some_and(|s| s.servers.iter().any(|known| known.name == *server))
        });
        self.update_followers(now_ms);
    }

    /// Updates the servers that follow each name, and removes unused names.
    pub fn update_followers(&mut self, now_ms: u64) {
        for entry in self.entries.values_mut() {
            entry.followers.clear();
        }
        let config = Arc::clone(&self.config);
        for (proxy_index, proxy) in config.iter().filter(|(_, proxy)| !proxy.disabled) {
            for (at, server) in proxy.servers.iter().enumerate() {
                for key in keys_of(&config, server) {
                    let place = (proxy_index, ServerIndex(at as u32));
                    self.entry(&key, now_ms).followers.push(place);
                }
            }
        }
        let sections = |name: &str| config.resolvers.iter().any(|s| *s.name == *name);
        let gone: Vec<Key> = self
            .entries
            .iter()
            .filter(|(key, entry)| {
                let wanted = !entry.followers.is_empty() || entry.asked_ms.is_some();
                !wanted || !sections(&key.section)
            })
            .map(|(key, _)| key.clone())
            .collect();
        gone.iter().for_each(|key| self.forget(key));
    }

    fn entry(&mut self, key: &Key, now_ms: u64) -> &mut Entry {
        let due = &mut self.due;
        self.entries.entry(key.clone()).or_insert_with(|| {
            due.insert((now_ms, key.clone()));
            Entry {
                resolution: Resolution::new(key.name.clone(), key.record_kind, now_ms),
                followers: Vec::new(),
                askers: Vec::new(),
                asked_ms: None,
                due_ms: now_ms,
            }
        })
    }

    fn forget(&mut self, key: &Key) {
        if let Some(entry) = self.entries.remove(key) {
            self.due.remove(&(entry.due_ms, key.clone()));
            self.asked -= usize::from(entry.asked_ms.is_some());
        }
    }

    fn section(&self, key: &Key) -> Option<Resolvers> {
        let sections = &self.config.resolvers;
        sections.iter().find(|s| s.name == key.section).cloned()
    }

    pub fn next_ms(&self) -> Option<u64> {
        self.due.first().map(|(at, _)| *at)
    }

    /// Starts the next name that is due; None if no name is due. Returns the query to send, or only
    /// the key if there is nothing to send, such as after a timeout that ended the resolution.
    /// Without `rules_too`, names that only rules request must wait, because clients can choose
    /// those.
    pub fn begin(&mut self, now_ms: u64, rules_too: bool) -> Option<(Key, Option<Due>)> {
        if let Some(due) = self.pending.pop() {
            return Some((due.key.clone(), Some(due)));
        }
        let entries = &self.entries;
        let follows = |key: &Key| entries.get(key).is_none_or(|e| !e.followers.is_empty());
        let mut due = self.due.iter().take_while(|(at, _)| *at <= now_ms);
        let (at, key) = due.find(|(_, key)| rules_too || follows(key))?.clone();
        let section = self.section(&key);
        let (Some(section), Some(entry)) = (section, self.entries.get_mut(&key)) else {
            self.forget(&key);
            self.due.remove(&(at, key.clone()));
            return Some((key, None));
        };
        let (ask, ended) = entry.resolution.poll(&section, now_ms);
        self.put(&key, ended, now_ms);
        let due = ask.map(|ask| Due {
            key: key.clone(),
            ask,
        });
        Some((key, due))
    }

    pub fn queue_follow_up(&mut self, due: Due) {
        self.pending.push(due);
    }

    fn put(&mut self, key: &Key, ended: bool, now_ms: u64) {
        let Some(entry) = self.entries.get_mut(key) else {
            return;
        };
        self.due.remove(&(entry.due_ms, key.clone()));
        entry.due_ms = entry.resolution.due_ms();
        // Stops the periodic resolution of a name that only rules request, and drops the name
        // `ASKED_MS` after its last request.
        if ended && entry.followers.is_empty() {
            let asked_ms = entry.asked_ms.unwrap_or(0);
            if asked_ms + ASKED_MS <= now_ms {
                return self.forget(key);
            }
            entry.due_ms = asked_ms + ASKED_MS;
            entry.resolution.rest(entry.due_ms);
        }
        self.due.insert((entry.due_ms, key.clone()));
    }

    /// Processes the result of a query. Returns the next query, and whether the resolution ended
    /// for now.
    pub fn answered(
        &mut self,
        key: &Key,
        round_number: u32,
        server: usize,
        outcome: &QueryOutcome,
        events: Events,
        now_ms: u64,
    ) -> (Option<Due>, bool) {
        let Some(section) = self.section(key) else {
            return (None, false);
        };
        self.count(&section, server, outcome, events);
        let Some(entry) = self.entries.get_mut(key) else {
            return (None, false);
        };
        let resolution = &mut entry.resolution;
        let (ask, ended) = resolution.answered(&section, round_number, server, outcome, now_ms);
        if ended || ask.is_some() {
            self.put(key, ended, now_ms);
        }
        let due = ask.map(|ask| Due {
            key: key.clone(),
            ask,
        });
        (due, ended)
    }

    fn tally(&mut self, section: &Resolvers, server: usize) -> Option<&mut Tallies> {
        let server = section.servers.get(server)?;
        let key = (section.name.clone(), server.name.clone());
        Some(self.tallies.entry(key).or_default())
    }

    fn count(
        &mut self,
        section: &Resolvers,
        server: usize,
        outcome: &QueryOutcome,
        events: Events,
    ) {
        use protocol::dns::DnsResponseCode as Said;
        let Some(tally) = self.tally(section, server) else {
            return;
        };
        tally.unsent += u64::from(events.unsent);
        tally.truncated += u64::from(events.truncated);
        tally.invalid += u64::from(events.invalid);
        tally.outdated += u64::from(events.foreign);
        match outcome {
            QueryOutcome::Silent => tally.timeout += 1,
            QueryOutcome::Unusable => {}
            QueryOutcome::Answered(answer) => {
                tally.cname += u64::from(answer.aliased);
                let nothing = answer.addresses.is_empty() && answer.services.is_empty();
                match answer.status {
                    Said::Fine if nothing => tally.any_error += 1,
                    Said::Fine => tally.valid += 1,
                    Said::NoSuchName => tally.nx += 1,
                    Said::Refused => tally.refused += 1,
                    Said::Other(_) => tally.other += 1,
                }
            }
        }
    }

    pub fn count_sent(&mut self, section: &Resolvers, server: usize) {
        if let Some(tally) = self.tally(section, server) {
            tally.sent += 1;
        }
    }

    pub fn count_update(&mut self, key: &Key) {
        let Some(section) = self.section(key) else {
            return;
        };
        let by = self.entries.get(key).map(|e| e.resolution.answered_by);
        if let Some(tally) = by.and_then(|by| self.tally(&section, by)) {
            tally.update += 1;
        }
    }

    /// Returns the known records of a name, and sends the address to the rules that wait for it.
    pub fn found(&mut self, key: &Key) -> Option<ResolutionResult> {
        let section = self.section(key)?;
        let entry = self.entries.get_mut(key)?;
        let resolution = &entry.resolution;
        let addresses: Vec<IpAddr> = resolution.addresses.iter().map(|(ip, _)| *ip).collect();
        for asker in entry.askers.drain(..) {
            // Ignores a receiver that is gone because the client of its rule has disconnected.
            let _ = asker.send(addresses.first().copied());
        }
        let server = section.servers.get(resolution.answered_by);
        let by = server.map_or("", |server| &server.name);
        Some(ResolutionResult {
            status: resolution.status,
            addresses,
            services: resolution.services.iter().map(|(s, _)| s.clone()).collect(),
            by: format!("{}/{by}", section.name),
            followers: entry.followers.clone(),
        })
    }

    /// Requests a name for a rule. Returns None if it cannot be resolved or a limit is reached.
    pub fn look_up_name(&mut self, key: &Key, now_ms: u64) -> Option<NameLookup> {
        let section = self.section(key).filter(|s| !s.servers.is_empty())?;
        if let Some(entry) = self.entries.get(key)
            && entry.resolution.is_fresh(&section, now_ms)
        {
            let first = entry.resolution.addresses.first();
            return Some(NameLookup::Known(first.map(|(ip, _)| *ip)));
        }
        let new = self.entries.get(key).is_none_or(|e| e.asked_ms.is_none());
        if new && self.asked >= ASKED_MAX {
            return None;
        }
        self.asked += usize::from(new);
        let entry = self.entry(key, now_ms);
        entry.asked_ms = Some(now_ms);
        if entry.askers.len() >= ASKERS_MAX {
            return None;
        }
        let (sender, receiver) = oneshot::channel();
        entry.askers.push(sender);
        entry.resolution.make_query_due(now_ms);
        self.put(key, false, now_ms);
        Some(NameLookup::Wait(receiver))
    }

    pub fn report(&self) -> Vec<SectionReport> {
        let of = |section: &Resolvers| {
            let tally = |name: &str| {
                let key = (section.name.clone(), name.into());
                self.tallies.get(&key).copied().unwrap_or_default()
            };
            let servers = section.servers.iter();
            let servers = servers.map(|s| (s.name.clone(), tally(&s.name)));
            (section.name.clone(), servers.collect())
        };
        self.config.resolvers.iter().map(of).collect()
    }

    pub fn config(&self) -> Arc<Config> {
        Arc::clone(&self.config)
    }
}

/// Result of a rule's request for a name.
#[derive(Debug)]
pub enum NameLookup {
    /// The address is known; None if the name has none.
    Known(Option<IpAddr>),
    Wait(oneshot::Receiver<Option<IpAddr>>),
}
