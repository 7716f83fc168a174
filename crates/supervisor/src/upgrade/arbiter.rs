//! Upgrades an arbiter, which serves nothing: there is nothing to load and no role to try. A newly
//! installed program is tested, then this process executes it like at a start. The control role
//! ends first; meanwhile the nodes must form the majority.

use super::hand_over::execute;
use crate::state::Supervisor;
use part::voice::Gravity;
use std::io;
use std::path::Path;

impl Supervisor {
    pub(in super::super) fn reload_arbiter(&mut self) {
        if self.changing.upgrade.is_some()
            || self.service.stop.is_some()
            || self.changing.requests.begin().is_none()
        {
            return;
        }
        if self.begin_upgrade() {
            return;
        }
        let words =
            "nothing to reload: an arbiter serves nothing, and already runs the installed program";
        self.report_change(&[(Gravity::Notice, words.to_owned())], "");
    }

    pub(super) fn arbiter_tested(&mut self) {
        let Some(upgrade) = &mut self.changing.upgrade else {
            return;
        };
        upgrade.execute_when_quiet();
        let words = format!("{} runs now", upgrade.newer.path.display());
        self.report_change(&[(Gravity::Notice, words)], "");
    }

    /// Ends the control role and executes the program as at a start. Returns only if that fails,
    /// with the error; the control role runs again then.
    pub(super) fn execute_as_arbiter(&mut self, program: &Path) -> io::Error {
        self.end_control();
        // Removes the entry: the next image creates its own.
        self.interfaces.control = None;
        let Err(error) = execute(program, None);
        self.open_control();
        self.start_control();
        error
    }
}
