//! Messages to the console role, beyond those for every role.

use crate::keyword::NAME;
use part::role::PartMessage;
use serde::{Deserialize, Serialize};

/// The kind of [`AskLink`].
const LINK: u16 = 1;

/// Asks for a link that signs the administrator of the machine in, once. The answer is a
/// [`GivenLink`].
#[derive(Serialize, Deserialize, Clone, PartialEq, Eq, Debug)]
pub struct AskLink {}

/// The answer: the link, or why there is none.
pub type GivenLink = Result<Link, String>;

/// A link that signs in once.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Link {
    /// Where the console listens.
    pub address: std::net::SocketAddr,
    /// The machine.
    pub host: String,
    /// The path of the link.
    pub path: String,
    /// It is without TLS.
    pub is_plain: bool,
    /// That of the certificate (SHA-256); empty without one.
    pub fingerprint: String,
}

impl AskLink {
    /// As it is passed on.
    pub fn envelope() -> PartMessage {
        PartMessage::new(NAME, LINK, &AskLink {})
    }

    /// Whether a message is one.
    pub fn is(message: &PartMessage) -> bool {
        message.kind == LINK && message.read::<AskLink>().is_some()
    }
}

impl Link {
    /// The address in a browser. A console at all addresses is found by the name of its machine.
    pub fn url(&self) -> String {
        let scheme = if self.is_plain { "http" } else { "https" };
        let ip = self.address.ip();
        let host = match ip.is_unspecified() {
            true => format!("{}:{}", self.host, self.address.port()),
            false => self.address.to_string(),
        };
        format!("{scheme}://{host}{}", self.path)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_address_of_a_link_is_that_of_the_console() {
        for (address, is_plain, expected) in [
            ("[::]:8600", false, "https://alpha:8600/once/x"),
            ("192.0.2.1:443", false, "https://192.0.2.1:443/once/x"),
            (
                "[2001:db8::1]:8600",
                false,
                "https://[2001:db8::1]:8600/once/x",
            ),
            ("127.0.0.1:8600", true, "http://127.0.0.1:8600/once/x"),
        ] {
            let link = Link {
                address: address.parse().unwrap(),
                host: "alpha".to_owned(),
                path: "/once/x".to_owned(),
                is_plain,
                fingerprint: String::new(),
            };
            assert_eq!(link.url(), expected);
        }
        assert!(AskLink::is(&AskLink::envelope()));
    }
}
