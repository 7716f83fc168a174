//! Tests volumes with real NBD clients. Another process of this test binary serves a volume from a
//! scratch directory.

mod clients;
mod copy;
mod device;
mod disk;
mod hostile;
mod kill;
mod network;
mod raw;
mod served;
mod snapshot;
mod store;
mod sums;
mod tenure;
mod transfer;
