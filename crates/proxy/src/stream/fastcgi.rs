//! Sends a request to a FastCGI application: its parameters have the names and rules of CGI/1.1
//! and of HAProxy. Logs what the application writes to STDERR.

use super::ProxyStream;
use super::answer::Failure;
use super::body::IncomingBody;
use http::message::TargetForm;
use jiff::Timestamp;
use model::config::FcgiApp;
use model::config::product::{NAME, VERSION};
use model::log;
use model::rules::url_decoded;
use model::users::Basic;
use mux::link::PeerConnection;
use protocol::fcgi::{FcgiRequest, Length, Params, TooLong};
use std::borrow::Cow;
use tls::transport::ConnectionTransport;

/// Request header fields that are hidden from an application unless `pass-header` names them.
const HIDDEN: &[&[u8]] = &[
    b"connection",
    b"keep-alive",
    b"authorization",
    b"proxy",
    b"proxy-authorization",
    b"proxy-authenticate",
    b"te",
    b"trailers",
    b"transfer-encoding",
    b"upgrade",
];

#[derive(Debug)]
pub(super) enum Unsayable {
    TooLong,
    /// The path cannot be decoded, or contains characters that `path-info` forbids.
    Path,
    /// The length of the body was not announced, and the body does not fit into a buffer.
    /// Applications need the length in CONTENT_LENGTH.
    Length,
}

impl From<Unsayable> for Failure {
    fn from(why: Unsayable) -> Self {
        match why {
            Unsayable::Length => Failure::Unsized,
            Unsayable::Path | Unsayable::TooLong => Failure::Unsayable,
        }
    }
}

impl From<TooLong> for Unsayable {
    fn from(_: TooLong) -> Self {
        Unsayable::TooLong
    }
}

fn app(stream: &ProxyStream) -> Option<&FcgiApp> {
    let at = stream.backend()?.fcgi_app?;
    stream.config.fcgi_apps.get(at)
}

/// Begins the request of a stream on a connection. `came`: length of a body that has arrived
/// completely although its length was not announced. Fails if the request cannot be expressed as
/// parameters, or the length of its body is unknown.
pub(super) fn begin(
    stream: &ProxyStream,
    transport: &ConnectionTransport,
    body: &IncomingBody,
    chunked: bool,
    came: Option<usize>,
) -> Result<(), Unsayable> {
    let Some(app) = app(stream) else {
        return Err(Unsayable::Path);
    };
    let length = match body {
        IncomingBody::Done => Length::None,
        _ if chunked => Length::Chunked,
        IncomingBody::Length(bytes) | IncomingBody::Stream(Some(bytes)) => Length::Bytes(*bytes),
        IncomingBody::Chunked(_) | IncomingBody::Stream(None) | IncomingBody::UntilClose => {
            Length::Chunked
        }
    };
    let content_length = match length {
        Length::None => Some(0),
        Length::Bytes(bytes) => Some(bytes),
        Length::Chunked => came.map(|bytes| bytes as u64),
    };
    let content_length = content_length.ok_or(Unsayable::Length)?;
    let params = params(stream, app, content_length)?;
    let date = Timestamp::now().strftime("%a, %d %b %Y %H:%M:%S GMT");
    transport.begin_fastcgi(&FcgiRequest {
        params: &params,
        length,
        head: stream.request.method() == b"HEAD",
        keep: app.keep_connections,
        date: date.to_string().as_bytes(),
    });
    Ok(())
}

