//! Detects NTLM and Negotiate, which authenticate the connection instead of each request: later
//! requests on it have the same identity (RFC 4559, section 6). RFC 9110, section 11.2, does not
//! allow that. Such a connection must not carry requests of other clients.

use super::HttpMessage;

/// Challenge of a server that authenticates the connection.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ConnectionChallenge {
    Offer,
    /// The server has sent a token and expects the response to it on the same connection.
    Token,
}

/// Prefixes of the schemes that authenticate connections: NTLM, Negotiate and its variants (Nego2),
/// Kerberos.
const SCHEMES: [&[u8]; 3] = [b"ntlm", b"nego", b"kerberos"];

fn authenticates_connection(value: &[u8]) -> bool {
    SCHEMES.iter().any(|scheme| {
        let beginning = value.get(..scheme.len());
        beginning.is_some_and(|beginning| beginning.eq_ignore_ascii_case(scheme))
    })
}

impl HttpMessage {
    /// Returns the challenge of this response, if its server authenticates the connection.
    pub fn connection_challenge(&self) -> Option<ConnectionChallenge> {
        let name: &[u8] = match self.status() {
            401 => b"www-authenticate",
            407 => b"proxy-authenticate",
            _ => return None,
        };
        let challenges = || {
            let values = self.fields().values(name);
            values.filter(|value| authenticates_connection(value))
        };
        challenges().next()?;
        let has_token = challenges().any(|value| value.iter().any(u8::is_ascii_whitespace));
        Some(if has_token {
            ConnectionChallenge::Token
        } else {
            ConnectionChallenge::Offer
        })
    }

    /// Returns whether this request has credentials that authenticate its connection. A
    /// server may accept them without a challenge.
    pub fn has_connection_credentials(&self) -> bool {
        let names: [&[u8]; 2] = [b"authorization", b"proxy-authorization"];
        names.iter().any(|name| {
            let mut values = self.fields().get_all(name);
            values.any(authenticates_connection)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::HttpVersion;

    const WWW: &str = "www-authenticate";

    type Fields = &'static [(&'static str, &'static str)];

    fn response(status: u16, fields: Fields) -> HttpMessage {
        let mut message = HttpMessage::new();
        message
            .begin_response(HttpVersion::Http11, status, b"")
            .unwrap();
        for (name, value) in fields {
            message.add(name.as_bytes(), value.as_bytes()).unwrap();
        }
        message
    }

    #[test]
    fn challenges_of_connections_are_recognized() {
        use ConnectionChallenge::{Offer, Token};
        let table: &[(u16, Fields, Option<ConnectionChallenge>)] = &[
            (401, &[(WWW, "NTLM")], Some(Offer)),
            (401, &[(WWW, "ntlm TlRMTVNTUAAC")], Some(Token)),
            (401, &[(WWW, "Negotiate"), (WWW, "NTLM")], Some(Offer)),
            (401, &[(WWW, "Negotiate oRQ=="), (WWW, "NTLM")], Some(Token)),
            (401, &[(WWW, "Basic realm=\"a, b\", Nego2")], Some(Offer)),
            (401, &[(WWW, "Kerberos")], Some(Offer)),
            (407, &[("proxy-authenticate", "NTLM")], Some(Offer)),
            (401, &[("proxy-authenticate", "NTLM")], None),
            (407, &[(WWW, "NTLM")], None),
            (200, &[(WWW, "NTLM")], None),
            (401, &[(WWW, "Basic realm=\"NTLM, Negotiate\"")], None),
            (401, &[(WWW, "Digest realm=\"x\"")], None),
            (401, &[(WWW, "")], None),
            (401, &[], None),
        ];
        for (status, fields, expected) in table {
            let challenge = response(*status, fields).connection_challenge();
            assert_eq!(challenge, *expected, "{status} {fields:?}");
        }
    }

    #[test]
    fn credentials_of_connections_are_recognized() {
        for (name, value, expected) in [
            ("Authorization", "NTLM TlRMTVNTUAAB", true),
            ("Authorization", "negotiate YII", true),
            ("Proxy-Authorization", "NTLM TlRMTVNTUAAB", true),
            ("Authorization", "Basic dTpw", false),
            ("Authorization", "Bearer ntlm", false),
            ("Authorization", "NT", false),
            ("X-Authorization", "NTLM x", false),
        ] {
            let mut request = HttpMessage::new();
            request
                .begin_request(b"GET", b"/", HttpVersion::Http11)
                .unwrap();
            request.add(name.as_bytes(), value.as_bytes()).unwrap();
            assert_eq!(
                request.has_connection_credentials(),
                expected,
                "{name}: {value}"
            );
        }
    }
}
