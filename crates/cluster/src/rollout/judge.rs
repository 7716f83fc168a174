//! Compares the service before and after a node serves another version, and explains what got
//! worse.
//!
//! In doubt the judge reports the version as worse: a version that was rolled back can be applied
//! again with `--now`, but failed production traffic cannot be undone. Noise in small numbers does
//! not count: an error rate counts as risen only if chance does not explain it, a server or a
//! frontend as down only if it stays down.

use crate::machine::{FrontendHealth, Health};
use std::collections::{BTreeMap, VecDeque};

pub const BASELINE_SAMPLES_MAX: usize = 30;
const SAMPLES_MAX: usize = 16;
/// Number of consecutive samples that must agree that something is down.
const STEADY: usize = 2;
/// Number of errors below which errors are ignored.
const ERRORS_MIN: u64 = 5;
/// Smallest increase of the error rate that counts.
const RISE_MIN: f64 = 0.005;
/// Negative logarithm of the probability below which errors count as significant: one
/// in a thousand.
const SURPRISE_MIN: f64 = 6.907_755;
/// Requests that are assumed to have been served before, as a prior of the error rate, so that
/// after a short or quiet past the first error is not significant.
const PRIOR_REQUESTS: f64 = 50.0;
/// Errors that are assumed among these [`PRIOR_REQUESTS`].
const PRIOR_ERRORS: f64 = 0.5;
/// Largest number of errors that a proxy counts for one failed request: one for each
/// connection attempt, usually four, and one for the response.
const ERRORS_OF_A_REQUEST: u64 = 5;
const NAMES_MAX: usize = 5;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Probe {
    Answered { status: u16 },
    Silent,
}

impl Probe {
    fn is_good(self) -> bool {
        match self {
            Probe::Answered { status } => status < 500,
            Probe::Silent => false,
        }
    }
}

/// The results of synthetic requests, by the name of the HTTP frontend.
pub type Probes = BTreeMap<String, Probe>;

/// Result of the evaluation of a version.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Finding {
    Good { words: String },
    Worse { words: String },
}

#[derive(Clone, PartialEq, Debug)]
struct HealthSample {
    at_ms: u64,
    /// None: the node serves nothing.
    health: Option<Health>,
    /// None: no frontend was probed.
    probes: Option<Probes>,
}

/// Takes samples continuously, and judges a version from its switch on.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Judge {
    /// Samples before the switch, the oldest first.
    before: VecDeque<HealthSample>,
    window: Option<Window>,
}

impl HealthSample {
    fn probe(&self, frontend: &str) -> Option<&Probe> {
        self.probes.as_ref()?.get(frontend)
    }

