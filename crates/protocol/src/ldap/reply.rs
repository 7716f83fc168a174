//! Parses the messages that an LDAP server sends (RFC 4511 section 4).

use super::ber::{self, BerError, ENUMERATED, INTEGER, OCTETS, SEQUENCE, SET, Values};

/// Maximum length of a message in bytes: an entry may name some thousand groups.
pub const MESSAGE_BYTES_MAX: usize = 1 << 20;
/// Maximum number of characters in a text for display.
const SHOWN_MAX: usize = 200;

const BOUND: u8 = 0x61;
const ENTRY: u8 = 0x64;
const DONE: u8 = 0x65;
const ELSEWHERE: u8 = 0x73;
const EXTENDED: u8 = 0x78;
const INTERMEDIATE: u8 = 0x79;

#[derive(Clone, PartialEq, Eq, Debug)]
pub struct LdapResult {
    pub code: u32,
    /// Diagnostic message of the server, without control characters, at most 200 characters.
    pub words: String,
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub struct LdapEntry {
    pub name: String,
    /// Attributes with their values; values that are not UTF-8 are left out.
    pub attributes: Vec<(String, Vec<String>)>,
}

impl LdapEntry {
    /// Returns the values of an attribute. Of more than 1,500 values, Active Directory sends the
    /// first ones and adds their range to the name of the attribute ([MS-ADTS] 3.1.1.3.1.3.3);
    /// these are found, too.
    pub fn values(&self, attribute: &str) -> &[String] {
        let is_whole = |name: &str| name.eq_ignore_ascii_case(attribute);
        let is_first = |name: &str| {
            let (own, option) = name.split_once(';').unwrap_or((name, ""));
            is_whole(own) && option.to_ascii_lowercase().starts_with("range=0-")
        };
        let all = || self.attributes.iter();
        let found = all().find(|(name, values)| is_whole(name) && !values.is_empty());
        let found = found.or_else(|| all().find(|(name, _)| is_first(name)));
        found.map_or(&[], |(_, values)| values)
    }
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub enum LdapResponse {
    Bound(LdapResult),
    Entry(LdapEntry),
    Done(LdapResult),
    Extended(LdapResult),
    /// A message that was not requested: a referral to another server, or a notice.
    Other,
}

/// Splits a stream of bytes into replies.
#[derive(Default, Debug)]
pub struct Replies {
    bytes: Vec<u8>,
}

impl Replies {
    pub fn add(&mut self, bytes: &[u8]) {
        self.bytes.extend(bytes);
    }

    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// Returns the next reply, with the id of its request; None if it is incomplete.
    ///
    /// # Errors
    /// The bytes are not a message, or the message is too large.
    pub fn take(&mut self) -> Result<Option<(u32, LdapResponse)>, BerError> {
        let Some((tag, begins, length)) = ber::head(&self.bytes)? else {
            return Ok(None);
        };
        if tag != SEQUENCE {
            return Err(BerError::Type);
        }
        let end = begins.saturating_add(length);
        if end > MESSAGE_BYTES_MAX {
            return Err(BerError::TooLarge);
        }
        let Some(inside) = self.bytes.get(begins..end) else {
            return Ok(None);
        };
        let reply = read(Values(inside))?;
        self.bytes.drain(..end);
        Ok(Some(reply))
    }
}

/// Parses the content of a message. Controls that follow it were not requested and are ignored.
fn read(mut message: Values<'_>) -> Result<(u32, LdapResponse), BerError> {
    let id = message.number(INTEGER)?;
    let (tag, inside) = message.next()?;
    let inside = Values(inside);
    let reply = match tag {
        BOUND => LdapResponse::Bound(outcome(inside)?),
        ENTRY => LdapResponse::Entry(entry(inside)?),
        DONE => LdapResponse::Done(outcome(inside)?),
        EXTENDED => LdapResponse::Extended(outcome(inside)?),
        ELSEWHERE | INTERMEDIATE => LdapResponse::Other,
        _ => return Err(BerError::Type),
    };
    Ok((id, reply))
}

/// Parses the code, name and text of a result; optional fields after them were not requested.
fn outcome(mut inside: Values<'_>) -> Result<LdapResult, BerError> {
    let code = inside.number(ENUMERATED)?;
    inside.tagged(OCTETS)?;
    let words = String::from_utf8_lossy(inside.tagged(OCTETS)?);
    let shown = words.chars().filter(|letter| !letter.is_control());
    Ok(LdapResult {
        code,
        words: shown.take(SHOWN_MAX).collect(),
    })
}

fn entry(mut inside: Values<'_>) -> Result<LdapEntry, BerError> {
    let text = |bytes: &[u8]| std::str::from_utf8(bytes).map(str::to_owned);
    let name = text(inside.tagged(OCTETS)?).map_err(|_| BerError::Type)?;
    let mut list = Values(inside.tagged(SEQUENCE)?);
    let mut attributes = Vec::new();
    while !list.is_empty() {
        let mut attribute = Values(list.tagged(SEQUENCE)?);
        let name = text(attribute.tagged(OCTETS)?).map_err(|_| BerError::Type)?;
        let mut set = Values(attribute.tagged(SET)?);
        let mut values = Vec::new();
        while !set.is_empty() {
            // Binary values such as pictures are not text, and are skipped.
            values.extend(text(set.tagged(OCTETS)?));
        }
        attributes.push((name, values));
    }
    Ok(LdapEntry { name, attributes })
}
