//! What a proxy tells its servers and clients besides the messages: who a request
//! is forwarded for, and how names of headers are written.

use crate::compiled::Expression;

pub use http::message::HeaderCases;

/// `option http-restrict-req-hdr-names`: what becomes of headers whose names have
/// other bytes than letters, digits and dashes.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum HeaderNames {
    /// They are passed on.
    #[default]
    Preserve,
    /// They are left out.
    Delete,
    /// Their request is refused.
    Reject,
}

/// `option forwarded` (RFC 7239): which parameters are told.
#[derive(Clone, Default, Debug)]
pub struct Forwarded {
    /// `proto`
    pub proto: bool,
    /// `host`
    pub host: Option<ParameterSource>,
    /// `by`
    pub by: Option<ParameterSource>,
    /// `by_port`
    pub by_port: Option<ParameterSource>,
    /// `for`
    pub for_: Option<ParameterSource>,
    /// `for_port`
    pub for_port: Option<ParameterSource>,
}

/// Where the value of a parameter comes from.
#[derive(Clone, Debug)]
pub enum ParameterSource {
    /// What the connection or the request says.
    AsItIs,
    /// An expression.
    Found(Box<Expression>),
}

/// `clitcpka-*`, `srvtcpka-*`: when TCP looks whether a silent peer is still there.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct KeepAlive {
    /// Probes without an answer after which it is gone.
    pub probes: Option<u32>,
    /// Silence before the first probe, seconds.
    pub idle_s: Option<u32>,
    /// Between two probes, seconds.
    pub interval_s: Option<u32>,
}

impl KeepAlive {
    /// Sets it on a socket; what is not said stays as the system has it.
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