    /// Returns the node's own synthetic requests and how many failed: the proxy counts
    /// them as well.
    fn own(&self) -> Counts {
        let probes = || self.probes.iter().flatten();
        let failed = probes().filter(|(_, probe)| !probe.is_good());
        Counts {
            requests: probes().count() as u64,
            errors: failed.count() as u64,
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
struct Counts {
    requests: u64,
    errors: u64,
}

impl Counts {
    fn between(first: Option<&Health>, last: Option<&Health>) -> Counts {
        match (first, last) {
            (Some(first), Some(last)) => Counts {
                requests: last.requests.saturating_sub(first.requests),
                errors: last.errors.saturating_sub(first.errors),
            },
            _ => Counts::default(),
        }
    }

    fn and(self, more: Counts) -> Counts {
        Counts {
            requests: self.requests.saturating_add(more.requests),
            errors: self.errors.saturating_add(more.errors),
        }
    }

    fn without(self, own: Counts) -> Counts {
        Counts {
            requests: self.requests.saturating_sub(own.requests),
            errors: self.errors.saturating_sub(own.errors),
        }
    }

    /// Returns the number of failed requests, at most the number of requests.
    fn failed(self) -> u64 {
        self.errors.min(self.requests)
    }
}

#[derive(Clone, PartialEq, Debug)]
struct Window {
    began_ms: u64,
    length_ms: u64,
    /// Last sample before the window: the baseline of the counters.
    first: Option<Health>,
    /// True if counters decreased: the counting process was restarted.
    restarted: bool,
    /// The newest samples, the oldest first.
    newest: VecDeque<HealthSample>,
    /// Synthetic requests of all samples of the window.
    own: Counts,
}

impl Judge {
    /// Adds a sample: to the past while nothing is judged, to the window from
    /// [`Judge::switched`] on. Without `probes` no frontend was probed.
    pub fn sample(&mut self, at_ms: u64, health: Option<Health>, probes: Option<Probes>) {
        let sample = HealthSample {
            at_ms,
            health,
            probes,
        };
        match &mut self.window {
            Some(window) => window.add_sample(sample),
            None => {
                let began_anew = match (self.before.back(), &sample.health) {
                    (Some(last), Some(now)) => went_back(last.health.as_ref(), now),
                    _ => false,
                };
                if began_anew {
                    self.before.clear();
                }
                self.before.push_back(sample);
                if self.before.len() > BASELINE_SAMPLES_MAX {
                    self.before.pop_front();
                }
            }
        }
    }

    /// Starts a window of samples: the node has switched to another version, or the same version is
    /// judged again. The samples before the first window remain the reference.
    pub fn switched(&mut self, at_ms: u64, length_ms: u64) {
        let last = match &self.window {
            Some(window) => window.newest.back(),
            None => self.before.back(),
        };
        let first = last.and_then(|sample| sample.health.clone());
        self.window = Some(Window {
            began_ms: at_ms,
            length_ms,
            first,
            restarted: false,
            newest: VecDeque::new(),
            own: Counts::default(),
        });
    }

    pub fn accepted(&mut self) {
        self.window = None;
        self.before.clear();
    }

    pub fn reverted(&mut self) {
        self.window = None;
    }

    pub fn is_judging(&self) -> bool {
        self.window.is_some()
    }

    /// Returns the time of the last sample before the switch in which the frontends were probed.
    /// Without such a sample the new responses could not be compared.
    pub fn probed_before_ms(&self) -> Option<u64> {
        let mut samples = self.before.iter().rev();
        let probed = samples.find(|sample| sample.probes.is_some())?;
        Some(probed.at_ms)
    }

    /// Returns the result: `Worse` as soon as it is clear, `Good` at the end of the
    /// window.
    pub fn finding(&self, now_ms: u64) -> Option<Finding> {
        let window = self.window.as_ref()?;
        let worse = self.worse(window);
        if !worse.is_empty() {
            let words = worse.join("; ");
            return Some(Finding::Worse { words });
        }
        let over = now_ms >= window.began_ms.saturating_add(window.length_ms);
        // Waits for another sample: a single one proves neither a problem nor its absence.
        if !over || window.newest.len() < STEADY {
            return None;
        }
        // Waits for the next sample, which must confirm a problem in the very last one.
        if self.suspicious(window) {
            return None;
        }
        let words = self.good_in_words(window);
        Some(Finding::Good { words })
    }

    fn worse(&self, window: &Window) -> Vec<String> {
        let mut worse = Vec::new();
        if window.restarted {
            worse.push("the proxy died and was restarted".to_owned());
        }
        if window.newest.len() < STEADY {
            return worse;
        }
        let steady: Vec<&HealthSample> = window.newest.iter().rev().take(STEADY).collect();
        if steady.iter().all(|sample| sample.health.is_none()) && self.served_before() {
            worse.push("no proxy is left that serves".to_owned());
        }
        worse.extend(self.errors_rose(window));
        worse.extend(self.servers_fell(&steady));
        worse.extend(self.frontends_fell(&steady));
        worse.extend(self.probes_fell(&steady));
        worse
    }

    /// Returns whether the newest sample alone shows a problem other than its error rate.
    fn suspicious(&self, window: &Window) -> bool {
        let newest: Vec<&HealthSample> = window.newest.iter().rev().take(1).collect();
        let unhealthy = newest.iter().all(|sample| sample.health.is_none());
        (unhealthy && self.served_before())
            || self.servers_fell(&newest).is_some()
            || self.frontends_fell(&newest).is_some()
            || self.probes_fell(&newest).is_some()
    }

    fn served_before(&self) -> bool {
        self.healths().next().is_some()
    }

    fn healths(&self) -> impl Iterator<Item = &Health> {
        self.before
            .iter()
            .filter_map(|sample| sample.health.as_ref())
    }

    fn counted_before(&self) -> Counts {
        let mut healths = self.healths();
        let first = healths.next();
        // Skips the first sample, whose synthetic requests precede its counters.
        let own = self.before.iter().skip(1).map(HealthSample::own);
        let own = own.fold(Counts::default(), Counts::and);
        Counts::between(first, healths.last()).without(own)
    }

    fn errors_rose(&self, window: &Window) -> Option<String> {
        let (now, before) = (window.counted(), self.counted_before());
        if !is_surprising(before, now) {
            return None;
        }
        Some(format!(
            "{} of {} requests failed ({}), {} of {} before ({})",
            now.failed(),
            now.requests,
            percent(now),
            before.failed(),
            before.requests,
            percent(before),
        ))
    }

    fn servers_fell(&self, steady: &[&HealthSample]) -> Option<String> {
        let up_before = self.healths().map(|health| health.servers_up).min()?;
        let down_before = self.healths().map(servers_down).max()?;
        let now: Vec<&Health> = healths_of(steady)?;
        let fell =
            |health: &&Health| health.servers_up < up_before && servers_down(health) > down_before;
        if !now.iter().all(fell) {
            return None;
        }
        let newest = now.first()?;
        Some(format!(
            "{} of {} servers are up, before {up_before} of {}",
            newest.servers_up,
            newest.servers,
            up_before.saturating_add(down_before)
        ))
    }

    fn frontends_fell(&self, steady: &[&HealthSample]) -> Option<String> {
        let now = healths_of(steady)?;
        let usable_before = |name: &str| {
            mostly(
                self.healths()
                    .map(|health| usable(health, name) == Some(true)),
            )
        };
        let fell: Vec<&str> = now
            .first()?
            .frontends
            .iter()
            .map(|frontend| frontend.name.as_str())
            .filter(|name| now.iter().all(|health| usable(health, name) == Some(false)))
            .filter(|name| usable_before(name))
            .collect();
        (!fell.is_empty()).then(|| format!("no usable server left: {}", listed(&fell)))
    }

    fn probes_fell(&self, steady: &[&HealthSample]) -> Option<String> {
        let good_before = |name: &String| {
            let probes = self.before.iter().filter_map(|sample| sample.probe(name));
            mostly(probes.map(|probe| probe.is_good()))
        };
        let fell: Vec<String> = steady
            .first()?
            .probes
            .iter()
            .flatten()
            .filter(|(name, _)| {
                steady
                    .iter()
                    .all(|sample| sample.probe(name).is_some_and(|probe| !probe.is_good()))
            })
            .filter(|(name, _)| good_before(name))
            .map(|(name, probe)| match probe {
                Probe::Answered { status } => format!("{name} responds with {status}"),
                Probe::Silent => format!("{name} does not respond"),
            })
            .collect();
        let fell: Vec<&str> = fell.iter().map(String::as_str).collect();
        (!fell.is_empty()).then(|| {
            format!(
                "a request that had succeeded before now fails: {}",
                listed(&fell)
            )
        })
    }

    fn good_in_words(&self, window: &Window) -> String {
        let seconds = window.length_ms.div_ceil(1000);
        let counts = window.counted();
        let newest = window.newest.back();
        let health = newest.and_then(|sample| sample.health.as_ref());
        let servers = health.map_or_else(String::new, |health| {
            format!(", {} of {} servers up", health.servers_up, health.servers)
        });
        let probed = newest.and_then(|sample| sample.probes.as_ref());
        let probed = probed.map_or(0, BTreeMap::len);
        let frontends = if probed == 1 { "frontend" } else { "frontends" };
        format!(
            "nothing got worse in {seconds} s: {} requests, {} failed{servers}, {probed} {frontends} probed",
            counts.requests,
            counts.failed()
        )
    }
}

impl Window {
    fn add_sample(&mut self, sample: HealthSample) {
        let mut own = sample.own();
        if let Some(health) = &sample.health {
            let mut samples = self.newest.iter().rev();
            let last = samples.find_map(|last| last.health.as_ref());
            self.restarted |= went_back(last, health);
            // Takes this sample as the baseline if the switch reset the counters.
            if last.is_none() && went_back(self.first.as_ref(), health) || self.first.is_none() {
                self.first = Some(health.clone());
                // Ignores the synthetic requests of this sample: the new baseline already counts
                // them.
                own = Counts::default();
            }
        }
        own.errors = own.errors.saturating_mul(ERRORS_OF_A_REQUEST);
        self.own = self.own.and(own);
        self.newest.push_back(sample);
        if self.newest.len() > SAMPLES_MAX {
            self.newest.pop_front();
        }
    }

    fn counted(&self) -> Counts {
        let newest = self
            .newest
            .iter()
            .rev()
            .find_map(|sample| sample.health.as_ref());
        Counts::between(self.first.as_ref(), newest).without(self.own)
    }
}

/// Returns whether nine of ten samples are true, and at least one: a short failure does
/// not make the past bad.
fn mostly(samples: impl Iterator<Item = bool>) -> bool {
    let (good, all) = samples.fold((0_u32, 0_u32), |(good, all), sample| {
        (good + u32::from(sample), all + 1)
    });
    all > 0 && 10 * good >= 9 * all
}

/// Returns whether counters that only grow are smaller than before.
fn went_back(last: Option<&Health>, now: &Health) -> bool {
    last.is_some_and(|last| now.requests < last.requests || now.errors < last.errors)
}

fn servers_down(health: &Health) -> u64 {
    health.servers.saturating_sub(health.servers_up)
}

fn healths_of<'a>(samples: &[&'a HealthSample]) -> Option<Vec<&'a Health>> {
    let healths: Option<Vec<&Health>> = samples
        .iter()
        .map(|sample| sample.health.as_ref())
        .collect();
    healths.filter(|healths| !healths.is_empty())
}

