//! Polls a running instance for all data that `evenkeel top` displays: the traffic of the proxy and
//! the reports of all parts.

use crate::operate;
use clap::ArgMatches;
use command::{instance, status};
use overview::look::{MachineReport, has_proxy};
use overview::traffic::{self, Traffic};
use part::report::StatusReport;
use part::role::Level;
use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// Time limit for one response, short so that a hanging instance is noticed soon.
const LIMIT: Duration = Duration::from_secs(3);

/// Polls the instance that the options select. After a restart, the options select its new process.
///
/// # Errors
/// Returns why there is no response.
pub fn look(matches: &ArgMatches) -> Result<MachineReport, String> {
    let instance = instance::selected(matches)?;
    let parts: Vec<&str> = status::shown_parts().collect();
    let (traffic, answers) = std::thread::scope(|scope| {
        let traffic = scope.spawn(|| operate::ask(&instance, Level::User, traffic::ASK, LIMIT));
        let answers = status::reports_within(&instance, &parts, LIMIT);
        (traffic.join(), answers)
    });
    let mut reports = Vec::new();
    for (part, answer) in parts.iter().zip(answers) {
        match answer {
            Ok(report) => reports.push(report),
            // The first part is the supervisor itself: without it, no other part can be queried.
            Err(error) if reports.is_empty() && !error.is_missing() && !error.has_nothing() => {
                return Err(format!("the supervisor does not respond: {error}"));
            }
            Err(error) if error.is_missing() || error.is_silent() => {
                reports.push(StatusReport::silent(part, &error.to_string()));
            }
            Err(_) => {}
        }
    }
    let (traffic, silent) = match traffic {
        Ok(Ok(text)) => (text.map(|text| Traffic::read(&text)), None),
        Ok(Err(error)) => (None, has_proxy(&reports).then(|| error.to_string())),
        Err(_) => (
            None,
            has_proxy(&reports).then(|| "the query failed".to_owned()),
        ),
    };
    Ok(MachineReport {
        changes: VecDeque::new(),
        at: Instant::now(),
        host: part::identity::host_name(),
        pid: instance.pid,
        traffic,
        silent,
        reports,
    })
}
