//! Defines how a process ended, by exit status or signal, and formats that for messages.

use std::fmt;

/// Exit status or signal of an ended process.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Exit {
    Code(i32),
    Signal(i32),
}

impl fmt::Display for Exit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Exit::Code(code) => write!(f, "ended with code {code}"),
            Exit::Signal(number) => write!(f, "was killed by signal {number}"),
        }
    }
}
