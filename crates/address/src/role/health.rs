//! What the proxy's health does to a virtual router: bands with hysteresis, read from
//! the memory that both share; and what is told there of each virtual router.

use super::event_loop::Role;
use super::{Level, Log, clock};
use protocol::role::vitals::{BYTES, Counter, Told, ToldState, Vitals, WORDS};
use protocol::vrrp::{Counters, Instance, State, Time};
use rustix::fd::{AsRawFd, OwnedFd};
use std::io;
use std::ptr::null_mut;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

/// How often the memory is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// How often while requests are to finish before a hand-over.
const LOOK_DRAINING: Duration = Duration::from_millis(10);

/// Nobody serves.
pub(super) const WORST: usize = 2;

/// A worse band counts when it has lasted so long.
const WORSE_AFTER: Duration = Duration::from_millis(300);

/// A better band counts when it has lasted so long.
const BETTER_AFTER: Duration = Duration::from_secs(2);

/// The band of one virtual router, with hysteresis.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Steady {
    /// What counts.
    counts: usize,
    /// What is seen now, and since when.
    seen: (usize, Time),
}

impl Steady {
    /// The first band counts at once.
    pub fn new(now: Time, band: usize) -> Steady {
        Steady {
            counts: band,
            seen: (band, now),
        }
    }

    /// What counts.
    pub fn band(&self) -> usize {
        self.counts
    }

