//! Volumes with the real clients of NBD: a volume is served by another process of this test
//! binary, from a scratch directory.

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
