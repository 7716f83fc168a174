//! Runs on the side thread: judges the services behind virtual addresses, counts the running
//! streams of addresses that are about to leave this machine, and writes both to the shared
//! memory.

use super::{judge, now_ms};
use crate::runtime::{Runtime, VitalsMemory};
use model::config::{Config, Service};
use model::transaction::listing;
use protocol::vitals::Vitals;
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::atomic::Ordering;
use std::time::Duration;
use tokio::task::AbortHandle;
use tokio::time::{Instant, sleep, timeout};

const EVERY: Duration = Duration::from_millis(100);
/// Interval of counting while an address is about to leave this machine. Short, because a moment
/// without running streams may be short.
const COUNT_EVERY: Duration = Duration::from_millis(5);
/// Longest wait for a thread's count.
const PATIENCE: Duration = Duration::from_secs(1);
/// Time after the start of a drain in which a client may be between two requests. Clients learn
/// from a response, or by a close after silence, that their connection ends ([`crate::stream`]).
const SETTLING: Duration = Duration::from_millis(1_100);

/// Time for which a removed service keeps its slot. Its addresses may leave this machine only
/// later, and their connections must still be drained.
const REMOVED_FOR: Duration = Duration::from_secs(60);

/// Services that have a slot in the shared memory.
#[derive(Default)]
struct Described {
    /// Services of the newest configuration, followed by removed ones.
    services: Vec<Service>,
    version: Option<u64>,
    removed: Vec<Instant>,
}

impl Described {
    /// Applies a configuration. Removed services keep their slots for a while, and as long as they
    /// drain. Returns whether anything changed.
    fn follow(&mut self, config: &Config, now: Instant, drains: impl Fn(&str) -> bool) -> bool {
        let is_new = self.version != Some(config.version);
        let mut all = std::mem::take(&mut self.services);
        let kept = all.len() - self.removed.len();
        let gone: Vec<(Service, Instant)> = if is_new {
            let since = std::iter::repeat_n(now, kept).chain(self.removed.drain(..));
            let is_gone = |one: &Service| config.services.iter().all(|s| s.name != one.name);
            let gone = all.drain(..).zip(since);
            gone.filter(|(one, _)| is_gone(one)).collect()
        } else {
            all.drain(kept..).zip(self.removed.drain(..)).collect()
        };
        if is_new {
            (self.version, all) = (Some(config.version), config.services.clone());
        }
        let before = gone.len();
        for (one, since) in gone {
            if now.duration_since(since) < REMOVED_FOR || drains(&one.name) {
                all.push(one);
                self.removed.push(since);
            }
        }
        self.services = all;
        is_new || self.removed.len() != before
    }
}

/// Time after which a service counts as tested in any case, because a check with a long `inter`
/// may not have run yet.
const FIRST_CHECKS_WITHIN: Duration = Duration::from_secs(30);

/// For each service whose first health checks are pending: since when, by name.
#[derive(Default)]
struct Untested(BTreeMap<Box<str>, Instant>);

impl Untested {
    fn is_untested(&mut self, config: &Config, service: &Service) -> bool {
        self.see(
            &service.name,
            judge::is_untested(config, service),
            Instant::now(),
        )
    }

    fn see(&mut self, name: &str, is_untested: bool, now: Instant) -> bool {
        if !is_untested {
            self.0.remove(name);
            return false;
        }
        let since = *self.0.entry(name.into()).or_insert(now);
        now.duration_since(since) < FIRST_CHECKS_WITHIN
    }
}

/// The running task; dropping it stops the task.
#[derive(Debug)]
pub struct Watching(AbortHandle);

impl Drop for Watching {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Starts the task on the Tokio runtime of this thread.
pub fn start(runtime: &'static Runtime) -> Watching {
    Watching(tokio::spawn(run(runtime)).abort_handle())
}

async fn run(runtime: &'static Runtime) {
    let (mut described, mut claims) = (Described::default(), None);
    let mut untested = Untested::default();
    loop {
        let Some((vitals, owner)) = runtime.vitals.memory() else {
            sleep(EVERY).await;
            continue;
        };
        let config = runtime.config();
        let drains = |name: &str| {
            let until_ms = vitals.find(name).and_then(|slot| vitals.drain(slot));
            until_ms.is_some_and(|until_ms| until_ms > now_ms())
        };
        let changed = described.follow(&config, Instant::now(), drains);
        if runtime.stopping() || !vitals.is_owner(owner) {
            // Writes nothing, because another process writes the memory now. Connections here to
            // its addresses end with the addresses.
            claims = None;
            lead(runtime, &described.services, vitals);
            sleep(EVERY).await;
            continue;
        }
        vitals.write_side_heartbeat(owner, now_ms());
        let now_claims = Some(runtime.vitals.claims.load(Ordering::Relaxed));
        let describes = changed || claims != now_claims;
        if describes {
            let names = described.services.iter().map(|service| &*service.name);
            vitals.describe(owner, names);
        }
        for (slot, service) in described.services.iter().enumerate() {
            // Reads the state of the checks before the band, so that the band includes a check that
            // ends in between.
            let is_untested = untested.is_untested(&config, service);
            vitals.set_service(owner, slot, judge::band(&config, service), is_untested);
        }
        if describes {
            // Writes the threads last, because a reader uses the bands as soon as there are
            // threads.
            vitals.set_threads(owner, runtime.threads());
            claims = now_claims;
        }
        if drain(runtime, &config, &described.services, vitals).await {
            sleep(COUNT_EVERY).await
        } else {
            sleep(EVERY).await
        }
    }
}

/// Starts to drain the connections of addresses that are about to leave this machine. Returns
/// these services with their slots.
fn lead<'c>(
    runtime: &'static Runtime,
    services: &'c [Service],
    vitals: Vitals<'static>,
) -> Vec<(usize, &'c Service)> {
    let VitalsMemory { draining, .. } = &runtime.vitals;
    let services = services.iter();
    let wanted: Vec<(usize, &Service, u64)> = services
        .filter_map(|service| {
            let slot = vitals.find(&service.name)?;
            Some((slot, service, vitals.drain(slot)?))
        })
        .collect();
    let (now, now_ms) = (reactor::Instant::now(), now_ms());
    let addresses: Vec<(IpAddr, reactor::Instant)> = wanted
        .iter()
        .flat_map(|(_, service, until_ms)| {
            let left = Duration::from_millis(until_ms.saturating_sub(now_ms));
            let all = service.addresses.iter();
            all.map(move |address| (*address, now + left))
        })
        .collect();
    if draining.set(&addresses, now) {
        for thread in 0..runtime.threads() {
            // Wakes idle clients, so that they notice the drain.
            reactor::wake_all(thread);
        }
    }
    let wanted = wanted.into_iter();
    wanted.map(|(slot, service, _)| (slot, service)).collect()
}

