//! Who comes in, for all parts with pages of their own: the console, and the portal of a farm.
//!
//! - [`user`] is who may sign in, and [`keyword`] reads the lines of a section that say so.
//! - [`pam`] asks the system for passwords, [`ldap`] a directory for users.
//! - [`second_factor`] has the codes of an app, [`session`] who has signed in, [`device`] in which browsers,
//!   [`ended`] who has signed out.
//! - [`limiter`] says how often anybody may try, and [`peers`] shares that with the other nodes.
//! - [`network`] has networks of clients, and [`proxies`] the proxies in front of a part.
//! - [`origin`] says whether a form came from the same site.
//! - [`page`] has the pages of signing in, and the style of all pages.
//! - [`proof`] joins them: a password and a code, within what somebody may try.
//!
//! This crate knows no roles: what somebody may do, each part decides itself.

pub mod device;
pub mod ended;
mod key;
pub mod keyword;
pub mod ldap;
pub mod limiter;
pub mod network;
pub mod origin;
pub mod page;
pub mod pam;
pub mod peers;
pub mod proof;
pub mod proxies;
pub mod second_factor;
pub mod session;
pub mod user;
