//! Provides tools for commands that build and change operating systems: run programs with visible
//! output until a signal arrives, make a temporary directory, change files within a tree, and
//! install Debian packages.

pub mod debian;
pub mod inside;
pub mod run;
pub mod workshop;
