//! What else than its own checks says how a server is: an agent on it, the
//! traffic, and what is assumed at first.

use std::net::IpAddr;

/// `agent-check` and what belongs to it.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Agent {
    /// It is asked.
    pub check: bool,
    /// `agent-port`
    pub port: Option<u16>,
    /// `agent-addr`; None is where the server is.
    pub address: Option<IpAddr>,
    /// `agent-inter`, milliseconds; None is `inter`.
    pub inter_ms: Option<u32>,
    /// `agent-send`
    pub send: Option<Box<[u8]>>,
}

/// `observe`: which errors of traffic count.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Observe {
    /// None.
    #[default]
    Nothing,
    /// Connections that fail.
    Layer4,
    /// And answers that are bad.
    Layer7,
}

/// `on-error`: what follows when there were as many errors as `error-limit` says.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum OnError {
    /// Checks come at `fastinter`.
    FastInter,
    /// It counts as a failed check.
    #[default]
    FailCheck,
    /// The next failed check is the last.
    SuddenDeath,
    /// It is down.
    MarkDown,
}

/// What is made of errors of a server's traffic.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Observing {
    /// Which count.
    pub observe: Observe,
    /// How many in a row.
    pub error_limit: u32,
    /// What follows.
    pub on_error: OnError,
}

impl Default for Observing {
    fn default() -> Observing {
        Observing {
            observe: Observe::Nothing,
            error_limit: 10,
            on_error: OnError::FailCheck,
        }
    }
}

/// `init-state`: what a server that is checked counts as before its first check.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum InitState {
    /// Up, and the first bad check is enough.
    #[default]
    Up,
    /// Up, and `fall` bad checks are needed.
    FullyUp,
    /// Down, and the first good check is enough.
    Down,
    /// Down, and `rise` good checks are needed.
    FullyDown,
}
