//! Decides whether this node may admit users with its current configuration version
//! ([`Admission`]).
//!
//! Admits no users on a removed member, and closes its connections. Admits none on a returned
//! member until a majority has confirmed its configuration version, or until no other member has
//! been reachable for [`ALONE`]: after a power cut there may be no other way to the desktops.

use super::FarmState;
use access::user::List;
use part::lock;
use part::report::Moment;
use part::role::{Admission, Membership};
use part::voice::write_error;
use std::time::Duration;

const ALONE: Duration = Duration::from_secs(60);
pub const TRY_AGAIN_S: u64 = 10;

impl FarmState {
    pub fn set_membership(&self, membership: Membership) {
        let before = std::mem::replace(&mut *lock(&self.membership), membership);
        let now_ns = now_ns();
        let before = before.admission_alone(ALONE, now_ns);
        let after = self.admission();
        if before == after {
            return;
        }
        let name = &self.name;
        let words = match after {
            Admission::Admitted => "users can sign in at this node",
            Admission::Removed => "users cannot sign in at this node, and all connections end",
            Admission::Unconfirmed | Admission::Outdated => "users cannot sign in at this node",
        };
        let why = Some(after.why()).filter(|why| !why.is_empty());
        let why = why.map_or_else(String::new, |why| format!(": {why}"));
        write_error(&format!("evenkeel: farm {name}: {words}{why}\n"));
        if after == Admission::Removed {
            self.end_all();
        }
    }

    pub fn admission(&self) -> Admission {
        lock(&self.membership).admission_alone(ALONE, now_ns())
    }

    /// Returns why users cannot sign in at this node; None if they can.
    pub fn why_closed(&self) -> Option<&'static str> {
        match self.admission() {
            Admission::Admitted => None,
            Admission::Removed => Some(
                "This server was removed from its cluster: nobody can sign in here. Use the address that you got \
                 from your administrator.",
            ),
            Admission::Unconfirmed | Admission::Outdated => Some(
                "This server has just returned and does not know yet whether its list of users is the current one. \
                 Try again in a minute, or use another server.",
            ),
        }
    }

    /// Returns whether this node was removed and must carry no connection.
    pub fn is_removed(&self) -> bool {
        self.admission() == Admission::Removed
    }

    /// Closes all connections that this node carries. Sessions stay at their hosts.
    fn end_all(&self) {
        let inner = lock(&self.inner);
        inner.clients.values().for_each(|one| one.ends.notify_one());
        // Passes the empty list, which closes all tunnels, since no user is in it.
        inner.gateway.end_outdated(&List::default());
    }
}

fn now_ns() -> u64 {
    Moment::now().boottime_ms.saturating_mul(1_000_000)
}
