//! The side thread's part: it judges, counts what is under way where an address is to
//! be given away, and writes both down.

use super::{judge, now_ms};
use crate::runtime::{Runtime, VitalsMemory};
use model::config::{Config, Service};
use model::transaction::listing;
use protocol::vitals::Vitals;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;
use tokio::task::AbortHandle;
use tokio::time::{sleep, timeout};

/// How often it is judged.
const EVERY: Duration = Duration::from_millis(100);
/// How often it is counted while an address is to be given away: the moment at which
/// nothing is under way may be short.
const COUNT_EVERY: Duration = Duration::from_millis(5);
/// How long a thread may take to count.
const PATIENCE: Duration = Duration::from_secs(1);
/// As long as this after it began there may be clients between two requests, who learn
/// with an answer, or by silence, that their connection ends ([`crate::stream`]).
const SETTLING: Duration = Duration::from_millis(1_100);

/// The task; dropping it ends it.
#[derive(Debug)]
pub struct Watching(AbortHandle);

impl Drop for Watching {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Starts on the Tokio runtime of this thread.
pub fn start(runtime: &'static Runtime) -> Watching {
    Watching(tokio::spawn(run(runtime)).abort_handle())
}

async fn run(runtime: &'static Runtime) {
    let mut described = None;
    loop {
        let Some((vitals, owner)) = runtime.vitals.memory() else {
            sleep(EVERY).await;
            continue;
        };
        if runtime.stopping() || !vitals.is_owner(owner) {
            // The successor has described its own addresses. The connections that are
            // still here end with their addresses.
            described = None;
            lead(runtime, &runtime.config(), vitals);
            sleep(EVERY).await;
            continue;
        }
        vitals.side_beat(owner, now_ms());
        let config = runtime.config();
        let claims = runtime.vitals.claims.load(Ordering::Relaxed);
        let now_described = Some((config.version, claims));
        if described != now_described {
            let names = config.services.iter().map(|service| &*service.name);
            vitals.describe(owner, names);
        }
        for (slot, service) in config.services.iter().enumerate() {
            vitals.set_band(owner, slot, judge::band(&config, service));
        }
        if described != now_described {
            // Who reads it takes the first bands that it sees.
            vitals.set_threads(owner, runtime.threads());
            described = now_described;
        }
        match drain(runtime, &config, vitals).await {
            true => sleep(COUNT_EVERY).await,
            false => sleep(EVERY).await,
        }
    }
}

/// Leads connections of addresses that are to be given away to their end. Which services
/// these are, with their slots.
fn lead<'c>(
    runtime: &'static Runtime,
    config: &'c Config,
    vitals: Vitals<'static>,
) -> Vec<(usize, &'c Service)> {
    let VitalsMemory { draining, .. } = &runtime.vitals;
    let services = config.services.iter();
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
            // Clients that wait for their next request look what is asked of them.
            reactor::wake_all(thread);
        }
    }
    let wanted = wanted.into_iter();
    wanted.map(|(slot, service, _)| (slot, service)).collect()
}

/// Leads connections of addresses that are to be given away to their end, and counts
/// what is under way there. False where there are none.
async fn drain(runtime: &'static Runtime, config: &Arc<Config>, vitals: Vitals<'static>) -> bool {
    let wanted = lead(runtime, config, vitals);
    let (VitalsMemory { draining, .. }, now) = (&runtime.vitals, reactor::Instant::now());
    let Some((_, owner)) = runtime.vitals.memory() else {
        return false;
    };
    for (slot, service) in &wanted {
        let Some(streams) = under_way(runtime, &service.addresses).await else {
            // A thread that is too busy to count has something under way.
            vitals.set_under_way(owner, *slot, 1);
            continue;
        };
        let drain = service
            .addresses
            .iter()
            .find_map(|address| draining.of(*address));
        let settling = drain.is_some_and(|drain| {
            now.saturating_duration_since(drain.since) < SETTLING && has_clients(config, service)
        });
        vitals.set_under_way(owner, *slot, streams + u64::from(settling));
    }
    !wanted.is_empty()
}

/// Whether somebody is connected to frontends of a service.
fn has_clients(config: &Config, service: &Service) -> bool {
    judge::frontends(config, &service.addresses)
        .iter()
        .any(|frontend| frontend.state.frontend_sessions.current() > 0)
}

/// How many streams clients have at addresses, on all threads; None where one does
/// not say.
async fn under_way(runtime: &Runtime, addresses: &[IpAddr]) -> Option<u64> {
    let mut all = 0;
    for thread in 0..runtime.threads() {
        let (give, take) = tokio::sync::oneshot::channel();
        let addresses = addresses.to_vec();
        let count = move || {
            // Nobody waits any more when it cannot be given.
            let _ = give.send(listing::count_at(&addresses));
        };
        reactor::inject(thread, count).ok()?;
        all += timeout(PATIENCE, take).await.ok()?.ok()?;
    }
    Some(all)
}
