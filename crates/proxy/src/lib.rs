//! Evenkeel's data plane: it accepts connections, carries requests between
//! clients and servers by the rules of a configuration, and tells what it did.
//!
//! It never reads a file, resolves a name or waits for the cluster on the way
//! of a request: what it needs is in the configuration tree that it was given.

pub mod reactor;
