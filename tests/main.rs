//! Scenarios across crates: the real binary, real peers, network namespaces.

mod address_interop;
mod address_packets;
mod address_site;
mod certificates;
mod changes;
mod checks;
mod differential;
mod log_forward;
mod logs;
mod names;
mod old_rules;
mod overload;
mod peers;
mod personality;
mod program;
mod proxy_protocol;
mod same_bytes;
mod small_business;
mod statistics;
mod tls_browser;
mod tls_chain;
mod tls_clients;
mod tls_site;
mod traffic;
mod transparent;
mod users;
