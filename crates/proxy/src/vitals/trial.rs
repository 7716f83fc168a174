//! Announces that the proxy serves a candidate configuration, which may still be rolled back. If
//! the process that moves virtual addresses must take an address over meanwhile, it requests the
//! rollback, because the previous configuration serves the address more safely, and waits
//! briefly. This module only transfers the announcement and the request.

use super::now_ms;
use crate::runtime::Runtime;
use nix::libc;
use protocol::vitals::{Vitals, low_half};
use std::sync::atomic::AtomicU64;
use std::time::Duration;

/// Announcement that a candidate configuration is being served. Dropping this ends the
/// announcement.
#[derive(Debug)]
pub struct OnTrial {
    vitals: Vitals<'static>,
    owner: u64,
    number: u64,
}

impl OnTrial {
    /// Announces that a candidate configuration is being served. None if there is no shared memory
    /// for it.
    pub fn begin(runtime: &Runtime) -> Option<OnTrial> {
        let (vitals, owner) = runtime.vitals.memory()?;
        let number = now_ms().max(1);
        vitals.set_candidate_number(owner, number);
        Some(OnTrial {
            vitals,
            owner,
            number,
        })
    }

    /// Returns whether the rollback of the candidate was requested. Waits for the request at most
    /// `limit`.
    pub fn wait(&self, limit: Duration) -> bool {
        let seen = self.vitals.rollback_requested();
        if seen != self.number
            && let Some(word) = self.vitals.back_word()
        {
            wait_for_change(word, seen, limit);
        }
        self.vitals.rollback_requested() == self.number
    }
}

impl OnTrial {
    /// Withdraws the announcement, unless another one has replaced it.
    pub fn end(&self) {
        if self.vitals.candidate_number() == self.number {
            self.vitals.set_candidate_number(self.owner, 0);
        }
    }
}

impl Drop for OnTrial {
    fn drop(&mut self) {
        self.end();
    }
}

/// Sleeps until another process changes the word and wakes those that wait for it, at most for
/// `limit`.
fn wait_for_change(word: &AtomicU64, seen: u64, limit: Duration) {
    let limit = libc::timespec {
        tv_sec: i64::try_from(limit.as_secs()).unwrap_or(i64::MAX),
        tv_nsec: limit.subsec_nanos().into(),
    };
    // Truncates the word, because the kernel compares only the lower half.
    #[allow(clippy::cast_possible_truncation)]
    let expected = seen as u32;
    // SAFETY: the word lives during the call, which only reads it, and so does the
    // limit. Whatever it returns, the word is looked at again.
    unsafe {
        libc::syscall(
            libc::SYS_futex,
            low_half(word),
            libc::FUTEX_WAIT,
            expected,
            &raw const limit,
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use protocol::vitals::WORDS;
    use std::time::Instant;

    #[test]
    fn newer_rollback_request_ends_the_wait() {
        let words: Vec<AtomicU64> = (0..WORDS).map(|_| AtomicU64::new(0)).collect();
        let vitals = Vitals::begin(words.leak()).expect("long enough");
        vitals.claim(7, 1);
        let trial = |number| {
            vitals.set_candidate_number(7, number);
            OnTrial {
                vitals,
                owner: 7,
                number,
            }
        };
        let first = trial(3);
        vitals.request_rollback(2);
        assert!(!first.wait(Duration::from_millis(1)));
        vitals.request_rollback(3);
        let began = Instant::now();
        assert!(first.wait(Duration::from_secs(60)));
        assert!(began.elapsed() < Duration::from_secs(30));
        let next = trial(4);
        drop(first);
        assert_eq!(vitals.candidate_number(), 4, "another one is on trial");
        assert!(!next.wait(Duration::from_millis(1)));
        drop(next);
        assert_eq!(vitals.candidate_number(), 0);
    }
}
