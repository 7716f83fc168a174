//! VRRP as a value: version 2 (RFC 3768, with PASS authentication as keepalived
//! speaks it) and version 3 (RFC 9568), over IPv4 and IPv6, multicast and unicast.
//!
//! [`Router`] is all virtual routers of one machine with their sync groups. It
//! takes packets, the time, and what became of interfaces and tracked things; it
//! gives [`Action`]s and one deadline. [`advert`] is the packet, [`neighbour`] what
//! neighbours are told and asked.
//!
//! What always holds:
//! - every wait has an end, every table a bound; no packet makes it panic;
//! - whoever stops gives its addresses away before the advert of priority zero says
//!   so is sent, and announces them only after they were acquired; only a hand-over
//!   that an operator ordered tells first and gives away when another one has them;
//! - silence is believed only by a machine that was not late itself.

mod action;
pub mod advert;
mod backup;
mod checksum;
mod context;
mod counters;
mod defect;
mod group;
mod hearing;
#[cfg(test)]
mod hostile;
mod machine;
mod master;
pub mod neighbour;
mod note;
mod pace;
mod priority;
mod rejected;
mod router;
#[cfg(test)]
mod rules;
mod settings;
#[cfg(test)]
mod simulation;
mod time;

pub use action::{Action, Announce, HandOver, Instance, Reason, Resume, State, Status};
pub use counters::{COUNTERS, COUNTERS_LEN, Counter, CounterRow, Counters, DumpRow, NUMBERS};
pub use rejected::Rejected;
pub use router::Router;
pub use settings::{
    Authentication, Garp, GroupSettings, Peer, Probing, Settings, Transport, Version,
};
pub use time::Time;
