//! The laboratory: hosts, links and faults out of network namespaces, real
//! peers as child processes, and probes. The test bed of every crate.
