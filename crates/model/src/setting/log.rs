//! Defines the formats of log lines (`log … format`).

/// `format` of a `log` line.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub enum SyslogFormat {
    /// RFC 3164 without the host name.
    #[default]
    Local,
    Rfc3164,
    Rfc5424,
    /// Only the priority before the message.
    Priority,
    /// Only the level before the message, for a journal that reads a pipe.
    Short,
    /// The level and a time before the message.
    Timed,
    /// A time in ISO 8601 before the message.
    Iso,
    Raw,
}
