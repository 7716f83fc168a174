//! Contains the scenarios of TLS and certificates.

pub mod browser;
pub mod certificates;
pub mod chain;
pub mod clients;
pub mod site;
