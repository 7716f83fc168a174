//! Defines the cases of `bench-cluster`: the faults of the members, and the values that are
//! measured.

use super::ensemble::{CALM, Client, Ensemble, Side};
use super::error::Error;
use crate::comparison::{Sample, Unit};
use lab::BusyProcessors;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

/// Number of writes before the measurement, because connections and files are new.
const WARM_WRITES: usize = 100;
/// Number of writes that are measured.
const WRITES: usize = 2000;
const TEXT_BYTES: usize = 256;

const BUSY_PROCESSES: usize = 8;
const BUSY_TIME: Duration = Duration::from_secs(8);

/// Interval between two queries to a member.
const POLL: Duration = Duration::from_millis(2);
/// Timeout of one attempt to write after a death: an attempt that was forwarded to the dead member
/// would wait for seconds.
const ATTEMPT: Duration = Duration::from_millis(20);
/// Time of load before the link is cut.
const CUT_BEFORE: Duration = Duration::from_millis(300);
const CUT_TIME: Duration = Duration::from_secs(4);
const CUT_AFTER: Duration = Duration::from_secs(2);
/// Timeout of one attempt during a cut.
const CUT_ATTEMPT: Duration = Duration::from_millis(100);

/// Timeout of the election after a leader's death.
const DEATH_MAX: Duration = Duration::from_secs(20);

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Case {
    Death,
    Write,
    Memory,
    Load,
    Cut,
    Apply,
}

/// Setting of etcd with which a row compares Evenkeel.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Setting {
    /// Heartbeat interval and election timeout are etcd's defaults.
    Usual,
    /// Heartbeats after 20 ms, election timeout of 200 ms.
    Short,
    /// TLS between its members, too.
    Tls,
}

impl crate::comparison::Case for Case {
    const ALL: &'static [Case] = &[
        Case::Death,
        Case::Write,
        Case::Memory,
        Case::Load,
        Case::Cut,
        Case::Apply,
    ];

    fn name(self) -> &'static str {
        match self {
            Case::Death => "death",
            Case::Write => "write",
            Case::Memory => "memory",
            Case::Load => "load",
            Case::Cut => "cut",
            Case::Apply => "apply",
        }
    }
}

impl Case {
    /// Returns whether etcd's timeouts matter; otherwise it runs with its defaults.
    pub fn depends_on_times(self) -> bool {
        matches!(self, Case::Death | Case::Load | Case::Cut)
    }

    /// Returns whether etcd has a counterpart of the case.
    pub fn has_etcd(self) -> bool {
        self != Case::Apply
    }

    /// Runs one turn of one side, for the rows of these settings.
    pub fn turn(self, side: &Side, settings: &[Setting]) -> Result<Vec<Sample>, Error> {
        let ensemble = Ensemble::start(side)?;
        let found = match self {
            Case::Death => death(&ensemble)?,
            Case::Write => write(&ensemble)?,
            Case::Memory => return memory(&ensemble),
            Case::Load => load(&ensemble)?,
            Case::Cut => cut(&ensemble)?,
            Case::Apply => apply(&ensemble)?,
        };
        let rows = settings.iter().flat_map(|setting| {
            let rows = self.rows(*setting).iter().copied();
            rows.zip(found.iter().copied())
        });
        let sample = |((row, unit), value)| Sample { row, unit, value };
        Ok(rows.map(sample).collect())
    }

