//! The console: what all parts report, as pages, as an API and as metrics.
//!
//! - [`config`] is what the files say, [`keyword`] how they say it.
//! - [`look`] is all that one machine says of itself, [`traffic`] what its proxy says, [`platform`] all
//!   machines, and [`history`] how the traffic was.
//! - [`inquiry`] is what a page asks of a proxy beyond a look: requests.
//! - [`page`] draws them: values in, markup out.
//! - [`drawing`] draws a live page once for all browsers that see the same.
//! - [`access`] is what of coming in is the console's alone: roles, tokens and links.
//! - [`versions`] asks the control role about the configuration, and for changes of it.
//! - [`shared`] is what the threads have in common: orders, who looks, the other nodes.
//! - [`web`] is the console over HTTP: what somebody sees, and does.
//! - [`role`] joins them.
//!
//! This crate knows no part: it draws what their reports say.

pub mod access;
pub mod certificate;
pub mod config;
pub mod drawing;
pub mod history;
pub mod inquiry;
pub mod keyword;
pub mod look;
pub mod message;
pub mod page;
pub mod platform;
pub mod role;
pub mod sample;
pub mod shared;
pub mod traffic;
pub mod user;
pub mod versions;
pub mod web;
