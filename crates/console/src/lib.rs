//! Implements the web console: what all parts report, as pages, as an API and as metrics.
//!
//! - [`config`] is the configuration, [`keyword`] its syntax.
//! - [`look`] is the state of one machine, [`traffic`] that of its proxy, [`platform`] that of all
//!   machines, and [`history`] the traffic over time.
//! - [`inquiry`] has the queries of a page to a proxy beyond the regular poll, such as those for
//!   requests.
//! - [`page`] draws the pages: values in, markup out.
//! - [`drawing`] draws a live page once for all browsers that see the same.
//! - [`access`] is the authentication that only the console has: roles, tokens and links.
//! - [`versions`] requests the configuration versions from the control role, and changes of them.
//! - [`shared`] is the state that the threads share: orders, connected viewers, the other nodes.
//! - [`web`] is the HTTP server of the console: its pages and actions.
//! - [`role`] runs all of these as a role.
//!
//! This crate depends on no other part: it draws what their reports contain.

pub mod access;
pub mod certificate;
pub mod cli;
pub mod config;
pub mod drawing;
pub mod history;
pub mod inquiry;
pub mod keyword;
pub mod message;
pub mod page;
pub mod platform;
pub mod role;
pub mod sample;
pub mod shared;
pub mod user;
pub mod versions;
pub mod web;

pub use overview::{look, traffic};
