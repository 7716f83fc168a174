//! Polls a running program for all displayed data.

use super::super::{operate, reload, status};
use crate::identity;
use clap::ArgMatches;
use console::look::{MachineReport, has_proxy};
use console::traffic::{self, Traffic};
use part::report::StatusReport;
use part::role::Level;
use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// Timeout for one response of a program, so that a hanging program is noticed soon.
const LIMIT: Duration = Duration::from_secs(3);

/// Polls the program that the options select; after a restart, the new process.
///
/// # Errors
/// Returns why there is no response.
pub fn look(matches: &ArgMatches) -> Result<MachineReport, String> {
    let instance = reload::selected(matches)?;
    let mut reports = Vec::new();
    for part in status::shown_parts() {
        match status::report_within(&instance, part, Some(LIMIT)) {
            Ok(report) => reports.push(report),
            Err(error) if error.is_missing() => {
                reports.push(StatusReport::silent(part, &error.to_string()));
            }
            // The first part is the supervisor itself: without it, no other part can be queried.
            Err(error) if reports.is_empty() && !error.has_nothing() => {
                return Err(format!("the supervisor does not respond: {error}"));
            }
            Err(_) => {}
        }
    }
    let (traffic, silent) = match operate::ask(&instance, Level::User, traffic::ASK, LIMIT) {
        Ok(text) => (text.map(|text| Traffic::read(&text)), None),
        Err(error) => (None, has_proxy(&reports).then(|| error.to_string())),
    };
    Ok(MachineReport {
        changes: VecDeque::new(),
        at: Instant::now(),
        host: identity::host_name(),
        pid: instance.pid,
        traffic,
        silent,
        reports,
    })
}
