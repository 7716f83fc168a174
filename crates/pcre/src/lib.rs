//! Parses and matches PCRE2 regular expressions. A pattern is parsed into a tree, which is
//! converted to a pattern for the linear engine (crate `regex`) or compiled to a program for the
//! backtracking machine.

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
