//! Parses and encodes LDAP search filters (RFC 4515).

use super::ber::{OCTETS, SEQUENCE, value};
use super::name::digit;

pub const FILTER_BYTES_MAX: usize = 4_096;
const DEPTH_MAX: usize = 16;

#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum WrongFilter {
    #[error("parentheses do not match")]
    Parentheses,
    #[error("an attribute has an invalid name")]
    Attribute,
    #[error("a part has no `=`")]
    Comparison,
    #[error("a backslash must be followed by two hexadecimal digits")]
    Escape,
    #[error("it is too long or nested too deep")]
    TooLarge,
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub enum LdapFilter {
    And(Vec<LdapFilter>),
    Or(Vec<LdapFilter>),
    Not(Box<LdapFilter>),
    /// Compares an attribute with a value; the first field is the tag of the comparison: equal,
    /// greater, less or approximately.
    Compare(u8, String, Vec<u8>),
    Present(String),
    /// Compares an attribute with pieces of a value that have anything between them; the first and
    /// the last piece may be empty.
    Pieces(String, Vec<Vec<u8>>),
    /// Compares an attribute by a matching rule.
    Rule {
        rule: Option<String>,
        attribute: Option<String>,
        value: Vec<u8>,
        /// The attributes in the entry's distinguished name count, too.
        names: bool,
    },
}

/// BER tags of the kinds of search filters (RFC 4511).
const AND: u8 = 0xa0;
const OR: u8 = 0xa1;
const NOT: u8 = 0xa2;
const EQUAL: u8 = 0xa3;
const PIECES: u8 = 0xa4;
const GREATER: u8 = 0xa5;
const LESS: u8 = 0xa6;
const PRESENT: u8 = 0x87;
const ABOUT: u8 = 0xa8;
const RULE: u8 = 0xa9;

pub fn escape(value: &str) -> String {
    let mut text = String::with_capacity(value.len());
    for letter in value.chars() {
        match letter {
            '*' | '(' | ')' | '\\' | '\0' => {
                text.push_str(&format!("\\{:02x}", u32::from(letter)));
            }
            _ => text.push(letter),
        }
    }
    text
}

impl LdapFilter {
    /// Parses a filter.
    ///
    /// # Errors
    /// The reason why the text is not a filter.
    pub fn parse(text: &str) -> Result<LdapFilter, WrongFilter> {
        if text.len() > FILTER_BYTES_MAX {
            return Err(WrongFilter::TooLarge);
        }
        match one(text, 0)? {
            (filter, "") => Ok(filter),
            _ => Err(WrongFilter::Parentheses),
        }
    }

    /// Returns the attributes that the filter compares with one of these values (equal, or by a
    /// rule), in the order of the text. Negated parts are left out.
    pub fn equal_to(&self, values: &[&str]) -> Vec<&str> {
        match self {
            LdapFilter::And(all) | LdapFilter::Or(all) => {
                all.iter().flat_map(|one| one.equal_to(values)).collect()
            }
            LdapFilter::Compare(EQUAL, attribute, value)
                if values.iter().any(|one| one.as_bytes() == value) =>
            {
                vec![attribute]
            }
            LdapFilter::Rule {
                attribute: Some(attribute),
                value,
                ..
            } if values.iter().any(|one| one.as_bytes() == value) => vec![attribute],
            _ => Vec::new(),
        }
    }

    pub(super) fn encode(&self) -> Vec<u8> {
        let all = |all: &[LdapFilter]| all.iter().flat_map(LdapFilter::encode).collect::<Vec<_>>();
        let octets = |bytes: &[u8]| value(OCTETS, bytes);
        match self {
            LdapFilter::And(filters) => value(AND, &all(filters)),
            LdapFilter::Or(filters) => value(OR, &all(filters)),
            LdapFilter::Not(filter) => value(NOT, &filter.encode()),
            LdapFilter::Compare(tag, attribute, with) => {
                value(*tag, &[octets(attribute.as_bytes()), octets(with)].concat())
            }
            LdapFilter::Present(attribute) => value(PRESENT, attribute.as_bytes()),
            LdapFilter::Pieces(attribute, pieces) => {
                let pieces = value(SEQUENCE, &encode_pieces(pieces));
                value(PIECES, &[octets(attribute.as_bytes()), pieces].concat())
            }
            LdapFilter::Rule {
                rule,
                attribute,
                value: with,
                names,
            } => {
                let named = |tag, name: &Option<String>| {
                    let name = name.as_ref().map(|name| value(tag, name.as_bytes()));
                    name.unwrap_or_default()
                };
                let names = if *names {
                    value(0x84, &[0xff])
                } else {
                    Vec::new()
                };
                let parts = [
                    named(0x81, rule),
                    named(0x82, attribute),
                    value(0x83, with),
                    names,
                ];
                value(RULE, &parts.concat())
            }
        }
    }
}

