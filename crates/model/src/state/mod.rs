//! Holds the state that changes at run time: server states, counters, queues. It is separate from
//! the configuration and keyed by name; the next configuration continues with it.
//!
//! Counters are kept per thread and written only by their thread (a load, an add, a store, all
//! relaxed), so counting needs no locked instruction; a reader adds up the values of all threads.
//! Threads without a slot of their own share the last one.

mod app_sessions;
pub mod balance;
mod capture;
mod check;
pub mod compression;
mod counters;
mod latency;
mod listener;
mod outages;
pub mod peers;
mod presence;
mod proxy;
pub mod queue;
mod server;

pub use crate::clock::{now_ms, revision};
pub use app_sessions::AppSessions;
pub use capture::{CAPTURED_MAX, Capture, Captures, captured};
pub use check::{CheckPhase, CheckResult, CheckStatus, Verdict};
pub use counters::{AVERAGES, TALLIES};
pub use counters::{Average, Counters, Shard, Tally};
pub use latency::Percentiles;
pub use listener::{LastTime, ListenerState};
pub use presence::Presence;
pub use proxy::BackendLife;
pub use proxy::{BackendReport, BackendState, FrontendState, LineupChange, ProxyState};
pub(crate) use server::{ADDRESS_SET, BACKUP, PERSISTENT, RANKS, ServerControl, UP, USABLE};
pub use server::{AGE_MAX_MS, AgentSet, COUNT_MAX, Idle, InBalance, TakesErrors, Traffic};
pub use server::{
    AdminReport, AdminState, Adoption, AgentReport, AgentResult, AgentVerdict, ByTracked,
    HealthState, HostNow, Kept, ServerChange, ServerReport, ServerState, Shutdown, WEIGHT_MAX,
    WEIGHT_SCALE, Way,
};
