//! Tools of commands that build and change operating systems: programs with visible output that a
//! signal ends, a temporary directory, files within a tree, and Debian packages.

pub mod debian;
pub mod inside;
pub mod run;
pub mod workshop;
