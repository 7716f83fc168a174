//! LDAP (RFC 4511), as a client speaks it that looks a user up and binds as that user.
//!
//! - [`request`] makes the requests.
//! - [`Replies`] cuts a stream of bytes into [`Reply`]s, as a server sends them.
//! - [`Filter`] is a search filter (RFC 4515), and [`escape`] puts a value into the text of one.
//! - [`first_value`] is the first value of a distinguished name (RFC 4514).
//!
//! Every byte of a server is hostile: a message has at most [`MESSAGE_BYTES_MAX`], values are not nested deeper
//! than the messages that are known, and a text is cut before somebody sees it.

mod ber;
mod filter;
mod name;
mod reply;
pub mod request;
#[cfg(test)]
mod tests;

pub use ber::Malformed;
pub use filter::{FILTER_BYTES_MAX, Filter, WrongFilter, escape};
pub use name::first_value;
pub use reply::{Entry, MESSAGE_BYTES_MAX, Outcome, Replies, Reply};

/// Result codes (RFC 4511 appendix A) that mean something to a caller.
pub mod code {
    /// It is done.
    pub const SUCCESS: u32 = 0;
    /// There are more entries than were asked for.
    pub const SIZE_LIMIT_EXCEEDED: u32 = 4;
    /// The account has a rule that forbids it, such as too many failures.
    pub const CONSTRAINT_VIOLATION: u32 = 19;
    /// There is no such entry.
    pub const NO_SUCH_OBJECT: u32 = 32;
    /// The entry has no password.
    pub const INAPPROPRIATE_AUTHENTICATION: u32 = 48;
    /// The name or the password is wrong, or the account may not be used now.
    pub const INVALID_CREDENTIALS: u32 = 49;
    /// The entry may not be bound to.
    pub const INSUFFICIENT_ACCESS: u32 = 50;
    /// The server does not permit it.
    pub const UNWILLING: u32 = 53;
}
