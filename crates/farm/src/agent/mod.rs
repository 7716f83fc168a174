//! Implements agents: programs on session hosts that report the state of the host and its sessions.
//!
//! - [`report`] is the report of an agent, as the farm reads it and as our agent writes it.
//! - [`notice`] tracks which sessions were shown which notice.
//! - [`xrdp`] finds the sessions of xrdp on this machine, and [`serve`] is the agent for it.
//! - [`show`] displays notices in sessions.
//!
//! The role of the farm does not use [`xrdp`], [`serve`] and [`show`]; the agent does not use the
//! other modules of the crate.

pub mod notice;
pub mod report;
pub mod serve;
pub mod show;
pub mod xrdp;
