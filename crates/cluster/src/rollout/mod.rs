//! Controls the rollout of a configuration version to the nodes: derives the leader's next
//! decision, the tasks of each node, and whether the service got worse. Makes decisions only,
//! without IO.
//!
//! Every reachable node checks a version, one tries it (the canary), then the others, then it is
//! accepted; or it is refused, or rolled back. The leader calls [`Driver::next`] and proposes the
//! result. A node calls [`Agent::next`] and executes the result, based on [`Desired`] and
//! [`Judge`].
//!
//! Invariants, whichever member crashes at any time: a node runs a version that is not accepted
//! only for [`TRIAL_SILENCE_MS`] after its last read from the leader; a version that a node
//! reported as bad is never accepted; no version stays a candidate forever. A change to settings
//! that nodes must agree on, such as router ids ([`crate::command::CheckFindings::together`]), has
//! no canary: all nodes try it at once, and all roll back at once.

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
    AWAY_MS, CHECK_LIMIT_MS, Driver, NodeView, Reachability, SERVE_LIMIT_MS, TELL_REMAINING_MS,
    View, next,
};
