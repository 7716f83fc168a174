//! `log-profile`: what of a stream is logged at which moment, for the targets that name
//! it; else the lines of its proxy are.

use crate::compiled::Format;
use crate::setting::Step;
use language::Span;
use std::collections::BTreeMap;
use std::sync::Arc;

/// One `log-profile` section.
#[derive(Clone, Debug)]
pub struct LogProfile {
    /// Its name.
    pub name: Box<str>,
    /// Where that stands.
    pub span: Span,
    /// `log-tag`.
    pub tag: Option<Box<[u8]>>,
    /// `on`, by the moments.
    pub steps: BTreeMap<Step, LogStep>,
}

/// One `on` line.
#[derive(Clone, Debug, Default)]
pub struct LogStep {
    /// `drop`: no line.
    pub dropped: bool,
    /// `format`: in place of the proxy's.
    pub format: Option<Arc<Format>>,
    /// `sd`: in place of the proxy's.
    pub structured: Option<Arc<Format>>,
}

/// `profile` of a `log` line.
#[derive(Clone, Debug)]
pub struct ProfileReference {
    /// The name.
    pub name: Box<str>,
    /// Where it stands.
    pub span: Span,
    /// The section, once all are read.
    pub profile: Option<Arc<LogProfile>>,
}

impl LogProfile {
    /// What is said of a moment, or of all.
    pub fn step(&self, step: Step) -> Option<&LogStep> {
        self.steps.get(&step).or_else(|| self.steps.get(&Step::Any))
    }

    /// An alias of one of its formats that only HTTP has.
    pub fn needs_http(&self) -> Option<&'static str> {
        let formats = self.steps.values();
        formats
            .flat_map(|step| [&step.format, &step.structured])
            .flatten()
            .find_map(|format| format.needs_http())
    }
}
