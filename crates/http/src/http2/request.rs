//! Parser for the heads of requests.

use super::list::{self, Found, Of, Taken};
use crate::http1::{self, BodyLength, Fault, FaultKind, Limits, Parsed, Upgrade};
use crate::message::{Fields, Message, NAME_BYTES, Refusal, Version};
use crate::websocket;
use protocol::http2::FieldList;

/// The pseudo-headers of a request.
#[derive(Clone, Copy, Default, Debug)]
struct Pseudo<'a> {
    method: Option<&'a [u8]>,
    scheme: Option<&'a [u8]>,
    authority: Option<&'a [u8]>,
    path: Option<&'a [u8]>,
    protocol: Option<&'a [u8]>,
}

impl<'a> Pseudo<'a> {
    fn take(&mut self, field: Found<'a>) -> Result<(), Fault> {
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

/// The kind of request that the pseudo-headers describe.
enum Kind<'a> {
    Plain {
        scheme: &'a [u8],
        path: &'a [u8],
    },
    Connect,
    /// Extended CONNECT (RFC 8441).
    Extended {
        scheme: &'a [u8],
        path: &'a [u8],
        protocol: &'a [u8],
    },
}

impl<'a> Kind<'a> {
    fn scheme(&self) -> &'a [u8] {
        match self {
            Kind::Plain { scheme, .. } | Kind::Extended { scheme, .. } => scheme,
            Kind::Connect => b"",
        }
    }
}