/// Drains the connections of addresses that are about to leave this machine, and counts their
/// running streams. Returns false if there are no such addresses.
async fn drain(
    runtime: &'static Runtime,
    config: &Config,
    services: &[Service],
    vitals: Vitals<'static>,
) -> bool {
    let wanted = lead(runtime, services, vitals);
    let (VitalsMemory { draining, .. }, now) = (&runtime.vitals, reactor::Instant::now());
    let Some((_, owner)) = runtime.vitals.memory() else {
        return false;
    };
    for (slot, service) in &wanted {
        let Some(streams) = under_way(runtime, &service.addresses).await else {
            // Counts one stream for a thread that is too busy to count, which certainly has some.
            vitals.set_requests_in_progress(owner, *slot, 1);
            continue;
        };
        let drain = service
            .addresses
            .iter()
            .find_map(|address| draining.of(*address));
        let settling = drain.is_some_and(|drain| {
            now.saturating_duration_since(drain.since) < SETTLING && has_clients(config, service)
        });
        vitals.set_requests_in_progress(owner, *slot, streams + u64::from(settling));
    }
    !wanted.is_empty()
}

fn has_clients(config: &Config, service: &Service) -> bool {
    judge::frontends(config, &service.addresses)
        .iter()
        .any(|frontend| frontend.state.frontend.sessions.current() > 0)
}

/// Counts the running streams of clients at these addresses on all threads; None if a thread does
/// not respond.
async fn under_way(runtime: &Runtime, addresses: &[IpAddr]) -> Option<u64> {
    let mut all = 0;
    for thread in 0..runtime.threads() {
        let (give, take) = tokio::sync::oneshot::channel();
        let addresses = addresses.to_vec();
        let count = move || {
            // Ignores a failure, which means that the requester has stopped waiting.
            let _ = give.send(listing::count_at(&addresses));
        };
        reactor::inject(thread, count).ok()?;
        all += timeout(PATIENCE, take).await.ok()?.ok()?;
    }
    Some(all)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn version(version: u64, names: &[&str]) -> Config {
        let service = |name: &&str| Service {
            name: (*name).into(),
            ..Service::default()
        };
        Config {
            version,
            services: names.iter().map(service).collect(),
            ..Config::default()
        }
    }

    #[test]
    fn a_service_that_a_version_removed_is_described_until_its_connections_had_their_time() {
        let mut described = Described::default();
        let begun = Instant::now();
        let at = |seconds| begun + Duration::from_secs(seconds);
        let names = |described: &Described| {
            let names = described.services.iter().map(|one| one.name.to_string());
            names.collect::<Vec<_>>().join(" ")
        };
        let both = version(1, &["www", "mail"]);
        assert!(described.follow(&both, at(0), |_| false));
        assert!(!described.follow(&both, at(100), |_| false));
        let one = version(2, &["mail"]);
        assert!(described.follow(&one, at(100), |_| false));
        assert_eq!(names(&described), "mail www");
        // A further version does not change that, but one that contains the service again does.
        assert!(described.follow(&version(3, &["mail"]), at(130), |_| false));
        assert_eq!(names(&described), "mail www");
        let drains = |name: &str| name == "www";
        let three = version(3, &["mail"]);
        assert!(!described.follow(&three, at(159), |_| false));
        assert!(!described.follow(&three, at(170), drains));
        assert!(described.follow(&three, at(171), |_| false));
        assert_eq!(names(&described), "mail");
        assert!(described.follow(&version(4, &[]), at(180), |_| false));
        assert!(described.follow(&version(5, &["mail"]), at(181), |_| false));
        assert_eq!(names(&described), "mail");
        assert!(!described.follow(&version(5, &["mail"]), at(300), |_| false));
    }

    #[test]
    fn first_checks_delay_a_takeover_for_a_bounded_time() {
        let mut untested = Untested::default();
        let begun = Instant::now();
        assert!(untested.see("www", true, begun));
        assert!(untested.see("www", true, begun + FIRST_CHECKS_WITHIN / 2));
        assert!(!untested.see("www", true, begun + FIRST_CHECKS_WITHIN));
        assert!(!untested.see("www", false, begun + FIRST_CHECKS_WITHIN));
        // The servers of the service were replaced.
        assert!(untested.see("www", true, begun + 2 * FIRST_CHECKS_WITHIN));
    }
}
