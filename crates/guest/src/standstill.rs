//! A standstill of a guest, as a value: it writes nothing while snapshots of all its disks are taken,
//! so that all of them are of one point in time. It starts nothing and reads no clock.
//!
//! - Where the guest agent responds, it freezes the file systems first, so that they are consistent;
//!   otherwise the snapshots are as after a loss of power.
//! - Then the guest is paused, in each case: what is on no file system stands still as well.
//! - Each step has a time after which the guest goes on, whatever has become of who wanted it. File
//!   systems that may be frozen are thawed until the agent has confirmed it or the guest has ended.
//! - A guest that does not run stands still by not being started.
//!
//! It never says that a guest stood still if it may have run meanwhile.

use crate::check::agent::Command;

/// How long the guest agent may take to respond, milliseconds.
pub const AGENT_MAX_MS: u64 = 3_000;
/// How long it may take to freeze the file systems, milliseconds.
pub const FREEZE_MAX_MS: u64 = 10_000;
/// How long QEMU may take to end the requests to the disks, milliseconds.
pub const PAUSE_MAX_MS: u64 = 5_000;
/// How long the role that follows one which was killed tries to thaw file systems. An agent that froze
/// some responds within that time.
pub const LEFT_MAX_MS: u64 = 30_000;
/// How long the guest stands still at most, milliseconds.
pub const STAND_MAX_MS: u64 = 10_000;

/// How the guest is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Here {
    /// Its processors run.
    Runs,
    /// They do not, and QEMU has confirmed it.
    Paused,
    /// There is no process.
    Down,
    /// Something else, such as a disk with an error.
    Other,
}

/// How far it is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Phase {
    /// The agent freezes the file systems, since.
    Freezes(u64),
    /// QEMU pauses it, since.
    Pauses(u64),
    /// It stands still, since.
    Stands(u64),
    /// It is to go on.
    GoesOn,
    /// It goes on.
    Over,
}

/// The file systems.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Files {
    /// They are not frozen.
    Loose,
    /// The agent was asked, and has not responded.
    Asked,
    /// The agent has been told to freeze them.
    Told,
    /// They are frozen.
    Frozen,
}

/// The standstill.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Standstill {
    number: u64,
    is_down: bool,
    phase: Phase,
    files: Files,
    /// Why the file systems were not frozen.
    not_frozen: String,
    /// They were, when the guest stood still.
    was_frozen: bool,
    /// When the role began that found it.
    left_since: Option<u64>,
    /// Why the guest did not stand still until the end.
    broken: Option<String>,
    /// When it was told to pause, and to freeze.
    paused_at: Option<u64>,
    frozen_at: Option<u64>,
    /// When it was to go on.
    goes_on_at: Option<u64>,
    stood_ms: u64,
    frozen_ms: u64,
}

/// What became of it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Outcome<'a> {
    /// It does not stand still yet.
    Begins,
    /// It stands still.
    Stands,
    /// It stood still until the end, and is to go on.
    GoesOn,
    /// It stood still until the end, and goes on.
    Over,
    /// It did not stand still until the end, and why.
    Broken(&'a str),
}

impl Standstill {
    /// Begins. `is_down`: the guest does not run.
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

    /// One that a former role began, of which nothing is known but that file systems may be frozen.
    pub fn left(now: u64) -> Standstill {
        let mut left = Standstill::begin(0, false, now);
        left.files = Files::Told;
        left.left_since = Some(now);
        left.give_up("the guest role was restarted");
        left
    }

    /// The number with which it was begun.
    pub fn number(&self) -> u64 {
        self.number
    }

    /// Whether the guest was down.
    pub fn is_down(&self) -> bool {
        self.is_down
    }

    /// Whether nothing is left to be done.
    pub fn is_over(&self) -> bool {
        self.phase == Phase::Over
    }

    /// Whether the guest is not to run.
    pub fn holds(&self) -> bool {
        matches!(self.phase, Phase::Pauses(_) | Phase::Stands(_))
    }

