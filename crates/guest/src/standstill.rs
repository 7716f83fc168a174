//! Standstill of a guest, as a pure state machine: the guest writes nothing while snapshots of all
//! its disks are taken, so that they show the same point in time. The module starts nothing and
//! reads no clock.
//!
//! - If the guest agent responds, it freezes the file systems first, so that they are consistent.
//!   Otherwise the snapshots are crash-consistent.
//! - The guest is then paused in any case, which also stops writes outside of file systems.
//! - Each step has a timeout after which the guest resumes, even if the client that requested the
//!   standstill is gone. Requests to thaw file systems are repeated until the agent has confirmed
//!   one or the guest has ended.
//! - A guest that does not run only has to stay down.
//!
//! A standstill is never reported as complete if the guest may have run meanwhile.

use crate::check::agent::Command;

/// Timeout for the guest agent to respond, milliseconds.
pub const AGENT_MAX_MS: u64 = 3_000;
/// Timeout for the guest agent to freeze the file systems, milliseconds.
pub const FREEZE_MAX_MS: u64 = 10_000;
/// Timeout for QEMU to end the outstanding disk requests, milliseconds.
pub const PAUSE_MAX_MS: u64 = 5_000;
/// Time for which the successor of a killed role tries to thaw file systems, milliseconds. An
/// agent that froze some responds within that time.
pub const LEFT_MAX_MS: u64 = 30_000;
/// Maximum time for which the guest is paused, milliseconds.
pub const STAND_MAX_MS: u64 = 10_000;

/// State of the guest as seen by the role.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Here {
    /// The virtual CPUs run.
    Runs,
    /// The virtual CPUs are stopped, and QEMU has confirmed it.
    Paused,
    /// No QEMU process exists.
    Down,
    /// Any other state, such as a disk with an error.
    Other,
}

/// Progress of the standstill.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Phase {
    /// The agent freezes the file systems, since this time, milliseconds.
    Freezes(u64),
    /// QEMU pauses the guest, since this time, milliseconds.
    Pauses(u64),
    /// The guest is paused, since this time, milliseconds.
    Stands(u64),
    /// The guest has to resume.
    GoesOn,
    /// The guest runs again and its file systems are thawed.
    Over,
}

/// Known state of the guest's file systems.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Files {
    /// The file systems are not frozen.
    Loose,
    /// A request to the agent was made, and the agent has not responded yet.
    Asked,
    /// The agent has received the order to freeze, so file systems may be frozen.
    Told,
    /// The file systems are frozen.
    Frozen,
}

/// Standstill of one guest.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Standstill {
    number: u64,
    is_down: bool,
    phase: Phase,
    files: Files,
    /// Reason why the file systems were not frozen.
    not_frozen: String,
    /// The file systems were frozen when the guest was paused.
    was_frozen: bool,
    /// Start time of the role that found the standstill of its predecessor, milliseconds.
    left_since: Option<u64>,
    /// Reason why the guest did not stay paused until the end.
    broken: Option<String>,
    /// Times of the pause order and of the freeze order, milliseconds.
    paused_at: Option<u64>,
    frozen_at: Option<u64>,
    /// Time since which the guest has to resume, milliseconds.
    goes_on_at: Option<u64>,
    stood_ms: u64,
    frozen_ms: u64,
}

/// Outcome of a standstill.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Outcome<'a> {
    /// The guest is not paused yet.
    Begins,
    /// The guest is paused.
    Stands,
    /// The guest was paused until the end and has to resume.
    GoesOn,
    /// The guest was paused until the end and runs again.
    Over,
    /// The guest did not stay paused until the end, with the reason.
    Broken(&'a str),
}

impl Standstill {
    /// Starts a standstill. `is_down`: the guest does not run.
    pub fn begin(number: u64, is_down: bool, now: u64) -> Standstill {
        Standstill {
            number,
            is_down,
            phase: match is_down {
                true => Phase::Stands(now),
                false => Phase::Freezes(now),
            },
            files: match is_down {
                true => Files::Loose,
                false => Files::Asked,
            },
            not_frozen: String::new(),
            was_frozen: false,
            broken: None,
            left_since: None,
            paused_at: None,
            frozen_at: None,
            goes_on_at: None,
            stood_ms: 0,
            frozen_ms: 0,
        }
    }

    /// Takes over the standstill of a previous role. File systems may be frozen; nothing else is
    /// known.
    pub fn left(now: u64) -> Standstill {
        let mut left = Standstill::begin(0, false, now);
        left.files = Files::Told;
        left.left_since = Some(now);
        left.give_up("the guest role was restarted");
        left
    }

    /// Returns the number of the standstill.
    pub fn number(&self) -> u64 {
        self.number
    }

    /// Returns whether the guest was down at the start.
    pub fn is_down(&self) -> bool {
        self.is_down
    }

