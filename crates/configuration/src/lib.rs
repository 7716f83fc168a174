//! Loading of configuration files, whichever part of the program the sections are of:
//! the files of the command line, and all that a load asks of its environment.
//!
//! This crate knows no keyword, no part and no process.

pub mod files;
pub mod outside;
