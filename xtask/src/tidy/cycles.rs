//! Detects modules that import each other in a circle. `cargo xtask house` prints all modules.

use super::modules::Floor;
use super::{Finding, Wrong};
use std::collections::BTreeMap;

pub(super) fn check(floors: &BTreeMap<String, Floor>) -> Vec<Finding> {
    let mut found = Vec::new();
    for (krate, floor) in floors {
        for circle in floor.cycles() {
            let names: Vec<&str> = circle.into_iter().collect();
            found.push(Finding {
                file: format!("crates/{krate}/src"),
                line: 1,
                wrong: Wrong::Circle {
                    modules: names.join(", "),
                },
            });
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
