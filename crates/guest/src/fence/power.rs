//! Powers one node off, as a pure state machine: its fencing methods are tried in order, twice
//! each, until one of them confirms that the node is off. The module reads no clock and starts
//! nothing.
//!
//! A method has powered the node off only when its status says so. A method that refuses to power
//! off is queried for its status once, because controllers also refuse if the node is off already.

use part::power::ask::RESPONSE_MAX_MS;
use part::power::control::{PowerAction, PowerCommandOutcome, PowerControl, short};
use std::collections::BTreeMap;

/// Time within which a node must be off after the order to power it off, milliseconds.
pub const CONFIRM_MAX_MS: u64 = 20_000;
pub const ROUNDS: usize = 2;
/// First and longest delay until a status of "on" is queried again, milliseconds. The delay grows
/// with the time taken so far: some machines are off at once, others take seconds.
const ASK_AGAIN_MS: (u64, u64) = (100, 1_000);
const ROUND_PAUSE_MS: u64 = 2_000;

/// Fencing method, reduced to what determines the order of attempts.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Method {
    /// Name for messages, such as `ipmi 10.99.0.11`.
    pub name: String,
    /// True if the method can query the power status. Otherwise a successful power-off counts as
    /// the confirmation.
    pub has_status: bool,
}

impl Method {
    pub fn of(control: &PowerControl) -> Method {
        Method {
            name: control.name(),
            has_status: control.has_status(),
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum FenceOrder {
    /// Start the command of a method.
    Start { method: usize, action: PowerAction },
    /// Kill the command that was started last, because it has timed out.
    Kill,
}

/// Outcome of the fencing of a node.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum FencingOutcome {
    Off(String),
    Failed(String),
}

#[derive(Clone, PartialEq, Eq, Debug)]
enum FencingPhase {
    /// The next order of the current method is due at this time.
    Ready(u64),
    /// A command has been running since this time.
    Asked(PowerAction, u64),
    /// The status is queried at this time.
    Waits(u64),
    Ended(FencingOutcome, u64),
}

/// Fencing of one node, from its start to a [`FencingOutcome`]. The caller executes the orders of
/// [`Fencing::next`], and reports the end of each command to [`Fencing::apply_command_result`]. All
/// times are milliseconds of one clock.
#[derive(Clone, Debug)]
pub struct Fencing {
    methods: Vec<Method>,
    attempt: usize,
    phase: FencingPhase,
    refused: Option<String>,
    off_at: u64,
    why: BTreeMap<usize, String>,
}

impl Fencing {
    pub fn new(methods: Vec<Method>, now: u64) -> Fencing {
        let phase = if methods.is_empty() {
            FencingPhase::Ended(FencingOutcome::Failed("it has no method".to_owned()), now)
        } else {
            FencingPhase::Ready(now)
        };
        Fencing {
            methods,
            attempt: 0,
            phase,
            refused: None,
            off_at: 0,
            why: BTreeMap::new(),
        }
    }

    fn method(&self) -> usize {
        self.attempt.checked_rem(self.methods.len()).unwrap_or(0)
    }

    fn has_status(&self) -> bool {
        let method = self.methods.get(self.method());
        method.is_some_and(|method| method.has_status)
    }

    /// Returns the outcome and its time; None: the fencing is in progress.
    pub fn outcome(&self) -> Option<(&FencingOutcome, u64)> {
        match &self.phase {
            FencingPhase::Ended(outcome, at) => Some((outcome, *at)),
            _ => None,
        }
    }

    /// Returns the next order. To be called until it returns None.
    pub fn next(&mut self, now: u64) -> Option<FenceOrder> {
        let method = self.method();
        match self.phase {
            FencingPhase::Ready(at) if now >= at => {
                self.refused = None;
                self.phase = FencingPhase::Asked(PowerAction::Off, now);
                let action = PowerAction::Off;
                Some(FenceOrder::Start { method, action })
            }
            FencingPhase::Waits(at) if now >= at => {
                self.phase = FencingPhase::Asked(PowerAction::Status, now);
                let action = PowerAction::Status;
                Some(FenceOrder::Start { method, action })
            }
            FencingPhase::Asked(action, since) if now >= since.saturating_add(RESPONSE_MAX_MS) => {
                let why = format!("no response within {} s", RESPONSE_MAX_MS / 1000);
                match action {
                    // Fails without a query of the status, because the controller did not respond
                    // to the order.
                    PowerAction::Off | PowerAction::On => self.fail(&why, now),
                    PowerAction::Status => self.see_status(PowerCommandOutcome::Failed(why), now),
                }
                Some(FenceOrder::Kill)
            }
            _ => None,
        }
    }

    pub fn apply_command_result(&mut self, seen: PowerCommandOutcome, now: u64) {
        match self.phase {
            FencingPhase::Asked(PowerAction::Off | PowerAction::On, _) => self.see_off(seen, now),
            FencingPhase::Asked(PowerAction::Status, _) => self.see_status(seen, now),
            _ => {}
        }
    }

    fn see_off(&mut self, seen: PowerCommandOutcome, now: u64) {
        match (seen, self.has_status()) {
            (PowerCommandOutcome::Done, false) => self.confirm(now),
            (PowerCommandOutcome::Done, true) => {
                self.off_at = now;
                self.phase = FencingPhase::Waits(now);
            }
            (PowerCommandOutcome::Failed(why), true) => {
                self.refused = Some(why);
                self.phase = FencingPhase::Waits(now);
            }
            (PowerCommandOutcome::Failed(why), false) => self.fail(&why, now),
            (PowerCommandOutcome::IsOff | PowerCommandOutcome::IsOn, _) => {
                self.fail("it returned a status", now)
            }
        }
    }

    fn see_status(&mut self, seen: PowerCommandOutcome, now: u64) {
        let why = match seen {
            PowerCommandOutcome::IsOff => return self.confirm(now),
            PowerCommandOutcome::IsOn => {
                format!("the node is still on {} s later", CONFIRM_MAX_MS / 1000)
            }
            PowerCommandOutcome::Done => "its status is neither on nor off".to_owned(),
            PowerCommandOutcome::Failed(why) => {
                format!("it powered off, but its status is unknown: {why}")
            }
        };
        let (first, most) = ASK_AGAIN_MS;
        let taken = now.saturating_sub(self.off_at);
        match self.refused.take() {
            Some(refused) => self.fail(&refused, now),
            None if taken < CONFIRM_MAX_MS => {
                let pause = (first + taken).min(most);
                self.phase = FencingPhase::Waits(now.saturating_add(pause));
            }
            None => self.fail(&why, now),
        }
    }

    fn confirm(&mut self, now: u64) {
        let method = self.methods.get(self.method());
        let name = method.map(|method| method.name.clone());
        self.phase = FencingPhase::Ended(FencingOutcome::Off(name.unwrap_or_default()), now);
    }

    fn fail(&mut self, why: &str, now: u64) {
        self.why.insert(self.method(), short(why));
        self.refused = None;
        self.attempt += 1;
        if self.attempt >= self.methods.len().saturating_mul(ROUNDS) {
            self.phase = FencingPhase::Ended(FencingOutcome::Failed(self.reasons()), now);
            return;
        }
        let pause = if self.method() == 0 {
            ROUND_PAUSE_MS
        } else {
            0
        };
        self.phase = FencingPhase::Ready(now.saturating_add(pause));
    }

    fn reasons(&self) -> String {
        let all = self.why.iter().filter_map(|(at, why)| {
            let method = self.methods.get(*at)?;
            Some(format!("{}: {why}", method.name))
        });
        all.collect::<Vec<_>>().join("; ")
    }

    pub fn deadline(&self) -> Option<u64> {
        match self.phase {
            FencingPhase::Ready(at) | FencingPhase::Waits(at) => Some(at),
            FencingPhase::Asked(_, since) => Some(since.saturating_add(RESPONSE_MAX_MS)),
            FencingPhase::Ended(..) => None,
        }
    }

    pub fn words(&self, now: u64) -> String {
        let ago = |at: u64| now.saturating_sub(at) / 1000;
        if let Some((outcome, at)) = self.outcome() {
            return match outcome {
                FencingOutcome::Off(name) => format!("off confirmed by {name} {} s ago", ago(at)),
                FencingOutcome::Failed(why) => format!("failed: {why}"),
            };
        }
        let method = self.methods.get(self.method());
        let name = method.map_or("", |method| method.name.as_str());
        let last = match self.reasons().as_str() {
            "" => String::new(),
            reasons => format!(" (before: {reasons})"),
        };
        format!(
            "in progress: {name}, attempt {} of {}{last}",
            self.attempt + 1,
            self.methods.len() * ROUNDS
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn method(name: &str, has_status: bool) -> Method {
        let name = name.to_owned();
        Method { name, has_status }
    }

    fn off(method: usize) -> Option<FenceOrder> {
        let action = PowerAction::Off;
        Some(FenceOrder::Start { method, action })
    }

    fn status(method: usize) -> Option<FenceOrder> {
        let action = PowerAction::Status;
        Some(FenceOrder::Start { method, action })
    }

    fn failed(words: &str) -> PowerCommandOutcome {
        PowerCommandOutcome::Failed(words.to_owned())
    }

    #[test]
    fn a_node_is_off_only_when_the_status_says_so() {
        let mut fencing = Fencing::new(vec![method("ipmi a", true)], 0);
        assert_eq!(fencing.next(0), off(0));
        assert_eq!(fencing.next(10), None);
        fencing.apply_command_result(PowerCommandOutcome::Done, 100);
        assert_eq!(fencing.next(100), status(0));
        let mut now = 100;
        for pause in [100, 200, 400, 800, 1000, 1000] {
            fencing.apply_command_result(PowerCommandOutcome::IsOn, now);
            assert_eq!(fencing.next(now), None);
            now += pause;
            assert_eq!(fencing.deadline(), Some(now));
            assert_eq!(fencing.next(now), status(0));
        }
        fencing.apply_command_result(PowerCommandOutcome::IsOff, 1300);
        assert_eq!(fencing.words(4500), "off confirmed by ipmi a 3 s ago");
        assert_eq!(fencing.next(9000), None);
    }

    #[test]
    fn a_program_without_a_status_is_trusted() {
        let mut fencing = Fencing::new(vec![method("exec /off", false)], 0);
        fencing.next(0);
        fencing.apply_command_result(PowerCommandOutcome::Done, 10);
        let name = "exec /off".to_owned();
        assert_eq!(fencing.outcome(), Some((&FencingOutcome::Off(name), 10)));
    }

    #[test]
    fn a_controller_that_refuses_since_the_node_is_off_confirms_that() {
        let mut fencing = Fencing::new(vec![method("ipmi a", true)], 0);
        fencing.next(0);
        fencing.apply_command_result(failed("command not supported in present state"), 10);
        assert_eq!(fencing.next(10), status(0));
        fencing.apply_command_result(PowerCommandOutcome::IsOff, 20);
        assert!(matches!(
            fencing.outcome(),
            Some((FencingOutcome::Off(_), 20))
        ));
    }

    #[test]
    fn methods_are_tried_in_order_and_twice_before_it_fails_with_all_reasons() {
        let methods = vec![method("ipmi a", true), method("exec /off", false)];
        let mut fencing = Fencing::new(methods, 0);
        assert_eq!(fencing.next(0), off(0));
        assert_eq!(fencing.next(20_000), Some(FenceOrder::Kill));
        assert_eq!(fencing.next(20_000), off(1));
        fencing.apply_command_result(failed("exit code 1\n\n  no route \n"), 20_100);
        assert_eq!(fencing.next(20_100), None);
        assert!(fencing.words(20_100).contains("attempt 3 of 4 (before: "));
        assert_eq!(fencing.next(22_100), off(0));
        fencing.apply_command_result(failed("wrong password"), 22_200);
        assert_eq!(fencing.next(22_200), status(0));
        fencing.apply_command_result(failed("wrong password again"), 22_300);
        assert_eq!(fencing.next(22_300), off(1));
        fencing.apply_command_result(failed("exit code 1"), 22_400);
        assert_eq!(
            fencing.words(30_000),
            "failed: ipmi a: wrong password; exec /off: exit code 1"
        );
    }

    #[test]
    fn a_node_that_stays_on_is_a_failure_of_the_method() {
        let mut fencing = Fencing::new(vec![method("ipmi a", true)], 0);
        let mut now = 0;
        while fencing.outcome().is_none() && now < 200_000 {
            if let Some(FenceOrder::Start { action, .. }) = fencing.next(now) {
                fencing.apply_command_result(
                    match action {
                        PowerAction::Off | PowerAction::On => PowerCommandOutcome::Done,
                        PowerAction::Status => PowerCommandOutcome::IsOn,
                    },
                    now,
                );
            }
            now += 100;
        }
        assert_eq!(
            fencing.words(now),
            "failed: ipmi a: the node is still on 20 s later"
        );
    }

    #[test]
    fn without_a_method_it_has_failed_at_once() {
        let fencing = Fencing::new(Vec::new(), 5);
        assert_eq!(fencing.words(5), "failed: it has no method");
    }

    fn seen() -> impl Strategy<Value = Option<PowerCommandOutcome>> {
        let long = "x".repeat(5000);
        prop_oneof![
            Just(None),
            Just(Some(PowerCommandOutcome::Done)),
            Just(Some(PowerCommandOutcome::IsOff)),
            Just(Some(PowerCommandOutcome::IsOn)),
            Just(Some(PowerCommandOutcome::Failed(long))),
        ]
    }

    proptest! {
        /// Tests that fencing ends in bounded time whatever the commands return, and never reports
        /// "off" without a confirmation.
        #[test]
        fn fencing_always_ends_and_never_invents_a_confirmation(
            statuses in prop::collection::vec(any::<bool>(), 1..8),
            all in prop::collection::vec(seen(), 1..60),
        ) {
            let count = statuses.len();
            let methods = statuses.iter().map(|one| method("m", *one)).collect();
            let mut fencing = Fencing::new(methods, 0);
            let mut results = all.into_iter().cycle();
            let (mut now, mut confirmed) = (0, false);
            while let Some(at) = fencing.deadline() {
                now = now.max(at);
                while let Some(order) = fencing.next(now) {
                    let FenceOrder::Start { method, action } = order else { continue };
                    // None stands for a command that never ends.
                    let Some(result) = results.next().flatten() else { break };
                    confirmed |= match action {
                        PowerAction::Off | PowerAction::On => result == PowerCommandOutcome::Done && !statuses[method],
                        PowerAction::Status => result == PowerCommandOutcome::IsOff,
                    };
                    now += 10;
                    fencing.apply_command_result(result, now);
                }
                prop_assert!(now <= (count * ROUNDS) as u64 * 90_000);
            }
            let is_off = matches!(fencing.outcome(), Some((FencingOutcome::Off(_), _)));
            prop_assert_eq!(is_off, confirmed);
            prop_assert!(fencing.words(now).chars().count() < 2000);
        }
    }
}
