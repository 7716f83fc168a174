//! Runs the health checks of servers: decides when each server is checked, and executes the
//! checks that [`model::check`] describes. Only `driver` and `probe`, on the side thread, have
//! sockets and a clock. Results go to the state of the server.

mod agent;
mod driver;
mod external;
mod http2;
mod mail;
pub(crate) mod orders;
mod outbox;
mod plan;
mod probe;
mod report;
mod schedule;
mod socks;
#[cfg(test)]
mod tests;

pub use driver::{Notice, RunningChecks, start};
pub(crate) use driver::{log_level, tell_of_agent, tell_of_trackers};
pub use external::{needs_runner, set_runner_connection};
pub use outbox::alert;
pub use report::{Level, LogLine, lines, send_state};
pub use schedule::Schedule;
pub(crate) use socks::USER as SOCKS4_USER;
