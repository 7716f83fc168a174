//! What one health check found, in the words that statistics and logs use.
//! Values only.

use std::borrow::Cow;

/// How far a check came and how it ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum CheckStatus {
    /// Nothing was checked yet.
    #[default]
    Initializing,
    /// The local system refused (no socket, no address).
    SocketError,
    /// A connection was accepted.
    Layer4Ok,
    /// No answer to the connection in time.
    Layer4Timeout,
    /// The connection was refused or not possible.
    Layer4Error,
    /// A TLS handshake was made.
    Layer6Ok,
    /// No TLS handshake in time.
    Layer6Timeout,
    /// The TLS handshake failed.
    Layer6Invalid,
    /// The connection stood, no answer in time.
    Layer7Timeout,
    /// The answer was not understood or not as expected.
    Layer7Invalid,
    /// The answer was good.
    Layer7Ok,
    /// The answer was 404 where `http-check disable-on-404` stands.
    Layer7OkConditional,
    /// The answer had a wrong status.
    Layer7Status,
    /// The program of an external check was ended: it took too long.
    ProcessTimeout,
    /// The program of an external check failed.
    ProcessError,
    /// The program of an external check exited with 0.
    ProcessOk,
    /// Errors of the traffic counted as a failed check (`observe`).
    Analyzed,
}

impl CheckStatus {
    /// All of them.
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

    /// The short code of the statistics.
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

    /// The status of a short code.
    pub fn of_code(code: &str) -> Option<Self> {
        Self::ALL
            .iter()
            .copied()
            .find(|status| status.code() == code)
    }

    /// The status of a number of state files; the inner one is None for those that
    /// HAProxy has and we do not, the outer one for those that no one has.
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

    /// The words of the log.
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

    /// Whether logs tell a layer-7 code with it.
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

/// What a check means for the server.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Verdict {
    /// It serves.
    Passed,
    /// It serves those that it has, and wants no new ones.
    Conditional,
    /// It does not serve.
    Failed,
}

/// One finished check.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct CheckResult {
    /// How it ended.
    pub status: CheckStatus,
    /// What that means.
    pub verdict: Verdict,
    /// The status of an HTTP answer; 0 where there was none.
    pub code: u16,
    /// How long it took.
    pub duration_ms: u32,
    /// More, for people: the reason of the system, the server's own words.
    pub info: Cow<'static, str>,
    /// That is for the line of this check only; statistics do not show it.
    pub fleeting: bool,
}

impl CheckResult {
    /// A result whose status says whether it passed.
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

    /// With the status of an HTTP answer.
    pub fn code(mut self, code: u16) -> Self {
        self.code = code;
        self
    }

    /// With words for people.
    pub fn info(mut self, info: impl Into<Cow<'static, str>>) -> Self {
        self.info = info.into();
        self
    }
}

/// Where a server stands between up and down.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum CheckPhase {
    /// Surely up.
    Up,
    /// Going down or coming up.
    Changing,
    /// Surely down.
    Down,
}
