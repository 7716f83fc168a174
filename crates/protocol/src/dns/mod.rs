//! DNS as values: the questions that a proxy has (A, AAAA, SRV) and what of an
//! answer is of use for them. An answer counts only when it repeats the id and
//! the question; every name, list and message is bounded, and a pointer in a
//! compressed name leads backwards only, so that none is followed for ever.
//!
//! Its own reader and not a library's: of the three kinds of records a page of
//! code is left, while a library for all of DNS brings international names,
//! URLs and random numbers with it.

mod message;
mod name;
#[cfg(test)]
mod tests;

pub use message::{
    Answer, Kind, Malformed, PAYLOAD_MAX, PAYLOAD_MIN, Question, Service, Status, parse,
};
pub use name::{LABEL_MAX, NAME_MAX, Name};
