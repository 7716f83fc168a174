//! Checks the host of a request: a single value that agrees with the request target.

use super::fault::{FaultKind, HttpParseError};
use super::head::Noted;
use crate::message::{HttpMessage, TargetForm};

/// Checks the Host headers against each other and against the target, and normalizes the message:
/// merges equal Host headers, removes a default port, and completes the path. With `relaxed`, the
/// host of an absolute target replaces another Host. As in HAProxy, a missing Host header is not an
/// error here, but left to the server.
pub(crate) fn check(
    message: &mut HttpMessage,
    noted: &Noted,
    target_at: usize,
    relaxed: bool,
) -> Result<(), HttpParseError> {
    if noted.host.count > 1 {
        merge_host(message, noted)?;
    }
    let host = message.get(b"host");
    if let Some(host) = host
        && !relaxed
        && !is_simple_host(host)
        && !(host.iter().all(|b| host_byte(*b)) && has_one_port(host))
    {
        return Err(noted.host.fault(FaultKind::HostByte));
    }
    if message.target().first() == Some(&b'/') {
        return Ok(());
    }
    let Some(authority) = message.target_authority() else {
        return Ok(());
    };
    let wanted = without_user(authority);
    let scheme = scheme(message);
    if let Some(host) = host
        && !same(wanted, host, scheme)
    {
        if !relaxed {
            return Err(HttpParseError::new(FaultKind::HostMismatch, target_at));
        }
        // Sets Host to the host of the target, because the server must route by the host that the
        // rules saw.
        if message.target_parts().form == TargetForm::Absolute && !wanted.is_empty() {
            let wanted = wanted.to_vec();
            message
                .fields_mut()
                .set(b"host", &wanted)
                .map_err(|_| HttpParseError::new(FaultKind::HeadTooLong, target_at))?;
        }
    }
    drop_default_port(message, scheme);
    add_path(message, target_at)
}

fn merge_host(message: &mut HttpMessage, noted: &Noted) -> Result<(), HttpParseError> {
    let fields = message.fields();
    let Some(first) = fields.get(b"host") else {
        return Ok(());
    };
    if !fields
        .get_all(b"host")
        .all(|h| h.eq_ignore_ascii_case(first))
    {
        return Err(noted.host.fault(FaultKind::HostsDiffer));
    }
    let mut seen = false;
    message.remove_if(|name, _| name == b"host" && std::mem::replace(&mut seen, true));
    Ok(())
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Scheme {
    Http,
    Https,
    /// CONNECT, for which both default ports are possible.
    Connect,
    Other,
}

fn scheme(message: &HttpMessage) -> Scheme {
    let target = message.target();
    let parts = message.target_parts();
    let name = &target[..parts.scheme_end];
    if parts.form == TargetForm::Authority {
        // Compares with the case, because methods are case-sensitive: `connect` is another method,
        // whose Host is kept.
        if message.method() == b"CONNECT" {
            Scheme::Connect
        } else {
            Scheme::Other
        }
    } else if name.eq_ignore_ascii_case(b"http") {
        Scheme::Http
    } else if name.eq_ignore_ascii_case(b"https") {
        Scheme::Https
    } else {
        Scheme::Other
    }
}

fn without_user(authority: &[u8]) -> &[u8] {
    match memchr::memrchr(b'@', authority) {
        Some(at) => &authority[at + 1..],
        None => authority,
    }
}

fn port_at(authority: &[u8]) -> Option<usize> {
    let colon = memchr::memrchr(b':', authority)?;
    // Ignores the colons within `[::1]`, which do not separate a port.
    match memchr::memrchr(b']', authority) {
        Some(bracket) if bracket > colon => None,
        _ => Some(colon),
    }
}

/// Returns whether the host is a simple name or IPv4 address with an optional port, as nearly all
/// are: letters, digits, dots, dashes, and at most one colon.
fn is_simple_host(host: &[u8]) -> bool {
    let mut colons = 0;
    host.iter().all(|byte| {
        colons += u32::from(*byte == b':');
        PLAIN[*byte as usize]
    }) && colons <= 1
}

const PLAIN: [bool; 256] = {
    let mut plain = [false; 256];
    let mut at = 0;
    while at < 256 {
        let byte = at as u8;
        plain[at] = byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b':');
        at += 1;
    }
    plain
};

/// Returns whether there is at most one port. Recipients interpret `host:80:443` differently.
fn has_one_port(host: &[u8]) -> bool {
    port_at(host).is_none_or(|at| port_at(&host[..at]).is_none())
}

fn is_default_port(port: &[u8], scheme: Scheme) -> bool {
    match scheme {
        Scheme::Http => port == b"80",
        Scheme::Https => port == b"443",
        Scheme::Connect => port == b"80" || port == b"443",
        Scheme::Other => false,
    }
}

