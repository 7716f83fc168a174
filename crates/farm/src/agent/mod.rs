//! Agents: programs on session hosts that report the state of the host and its sessions.
//!
//! - [`report`] is the report of an agent, as the farm reads it and as our agent writes it.
//! - [`notice`] tracks which sessions were shown which notice.
//! - [`xrdp`] finds the sessions of xrdp on this machine, and [`serve`] is the agent for it.
//! - [`show`] displays notices in sessions.
//!
//! A farm does not use [`xrdp`], [`serve`] and [`show`]; an agent knows of farms only these lines.

pub mod notice;
pub mod report;
pub mod serve;
pub mod show;
pub mod xrdp;
