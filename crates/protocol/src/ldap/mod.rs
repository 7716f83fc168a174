//! Implements LDAP (RFC 4511) for a client that looks a user up and binds as that user.
//!
//! - [`request`] builds the requests.
//! - [`Replies`] splits a server's stream of bytes into [`LdapResponse`]s.
//! - [`LdapFilter`] is a search filter (RFC 4515), and [`escape`] escapes a value for the text of
//!   one.
//! - [`first_value`] is the first value of a distinguished name (RFC 4514).
//!
//! Every byte of a server is hostile: a message has at most [`MESSAGE_BYTES_MAX`], values are not
//! nested deeper than known messages, and a text is truncated before it is displayed.

mod ber;
mod filter;
mod name;
mod reply;
pub mod request;
#[cfg(test)]
mod tests;

pub use ber::BerError;
pub use filter::{FILTER_BYTES_MAX, LdapFilter, WrongFilter, escape};
pub use name::first_value;
pub use reply::{LdapEntry, LdapResponse, LdapResult, MESSAGE_BYTES_MAX, Replies};

/// Result codes (RFC 4511 appendix A) that callers distinguish.
pub mod code {
    pub const SUCCESS: u32 = 0;
    pub const SIZE_LIMIT_EXCEEDED: u32 = 4;
    /// A rule of the account forbids the request, for example after too many failures.
    pub const CONSTRAINT_VIOLATION: u32 = 19;
    pub const NO_SUCH_OBJECT: u32 = 32;
    /// The entry has no password.
    pub const INAPPROPRIATE_AUTHENTICATION: u32 = 48;
    /// The name or the password is wrong, or the account may not be used now.
    pub const INVALID_CREDENTIALS: u32 = 49;
    /// The client may not bind as this entry.
    pub const INSUFFICIENT_ACCESS: u32 = 50;
    pub const UNWILLING: u32 = 53;
}
