//! Implements the authentication for all parts with pages of their own: the console, and the portal
//! of a farm.
//!
//! - [`user`] is who may sign in, and [`keyword`] reads the lines of a section that define this.
//! - [`pam`] verifies passwords of the operating system, [`ldap`] those of a directory.
//! - [`second_factor`] has the one-time codes of an app, [`session`] the signed sessions,
//!   [`device`] the known browsers, [`ended`] the ended sessions.
//! - [`limiter`] limits the attempts, and [`peers`] shares them with the other nodes.
//! - [`network`] has networks of clients, and [`proxies`] the trusted proxies in front of a part.
//! - [`listener`] opens a listening socket, [`certificate`] reads its certificate, and [`linger`]
//!   closes a connection.
//! - [`origin`] checks whether a form came from the same site.
//! - [`page`] has the pages for signing in, and the style of all pages.
//! - [`proof`] combines them: it verifies a password and a code within the limit of attempts.
//!
//! This crate knows no roles: each part decides itself what a user may do.

pub mod certificate;
pub mod device;
pub mod ended;
mod key;
pub mod keyword;
pub mod ldap;
pub mod limiter;
pub mod linger;
pub mod listener;
pub mod network;
pub mod origin;
pub mod page;
pub mod pam;
pub mod peers;
pub mod proof;
pub mod proxies;
pub mod random;
pub mod second_factor;
pub mod session;
pub mod user;