    /// Returns whether the standstill has ended.
    pub fn is_over(&self) -> bool {
        self.phase == Phase::Over
    }

    /// Returns whether the guest must not run.
    pub fn holds(&self) -> bool {
        matches!(self.phase, Phase::Pauses(_) | Phase::Stands(_))
    }

    /// Returns whether file systems may be frozen, in which case a later role has to thaw them.
    pub fn may_be_frozen(&self) -> bool {
        self.files != Files::Loose
    }

    /// Returns the command for the guest agent, if any.
    pub fn asks(&self, here: Here) -> Option<Command> {
        match (self.phase, self.files) {
            (Phase::Freezes(_), Files::Asked | Files::Told) => Some(Command::Freeze),
            // The agent receives nothing while the guest is paused.
            (Phase::GoesOn, Files::Told | Files::Frozen) if here == Here::Runs => {
                Some(Command::Thaw)
            }
            _ => None,
        }
    }

    /// Records that the agent has responded: a request may take effect from now on.
    pub fn told(&mut self, now: u64) {
        if self.files == Files::Asked {
            self.files = Files::Told;
            self.frozen_at = Some(now);
        }
    }

    /// Records the result of a command to the agent.
    pub fn heard(&mut self, command: Command, result: Result<(), String>, now: u64) {
        match (command, result) {
            (Command::Freeze, Ok(())) if self.files == Files::Told => self.files = Files::Frozen,
            (Command::Freeze, Err(words)) => {
                self.not_frozen = words;
                // An agent that received the order and failed may have frozen some file systems.
                if self.files == Files::Asked {
                    self.files = Files::Loose;
                }
                if let Phase::Freezes(_) = self.phase {
                    self.pause(now);
                }
            }
            (Command::Thaw, Ok(())) => self.loosen(now),
            _ => {}
        }
    }

    fn loosen(&mut self, now: u64) {
        self.files = Files::Loose;
        self.frozen_ms = { self.frozen_at.take() }.map_or(0, |at| now.saturating_sub(at));
    }

    fn pause(&mut self, now: u64) {
        self.phase = Phase::Pauses(now);
        self.paused_at = Some(now);
    }

    /// Applies the state of the guest. `no`: reason why the guest may no longer be paused here.
    pub fn turn(&mut self, here: Here, no: Option<&str>, now: u64) {
        if here == Here::Down && !self.is_down {
            self.give_up("the guest has ended");
            self.loosen(now);
        }
        if let Some(no) = no {
            self.give_up(no);
        }
        // Without an agent nothing was frozen, and no agent ever confirms that.
        if { self.left_since }.is_some_and(|since| now >= since.saturating_add(LEFT_MAX_MS)) {
            self.left_since = None;
            self.loosen(now);
        }
        match self.phase {
            Phase::Freezes(since) => self.freezing(since, now),
            Phase::Pauses(_) if here == Here::Paused => {
                self.was_frozen = self.files == Files::Frozen;
                self.phase = Phase::Stands(now);
            }
            Phase::Pauses(since) if now >= since.saturating_add(PAUSE_MAX_MS) => {
                self.give_up("QEMU did not end the requests to the disks within 5 s");
            }
            Phase::Stands(_) if here != self.still() => self.give_up("the guest went on meanwhile"),
            Phase::Stands(since) if now >= since.saturating_add(STAND_MAX_MS) => {
                self.give_up("it lasted longer than 10 s, so the guest went on");
            }
            _ => {}
        }
        if self.phase == Phase::GoesOn {
            self.goes_on_at.get_or_insert(now);
        }
        if self.phase == Phase::GoesOn && here != Here::Paused {
            if let Some(at) = self.paused_at.take() {
                self.stood_ms = now.saturating_sub(at);
            }
            if self.files == Files::Loose {
                self.phase = Phase::Over;
            }
        }
    }

    fn still(&self) -> Here {
        match self.is_down {
            true => Here::Down,
            false => Here::Paused,
        }
    }

    fn freezing(&mut self, since: u64, now: u64) {
        let lasts = now.saturating_sub(since);
        match self.files {
            Files::Frozen | Files::Loose => self.pause(now),
            Files::Asked if lasts >= AGENT_MAX_MS => {
                self.not_frozen = "the guest agent does not respond".to_owned();
                self.files = Files::Loose;
                self.pause(now);
            }
            Files::Told if lasts >= FREEZE_MAX_MS => {
                self.not_frozen = "the guest agent did not freeze them within 10 s".to_owned();
                self.pause(now);
            }
            Files::Asked | Files::Told => {}
        }
    }

    /// Lets the guest resume after the snapshots were taken.
    pub fn end(&mut self) {
        match self.phase {
            Phase::Stands(_) => self.phase = Phase::GoesOn,
            _ => self.give_up("it was ended before the guest stood still"),
        }
    }