    /// What is seen now; what counts from now on, where it is another one.
    pub fn see(&mut self, now: Time, band: usize) -> Option<usize> {
        // Getting still worse does not begin the wait anew.
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

/// The memory of the proxy's heartbeats.
#[derive(Debug)]
pub(super) struct Health {
    vitals: Option<Vitals<'static>>,
    look_at: Option<Time>,
    /// By instance; none where its health changes nothing.
    steady: Vec<Option<(String, Steady)>>,
    /// Instances whose requests are to finish before a hand-over.
    draining: Vec<usize>,
}

impl Health {
    /// Maps it; without a proxy there is none.
    pub(super) fn open(memory: Option<&OwnedFd>, log: &mut Log) -> Health {
        let vitals = memory.and_then(|fd| match map(fd) {
            Ok(words) => Vitals::open(words)
                .map_err(|error| log(Level::Error, &error.to_string()))
                .ok(),
            Err(error) => {
                log(Level::Error, &format!("the memory of heartbeats: {error}"));
                None
            }
        });
        Health {
            vitals,
            look_at: None,
            steady: Vec::new(),
            draining: Vec::new(),
        }
    }

    /// The memory that is shared with a proxy.
    pub(super) fn memory(&self) -> Option<Vitals<'static>> {
        self.vitals
    }

    /// When it is looked at again.
    pub(super) fn deadline(&self) -> Option<Time> {
        self.look_at
    }

    /// How many requests are under way at the addresses of an instance, if a proxy says so.
    pub(super) fn under_way(&self, name: &str) -> Option<u64> {
        let vitals = self.vitals?;
        vitals.under_way(vitals.find(name)?)
    }

    /// The band that counts for an instance.
    pub(super) fn band(&self, at: usize) -> Option<usize> {
        self.steady.get(at)?.as_ref().map(|(_, s)| s.band())
    }
}

/// It stays mapped for as long as the process lives: a few hundred kilobytes, once.
fn map(fd: &OwnedFd) -> io::Result<&'static [AtomicU64]> {
    // Shorter, and a look behind its end would end the process.
    if rustix::fs::fstat(fd)?.st_size < BYTES as i64 {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    let protection = libc::PROT_READ | libc::PROT_WRITE;
    // SAFETY: the kernel chooses the place, and nothing else of ours is there.
    let memory = unsafe {
        let fd = fd.as_raw_fd();
        libc::mmap(null_mut(), BYTES, protection, libc::MAP_SHARED, fd, 0)
    };
    if memory == libc::MAP_FAILED {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the mapping has as many words, is aligned to a page, and is never unmapped;
    // others only write whole words to it.
    Ok(unsafe { std::slice::from_raw_parts(memory.cast(), WORDS) })
}

impl Role {
    /// A new configuration. What counted goes on to count: the proxy, which takes its own
    /// at the same time, may be silent for a moment. Of new ones what is seen counts.
    pub(super) fn begin_health(&mut self, now: Time) {
        let vitals = self.health.vitals;
        let old = std::mem::take(&mut self.health.steady);
        let steady = |member: &super::member::Member| {
            member.config.bands?;
            let name = &member.config.name;
            let mut before = old.iter().flatten();
            if let Some((_, steady)) = before.find(|(of, _)| of == name) {
                return Some((name.clone(), *steady));
            }
            let band = seen(&vitals?, name, clock::as_ms(now));
            Some((name.clone(), Steady::new(now, band)))
        };
        self.health.steady = self.members.iter().map(steady).collect();
        self.health.draining.clear();
        // The routers are new, and are told again.
        self.on_trial = false;
        for at in 0..self.members.len() {
            if let Some(band) = self.health.band(at) {
                self.router.set_band(now, Instance(at), band);
            }
        }
        self.health.look_at = vitals.map(|_| now);
    }

    /// Looks at the memory when it is time to, and writes there what became of us.
    pub(super) fn look_at_health(&mut self, now: Time) {
        let Some(vitals) = self.health.vitals else {
            return;
        };
        if self.health.look_at.is_some_and(|at| at > now) {
            return;
        }
        let now_ms = clock::as_ms(now);
        vitals.role_beats(now_ms);
        self.look_at_trial(now, &vitals);
        for at in 0..self.members.len() {
            let Some(member) = self.members.get(at) else {
                continue;
            };
            let name = member.config.name.clone();
            if let Some(Some((_, steady))) = self.health.steady.get_mut(at)
                && let Some(band) = steady.see(now, seen(&vitals, &name, now_ms))
            {
                let words = [
                    "can all be served",
                    "cannot all be served",
                    "cannot be served",
                ];
                let words = words.get(band).copied().unwrap_or("cannot be served");
                self.log(Level::Notice, &format!("({name}) its frontends {words}"));
                self.router.set_band(now, Instance(at), band);
            }
            let Some(slot) = vitals.find(&name) else {
                continue;
            };
            if let Some(told) = self.told(at) {
                vitals.tell(slot, &told);
            }
            if self.health.draining.contains(&at) && vitals.under_way(slot) == Some(0) {
                self.router.drained(now, Instance(at));
            }
        }
        let every = if self.health.draining.is_empty() {
            LOOK_EVERY
        } else {
            LOOK_DRAINING
        };
        self.health.look_at = Some(now.after(every));
    }

    /// The proxy is told that requests at the addresses are to finish, or no longer.
    pub(super) fn set_draining(&mut self, at: usize, until: Option<Time>) {
        self.health.draining.retain(|other| *other != at);
        if until.is_some() {
            self.health.draining.push(at);
            self.health.look_at = self.health.vitals.map(|_| clock::now());
        }
        let name = self.name(at);
        if let Some(vitals) = self.health.vitals
            && let Some(slot) = vitals.find(&name)
        {
            vitals.set_drain(slot, until.map(clock::as_ms));
        }
    }

    fn told(&self, at: usize) -> Option<Told> {
        let status = self.router.status(Instance(at))?;
        let history = &self.members.get(at)?.history;
        let mut told = Told {
            state: match status.state {
                State::Init => ToldState::Init,
                State::Backup => ToldState::Backup,
                State::Master => ToldState::Master,
                State::Fault => ToldState::Fault,
            },
            since_ms: clock::as_ms(status.since),
            transitions: history.entered,
            priority: status.priority,
            owner: status
                .owner
                .map(|(address, priority, _)| (address, priority)),
            counters: Default::default(),
        };
        let counters = super::member::sum(&history.base, &status.counters);
        for (which, value) in named(&counters) {
            told.set_counter(which, value);
        }
        Some(told)
    }
}

/// What is seen of an instance; a proxy that was told of none of that name, or that has
/// not begun, does not serve it.
fn seen(vitals: &Vitals<'_>, name: &str, now_ms: u64) -> usize {
    vitals.band(name, now_ms).map_or(WORST, |band| band.index())
}

fn named(c: &Counters) -> [(Counter, u64); 17] {
    [
        (Counter::AdvertsReceived, c.adverts_received),
        (Counter::AdvertsSent, c.adverts_sent),
        (Counter::BecameMaster, c.became_master),
        (Counter::ReleasedMaster, c.released_master),
        (Counter::PacketLengthErrors, c.packet_length_errors),
        (Counter::IntervalErrors, c.interval_errors),
        (Counter::TtlErrors, c.ttl_errors),
        (Counter::InvalidType, c.invalid_type),
        (Counter::AddressListErrors, c.address_list_errors),
        (
            Counter::InvalidAuthenticationType,
            c.invalid_authentication_type,
        ),
        (
            Counter::AuthenticationTypeMismatch,
            c.authentication_type_mismatch,
        ),
        (Counter::AuthenticationFailures, c.authentication_failures),
        (Counter::ChecksumErrors, c.checksum_errors),
        (Counter::VersionErrors, c.version_errors),
        (Counter::VridErrors, c.vrid_errors),
        (Counter::PriorityZeroReceived, c.priority_zero_received),
        (Counter::PriorityZeroSent, c.priority_zero_sent),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(ms: u64) -> Time {
        Time(ms * 1_000_000)
    }

    #[test]
    fn a_worse_band_counts_soon_and_a_better_one_when_it_stayed() {
        let mut steady = Steady::new(at(0), 0);
        assert_eq!(steady.see(at(0), 2), None);
        assert_eq!(steady.see(at(299), 2), None);
        assert_eq!(steady.see(at(300), 2), Some(2));
        assert_eq!(steady.see(at(400), 0), None);
        assert_eq!(steady.see(at(2000), 1), None);
        // Better than what counts, but another one: it begins anew.
        assert_eq!(steady.see(at(3999), 1), None);
        assert_eq!(steady.see(at(4000), 1), Some(1));
        assert_eq!(steady.band(), 1);
    }

    #[test]
    fn a_short_loss_is_none_and_getting_still_worse_does_not_wait_anew() {
        let mut steady = Steady::new(at(0), 0);
        assert_eq!(steady.see(at(0), 2), None);
        assert_eq!(steady.see(at(200), 0), None);
        assert_eq!(steady.see(at(301), 2), None);
        assert_eq!(steady.see(at(500), 1), None);
        assert_eq!(steady.see(at(601), 1), Some(1));
    }
}
