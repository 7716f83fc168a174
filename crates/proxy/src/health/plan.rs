//! Decides when each server is checked, also across changes of the configuration. The schedule
//! owns no socket and reads no clock; times are milliseconds since its creation.
//!
//! A server is identified by the uid of its state, so a server that remains in the configuration
//! keeps its schedule whatever else changes. A change of the configuration has these effects:
//!
//! - a remaining server is checked when it was due, or after its new interval if that is sooner.
//!   So new settings apply within the shorter of both intervals, and a change causes neither a
//!   burst nor a pause;
//! - if the checks of a server go to another address, a pending result of the old address is
//!   ignored, and the new address is checked soon. Until then the server keeps its state, so that a
//!   change alone brings no server up;
//! - new servers are checked soon, spread over time as after a start; removed servers are no
//!   longer checked.

use super::agent;
use super::schedule::Schedule;
use model::config::target::{CheckAddress, target};
use model::config::{Config, Proxy, ProxyIndex, Server, ServerIndex};
use model::state::ServerState;
use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

/// Position of a server in the newest configuration, and the time of its next check.
#[derive(Debug)]
struct Entry {
    proxy: ProxyIndex,
    server: ServerIndex,
    /// None while a check is running.
    due_ms: Option<u64>,
    /// Number of the change of the configuration that created the entry or changed the address. The
    /// result of a run with another number is ignored.
    epoch: u32,
    /// Address to which the checks go under the current configuration, to notice a change.
    target: Option<CheckAddress>,
}

/// A run of a check, due or in progress.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct CheckRun {
    uid: u32,
    epoch: u32,
}

/// A server, with the configuration under which the run of its check began. This keeps the
/// configuration in memory, so it should be dropped soon.
#[derive(Clone, Debug)]
pub(super) struct CheckedServer {
    pub(super) config: Arc<Config>,
    pub(super) proxy: ProxyIndex,
    pub(super) server: ServerIndex,
}

impl CheckedServer {
    pub(super) fn get(&self) -> Option<(&Proxy, &Server)> {
        let proxy = self.config.proxy(self.proxy);
        Some((proxy, proxy.servers.get(self.server.0 as usize)?))
    }
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum ScheduledChecks {
    Servers,
    Agents,
}

/// Schedule of the checks of the newest configuration.
#[derive(Debug)]
pub(super) struct CheckSchedule {
    kind: ScheduledChecks,
    config: Arc<Config>,
    entries: HashMap<u32, Entry>,
    due: BTreeSet<(u64, u32)>,
    warming: Vec<Arc<ServerState>>,
    seed: u32,
    /// Number of the last change of the configuration, for the entries that it creates. No run that
    /// began before has this number, even if a server's uid is assigned again.
    epoch: u32,
}

impl CheckSchedule {
    /// Creates the plan for all checks of a configuration; none has run yet.
    pub(super) fn new(config: &Arc<Config>, asked: ScheduledChecks, seed: u32) -> CheckSchedule {
        let mut plan = CheckSchedule {
            kind: asked,
            config: Arc::clone(config),
            entries: HashMap::new(),
            due: BTreeSet::new(),
            warming: Vec::new(),
            seed,
            epoch: 0,
        };
        plan.change(config, 0);
        plan
    }

    /// Applies a new configuration. Checks of removed servers stop.
    pub(super) fn change(&mut self, config: &Arc<Config>, now_ms: u64) {
        self.config = Arc::clone(config);
        self.epoch = self.epoch.wrapping_add(1);
        let mut before = std::mem::take(&mut self.entries);
        self.due.clear();
        self.warming.clear();
        let mut soon = Vec::new();
        for (proxy_index, proxy) in config.iter().filter(|(_, proxy)| !proxy.disabled) {
            for (at, server) in proxy.servers.iter().enumerate() {
                if server.options.slowstart_ms > 0 && self.kind == ScheduledChecks::Servers {
                    self.warming.push(Arc::clone(&server.state));
                }
                if !self.kind.of(server) {
                    continue;
                }
                let uid = server.state.uid;
                let server_index = ServerIndex(at as u32);
                let target = self.kind.target(server);
                let entry = before.remove(&uid);
                let (entry, moved) = go_on(entry, proxy_index, server_index, target, self.epoch);
                let schedule = schedule(config, server, self.kind);
                let latest = now_ms + schedule.longest_ms(server);
                match entry.due_ms {
                    _ if moved => soon.push((uid, schedule.inter_ms, entry.due_ms)),
                    Some(due) => {
                        self.due.insert((due.min(latest), uid));
                    }
                    None => {}
                }
                self.entries.insert(uid, entry);
            }
        }
        self.due.iter().for_each(|(due, uid)| {
            if let Some(entry) = self.entries.get_mut(uid) {
                entry.due_ms = Some(*due);
            }
        });
        self.spread_first_checks(&soon, now_ms);
    }

