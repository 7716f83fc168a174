//! A QEMU that does not respond: its monitor is asked every two seconds how the guest is. It is reported,
//! and nothing else: what it waits for may end, and a check restarts a guest that does not work.

use super::machine::Machine;
use crate::qemu::monitor::About;

/// Looks without a response until it is reported.
const LOOKS_MAX: u32 = 5;

/// What is said of it.
pub(super) const WORDS: &str = "QEMU has not responded for 10 s or more";

/// When a guest's QEMU is looked at next, milliseconds.
#[derive(Debug, Default)]
pub(super) struct Due {
    /// Its monitor is tried again.
    pub(super) monitor: u64,
    /// Its serial output is cut.
    pub(super) log: u64,
    /// Its process is looked at, to see whether it has been stopped.
    pub(super) halt: u64,
    /// How often in a row it had not said how the guest is.
    pub(super) unanswered: u32,
    /// The last error of a disk that was noted, and when.
    pub(super) disk_error: Option<(String, u64)>,
}

impl Machine {
    /// Asks QEMU how the guest is, if it has responded to that before.
    pub(super) fn look_at_monitor(&mut self) {
        let Some(monitor) = self.monitor().filter(|_| self.life.runs()) else {
            // One whose guest stands still may have been stopped itself.
            self.due.unanswered = 0;
            return;
        };
        if !monitor.waits_for(&About::Status) {
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

    /// Whether its guest is to run, and QEMU does not respond.
    pub(super) fn is_silent(&self) -> bool {
        self.due.unanswered >= LOOKS_MAX
    }
}
