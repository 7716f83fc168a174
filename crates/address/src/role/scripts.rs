//! Decides when each tracked script (`vrrp_script`) starts, and computes its verdict.
//! [`super::runner`] starts the program.

use super::clock;
use super::runner::{JobResult, ProgramJob, Token};
use super::weight::TrackedState;
use crate::config::Script;
use protocol::vrrp::Time;
use std::time::Duration;

/// Minimum interval between two runs of a script.
const INTERVAL_LEAST: Duration = Duration::from_millis(10);

/// A log line about a script.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum ScriptLog {
    /// keepalived's line at each change of a script's exit status (`-D`).
    Detail(String),
    Verdict(String),
}

/// State of a tracked script.
#[derive(Debug)]
pub struct TrackedScript {
    script: Script,
    generation: u64,
    verdict: TrackedState,
    since: Time,
    /// Number of consecutive outcomes that contradict the verdict.
    against: u32,
    last: Option<Result<(), String>>,
    outcome: String,
    running: bool,
    due: Time,
}

impl TrackedScript {
    /// Creates the state of a script, which runs at once. A verdict from an older configuration
    /// still applies.
    pub fn new(
        now: Time,
        script: Script,
        generation: u64,
        before: Option<&TrackedScript>,
    ) -> TrackedScript {
        let known = before.map_or(TrackedState::Unknown, |b| b.verdict);
        let verdict = match known {
            TrackedState::Unknown if script.init_fail => TrackedState::Down,
            known => known,
        };
        TrackedScript {
            script,
            generation,
            verdict,
            since: before.map_or(now, |b| b.since),
            against: 0,
            last: before.and_then(|b| b.last.clone()),
            outcome: before.map_or_else(String::new, |b| b.outcome.clone()),
            running: false,
            due: now,
        }
    }

    pub fn script(&self) -> &Script {
        &self.script
    }

    pub fn verdict(&self) -> TrackedState {
        self.verdict
    }

    /// Returns the time of the last change, and the last outcome as a message.
    pub fn history(&self) -> (u64, &str) {
        (clock::as_ms(self.since), &self.outcome)
    }

    pub fn deadline(&self) -> Option<Time> {
        (!self.running).then_some(self.due)
    }

    pub fn job(&mut self, now: Time) -> Option<ProgramJob> {
        if self.running || now < self.due {
            return None;
        }
        self.running = true;
        let interval = self.script.interval.max(INTERVAL_LEAST);
        // Skips missed runs, so that they do not follow each other without a pause.
        self.due = self.due.after(interval).max(now);
        if self.due == now {
            self.due = now.after(interval);
        }
        Some(ProgramJob {
            token: Token::Script(self.script.name.clone(), self.generation),
            words: self.script.words.iter().map(Into::into).collect(),
            account: self.script.account.clone(),
            timeout: Some(self.script.timeout.unwrap_or(interval)),
            queue: None,
            environment: None,
            stays: false,
        })
    }

    /// Handles a run that could not start: the script's file is being replaced, or the machine has
    /// no room for another process. Such a run shows nothing about the tracked object, and would
    /// happen on every node to which a new script is copied, so the last verdict still applies.
    /// Logged once.
    fn unasked(&mut self, error: String) -> Vec<ScriptLog> {
        if self.outcome == error {
            return Vec::new();
        }
        let name = &self.script.name;
        let said = ScriptLog::Verdict(format!(
            "VRRP_Script({name}) {error}; the last result still applies"
        ));
        self.outcome = error;
        vec![said]
    }

    /// Records the result of a run. Returns the lines to log, and whether the verdict
    /// changed.
    pub fn ended(
        &mut self,
        now: Time,
        generation: u64,
        outcome: &JobResult,
    ) -> (Vec<ScriptLog>, bool) {
        if generation != self.generation {
            return (Vec::new(), false);
        }
        self.running = false;
        if let Some(error) = not_asked(outcome)
            && self.verdict != TrackedState::Unknown
        {
            return (self.unasked(error), false);
        }
        let result = match outcome {
            JobResult::Exited(0) => Ok(()),
            JobResult::Exited(code) => Err(format!("exited with status {code}")),
            JobResult::Signalled(number) => Err(format!("terminated by signal {number}")),
            JobResult::TimedOut => Err("timed_out".to_owned()),
            JobResult::NotStarted(error) => Err(format!("could not be started: {error}")),
            JobResult::TooMany => Err("too many programs are running".to_owned()),
        };
        let mut said = Vec::new();
        let name = &self.script.name;
        if self.last.as_ref().is_some_and(|last| *last != result)
            && let JobResult::Exited(code) = outcome
        {
            said.push(ScriptLog::Detail(format!(
                "Script `{name}` now returning {code}"
            )));
        }
        self.outcome = match &result {
            Ok(()) => "succeeded".to_owned(),
            Err(words) => words.clone(),
        };
        let wanted = if result.is_ok() {
            TrackedState::Up
        } else {
            TrackedState::Down
        };
        // Requires only one outcome if there is no earlier one.
        let enough = match (&self.last, wanted) {
            (None, _) => 1,
            (_, TrackedState::Up) => self.script.rise.max(1),
            _ => self.script.fall.max(1),
        };
        self.last = Some(result.clone());
        if wanted == self.verdict {
            self.against = 0;
            return (said, false);
        }
        self.against += 1;
        if self.against < enough {
            return (said, false);
        }
        (self.verdict, self.against, self.since) = (wanted, 0, now);
        said.push(ScriptLog::Verdict(match &result {
            Ok(()) => format!("VRRP_Script({name}) succeeded"),
            Err(words) if words == "timed_out" => format!("VRRP_Script({name}) timed_out"),
            Err(words) => format!("VRRP_Script({name}) failed ({words})"),
        }));
        (said, true)
    }
}

