//! Upgrade of an arbiter: it serves nothing, so there is nothing to load and no role to
//! try. Another program in the place of the one that runs is tested, then this process
//! executes it like one that is started. Its control role ends first; the nodes are a
//! majority meanwhile.

use super::QUIET_LIMIT;
use super::hand_over::execute;
use crate::state::Supervisor;
use crate::state::upgrade::Stage;
use part::voice::Gravity;
use std::io;
use std::path::Path;
use std::time::Instant;

impl Supervisor {
    /// Takes another program, if there is one.
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
        self.tell_change(&[(Gravity::Notice, words.to_owned())], "");
    }

    /// The other program was tested.
    pub(super) fn arbiter_tested(&mut self) {
        let Some(upgrade) = &mut self.changing.upgrade else {
            return;
        };
        upgrade.stage = Stage::Executing(Instant::now() + QUIET_LIMIT);
        let words = format!("{} runs now", upgrade.newer.path.display());
        self.tell_change(&[(Gravity::Notice, words)], "");
    }

    /// Becomes the program, as if it was started; returns only with the reason why not.
    pub(super) fn execute_as_arbiter(&mut self, program: &Path) -> io::Error {
        self.end_control();
        // The next image lists itself.
        self.doors.control = None;
        let Err(error) = execute(program, None);
        self.open_control();
        self.start_control();
        error
    }
}
