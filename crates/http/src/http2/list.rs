//! Validates the field lists of HTTP/2: pseudo-headers first, then headers, every name and value
//! (RFC 9113, section 8.2); and trailers, which have no pseudo-headers.

use crate::http1::{FaultKind, HttpParseError, Limits, Noted, is_forbidden_trailer};
use crate::message::{Fields, MessageEditError, NAME_BYTES, trim};
use protocol::http2::FieldList;

/// The kind of message that a field section belongs to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Of {
    Request,
    Response,
    Trailers,
}

#[derive(Clone, Copy, Debug)]
pub(super) struct LocatedField<'a> {
    pub(super) name: &'a [u8],
    pub(super) value: &'a [u8],
    /// Total length of the preceding names and values, bytes.
    pub(super) at: usize,
}

impl LocatedField<'_> {
    pub(super) fn fault(&self, kind: FaultKind) -> HttpParseError {
        HttpParseError::new(kind, self.at)
    }

    pub(super) fn is_pseudo(&self) -> bool {
        self.name.first() == Some(&b':')
    }
}

pub(super) fn list_fields(
    list: &FieldList,
) -> Result<impl Iterator<Item = LocatedField<'_>>, HttpParseError> {
    if list.is_overflowed() {
        return Err(HttpParseError::new(
            FaultKind::HeadTooLong,
            list.content_bytes(),
        ));
    }
    let mut next = 0;
    Ok(list.iter().map(move |(name, value)| {
        let at = next;
        next += name.len() + value.len();
        LocatedField { name, value, at }
    }))
}

/// Stores a pseudo-header, which must not be repeated.
pub(super) fn once<'a>(
    place: &mut Option<&'a [u8]>,
    field: LocatedField<'a>,
) -> Result<(), HttpParseError> {
    match place.replace(field.value) {
        None => Ok(()),
        Some(_) => Err(field.fault(FaultKind::PseudoHeader)),
    }
}

/// Validates a header. Returns its value without surrounding blanks, which are not part of a value.
pub(super) fn check<'a>(field: LocatedField<'a>, of: Of) -> Result<&'a [u8], HttpParseError> {
    let name = field.name;
    if !name.iter().all(|b| is_lower(*b)) || name.is_empty() {
        return Err(field.fault(name_fault(name)));
    }
    if memchr::memchr3(0, b'\r', b'\n', field.value).is_some() {
        return Err(field.fault(FaultKind::ControlByte));
    }
    let value = trim(field.value);
    let promises_trailers = of == Of::Request && value.eq_ignore_ascii_case(b"trailers");
    if is_connection_specific(name) && !(name == b"te" && promises_trailers) {
        return Err(field.fault(FaultKind::ConnectionSpecific));
    }
    Ok(value)
}

fn is_lower(byte: u8) -> bool {
    let kept = NAME_BYTES[byte as usize];
    // Excludes bytes that are not allowed, which the table marks by 0.
    kept == byte && kept != 0
}

#[cold]
fn name_fault(name: &[u8]) -> FaultKind {
    match name {
        [] => FaultKind::NameMissing,
        // A pseudo-header after headers, or in trailers.
        [b':', ..] => FaultKind::PseudoHeader,
        _ if name.iter().all(|b| NAME_BYTES[*b as usize] != 0) => FaultKind::NameCase,
        _ => FaultKind::NameByte,
    }
}

/// Returns whether a header is specific to an HTTP/1 connection (RFC 9113, section 8.2.2). `te` may
/// nevertheless promise trailers.
pub(super) fn is_connection_specific(name: &[u8]) -> bool {
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

pub(super) struct HeaderCollector {
    pub(super) noted: Noted,
    count: usize,
    max: usize,
}

impl HeaderCollector {
    /// Accepts at most as many headers as the limits allow; the start line counts as one.
    pub(super) fn new(limits: &Limits) -> Self {
        HeaderCollector {
            noted: Noted::default(),
            count: 1,
            max: limits.headers,
        }
    }

    pub(super) fn push(
        &mut self,
        fields: &mut Fields,
        field: LocatedField<'_>,
        value: &[u8],
    ) -> Result<(), HttpParseError> {
        if self.count >= self.max {
            return Err(field.fault(FaultKind::TooManyHeaders));
        }
        self.count += 1;
        self.noted.note(field.name, field.at);
        fields.push_checked(field.name, value);
        Ok(())
    }
}

/// Parses the trailers after a body. As in HAProxy, those that would frame or route the message, or
/// belong to a connection, are faults. Others that a recipient must not merge into the head are
/// dropped, as in HTTP/1.
///
/// # Errors
/// The list has overflowed (`HeadTooLong`), or the trailers are too long for a message
/// (`TrailersTooLong`). A name or value is malformed, or the field is a pseudo-header
/// (`NameMissing`, `NameByte`, `NameCase`, `ControlByte`, `PseudoHeader`). The field is `host`,
/// `content-length` or one of an HTTP/1 connection (`ConnectionSpecific`).
pub fn trailers(list: &FieldList) -> Result<Box<Fields>, HttpParseError> {
    let mut trailers = Box::new(Fields::new());
    for field in list_fields(list)? {
        let value = check(field, Of::Trailers)?;
        if matches!(field.name, b"content-length" | b"host") {
            return Err(field.fault(FaultKind::ConnectionSpecific));
        }
        if is_forbidden_trailer(field.name) {
            continue;
        }
        match trailers.add(field.name, value) {
            Ok(()) => {}
            Err(MessageEditError::Full) => return Err(field.fault(FaultKind::TrailersTooLong)),
            Err(_) => return Err(field.fault(FaultKind::NameByte)),
        }
    }
    Ok(trailers)
}
