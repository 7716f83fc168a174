//! Remote desktops: session hosts behind one name. A client with a token is routed to the host of its
//! session, without a look into its bytes; one without a token says who it is, and is redirected to
//! this address with a token.
//!
//! - [`config`] is what the files say, [`keyword`] how they say it.
//! - `certificate` reads the certificate of an address.
//! - [`user`] is who a session is of, [`collection`] on which hosts it may be, [`token`] what a client brings to be routed.
//! - [`agent`] is what a program on a host says of it, and such a program for xrdp.
//! - [`directory`] decides which host a user gets. It does no I/O and has no clock.
//! - [`agreement`] is what the directories of several nodes agree on, also a value.
//! - [`history`] is what was decided, and why.
//! - [`site`] is one farm while it runs, and [`server`] its connections.
//! - [`link`] carries what the directories say between the nodes of a cluster.
//! - `gateway` brings RDP through HTTPS, with a password or a [`cookie`]; [`web`] listens for it.
//! - [`portal`] is what users see in a browser: what they may start, as signed `.rdp` files; [`signature`]
//!   signs them, and [`icon`] draws.
//! - [`guests`] is what portals ask of the part with the guests, whose displays they open.
//! - [`message`] is what operators order, and [`role`] joins all of it.
//!
//! A token routes, and never authorises: who may have a session is up to the host, which authenticates
//! the client itself. Passwords that clients send are skipped, never kept.

pub mod agent;
pub mod agreement;
mod body;
mod certificate;
pub mod collection;
pub mod config;
pub mod cookie;
mod difference;
pub mod directory;
mod gateway;
pub mod guests;
pub mod history;
pub mod icon;
pub mod keyword;
pub mod link;
pub mod message;
pub mod portal;
pub mod role;
pub mod server;
pub mod signature;
pub mod site;
pub mod token;
pub mod user;
pub mod web;
