//! Defines a stream: a request with its response, or a tunnel, and the session of its client.
//! Rules, load balancing, queues, logs and counters only use streams, never connections;
//! `proxy::stream` moves the bytes.

mod asked;
mod assigned;
pub(crate) mod born;
mod cookie_date;
mod decided;
mod details;
mod ends;
pub mod listing;
mod log_state;
mod outcome;
mod overrides;
mod payloads;
mod persistence;
mod reply;
mod route;
mod rule_state;
#[cfg(any(test, feature = "testing"))]
#[doc(hidden)]
pub mod sample;
#[cfg(test)]
mod sizes;
mod state;
mod times;
pub mod trace;
mod transfer;
mod variables;
mod verdict;

pub use assigned::{Assigned, Captured};
pub use born::of_check;
pub use cookie_date::Date;
pub(crate) use decided::Others;
pub use decided::{Decided, PersistentServer, RULES_MAX, RuleMet, TRIES_MAX, Try, TryFailure};
pub use ends::{ConnectionRecords, ConnectionSide, Links, ServerEnd};
pub use log_state::{LogState, ReceivedLine};
pub use outcome::{StreamOutcome, StreamPhase, Termination};
pub use overrides::{Inspection, Overrides, Packets, Priority};
pub use payloads::Payloads;
pub use persistence::{Persistence, RequestCookie, ResponseCookie};
pub(crate) use reply::configured as configured_page;
pub use reply::{ProxyResponse, error as error_page};
pub use route::Route;
pub use rule_state::{List, Resume, RuleState};
pub use state::{Endpoint, ProxyStream, Session, SessionConfig, StreamIdentity};
pub use times::Times;
pub use trace::Trace;
pub use transfer::{CompressionChoice, Transfer};
pub use variables::{
    set as set_variable, set_of_session as set_variable_of_session, unset as unset_variable,
    unset_of_session as unset_variable_of_session,
};
pub use verdict::{Applied, ContentVerdict, Gate, MessageVerdict, Wait};