fn usable(health: &Health, name: &str) -> Option<bool> {
    let named = |frontend: &&FrontendHealth| frontend.name == name;
    let frontend = health.frontends.iter().find(named)?;
    Some(frontend.usable)
}

fn listed(names: &[&str]) -> String {
    let shown = names
        .iter()
        .take(NAMES_MAX)
        .copied()
        .collect::<Vec<_>>()
        .join(", ");
    match names.len().saturating_sub(NAMES_MAX) {
        0 => shown,
        more => format!("{shown} and {more} more"),
    }
}

#[allow(
    clippy::cast_precision_loss,
    reason = "shares need no more than 52 bits"
)]
fn percent(counts: Counts) -> String {
    if counts.requests == 0 {
        return "no requests".to_owned();
    }
    format!(
        "{:.1} %",
        100.0 * counts.failed() as f64 / counts.requests as f64
    )
}

/// Returns whether chance does not explain this many errors at the previous error rate.
///
/// By Chernoff's bound, chance makes a share of at least q in n requests with a
/// probability of at most exp(-n KL(q || p)), where p is the share before. That holds
/// for small numbers too, and needs no table.
#[allow(
    clippy::cast_precision_loss,
    reason = "shares need no more than 52 bits"
)]
fn is_surprising(before: Counts, now: Counts) -> bool {
    let Counts { requests, errors } = now;
    let rose = u128::from(errors) * u128::from(before.requests)
        > u128::from(before.errors) * u128::from(requests);
    if errors < ERRORS_MIN || (before.requests > 0 && !rose) {
        return false;
    }
    // Counts at least as many requests as errors: a failed connection to a server counts as an
    // error before its request ends.
    let requests = requests.max(errors);
    let before =
        (before.failed() as f64 + PRIOR_ERRORS) / (before.requests as f64 + PRIOR_REQUESTS);
    let now = errors as f64 / requests as f64;
    if now < before + RISE_MIN {
        return false;
    }
    let of_errors = now * (now / before).ln();
    let of_the_others = if now < 1.0 {
        (1.0 - now) * ((1.0 - now) / (1.0 - before)).ln()
    } else {
        0.0
    };
    requests as f64 * (of_errors + of_the_others) > SURPRISE_MIN
}

#[cfg(test)]
mod tests;