fn encode_pieces(pieces: &[Vec<u8>]) -> Vec<u8> {
    let last = pieces.len().saturating_sub(1);
    let mut bytes = Vec::new();
    for (index, piece) in pieces.iter().enumerate() {
        let tag = match index {
            0 => 0x80,
            index if index == last => 0x82,
            _ => 0x81,
        };
        if !piece.is_empty() {
            bytes.extend(value(tag, piece));
        }
    }
    bytes
}

/// Parses a filter in parentheses at the start of a text; returns it with the rest.
fn one(text: &str, depth: usize) -> Result<(LdapFilter, &str), WrongFilter> {
    if depth >= DEPTH_MAX {
        return Err(WrongFilter::TooLarge);
    }
    let rest = text.strip_prefix('(').ok_or(WrongFilter::Parentheses)?;
    let (filter, rest) = match rest.chars().next() {
        Some('&') => {
            let (all, rest) = several(&rest[1..], depth)?;
            (LdapFilter::And(all), rest)
        }
        Some('|') => {
            let (all, rest) = several(&rest[1..], depth)?;
            (LdapFilter::Or(all), rest)
        }
        Some('!') => {
            let (inner, rest) = one(&rest[1..], depth + 1)?;
            (LdapFilter::Not(Box::new(inner)), rest)
        }
        _ => {
            let end = rest.find(['(', ')']).ok_or(WrongFilter::Parentheses)?;
            let (inside, rest) = rest.split_at(end);
            (item(inside)?, rest)
        }
    };
    let rest = rest.strip_prefix(')').ok_or(WrongFilter::Parentheses)?;
    Ok((filter, rest))
}

fn several(mut text: &str, depth: usize) -> Result<(Vec<LdapFilter>, &str), WrongFilter> {
    let mut all = Vec::new();
    while text.starts_with('(') {
        let (filter, rest) = one(text, depth + 1)?;
        all.push(filter);
        text = rest;
    }
    Ok((all, text))
}

fn item(text: &str) -> Result<LdapFilter, WrongFilter> {
    let (left, right) = text.split_once('=').ok_or(WrongFilter::Comparison)?;
    let compare = |tag, name| Ok(LdapFilter::Compare(tag, attribute(name)?, unescape(right)?));
    match left.chars().last() {
        Some('>') => return compare(GREATER, &left[..left.len() - 1]),
        Some('<') => return compare(LESS, &left[..left.len() - 1]),
        Some('~') => return compare(ABOUT, &left[..left.len() - 1]),
        Some(':') => return rule(&left[..left.len() - 1], right),
        _ => {}
    }
    let name = attribute(left)?;
    if right == "*" {
        return Ok(LdapFilter::Present(name));
    }
    if right.contains('*') {
        let pieces: Result<Vec<_>, _> = right.split('*').map(unescape).collect();
        return Ok(LdapFilter::Pieces(name, pieces?));
    }
    compare(EQUAL, left)
}

/// Parses `attribute:dn:rule`, of which each part may be missing.
fn rule(left: &str, right: &str) -> Result<LdapFilter, WrongFilter> {
    let mut words = left.split(':');
    let name = words.next().filter(|name| !name.is_empty());
    let mut words = words.peekable();
    let names = words
        .next_if(|word| word.eq_ignore_ascii_case("dn"))
        .is_some();
    let rule = words.next();
    if words.next().is_some() || name.is_none() && rule.is_none() {
        return Err(WrongFilter::Attribute);
    }
    Ok(LdapFilter::Rule {
        rule: rule.map(attribute).transpose()?,
        attribute: name.map(attribute).transpose()?,
        value: unescape(right)?,
        names,
    })
}

fn attribute(text: &str) -> Result<String, WrongFilter> {
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || b"-.;".contains(&byte);
    if !text.is_empty() && text.bytes().all(fits) {
        Ok(text.to_owned())
    } else {
        Err(WrongFilter::Attribute)
    }
}

fn unescape(text: &str) -> Result<Vec<u8>, WrongFilter> {
    let mut bytes = text.bytes();
    let mut value = Vec::with_capacity(text.len());
    while let Some(byte) = bytes.next() {
        value.push(match byte {
            b'\\' => {
                let mut next = || bytes.next().and_then(digit).ok_or(WrongFilter::Escape);
                next()? << 4 | next()?
            }
            _ => byte,
        });
    }
    Ok(value)
}
