//! With what commands build and change operating systems: programs that are shown and end with a signal,
//! a directory that goes with the command, files within a tree, and Debian's packages.

pub mod debian;
pub mod inside;
pub mod run;
pub mod workshop;