/// Returns why a program did not run at all; None if it ran.
fn not_asked(outcome: &JobResult) -> Option<String> {
    match outcome {
        JobResult::NotStarted(error) => Some(format!("could not be started: {error}")),
        JobResult::TooMany => Some("was not started: too many programs are running".to_owned()),
        JobResult::Exited(_) | JobResult::Signalled(_) | JobResult::TimedOut => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Weight;

    fn script(rise: u32, fall: u32) -> Script {
        Script {
            name: "chk".to_owned(),
            words: vec!["/bin/true".to_owned()],
            interval: Duration::from_secs(1),
            timeout: None,
            weight: Weight::default(),
            rise,
            fall,
            account: None,
            init_fail: false,
        }
    }

    fn at(s: u64) -> Time {
        Time(s * 1_000_000_000)
    }

    #[test]
    fn the_first_outcome_decides_and_then_rise_and_fall_do() {
        let mut asked = TrackedScript::new(at(0), script(2, 3), 1, None);
        assert_eq!(asked.verdict(), TrackedState::Unknown);
        let mut told = Vec::new();
        for code in [0, 1, 1, 0, 1, 1, 1, 0, 0] {
            told.extend(asked.ended(at(1), 1, &JobResult::Exited(code)).0);
        }
        let verdicts: Vec<_> = told
            .iter()
            .filter_map(|s| match s {
                ScriptLog::Verdict(words) => Some(words.as_str()),
                ScriptLog::Detail(_) => None,
            })
            .collect();
        let wanted = [
            "VRRP_Script(chk) succeeded",
            "VRRP_Script(chk) failed (exited with status 1)",
            "VRRP_Script(chk) succeeded",
        ];
        assert_eq!(verdicts, wanted);
        assert!(told.contains(&ScriptLog::Detail(
            "Script `chk` now returning 1".to_owned()
        )));
    }

    #[test]
    fn a_script_that_cannot_be_started_any_more_says_nothing_and_that_is_said_once() {
        let gone = || JobResult::NotStarted(std::io::ErrorKind::NotFound.into());
        let mut asked = TrackedScript::new(at(0), script(1, 1), 1, None);
        asked.ended(at(1), 1, &JobResult::Exited(0));
        let (said, changed) = asked.ended(at(2), 1, &gone());
        assert!(!changed && said.len() == 1, "{said:?}");
        assert_eq!(asked.ended(at(3), 1, &gone()), (Vec::new(), false));
        assert_eq!(asked.verdict(), TrackedState::Up);
        assert!(asked.history().1.contains("could not be started"));
        assert!(!asked.ended(at(4), 1, &JobResult::TooMany).1);
        assert!(asked.ended(at(5), 1, &JobResult::Exited(1)).1);
        // A script that could never start is not up.
        let mut never = TrackedScript::new(at(0), script(1, 1), 1, None);
        assert!(never.ended(at(1), 1, &gone()).1);
        assert_eq!(never.verdict(), TrackedState::Down);
    }

    #[test]
    fn it_is_asked_once_at_a_time_and_what_was_missed_is_not_made_up_for() {
        let mut asked = TrackedScript::new(at(0), script(1, 1), 1, None);
        assert!(asked.job(at(0)).is_some());
        assert!(asked.job(at(5)).is_none());
        assert_eq!(asked.deadline(), None);
        asked.ended(at(5), 1, &JobResult::TimedOut);
        assert_eq!(asked.verdict(), TrackedState::Down);
        assert!(asked.job(at(5)).is_some());
        asked.ended(at(5), 1, &JobResult::Exited(0));
        assert!(asked.job(at(5)).is_none());
        assert_eq!(asked.deadline(), Some(at(6)));
    }

    #[test]
    fn an_outcome_of_an_older_configuration_is_not_heard_and_its_verdict_is_kept() {
        let mut old = TrackedScript::new(at(0), script(1, 1), 1, None);
        old.ended(at(1), 1, &JobResult::Exited(0));
        let mut new = TrackedScript::new(at(2), script(1, 1), 2, Some(&old));
        assert_eq!(new.verdict(), TrackedState::Up);
        assert!(!new.ended(at(3), 1, &JobResult::Exited(1)).1);
        assert!(new.ended(at(3), 2, &JobResult::Exited(1)).1);
    }
}
