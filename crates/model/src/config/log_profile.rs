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
    /// `format`: used in place of the proxy's log format.
    pub format: Option<Arc<Format>>,
    /// `sd`: used in place of the proxy's structured data.
    pub structured: Option<Arc<Format>>,
}

/// `profile` of a `log` line.
#[derive(Clone, Debug)]
pub struct ProfileReference {
    pub name: Box<str>,
    /// Position of the name in the `log` line.
    pub span: Span,
    /// The `log-profile` section, set when all sections are loaded.
    pub profile: Option<Arc<LogProfile>>,
}

impl LogProfile {
    /// Returns the settings of a step; if it has none, those of `any`.
    pub fn step(&self, step: StreamLogStep) -> Option<&LogStep> {
        self.steps
            .get(&step)
            .or_else(|| self.steps.get(&StreamLogStep::Any))
    }

    /// Returns the first alias in the formats of the profile that has a value in HTTP mode only.
    pub fn needs_http(&self) -> Option<&'static str> {
        let formats = self.steps.values();
        formats
            .flat_map(|step| [&step.format, &step.structured])
            .flatten()
            .find_map(|format| format.needs_http())
    }
}