    fn rows(self, setting: Setting) -> &'static [(&'static str, Unit)] {
        use Unit::{Latency, Milliseconds};
        match (self, setting) {
            (Case::Death, Setting::Usual) => &[
                (
                    "leader killed: new leader elected (etcd: 100/1000 ms, its defaults)",
                    Milliseconds,
                ),
                (
                    "leader killed: first acknowledged write (etcd: 100/1000 ms)",
                    Milliseconds,
                ),
            ],
            (Case::Death, Setting::Short) => &[
                (
                    "leader killed: new leader elected (etcd: 20/200 ms)",
                    Milliseconds,
                ),
                (
                    "leader killed: first acknowledged write (etcd: 20/200 ms)",
                    Milliseconds,
                ),
            ],
            (Case::Write, Setting::Tls) => &[
                (
                    "write of 256 bytes, p50 (etcd with TLS between its members)",
                    Latency,
                ),
                (
                    "write of 256 bytes, p99 (etcd with TLS between its members)",
                    Latency,
                ),
            ],
            (Case::Write, _) => &[
                ("write of 256 bytes, p50", Latency),
                ("write of 256 bytes, p99", Latency),
            ],
            (Case::Load, Setting::Usual) => &[(
                "eight busy processes for 8 s: elections (etcd: 100/1000 ms)",
                Unit::Times,
            )],
            (Case::Load, Setting::Short) => &[(
                "eight busy processes for 8 s: elections (etcd: 20/200 ms)",
                Unit::Times,
            )],
            (Case::Cut, Setting::Usual) => &[
                (
                    "link between leader and second member silent for 4 s: elections (etcd: 100/1000 ms)",
                    Unit::Times,
                ),
                (
                    "the same: longest time without an acknowledged write (etcd: 100/1000 ms)",
                    Milliseconds,
                ),
            ],
            (Case::Cut, Setting::Short) => &[
                (
                    "link between leader and second member silent for 4 s: elections (etcd: 20/200 ms)",
                    Unit::Times,
                ),
                (
                    "the same: longest time without an acknowledged write (etcd: 20/200 ms)",
                    Milliseconds,
                ),
            ],
            (Case::Apply, _) => &[("`config apply --now`: served by both nodes", Milliseconds)],
            (Case::Memory, _) | (_, Setting::Tls) => &[],
        }
    }
}

fn text() -> String {
    "x".repeat(TEXT_BYTES)
}

fn milliseconds(time: Duration) -> f64 {
    time.as_secs_f64() * 1000.0
}

/// Returns the duration in milliseconds of each write of one client of the leader, one after the
/// other.
fn writes(ensemble: &Ensemble, count: usize) -> Result<Vec<f64>, Error> {
    let (leader, _) = ensemble.leader()?;
    let mut client = ensemble.client(leader)?;
    let text = text();
    let mut took = Vec::with_capacity(count);
    for number in 0..WARM_WRITES + count {
        let begun = Instant::now();
        if !client.write(&text, CALM) {
            return Err(ensemble.not_ready("a write is acknowledged"));
        }
        if number >= WARM_WRITES {
            took.push(milliseconds(begun.elapsed()));
        }
    }
    Ok(took)
}

fn write(ensemble: &Ensemble) -> Result<Vec<f64>, Error> {
    let mut took = writes(ensemble, WRITES)?;
    took.sort_by(f64::total_cmp);
    let at = |hundredths: usize| took.get(took.len() * hundredths / 100).copied();
    Ok([at(50), at(99)].into_iter().flatten().collect())
}

fn memory(ensemble: &Ensemble) -> Result<Vec<Sample>, Error> {
    if ensemble.is_ours() {
        ensemble.apply("one")?;
    }
    writes(ensemble, WRITES)?;
    let of = |member: &super::ensemble::Member| member.memory() as f64 / f64::from(1 << 20);
    let sample = |row, value| Sample {
        row,
        unit: Unit::Mebibytes,
        value,
    };
    let most = |node: bool| {
        let members = ensemble.members.iter().filter(|member| member.node == node);
        members.map(of).reduce(f64::max)
    };
    let node = most(true).map(|value| sample("memory of a node (etcd: of a member)", value));
    // Uses the maximum of all members for etcd, which has no arbiter.
    let arbiter = most(false).or_else(|| most(true));
    let arbiter = arbiter.map(|value| sample("memory of the arbiter (etcd: of a member)", value));
    Ok(node.into_iter().chain(arbiter).collect())
}

/// Returns the number of elections since a term, once all members agree again.
fn elections(ensemble: &Ensemble, before: u64) -> Result<f64, Error> {
    let mut after = before;
    let agreed = lab::eventually(DEATH_MAX, || match ensemble.leader() {
        Ok((_, term)) => {
            after = term;
            true
        }
        Err(_) => false,
    });
    if !agreed {
        return Err(ensemble.not_ready("they agree again"));
    }
    Ok(after.saturating_sub(before) as f64)
}

fn load(ensemble: &Ensemble) -> Result<Vec<f64>, Error> {
    let (_, before) = ensemble.leader()?;
    let busy = BusyProcessors::start(BUSY_PROCESSES)?;
    thread::sleep(BUSY_TIME);
    drop(busy);
    Ok(vec![elections(ensemble, before)?])
}

/// Index of the member whose link to the leader is cut, by the leader's index: always a node,
/// because the third member is an arbiter.
const SECOND: [usize; 3] = [1, 0, 0];