fn without_default_port(authority: &[u8], scheme: Scheme) -> &[u8] {
    match port_at(authority) {
        // Keeps a port whose removal leaves another one, because that port is ambiguous.
        Some(at) if port_at(&authority[..at]).is_some() => authority,
        Some(at) if at + 1 == authority.len() || is_default_port(&authority[at + 1..], scheme) => {
            &authority[..at]
        }
        _ => authority,
    }
}

/// Returns whether a Host header agrees with the authority of an HTTP/2 request, which may have
/// both.
pub(crate) fn is_same_authority(authority: &[u8], host: &[u8], scheme: &[u8]) -> bool {
    let scheme = match scheme {
        s if s.eq_ignore_ascii_case(b"http") => Scheme::Http,
        s if s.eq_ignore_ascii_case(b"https") => Scheme::Https,
        // Treats a request without a scheme as CONNECT, which has none.
        b"" => Scheme::Connect,
        _ => Scheme::Other,
    };
    same(authority, host, scheme)
}

fn same(authority: &[u8], host: &[u8], scheme: Scheme) -> bool {
    if authority.eq_ignore_ascii_case(host) {
        return true;
    }
    let authority_bare = without_default_port(authority, scheme);
    let host_bare = without_default_port(host, scheme);
    // Distinguishes the two default ports of CONNECT, which name different hosts; `host:` has no
    // port.
    let both_name_one =
        authority_bare.len() + 1 < authority.len() && host_bare.len() + 1 < host.len();
    !(both_name_one && scheme == Scheme::Connect) && authority_bare.eq_ignore_ascii_case(host_bare)
}

/// Removes a default port from the target and from Host: `http://host:80/` becomes `http://host/`.
/// As in HAProxy, rules and the server see no redundant port. CONNECT needs the port in its target,
/// so only its Host loses it.
fn drop_default_port(message: &mut HttpMessage, scheme: Scheme) {
    let parts = message.target_parts();
    if parts.form == TargetForm::Authority {
        let target = message.target();
        let same = message
            .get(b"host")
            .is_some_and(|host| host.eq_ignore_ascii_case(target));
        if same && is_host_and_port(target) {
            drop_port_of_host(message, scheme);
        }
        return;
    }
    if parts.form != TargetForm::Absolute {
        return;
    }
    let authority = &message.target()[parts.authority_start..parts.path_start];
    let named = without_user(authority);
    let user = authority.len() - named.len();
    let bare = user + without_default_port(named, scheme).len();
    // Keeps a port without a host, because without the port the target would have no authority.
    if bare < authority.len() && bare > user {
        // Ignores the result, because the target only becomes shorter.
        let _ = message.set_target_pieces(parts.authority_start + bare, &[], parts.path_start);
        drop_port_of_host(message, scheme);
    }
}

fn drop_port_of_host(message: &mut HttpMessage, scheme: Scheme) {
    let fields = message.fields_mut();
    if let Some(at) = fields.position(b"host", 0)
        && let Some((_, host)) = fields.at(at)
    {
        let bare = without_default_port(host, scheme).to_vec();
        let _ = fields.replace_value(at, &bare);
    }
}

/// Adds the path `/` to a URL without a path (RFC 9112, 3.2.1). For OPTIONS the path stays empty,
/// because that means the server as a whole.
fn add_path(message: &mut HttpMessage, target_at: usize) -> Result<(), HttpParseError> {
    let parts = message.target_parts();
    let end = message.target().len();
    if parts.form != TargetForm::Absolute
        || parts.path_start < end
        || message.method() == b"OPTIONS"
    {
        return Ok(());
    }
    message
        .set_target_pieces(end, &[b"/"], end)
        .map_err(|_| HttpParseError::new(FaultKind::HeadTooLong, target_at))
}

/// Returns whether an authority has the form `host:port` with a numeric port, as CONNECT requires.
pub(crate) fn is_host_and_port(authority: &[u8]) -> bool {
    let Some(colon) = port_at(authority) else {
        return false;
    };
    let port = &authority[colon + 1..];
    colon > 0
        && (1..=5).contains(&port.len())
        && port.iter().all(u8::is_ascii_digit)
        && authority[..colon].iter().all(|b| host_byte(*b))
}

/// Returns whether a byte is allowed in a name, an address or a port. Bytes above ASCII are
/// accepted, as in HAProxy; bytes that delimit an authority are not.
fn host_byte(byte: u8) -> bool {
    !matches!(byte, 0..=b' ' | 0x7f)
        && !matches!(
            byte,
            b'/' | b'?'
                | b'#'
                | b'@'
                | b'\\'
                | b'"'
                | b'<'
                | b'>'
                | b'^'
                | b'`'
                | b'{'
                | b'|'
                | b'}'
        )
}
