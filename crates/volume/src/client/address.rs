//! Parses the address of an NBD server and its export, given as a URI (the NBD project's
//! `doc/uri.md`).

use std::fmt;
use std::path::PathBuf;

/// Default TCP port of NBD.
const PORT: u16 = 10809;

#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Address {
    pub server: Server,
    /// Export name. The empty name selects the server's default export.
    pub export: String,
}

/// Address at which an NBD server listens.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Server {
    Unix(PathBuf),
    Tcp(String, u16),
}

/// Reason why a URI cannot be used.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum AddressError {
    #[error("not an NBD address: write nbd://HOST[:PORT]/EXPORT or nbd+unix:///EXPORT?socket=PATH")]
    Scheme,
    #[error("NBD over TLS or vsock is not supported here: use nbd:// or nbd+unix://")]
    Transport,
    #[error("nbd+unix:// needs a path: nbd+unix:///EXPORT?socket=PATH")]
    Socket,
    #[error("an invalid host or port in the NBD address")]
    Host,
    /// The URI contains bytes that are not UTF-8, or `%` without two digits.
    #[error("an invalid character in the NBD address")]
    Escape,
}

impl Address {
    /// Returns whether the word is a URI whose scheme begins with `nbd`, supported or not.
    pub fn is_uri(word: &str) -> bool {
        let scheme = word.split_once("://").map(|(scheme, _)| scheme);
        scheme.is_some_and(|scheme| scheme.starts_with("nbd"))
    }

    /// Parses a URI.
    ///
    /// # Errors
    /// The URI is not an NBD address, or needs a transport that is not supported.
    pub fn parse(uri: &str) -> Result<Address, AddressError> {
        let (scheme, rest) = uri.split_once("://").ok_or(AddressError::Scheme)?;
        let (rest, query) = rest.split_once('?').unwrap_or((rest, ""));
        let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
        let export = unescape(path)?;
        let socket = query.split('&').find_map(|one| one.strip_prefix("socket="));
        let server = match (scheme, socket) {
            ("nbd", None) => tcp(authority)?,
            ("nbd+unix", Some(path)) if authority.is_empty() && !path.is_empty() => {
                Server::Unix(unescape(path)?.into())
            }
            ("nbd" | "nbd+unix", _) => return Err(AddressError::Socket),
            ("nbds" | "nbds+unix" | "nbd+vsock" | "nbds+vsock", _) => {
                return Err(AddressError::Transport);
            }
            _ => return Err(AddressError::Scheme),
        };
        Ok(Address { server, export })
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.server {
            Server::Unix(path) => {
                write!(f, "nbd+unix:///{}?socket={}", self.export, path.display())
            }
            Server::Tcp(host, port) if host.contains(':') => {
                write!(f, "nbd://[{host}]:{port}/{}", self.export)
            }
            Server::Tcp(host, port) => write!(f, "nbd://{host}:{port}/{}", self.export),
        }
    }
}

fn tcp(authority: &str) -> Result<Server, AddressError> {
    let (host, port) = match authority
        .strip_prefix('[')
        .and_then(|rest| rest.split_once(']'))
    {
        Some((host, "")) => (host, None),
        Some((host, rest)) => (
            host,
            Some(rest.strip_prefix(':').ok_or(AddressError::Host)?),
        ),
        None => match authority.split_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (authority, None),
        },
    };
    let port = port.map_or(Ok(PORT), str::parse);
    let port = port.ok().filter(|port| *port > 0);
    let is_host = !host.is_empty() && !host.contains('@');
    match port.filter(|_| is_host) {
        Some(port) => Ok(Server::Tcp(unescape(host)?, port)),
        None => Err(AddressError::Host),
    }
}

fn unescape(text: &str) -> Result<String, AddressError> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        let plain = match byte {
            b'%' => {
                let mut digit = || rest.next().and_then(|one| char::from(one).to_digit(16));
                let digits = digit().zip(digit()).ok_or(AddressError::Escape)?;
                u8::try_from(digits.0 << 4 | digits.1).map_err(|_| AddressError::Escape)?
            }
            byte => byte,
        };
        bytes.push(plain);
    }
    let text = String::from_utf8(bytes).map_err(|_| AddressError::Escape)?;
    if text.contains('\0') {
        Err(AddressError::Escape)
    } else {
        Ok(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read_as_other_clients_read_them() {
        let unix = |path: &str| Server::Unix(path.into());
        let tcp = |host: &str, port| Server::Tcp(host.to_owned(), port);
        for (uri, server, export) in [
            ("nbd://backup", tcp("backup", 10809), ""),
            ("nbd://backup/", tcp("backup", 10809), ""),
            ("nbd://10.0.0.1:99/mail", tcp("10.0.0.1", 99), "mail"),
            ("nbd://[fd00::1]:99/a/b", tcp("fd00::1", 99), "a/b"),
            ("nbd://[::1]/x", tcp("::1", 10809), "x"),
            ("nbd+unix:///?socket=/run/x", unix("/run/x"), ""),
            (
                "nbd+unix:///my%20disk?socket=/a%3fb",
                unix("/a?b"),
                "my disk",
            ),
        ] {
            let export = export.to_owned();
            assert_eq!(Address::parse(uri), Ok(Address { server, export }), "{uri}");
        }
        let again = "nbd+unix:///mail?socket=/run/evenkeel/volume-mail.sock";
        assert_eq!(Address::parse(again).unwrap().to_string(), again);
    }

    #[test]
    fn addresses_without_a_server_are_refused() {
        for (uri, error) in [
            ("http://x/", AddressError::Scheme),
            ("mail", AddressError::Scheme),
            ("nbds://backup/mail", AddressError::Transport),
            ("nbd+vsock://2/mail", AddressError::Transport),
            ("nbd+unix:///mail", AddressError::Socket),
            ("nbd+unix:///mail?socket=", AddressError::Socket),
            ("nbd+unix://host/mail?socket=/x", AddressError::Socket),
            ("nbd://host/mail?socket=/x", AddressError::Socket),
            ("nbd:///mail", AddressError::Host),
            ("nbd://host:0/", AddressError::Host),
            ("nbd://host:99999/", AddressError::Host),
            ("nbd://[::1]x/", AddressError::Host),
            ("nbd://host/%zz", AddressError::Escape),
            ("nbd://host/%c3", AddressError::Escape),
            ("nbd://host/%00", AddressError::Escape),
            ("nbd://host/%4", AddressError::Escape),
        ] {
            assert_eq!(Address::parse(uri), Err(error), "{uri}");
        }
    }
}
