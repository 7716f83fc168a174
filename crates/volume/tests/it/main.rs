//! Volumes with the real clients of NBD: a volume is served by another process of this test
//! binary, from a scratch directory.

mod clients;
mod disk;
mod hostile;
mod kill;
mod raw;
mod served;
