//! The console: what all parts report, as pages, as an API and as metrics.
//!
//! - [`config`] is what the files say, [`keyword`] how they say it.
//! - [`look`] is all that one machine says of itself, [`traffic`] what its proxy says, [`platform`] all
//!   machines, and [`history`] how the traffic was.
//! - [`page`] draws them: values in, markup out.
//! - [`web`] is the console over HTTP: who comes in, what they see, what they do.
//! - [`role`] joins them.
//!
//! This crate knows no part: it draws what their reports say.

pub mod config;
pub mod history;
pub mod keyword;
pub mod look;
pub mod message;
pub mod page;
pub mod platform;
pub mod role;
pub mod sample;
pub mod traffic;
pub mod user;
pub mod web;