/// Returns the parameters set by `set-param` lines. The last line for a name applies; an empty
/// value removes the parameter.
fn set(stream: &ProxyStream, app: &FcgiApp) -> Vec<(Cow<'static, [u8]>, Vec<u8>)> {
    let mut all: Vec<(Cow<'static, [u8]>, Vec<u8>)> = Vec::new();
    for rule in &app.params {
        let applies = (rule.condition.as_ref()).is_none_or(|condition| condition.test(stream));
        if !applies {
            continue;
        }
        let value = rule.value.fill(stream);
        all.retain(|(name, _)| **name != *rule.name);
        all.push((rule.name.to_vec().into(), value));
    }
    all.retain(|(_, value)| !value.is_empty());
    all
}

fn is_passed(stream: &ProxyStream, app: &FcgiApp, name: &[u8]) -> bool {
    let hidden = HIDDEN.iter().any(|one| one.eq_ignore_ascii_case(name));
    let passes = || {
        app.passed.iter().any(|rule| {
            rule.name.eq_ignore_ascii_case(name)
                && (rule.condition.as_ref()).is_none_or(|condition| condition.test(stream))
        })
    };
    !hidden || passes()
}

fn params(stream: &ProxyStream, app: &FcgiApp, length: u64) -> Result<Params, Unsayable> {
    let mut params = Params::default();
    let set = set(stream, app);
    for (name, value) in stream.request.fields().iter() {
        let of_body = name.eq_ignore_ascii_case(b"content-length");
        if of_body || !is_passed(stream, app, name) {
            continue;
        }
        if name.eq_ignore_ascii_case(b"content-type") {
            params.add(&[b"CONTENT_TYPE"], value)?
        } else {
            params.add(&[b"HTTP_", name], value)?
        }
    }
    for (name, value) in &set {
        params.add(&[name], value)?;
    }
    let said = |name: &[u8]| set.iter().find(|(other, _)| **other == *name);
    for (name, value) in defaults(stream, app, length, &said)? {
        if said(name).is_none() && !value.is_empty() {
            params.add(&[name], &value)?;
        }
    }
    Ok(params)
}

type HeaderLookup<'s> = &'s dyn Fn(&[u8]) -> Option<&'s (Cow<'static, [u8]>, Vec<u8>)>;
type Defaults<'s> = Vec<(&'static [u8], Cow<'s, [u8]>)>;

fn defaults<'s>(
    stream: &'s ProxyStream,
    app: &'s FcgiApp,
    length: u64,
    said: HeaderLookup<'s>,
) -> Result<Defaults<'s>, Unsayable> {
    let request = &stream.request;
    let (source, destination) = (stream.source(), stream.destination());
    let number = |port: Option<u16>| Cow::Owned(port.unwrap_or(0).to_string().into_bytes());
    let ip =
        |ip: Option<std::net::IpAddr>| ip.map_or_else(Vec::new, |ip| ip.to_string().into_bytes());
    let docroot = match said(b"DOCUMENT_ROOT") {
        Some((_, value)) => &value[..],
        None => app.docroot.as_deref().unwrap_or_default(),
    };
    let Script { name, info } = script(stream, app, said)?;
    let joined = |part: &[u8]| {
        if part.is_empty() {
            Cow::Borrowed(&b""[..])
        } else {
            Cow::Owned([docroot, part].concat())
        }
    };
    let parts = request.target_parts();
    let composed = parts.form == TargetForm::Absolute && request.is_target_composed();
    let uri = if composed {
        request.path_and_query()
    } else {
        request.target()
    };
    let server = match request.get(b"host") {
        Some(host) if !host.is_empty() => Cow::Borrowed(host),
        _ => Cow::Owned(ip(destination.ip())),
    };
    let secure: &[u8] = if stream.session.tls.is_some() {
        b"on"
    } else {
        b""
    };
    let protocol = format!("HTTP/{}", request.version().number()).into_bytes();
    let length = length.to_string().into_bytes();
    let software = format!("{NAME} {VERSION}").into_bytes();
    Ok(vec![
        (b"GATEWAY_INTERFACE", Cow::Borrowed(b"CGI/1.1")),
        (b"DOCUMENT_ROOT", Cow::Borrowed(docroot)),
        (b"SCRIPT_FILENAME", joined(&name)),
        (b"PATH_TRANSLATED", joined(&info)),
        (b"SCRIPT_NAME", Cow::Owned(name)),
        (b"PATH_INFO", Cow::Owned(info)),
        (b"REQUEST_URI", Cow::Borrowed(uri)),
        (b"REQUEST_METHOD", Cow::Borrowed(request.method())),
        (
            b"QUERY_STRING",
            Cow::Borrowed(request.query().unwrap_or_default()),
        ),
        (b"SERVER_NAME", server),
        (b"SERVER_PORT", number(destination.port())),
        (b"SERVER_PROTOCOL", Cow::Owned(protocol)),
        (b"REMOTE_ADDR", Cow::Owned(ip(source.ip()))),
        (b"REMOTE_PORT", number(source.port())),
        (b"CONTENT_LENGTH", Cow::Owned(length)),
        (b"SERVER_SOFTWARE", Cow::Owned(software)),
        (b"HTTPS", Cow::Borrowed(secure)),
        (b"REMOTE_USER", Cow::Owned(user(stream))),
        (b"AUTH_TYPE", Cow::Borrowed(auth_type(stream))),
    ])
}

