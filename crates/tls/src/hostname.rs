//! Compares a server's certificate with a host name: by its alternative names and, as in HAProxy,
//! by the common names of its subject, which some private CAs still use exclusively.

use super::certificate::Certificate;
use super::der::{Der, OID, SEQUENCE};
use std::net::IpAddr;

const SET: u8 = 0x31;
const DNS_NAME: u8 = 0x82;
const IP_ADDRESS: u8 = 0x87;
const COMMON_NAME: [u8; 3] = [0x55, 4, 3];

pub fn is_valid_for(der: &[u8], name: &str) -> bool {
    let Some(certificate) = Certificate::parse(der) else {
        return false;
    };
    let address: Option<IpAddr> = name.parse().ok();
    let mut alternatives = Der(certificate.alternative_names.as_deref().unwrap_or(&[]));
    while let Some(one) = alternatives.next() {
        let found = match (one.tag, address) {
            (DNS_NAME, None) => matches(one.content, name),
            (IP_ADDRESS, Some(IpAddr::V4(wanted))) => one.content == wanted.octets(),
            (IP_ADDRESS, Some(IpAddr::V6(wanted))) => one.content == wanted.octets(),
            _ => false,
        };
        if found {
            return true;
        }
    }
    has_common_name(&certificate.subject, name)
}

fn has_common_name(subject: &[u8], name: &str) -> bool {
    let mut sets = Der(subject);
    while let Some(set) = sets.take(SET) {
        let mut fields = set.inside();
        while let Some(field) = fields.take(SEQUENCE) {
            let mut field = field.inside();
            let is_common = field.take(OID).is_some_and(|id| id.content == COMMON_NAME);
            let value = field.next();
            if is_common && value.is_some_and(|value| matches(value.content, name)) {
                return true;
            }
        }
    }
    false
}

/// Compares names without regard to case. `*.` stands for exactly one label, and not directly
/// below a top-level domain.
fn matches(pattern: &[u8], name: &str) -> bool {
    let is_address = name.parse::<IpAddr>().is_ok();
    let name = name.as_bytes();
    let Some(parent) = pattern.strip_prefix(b"*.").filter(|_| !is_address) else {
        return !pattern.is_empty() && pattern.eq_ignore_ascii_case(name);
    };
    let Some(dot) = memchr::memchr(b'.', name) else {
        return false;
    };
    dot > 0 && parent.contains(&b'.') && parent.eq_ignore_ascii_case(&name[dot + 1..])
}

#[cfg(test)]
mod tests {
    use super::*;
    use lab::pki::{Authority, Leaf};

    #[test]
    fn a_wildcard_is_for_one_label() {
        assert!(matches(b"*.Example.com", "www.example.COM"));
        assert!(!matches(b"*.example.com", "a.b.example.com"));
        assert!(!matches(b"*.example.com", "example.com"));
        assert!(!matches(b"*.com", "example.com"));
        assert!(!matches(b"", ""));
        assert!(!matches(b"*.0.2.7", "192.0.2.7") && matches(b"192.0.2.7", "192.0.2.7"));
        assert!(!matches(b"a.example\0.evil", "a.example"));
        assert!(!matches(b"*", "a.example") && !matches(b"w*.example.com", "www.example.com"));
        assert!(!matches(b"a.example.", "a.example") && !matches(b"a.example", "a.example."));
        assert!(matches(b"host", "HOST"));
    }

    #[test]
    fn names_stand_in_alternatives_and_in_the_subject() {
        let authority = Authority::new("root").expect("made");
        let leaf = Leaf {
            names: &["www.example.com", "192.0.2.7", "::1"],
            subject: &[("CN", "inside.example")],
            ..Leaf::default()
        };
        let issued = authority.issue(&leaf).expect("issued");
        for good in ["www.example.com", "192.0.2.7", "::1", "Inside.example"] {
            assert!(is_valid_for(&issued.der, good), "{good}");
        }
        for bad in ["example.com", "192.0.2.8", "::2", "root"] {
            assert!(!is_valid_for(&issued.der, bad), "{bad}");
        }
        assert!(!is_valid_for(b"no certificate", "a"));
    }
}
