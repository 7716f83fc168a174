//! Holds settings for forwarded messages (`option forwarded`, treatment of header names) and for
//! TCP keep-alive.

use crate::compiled::Expression;

pub use http::message::HeaderCases;

/// `option http-restrict-req-hdr-names`: treatment of headers whose names contain other bytes than
/// letters, digits and dashes.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum HeaderNames {
    #[default]
    Preserve,
    Delete,
    Reject,
}

/// `option forwarded` (RFC 7239): the parameters to send.
#[derive(Clone, Default, Debug)]
pub struct Forwarded {
    pub proto: bool,
    pub host: Option<ParameterSource>,
    pub by: Option<ParameterSource>,
    pub by_port: Option<ParameterSource>,
    pub for_: Option<ParameterSource>,
    pub for_port: Option<ParameterSource>,
}

/// Source of a parameter's value.
#[derive(Clone, Debug)]
pub enum ParameterSource {
    /// The parameter describes the connection or request itself, without an expression.
    AsItIs,
    Found(Box<Expression>),
}

/// `clitcpka-*`, `srvtcpka-*`: TCP keep-alive settings. None uses the system's default.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct KeepAlive {
    /// Number of unanswered probes after which the connection is dropped.
    pub probes: Option<u32>,
    /// Idle time before the first probe, seconds.
    pub idle_s: Option<u32>,
    pub interval_s: Option<u32>,
}

impl KeepAlive {
    /// Applies the settings to a socket. Unset ones keep the system's default.
    ///
    /// # Errors
    /// The system call `setsockopt` fails. Earlier settings stay applied.
    pub fn apply(self, socket: impl std::os::fd::AsFd) -> Result<(), rustix::io::Errno> {
        use rustix::net::sockopt;
        use std::time::Duration;
        let seconds = |s: u32| Duration::from_secs(s.into());
        if let Some(probes) = self.probes {
            sockopt::set_tcp_keepcnt(&socket, probes)?;
        }
        if let Some(idle) = self.idle_s {
            sockopt::set_tcp_keepidle(&socket, seconds(idle))?;
        }
        if let Some(interval) = self.interval_s {
            sockopt::set_tcp_keepintvl(&socket, seconds(interval))?;
        }
        Ok(())
    }
}
