//! Holds the settings by which a server's health is judged besides its own checks: an agent, the
//! observed traffic, and the assumed state at the start.

use std::net::IpAddr;

#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Agent {
    pub check: bool,
    pub port: Option<u16>,
    /// `agent-addr`; None is the server's address.
    pub address: Option<IpAddr>,
    /// `agent-inter`, milliseconds; None is `inter`.
    pub inter_ms: Option<u32>,
    pub send: Option<Box<[u8]>>,
}

/// `observe`: errors of traffic that are counted.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Observe {
    #[default]
    Nothing,
    Layer4,
    /// Failed connections and invalid responses.
    Layer7,
}

/// `on-error`: reaction to `error-limit` errors.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum OnError {
    /// Checks run at the interval `fastinter`.
    FastInter,
    #[default]
    FailCheck,
    /// The next failed check takes the server down.
    SuddenDeath,
    MarkDown,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Observing {
    pub observe: Observe,
    /// Number of consecutive errors that trigger the reaction.
    pub error_limit: u32,
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

/// `init-state`: assumed state of a checked server before its first check.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum InitState {
    /// Up; a single failed check takes it down.
    #[default]
    Up,
    /// Up; `fall` failed checks take it down.
    FullyUp,
    /// Down; a single passed check brings it up.
    Down,
    /// Down; `rise` passed checks bring it up.
    FullyDown,
}
