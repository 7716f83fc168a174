//! Opens views of a guest in a browser (VNC, SPICE, terminal), for every part with its own pages: a
//! row for each kind ([`kind`]), the libraries that draw a view ([`library`]), its page ([`page`]),
//! the limits of open views ([`open`]), the WebSocket that carries the bytes ([`socket`]), and the
//! reason why a view ended ([`standing`]).
//!
//! This crate does not know who may open a view or which part is at the other end.

mod files;
pub mod kind;
pub mod library;
pub mod open;
pub mod page;
pub mod socket;
pub mod standing;
