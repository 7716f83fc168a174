//! Defines the model of the proxy: its configuration, the state of servers, rules, and the streams
//! on which rules are evaluated. This crate opens no listener and transfers no data of streams.
//! Each stream belongs to one of the threads that serve clients ([`thread`]); a separate thread
//! delivers log lines.

pub mod admission;
pub mod balance;
pub mod cache;
pub mod caching;
pub mod check;
pub mod clock;
pub mod codes;
pub mod compiled;
pub mod config;
pub mod control;
pub mod history;
pub mod known;
pub mod line;
pub mod log;
pub mod names;
pub mod password;
pub mod queue;
pub mod rules;
pub mod sample;
pub mod script;
pub mod setting;
pub mod shared_tables;
pub mod state;
pub mod tables;
pub mod thread;
pub mod tracking;
pub mod transaction;
pub mod users;

/// Returns the codes of all diagnostics of this crate.
pub fn codes() -> impl Iterator<Item = &'static language::Code> {
    let families = [
        codes::CODES,
        codes::expression::CODES,
        rules::action_codes::CODES,
        tables::codes::CODES,
    ];
    families.into_iter().flatten().copied()
}
