//! Detects a QEMU process that does not respond, by a query of its monitor every two seconds. The
//! state is only reported, because whatever QEMU waits for may end. A health check restarts a guest
//! that does not work.

use super::machine::GuestMachine;
use crate::qemu::monitor::CommandPurpose;

const LOOKS_MAX: u32 = 5;

pub(super) const WORDS: &str = "QEMU has not responded for 10 s or more";

/// Next times at which the QEMU process of a guest is polled, milliseconds.
#[derive(Debug, Default)]
pub(super) struct PollTimes {
    pub(super) monitor: u64,
    pub(super) log: u64,
    pub(super) halt: u64,
    pub(super) unanswered: u32,
    pub(super) disk_error: Option<(String, u64)>,
}

impl GuestMachine {
    /// Queries the guest's state, if QEMU has responded to the previous query.
    pub(super) fn look_at_monitor(&mut self) {
        let Some(monitor) = self.monitor().filter(|_| self.life.runs()) else {
            // Expects no response of a paused guest, whose process may be stopped itself.
            self.due.unanswered = 0;
            return;
        };
        if !monitor.waits_for(&CommandPurpose::Status) {
            if self.is_silent() {
                self.note("QEMU responds again");
            }
            self.due.unanswered = 0;
            return self.ask_status();
        }
        self.due.unanswered = self.due.unanswered.saturating_add(1);
        if self.due.unanswered == LOOKS_MAX {
            self.note(WORDS);
        }
    }

    pub(super) fn is_silent(&self) -> bool {
        self.due.unanswered >= LOOKS_MAX
    }
}
