//! Protects addresses from a candidate configuration version of the proxy. While one is served,
//! this node takes no address from a live owner. Before it takes over an address without one, it
//! requests the rollback of the candidate, and waits only for a moment, because an address without
//! an owner is worse than one that is served with a candidate.

use super::event_loop::AddressRole;
use super::{Level, clock};
use protocol::vitals::{Vitals, low_half};
use protocol::vrrp::{Instance, Reason, Time};
use std::sync::atomic::AtomicU64;
use std::time::Duration;

/// Maximum time that the proxy may take to roll back.
const BACK_LIMIT: Duration = Duration::from_millis(100);
/// Poll interval during that time.
const BACK_TICK: Duration = Duration::from_micros(200);

/// Requests the rollback of the candidate configuration version; returns false if the proxy did not
/// roll back in time.
fn back(vitals: &Vitals<'_>) -> bool {
    let number = vitals.candidate_number();
    if number == 0 {
        return true;
    }
    vitals.request_rollback(number);
    if let Some(word) = vitals.back_word() {
        wake(word);
    }
    let until = clock::now().after(BACK_LIMIT);
    while vitals.candidate_number() == number {
        if clock::now() >= until {
            return false;
        }
        std::thread::sleep(BACK_TICK);
    }
    true
}

fn wake(word: &AtomicU64) {
    let half = low_half(word);
    // SAFETY: the word lives during the call, which reads nothing of it.
    unsafe {
        libc::syscall(libc::SYS_futex, half, libc::FUTEX_WAKE, i32::MAX);
    }
}

impl AddressRole {
    /// Updates which addresses the node may take when the proxy starts or ends serving a candidate
    /// configuration version.
    pub(super) fn look_at_trial(&mut self, now: Time, vitals: &Vitals<'_>) {
        let on_trial = vitals.candidate_number() != 0;
        if std::mem::replace(&mut self.health.on_trial, on_trial) == on_trial {
            return;
        }
        self.update_all_limits(now);
    }

    /// Rolls back the candidate before an address arrives. An address that the predecessor of this
    /// role owned was served with the candidate already, so that no other node loses it.
    pub(super) fn end_trial(&mut self, at: usize) {
        let status = self.router.status(Instance(at));
        if status.is_some_and(|status| status.why == Reason::Resumed) {
            return;
        }
        let Some(vitals) = self
            .health
            .memory()
            .filter(|vitals| vitals.candidate_number() != 0)
        else {
            return;
        };
        let name = self.name(at);
        let line = if back(&vitals) {
            format!("({name}) the proxy rolled the candidate version back first")
        } else {
            format!(
                "({name}) the proxy did not roll the candidate version back within {BACK_LIMIT:?}"
            )
        };
        self.log(Level::Warning, &line);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::role::health::static_memory;

    #[test]
    fn a_proxy_that_goes_back_is_waited_for_and_one_that_does_not_only_a_moment() {
        let words = static_memory();
        let vitals = Vitals::begin(words).expect("long enough");
        vitals.claim(7, 1);
        assert!(back(&vitals), "nothing is on trial");
        vitals.set_candidate_number(7, 3);
        assert!(!back(&vitals), "nobody is there");
        assert_eq!(vitals.rollback_requested(), 3);
        vitals.set_candidate_number(7, 4);
        let proxy = std::thread::spawn(move || {
            let vitals = Vitals::open(words).expect("begun");
            while vitals.rollback_requested() != 4 {
                std::thread::yield_now();
            }
            vitals.set_candidate_number(7, 0);
        });
        // On a busy machine the rollback may exceed the time limit; it completes all the same.
        let _ = back(&vitals);
        proxy.join().expect("no panic");
        assert_eq!(vitals.candidate_number(), 0);
    }
}
