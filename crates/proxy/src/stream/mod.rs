//! Serves streams: one request with its response, or one tunnel. The state of a stream
//! ([`model::transaction`]) does not depend on connections, HTTP versions and transports; the
//! connections are handled here.
//!
//! `session` is the client's connection. `request` is the life of one request in order: `head`
//! reads it, `judge` runs its rules, and `backend`, `slot` and `server` find a server and connect
//! to it; `exchange` and `answer` use that connection. `tcp` serves a connection without HTTP.
//! `body` and `tunnel` move bytes between connections or HTTP/2 streams. `finish` counts and
//! logs.

mod answer;
mod backend;
mod body;
mod capture;
mod exchange;
mod fastcgi;
mod finish;
mod forward;
mod head;
mod held;
mod inspect;
mod judge;
pub(crate) mod leaving;
mod meter;
mod multiplexed;
mod newest;
mod observe;
mod report;
mod request;
mod retry;
mod secure;
mod send;
mod server;
mod session;
mod shape;
mod shutdown;
mod slot;
mod splice;
mod tcp;
mod tunnel;
mod upgrade;
mod watch;

pub use finish::bad_request;
#[cfg(debug_assertions)]
pub use finish::observe_ended;
use model::thread::new_stream;
use model::transaction::{
    Endpoint, Overrides, ProxyResponse, ProxyStream, Session, StreamPhase, Termination, error_page,
};
pub use session::{begin, rehearse};