/// Converts the field list of a request to a message. After a fault the message is unspecified.
pub fn request(
    list: &FieldList,
    end_stream: bool,
    limits: &Limits,
    message: &mut Message,
) -> Result<Parsed, Fault> {
    let mut walk = list::walk(list)?.peekable();
    let mut pseudo = Pseudo::default();
    while let Some(field) = walk.next_if(Found::is_pseudo) {
        pseudo.take(field)?;
    }
    let (method, kind) = kind_of(&pseudo, limits)?;
    check_authority(&pseudo, &kind)?;
    http1::prepare(message, limits, list.bytes());
    begin(message, method, &kind, pseudo.authority)
        .map_err(|_| Fault::new(FaultKind::HeadTooLong, 0))?;
    let mut taken = Taken::new(limits);
    if let Some(value) = pseudo.authority {
        let (name, at) = (&b"host"[..], 0);
        taken.push(message.fields_mut(), Found { name, value, at }, value)?;
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
    // Always strict, because an odd byte in an authority would move the path.
    http1::check_host(message, &taken.noted, 0, false)?;
    let parsed = finish(message, &kind, end_stream, &taken)?;
    match message.wire_len() > limits.head_bytes {
        true => Err(Fault::new(FaultKind::HeadTooLong, limits.head_bytes)),
        false => Ok(parsed),
    }
}

/// Returns the method and the kind of request.
fn kind_of<'a>(pseudo: &Pseudo<'a>, limits: &Limits) -> Result<(&'a [u8], Kind<'a>), Fault> {
    let fault = |kind| Fault::new(kind, 0);
    let missing = fault(FaultKind::PseudoMissing);
    let method = pseudo.method.ok_or(missing)?;
    if method.is_empty() {
        return Err(fault(FaultKind::MethodMissing));
    }
    // An HTTP/1 recipient must not mistake the request for HTTP/2's preface.
    if !method.iter().all(|b| NAME_BYTES[*b as usize] != 0) || method == b"PRI" {
        return Err(fault(FaultKind::MethodByte));
    }
    let is_connect = method == b"CONNECT";
    if is_connect && pseudo.protocol.is_none() {
        return match (pseudo.scheme, pseudo.path) {
            (None, None) => Ok((method, Kind::Connect)),
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
        None => Ok((method, Kind::Plain { scheme, path })),
        Some(_) if !is_connect => Err(fault(FaultKind::PseudoHeader)),
        // Within a tunnel of HTTP/2 rules could not see requests.
        Some(protocol)
            if protocol.is_empty()
                || protocol.eq_ignore_ascii_case(b"h2c")
                || !protocol.iter().all(|b| NAME_BYTES[*b as usize] != 0) =>
        {
            Err(fault(FaultKind::Protocol))
        }
        Some(protocol) => Ok((
            b"GET",
            Kind::Extended {
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
fn check_authority(pseudo: &Pseudo<'_>, kind: &Kind<'_>) -> Result<(), Fault> {
    match (pseudo.authority, kind) {
        // A port without a host is not enough.
        (Some(b"" | [b':', ..]), _) => Err(Fault::new(FaultKind::AuthorityEmpty, 0)),
        (None, Kind::Plain { .. }) => Ok(()),
        (None, _) => Err(Fault::new(FaultKind::PseudoMissing, 0)),
        (Some(authority), Kind::Connect) => {
            let is_target = http1::is_host_and_port(authority)
                && authority.iter().all(|b| http1::is_target_byte(*b, false));
            match is_target {
                true => Ok(()),
                false => Err(Fault::new(FaultKind::TargetForm, 0)),
            }
        }
        (Some(_), _) => Ok(()),
    }
}

/// Sets the start line. `*` is not part of the URL: `OPTIONS https://host`.
fn begin(
    message: &mut Message,
    method: &[u8],
    kind: &Kind<'_>,
    authority: Option<&[u8]>,
) -> Result<(), Refusal> {
    let target = match (kind, authority) {
        (Kind::Connect, authority) => [authority.unwrap_or_default(), b"", b"", b""],
        (Kind::Plain { path, .. } | Kind::Extended { path, .. }, None) => [*path, b"", b"", b""],
        (Kind::Plain { scheme, path } | Kind::Extended { scheme, path, .. }, Some(authority)) => {
            let path: &[u8] = if *path == b"*" { b"" } else { path };
            [*scheme, b"://", authority, path]
        }
    };
    message.begin_request_of(method, target, Version::Http2)
}

/// Cookies, which may be split into several fields (RFC 9113, section 8.2.3). They are forwarded as
/// one header, the last one, as in HAProxy.
#[derive(Default)]
struct Cookies<'a> {
    first: Option<Found<'a>>,
}

impl Cookies<'_> {
    fn join(&self, list: &FieldList, taken: &mut Taken, fields: &mut Fields) -> Result<(), Fault> {
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

/// Determines the body, and converts extended CONNECT to its HTTP/1 form.
fn finish(
    message: &mut Message,
    kind: &Kind<'_>,
    end_stream: bool,
    taken: &Taken,
) -> Result<Parsed, Fault> {
    let length = http1::content_length(message.fields_mut(), &taken.noted)?;
    let mut upgrade = None;
    let body = match kind {
        Kind::Plain { .. } => body_of(length, end_stream)?,
        Kind::Connect | Kind::Extended { .. } => {
            message.remove(b"content-length");
            BodyLength::None
        }
    };
    if let Kind::Extended { protocol, .. } = kind {
        let is_websocket = protocol.eq_ignore_ascii_case(b"websocket");
        upgrade = Some(match is_websocket {
            true => Upgrade::WebSocket,
            false => Upgrade::Other,
        });
        websocket::upgrade_request(message, protocol, is_websocket)
            .map_err(|_| Fault::new(FaultKind::HeadTooLong, 0))?;
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
pub(super) fn body_of(length: Option<u64>, end_stream: bool) -> Result<BodyLength, Fault> {
    match (length, end_stream) {
        (None | Some(0), true) | (Some(0), false) => Ok(BodyLength::None),
        (Some(_), true) => Err(Fault::new(FaultKind::LengthWithoutBody, 0)),
        (Some(length), false) => Ok(BodyLength::Length(length)),
        (None, false) => Ok(BodyLength::Stream),
    }
}
