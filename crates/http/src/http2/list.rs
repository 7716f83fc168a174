//! Lists of fields: the pseudo-headers in front, the rest behind, every name and
//! value checked (RFC 9113, section 8.2). Trailers, which have no front.

use crate::http1::{Fault, FaultKind, Limits, Noted, is_forbidden_trailer};
use crate::message::{Fields, NAME_BYTES, Refusal, trim};
use protocol::http2::FieldList;

/// The kind of message that a field section belongs to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Of {
    Request,
    Response,
    Trailers,
}

/// A field, and where it stands.
#[derive(Clone, Copy, Debug)]
pub(super) struct Found<'a> {
    pub(super) name: &'a [u8],
    pub(super) value: &'a [u8],
    /// Names and values before it, in bytes.
    pub(super) at: usize,
}

impl Found<'_> {
    pub(super) fn fault(&self, kind: FaultKind) -> Fault {
        Fault::new(kind, self.at)
    }

    pub(super) fn is_pseudo(&self) -> bool {
        self.name.first() == Some(&b':')
    }
}

/// The fields of a list that is whole.
pub(super) fn walk(list: &FieldList) -> Result<impl Iterator<Item = Found<'_>>, Fault> {
    if list.is_overflowed() {
        return Err(Fault::new(FaultKind::HeadTooLong, list.content_bytes()));
    }
    let mut next = 0;
    Ok(list.iter().map(move |(name, value)| {
        let at = next;
        next += name.len() + value.len();
        Found { name, value, at }
    }))
}

/// A pseudo-header that is here for the first time.
pub(super) fn once<'a>(place: &mut Option<&'a [u8]>, field: Found<'a>) -> Result<(), Fault> {
    match place.replace(field.value) {
        None => Ok(()),
        Some(_) => Err(field.fault(FaultKind::PseudoHeader)),
    }
}

/// Checks a field that is no pseudo-header; its value without blanks around it,
/// which nobody counts as part of a value.
pub(super) fn check<'a>(field: Found<'a>, of: Of) -> Result<&'a [u8], Fault> {
    let name = field.name;
    if !name.iter().all(|b| is_lower(*b)) || name.is_empty() {
        return Err(field.fault(name_fault(name)));
    }
    if memchr::memchr3(0, b'\r', b'\n', field.value).is_some() {
        return Err(field.fault(FaultKind::ControlByte));
    }
    let value = trim(field.value);
    let promises_trailers = of == Of::Request && value.eq_ignore_ascii_case(b"trailers");
    if is_of_connection(name) && !(name == b"te" && promises_trailers) {
        return Err(field.fault(FaultKind::ConnectionSpecific));
    }
    Ok(value)
}

/// Bytes of a name which are no capital letters.
fn is_lower(byte: u8) -> bool {
    let kept = NAME_BYTES[byte as usize];
    // 0 stands for no such byte, and is none itself.
    kept == byte && kept != 0
}

#[cold]
fn name_fault(name: &[u8]) -> FaultKind {
    match name {
        [] => FaultKind::NameMissing,
        // Behind the others, or in trailers.
        [b':', ..] => FaultKind::PseudoHeader,
        _ if name.iter().all(|b| NAME_BYTES[*b as usize] != 0) => FaultKind::NameCase,
        _ => FaultKind::NameByte,
    }
}

/// Headers that speak of one connection of HTTP/1 (RFC 9113, section 8.2.2);
/// `te` may promise trailers all the same.
pub(super) fn is_of_connection(name: &[u8]) -> bool {
    match name.len() {
        2 => name == b"te",
        7 => name == b"upgrade",
        10 => name == b"connection" || name == b"keep-alive",
        14 => name == b"http2-settings",
        16 => name == b"proxy-connection",
        17 => name == b"transfer-encoding",
        _ => false,
    }
}

/// Headers as they go into a message.
pub(super) struct Taken {
    pub(super) noted: Noted,
    count: usize,
    max: usize,
}

impl Taken {
    /// At most as many as the limits let be; the start line counts as one.
    pub(super) fn new(limits: &Limits) -> Self {
        Taken {
            noted: Noted::default(),
            count: 1,
            max: limits.headers,
        }
    }

    /// Puts a header that was checked at the end of a message.
    pub(super) fn push(
        &mut self,
        fields: &mut Fields,
        field: Found<'_>,
        value: &[u8],
    ) -> Result<(), Fault> {
        if self.count >= self.max {
            return Err(field.fault(FaultKind::TooManyHeaders));
        }
        self.count += 1;
        self.noted.note(field.name, field.at);
        fields.push_checked(field.name, value);
        Ok(())
    }
}

/// The trailers behind a body. As with HAProxy those that would frame or route
/// the message, or belong to a connection, are faults. Others that a recipient
/// must not merge into the head are left out, as those of HTTP/1 are.
pub fn trailers(list: &FieldList) -> Result<Box<Fields>, Fault> {
    let mut trailers = Box::new(Fields::new());
    for field in walk(list)? {
        let value = check(field, Of::Trailers)?;
        if matches!(field.name, b"content-length" | b"host") {
            return Err(field.fault(FaultKind::ConnectionSpecific));
        }
        if is_forbidden_trailer(field.name) {
            continue;
        }
        match trailers.add(field.name, value) {
            Ok(()) => {}
            Err(Refusal::Full) => return Err(field.fault(FaultKind::TrailersTooLong)),
            Err(_) => return Err(field.fault(FaultKind::NameByte)),
        }
    }
    Ok(trailers)
}
