//! All names that are asked for, of all sections of the newest tree, and who
//! wants them: servers, which follow, and rules, which wait. A value.

use super::resolution::{Ask, QueryOutcome, Resolution, Status, Wanted};
use crate::config::{Config, ProxyIndex, Resolvers, Server, ServerIndex};
use protocol::dns::{Name, Service};
use std::collections::{BTreeSet, HashMap};
use std::net::IpAddr;
use std::sync::Arc;
use tokio::sync::oneshot;

/// Most names that rules may ask for at one time, of all sections.
pub const ASKED_MAX: usize = 4096;
/// Most rules that wait for one name.
const ASKERS_MAX: usize = 100_000;
/// How long a name that only rules ask for is kept after the last of them.
const ASKED_MS: u64 = 60_000;

/// A name of a section.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Key {
    /// The section.
    pub section: Box<str>,
    /// The name.
    pub name: Name,
    /// The kind of records.
    pub wanted: Wanted,
}

/// Counters of a nameserver, in the order of `show resolvers`.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Tallies {
    /// Queries sent.
    pub sent: u64,
    /// Queries that could not be sent.
    pub unsent: u64,
    /// Valid responses.
    pub valid: u64,
    /// Responses that changed a server.
    pub update: u64,
    /// Responses with an alias only.
    pub cname: u64,
    /// Responses with an unusable record.
    pub any_error: u64,
    /// Names that do not exist.
    pub nx: u64,
    /// Timeouts.
    pub timeout: u64,
    /// Refused queries.
    pub refused: u64,
    /// Other errors.
    pub other: u64,
    /// Malformed responses.
    pub invalid: u64,
    /// Truncated responses.
    pub truncated: u64,
    /// Responses after the round.
    pub outdated: u64,
}

impl Tallies {
    /// The words of HAProxy, in its order: scripts read them.
    pub fn named(&self) -> [(&'static str, u64); 15] {
        [
            ("sent", self.sent),
            ("snd_error", self.unsent),
            ("valid", self.valid),
            ("update", self.update),
            ("cname", self.cname),
            // An alias that leads nowhere is an answer without a record here.
            ("cname_error", 0),
            ("any_err", self.any_error),
            ("nx", self.nx),
            ("timeout", self.timeout),
            ("refused", self.refused),
            ("other", self.other),
            ("invalid", self.invalid),
            // The system cuts a datagram off that is too long; then it is invalid.
            ("too_big", 0),
            ("truncated", self.truncated),
            ("outdated", self.outdated),
        ]
    }
}

/// A section, with what each of its servers did.
pub type SectionReport = (Box<str>, Vec<(Box<str>, Tallies)>);

#[derive(Debug)]
struct Entry {
    resolution: Resolution,
    /// Servers that follow it.
    followers: Vec<(ProxyIndex, ServerIndex)>,
    askers: Vec<oneshot::Sender<Option<IpAddr>>>,
    /// When a rule last asked.
    asked_ms: Option<u64>,
    due_ms: u64,
}

/// A question that is to be put to the servers of a section now.
#[derive(Debug)]
pub struct Due {
    /// The name.
    pub key: Key,
    /// The query.
    pub ask: Ask,
}

/// What is known of a name at the end of a round.
#[derive(Debug)]
pub struct Found {
    /// What the round came to.
    pub status: Status,
    /// The addresses of the name.
    pub addresses: Vec<IpAddr>,
    /// The services of the name (SRV records).
    pub services: Vec<Service>,
    /// Who said so, as logs name it.
    pub by: String,
    /// The servers that follow the name.
    pub followers: Vec<(ProxyIndex, ServerIndex)>,
}

/// What happened besides, for counters.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Events {
    /// The question could not be sent.
    pub unsent: bool,
    /// The answer did not fit into a datagram.
    pub truncated: bool,
    /// What came was no DNS.
    pub invalid: bool,
    /// What came answered something else.
    pub foreign: u32,
}

/// The names.
#[derive(Debug, Default)]
pub struct Plan {
    config: Arc<Config>,
    entries: HashMap<Key, Entry>,
    due: BTreeSet<(u64, Key)>,
    tallies: HashMap<(Box<str>, Box<str>), Tallies>,
    asked: usize,
    /// Questions that follow others, to be put now.
    pending: Vec<Due>,
}

/// What a server asks for: its own name, and the host of its service.
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
            name: Name::new(text)?,
            wanted,
        })
    };
    let prefer = Wanted::Addresses(host.family.unwrap_or(server.options.resolving.prefer));
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
    key(&host.text, Wanted::Services)
        .into_iter()
        .chain(of_host)
        .collect()
}

