//! Implements the proxy: listeners, streams, rules, load balancing, queues, health checks, logs and
//! statistics, with the manual's entries about them.
//!
//! A request passes through: listener -> stream -> rules of the frontend -> backend -> queue and
//! load balancing -> server connection -> response rules -> log. Protocol engines, rules and load
//! balancing work without IO; the reactor owns all sockets that carry client traffic.

pub mod accept;
mod admission;
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

pub static PART: configuration::ConfigurationPart = keyword::load::part(documented);

fn documented() -> Vec<language::Documented> {
    [keyword::registry().documented(), reference::documented()].concat()
}
