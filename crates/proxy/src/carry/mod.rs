//! What a process tells another one of ours that takes over from it (`-sf`, `-x`,
//! an upgrade of the binary, a role that is started again): counters, rates,
//! highest values, the states of servers, by the names of the proxies, servers and
//! listeners that they belong to, stick tables, and what was changed in maps and lists. It is what [`fn@model::control::install`] keeps within
//! a process.
//!
//! Never the momentary: connections, queues and slots belong to the process that
//! has the sockets. Only a command that asks where a request would go is told those ([`live`]). Ages travel in place of times. Names of fields ([`told`])
//! and numbers of counters ([`tally`]) are for ever, so that an older and a newer program
//! understand each other.
//!
//! The old process counts on while it finishes its connections. At its end it
//! tells the rest ([`Mark::rest`]), which the new one adds by the same [`import`]:
//! then the totals are right.

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

pub use live::{LeftOut, Waiting, export_live, import_live};

use crate::dynamic::{self, Lost};
use crate::runtime::Runtime;
use gather::Gathered;
use model::config::Config;
use tables::Which;
use tell::Receiver;
use told::{CarriedState, ProcessTold};
use zeroize::Zeroizing;

/// What such bytes begin with.
const HEAD: &[u8] = b"evenkeel state\n";
/// The version of their structure. New fields do not change it.
const VERSION: u16 = 2;

/// Maximum accepted words of one command.
const ADDED_WORDS_MAX: usize = 1024;

/// What was told, and what is needed to tell the rest.
#[derive(Debug)]
pub struct Exported {
    /// For [`import`].
    pub bytes: Zeroizing<Vec<u8>>,
    /// For the rest.
    pub mark: Mark,
}

/// What everything had counted when it was told.
#[derive(Debug)]
pub struct Mark(Gathered);

impl Mark {
    /// What was counted since, for [`import`]: counters and highest values, no
    /// states. To be told once, when the last connection has ended.
    pub fn rest(&self, runtime: Option<&Runtime>) -> Vec<u8> {
        let since = self.0.since(runtime);
        tell::tell(&since, runtime, false, None, Receiver::Successor).to_vec()
    }
}

/// Tells everything that another process may go on with, but for orders that hold keys. Counting
/// goes on meanwhile: what is not in it is in the rest.
pub fn export(config: &Config, runtime: Option<&Runtime>) -> Exported {
    export_to(Receiver::Successor, config, runtime)
}

/// The same for the supervisor, which gives it to the next process: with keys.
pub fn export_to_supervisor(config: &Config, runtime: Option<&Runtime>) -> Exported {
    export_to(Receiver::Supervisor, config, runtime)
}

fn export_to(to: Receiver, config: &Config, runtime: Option<&Runtime>) -> Exported {
    let gathered = Gathered::of(config, runtime);
    Exported {
        bytes: tell::tell(&gathered, runtime, true, Some((config, Which::All)), to),
        mark: Mark(gathered),
    }
}

/// The same for the supervisor, which only keeps it, in case this process is killed: of
/// tables and lists the small ones.
pub fn export_kept(config: &Config, runtime: Option<&Runtime>) -> Zeroizing<Vec<u8>> {
    let gathered = Gathered::of(config, runtime);
    let contents = Some((config, Which::Small));
    tell::tell(&gathered, runtime, true, contents, Receiver::Supervisor)
}

/// Why nothing was taken in.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum CarryError {
    /// These are no states of this program.
    #[error("not a state of evenkeel")]
    Foreign,
    /// They have a structure that this program does not know.
    #[error("the state has version {found}, but this program supports version {VERSION}")]
    Version {
        /// Its number.
        found: u16,
    },
    /// They end too early, or are no values.
    #[error("the state is truncated")]
    Cut,
}

/// What was taken in.
#[derive(Debug, Default)]
pub struct Imported {
    /// Proxies whose names are known here.
    pub proxies: usize,
    /// Servers whose names are known here.
    pub servers: usize,
    /// Proxies, servers and listeners that the file has no more.
    pub unknown: usize,
    process: Option<ProcessTold>,
    elapsed_ms: u64,
}

impl Imported {
    /// Adds the counters of the process as a whole, which only exists once it
    /// serves. To be called once.
    pub fn give_process(&self, runtime: &Runtime) {
        if let Some(told) = &self.process {
            take::process(told, runtime, self.elapsed_ms);
        }
    }
}

/// Gives a configuration, before its states are installed, the servers that operators
/// had added to that of another process, takes out those that they had removed, and carries
/// out the orders that replace values of the file. Names each server that could not be added.
pub fn import_servers(bytes: &[u8], config: &mut Config) -> Vec<Lost> {
    let Ok(told) = hear(bytes) else {
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

/// Takes in what another process told, everything or the rest: counters are added
/// to what is there, states are set where they are told. The configuration must be
/// installed; `runtime` is None before it serves. Nothing is taken from bytes that
/// are not whole.
pub fn import(
    bytes: &[u8],
    config: &Config,
    runtime: Option<&Runtime>,
) -> Result<Imported, CarryError> {
    let told = hear(bytes)?;
    Ok(take::take(told, config, runtime))
}

/// States as another process told them. Takes any bytes; changes nothing yet, so that
/// what is cut off leaves no half.
fn hear(bytes: &[u8]) -> Result<CarriedState, CarryError> {
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

/// The clock that all processes of the machine share, for what passes between
/// telling and hearing.
fn monotonic_ms() -> u64 {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    u64::try_from(now.tv_sec).unwrap_or(0) * 1000
        + u64::try_from(now.tv_nsec).unwrap_or(0) / 1_000_000
}
