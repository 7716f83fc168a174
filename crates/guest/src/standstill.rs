//! Decides the steps of a standstill: a guest writes nothing while snapshots of all its disks are
//! taken, so that they show the same point in time. A pure state machine: the caller passes the
//! time and the state of the guest, and carries out the steps.
//!
//! - If the guest agent responds, it freezes the file systems first, so that they are consistent.
//!   Otherwise the snapshots are crash-consistent.
//! - The guest is then paused in any case, which also stops writes outside of file systems.
//! - Freezing, pausing and the standstill itself have timeouts, after which the guest resumes, even
//!   if the client that requested the standstill is gone.
//! - Thawing has no timeout: the request is repeated until the agent confirms it or the guest ends.
//!   Only a restarted role, which does not know whether anything is frozen, gives up after
//!   [`LEFT_MAX_MS`].
//! - A guest that does not run only has to stay down.
//!
//! A standstill is never reported as complete if the guest may have run meanwhile.

use crate::check::agent::AgentCommand;

pub const AGENT_MAX_MS: u64 = 3_000;
pub const FREEZE_MAX_MS: u64 = 10_000;
pub const PAUSE_MAX_MS: u64 = 5_000;
/// Time after which a restarted role gives up thawing the file systems that its predecessor may
/// have frozen, milliseconds. An agent that has frozen some responds within that time.
pub const LEFT_MAX_MS: u64 = 30_000;
pub const STAND_MAX_MS: u64 = 10_000;

