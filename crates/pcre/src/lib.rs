//! PCRE2 regular expressions: the syntax is parsed into a tree, which becomes a pattern for the
//! linear engine or a program for a backtracking one. Independent of the configuration.

mod instruction;
mod linear;
mod machine;
mod parse;
mod program;
mod set;
mod starts;
mod tree;

pub use linear::linear;
pub use machine::{LimitExceeded, Search};
pub use parse::{Syntax, SyntaxErrorReason, parse};
pub use program::Program;
pub use tree::Tree;

#[cfg(test)]
mod tests;
