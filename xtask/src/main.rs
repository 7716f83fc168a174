//! Development tasks: tidy checks, benchmarks, generated documents.
fn main() {}