    /// Spreads the first checks of servers over the shortest of their intervals.
    fn spread_first_checks(&mut self, servers: &[(u32, u32, Option<u64>)], now_ms: u64) {
        let shortest = servers.iter().map(|(_, inter, _)| *inter).min();
        let most = self.config.global.max_spread_checks_ms;
        for (n, (uid, _, due)) in servers.iter().enumerate() {
            let wait = Schedule::first_ms(shortest.unwrap_or(0), most, n, servers.len());
            let at = due.map_or(now_ms + wait, |due| due.min(now_ms + wait));
            self.put(*uid, at);
        }
    }

    fn put(&mut self, uid: u32, at_ms: u64) {
        if let Some(entry) = self.entries.get_mut(&uid) {
            if let Some(old) = entry.due_ms.replace(at_ms) {
                self.due.remove(&(old, uid));
            }
            self.due.insert((at_ms, uid));
        }
    }

    pub(super) fn next_ms(&self) -> Option<u64> {
        self.due.first().map(|(at, _)| *at)
    }

    /// Takes a check that is due. The check then counts as running until
    /// [`CheckSchedule::schedule_next`].
    pub(super) fn begin(&mut self, now_ms: u64) -> Option<(CheckRun, CheckedServer)> {
        let (at, uid) = *self.due.first()?;
        if at > now_ms {
            return None;
        }
        self.due.pop_first();
        let entry = self.entries.get_mut(&uid)?;
        entry.due_ms = None;
        let run = CheckRun {
            uid,
            epoch: entry.epoch,
        };
        Some((run, self.find_server(run)?))
    }

    /// Returns the server of a run in the newest configuration; None if the result of the run must
    /// be ignored.
    pub(super) fn find_server(&self, run: CheckRun) -> Option<CheckedServer> {
        let entry = self.entries.get(&run.uid)?;
        (entry.epoch == run.epoch).then(|| CheckedServer {
            config: Arc::clone(&self.config),
            proxy: entry.proxy,
            server: entry.server,
        })
    }

    pub(super) fn schedule_next(&mut self, run: CheckRun, now_ms: u64) {
        let Some(place) = self.find_server(run) else {
            return;
        };
        let Some((_, server)) = place.get() else {
            return;
        };
        let schedule = schedule(&place.config, server, self.kind);
        let wait = schedule.next_ms(server.state.check_phase(), self.random());
        self.put(run.uid, now_ms + wait);
    }

    pub(super) fn place_of(&self, uid: u32) -> Option<CheckedServer> {
        let entry = self.entries.get(&uid)?;
        Some(CheckedServer {
            config: Arc::clone(&self.config),
            proxy: entry.proxy,
            server: entry.server,
        })
    }

    /// Schedules the next check of a server earlier, unless one is running.
    pub(super) fn schedule_earlier(&mut self, uid: u32, at_ms: u64) {
        let due = self.entries.get(&uid).and_then(|entry| entry.due_ms);
        if due.is_some_and(|due| due > at_ms) {
            self.put(uid, at_ms);
        }
    }

    /// Returns the servers with `slowstart`, whose weights may be rising.
    pub(super) fn warming(&self) -> &[Arc<ServerState>] {
        &self.warming
    }

    /// Stops all checks. Results of running ones are ignored.
    pub(super) fn end(&mut self) {
        self.entries.clear();
        self.due.clear();
        self.warming.clear();
    }

    fn random(&mut self) -> u32 {
        self.seed = self
            .seed
            .wrapping_mul(1_664_525)
            .wrapping_add(1_013_904_223);
        self.seed >> 8
    }
}

/// Transfers the schedule of a server to its position in a new configuration. Also returns whether
/// the server must be checked soon, because it is new or its checks go to another address.
fn go_on(
    before: Option<Entry>,
    proxy: ProxyIndex,
    server_index: ServerIndex,
    target: Option<CheckAddress>,
    next: u32,
) -> (Entry, bool) {
    let (epoch, due_ms, moved) = match before {
        Some(entry) if entry.target == target => (entry.epoch, entry.due_ms, false),
        Some(entry) => (next, entry.due_ms, true),
        None => (next, None, true),
    };
    let entry = Entry {
        proxy,
        server: server_index,
        due_ms,
        epoch,
        target,
    };
    (entry, moved)
}

impl ScheduledChecks {
    fn of(self, server: &Server) -> bool {
        match self {
            ScheduledChecks::Servers => server.options.check,
            ScheduledChecks::Agents => server.options.agent.check,
        }
    }

