//! Defines the compiled form of the action that requests credentials from the client;
//! `crate::rules` builds and runs it.

/// Action `auth`: requests a user name and a password.
#[derive(Clone, Debug)]
pub struct Challenge {
    pub(crate) realm: Option<Box<[u8]>>,
}
