//! Modules that know each other in a circle, and crates that are too large: none may
//! come, and of those that there are fewer every time. `cargo xtask house` prints all.

use super::modules::Floor;
use super::{Finding, Wrong};
use std::collections::BTreeMap;

/// Most lines of code in a crate.
pub(super) const MAX_CRATE_LINES: usize = 40_000;

/// So many modules of a crate still stand in a circle. A number that is too high is a
/// finding, too: so it only falls.
const CIRCLES: &[(&str, usize)] = &[];

/// Crates that are still larger.
const LARGE: &[&str] = &[];

pub(super) fn check(floors: &BTreeMap<String, Floor>) -> Vec<Finding> {
    let mut found = Vec::new();
    for (krate, floor) in floors {
        let mut push = |wrong| {
            found.push(Finding {
                file: format!("crates/{krate}/src"),
                line: 1,
                wrong,
            });
        };
        let cycles = floor.cycles();
        let modules: usize = cycles.iter().map(|group| group.len()).sum();
        let allowed = CIRCLES.iter().find(|(name, _)| name == krate);
        let allowed = allowed.map_or(0, |(_, modules)| *modules);
        if modules != allowed {
            let names: Vec<&str> = cycles.iter().flatten().copied().collect();
            push(Wrong::Circle {
                modules: names.join(", "),
                count: modules,
                allowed,
            });
        }
        let lines = floor.lines_of_code();
        if (lines > MAX_CRATE_LINES) != LARGE.contains(&krate.as_str()) {
            push(Wrong::CrateSize { lines });
        }
    }
    found
}

/// Prints crates with their size, the arrows between their modules, and circles.
pub(super) fn print(floors: &BTreeMap<String, Floor>) {
    for (krate, floor) in floors {
        println!("{krate}: {} lines of code", floor.lines_of_code());
        let circles = floor.cycles();
        for (module, lines) in &floor.lines {
            let to = floor.arrows.iter().filter(|((from, _), _)| from == module);
            let to: Vec<String> = to.map(|((_, to), n)| format!("{to} {n}")).collect();
            let name = if module.is_empty() { "(root)" } else { module };
            let mark = if circles.iter().any(|group| group.contains(module.as_str())) {
                "*"
            } else {
                " "
            };
            println!(" {mark} {name:<20} {lines:>6}  {}", to.join(", "));
        }
        for group in circles {
            let names: Vec<&str> = group.into_iter().collect();
            println!("   in a circle: {}", names.join(", "));
        }
        println!();
    }
}
