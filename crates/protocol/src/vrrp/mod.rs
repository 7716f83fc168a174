//! Implements the VRRP state machine without IO: version 2 (RFC 3768, with PASS authentication as
//! in keepalived) and version 3 (RFC 9568), over IPv4 and IPv6, multicast and unicast.
//!
//! [`Router`] holds all virtual routers of one machine with their sync groups. Its input is
//! packets, the time, and the state of interfaces and tracked objects; its output is
//! [`VrrpAction`]s and one deadline. [`advert`] is the packet, [`neighbour`] the announcements
//! and probes to neighbours.
//!
//! Invariants:
//!
//! - every wait has an end, except for addresses that another machine uses (`yields_to_users`);
//! - every table has a bound, and no packet causes a panic;
//! - a router that stops releases its addresses before it sends the advert of priority zero, and
//!   announces addresses only after it has acquired them; only a hand-over by an operator sends the
//!   advert first, and releases the addresses when another router has them;
//! - a machine that was itself delayed does not conclude from the owner's silence that the owner
//!   is dead.

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
mod pacing;
mod priority;
mod rejected;
mod router;
#[cfg(test)]
mod rules;
mod settings;
#[cfg(test)]
mod simulation;
mod time;

pub use action::{Announce, HandOver, Instance, Reason, Resume, VrrpAction, VrrpState, VrrpStatus};
pub use counters::{COUNTERS, COUNTERS_LEN, Counter, CounterRow, Counters, DumpRow, NUMBERS};
pub use pacing::NextAdvert;
pub use priority::OwnershipLimits;
pub use rejected::Rejected;
pub use router::Router;
pub use settings::{
    AdvertTransport, Authentication, Garp, GroupSettings, Peer, Probing, Settings, VrrpVersion,
};
pub use time::Time;
