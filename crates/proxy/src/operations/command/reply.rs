//! The reply of a command and its severity (`set severity-output`), by which programs tell
//! errors from reports.

/// How grave a reply is, by the numbers of syslog.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Severity {
    /// The command did nothing.
    Error = 3,
    /// It was done, or there was nothing to do; the reply says which.
    Warning = 4,
    /// It was done.
    Notice = 5,
    /// Information.
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

/// `set severity-output`: how replies begin.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum SeverityOutput {
    /// Without a severity.
    #[default]
    None,
    /// `[3]: `
    Number,
    /// `[err]: `
    String,
}

impl SeverityOutput {
    /// Reads `none`, `number` or `string`.
    pub fn of_name(name: &str) -> Option<SeverityOutput> {
        match name {
            "none" => Some(SeverityOutput::None),
            "number" => Some(SeverityOutput::Number),
            "string" => Some(SeverityOutput::String),
            _ => None,
        }
    }
}

/// What a command replies.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Reply {
    /// A report has none.
    pub severity: Option<Severity>,
    /// The text; empty where there is nothing to say.
    pub text: String,
}

impl Reply {
    /// A report: lines that programs read.
    pub fn report(text: impl Into<String>) -> Reply {
        Reply {
            severity: None,
            text: text.into(),
        }
    }

    /// A message of a severity.
    pub fn message(severity: Severity, text: impl Into<String>) -> Reply {
        Reply {
            severity: Some(severity),
            text: text.into(),
        }
    }

    /// Why the command did nothing.
    pub fn error(text: impl Into<String>) -> Reply {
        Reply::message(Severity::Error, text)
    }

    /// The text, its severity before it where the connection wants that.
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

/// A report, or why there is none.
impl From<Result<String, String>> for Reply {
    fn from(result: Result<String, String>) -> Reply {
        match result {
            Ok(text) => Reply::report(text),
            Err(text) => Reply::error(text),
        }
    }
}
