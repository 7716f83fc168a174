//! Parses the values of words: numbers, times, sizes, percentages, addresses, networks. Each has
//! a type, and a typed error for every invalid form. This module never resolves a name, opens a
//! socket or knows a keyword.

mod address;
mod network;
mod number;
mod prefix;
mod time;

pub use address::{Accepts, Address, AddressError, AddressHost, Port, PortRule, address};
pub use network::{AddressNetwork, NetworkError, V4Network, V6Network, ipv4_as_written, network};
pub use number::{IntegerError, PercentageError, SizeError, integer, percentage, size};
pub use prefix::{Family, SocketTransport};
pub use time::{
    MILLISECONDS_MAX, TimeError, TimeUnit, milliseconds, rounded_up_to_seconds, seconds, time,
    written_time,
};

use crate::diagnostic::{Code, Diagnostic, Severity};
use crate::source::Span;
use std::fmt::Display;

/// An error of a value: the message, the next step, and the value that HAProxy would use in spite
/// of it.
pub trait ValueError: Display {
    type Value;

    fn code(&self) -> &'static Code;

    fn help(&self) -> Option<String>;

    /// Returns the value that HAProxy reads from the word anyway (the number before an unexpected
    /// character). A caller that continues with it reports [`ValueError::diagnostic`] as a warning.
    fn accepted(&self) -> Option<&Self::Value> {
        None
    }

    /// Returns the diagnostic of the error; `what` names the keyword: "'timeout client'".
    fn diagnostic(&self, span: Span, what: &str) -> Diagnostic {
        let severity = match self.accepted() {
            Some(_) => Severity::Warning,
            None => Severity::Error,
        };
        let mut told = Diagnostic::new(self.code(), severity, span, format!("{what}: {self}"));
        if let Some(help) = self.help() {
            told = told.help(help);
        }
        told
    }
}

fn character_at(text: &str, at: usize) -> char {
    text.get(at..)
        .and_then(|rest| rest.chars().next())
        .unwrap_or(char::REPLACEMENT_CHARACTER)
}

/// Returns the digits at the start of a text as a number, and the number of digits. The number is 0
/// without digits, and saturates.
fn leading_number(text: &str) -> (u64, usize) {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let number = text.as_bytes()[..digits].iter().fold(0u64, |n, b| {
        n.saturating_mul(10).saturating_add(u64::from(b - b'0'))
    });
    (number, digits)
}
