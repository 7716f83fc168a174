//! Detects roles with clients of their own that do not run on this machine. The role with the
//! addresses of this machine gets the list, because another machine may be able to serve these
//! clients.

use crate::slot::RoleSlot;
use crate::state::Supervisor;
use part::role::SupervisorMessage;

/// Returns whether messages of this kind carry the list of roles that do not run.
pub fn is_missing(kind: u16) -> bool {
    let words = String::new();
    kind == SupervisorMessage::Missing { words }.kind()
}

/// Returns why clients of this role are not served; None if they are, or if the version does not
/// configure the role.
fn why_missing(slot: &RoleSlot) -> Option<String> {
    let answers = slot.row.sidecar().is_some_and(|row| row.has_clients);
    let is_wanted = slot.wanted.is_some() && slot.stop_until.is_none();
    let serves = slot.all().any(|running| running.ready);
    (answers && is_wanted && !serves).then(|| match slot.crashes.last() {
        Some(why) => format!("{}: {why}", slot.silence()),
        None => slot.silence(),
    })
}

impl Supervisor {
    pub(super) fn tell_missing(&mut self) {
        let words: Vec<String> = self.slots.sidecars().filter_map(why_missing).collect();
        let words = words.join("; ");
        let shares =
            |slot: &&mut RoleSlot| slot.row.sidecar().is_some_and(|row| row.shares_heartbeats);
        for slot in self.slots.all_mut().filter(shares) {
            let told = slot.running.as_mut().filter(|role| role.ready);
            if let Some(role) = told.filter(|role| role.missing.as_ref() != Some(&words)) {
                role.missing = Some(words.clone());
                let words = words.clone();
                // Ignored: if the message cannot be sent, the role has ended, which the main loop
                // notices.
                let _ = role.send_message(&SupervisorMessage::Missing { words });
            }
        }
    }
}
