//! How a stream is served: one request and its answer, or one tunnel. What is known of it
//! ([`model::transaction`]) says nothing of connections; which version of HTTP or which
//! transport carries it is not visible here.
//!
//! `session` is the client's connection; `request` one request's life in its
//! order: `head` reads it, `judge` runs its rules, `backend`, `slot` and `server` lead
//! to a connection, which `exchange` and `answer` use; `tcp` is a connection without
//! HTTP. `body` and `tunnel` move bytes, by a link: a connection, or a stream of
//! HTTP/2. `finish` counts and logs.

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
mod observe;
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
    Endpoint, Overrides, Phase, Reply, Session, Stream, Termination, error_page,
};
pub use session::{begin, rehearse};
