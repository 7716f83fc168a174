//! A stream: one request and its answer, or one tunnel. Rules, balance,
//! queues, logs and counters know streams only, never connections; which
//! version of HTTP or which transport carries it is not visible here.
//!
//! `session` is the client's connection; `request` one request's life in its
//! order; `exchange` and `answer` what passes between it and a server; `body`
//! and `tunnel` move bytes, `link` is what they move them by: a connection, or a
//! stream of HTTP/2; `finish` counts and logs.

mod answer;
mod assigned;
mod body;
mod capture;
mod details;
mod ends;
mod exchange;
mod fastcgi;
mod finish;
mod forward;
mod held;
mod inspect;
pub(crate) mod leaving;
pub(crate) mod listing;
mod meter;
mod multiplexed;
mod observe;
mod overrides;
mod reply;
mod request;
mod retry;
#[cfg(test)]
pub(crate) mod sample;
mod secure;
mod serve;
mod session;
mod shape;
mod shutdown;
#[cfg(test)]
mod sizes;
mod splice;
mod state;
mod tunnel;
mod upgrade;

pub use assigned::Captured;
pub use ends::{End, Ends};
#[cfg(debug_assertions)]
pub use finish::observe_ended;
pub use finish::{bad_request, new_stream, of_check};
pub use overrides::{Overrides, Packets, Priority};
pub(crate) use reply::configured as configured_page;
pub use reply::{Reply, error as error_page};
pub use session::begin;
pub use state::{Endpoint, Held, Phase, ReceivedLine, Session, Stream, Termination, Times};
