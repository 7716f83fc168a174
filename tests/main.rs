//! Contains the scenarios across crates: the real binary, real peers, network namespaces. Each
//! folder has those of one part.

mod address;
mod boot;
mod cluster;
mod console;
mod differential;
mod farm;
#[path = "../crates/farm/tests/it/client.rs"]
mod farm_client;
mod guest;
mod package;
mod program;
mod proxy;
mod tls;
mod volume;
mod webdriver;
