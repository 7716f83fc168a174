//! A stream as a value: one request and its answer, or one tunnel, and its client's session.
//! Rules, balance, queues, logs and counters know streams only, never connections;
//! `proxy::stream` moves the bytes.

mod asked;
mod assigned;
pub(crate) mod born;
mod cookie_date;
mod details;
mod ends;
pub mod listing;
mod overrides;
mod persistence;
mod reply;
#[cfg(any(test, feature = "testing"))]
#[doc(hidden)]
pub mod sample;
#[cfg(test)]
mod sizes;
mod state;
mod variables;
mod verdict;

pub use assigned::Captured;
pub use born::of_check;
pub use cookie_date::Date;
pub use ends::{End, Ends, ServerEnd};
pub use overrides::{Inspection, Overrides, Packets, Priority};
pub use persistence::{Persistence, RequestCookie, ResponseCookie};
pub(crate) use reply::configured as configured_page;
pub use reply::{Reply, error as error_page};
pub use state::{
    CompressionChoice, Endpoint, Held, Phase, ReceivedLine, Session, Stream, Termination, Times,
};
pub use variables::{
    set as set_variable, set_of_session as set_variable_of_session, unset as unset_variable,
    unset_of_session as unset_variable_of_session,
};
pub use verdict::{Applied, Content, Gate, Verdict, Wait};