fn user(stream: &ProxyStream) -> Vec<u8> {
    Basic::of(stream).map_or_else(Vec::new, |basic| basic.user().to_vec())
}

fn auth_type(stream: &ProxyStream) -> &'static [u8] {
    match Basic::of(stream) {
        Some(_) => b"Basic",
        None => b"",
    }
}

/// The script that a request names, and the part of the path after it.
struct Script {
    name: Vec<u8>,
    info: Vec<u8>,
}

fn script(
    stream: &ProxyStream,
    app: &FcgiApp,
    said: HeaderLookup<'_>,
) -> Result<Script, Unsayable> {
    let value = |name: &[u8]| said(name).map(|(_, value)| value.clone());
    if let Some(name) = value(b"SCRIPT_NAME") {
        let info = value(b"PATH_INFO").unwrap_or_default();
        return Ok(Script { name, info });
    }
    let path = url_decoded(stream.request.path(), false).ok_or(Unsayable::Path)?;
    let mut found = Script {
        name: path,
        info: Vec::new(),
    };
    if let Some(regex) = &app.path_info {
        if found.name.iter().any(|b| matches!(b, b'\n' | b'\0')) {
            return Err(Unsayable::Path);
        }
        let groups = regex.groups(&found.name);
        let group = |at: usize| groups.as_ref().and_then(|groups| groups.get(at).copied()?);
        if let Some((begin, end)) = group(1) {
            let info = group(2).map(|(begin, end)| found.name[begin..end].to_vec());
            found.info = info.unwrap_or_default();
            found.name = found.name[begin..end].to_vec();
        }
    }
    if found.name.ends_with(b"/") {
        found.name.extend_from_slice(&app.index);
    }
    if let Some(info) = value(b"PATH_INFO") {
        found.info = info;
    }
    Ok(found)
}

/// Logs what an application wrote to STDERR (`log-stderr`).
pub(super) fn log_errors(stream: &ProxyStream, server: &PeerConnection) {
    let Some(transport) = server.transport().filter(|one| one.is_fastcgi()) else {
        return;
    };
    let errors = transport.take_errors();
    let Some(app) = app(stream).filter(|app| !app.logs.is_empty()) else {
        return;
    };
    for line in errors.split(|b| *b == b'\n') {
        let line = line.trim_ascii();
        if !line.is_empty() {
            log::application_error(stream, &app.logs, line);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn path_is_decoded_or_invalid() {
        assert_eq!(
            url_decoded(b"/a%20b+c", false).as_deref(),
            Some(&b"/a b+c"[..])
        );
        assert_eq!(url_decoded(b"/%4", false), None);
        assert_eq!(url_decoded(b"/%zz", false), None);
        assert_eq!(url_decoded(b"/%00", false).as_deref(), Some(&b"/\0"[..]));
    }
}
