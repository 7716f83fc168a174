//! Implements `show virtual-ip`: which machine has each virtual address, as last reported by the
//! process that moves the addresses.

use super::{Context, Session};
use crate::vitals;
use model::config::Service;
use part::report::StatusReport;

/// Executes `show virtual-ip [<name>]` for an operator.
pub fn show(context: &Context, _: &mut Session, words: &[&str]) -> String {
    let report = vitals::report(context.runtime);
    match words.get(2) {
        Some(name) => match report.find(Service::KIND, name) {
            Some(subject) => report.lines_of(subject),
            None => format!("No such virtual address '{name}'.\n"),
        },
        None => lines(&report),
    }
}

/// Formats the report for scripts: one line per address, with words separated by spaces.
fn lines(report: &StatusReport) -> String {
    let mut out = "# name state for priority served moves owner addresses\n".to_owned();
    for one in report.of_kind(Service::KIND) {
        let since = one.since.unwrap_or(report.at).boottime_ms;
        let number = |name: &str| one.value(name).unwrap_or(0).to_string();
        let owner = one.words("owner").unwrap_or_default();
        let addresses = one.children.iter().map(|child| child.name.as_str());
        let addresses: Vec<&str> = addresses.collect();
        let words = [
            one.name.clone(),
            one.state.word.clone(),
            duration(report.at.boottime_ms.saturating_sub(since)),
            number("priority"),
            one.words("frontends served").unwrap_or_default(),
            number("moves"),
            owner.trim_end_matches(" machine").to_owned(),
            addresses.join(","),
        ];
        out += &words.join(" ");
        out.push('\n');
    }
    out
}

fn duration(ms: u64) -> String {
    match ms / 1_000 {
        s @ 0..60 => format!("{s}s"),
        s @ 60..3_600 => format!("{}m{:02}s", s / 60, s % 60),
        s @ 3_600..86_400 => format!("{}h{:02}m", s / 3_600, s / 60 % 60),
        s => format!("{}d{}h", s / 86_400, s / 3_600 % 24),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_listed_one_per_line() {
        let report = vitals::example();
        let www = report.find(Service::KIND, "www").unwrap();
        insta::assert_snapshot!(lines(&report) + "\n" + &report.lines_of(www));
    }
}