/// Silences the link between the leader and another member, and restores it. Returns the number of
/// elections, and the longest time without an acknowledged write.
fn cut(ensemble: &Ensemble) -> Result<Vec<f64>, Error> {
    let (leader, before) = ensemble.leader()?;
    let mut client = ensemble.client(leader)?;
    let text = text();
    let over = AtomicBool::new(false);
    let (gap, healed) = thread::scope(|scope| {
        let writing = scope.spawn(|| {
            let (mut last, mut gap) = (Instant::now(), Duration::ZERO);
            while !over.load(Ordering::SeqCst) {
                if client.write(&text, CUT_ATTEMPT) {
                    gap = gap.max(last.elapsed());
                    last = Instant::now();
                }
                thread::sleep(POLL);
            }
            gap.max(last.elapsed())
        });
        thread::sleep(CUT_BEFORE);
        let second = SECOND.get(leader).copied().unwrap_or_default();
        let faults = ensemble.silence(leader, second);
        thread::sleep(CUT_TIME);
        let healed = faults.map(drop);
        thread::sleep(CUT_AFTER);
        over.store(true, Ordering::SeqCst);
        (writing.join().unwrap_or(CUT_TIME), healed)
    });
    healed?;
    Ok(vec![elections(ensemble, before)?, milliseconds(gap)])
}

/// Measures the time from the command to its end, at which both nodes serve the configuration.
fn apply(ensemble: &Ensemble) -> Result<Vec<f64>, Error> {
    ensemble.apply("zero")?;
    let begun = Instant::now();
    ensemble.apply("one")?;
    Ok(vec![milliseconds(begun.elapsed())])
}

/// Time at which something was first seen.
#[derive(Debug, Default)]
struct First(Mutex<Option<Instant>>);

impl First {
    fn see(&self) {
        let mut first = self.0.lock().unwrap_or_else(|e| e.into_inner());
        first.get_or_insert_with(Instant::now);
    }

    fn seen(&self) -> Option<Instant> {
        *self.0.lock().unwrap_or_else(|e| e.into_inner())
    }
}

/// Measures the time from the death of the leader until a survivor reports another one, and until
/// one acknowledges a write.
fn death(ensemble: &Ensemble) -> Result<Vec<f64>, Error> {
    let (leader, _) = ensemble.leader()?;
    let mut asked = ensemble.client(leader)?;
    let dead = asked.standing(CALM).ok_or(Error::NoMember(leader))?.own;
    let survivors = (0..ensemble.members.len()).filter(|member| *member != leader);
    let mut clients = Vec::new();
    for survivor in survivors {
        clients.push((ensemble.client(survivor)?, ensemble.client(survivor)?));
    }
    let (leads, writes) = (First::default(), First::default());
    let (killed, over) = (AtomicBool::new(false), AtomicBool::new(false));
    let begun = thread::scope(|scope| {
        for (looks, tries) in &mut clients {
            let (leads, writes, killed, over) = (&leads, &writes, &killed, &over);
            scope.spawn(move || look(looks.as_mut(), dead, killed, over, leads));
            scope.spawn(move || attempt(tries.as_mut(), killed, over, writes));
        }
        let begun = Instant::now();
        if let Some(member) = ensemble.members.get(leader) {
            member.process.kill_tree();
        }
        killed.store(true, Ordering::SeqCst);
        let both = || leads.seen().is_some() && writes.seen().is_some();
        // The result is checked below.
        let _ = lab::eventually(DEATH_MAX, both);
        over.store(true, Ordering::SeqCst);
        begun
    });
    match (leads.seen(), writes.seen()) {
        (Some(leads), Some(writes)) => Ok(vec![
            milliseconds(leads - begun),
            milliseconds(writes - begun),
        ]),
        _ => Err(ensemble.not_ready("another one leads")),
    }
}

fn look(client: &mut dyn Client, dead: u64, killed: &AtomicBool, over: &AtomicBool, leads: &First) {
    while !over.load(Ordering::SeqCst) && leads.seen().is_none() {
        let after = killed.load(Ordering::SeqCst);
        let standing = client.standing(ATTEMPT);
        let leader = standing.and_then(|standing| standing.leader);
        if after && leader.is_some_and(|leader| leader != dead) {
            leads.see();
        }
        thread::sleep(POLL);
    }
}

fn attempt(client: &mut dyn Client, killed: &AtomicBool, over: &AtomicBool, writes: &First) {
    let text = text();
    while !over.load(Ordering::SeqCst) && writes.seen().is_none() {
        // The leader may still acknowledge a write that begins before its death.
        if !killed.load(Ordering::SeqCst) {
            thread::yield_now();
        } else if client.write(&text, ATTEMPT) {
            writes.see();
        }
    }
}
