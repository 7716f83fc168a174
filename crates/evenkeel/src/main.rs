//! The binary: command line, personalities, roles.
fn main() {}