/// State of the guest as seen by the role.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum GuestRunState {
    Runs,
    /// The virtual CPUs are stopped, and QEMU has confirmed it.
    Paused,
    Down,
    Other,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum StandstillPhase {
    /// The agent has been freezing the file systems since this time, milliseconds.
    Freezes(u64),
    Pauses(u64),
    Stands(u64),
    GoesOn,
    Over,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum FreezeState {
    Loose,
    /// A request was sent to the agent, which has not responded yet.
    Asked,
    /// The order to freeze was sent to an agent that responds, so file systems may be frozen.
    Told,
    Frozen,
}

/// Standstill of one guest: freeze, pause, snapshots, resume. Until [`Standstill::is_over`], the
/// caller reports the state of the guest to [`Standstill::turn`], sends the commands of
/// [`Standstill::next_agent_command`] to the agent, and keeps the guest paused while
/// [`Standstill::must_pause`] is true.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Standstill {
    number: u64,
    is_down: bool,
    phase: StandstillPhase,
    files: FreezeState,
    not_frozen: String,
    was_frozen: bool,
    /// Start time of the role process that found the standstill of its predecessor, milliseconds.
    left_since: Option<u64>,
    broken: Option<String>,
    paused_at: Option<u64>,
    frozen_at: Option<u64>,
    goes_on_at: Option<u64>,
    stood_ms: u64,
    frozen_ms: u64,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum StandstillOutcome<'a> {
    Begins,
    Stands,
    GoesOn,
    Over,
    Broken(&'a str),
}

impl Standstill {
    /// Starts a standstill. `is_down`: the guest does not run.
    pub fn begin(number: u64, is_down: bool, now: u64) -> Standstill {
        Standstill {
            number,
            is_down,
            phase: if is_down {
                StandstillPhase::Stands(now)
            } else {
                StandstillPhase::Freezes(now)
            },
            files: if is_down {
                FreezeState::Loose
            } else {
                FreezeState::Asked
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

    /// Continues the standstill of a previous role process. File systems may be frozen; nothing
    /// else is known.
    pub fn left(now: u64) -> Standstill {
        let mut left = Standstill::begin(0, false, now);
        left.files = FreezeState::Told;
        left.left_since = Some(now);
        left.abort_standstill("the guest role was restarted");
        left
    }

    pub fn number(&self) -> u64 {
        self.number
    }

    /// Returns whether the guest was down at the start.
    pub fn is_down(&self) -> bool {
        self.is_down
    }

    pub fn is_over(&self) -> bool {
        self.phase == StandstillPhase::Over
    }

    pub fn must_pause(&self) -> bool {
        matches!(
            self.phase,
            StandstillPhase::Pauses(_) | StandstillPhase::Stands(_)
        )
    }

    /// Returns whether file systems may be frozen, in which case a later role has to thaw them.
    pub fn may_be_frozen(&self) -> bool {
        self.files != FreezeState::Loose
    }

    pub fn next_agent_command(&self, here: GuestRunState) -> Option<AgentCommand> {
        match (self.phase, self.files) {
            (StandstillPhase::Freezes(_), FreezeState::Asked | FreezeState::Told) => {
                Some(AgentCommand::Freeze)
            }
            // Thaws the file systems only of a running guest: the agent of a paused one receives
            // nothing.
            (StandstillPhase::GoesOn, FreezeState::Told | FreezeState::Frozen)
                if here == GuestRunState::Runs =>
            {
                Some(AgentCommand::Thaw)
            }
            _ => None,
        }
    }

    /// Records that the agent has responded, so that a request may have an effect from now on.
    pub fn record_agent_response(&mut self, now: u64) {
        if self.files == FreezeState::Asked {
            self.files = FreezeState::Told;
            self.frozen_at = Some(now);
        }
    }

    pub fn record_command_result(
        &mut self,
        command: AgentCommand,
        result: Result<(), String>,
        now: u64,
    ) {
        match (command, result) {
            (AgentCommand::Freeze, Ok(())) if self.files == FreezeState::Told => {
                self.files = FreezeState::Frozen
            }
            (AgentCommand::Freeze, Err(words)) => {
                self.not_frozen = words;
                // Keeps the state of an agent that received the order and failed, which may have
                // frozen some file systems.
                if self.files == FreezeState::Asked {
                    self.files = FreezeState::Loose;
                }
                if let StandstillPhase::Freezes(_) = self.phase {
                    self.pause(now);
                }
            }
            (AgentCommand::Thaw, Ok(())) => self.loosen(now),
            _ => {}
        }
    }

    fn loosen(&mut self, now: u64) {
        self.files = FreezeState::Loose;
        self.frozen_ms = self.frozen_at.take().map_or(0, |at| now.saturating_sub(at));
    }

    fn pause(&mut self, now: u64) {
        self.phase = StandstillPhase::Pauses(now);
        self.paused_at = Some(now);
    }

    /// Applies the state of the guest. `no`: reason why the guest may no longer be paused here.
    pub fn turn(&mut self, here: GuestRunState, no: Option<&str>, now: u64) {
        if here == GuestRunState::Down && !self.is_down {
            self.abort_standstill("the guest has ended");
            self.loosen(now);
        }
        if let Some(no) = no {
            self.abort_standstill(no);
        }
        // Gives up thawing: an agent that never responded has frozen nothing, and confirms nothing.
        if self
            .left_since
            .is_some_and(|since| now >= since.saturating_add(LEFT_MAX_MS))
        {
            self.left_since = None;
            self.loosen(now);
        }
        match self.phase {
            StandstillPhase::Freezes(since) => self.freezing(since, now),
            StandstillPhase::Pauses(_) if here == GuestRunState::Paused => {
                self.was_frozen = self.files == FreezeState::Frozen;
                self.phase = StandstillPhase::Stands(now);
            }
            StandstillPhase::Pauses(since) if now >= since.saturating_add(PAUSE_MAX_MS) => {
                self.abort_standstill("QEMU did not end the requests to the disks within 5 s");
            }
            StandstillPhase::Stands(_) if here != self.still() => {
                self.abort_standstill("the guest continued meanwhile")
            }
            StandstillPhase::Stands(since) if now >= since.saturating_add(STAND_MAX_MS) => {
                self.abort_standstill("it took longer than 10 s, so the guest continued");
            }
            _ => {}
        }
        if self.phase == StandstillPhase::GoesOn {
            self.goes_on_at.get_or_insert(now);
        }
        if self.phase == StandstillPhase::GoesOn && here != GuestRunState::Paused {
            if let Some(at) = self.paused_at.take() {
                self.stood_ms = now.saturating_sub(at);
            }
            if self.files == FreezeState::Loose {
                self.phase = StandstillPhase::Over;
            }
        }
    }

    fn still(&self) -> GuestRunState {
        if self.is_down {
            GuestRunState::Down
        } else {
            GuestRunState::Paused
        }
    }

    fn freezing(&mut self, since: u64, now: u64) {
        let lasts = now.saturating_sub(since);
        match self.files {
            FreezeState::Frozen | FreezeState::Loose => self.pause(now),
            FreezeState::Asked if lasts >= AGENT_MAX_MS => {
                self.not_frozen = "the guest agent does not respond".to_owned();
                self.files = FreezeState::Loose;
                self.pause(now);
            }
            FreezeState::Told if lasts >= FREEZE_MAX_MS => {
                self.not_frozen = "the guest agent did not freeze them within 10 s".to_owned();
                self.pause(now);
            }
            FreezeState::Asked | FreezeState::Told => {}
        }
    }

    /// Lets the guest resume after the snapshots were taken.
    pub fn end(&mut self) {
        match self.phase {
            StandstillPhase::Stands(_) => self.phase = StandstillPhase::GoesOn,
            _ => self.abort_standstill("it was stopped before the guest was paused"),
        }
    }

    /// Lets the guest resume at once. The standstill then counts as failed.
    pub fn abort_standstill(&mut self, why: &str) {
        if matches!(self.phase, StandstillPhase::GoesOn | StandstillPhase::Over) {
            return;
        }
        self.broken = Some(why.to_owned());
        // Counts the files of an agent that never responded as not frozen.
        if self.files == FreezeState::Asked {
            self.files = FreezeState::Loose;
        }
        self.phase = StandstillPhase::GoesOn;
    }

    pub fn outcome(&self) -> StandstillOutcome<'_> {
        match (&self.broken, self.phase) {
            (Some(why), _) => StandstillOutcome::Broken(why),
            (None, StandstillPhase::Freezes(_) | StandstillPhase::Pauses(_)) => {
                StandstillOutcome::Begins
            }
            (None, StandstillPhase::Stands(_)) => StandstillOutcome::Stands,
            (None, StandstillPhase::GoesOn) => StandstillOutcome::GoesOn,
            (None, StandstillPhase::Over) => StandstillOutcome::Over,
        }
    }

    /// Returns why the file systems were not frozen; None: they were.
    pub fn not_frozen(&self) -> Option<&str> {
        (!self.was_frozen).then_some(&self.not_frozen)
    }

    /// Returns the time since which the guest has to resume without a confirmed thaw, milliseconds:
    /// programs in the guest that write to the file systems are blocked. None: nothing is frozen.
    pub fn thaws_since(&self) -> Option<u64> {
        let is_thawing = self.phase == StandstillPhase::GoesOn && self.may_be_frozen();
        self.goes_on_at.filter(|_| is_thawing)
    }

    /// Returns for how long the guest was paused, and for how long its file systems were frozen,
    /// milliseconds.
    pub fn lasted(&self) -> (u64, u64) {
        (self.stood_ms, self.frozen_ms)
    }

    pub fn deadline(&self) -> Option<u64> {
        Some(match self.phase {
            StandstillPhase::Freezes(since) if self.files == FreezeState::Told => {
                since + FREEZE_MAX_MS
            }
            StandstillPhase::Freezes(since) => since + AGENT_MAX_MS,
            StandstillPhase::Pauses(since) => since + PAUSE_MAX_MS,
            StandstillPhase::Stands(since) => since + STAND_MAX_MS,
            StandstillPhase::GoesOn | StandstillPhase::Over => return None,
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
        one.record_agent_response(10);
        assert_eq!(
            one.next_agent_command(GuestRunState::Runs),
            Some(AgentCommand::Freeze),
            "until it replies"
        );
        one.record_command_result(AgentCommand::Freeze, Ok(()), 20);
        one.turn(GuestRunState::Runs, None, 20);
        one.turn(GuestRunState::Paused, None, 30);
        one
    }

    fn unfrozen() -> Standstill {
        let mut one = begun();
        one.turn(GuestRunState::Runs, None, AGENT_MAX_MS);
        one.turn(GuestRunState::Paused, None, AGENT_MAX_MS + 5);
        one
    }

    #[test]
    fn file_systems_are_frozen_then_the_guest_is_paused_and_both_end_in_turn() {
        let mut one = begun();
        assert_eq!(
            one.next_agent_command(GuestRunState::Runs),
            Some(AgentCommand::Freeze)
        );
        assert!(!one.must_pause());
        one = frozen();
        assert_eq!(
            (one.outcome(), one.must_pause()),
            (StandstillOutcome::Stands, true)
        );
        assert_eq!(one.next_agent_command(GuestRunState::Paused), None);
        one.end();
        assert_eq!(
            (one.outcome(), one.must_pause()),
            (StandstillOutcome::GoesOn, false)
        );
        assert_eq!(
            one.next_agent_command(GuestRunState::Paused),
            None,
            "nobody hears it"
        );
        one.turn(GuestRunState::Runs, None, 40);
        assert_eq!(
            one.next_agent_command(GuestRunState::Runs),
            Some(AgentCommand::Thaw)
        );
        one.record_command_result(AgentCommand::Thaw, Err("busy".to_owned()), 45);
        assert_eq!(
            one.next_agent_command(GuestRunState::Runs),
            Some(AgentCommand::Thaw),
            "again"
        );
        one.record_command_result(AgentCommand::Thaw, Ok(()), 60);
        one.turn(GuestRunState::Runs, None, 60);
        assert_eq!(
            (one.outcome(), one.not_frozen()),
            (StandstillOutcome::Over, None)
        );
        assert_eq!(one.lasted(), (20, 50));
        assert!(!one.may_be_frozen());
    }

    #[test]
    fn without_an_agent_the_guest_is_only_paused() {
        let mut one = unfrozen();
        assert_eq!(one.outcome(), StandstillOutcome::Stands);
        assert_eq!(one.not_frozen(), Some("the guest agent does not respond"));
        one.end();
        one.turn(GuestRunState::Runs, None, AGENT_MAX_MS + 9);
        assert_eq!(
            (one.outcome(), one.lasted()),
            (StandstillOutcome::Over, (9, 0))
        );
    }

    #[test]
    fn an_agent_that_may_have_frozen_a_part_is_told_to_thaw() {
        for fails in [true, false] {
            let mut one = begun();
            one.record_agent_response(10);
            if fails {
                one.record_command_result(AgentCommand::Freeze, Err("timed out".to_owned()), 20);
            }
            let at = if fails { 21 } else { FREEZE_MAX_MS };
            one.turn(GuestRunState::Runs, None, at);
            one.turn(GuestRunState::Paused, None, at + 1);
            assert_eq!(one.outcome(), StandstillOutcome::Stands);
            assert!(one.not_frozen().is_some());
            one.end();
            assert_eq!(
                one.next_agent_command(GuestRunState::Runs),
                Some(AgentCommand::Thaw)
            );
        }
        assert_eq!(
            Standstill::left(0).next_agent_command(GuestRunState::Runs),
            Some(AgentCommand::Thaw)
        );
        // If no agent responds, the attempt to thaw ends after a time.
        let mut left = Standstill::left(0);
        left.record_command_result(AgentCommand::Thaw, Err("no agent".to_owned()), 10);
        left.turn(GuestRunState::Runs, None, LEFT_MAX_MS - 1);
        assert!(left.may_be_frozen() && !left.is_over());
        left.turn(GuestRunState::Runs, None, LEFT_MAX_MS);
        assert!(!left.may_be_frozen() && left.is_over());
    }

    #[test]
    fn a_failed_quiesce_continues_the_guest_with_the_reason() {
        type Break = fn(&mut Standstill);
        let breaks: [(Break, &str); 6] = [
            (
                |one| one.turn(GuestRunState::Runs, None, 50),
                "continued meanwhile",
            ),
            (
                |one| one.turn(GuestRunState::Other, None, 50),
                "continued meanwhile",
            ),
            (|one| one.turn(GuestRunState::Down, None, 50), "has ended"),
            (
                |one| one.turn(GuestRunState::Paused, Some("its lease"), 50),
                "its lease",
            ),
            (
                |one| one.turn(GuestRunState::Paused, None, 30 + STAND_MAX_MS),
                "longer than 10 s",
            ),
            (|one| one.abort_standstill("the role ends"), "the role ends"),
        ];
        for (breaks, words) in breaks {
            let mut one = frozen();
            breaks(&mut one);
            assert!(!one.must_pause(), "{words}");
            // The outcome stays the same when the standstill is ended later.
            one.end();
            let StandstillOutcome::Broken(why) = one.outcome() else {
                panic!("{words}: {:?}", one.outcome());
            };
            assert!(why.contains(words), "{why}");
        }
        let mut slow = begun();
        slow.turn(GuestRunState::Runs, None, AGENT_MAX_MS);
        slow.turn(GuestRunState::Runs, None, AGENT_MAX_MS + PAUSE_MAX_MS);
        assert!(
            matches!(slow.outcome(), StandstillOutcome::Broken(why) if why.contains("requests"))
        );
        let mut early = begun();
        early.end();
        assert!(matches!(early.outcome(), StandstillOutcome::Broken(_)));
        assert!(!early.may_be_frozen(), "nobody was told to freeze anything");
    }

    #[test]
    fn a_guest_that_is_down_counts_as_quiesced() {
        let mut one = Standstill::begin(1, true, 0);
        one.turn(GuestRunState::Down, None, 0);
        assert_eq!(
            (one.outcome(), one.next_agent_command(GuestRunState::Down)),
            (StandstillOutcome::Stands, None)
        );
        let mut other = one.clone();
        one.end();
        one.turn(GuestRunState::Down, None, 5);
        assert_eq!(one.outcome(), StandstillOutcome::Over);
        other.turn(GuestRunState::Other, None, 5);
        assert!(matches!(other.outcome(), StandstillOutcome::Broken(_)));
    }

    proptest! {
            /// Tests that the standstill ends in time after any sequence of events, and that
            /// nothing stays frozen if the agent can thaw it.
            #[test]
            fn a_guest_is_never_paused_beyond_its_limits(
                steps in proptest::collection::vec((0u8..8, 0u64..4_000), 0..60),
            ) {
                let (mut one, mut now, mut held_since) = (begun(), 0, None);
                for (what, passes) in steps {
                    now += passes;
                    match what {
                        0 => one.record_agent_response(now),
                        1 => one.record_command_result(AgentCommand::Freeze, Ok(()), now),
                        2 => one.record_command_result(AgentCommand::Freeze, Err(String::new()), now),
                        3 => one.turn(GuestRunState::Paused, None, now),
                        4 => one.turn(GuestRunState::Runs, None, now),
                        5 => one.turn(GuestRunState::Other, None, now),
                        6 => one.end(),
                        _ => {}
                    }
                    // The role calls `turn` at each deadline.
                    if one.deadline().is_some_and(|at| at <= now) {
                        one.turn(GuestRunState::Paused, None, now);
                    }
                    if one.must_pause() {
                            let since = *held_since.get_or_insert(now);
                            prop_assert!(now - since <= PAUSE_MAX_MS + STAND_MAX_MS + 2 * 4_000);
                        } else {
    held_since = None
    }
                }
                one.turn(GuestRunState::Runs, None, now + 60_000);
                for _ in 0..3 {
                    now += 60_000;
                    one.turn(GuestRunState::Runs, None, now);
                }
                prop_assert!(!one.must_pause());
                while let Some(command) = one.next_agent_command(GuestRunState::Runs) {
                    one.record_command_result(command, Ok(()), now);
                    one.turn(GuestRunState::Runs, None, now);
                }
                prop_assert!(one.is_over() && !one.may_be_frozen());
            }
        }
}
