//! Parses the heads of HTTP/2 requests from their field lists.

use super::list::{self, HeaderCollector, LocatedField, Of};
use crate::http1::{self, BodyLength, FaultKind, HttpParseError, Limits, Parsed, Upgrade};
use crate::message::{Fields, HttpMessage, HttpVersion, MessageEditError, NAME_BYTES};
use crate::websocket;
use protocol::http2::FieldList;

#[derive(Clone, Copy, Default, Debug)]
struct Pseudo<'a> {
    method: Option<&'a [u8]>,
    scheme: Option<&'a [u8]>,
    authority: Option<&'a [u8]>,
    path: Option<&'a [u8]>,
    protocol: Option<&'a [u8]>,
}

impl<'a> Pseudo<'a> {
    fn set_pseudo_header(&mut self, field: LocatedField<'a>) -> Result<(), HttpParseError> {
        let place = match field.name {
            b":method" => &mut self.method,
            b":scheme" => &mut self.scheme,
            b":authority" => &mut self.authority,
            b":path" => &mut self.path,
            b":protocol" => &mut self.protocol,
            _ => return Err(field.fault(FaultKind::PseudoHeader)),
        };
        list::once(place, field)
    }
}

enum RequestForm<'a> {
    Plain {
        scheme: &'a [u8],
        path: &'a [u8],
    },
    Connect,
    /// Extended CONNECT for a protocol (RFC 8441).
    Extended {
        scheme: &'a [u8],
        path: &'a [u8],
        protocol: &'a [u8],
    },
}

impl<'a> RequestForm<'a> {
    fn scheme(&self) -> &'a [u8] {
        match self {
            RequestForm::Plain { scheme, .. } | RequestForm::Extended { scheme, .. } => scheme,
            RequestForm::Connect => b"",
        }
    }
}

/// Converts the field list of a request to a message. After a fault the message is unspecified.
///
/// # Errors
/// The list has overflowed, or the message exceeds the limits. A pseudo-header is missing,
/// repeated, unknown, malformed or after a header. A header is malformed, or specific to an HTTP/1
/// connection. The host differs from the authority. The lengths are malformed or differ, or the
/// stream ends although a length announces a body.
pub fn request(
    list: &FieldList,
    end_stream: bool,
    limits: &Limits,
    message: &mut HttpMessage,
) -> Result<Parsed, HttpParseError> {
    let mut walk = list::list_fields(list)?.peekable();
    let mut pseudo = Pseudo::default();
    while let Some(field) = walk.next_if(LocatedField::is_pseudo) {
        pseudo.set_pseudo_header(field)?;
    }
    let (method, kind) = kind_of(&pseudo, limits)?;
    check_authority(&pseudo, &kind)?;
    http1::prepare(message, limits, list.bytes());
    begin(message, method, &kind, pseudo.authority)
        .map_err(|_| HttpParseError::new(FaultKind::HeadTooLong, 0))?;
    let mut taken = HeaderCollector::new(limits);
    if let Some(value) = pseudo.authority {
        let (name, at) = (&b"host"[..], 0);
        taken.push(
            message.fields_mut(),
            LocatedField { name, value, at },
            value,
        )?;
    }
    let mut cookies = Cookies::default();
    for field in walk {
        let value = list::check(field, Of::Request)?;
        match (field.name, pseudo.authority) {
            (b"cookie", _) => cookies.first = cookies.first.or(Some(field)),
            (b"host", Some(authority)) => {
                if !http1::hosts_agree(authority, value, kind.scheme()) {
                    return Err(field.fault(FaultKind::HostMismatch));
                }
            }
            _ => taken.push(message.fields_mut(), field, value)?,
        }
    }
    cookies.join(list, &mut taken, message.fields_mut())?;
    // Checks strictly in any case, because an odd byte in an authority would move the path.
    http1::check_host(message, &taken.noted, 0, false)?;
    let parsed = finish(message, &kind, end_stream, &taken)?;
    if message.wire_len() > limits.head_bytes {
        Err(HttpParseError::new(
            FaultKind::HeadTooLong,
            limits.head_bytes,
        ))
    } else {
        Ok(parsed)
    }
}

fn kind_of<'a>(
    pseudo: &Pseudo<'a>,
    limits: &Limits,
) -> Result<(&'a [u8], RequestForm<'a>), HttpParseError> {
    let fault = |kind| HttpParseError::new(kind, 0);
    let missing = fault(FaultKind::PseudoMissing);
    let method = pseudo.method.ok_or(missing)?;
    if method.is_empty() {
        return Err(fault(FaultKind::MethodMissing));
    }
    // Refuses `PRI`, too, so that no HTTP/1 recipient mistakes the request for HTTP/2's preface.
    if !method.iter().all(|b| NAME_BYTES[*b as usize] != 0) || method == b"PRI" {
        return Err(fault(FaultKind::MethodByte));
    }
    let is_connect = method == b"CONNECT";
    if is_connect && pseudo.protocol.is_none() {
        return match (pseudo.scheme, pseudo.path) {
            (None, None) => Ok((method, RequestForm::Connect)),
            _ => Err(fault(FaultKind::PseudoHeader)),
        };
    }
    let scheme = pseudo.scheme.ok_or(missing)?;
    let path = pseudo.path.ok_or(missing)?;
    if !is_scheme(scheme) {
        return Err(fault(FaultKind::Scheme));
    }
    if !path
        .iter()
        .all(|b| http1::is_target_byte(*b, limits.accept_invalid))
    {
        return Err(fault(FaultKind::TargetByte));
    }
    if path.first() != Some(&b'/') && !(path == b"*" && method == b"OPTIONS") {
        return Err(fault(FaultKind::TargetForm));
    }
    match pseudo.protocol {
        None => Ok((method, RequestForm::Plain { scheme, path })),
        Some(_) if !is_connect => Err(fault(FaultKind::PseudoHeader)),
        // Refuses a tunnel of HTTP/2, because rules could not see the requests within it.
        Some(protocol)
            if protocol.is_empty()
                || protocol.eq_ignore_ascii_case(b"h2c")
                || !protocol.iter().all(|b| NAME_BYTES[*b as usize] != 0) =>
        {
            Err(fault(FaultKind::Protocol))
        }
        Some(protocol) => Ok((
            b"GET",
            RequestForm::Extended {
                scheme,
                path,
                protocol,
            },
        )),
    }
}

