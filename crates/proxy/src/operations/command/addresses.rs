//! `show virtual-ip`: who has the addresses that come and go, as the address role last
//! told it.

use super::{Context, Session};
use crate::stats::addresses::{detail, line};
use crate::vitals;

/// `show virtual-ip [<name>]`.
pub fn show(context: &Context, _: &mut Session, words: &[&str]) -> String {
    let all = vitals::reports(context.runtime);
    match words.get(2) {
        Some(name) => match all.iter().find(|report| report.name == *name) {
            Some(report) => detail(report),
            None => format!("There is no virtual address named '{name}'.\n"),
        },
        None => {
            let head = "# name state for priority served moves owner addresses\n";
            let lines: String = all.iter().map(line).collect();
            format!("{head}{lines}")
        }
    }
}
