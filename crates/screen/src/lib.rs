//! What of a guest opens in a browser, for every part with pages of its own: a row for each kind
//! ([`kind`]), the libraries that draw it ([`library`]), its page ([`page`]), how many are open
//! ([`open`]), and the WebSocket that carries its bytes ([`socket`]).
//!
//! It knows neither who may open something nor which part speaks at the other end.

mod files;
pub mod kind;
pub mod library;
pub mod open;
pub mod page;
pub mod socket;
pub mod standing;
