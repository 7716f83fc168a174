//! Implements remote desktops: session hosts behind one name. A client with a token is routed to
//! the host of its session, and its data are not inspected. A client without a token sends its user
//! name over TLS, and is redirected to the same address with a token.
//!
//! - [`config`] is the configuration, and [`keyword`] parses it.
//! - `certificate` checks the certificate of an address.
//! - [`user`] identifies the user of a session, [`collection`] the hosts on which it may be. A
//!   [`token`] routes a client.
//! - [`agent`] reads the reports of programs on hosts, and contains such a program for xrdp.
//! - [`directory`] decides which host a user gets. It does no I/O and has no clock.
//! - [`agreement`] keeps the directories of several nodes consistent. It does no I/O, either.
//! - [`history`] stores the recent decisions and their reasons.
//! - [`site`] is one farm while it runs, and [`server`] its connections.
//! - [`link`] carries the messages of the directories between the nodes of a cluster.
//! - `gateway` carries RDP through HTTPS, with a password or a [`cookie`]; [`web`] listens for it.
//! - [`portal`] has the pages for browsers: what users may start, as signed `.rdp` files;
//!   [`signature`] signs them, and [`icon`] draws.
//! - [`guests`] sends the requests of portals to the role that runs the guests, whose displays they
//!   open.
//! - [`message`] has the orders of operators, and [`role`] joins all of it.
//!
//! A token routes, and never authorises: the host authenticates the client itself, and decides who
//! may have a session. Passwords that RDP clients send are skipped, never stored.

pub mod agent;
pub mod agreement;
mod body;
mod certificate;
pub mod cli;
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
