//! Asking for a name and a password; `crate::rules` builds and runs them.

/// `auth`
#[derive(Clone, Debug)]
pub struct Challenge {
    pub(crate) realm: Option<Box<[u8]>>,
}
