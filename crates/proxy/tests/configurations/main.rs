//! Attacks the configuration language: thousands of damaged copies of whole files are loaded. No
//! load may panic, hang, report a position outside of its file, or accept an unknown word silently.
//!
//! The files are the `*.cfg` files in this directory. The environment variable `EVENKEEL_CORPUS`
//! names a directory with further ones, `EVENKEEL_SEED` selects other damage, and
//! `EVENKEEL_MUTANTS` sets the number of copies.

mod against_haproxy;
mod corpus;
mod free_text;
mod messages;
mod mutation;
mod registry;
mod replay;
mod unknown_words;
mod upgrade;
mod verdicts;
mod warnings;
