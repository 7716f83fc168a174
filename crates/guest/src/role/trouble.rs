//! Records faults of a guest that come from outside of it: disk errors, and signals that stop its
//! QEMU process.

use super::machine::GuestMachine;
use crate::life::Input;
use serde_json::{Map, Value};

/// Interval at which the same disk error is recorded again, milliseconds.
const ERROR_AGAIN_MS: u64 = 60_000;

impl GuestMachine {
    /// Records a disk error. A guest that is continued each second repeats its failed request, so
    /// the same error is recorded once a minute.
    pub(super) fn note_disk_error(&mut self, data: &Map<String, Value>, now: u64) {
        let text = |name: &str| data.get(name).and_then(Value::as_str).unwrap_or_default();
        let node = text("node-name");
        let at = node
            .strip_prefix("disk")
            .and_then(|at| at.parse::<usize>().ok());
        let disks = self.started_as.as_ref().map(|guest| &guest.disks);
        let disk = at.and_then(|at| disks?.get(at));
        let words = format!(
            "{}: a {} failed: {}{}",
            disk.map_or_else(|| node.to_owned(), |disk| format!("disk {}", disk.volume)),
            match text("operation") {
                "read" => "read",
                "write" => "write",
                _ => "request",
            },
            match text("reason") {
                "" => "no reason given",
                reason => reason,
            },
            match text("action") {
                "stop" => "; the guest is paused, and continues when the disk works again",
                _ => "; the error was reported to the guest",
            }
        );
        let is_known =
            self.due.disk_error.as_ref().is_some_and(|(last, at)| {
                *last == words && now < at.saturating_add(ERROR_AGAIN_MS)
            });
        if !is_known {
            self.note(&words);
            self.due.disk_error = Some((words, now));
        }
    }

    pub(super) fn see_halt(&mut self, now: u64) {
        let Some(process) = self.process() else {
            return;
        };
        let is_halted = process.is_halted();
        let was = self.life.clone();
        self.life.apply_input(Input::IsHalted(is_halted), now);
        if was.may_run() != self.life.may_run() || was.runs() != self.life.runs() {
            self.note(if is_halted {
                "a signal has stopped its process (state T)"
            } else {
                "its process was continued by another program"
            });
        }
    }
}
