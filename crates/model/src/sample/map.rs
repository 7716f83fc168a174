//! Parses the values of maps by their type, and fills the values that are templates with the groups
//! of a matching regular expression.

use super::matching::Patterns;
use super::regular::expand;
use super::value::{Sample, SampleValue, whole_integer};
use std::net::IpAddr;

/// Type of the values of a map.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Gives {
    Text,
    Int,
    Address,
    /// The value is the key that matched.
    Key,
    /// The value is a template, into which the groups of the matching regular expression are
    /// inserted.
    Template,
}

/// Inserts the groups of a key's regular expression into a template.
pub(crate) fn filled(
    keys: &Patterns,
    at: usize,
    key: &SampleValue<'_>,
    template: &SampleValue<'_>,
) -> Sample<'static> {
    let regular = keys.regular(at)?;
    let text = key.with_text(|text| {
        let groups = regular.groups(text)?;
        let mut out = Vec::new();
        template.with_text(|template| expand(&mut out, text, template, &groups));
        Some(out)
    });
    text.map(|text| SampleValue::Str(text.into()))
}

impl Gives {
    pub(crate) fn what(self) -> &'static str {
        match self {
            Gives::Text | Gives::Key | Gives::Template => "a text",
            Gives::Int => "a number",
            Gives::Address => "an address",
        }
    }
}

/// Parses a value in a map file, or the default value of its converter.
pub fn parse(gives: Gives, text: &[u8]) -> Sample<'static> {
    match gives {
        Gives::Text | Gives::Key | Gives::Template => Some(SampleValue::Str(text.to_vec().into())),
        // As in HAProxy, an empty text is 0.
        Gives::Int if text.is_empty() => Some(SampleValue::Int(0)),
        Gives::Int => whole_integer(text).map(SampleValue::Int),
        Gives::Address => {
            let address: IpAddr = std::str::from_utf8(text).ok()?.parse().ok()?;
            Some(SampleValue::ip(address))
        }
    }
}
