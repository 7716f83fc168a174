//! How a change goes to the nodes: what the leader does next, what a node is to
//! serve, and whether something got worse. Values, without IO.
//!
//! A version is checked by every node that is there, tried by one (the canary), then
//! by the others, then accepted; or it is refused, or taken back. The leader calls
//! [`Driver::next`] and proposes what it says. A node calls [`Agent::next`] and does
//! what it says; [`Desired`] is what it goes by, [`Judge`] what it judges by.
//!
//! What always holds, whoever crashes when: a node runs a version that is not accepted
//! only while it hears from the leader; one that a node spoke against is never
//! accepted; none stays on trial for ever. What changes how nodes agree among
//! themselves ([`crate::command::Found::together`]) has no canary: all try it at
//! once, and all go back at once.

mod agent;
mod desired;
mod judge;
mod leader;
#[cfg(test)]
mod simulation;

pub use agent::{Agent, IDLE_SAMPLE_MS, TRIAL_SAMPLE_MS, Task};
pub use desired::{Desired, TRIAL_SILENCE_MS};
pub use judge::{BASELINE_SAMPLES_MAX, Finding, Judge, Probe, Probes};
pub use leader::{
    AWAY_MS, CHECK_LIMIT_MS, Driver, NodeView, SERVE_LIMIT_MS, Seen, TELL_REMAINING_MS, View, next,
};
