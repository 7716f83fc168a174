//! Builds the messages that an LDAP client sends (RFC 4511 section 4).

use super::LdapFilter;
use super::ber::{BOOLEAN, ENUMERATED, INTEGER, OCTETS, SEQUENCE, number, value};

const VERSION: u32 = 3;
const START_TLS: &[u8] = b"1.3.6.1.4.1.1466.20037";
const BIND: u8 = 0x60;
const UNBIND: u8 = 0x42;
const SEARCH: u8 = 0x63;
const EXTENDED: u8 = 0x77;
/// Search scope: the whole tree below the base.
const SUBTREE: u32 = 2;
const NEVER: u32 = 0;

#[derive(Clone, Copy, Debug)]
pub struct Search<'s> {
    pub base: &'s str,
    pub filter: &'s LdapFilter,
    pub attributes: &'s [&'s str],
    pub entries_max: u32,
    pub time_s: u32,
}

fn message(id: u32, request: &[u8]) -> Vec<u8> {
    value(SEQUENCE, &[&number(INTEGER, id), request].concat())
}

/// Builds the request to authenticate with a name and a password. The caller must refuse an empty
/// password, which servers accept for any name (RFC 4513 section 5.1.2). If both are empty, the
/// bind is anonymous.
pub fn bind(id: u32, name: &str, password: &[u8]) -> Vec<u8> {
    let inside = [
        number(INTEGER, VERSION),
        value(OCTETS, name.as_bytes()),
        value(0x80, password),
    ];
    message(id, &value(BIND, &inside.concat()))
}

pub fn search(id: u32, search: &Search<'_>) -> Vec<u8> {
    let attributes = search.attributes.iter();
    let attributes = attributes.flat_map(|name| value(OCTETS, name.as_bytes()));
    let inside = [
        value(OCTETS, search.base.as_bytes()),
        number(ENUMERATED, SUBTREE),
        number(ENUMERATED, NEVER),
        number(INTEGER, search.entries_max),
        number(INTEGER, search.time_s),
        value(BOOLEAN, &[0]),
        search.filter.encode(),
        value(SEQUENCE, &attributes.collect::<Vec<_>>()),
    ];
    message(id, &value(SEARCH, &inside.concat()))
}

pub fn start_tls(id: u32) -> Vec<u8> {
    message(id, &value(EXTENDED, &value(0x80, START_TLS)))
}

pub fn unbind(id: u32) -> Vec<u8> {
    message(id, &value(UNBIND, &[]))
}