    /// Lets the guest resume at once. The standstill then counts as broken.
    pub fn give_up(&mut self, why: &str) {
        if matches!(self.phase, Phase::GoesOn | Phase::Over) {
            return;
        }
        self.broken = Some(why.to_owned());
        // An agent that never responded has frozen nothing.
        if self.files == Files::Asked {
            self.files = Files::Loose;
        }
        self.phase = Phase::GoesOn;
    }

    /// Returns the outcome so far.
    pub fn outcome(&self) -> Outcome<'_> {
        match (&self.broken, self.phase) {
            (Some(why), _) => Outcome::Broken(why),
            (None, Phase::Freezes(_) | Phase::Pauses(_)) => Outcome::Begins,
            (None, Phase::Stands(_)) => Outcome::Stands,
            (None, Phase::GoesOn) => Outcome::GoesOn,
            (None, Phase::Over) => Outcome::Over,
        }
    }

    /// Returns why the file systems were not frozen; None: they were.
    pub fn not_frozen(&self) -> Option<&str> {
        (!self.was_frozen).then_some(&self.not_frozen)
    }

    /// Time since which the guest has to resume without a confirmed thaw, milliseconds: programs
    /// in the guest that write to the file systems are blocked. None: nothing is frozen.
    pub fn thaws_since(&self) -> Option<u64> {
        let is_thawing = self.phase == Phase::GoesOn && self.may_be_frozen();
        self.goes_on_at.filter(|_| is_thawing)
    }

    /// Returns for how long the guest was paused and its file systems were frozen, milliseconds.
    pub fn lasted(&self) -> (u64, u64) {
        (self.stood_ms, self.frozen_ms)
    }

    /// Returns the next time at which [`Standstill::turn`] has something to do, milliseconds.
    pub fn deadline(&self) -> Option<u64> {
        Some(match self.phase {
            Phase::Freezes(since) if self.files == Files::Told => since + FREEZE_MAX_MS,
            Phase::Freezes(since) => since + AGENT_MAX_MS,
            Phase::Pauses(since) => since + PAUSE_MAX_MS,
            Phase::Stands(since) => since + STAND_MAX_MS,
            Phase::GoesOn | Phase::Over => return None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn begun() -> Standstill {
        Standstill::begin(7, false, 0)
    }

    fn frozen() -> Standstill {
        let mut one = begun();
        one.told(10);
        assert_eq!(
            one.asks(Here::Runs),
            Some(Command::Freeze),
            "until it replies"
        );
        one.heard(Command::Freeze, Ok(()), 20);
        one.turn(Here::Runs, None, 20);
        one.turn(Here::Paused, None, 30);
        one
    }

    fn unfrozen() -> Standstill {
        let mut one = begun();
        one.turn(Here::Runs, None, AGENT_MAX_MS);
        one.turn(Here::Paused, None, AGENT_MAX_MS + 5);
        one
    }

    #[test]
    fn file_systems_are_frozen_then_the_guest_is_paused_and_both_end_in_turn() {
        let mut one = begun();
        assert_eq!(one.asks(Here::Runs), Some(Command::Freeze));
        assert!(!one.holds());
        one = frozen();
        assert_eq!((one.outcome(), one.holds()), (Outcome::Stands, true));
        assert_eq!(one.asks(Here::Paused), None);
        one.end();
        assert_eq!((one.outcome(), one.holds()), (Outcome::GoesOn, false));
        assert_eq!(one.asks(Here::Paused), None, "nobody hears it");
        one.turn(Here::Runs, None, 40);
        assert_eq!(one.asks(Here::Runs), Some(Command::Thaw));
        one.heard(Command::Thaw, Err("busy".to_owned()), 45);
        assert_eq!(one.asks(Here::Runs), Some(Command::Thaw), "again");
        one.heard(Command::Thaw, Ok(()), 60);
        one.turn(Here::Runs, None, 60);
        assert_eq!((one.outcome(), one.not_frozen()), (Outcome::Over, None));
        assert_eq!(one.lasted(), (20, 50));
        assert!(!one.may_be_frozen());
    }

    #[test]
    fn without_an_agent_the_guest_is_only_paused() {
        let mut one = unfrozen();
        assert_eq!(one.outcome(), Outcome::Stands);
        assert_eq!(one.not_frozen(), Some("the guest agent does not respond"));
        one.end();
        one.turn(Here::Runs, None, AGENT_MAX_MS + 9);
        assert_eq!((one.outcome(), one.lasted()), (Outcome::Over, (9, 0)));
    }

    #[test]
    fn an_agent_that_may_have_frozen_a_part_is_told_to_thaw() {
        for fails in [true, false] {
            let mut one = begun();
            one.told(10);
            if fails {
                one.heard(Command::Freeze, Err("timed out".to_owned()), 20);
            }
            let at = if fails { 21 } else { FREEZE_MAX_MS };
            one.turn(Here::Runs, None, at);
            one.turn(Here::Paused, None, at + 1);
            assert_eq!(one.outcome(), Outcome::Stands);
            assert!(one.not_frozen().is_some());
            one.end();
            assert_eq!(one.asks(Here::Runs), Some(Command::Thaw));
        }
        assert_eq!(Standstill::left(0).asks(Here::Runs), Some(Command::Thaw));
        // Without an agent the attempt to thaw ends after a time.
        let mut left = Standstill::left(0);
        left.heard(Command::Thaw, Err("no agent".to_owned()), 10);
        left.turn(Here::Runs, None, LEFT_MAX_MS - 1);
        assert!(left.may_be_frozen() && !left.is_over());
        left.turn(Here::Runs, None, LEFT_MAX_MS);
        assert!(!left.may_be_frozen() && left.is_over());
    }

    #[test]
    fn what_breaks_it_lets_the_guest_go_on_and_is_said() {
        type Break = fn(&mut Standstill);
        let breaks: [(Break, &str); 6] = [
            (|one| one.turn(Here::Runs, None, 50), "went on meanwhile"),
            (|one| one.turn(Here::Other, None, 50), "went on meanwhile"),
            (|one| one.turn(Here::Down, None, 50), "has ended"),
            (
                |one| one.turn(Here::Paused, Some("its lease"), 50),
                "its lease",
            ),
            (
                |one| one.turn(Here::Paused, None, 30 + STAND_MAX_MS),
                "longer than 10 s",
            ),
            (|one| one.give_up("the role ends"), "the role ends"),
        ];
        for (breaks, words) in breaks {
            let mut one = frozen();
            breaks(&mut one);
            assert!(!one.holds(), "{words}");
            // The outcome stays the same when the standstill is ended later.
            one.end();
            let Outcome::Broken(why) = one.outcome() else {
                panic!("{words}: {:?}", one.outcome());
            };
            assert!(why.contains(words), "{why}");
        }
        let mut slow = begun();
        slow.turn(Here::Runs, None, AGENT_MAX_MS);
        slow.turn(Here::Runs, None, AGENT_MAX_MS + PAUSE_MAX_MS);
        assert!(matches!(slow.outcome(), Outcome::Broken(why) if why.contains("requests")));
        let mut early = begun();
        early.end();
        assert!(matches!(early.outcome(), Outcome::Broken(_)));
        assert!(!early.may_be_frozen(), "nobody was told to freeze anything");
    }

    #[test]
    fn a_guest_that_is_down_stands_still_as_long_as_it_stays_down() {
        let mut one = Standstill::begin(1, true, 0);
        one.turn(Here::Down, None, 0);
        assert_eq!(
            (one.outcome(), one.asks(Here::Down)),
            (Outcome::Stands, None)
        );
        let mut other = one.clone();
        one.end();
        one.turn(Here::Down, None, 5);
        assert_eq!(one.outcome(), Outcome::Over);
        other.turn(Here::Other, None, 5);
        assert!(matches!(other.outcome(), Outcome::Broken(_)));
    }

    proptest! {
        /// After any sequence of events the standstill ends in time, and nothing stays frozen that
        /// the agent thaws.
        #[test]
        fn a_guest_never_stands_still_for_longer_than_its_limits(
            steps in proptest::collection::vec((0u8..8, 0u64..4_000), 0..60),
        ) {
            let (mut one, mut now, mut held_since) = (begun(), 0, None);
            for (what, passes) in steps {
                now += passes;
                match what {
                    0 => one.told(now),
                    1 => one.heard(Command::Freeze, Ok(()), now),
                    2 => one.heard(Command::Freeze, Err(String::new()), now),
                    3 => one.turn(Here::Paused, None, now),
                    4 => one.turn(Here::Runs, None, now),
                    5 => one.turn(Here::Other, None, now),
                    6 => one.end(),
                    _ => {}
                }
                // The role calls `turn` at each deadline.
                if one.deadline().is_some_and(|at| at <= now) {
                    one.turn(Here::Paused, None, now);
                }
                match one.holds() {
                    true => {
                        let since = *held_since.get_or_insert(now);
                        prop_assert!(now - since <= PAUSE_MAX_MS + STAND_MAX_MS + 2 * 4_000);
                    }
                    false => held_since = None,
                }
            }
            one.turn(Here::Runs, None, now + 60_000);
            for _ in 0..3 {
                now += 60_000;
                one.turn(Here::Runs, None, now);
            }
            prop_assert!(!one.holds());
            while let Some(command) = one.asks(Here::Runs) {
                one.heard(command, Ok(()), now);
                one.turn(Here::Runs, None, now);
            }
            prop_assert!(one.is_over() && !one.may_be_frozen());
        }
    }
}
