//! Defines the result of a health check, with the texts for statistics and logs.

use std::borrow::Cow;

/// Status of a check: the layer that it reached and its result.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum CheckStatus {
    /// No check has ended yet.
    #[default]
    Initializing,
    /// The local system failed (no socket, no address).
    SocketError,
    Layer4Ok,
    Layer4Timeout,
    /// The connection was refused or not possible.
    Layer4Error,
    Layer6Ok,
    Layer6Timeout,
    Layer6Invalid,
    Layer7Timeout,
    /// The response was invalid or not as expected.
    Layer7Invalid,
    Layer7Ok,
    /// The response was 404 with `http-check disable-on-404`.
    Layer7OkConditional,
    Layer7Status,
    /// The command of an external check was stopped after a timeout.
    ProcessTimeout,
    ProcessError,
    /// The command of an external check exited with status 0.
    ProcessOk,
    /// Errors of the traffic counted as a failed check (`observe`).
    Analyzed,
}

impl CheckStatus {
    pub const ALL: &[CheckStatus] = &[
        CheckStatus::Initializing,
        CheckStatus::SocketError,
        CheckStatus::Layer4Ok,
        CheckStatus::Layer4Timeout,
        CheckStatus::Layer4Error,
        CheckStatus::Layer6Ok,
        CheckStatus::Layer6Timeout,
        CheckStatus::Layer6Invalid,
        CheckStatus::Layer7Timeout,
        CheckStatus::Layer7Invalid,
        CheckStatus::Layer7Ok,
        CheckStatus::Layer7OkConditional,
        CheckStatus::Layer7Status,
        CheckStatus::ProcessTimeout,
        CheckStatus::ProcessError,
        CheckStatus::ProcessOk,
        CheckStatus::Analyzed,
    ];

    /// Returns the short code of the status, as in the statistics.
    pub fn code(self) -> &'static str {
        match self {
            CheckStatus::Initializing => "INI",
            CheckStatus::SocketError => "SOCKERR",
            CheckStatus::Layer4Ok => "L4OK",
            CheckStatus::Layer4Timeout => "L4TOUT",
            CheckStatus::Layer4Error => "L4CON",
            CheckStatus::Layer6Ok => "L6OK",
            CheckStatus::Layer6Timeout => "L6TOUT",
            CheckStatus::Layer6Invalid => "L6RSP",
            CheckStatus::Layer7Timeout => "L7TOUT",
            CheckStatus::Layer7Invalid => "L7RSP",
            CheckStatus::Layer7Ok => "L7OK",
            CheckStatus::Layer7OkConditional => "L7OKC",
            CheckStatus::Layer7Status => "L7STS",
            CheckStatus::ProcessTimeout => "PROCTOUT",
            CheckStatus::ProcessError => "PROCERR",
            CheckStatus::ProcessOk => "PROCOK",
            CheckStatus::Analyzed => "HANA",
        }
    }

    pub fn of_code(code: &str) -> Option<Self> {
        Self::ALL
            .iter()
            .copied()
            .find(|status| status.code() == code)
    }

    /// Returns the status with a number in HAProxy's state files. The outer None means that the
    /// number is unknown, the inner None that only HAProxy has the status.
    pub fn of_number(number: u32) -> Option<Option<Self>> {
        Some(match number {
            1 => Some(CheckStatus::Initializing),
            4 => Some(CheckStatus::Analyzed),
            5 => Some(CheckStatus::SocketError),
            6 => Some(CheckStatus::Layer4Ok),
            7 => Some(CheckStatus::Layer4Timeout),
            8 => Some(CheckStatus::Layer4Error),
            9 => Some(CheckStatus::Layer6Ok),
            10 => Some(CheckStatus::Layer6Timeout),
            11 => Some(CheckStatus::Layer6Invalid),
            12 => Some(CheckStatus::Layer7Timeout),
            13 => Some(CheckStatus::Layer7Invalid),
            15 => Some(CheckStatus::Layer7Ok),
            16 => Some(CheckStatus::Layer7OkConditional),
            17 => Some(CheckStatus::Layer7Status),
            18 => Some(CheckStatus::ProcessError),
            19 => Some(CheckStatus::ProcessTimeout),
            20 => Some(CheckStatus::ProcessOk),
            0..=17 => None,
            _ => return None,
        })
    }

    /// Returns the description of the status, as in logs.
    pub fn text(self) -> &'static str {
        match self {
            CheckStatus::Initializing => "Initializing",
            CheckStatus::SocketError => "Socket error",
            CheckStatus::Layer4Ok => "Layer4 check passed",
            CheckStatus::Layer4Timeout => "Layer4 timeout",
            CheckStatus::Layer4Error => "Layer4 connection problem",
            CheckStatus::Layer6Ok => "Layer6 check passed",
            CheckStatus::Layer6Timeout => "Layer6 timeout",
            CheckStatus::Layer6Invalid => "Layer6 invalid response",
            CheckStatus::Layer7Timeout => "Layer7 timeout",
            CheckStatus::Layer7Invalid => "Layer7 invalid response",
            CheckStatus::Layer7Ok => "Layer7 check passed",
            CheckStatus::Layer7OkConditional => "Layer7 check conditionally passed",
            CheckStatus::Layer7Status => "Layer7 wrong status",
            CheckStatus::ProcessTimeout => "External check timeout",
            CheckStatus::ProcessError => "External check error",
            CheckStatus::ProcessOk => "External check passed",
            CheckStatus::Analyzed => "Health analyze",
        }
    }

    /// Returns whether logs print the layer-7 code with the status.
    pub fn has_code(self) -> bool {
        matches!(
            self,
            CheckStatus::Layer7Ok
                | CheckStatus::Layer7OkConditional
                | CheckStatus::Layer7Status
                | CheckStatus::ProcessTimeout
                | CheckStatus::ProcessError
                | CheckStatus::ProcessOk
        )
    }
}

/// Meaning of a check result for the server.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Verdict {
    Passed,
    /// The server finishes its sessions and must get no new ones.
    Conditional,
    Failed,
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub struct CheckResult {
    pub status: CheckStatus,
    pub verdict: Verdict,
    /// Status of the HTTP response; 0 if there was none.
    pub code: u16,
    pub duration_ms: u32,
    /// Details for operators: a system error, or a text from the server.
    pub info: Cow<'static, str>,
    /// The details are only in the log line of this check, not in statistics.
    pub fleeting: bool,
}

impl CheckResult {
    /// Creates a result with the verdict that the status implies.
    pub fn new(status: CheckStatus, duration_ms: u32) -> Self {
        let verdict = match status {
            CheckStatus::Layer4Ok
            | CheckStatus::Layer6Ok
            | CheckStatus::Layer7Ok
            | CheckStatus::ProcessOk => Verdict::Passed,
            CheckStatus::Layer7OkConditional => Verdict::Conditional,
            _ => Verdict::Failed,
        };
        CheckResult {
            status,
            verdict,
            code: 0,
            duration_ms,
            info: Cow::Borrowed(""),
            fleeting: false,
        }
    }

    pub fn code(mut self, code: u16) -> Self {
        self.code = code;
        self
    }

    pub fn info(mut self, info: impl Into<Cow<'static, str>>) -> Self {
        self.info = info.into();
        self
    }
}

/// Certainty of the health of a server, which selects the interval of checks.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum CheckPhase {
    /// Up, and the last checks all passed.
    Up,
    /// Up after failed checks, or down after passed ones, with too few in a row to change the
    /// state.
    Changing,
    /// Down, and the last checks all failed.
    Down,
}
