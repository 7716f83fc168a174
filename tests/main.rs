//! Scenarios across crates: the real binary, real peers, network namespaces.