    fn target(self, server: &Server) -> Option<CheckAddress> {
        match self {
            ScheduledChecks::Servers => target(server),
            ScheduledChecks::Agents => agent::target(server).map(CheckAddress::Inet),
        }
    }
}

fn schedule(config: &Config, server: &Server, asked: ScheduledChecks) -> Schedule {
    if asked == ScheduledChecks::Agents {
        return Schedule {
            inter_ms: server.options.agent.inter_ms.unwrap_or(agent::INTER_MS),
            fastinter_ms: None,
            downinter_ms: None,
            spread: config.global.spread_checks,
        };
    }
    Schedule {
        inter_ms: server.options.inter_ms,
        fastinter_ms: server.options.fastinter_ms,
        downinter_ms: server.options.downinter_ms,
        spread: config.global.spread_checks,
    }
}

impl Schedule {
    /// Returns the longest possible wait until the next check in the server's current phase.
    fn longest_ms(&self, server: &Server) -> u64 {
        let interval = u64::from(self.interval_ms(server.state.check_phase()));
        interval + self.spread_ms(interval)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use keyword::testing::load_text;
    use model::state::{self, CheckResult, CheckStatus};
    use std::time::Instant;

    fn tree(text: &str, old: Option<&Config>) -> Arc<Config> {
        let mut config = load_text(text).config.expect("the file is good");
        model::control::install(&mut config, old, state::now_ms());
        Arc::new(config)
    }

    /// Builds a backend section from the names of servers, each with its options.
    fn backend(servers: &[(&str, &str)]) -> String {
        let lines: String = servers
            .iter()
            .map(|(name, words)| format!(" server {name} {words}\n"))
            .collect();
        format!("listen b\n bind 127.0.0.1:1\n{lines}")
    }

    /// Runs all checks that are due before a time; each takes no time. Returns which server was
    /// checked when.
    fn until(plan: &mut CheckSchedule, end_ms: u64) -> Vec<(String, u64)> {
        let mut seen = Vec::new();
        while let Some(at) = plan.next_ms().filter(|at| *at <= end_ms) {
            let (run, place) = plan.begin(at).expect("it is due");
            seen.push((place.get().unwrap().1.name.to_string(), at));
            plan.schedule_next(run, at);
        }
        seen
    }

    fn times(seen: &[(String, u64)], name: &str) -> Vec<u64> {
        let of = seen.iter().filter(|(server, _)| server == name);
        of.map(|(_, at)| *at).collect()
    }

    /// Passes checks until the server is certainly up, so that only the phase `Up` occurs.
    fn surely_up(config: &Config) {
        for server in config.proxies.iter().flat_map(|proxy| &proxy.servers) {
            for _ in 0..3 {
                let passed = CheckResult::new(CheckStatus::Layer4Ok, 1);
                server.state.take_check(passed, state::now_ms());
            }
        }
    }

    #[test]
    fn servers_that_stay_keep_their_rhythm_through_any_number_of_changes() {
        let servers = [
            ("a", "127.0.0.1:80 check inter 1000"),
            ("b", "127.0.0.1:81 check inter 1000"),
        ];
        let first = tree(&backend(&servers), None);
        surely_up(&first);
        let mut plan = CheckSchedule::new(&first, ScheduledChecks::Servers, 1);
        let mut seen = until(&mut plan, 1200);
        let mut config = first;
        for n in 0..100 {
            // Each change moves the servers within the file, and adds and removes others.
            let extra = format!("x{n}");
            let mut lines = vec![(&*extra, "127.0.0.1:9 check inter 1000")];
            lines.extend(servers.iter().rev().cloned());
            config = tree(&backend(&lines), Some(&config));
            plan.change(&config, 1200 + n * 10);
            seen.extend(until(&mut plan, 1209 + n * 10));
        }
        seen.extend(until(&mut plan, 4000));
        assert_eq!(times(&seen, "a"), [0, 1000, 2000, 3000, 4000]);
        assert_eq!(times(&seen, "b"), [500, 1500, 2500, 3500]);
        assert!(
            times(&seen, "x0").len() == 1,
            "removed ones are checked no more"
        );
    }

    #[test]
    fn another_interval_counts_within_the_shorter_of_both() {
        for (old, new, expected) in [
            (10_000, 1000, [0, 1500, 2500]),
            (1000, 10_000, [0, 1000, 11_000]),
        ] {
            let words = |inter| format!("127.0.0.1:80 check inter {inter}");
            let first = tree(&backend(&[("a", &words(old))]), None);
            surely_up(&first);
            let mut plan = CheckSchedule::new(&first, ScheduledChecks::Servers, 1);
            let mut seen = until(&mut plan, 500);
            plan.change(&tree(&backend(&[("a", &words(new))]), Some(&first)), 500);
            seen.extend(until(&mut plan, 20_000));
            assert_eq!(times(&seen, "a")[..3], expected, "{old} {new}");
        }
    }

    #[test]
    fn changed_address_is_checked_soon_and_counts_as_up() {
        let first = tree(&backend(&[("a", "127.0.0.1:80 check inter 10s")]), None);
        let state = Arc::clone(&first.proxies[0].servers[0].state);
        let mut plan = CheckSchedule::new(&first, ScheduledChecks::Servers, 1);
        let (stale, _) = plan.begin(0).unwrap();
        plan.schedule_next(stale, 0);
        for _ in 0..3 {
            let failed = CheckResult::new(CheckStatus::Layer4Error, 1);
            state.take_check(failed, state::now_ms());
        }
        let (running, place) = plan.begin(10_000).unwrap();
        assert_eq!(Arc::strong_count(&place.config), 3);
        drop(place);
        // A check of the old address is still running when the address changes.
        let second = tree(
            &backend(&[("a", "127.0.0.1:81 check inter 10s")]),
            Some(&first),
        );
        plan.change(&second, 10_050);
        // The server is up, but the first failed check takes it down, as for a new server.
        assert_eq!(state.report(0).status_text(), "UP 1/3");
        assert!(
            plan.find_server(running).is_none(),
            "the old address's result"
        );
        plan.schedule_next(running, 10_060);
        assert_eq!(plan.next_ms(), Some(10_050));
        let (run, place) = plan.begin(10_070).unwrap();
        assert_eq!(&*place.get().unwrap().1.address_text, "127.0.0.1:81");
        drop((place, second));
        assert!(plan.find_server(run).is_some());
        assert_eq!(Arc::strong_count(&first), 1, "the old tree is not held");
    }

    #[test]
    fn check_of_a_removed_server_is_ignored() {
        let with = |name| backend(&[("stays", "127.0.0.1:1"), (name, "127.0.0.1:80 check")]);
        let without = backend(&[("stays", "127.0.0.1:1")]);
        // Tests that run concurrently take uids, too.
        for _ in 0..100 {
            let first = tree(&with("a"), None);
            let uid = first.proxies[0].servers[1].state.uid;
            let mut plan = CheckSchedule::new(&first, ScheduledChecks::Servers, 1);
            let (run, place) = plan.begin(0).unwrap();
            drop(place);
            let second = tree(&without, Some(&first));
            plan.change(&second, 10);
            drop(first);
            let third = tree(&with("b"), Some(&second));
            plan.change(&third, 20);
            if third.proxies[0].servers[1].state.uid == uid {
                assert!(plan.find_server(run).is_none());
                plan.schedule_next(run, 30);
                assert_eq!(plan.next_ms(), Some(20));
                return;
            }
        }
        panic!("no uid was given out again");
    }

    #[test]
    fn check_during_a_reload_counts_and_then_uses_the_new_file() {
        let first = tree(&backend(&[("a", "127.0.0.1:80 check inter 1000")]), None);
        surely_up(&first);
        let mut plan = CheckSchedule::new(&first, ScheduledChecks::Servers, 1);
        let (run, place) = plan.begin(0).unwrap();
        drop(place);
        let second = tree(
            &backend(&[("n", "127.0.0.1:9"), ("a", "127.0.0.1:80 check inter 300")]),
            Some(&first),
        );
        plan.change(&second, 100);
        assert_eq!(plan.next_ms(), None, "it still runs");
        let place = plan.find_server(run).unwrap();
        assert!(Arc::ptr_eq(&place.config, &second));
        assert_eq!(&*place.get().unwrap().1.name, "a");
        plan.schedule_next(run, 200);
        assert_eq!(plan.next_ms(), Some(500));
    }

    #[test]
    fn ten_thousand_servers_change_quickly_and_without_a_burst() {
        let text = |extra: usize| {
            let lines: String = (0..10_000 + extra)
                .map(|n| format!(" server s{n} 127.0.0.1:80 check inter 10s\n"))
                .collect();
            format!("listen b\n bind 127.0.0.1:1\n{lines}")
        };
        let first = tree(&text(0), None);
        surely_up(&first);
        let mut plan = CheckSchedule::new(&first, ScheduledChecks::Servers, 1);
        until(&mut plan, 10_000);
        let second = tree(&text(100), Some(&first));
        let began = Instant::now();
        plan.change(&second, 10_000);
        println!("10,000 servers: {:?}", began.elapsed());
        let seen = until(&mut plan, 11_000);
        assert!(
            (990..=1020).contains(&seen.len()),
            "{} in a second",
            seen.len()
        );
    }
}