    /// Whether file systems may be frozen: the next role has to thaw them.
    pub fn may_be_frozen(&self) -> bool {
        self.files != Files::Loose
    }

    /// What the agent is to be told now.
    pub fn asks(&self, here: Here) -> Option<Command> {
        match (self.phase, self.files) {
            (Phase::Freezes(_), Files::Asked | Files::Told) => Some(Command::Freeze),
            // It hears nothing while the guest is paused.
            (Phase::GoesOn, Files::Told | Files::Frozen) if here == Here::Runs => {
                Some(Command::Thaw)
            }
            _ => None,
        }
    }

    /// The agent has responded: what it was asked may take effect from now on.
    pub fn told(&mut self, now: u64) {
        if self.files == Files::Asked {
            self.files = Files::Told;
            self.frozen_at = Some(now);
        }
    }

    /// The result of what the agent was asked.
    pub fn heard(&mut self, command: Command, result: Result<(), String>, now: u64) {
        match (command, result) {
            (Command::Freeze, Ok(())) if self.files == Files::Told => self.files = Files::Frozen,
            (Command::Freeze, Err(words)) => {
                self.not_frozen = words;
                // One that was told and failed may have frozen some of them.
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

    /// Takes in how the guest is. `no`: why it may not stand still here any longer.
    pub fn turn(&mut self, here: Here, no: Option<&str>, now: u64) {
        if here == Here::Down && !self.is_down {
            self.give_up("the guest has ended");
            self.loosen(now);
        }
        if let Some(no) = no {
            self.give_up(no);
        }
        // Without an agent nothing was frozen, and nobody says so.
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

    /// The guest goes on: what was to be done meanwhile is done.
    pub fn end(&mut self) {
        match self.phase {
            Phase::Stands(_) => self.phase = Phase::GoesOn,
            _ => self.give_up("it was ended before the guest stood still"),
        }
    }

    /// The guest goes on at once, and did not stand still until the end.
    pub fn give_up(&mut self, why: &str) {
        if matches!(self.phase, Phase::GoesOn | Phase::Over) {
            return;
        }
        self.broken = Some(why.to_owned());
        // An agent that was not told anything cannot do anything.
        if self.files == Files::Asked {
            self.files = Files::Loose;
        }
        self.phase = Phase::GoesOn;
    }

    /// What became of it.
    pub fn outcome(&self) -> Outcome<'_> {
        match (&self.broken, self.phase) {
            (Some(why), _) => Outcome::Broken(why),
            (None, Phase::Freezes(_) | Phase::Pauses(_)) => Outcome::Begins,
            (None, Phase::Stands(_)) => Outcome::Stands,
            (None, Phase::GoesOn) => Outcome::GoesOn,
            (None, Phase::Over) => Outcome::Over,
        }
    }

    /// Why the file systems were not frozen; None: they were.
    pub fn not_frozen(&self) -> Option<&str> {
        (!self.was_frozen).then_some(&self.not_frozen)
    }

    /// Since when the guest is to go on and its agent has not confirmed that the file systems are
    /// thawed, milliseconds: programs of the guest that write to them wait. None: nothing is frozen.
    pub fn thaws_since(&self) -> Option<u64> {
        let is_thawing = self.phase == Phase::GoesOn && self.may_be_frozen();
        self.goes_on_at.filter(|_| is_thawing)
    }

    /// How long the guest stood still, and how long its file systems were frozen, milliseconds.
    pub fn lasted(&self) -> (u64, u64) {
        (self.stood_ms, self.frozen_ms)
    }

    /// When [`Standstill::turn`] has something to do by itself, milliseconds.
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
        // Without an agent it is over one day.
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
            // It stays so, whoever ends it.
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
        /// Whatever happens: it ends, in time, and nothing stays frozen that the agent thaws.
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
                // The role looks at each deadline.
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
