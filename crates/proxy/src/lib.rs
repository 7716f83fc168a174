//! The data plane: listeners, streams, rules, balancing, queues, health checks,
//! logs and statistics, and the keywords that configure them.
//!
//! One request's way: listener -> stream -> rules of the frontend -> backend ->
//! queue and balance -> server connection -> rules of the answer -> log. Each
//! is a folder with that name. Protocol engines, rules and balancing are values
//! without IO; all sockets of the data plane go through the reactor.

pub mod accept;
pub mod carry;
pub mod compression;
pub mod differences;
pub mod dynamic;
pub mod health;
pub mod listener;
pub mod log_forward;
pub mod message;
pub mod operations;
mod orders;
pub mod peers;
pub mod persistence;
pub mod reference;
pub mod resolvers;
pub mod route;
pub mod running;
pub mod runtime;
pub mod server_connection;
pub mod stats;
pub mod stream;
pub mod takeover;
pub mod termination;
mod tls_orders;
pub mod vitals;
pub mod worker;

/// The proxy, as a part of a configuration.
pub static PART: configuration::Part = keyword::load::part(documented);

/// The keywords, and what else the manual has of the proxy.
fn documented() -> Vec<language::Documented> {
    [keyword::registry().documented(), reference::documented()].concat()
}
