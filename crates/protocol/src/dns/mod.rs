//! Implements the DNS that a proxy needs, without IO: queries (A, AAAA, SRV) and the relevant
//! parts of their responses. A response counts only if it repeats the id and the question. Every
//! name, list and message is bounded, and a pointer in a compressed name leads backwards only, so
//! that none is followed forever.
//!
//! The parser is written here instead of taken from a library: three record types need a page of
//! code, while a library for all of DNS brings international names, URLs and random numbers with
//! it.

mod message;
mod name;
#[cfg(test)]
mod tests;

pub use message::{
    DnsMessageError, DnsQuestion, DnsRecordType, DnsResponse, DnsResponseCode, PAYLOAD_MAX,
    PAYLOAD_MIN, Service, parse,
};
pub use name::{DnsName, LABEL_MAX, NAME_MAX};
