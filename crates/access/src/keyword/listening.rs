//! Parses words that name a listening address and its certificate.

use language::arguments::Args;
use language::value::{Accepts, AddressHost, Family, Port, SocketTransport, address};
use language::{ConfigWord, Diagnostic, Spanned};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;

/// Parses an IP address and one port. Without an address, any address is meant.
///
/// # Errors
/// The word is another kind of address, has no single port, or is no address.
pub fn listening_address(args: &Args<'_>, word: &ConfigWord) -> Result<SocketAddr, Diagnostic> {
    let found = address(word.str(), &Accepts::BIND);
    let found =
        found.map_err(|error| args.unexpected_value(word, &format!("no address: {error}")))?;
    let ip = match (&found.host, found.family) {
        (AddressHost::Any, Family::V4) => Some(Ipv4Addr::UNSPECIFIED.into()),
        (AddressHost::Any, _) => Some(Ipv6Addr::UNSPECIFIED.into()),
        (AddressHost::Ip(ip), _) => Some(*ip),
        _ => None,
    };
    match (found.transport, found.port, ip) {
        (SocketTransport::Default, Port::One(port), Some(ip)) => Ok(SocketAddr::new(ip, port)),
        _ => Err(args.unexpected_value(word, "not an IP address and one port")),
    }
}

/// Takes the next word of a line, which must be the absolute path of a file.
///
/// # Errors
/// The word is missing, or the path is relative.
pub fn absolute_file(args: &mut Args<'_>) -> Result<Spanned<PathBuf>, Diagnostic> {
    let word = args.required("a file")?;
    let file = PathBuf::from(word.str());
    if file.is_absolute() {
        Ok(Spanned::new(file, word.span))
    } else {
        Err(args.unexpected_value(word, "not an absolute path"))
    }
}
