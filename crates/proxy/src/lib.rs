//! The data plane: listeners, streams, rules, balancing, queues, health checks,
//! logs and statistics, and the keywords that configure them.
//!
//! One request's way: listener -> stream -> rules of the frontend -> backend ->
//! queue and balance -> server connection -> rules of the answer -> log. Each
//! is a folder with that name. Protocol engines, rules and balancing are values
//! without IO; all sockets of the data plane go through the reactor.

pub mod accept;
pub mod balance;
pub mod cache;
pub mod caching;
pub mod carry;
pub mod check;
pub mod clock;
pub mod codes;
pub mod compiled;
pub mod compression;
pub mod config;
pub mod control;
pub mod differences;
pub mod dynamic;
pub mod health;
pub mod keyword;
pub mod known;
pub mod line;
pub mod listener;
pub mod load;
pub mod log;
pub mod log_forward;
pub mod message;
pub mod names;
pub mod operations;
pub mod password;
pub mod peers;
pub mod persistence;
pub mod queue;
pub mod reference;
pub mod resolvers;
pub mod rules;
pub mod running;
pub mod runtime;
pub mod sample;
pub mod script;
pub mod server_connection;
pub mod setting;
pub mod shared_tables;
pub mod state;
pub mod stats;
pub mod stream;
pub mod tables;
pub mod takeover;
pub mod thread;
pub mod tracking;
pub mod transaction;
pub mod users;
pub mod vitals;
pub mod worker;

/// The proxy, as a part of a configuration.
pub static PART: configuration::Part = load::part(documented);

/// The keywords, and what else the manual has of the proxy.
fn documented() -> Vec<language::Documented> {
    [keyword::registry().documented(), reference::documented()].concat()
}

/// The codes of all diagnostics of this crate.
pub fn codes() -> impl Iterator<Item = &'static language::Code> {
    let families = [
        codes::CODES,
        codes::expression::CODES,
        rules::action_codes::CODES,
        tables::codes::CODES,
    ];
    families.into_iter().flatten().copied()
}
