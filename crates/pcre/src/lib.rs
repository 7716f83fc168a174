//! Regular expressions as PCRE2 reads them: its syntax as a tree, from which a pattern for the
//! linear engine is made, or a program for a backtracking one. Knows no configuration.

mod instruction;
mod linear;
mod machine;
mod parse;
mod program;
mod set;
mod starts;
mod tree;

pub use linear::linear;
pub use machine::{GaveUp, Search};
pub use parse::{Reason, Syntax, parse};
pub use program::Program;
pub use tree::Tree;

#[cfg(test)]
mod tests;
