//! Derives the health band of each virtual router from the proxy's shared memory, with hysteresis,
//! and lowers its priority accordingly. Writes the state of each virtual router and requests to
//! drain to the same memory.

use super::event_loop::AddressRole;
use super::{Level, Log, clock};
use protocol::vitals::{BYTES, Band, Pulse, SlotReport, SlotState, Vitals, WORDS};
use protocol::vrrp::{Instance, Time, VrrpState};
use rustix::fd::{AsRawFd, OwnedFd};
use std::io;
use std::ptr::null_mut;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

/// Poll interval of the shared memory.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// Poll interval while requests drain before a hand-over, and in a grace period.
const LOOK_SOON: Duration = Duration::from_millis(10);

/// Worst band: no frontend is available.
pub(super) const WORST: usize = 2;

/// Time after which a worse band takes effect.
const WORSE_AFTER: Duration = Duration::from_millis(300);

/// Time after which a better band takes effect.
const BETTER_AFTER: Duration = Duration::from_secs(2);

/// Grace period after the proxy was given another memory. Until the proxy writes there, the
/// previous bands apply; instances without a previous band have the worst one.
const SETTLES_WITHIN: Duration = Duration::from_secs(3);

/// Health band of one virtual router, with hysteresis.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Steady {
    counts: usize,
    /// The current band in the memory, and since when.
    seen: (usize, Time),
    /// True if the proxy has reported a band.
    known: bool,
    is_untested: bool,
}

impl Steady {
    /// Starts with a band that takes effect at once.
    pub fn new(now: Time, band: usize) -> Steady {
        Steady {
            counts: band,
            seen: (band, now),
            known: true,
            is_untested: false,
        }
    }

    /// Starts with the worst band. The first band that the proxy reports takes effect at once.
    pub fn unknown(now: Time) -> Steady {
        Steady {
            known: false,
            ..Steady::new(now, WORST)
        }
    }

    pub fn band(&self) -> usize {
        self.counts
    }

    /// Records whether the first health checks of the servers have not ended; returns whether
    /// that changed. When they end, the next band counts at once: the bands before said nothing
    /// about the servers.
    pub fn record_untested(&mut self, is_untested: bool) -> bool {
        let was_untested = std::mem::replace(&mut self.is_untested, is_untested);
        if was_untested && !is_untested {
            self.known = false;
        }
        was_untested != is_untested
    }

    /// Records the current band; returns the new effective one if it changed.
    pub fn record_band(&mut self, now: Time, band: usize) -> Option<usize> {
        if !self.known {
            let before = self.counts;
            *self = Steady {
                is_untested: self.is_untested,
                ..Steady::new(now, band)
            };
            return (band != before).then_some(band);
        }
        // Keeps the start of the wait, which a further worsening does not restart.
        let (seen, since) = self.seen;
        let goes_on = seen == band || (band > self.counts && seen > self.counts);
        self.seen = (band, if goes_on { since } else { now });
        let wait = match band.cmp(&self.counts) {
            std::cmp::Ordering::Equal => return None,
            std::cmp::Ordering::Greater => WORSE_AFTER,
            std::cmp::Ordering::Less => BETTER_AFTER,
        };
        if now.since(self.seen.1) < wait {
            return None;
        }
        self.counts = band;
        Some(band)
    }
}

/// State that is derived from the proxy's shared memory.
#[derive(Debug, Default)]
pub(super) struct Health {
    words: Option<&'static [AtomicU64]>,
    vitals: Option<Vitals<'static>>,
    /// Message about other client-facing roles that do not run; empty if all run.
    missing: String,
    /// End of the grace period in which the proxy may not know its new memory yet.
    settles_until: Option<Time>,
    look_at: Option<Time>,
    /// Band of each instance; None where health changes nothing.
    steady: Vec<Option<(String, Steady)>>,
    /// Instances whose requests drain before a hand-over, with the end of the drain.
    draining: Vec<(usize, Time)>,
    pub(super) on_trial: bool,
}

impl Health {
    pub(super) fn open(memory: Option<&OwnedFd>, log: &mut Log) -> Health {
        let mut health = Health::default();
        if let Some(memory) = memory {
            health.replace(memory, log);
        }
        health
    }

