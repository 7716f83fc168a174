//! Listeners: opened with the rights of the start ([`open`]), accepting on
//! every thread of the data plane ([`accept`]). The number of descriptors does
//! not depend on the number of threads: all threads watch the same ones.

mod accept;
mod open;
mod open_set;
mod seat;

pub(crate) use accept::{AcceptLoop, Target};
pub(crate) use open::open_alone;
pub use open::{Listening, OpenError, OpenStep, open};
pub(crate) use open_set::{Open, SocketKey};
pub use seat::Seat;
