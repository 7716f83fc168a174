//! The configuration language attacked: thousands of damaged copies of whole
//! files are loaded, and nothing may panic, hang, point outside of its file, or
//! accept an unknown word in silence.
//!
//! The files are `*.cfg` beside this one; a directory named by the environment
//! variable `EVENKEEL_CORPUS` adds all of its own. `EVENKEEL_SEED` chooses
//! other damage, `EVENKEEL_MUTANTS` more of it.

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
