//! Logs.

/// `format` of a `log` line.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum SyslogFormat {
    /// RFC 3164.
    #[default]
    Rfc3164,
}
