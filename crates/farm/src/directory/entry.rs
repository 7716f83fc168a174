//! What the directory knows of one user.

/// Where a user is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Presence {
    /// On the way to the host.
    Pending,
    /// There, with so many connections.
    Connected(u32),
    /// Without a connection; the session stays.
    Left,
}

/// A user with a session, or on the way to one.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Entry {
    /// The name for display; empty: only a token of the user was seen.
    pub name: String,
    /// The host.
    pub host: String,
    /// Where the user is.
    pub presence: Presence,
    /// When the host was decided, milliseconds.
    pub since_ms: u64,
    /// When the user is forgotten, milliseconds; None: not while there is a connection.
    pub until_ms: Option<u64>,
}
