//! Decides the steps of a live migration on the node that the guest leaves, as a state machine
//! without I/O and clock.

use super::{MigrationDefect, MigrationMessage, Progress};
use crate::defect::InjectedDefect;

/// Timeout for QEMU of the target to listen, milliseconds.
const ASK_MAX_MS: u64 = 90_000;
/// Minimum timeout for copying the memory, milliseconds.
const COPY_MAX_MS: u64 = 600_000;
/// Rate by which the timeout for copying the memory grows with the memory, bytes per millisecond.
const COPY_BYTES_A_MS: u64 = 20_000;
const SWITCH_MAX_MS: u64 = 30_000;
const REST_MAX_MS: u64 = 60_000;
const RETURN_MAX_MS: u64 = 60_000;
const CANCEL_AGAIN_MS: u64 = 5_000;
const CANCEL_MAX_MS: u64 = 60_000;

/// Initial maximum of the guest's downtime while the rest of its memory is copied, as estimated by
/// QEMU (`downtime-limit`), milliseconds.
pub const STANDSTILL_MS: u64 = 30;
/// Final maximum of the downtime after several doublings, milliseconds.
const STANDSTILL_MAX_MS: u64 = 300;
/// Number of passes through the memory with the initial downtime limit. The limit then doubles
/// every two passes.
const PASSES: u64 = 5;

fn standstill_ms(pass: u64) -> u64 {
    let doublings = pass.saturating_sub(PASSES).div_ceil(2).min(8);
    (STANDSTILL_MS << doublings).min(STANDSTILL_MAX_MS)
}

/// Order for QEMU or for the connection to the target.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum SourceOrder {
    Migrate,
    Standstill(u64),
    /// Let QEMU complete the migration (`migrate-continue`).
    Continue,
    Cancel,
    Send(MigrationMessage),
}

/// Phase of a migration on its source. Asking: the target prepares the guest. Copying: the memory
/// is copied while the guest runs. Switching: the guest is paused, and its volumes are handed over.
/// Completing: the rest of the memory is copied. Returning: the volumes return to this node.
/// Cancelling: QEMU was ordered to cancel.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum SourcePhase {
    Asking,
    Copying,
    Switching,
    Completing,
    Returning,
    Cancelling,
    Ended,
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub enum MigrationOutcome {
    Moved,
    Stays(String),
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Input {
    Heard(MigrationMessage),
    Lost(String),
    Qemu(Progress),
    /// QEMU starts this pass through the memory, counted from 1.
    Pass(u64),
    Stop(String),
}

/// Resources of the guest that the source node holds now.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct SourceResources {
    pub has_lease: bool,
    pub has_volumes: bool,
}

/// Source side of one migration, from the connection to the target to a [`MigrationOutcome`]. The
/// caller executes the orders of [`MigrationSource::apply_input`] and [`MigrationSource::next`]. A
/// failure before QEMU has completed the migration leaves the guest here.
#[derive(Clone, Debug)]
pub struct MigrationSource {
    phase: SourcePhase,
    until: u64,
    cancel_at: u64,
    memory_bytes: u64,
    still_since: u64,
    is_ready: bool,
    why: Option<String>,
    outcome: Option<MigrationOutcome>,
    broken: InjectedDefect<MigrationDefect>,
}

impl MigrationSource {
    /// Starts the migration of a guest with this much memory. The connection to the target is
    /// being established.
    pub fn new(memory_bytes: u64, now: u64) -> MigrationSource {
        MigrationSource {
            phase: SourcePhase::Asking,
            until: now.saturating_add(ASK_MAX_MS),
            cancel_at: 0,
            memory_bytes,
            still_since: now,
            is_ready: false,
            why: None,
            outcome: None,
            broken: InjectedDefect::default(),
        }
    }

    #[cfg(test)]
    pub(super) fn with(self, broken: Option<MigrationDefect>) -> MigrationSource {
        let broken = InjectedDefect::new(broken);
        MigrationSource { broken, ..self }
    }

    pub fn outcome(&self) -> Option<&MigrationOutcome> {
        self.outcome.as_ref()
    }

    pub fn hands_over(&self) -> bool {
        match self.phase {
            SourcePhase::Switching | SourcePhase::Completing => true,
            SourcePhase::Ended => self.outcome == Some(MigrationOutcome::Moved),
            _ => false,
        }
    }

