//! Defines the formats of log lines (`log … format`).

/// `format` of a `log` line.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub enum SyslogFormat {
    /// RFC 3164 without the host name.
    #[default]
    Local,
    Rfc3164,
    Rfc5424,
    /// Only the priority in front of the message.
    Priority,
    /// Only the level in front of the message: for a journal that reads a pipe.
    Short,
    /// The level and a time in front of the message.
    Timed,
    /// A time in ISO 8601 in front of the message.
    Iso,
    Raw,
}
