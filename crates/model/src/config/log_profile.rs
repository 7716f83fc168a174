//! Holds the settings of `log-profile` sections: which line is logged at each step of a stream,
//! for the log targets that use the profile. Other targets get the log lines of the proxy.

use crate::compiled::Format;
use crate::setting::StreamLogStep;
use language::Span;
use std::collections::BTreeMap;
use std::sync::Arc;

#[derive(Clone, Debug)]
pub struct LogProfile {
    pub name: Box<str>,
    pub span: Span,
    pub tag: Option<Box<[u8]>>,
    pub steps: BTreeMap<StreamLogStep, LogStep>,
}

#[derive(Clone, Debug, Default)]
pub struct LogStep {
    /// `drop`: the step logs no line.
    pub dropped: bool,
    /// `format`: replaces that of the proxy.
    pub format: Option<Arc<Format>>,
    /// `sd`: replaces that of the proxy.
    pub structured: Option<Arc<Format>>,
}

/// `profile` of a `log` line.
#[derive(Clone, Debug)]
pub struct ProfileReference {
    pub name: Box<str>,
    /// Position of the name in the `log` line.
    pub span: Span,
    /// The section, once all are loaded.
    pub profile: Option<Arc<LogProfile>>,
}

impl LogProfile {
    /// Returns the settings of a step, or of `any`.
    pub fn step(&self, step: StreamLogStep) -> Option<&LogStep> {
        self.steps
            .get(&step)
            .or_else(|| self.steps.get(&StreamLogStep::Any))
    }

    /// Returns an alias in one of its formats that requires HTTP.
    pub fn needs_http(&self) -> Option<&'static str> {
        let formats = self.steps.values();
        formats
            .flat_map(|step| [&step.format, &step.structured])
            .flatten()
            .find_map(|format| format.needs_http())
    }
}