impl Plan {
    /// Goes on with another tree.
    pub fn change(&mut self, config: &Arc<Config>, now_ms: u64) {
        self.config = Arc::clone(config);
        self.tallies.retain(|(section, server), _| {
            let of = config.resolvers.iter().find(|s| s.name == *section);
            of.is_some_and(|s| s.servers.iter().any(|known| known.name == *server))
        });
        self.follow_again(now_ms);
    }

    /// Finds out anew which server follows which name.
    pub fn follow_again(&mut self, now_ms: u64) {
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
                resolution: Resolution::new(key.name.clone(), key.wanted, now_ms),
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

    /// When there is something to do.
    pub fn next_ms(&self) -> Option<u64> {
        self.due.first().map(|(at, _)| *at)
    }

    /// A name that is due: what is to be asked, or the key of one that silence ended.
    /// Without `rules_too` names that only rules ask for, whom clients tell them, wait.
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

    /// A question that follows another is to be put now.
    pub fn again(&mut self, due: Due) {
        self.pending.push(due);
    }

    /// Puts a name where its next time is.
    fn put(&mut self, key: &Key, ended: bool, now_ms: u64) {
        let Some(entry) = self.entries.get_mut(key) else {
            return;
        };
        self.due.remove(&(entry.due_ms, key.clone()));
        entry.due_ms = entry.resolution.due_ms();
        // A name that only rules want is not asked for by itself.
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

    /// A server's answer. Says what is to be asked next, and whether the name's
    /// resolution came to an end for now.
    pub fn answered(
        &mut self,
        key: &Key,
        from: (u32, usize),
        (outcome, events): (&QueryOutcome, Events),
        now_ms: u64,
    ) -> (Option<Due>, bool) {
        let Some(section) = self.section(key) else {
            return (None, false);
        };
        self.count(&section, from.1, outcome, events);
        let Some(entry) = self.entries.get_mut(key) else {
            return (None, false);
        };
        let (ask, ended) = entry.resolution.answered(&section, from, outcome, now_ms);
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
        use protocol::dns::Status as Said;
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

    /// Counts a question that goes out.
    pub fn count_sent(&mut self, section: &Resolvers, server: usize) {
        if let Some(tally) = self.tally(section, server) {
            tally.sent += 1;
        }
    }

    /// Counts answers that changed something.
    pub fn count_update(&mut self, key: &Key) {
        let Some(section) = self.section(key) else {
            return;
        };
        let by = self.entries.get(key).map(|e| e.resolution.answered_by);
        if let Some(tally) = by.and_then(|by| self.tally(&section, by)) {
            tally.update += 1;
        }
    }

    /// What is known of a name now. Answers the rules that wait for it.
    pub fn found(&mut self, key: &Key) -> Option<Found> {
        let section = self.section(key)?;
        let entry = self.entries.get_mut(key)?;
        let resolution = &entry.resolution;
        let addresses: Vec<IpAddr> = resolution.addresses.iter().map(|(ip, _)| *ip).collect();
        for asker in entry.askers.drain(..) {
            // The rule's client may have gone.
            let _ = asker.send(addresses.first().copied());
        }
        let server = section.servers.get(resolution.answered_by);
        let by = server.map_or("", |server| &server.name);
        Some(Found {
            status: resolution.status,
            addresses,
            services: resolution.services.iter().map(|(s, _)| s.clone()).collect(),
            by: format!("{}/{by}", section.name),
            followers: entry.followers.clone(),
        })
    }

    /// A rule asks for a name. None: it cannot be asked for.
    pub fn ask(&mut self, key: &Key, now_ms: u64) -> Option<Asked> {
        let section = self.section(key).filter(|s| !s.servers.is_empty())?;
        if let Some(entry) = self.entries.get(key)
            && entry.resolution.is_fresh(&section, now_ms)
        {
            let first = entry.resolution.addresses.first();
            return Some(Asked::Known(first.map(|(ip, _)| *ip)));
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
        entry.resolution.hurry(now_ms);
        self.put(key, false, now_ms);
        Some(Asked::Wait(receiver))
    }

    /// The sections, with what their servers did.
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

    /// The tree that it works under.
    pub fn config(&self) -> Arc<Config> {
        Arc::clone(&self.config)
    }
}

/// What a rule that asks is told.
#[derive(Debug)]
pub enum Asked {
    /// This, at once.
    Known(Option<IpAddr>),
    /// It comes.
    Wait(oneshot::Receiver<Option<IpAddr>>),
}
