//! Scenarios across crates: the real binary, real peers, network namespaces.

mod proxy_protocol;
