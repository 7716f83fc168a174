//! Agents: programs on session hosts that say how those are, and who has a session there.
//!
//! - [`report`] is what an agent says, as the farm reads it and as our agent writes it.
//! - [`notice`] is which sessions were shown which notice.
//! - [`xrdp`] finds the sessions of xrdp on this machine, and [`serve`] is the agent for it.
//! - [`show`] shows notices in them.
//!
//! A farm knows nothing of [`xrdp`], [`serve`] and [`show`]; an agent nothing of farms but these lines.

pub mod notice;
pub mod report;
pub mod serve;
pub mod show;
pub mod xrdp;