fn is_scheme(scheme: &[u8]) -> bool {
    scheme.first().is_some_and(u8::is_ascii_alphabetic)
        && scheme
            .iter()
            .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'+' | b'-' | b'.'))
}

/// Checks the authority, which must name a host if present. CONNECT requires one with a port, which
/// is its target.
fn check_authority(pseudo: &Pseudo<'_>, kind: &RequestForm<'_>) -> Result<(), HttpParseError> {
    match (pseudo.authority, kind) {
        // Refuses an authority with a port but no host, too.
        (Some(b"" | [b':', ..]), _) => Err(HttpParseError::new(FaultKind::AuthorityEmpty, 0)),
        (None, RequestForm::Plain { .. }) => Ok(()),
        (None, _) => Err(HttpParseError::new(FaultKind::PseudoMissing, 0)),
        (Some(authority), RequestForm::Connect) => {
            let is_target = http1::is_host_and_port(authority)
                && authority.iter().all(|b| http1::is_target_byte(*b, false));
            if is_target {
                Ok(())
            } else {
                Err(HttpParseError::new(FaultKind::TargetForm, 0))
            }
        }
        (Some(_), _) => Ok(()),
    }
}

/// Sets the start line. `*` is not part of the URL: `OPTIONS https://host`.
fn begin(
    message: &mut HttpMessage,
    method: &[u8],
    kind: &RequestForm<'_>,
    authority: Option<&[u8]>,
) -> Result<(), MessageEditError> {
    let target = match (kind, authority) {
        (RequestForm::Connect, authority) => [authority.unwrap_or_default(), b"", b"", b""],
        (RequestForm::Plain { path, .. } | RequestForm::Extended { path, .. }, None) => {
            [*path, b"", b"", b""]
        }
        (
            RequestForm::Plain { scheme, path } | RequestForm::Extended { scheme, path, .. },
            Some(authority),
        ) => {
            let path: &[u8] = if *path == b"*" { b"" } else { path };
            [*scheme, b"://", authority, path]
        }
    };
    message.begin_request_of(method, target, HttpVersion::Http2)
}

/// Cookies, which may be split into several fields (RFC 9113, section 8.2.3). They are forwarded as
/// one header, the last one, as in HAProxy.
#[derive(Default)]
struct Cookies<'a> {
    first: Option<LocatedField<'a>>,
}

impl Cookies<'_> {
    fn join(
        &self,
        list: &FieldList,
        taken: &mut HeaderCollector,
        fields: &mut Fields,
    ) -> Result<(), HttpParseError> {
        let Some(first) = self.first else {
            return Ok(());
        };
        let mut crumbs = list
            .iter()
            .filter(|(name, _)| *name == b"cookie")
            .map(|(_, value)| crate::message::trim(value))
            .filter(|value| !value.is_empty());
        taken.push(fields, first, crumbs.next().unwrap_or_default())?;
        for crumb in crumbs {
            fields.extend_last(&[b"; ", crumb]);
        }
        Ok(())
    }
}

fn finish(
    message: &mut HttpMessage,
    kind: &RequestForm<'_>,
    end_stream: bool,
    taken: &HeaderCollector,
) -> Result<Parsed, HttpParseError> {
    let length = http1::content_length(message.fields_mut(), &taken.noted)?;
    let mut upgrade = None;
    let body = match kind {
        RequestForm::Plain { .. } => body_of(length, end_stream)?,
        RequestForm::Connect | RequestForm::Extended { .. } => {
            message.remove(b"content-length");
            BodyLength::None
        }
    };
    if let RequestForm::Extended { protocol, .. } = kind {
        let is_websocket = protocol.eq_ignore_ascii_case(b"websocket");
        upgrade = Some(if is_websocket {
            Upgrade::WebSocket
        } else {
            Upgrade::Other
        });
        websocket::upgrade_request(message, protocol, is_websocket)
            .map_err(|_| HttpParseError::new(FaultKind::HeadTooLong, 0))?;
    }
    Ok(Parsed {
        consumed: 0,
        body,
        keep_alive: true,
        upgrade,
        expect_continue: http1::expects_continue(message, &taken.noted),
        interim: false,
    })
}

/// Returns the length of the body after a head that announced a length, or none. The
/// receiver of the body checks that its data matches the length.
pub(super) fn body_of(length: Option<u64>, end_stream: bool) -> Result<BodyLength, HttpParseError> {
    match (length, end_stream) {
        (None | Some(0), true) | (Some(0), false) => Ok(BodyLength::None),
        (Some(_), true) => Err(HttpParseError::new(FaultKind::LengthWithoutBody, 0)),
        (Some(length), false) => Ok(BodyLength::Length(length)),
        (None, false) => Ok(BodyLength::Stream),
    }
}
