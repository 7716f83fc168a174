//! Passes state from this process to the Evenkeel process that replaces it (`-sf`, `-x`, an
//! upgrade of the binary, a restart): counters, rates and maxima; the states of servers,
//! identified by the names of their proxies, servers and listeners; stick tables; and runtime
//! changes of maps and lists. A reload within one process keeps the same state
//! ([`fn@model::control::install`]).
//!
//! Connections, queues and slots are never included: they belong to the process that has the
//! sockets. Only a command that asks where a request would go gets their numbers ([`live`]). Ages
//! are sent instead of times. Names of fields ([`told`]) and numbers of counters ([`tally`])
//! never change, so that older and newer programs understand each other.
//!
//! The old process continues to count until its last connection ends. Then it sends what it has
//! counted since the first message ([`Mark::rest`]), which the new process adds by the same
//! [`import`]. So the totals are correct.

mod gather;
mod lists;
mod live;
mod packed;
mod tables;
mod take;
mod tally;
mod tell;
#[cfg(test)]
mod tests;
mod told;

pub use live::{LeftOut, QueuedRequests, export_live, import_live};

use crate::dynamic::{self, Lost};
use crate::runtime::Runtime;
use gather::Gathered;
use model::config::Config;
use tables::Which;
use tell::Receiver;
use told::{CarriedState, ProcessTold};
use zeroize::Zeroizing;

const HEAD: &[u8] = b"evenkeel state\n";
/// Version of the format. A new field does not change the version.
const VERSION: u16 = 2;

const ADDED_WORDS_MAX: usize = 1024;

/// An exported state, and the snapshot from which later counts can be exported.
#[derive(Debug)]
pub struct Exported {
    pub bytes: Zeroizing<Vec<u8>>,
    pub mark: Mark,
}

/// Values of all counters at the time of an export.
#[derive(Debug)]
pub struct Mark(Gathered);

impl Mark {
    /// Exports what was counted since the first export, for [`import`]: counters and maxima, no
    /// states. Called once, when the last connection has ended.
    pub fn rest(&self, runtime: Option<&Runtime>) -> Vec<u8> {
        let since = self.0.since(runtime);
        tell::export_state(&since, runtime, false, None, Receiver::Successor).to_vec()
    }
}

/// Exports everything with which a successor can continue, except operators' commands that contain
/// keys. Counting continues; later counts follow in [`Mark::rest`].
pub fn export(config: &Config, runtime: Option<&Runtime>) -> Exported {
    export_to(Receiver::Successor, config, runtime)
}

/// Exports the state for the supervisor, which passes it to the next process: includes keys.
pub fn export_to_supervisor(config: &Config, runtime: Option<&Runtime>) -> Exported {
    export_to(Receiver::Supervisor, config, runtime)
}

fn export_to(to: Receiver, config: &Config, runtime: Option<&Runtime>) -> Exported {
    let gathered = Gathered::of(config, runtime);
    Exported {
        bytes: tell::export_state(&gathered, runtime, true, Some((config, Which::All)), to),
        mark: Mark(gathered),
    }
}

/// Exports the state for the supervisor, which stores it in case this process is killed: includes
/// only small tables and lists.
pub fn export_kept(config: &Config, runtime: Option<&Runtime>) -> Zeroizing<Vec<u8>> {
    let gathered = Gathered::of(config, runtime);
    let contents = Some((config, Which::Small));
    tell::export_state(&gathered, runtime, true, contents, Receiver::Supervisor)
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum CarryError {
    #[error("not a state of evenkeel")]
    Foreign,
    #[error("the state has version {found}, but this program supports version {VERSION}")]
    Version { found: u16 },
    #[error("the state is truncated")]
    Cut,
}

#[derive(Debug, Default)]
pub struct Imported {
    /// Number of imported proxies that the configuration contains.
    pub proxies: usize,
    /// Number of imported servers that the configuration contains.
    pub servers: usize,
    /// Number of imported proxies, servers and listeners that the configuration does not contain.
    pub unknown: usize,
    process: Option<ProcessTold>,
    elapsed_ms: u64,
}

impl Imported {
    /// Adds the counters of the process as a whole, which exist only once it serves. Called once.
    pub fn add_process_counters(&self, runtime: &Runtime) {
        if let Some(told) = &self.process {
            take::process(told, runtime, self.elapsed_ms);
        }
    }
}

/// Applies what operators changed in the servers of another process to a configuration whose
/// states are not installed yet: adds and removes servers, and sets the values that replace
/// configured ones. Returns each server that could not be added.
pub fn import_servers(bytes: &[u8], config: &mut Config) -> Vec<Lost> {
    let Ok(told) = decode_state(bytes) else {
        return Vec::new();
    };
    if let Some(mut process) = told.process {
        process.orders.apply(config);
    }
    let mut lost = Vec::new();
    for proxy in told.proxies {
        for name in proxy.removed {
            dynamic::remove_again(config, &proxy.name, name.as_bytes());
        }
        for server in proxy.servers.iter().filter(|one| !one.added.is_empty()) {
            let words = server.added.iter().take(ADDED_WORDS_MAX);
            let words = words.map(|word| word.as_str().into());
            lost.extend(dynamic::keep_one(config, &proxy.name, &words.collect()));
        }
    }
    lost
}

/// Imports the state of another process, or only what it counted later: adds counters, and sets
/// states. The configuration must be installed; `runtime` is None before it serves. Incomplete
/// bytes change nothing.
///
/// # Errors
/// - [`CarryError::Foreign`]: the bytes are not a state of this program.
/// - [`CarryError::Version`]: this program does not support the version of the format.
/// - [`CarryError::Cut`]: the bytes or the entries of a table are truncated or malformed.
pub fn import(
    bytes: &[u8],
    config: &Config,
    runtime: Option<&Runtime>,
) -> Result<Imported, CarryError> {
    let told = decode_state(bytes)?;
    Ok(take::take(told, config, runtime))
}

/// Decodes the state of another process. Accepts any bytes and changes nothing yet, so that a
/// truncated state is not half applied.
fn decode_state(bytes: &[u8]) -> Result<CarriedState, CarryError> {
    let rest = bytes.strip_prefix(HEAD).ok_or(CarryError::Foreign)?;
    let (version, rest) = rest.split_first_chunk().ok_or(CarryError::Cut)?;
    match u16::from_le_bytes(*version) {
        VERSION => {}
        found => return Err(CarryError::Version { found }),
    }
    let told: CarriedState = part::codec::decode(rest).map_err(|_| CarryError::Cut)?;
    for table in &told.tables {
        table.check()?;
    }
    Ok(told)
}

/// Returns the time by a clock that all processes of the machine share, to measure how long a
/// state was in transit.
fn monotonic_ms() -> u64 {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    u64::try_from(now.tv_sec).unwrap_or(0) * 1000
        + u64::try_from(now.tv_nsec).unwrap_or(0) / 1_000_000
}
