//! The views of a guest that open in a browser, for every part with its own pages: a row for each
//! kind ([`kind`]), the libraries that draw them ([`library`]), their page ([`page`]), the number
//! of open views ([`open`]), and the WebSocket that carries the bytes ([`socket`]).
//!
//! This crate does not know who may open a view or which part is at the other end.

mod files;
pub mod kind;
pub mod library;
pub mod open;
pub mod page;
pub mod socket;
pub mod standing;
