//! A stream: one request and its answer, or one tunnel. Rules, balance,
//! queues, logs and counters know streams only, never connections; which
//! version of HTTP or which transport carries it is not visible here.

mod state;

pub use state::{Endpoint, Phase, Session, Stream, Termination, Times};