    /// Switches to another memory. The previous memory stays if the new one cannot be mapped.
    fn replace(&mut self, memory: &OwnedFd, log: &mut Log) {
        let opened = map(memory, self.words).map(|words| (words, Vitals::open(words)));
        match opened {
            Ok((words, Ok(vitals))) => {
                self.words = Some(words);
                self.vitals = Some(vitals);
            }
            Ok((_, Err(error))) => log(Level::Error, &error.to_string()),
            Err(error) => log(Level::Error, &format!("heartbeat memory: {error}")),
        }
    }

    /// Returns whether the proxy may not have switched to a new memory yet.
    fn settles(&mut self, now: Time, vitals: &Vitals<'_>) -> bool {
        if self.settles_until.is_none_or(|until| until <= now) {
            self.settles_until = None;
            return false;
        }
        let mut all = self.steady.iter().flatten();
        let begun = match vitals.pulse(clock::as_ms(now)) {
            Pulse::NotBegun => false,
            Pulse::Beats => true,
            // A thread may not have written its first heartbeat into this memory yet.
            Pulse::Stuck {
                oldest_ms: u64::MAX,
                ..
            } => false,
            Pulse::Stuck { .. } => all.clone().all(|(_, steady)| steady.known),
        };
        let settled = begun && all.all(|(name, _)| vitals.find(name).is_some());
        if settled {
            self.settles_until = None;
        }
        !settled
    }

    pub(super) fn memory(&self) -> Option<Vitals<'static>> {
        self.vitals
    }

    pub(super) fn deadline(&self) -> Option<Time> {
        self.look_at
    }

    /// Returns the number of requests in progress at the addresses of an instance, if a
    /// proxy reports it.
    pub(super) fn under_way(&self, name: &str) -> Option<u64> {
        let vitals = self.vitals?;
        vitals.requests_in_progress(vitals.find(name)?)
    }

    /// Returns why some frontends of an instance are unavailable; None if all are available.
    pub(super) fn why(&self, name: &str, now_ms: u64) -> Option<String> {
        if !self.missing.is_empty() {
            return Some(self.missing.clone());
        }
        let Some(vitals) = self.vitals else {
            return Some("no proxy reports to this role".to_owned());
        };
        let process = vitals.owner();
        Some(match (vitals.pulse(now_ms), vitals.find(name)) {
            (Pulse::NotBegun, _) if process == 0 => "no proxy writes heartbeats".to_owned(),
            (Pulse::NotBegun, _) => {
                format!("the proxy (process {process}) has not started yet, or is stopping")
            }
            (
                Pulse::Stuck {
                    silent,
                    threads,
                    oldest_ms,
                },
                _,
            ) => {
                let since = match oldest_ms {
                    u64::MAX => "since the start".to_owned(),
                    ms => format!("for {ms} ms"),
                };
                format!(
                    "{silent} of {threads} threads of the proxy (process {process}) have written no heartbeat {since}"
                )
            }
            (Pulse::Beats, None) => {
                format!(
                    "the proxy (process {process}) does not have this instance in its configuration"
                )
            }
            (Pulse::Beats, Some(slot)) if vitals.is_untested(slot) => {
                "the first health checks of the servers have not ended".to_owned()
            }
            (Pulse::Beats, Some(slot)) if vitals.last_written_band(slot) == Band::All => {
                return None;
            }
            (Pulse::Beats, Some(_)) => "the proxy reports servers as down".to_owned(),
        })
    }

    /// Returns the current band of an instance. The band is the worst one if the proxy has not
    /// started or has no instance of that name. A missing role makes the band at least degraded,
    /// and the worst one without a proxy.
    fn seen(&self, name: &str, now_ms: u64) -> usize {
        let band =
            |vitals: Vitals<'_>| vitals.band(name, now_ms).map_or(WORST, |band| band.index());
        match (self.vitals.map(band), self.missing.is_empty()) {
            (Some(band), true) => band,
            (Some(band), false) => band.max(Band::Some.index()),
            (None, true) => 0,
            (None, false) => WORST,
        }
    }

    /// Returns whether nothing is known yet about the servers of an instance: their first health
    /// checks have not ended, or the grace period of a new memory lasts. False without a proxy.
    pub(super) fn is_untested(&self, name: &str) -> bool {
        let Some(vitals) = self.vitals else {
            return false;
        };
        let flagged = vitals
            .find(name)
            .is_some_and(|slot| vitals.is_untested(slot));
        flagged || self.settles_until.is_some()
    }

    /// Starts or ends the drain of an instance's requests before a hand-over.
    fn drains(&mut self, at: usize, until: Option<Time>, now: Time) {
        self.draining.retain(|(other, _)| *other != at);
        if let Some(until) = until {
            self.draining.push((at, until));
            // Schedules a poll without a proxy, too: the instance may be unfit until another role
            // runs, and only a poll detects that.
            self.look_at = Some(now);
        }
    }

    /// Returns whether there is any source of health: a proxy, or a missing role.
    pub(super) fn is_known(&self) -> bool {
        self.vitals.is_some() || !self.missing.is_empty()
    }

    pub(super) fn band(&self, at: usize) -> Option<usize> {
        self.steady.get(at)?.as_ref().map(|(_, s)| s.band())
    }
}

