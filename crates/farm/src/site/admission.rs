//! Whether this node may let users in by the version that it serves ([`Admission`]).
//!
//! A removed member lets nobody in and ends what it carries. A member that returned lets nobody in
//! until a majority has confirmed its version, or until no other member has been reachable for
//! [`ALONE`]: after a power cut there may be no other way to the desktops.

use super::Site;
use access::user::List;
use part::lock;
use part::report::Moment;
use part::role::{Admission, Membership};
use part::voice::write_error;
use std::time::Duration;

/// How long a returned member waits for any other member.
const ALONE: Duration = Duration::from_secs(60);
/// When a client may try again, seconds.
pub const TRY_AGAIN_S: u64 = 10;

impl Site {
    /// This node is this as a member of its cluster from now on.
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

    /// Whether users may be let in.
    pub fn admission(&self) -> Admission {
        lock(&self.membership).admission_alone(ALONE, now_ns())
    }

    /// Why nobody may sign in at this node, for users; None: they may.
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

    /// Whether this node carries nothing at all.
    pub fn is_removed(&self) -> bool {
        self.admission() == Admission::Removed
    }

    /// Ends all connections that this node carries. Sessions stay at their hosts.
    fn end_all(&self) {
        let inner = lock(&self.inner);
        inner.clients.values().for_each(|one| one.ends.notify_one());
        // Nobody is in this list.
        inner.gateway.end_outdated(&List::default());
    }
}

fn now_ns() -> u64 {
    Moment::now().boottime_ms.saturating_mul(1_000_000)
}
