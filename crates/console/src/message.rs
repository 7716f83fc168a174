//! Defines the messages to the console role, in addition to those that every role receives.

use crate::keyword::NAME;
use part::role::PartMessage;
use serde::{Deserialize, Serialize};

const LINK: u16 = 1;

/// Requests a link that signs the administrator of the machine in, once. The response is a
/// [`LinkResponse`].
#[derive(Serialize, Deserialize, Clone, PartialEq, Eq, Debug)]
pub struct LinkRequest {}

pub type LinkResponse = Result<SignInLink, String>;

/// A link that signs in once.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct SignInLink {
    pub address: std::net::SocketAddr,
    pub host: String,
    pub path: String,
    pub is_plain: bool,
    /// Fingerprint of the certificate (SHA-256). Empty without one.
    pub fingerprint: String,
}

impl LinkRequest {
    pub fn envelope() -> PartMessage {
        PartMessage::new(NAME, LINK, &LinkRequest {})
    }

    pub fn is(message: &PartMessage) -> bool {
        message.kind == LINK && message.read::<LinkRequest>().is_some()
    }
}

impl SignInLink {
    /// Returns the URL for a browser. A console that listens on all addresses is addressed by the
    /// name of its machine.
    pub fn url(&self) -> String {
        let scheme = if self.is_plain { "http" } else { "https" };
        let ip = self.address.ip();
        let host = if ip.is_unspecified() {
            format!("{}:{}", self.host, self.address.port())
        } else {
            self.address.to_string()
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
            let link = SignInLink {
                address: address.parse().unwrap(),
                host: "alpha".to_owned(),
                path: "/once/x".to_owned(),
                is_plain,
                fingerprint: String::new(),
            };
            assert_eq!(link.url(), expected);
        }
        assert!(LinkRequest::is(&LinkRequest::envelope()));
    }
}