/// Maps the memory for the life of the process: a few hundred kilobytes, once. A later memory
/// replaces the first at the same address.
fn map(fd: &OwnedFd, mapped: Option<&'static [AtomicU64]>) -> io::Result<&'static [AtomicU64]> {
    // Refuses a shorter file, in which a read beyond the end would kill the process (SIGBUS).
    if rustix::fs::fstat(fd)?.st_size < BYTES as i64 {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    let protection = libc::PROT_READ | libc::PROT_WRITE;
    let (place, flags) = match mapped {
        Some(words) => {
            let place = words.as_ptr().cast_mut().cast();
            (place, libc::MAP_SHARED | libc::MAP_FIXED)
        }
        None => (null_mut(), libc::MAP_SHARED),
    };
    // SAFETY: the kernel chooses the address, or the address is a mapping of this function, which
    // has the same length and whose users expect others to change its words at any time.
    let memory = unsafe {
        let fd = fd.as_raw_fd();
        libc::mmap(place, BYTES, protection, flags, fd, 0)
    };
    if memory == libc::MAP_FAILED {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the mapping has as many words, is aligned to a page, and is never unmapped;
    // others only write whole words to it.
    Ok(unsafe { std::slice::from_raw_parts(memory.cast(), WORDS) })
}

impl AddressRole {
    /// Applies a new configuration. Effective bands stay: the proxy, which reloads at the
    /// same time, may be silent for a moment. For new instances the current band takes
    /// effect.
    pub(super) fn begin_health(&mut self, now: Time) {
        let vitals = self.health.vitals;
        let old = std::mem::take(&mut self.health.steady);
        let now_ms = clock::as_ms(now);
        let not_begun = vitals.is_some_and(|vitals| vitals.pulse(now_ms) == Pulse::NotBegun);
        let (health, keeper) = (&self.health, &self.keeper);
        let follows = |name: &str| {
            let mut kept = keeper.instances_before();
            not_begun && kept.any(|one| one.name == name && one.holds)
        };
        let mut settles = false;
        let mut steady = |member: &super::member::VrrpInstance| {
            member.config.bands?;
            let name = &member.config.name;
            let mut before = old.iter().flatten();
            if let Some((_, steady)) = before.find(|(of, _)| of == name) {
                return Some((name.clone(), *steady));
            }
            if follows(name) {
                // Starts with the best band: the previous role had the addresses a moment ago.
                settles = true;
                return Some((name.clone(), Steady::new(now, 0)));
            }
            let Some(vitals) = vitals else {
                return Some((name.clone(), Steady::new(now, 0)));
            };
            if vitals.pulse(now_ms) != Pulse::Beats || vitals.find(name).is_none() {
                settles = true;
                return Some((name.clone(), Steady::unknown(now)));
            }
            let band = health.seen(name, now_ms);
            Some((name.clone(), Steady::new(now, band)))
        };
        let steady = self.members.iter().map(&mut steady).collect();
        self.health.steady = steady;
        if settles {
            self.health.settles_until = Some(now.after(SETTLES_WITHIN));
        }
        self.health.draining.clear();
        // Sets all priorities, because the routers are new.
        self.health.on_trial = false;
        self.update_all_limits(now);
        // Schedules a poll, because without a proxy only a poll changes a previous band.
        self.health.look_at = Some(now);
    }

    /// Switches to the proxy's new memory. Effective bands stay until the proxy writes there, or
    /// until the grace period ends. Without a memory there is no proxy any more, and nothing that
    /// could be unavailable.
    pub(super) fn read_health_from(&mut self, memory: Option<OwnedFd>) {
        let now = clock::now();
        let Some(memory) = memory else {
            self.health.vitals = None;
            for (_, steady) in self.health.steady.iter_mut().flatten() {
                *steady = Steady::new(now, 0);
            }
            self.update_all_limits(now);
            self.health.look_at = self.health.is_known().then_some(now);
            return;
        };
        self.health.replace(&memory, &mut self.given.log);
        self.health.settles_until = Some(now.after(SETTLES_WITHIN));
        self.health.look_at = Some(now);
    }

    /// Records which other client-facing roles do not run; an empty text means that all run.
    pub(super) fn miss(&mut self, words: String) {
        self.health.missing = words;
        self.health.look_at = Some(clock::now());
    }

    pub(super) fn poll_health(&mut self, now: Time) {
        if self.health.look_at.is_none_or(|at| at > now) {
            return;
        }
        let now_ms = clock::as_ms(now);
        let vitals = self.health.vitals;
        let settles = vitals.is_some_and(|vitals| {
            vitals.write_role_heartbeat(now_ms);
            self.look_at_trial(now, &vitals);
            self.health.settles(now, &vitals)
        });
        for at in 0..self.members.len() {
            let Some(member) = self.members.get(at) else {
                continue;
            };
            let name = member.config.name.clone();
            // Reads the flag before the band and after it, because the proxy may write in between.
            let was_untested = self.health.is_untested(&name);
            let seen = self.health.seen(&name, now_ms);
            let is_untested = was_untested || self.health.is_untested(&name);
            let steady = self.health.steady.get_mut(at).and_then(Option::as_mut);
            let is_changed = steady.is_some_and(|(_, steady)| steady.record_untested(is_untested));
            if !settles
                && let Some(Some((_, steady))) = self.health.steady.get_mut(at)
                && let Some(band) = steady.record_band(now, seen)
            {
                let words = [
                    "all frontends are available",
                    "some frontends are unavailable",
                    "no frontend is available",
                ];
                let words = words
                    .get(band)
                    .copied()
                    .unwrap_or("no frontend is available");
                let why = self.health.why(&name, now_ms);
                let why = why.map_or_else(String::new, |why| format!(": {why}"));
                self.log(Level::Notice, &format!("({name}) {words}{why}"));
                self.update_limits(now, at);
            } else if is_changed {
                self.update_limits(now, at);
            }
            let Some((vitals, slot)) = vitals.and_then(|all| Some((all, all.find(&name)?))) else {
                continue;
            };
            if let Some(told) = self.told(at) {
                vitals.write_slot_report(slot, &told);
            }
            let draining = self.health.draining.iter().find(|(of, _)| *of == at);
            if let Some((_, until)) = draining {
                // Repeats the request to drain, which is lost if the proxy now uses the slot for
                // other addresses.
                if vitals.drain(slot).is_none() {
                    vitals.set_drain(slot, Some(clock::as_ms(*until)));
                }
                if vitals.requests_in_progress(slot) == Some(0) {
                    self.router.drained(now, Instance(at));
                }
            }
        }
        let soon = settles || !self.health.draining.is_empty();
        let every = if soon { LOOK_SOON } else { LOOK_EVERY };
        // Continues to poll without a proxy until no role is missing.
        let bands = self.health.steady.iter().flatten();
        let is_over =
            !self.health.is_known() && bands.map(|(_, one)| one.band()).all(|one| one == 0);
        self.health.look_at = (!is_over).then(|| now.after(every));
    }

    /// Requests of the proxy to finish requests at the addresses, or withdraws that.
    pub(super) fn set_draining(&mut self, at: usize, until: Option<Time>) {
        self.health.drains(at, until, clock::now());
        let name = self.name(at);
        if let Some(vitals) = self.health.vitals
            && let Some(slot) = vitals.find(&name)
        {
            vitals.set_drain(slot, until.map(clock::as_ms));
        }
    }

    fn told(&self, at: usize) -> Option<SlotReport> {
        let status = self.router.status(Instance(at))?;
        let history = &self.members.get(at)?.history;
        Some(SlotReport {
            state: match status.state {
                VrrpState::Init => SlotState::Init,
                VrrpState::Backup => SlotState::Backup,
                VrrpState::Master => SlotState::Master,
                VrrpState::Fault => SlotState::Fault,
            },
            since_ms: clock::as_ms(status.since),
            transitions: history.entered,
            priority: status.priority,
            owner: status
                .owner
                .map(|(address, priority, _)| (address, priority)),
            counters: history.base + status.counters,
        })
    }
}

/// Returns zeroed memory for heartbeats that lives as long as the process, for tests.
#[cfg(test)]
pub(super) fn static_memory() -> &'static [AtomicU64] {
    let words: Vec<AtomicU64> = (0..WORDS).map(|_| AtomicU64::new(0)).collect();
    words.leak()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(ms: u64) -> Time {
        Time(ms * 1_000_000)
    }

    #[test]
    fn an_address_that_moves_while_another_role_starts_is_looked_at_again_without_a_proxy() {
        let mut health = Health {
            steady: vec![Some(("www".to_owned(), Steady::new(at(0), WORST)))],
            look_at: Some(at(400)),
            ..Health::default()
        };
        health.drains(0, Some(at(2_300)), at(310));
        assert_eq!(health.deadline(), Some(at(310)));
        health.drains(0, None, at(2_000));
        assert_eq!(health.deadline(), Some(at(310)));
    }

    #[test]
    fn thread_that_has_not_written_into_another_memory_yet_is_waited_for() {
        let vitals = Vitals::begin(static_memory()).expect("long enough");
        vitals.claim(7, 2);
        let health = || Health {
            // The band is known from the previous memory.
            steady: vec![Some(("www".to_owned(), Steady::new(at(0), 0)))],
            settles_until: Some(at(10_000)),
            ..Health::default()
        };
        assert!(health().settles(at(9_000), &vitals));
        vitals.write_thread_heartbeat(7, 0, 9_000);
        assert!(health().settles(at(9_000), &vitals), "one of two threads");
        assert!(!health().settles(at(10_000), &vitals), "too late");
        vitals.write_thread_heartbeat(7, 1, 1_000);
        vitals.describe(7, ["www"]);
        assert!(!health().settles(at(9_000), &vitals), "a stuck thread");
    }

    #[test]
    fn a_worse_band_counts_soon_and_a_better_one_when_it_stayed() {
        let mut steady = Steady::new(at(0), 0);
        assert_eq!(steady.record_band(at(0), 2), None);
        assert_eq!(steady.record_band(at(299), 2), None);
        assert_eq!(steady.record_band(at(300), 2), Some(2));
        assert_eq!(steady.record_band(at(400), 0), None);
        assert_eq!(steady.record_band(at(2000), 1), None);
        // Better than the effective band, but a different one: the wait restarts.
        assert_eq!(steady.record_band(at(3999), 1), None);
        assert_eq!(steady.record_band(at(4000), 1), Some(1));
        assert_eq!(steady.band(), 1);
    }

    #[test]
    fn the_first_band_that_is_reported_counts_at_once() {
        let mut steady = Steady::unknown(at(0));
        assert_eq!(steady.band(), WORST);
        assert_eq!(steady.record_band(at(100), 0), Some(0));
        // From then on a change has to persist.
        assert_eq!(steady.record_band(at(200), 2), None);
        assert_eq!(steady.record_band(at(500), 2), Some(2));
        let mut steady = Steady::unknown(at(0));
        assert_eq!(steady.record_band(at(100), WORST), None);
        assert_eq!(steady.record_band(at(200), 0), None);
    }

    #[test]
    fn band_after_the_first_checks_counts_at_once() {
        let mut steady = Steady::unknown(at(0));
        assert!(steady.record_untested(true));
        assert_eq!(steady.record_band(at(0), 0), Some(0));
        assert!(!steady.record_untested(true));
        assert_eq!(steady.record_band(at(100), 0), None);
        assert!(steady.record_untested(false));
        assert_eq!(steady.record_band(at(200), WORST), Some(WORST));
        assert!(!steady.record_untested(false));
        assert_eq!(steady.record_band(at(300), 0), None);
    }

    #[test]
    fn a_short_loss_is_none_and_getting_still_worse_does_not_wait_anew() {
        let mut steady = Steady::new(at(0), 0);
        assert_eq!(steady.record_band(at(0), 2), None);
        assert_eq!(steady.record_band(at(200), 0), None);
        assert_eq!(steady.record_band(at(301), 2), None);
        assert_eq!(steady.record_band(at(500), 1), None);
        assert_eq!(steady.record_band(at(601), 1), Some(1));
    }
}
