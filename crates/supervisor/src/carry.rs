//! Carried state: a role sends it to the supervisor, and the previous processes send theirs to the
//! role.

use crate::carried::is_state;
use crate::state::Supervisor;
use part::before::Before;
use part::role::SupervisorMessage;
use rustix::process::Pid;
use std::os::fd::OwnedFd;
use std::sync::Arc;

impl Supervisor {
    pub(super) fn keep_state(&mut self, rest: bool, descriptors: Vec<OwnedFd>) {
        // The rest belongs to the role that asked for the previous state. Other processes
        // get sealed memory of bounded size.
        let paused = self.upgrade_has_paused();
        let state = descriptors.into_iter().next();
        let state = state.filter(|_| !rest && !paused);
        if let Some(state) = state.filter(is_state) {
            self.carried.state = Some(Arc::new(state));
        }
    }

    /// Ends the takeover when the first role serves: the previous processes may end, and their
    /// final counts go to the role. Returns these processes, and which of them were signalled.
    pub(super) fn take_over(&mut self) -> Option<(Before, Vec<u32>)> {
        if let (Some(rest), Some(proxy)) =
            (self.carried.rest.take(), &mut self.slots.serving.running)
        {
            // If this fails, only the last counts are lost.
            let _ = proxy
                .process
                .channel
                .send(&SupervisorMessage::AddState, &[rest]);
        }
        let before = self.carried.before.take()?;
        let asked = before.signal_predecessors();
        let pids = before.pids.iter();
        let pids = pids.filter_map(|pid| Pid::from_raw(i32::try_from(*pid).ok()?));
        self.carried.children.extend(pids);
        Some((before, asked))
    }
}