    pub fn words(&self) -> &'static str {
        match self.phase {
            SourcePhase::Asking => "the other node prepares it",
            SourcePhase::Copying => "its memory is copied while it runs",
            SourcePhase::Switching => "paused: its volumes are switched to the target",
            SourcePhase::Completing => "paused: the rest of its memory is copied",
            SourcePhase::Returning => {
                "paused: its volumes return to this node, where it then continues"
            }
            SourcePhase::Cancelling => "its move is cancelled: it goes on here",
            SourcePhase::Ended => "the other node continues it",
        }
    }

    pub fn deadline(&self) -> Option<u64> {
        let until = match self.phase {
            SourcePhase::Completing | SourcePhase::Cancelling => self.until.min(self.cancel_at),
            _ => self.until,
        };
        (self.phase != SourcePhase::Ended).then_some(until)
    }

    fn enter(&mut self, phase: SourcePhase, limit: u64, now: u64) {
        self.phase = phase;
        self.until = now.saturating_add(limit);
    }

    fn cancel(&mut self, now: u64) -> SourceOrder {
        self.enter(SourcePhase::Cancelling, CANCEL_MAX_MS, now);
        self.cancel_at = now.saturating_add(CANCEL_AGAIN_MS);
        SourceOrder::Cancel
    }

    fn end(&mut self, outcome: MigrationOutcome) {
        self.phase = SourcePhase::Ended;
        self.outcome = Some(outcome);
    }

    pub fn apply_input(&mut self, input: Input, now: u64) -> Vec<SourceOrder> {
        match input {
            Input::Heard(MigrationMessage::Listening) if self.phase == SourcePhase::Asking => {
                let limit = COPY_MAX_MS.max(self.memory_bytes / COPY_BYTES_A_MS);
                self.enter(SourcePhase::Copying, limit, now);
                vec![SourceOrder::Migrate]
            }
            Input::Heard(MigrationMessage::Ready) => {
                self.is_ready = self.phase == SourcePhase::Switching;
                Vec::new()
            }
            Input::Heard(MigrationMessage::Abort(words))
            | Input::Lost(words)
            | Input::Stop(words) => self.fail(words, now),
            Input::Heard(_) => Vec::new(),
            Input::Qemu(progress) => self.qemu(progress, now),
            Input::Pass(pass) if self.phase == SourcePhase::Copying => {
                let ms = standstill_ms(pass);
                let is_new = ms != standstill_ms(pass.saturating_sub(1));
                is_new
                    .then_some(SourceOrder::Standstill(ms))
                    .into_iter()
                    .collect()
            }
            Input::Pass(_) => Vec::new(),
        }
    }

    fn qemu(&mut self, progress: Progress, now: u64) -> Vec<SourceOrder> {
        match (progress, self.phase) {
            (_, SourcePhase::Ended | SourcePhase::Asking) | (Progress::Active, _) => Vec::new(),
            (Progress::Paused, SourcePhase::Copying) => {
                self.enter(SourcePhase::Switching, SWITCH_MAX_MS, now);
                self.still_since = now;
                vec![SourceOrder::Send(MigrationMessage::Switch)]
            }
            (Progress::Paused, _) => Vec::new(),
            (Progress::Completed, SourcePhase::Completing) => {
                self.end(MigrationOutcome::Moved);
                let still_ms = now.saturating_sub(self.still_since);
                vec![SourceOrder::Send(MigrationMessage::Done { still_ms })]
            }
            // Keeps the guest on this node: the target has been informed that the migration failed,
            // so the guest is started again from its disks here.
            (Progress::Completed, _) => {
                self.stay("QEMU completed the migration without an order".to_owned())
            }
            // Ends the migration: QEMU has let the guest run again by itself.
            (Progress::Failed(words), _) => self.stay(words),
            (Progress::Gone, _) => self.stay("its QEMU ended".to_owned()),
        }
    }

    fn stay(&mut self, words: String) -> Vec<SourceOrder> {
        let why = self.why.take().unwrap_or(words);
        self.end(MigrationOutcome::Stays(why.clone()));
        vec![SourceOrder::Send(MigrationMessage::Abort(why))]
    }

    /// Ends the migration after the timeout of its last phase, so that no phase lasts forever.
    fn end_late(&mut self, words: &str) -> Vec<SourceOrder> {
        let why = self
            .why
            .take()
            .map_or_else(|| words.to_owned(), |why| format!("{why}; and {words}"));
        self.stay(why)
    }

    fn fail(&mut self, words: String, now: u64) -> Vec<SourceOrder> {
        match self.phase {
            SourcePhase::Asking => self.stay(words),
            SourcePhase::Copying => {
                self.why = Some(words.clone());
                let cancel = self.cancel(now);
                vec![SourceOrder::Send(MigrationMessage::Abort(words)), cancel]
            }
            SourcePhase::Switching => {
                self.why = Some(words.clone());
                self.enter(SourcePhase::Returning, RETURN_MAX_MS, now);
                vec![SourceOrder::Send(MigrationMessage::Abort(words))]
            }
            // Waits, because only the result that QEMU reports decides.
            SourcePhase::Completing => {
                self.why.get_or_insert(words);
                Vec::new()
            }
            SourcePhase::Returning | SourcePhase::Cancelling | SourcePhase::Ended => Vec::new(),
        }
    }

    pub fn next(&mut self, here: SourceResources, now: u64) -> Vec<SourceOrder> {
        match self.phase {
            SourcePhase::Switching if here.has_lease && self.is_ready => {
                self.enter(SourcePhase::Completing, REST_MAX_MS + CANCEL_MAX_MS, now);
                self.cancel_at = now.saturating_add(REST_MAX_MS);
                vec![SourceOrder::Continue]
            }
            // Cancels the migration, which lets the guest run, only with the lease and the volumes.
            SourcePhase::Returning
                if (here.has_lease || self.broken.is(&MigrationDefect::ReturnsWithoutLease))
                    && (here.has_volumes
                        || self.broken.is(&MigrationDefect::ReturnsWithoutVolumes)) =>
            {
                vec![self.cancel(now)]
            }
            // Ends the migration with the guest paused. The role continues the guest when this node
            // has the lease and the volumes again.
            SourcePhase::Returning if now >= self.until => {
                let lacks = if here.has_lease {
                    "its volumes have not returned"
                } else {
                    "its lease has not returned"
                };
                self.end_late(&format!(
                    "{lacks} within {} s: the guest stays paused until then",
                    RETURN_MAX_MS / 1000
                ))
            }
            SourcePhase::Asking if now >= self.until => {
                self.fail("the other node did not prepare it in time".to_owned(), now)
            }
            SourcePhase::Copying if now >= self.until => {
                let words = "its memory changes faster than it can be copied";
                self.fail(words.to_owned(), now)
            }
            SourcePhase::Switching if now >= self.until => {
                let words = "its volumes were not switched to the target in time";
                self.fail(words.to_owned(), now)
            }
            // Ends the migration without a result of QEMU: a target that has received no `Done`
            // does not let the guest run.
            SourcePhase::Completing | SourcePhase::Cancelling if now >= self.until => self
                .end_late(&format!(
                    "QEMU has not confirmed within {} s that it cancelled the move",
                    CANCEL_MAX_MS / 1000
                )),
            SourcePhase::Completing if now >= self.cancel_at => {
                self.why
                    .get_or_insert("the rest was not copied in time".to_owned());
                self.cancel_at = now.saturating_add(CANCEL_AGAIN_MS);
                vec![SourceOrder::Cancel]
            }
            SourcePhase::Cancelling if now >= self.cancel_at => {
                self.cancel_at = now.saturating_add(CANCEL_AGAIN_MS);
                vec![SourceOrder::Cancel]
            }
            _ => Vec::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HERE: SourceResources = SourceResources {
        has_lease: true,
        has_volumes: true,
    };
    const NOWHERE: SourceResources = SourceResources {
        has_lease: false,
        has_volumes: false,
    };

    /// Returns a migration in each phase that waits for an event.
    fn waiting() -> Vec<MigrationSource> {
        let asking = MigrationSource::new(1 << 30, 0);
        let mut copying = asking.clone();
        copying.apply_input(Input::Heard(MigrationMessage::Listening), 0);
        let mut cancelling = copying.clone();
        cancelling.apply_input(Input::Stop("an operator".to_owned()), 0);
        let mut switching = copying.clone();
        switching.apply_input(Input::Qemu(Progress::Paused), 0);
        let mut returning = switching.clone();
        returning.apply_input(Input::Lost("cut".to_owned()), 0);
        let mut completing = switching.clone();
        completing.apply_input(Input::Heard(MigrationMessage::Ready), 0);
        assert_eq!(completing.next(HERE, 0), [SourceOrder::Continue]);
        vec![
            asking, copying, cancelling, switching, returning, completing,
        ]
    }

    #[test]
    fn every_phase_ends_without_any_response() {
        let longest = COPY_MAX_MS + RETURN_MAX_MS + CANCEL_MAX_MS;
        for here in [HERE, NOWHERE] {
            for mut source in waiting() {
                let phase = source.phase;
                let mut turns = 0;
                while let Some(at) = source.deadline() {
                    assert!(at <= longest, "{phase:?} waits until {at}");
                    source.next(here, at);
                    turns += 1;
                    assert!(turns < 100, "{phase:?} does not end");
                }
                let outcome = source.outcome();
                assert!(
                    matches!(outcome, Some(MigrationOutcome::Stays(why)) if !why.is_empty()),
                    "{phase:?}: {outcome:?}"
                );
                assert!(!source.hands_over(), "{phase:?}");
            }
        }
    }

    #[test]
    fn guest_stays_paused_while_its_volumes_are_elsewhere() {
        let mut source = waiting().remove(4);
        let lacks = SourceResources {
            has_lease: true,
            has_volumes: false,
        };
        assert_eq!(source.next(lacks, RETURN_MAX_MS - 1), []);
        let orders = source.next(lacks, RETURN_MAX_MS);
        assert!(!orders.contains(&SourceOrder::Cancel), "{orders:?}");
        let Some(MigrationOutcome::Stays(why)) = source.outcome() else {
            panic!("{:?}", source.outcome());
        };
        assert!(
            why.contains("cut; and its volumes have not returned"),
            "{why}"
        );
    }

    #[test]
    fn late_completion_of_the_rest_counts() {
        let mut source = waiting().remove(5);
        assert_eq!(source.next(HERE, REST_MAX_MS), [SourceOrder::Cancel]);
        source.apply_input(Input::Qemu(Progress::Completed), REST_MAX_MS + 1);
        assert_eq!(source.outcome(), Some(&MigrationOutcome::Moved));
    }
}
