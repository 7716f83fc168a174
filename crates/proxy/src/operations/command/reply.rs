//! Defines the reply to a command of a statistics socket, with its severity
//! (`set severity-output`), by which programs distinguish errors from reports.

use model::config::SeverityOutput;

/// Severity of a reply, as a syslog number.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Severity {
    /// The command changed nothing because of an error.
    Error = 3,
    /// The command succeeded, or there was nothing to do; the text says which of both.
    Warning = 4,
    Notice = 5,
    Info = 6,
}

impl Severity {
    fn name(self) -> &'static str {
        match self {
            Severity::Error => "err",
            Severity::Warning => "warning",
            Severity::Notice => "notice",
            Severity::Info => "info",
        }
    }
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub struct CommandReply {
    /// Severity; None for a report.
    pub severity: Option<Severity>,
    pub text: String,
}

impl CommandReply {
    /// Creates a report: lines that programs parse.
    pub fn report(text: impl Into<String>) -> CommandReply {
        CommandReply {
            severity: None,
            text: text.into(),
        }
    }

    pub fn message(severity: Severity, text: impl Into<String>) -> CommandReply {
        CommandReply {
            severity: Some(severity),
            text: text.into(),
        }
    }

    /// Creates an error: the reason why the command changed nothing.
    pub fn error(text: impl Into<String>) -> CommandReply {
        CommandReply::message(Severity::Error, text)
    }

    /// Returns the text, with the severity in front if the connection requests that.
    pub fn shown(self, output: SeverityOutput) -> String {
        let Some(severity) = self.severity.filter(|_| !self.text.is_empty()) else {
            return self.text;
        };
        match output {
            SeverityOutput::None => self.text,
            SeverityOutput::Number => format!("[{}]: {}", severity as u8, self.text),
            SeverityOutput::String => format!("[{}]: {}", severity.name(), self.text),
        }
    }
}

/// Converts the result of a function: a report, or the reason why there is none.
impl From<Result<String, String>> for CommandReply {
    fn from(result: Result<String, String>) -> CommandReply {
        match result {
            Ok(text) => CommandReply::report(text),
            Err(text) => CommandReply::error(text),
        }
    }
}
