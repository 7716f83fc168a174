//! Runs the main loop of the platform demo: executes the choices of the menu and the orders of the
//! consoles, and prints spontaneous changes: the owner of the virtual address and failed requests.

use super::control::DemoControlSocket;
use super::ends::{DemoInput, InputEvent};
use super::error::PlatformError;
use super::menu::{Choice, expectation, menu, ordered, things};
use super::site::{DemoPlatform, VIRTUAL};
use super::{links, say};
use crate::load::Counted;
use std::time::{Duration, Instant};

const TICK: Duration = Duration::from_millis(100);
const FAILURES_EVERY: Duration = Duration::from_secs(1);

/// Running platform, and the state of it that was printed last.
pub struct Play {
    site: DemoPlatform,
    control: DemoControlSocket,
    owners: String,
    seen: Counted,
    printed: Instant,
    /// Time of the last action, to which printed times are relative.
    acted: Instant,
}

impl Play {
    pub fn new(site: DemoPlatform, control: DemoControlSocket) -> Play {
        let now = Instant::now();
        Play {
            owners: owners(&site.owners()),
            seen: site.seen(),
            site,
            control,
            printed: now,
            acted: now,
        }
    }

    /// Executes the menu until the end.
    ///
    /// # Errors
    /// Fails if a fault cannot be injected, or standard output is closed.
    pub fn run(&mut self, ends: &mut DemoInput) -> Result<(), PlatformError> {
        say(&menu(self.site.state()))?;
        loop {
            self.serve_consoles(ends)?;
            match ends.wait(TICK)? {
                InputEvent::End => return Ok(()),
                InputEvent::Nothing => self.watch()?,
                InputEvent::Line(line) if line.is_empty() => say(&menu(self.site.state()))?,
                InputEvent::Line(line) => match Choice::parse(&line) {
                    Some(Choice::Quit) => return Ok(()),
                    Some(choice) => self.obey(choice, ends)?,
                    None => say(&format!(
                        "`{line}` is not in the menu: press Enter to see it"
                    ))?,
                },
            }
        }
    }

    fn serve_consoles(&mut self, ends: &DemoInput) -> Result<(), PlatformError> {
        for order in self.control.orders() {
            if let Some(choice) = ordered(order, self.site.state()) {
                say("\nOn a page of the console:")?;
                self.obey(choice, ends)?;
            }
        }
        self.control.show(&things(self.site.state()));
        Ok(())
    }

    fn obey(&mut self, choice: Choice, ends: &DemoInput) -> Result<(), PlatformError> {
        match choice {
            Choice::Show => return self.show(),
            Choice::SignIn => return links(&self.site, ends),
            _ => {}
        }
        let expected = expectation(choice, self.site.state());
        self.acted = Instant::now();
        self.site.change(choice)?;
        match expected {
            Some(text) => say(&format!("\n{text}")),
            None => Ok(()),
        }
    }

    fn watch(&mut self) -> Result<(), PlatformError> {
        let after = self.acted.elapsed().as_secs_f64();
        let owners = owners(&self.site.owners());
        if owners != self.owners {
            say(&format!("  after {after:.1} s: {owners}"))?;
            self.owners = owners;
        }
        let seen = self.site.seen();
        if seen.failed > self.seen.failed && self.printed.elapsed() >= FAILURES_EVERY {
            let new = seen.since(self.seen);
            let why = self.site.failure();
            let why = why.trim_start_matches("a request failed: ");
            say(&format!(
                "  after {after:.1} s: client: failed requests: {}; the last one: {why}",
                new.failed
            ))?;
            self.seen = seen;
            self.printed = Instant::now();
        }
        Ok(())
    }

    fn show(&self) -> Result<(), PlatformError> {
        let runs = |(name, runs): (&str, bool)| {
            if runs {
                format!("{name} runs")
            } else {
                format!("{name} does not run")
            }
        };
        let members: Vec<String> = self.site.members().map(runs).collect();
        let leader = self.site.leader();
        let leader = leader.map_or_else(
            || "no leader".to_owned(),
            |name| format!("{name} is the leader"),
        );
        let seen = self.site.seen();
        let [one, two, three] = seen.served;
        say(&format!(
            "\n  members  {}; {leader}\n  address  {}\n  client   {} requests, {} failed; \
             responses of server one {one}, two {two}, three {three}",
            members.join(", "),
            owners(&self.site.owners()),
            seen.requests(),
            seen.failed
        ))
    }
}

fn owners(names: &[&str]) -> String {
    match names {
        [] => format!("no node has {VIRTUAL}"),
        [one] => format!("{one} has {VIRTUAL}"),
        more => format!(
            "{} have {VIRTUAL}, one of them only for a moment",
            more.join(" and ")
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_owner_is_named_with_the_address() {
        assert_eq!(owners(&[]), "no node has 10.60.0.100");
        assert_eq!(owners(&["beta"]), "beta has 10.60.0.100");
        assert!(owners(&["alpha", "beta"]).starts_with("alpha and beta have 10.60.0.100"));
    }
}
