//! Parses the lines of a `farm` section for the agents of its hosts: options of `host`, and the
//! notice of drained hosts.

use super::section::FarmSectionDraft;
use super::settings::time;
use super::{FarmLineBuilder, codes};
use crate::agent::notice::NOTICE_BYTES_MAX;
use crate::config::Agent;
use language::arguments::{Args, Built};
use language::keyword::Keyword;
use language::section::once;
use language::{ConfigWord, Diagnostic, Span};
use std::ops::RangeInclusive;

/// Default poll interval of an agent, milliseconds.
const INTERVAL_MS: u64 = 5_000;
/// Bounds of the poll interval of an agent, milliseconds.
const INTERVALS_MS: RangeInclusive<u32> = 100..=3_600_000;

/// Agent options of a `host` line.
#[derive(Debug, Default)]
pub(super) struct Options {
    port: Option<u16>,
    interval: Option<(u64, Span)>,
}

impl Options {
    pub(super) fn take_port(&mut self, args: &mut Args<'_>) -> Result<(), Diagnostic> {
        let word = args.required("a port")?;
        let port = word.str().parse().ok().filter(|port| *port != 0);
        let port = port.ok_or_else(|| args.unexpected_value(word, "not a port from 1 to 65535"))?;
        self.port = Some(port);
        Ok(())
    }

    pub(super) fn take_interval(
        &mut self,
        option: &ConfigWord,
        args: &mut Args<'_>,
    ) -> Result<(), Diagnostic> {
        self.interval = Some((time(args, &INTERVALS_MS)?, option.span));
        Ok(())
    }

    pub(super) fn built(self) -> Result<Option<Agent>, Diagnostic> {
        match (self.port, self.interval) {
            (None, Some((_, span))) => {
                let told = "'agent-inter' without 'agent-port'";
                let told = Diagnostic::error(&codes::VALUE, span, told);
                Err(told.help("add `agent-port PORT`, the port of the agent on the host"))
            }
            (None, None) => Ok(None),
            (Some(port), interval) => Ok(Some(Agent {
                port,
                interval_ms: interval.map_or(INTERVAL_MS, |(ms, _)| ms),
            })),
        }
    }
}

fn drain_notice(draft: &mut FarmSectionDraft, args: &mut Args<'_>) -> Built {
    let farm = once(&mut draft.farms, args, "drain-notice")?;
    let word = args.required("a text")?;
    args.end()?;
    let text = word.str().trim();
    let is_line = !text.is_empty() && !text.chars().any(char::is_control);
    if !is_line || text.len() > NOTICE_BYTES_MAX {
        return Err(args.unexpected_value(word, "not a text of one line and at most 512 bytes"));
    }
    farm.settings.notice = text.to_owned();
    Ok(())
}

pub(super) static LINES: &[Keyword<FarmLineBuilder>] = language::rows! {
    "drain-notice <text>" &["farm"], drain_notice,
        "drain-notice \"This host is restarted at 18:00. Save your work and sign out.\"",
        "What users of a drained host are shown: by the agent of the host in each of its sessions, once, and in the \
         list of the portal. It holds while the host is drained: by `evenkeel farm drain`, by `drain` in its line, or \
         by its agent. At most 512 bytes.";
};
