//! The end of a volume with two copies: what it waits for, and how long.
//!
//! A client whose connection is closed before the reply sends its request again. After a stop
//! nobody may serve it on this node, so requests get their replies first, if that is possible.
//! After a leave the next role serves it: only requests that have begun are waited for.

use super::Mirror;
use std::time::{Duration, Instant};

/// How long a stop may take: the hand-over to the other node, and requests under way.
const STOP_MAX: Duration = Duration::from_secs(5);
/// How long it may take if another role follows: meanwhile nobody serves the clients of this
/// node.
const LEAVE_MAX: Duration = Duration::from_secs(1);
/// How long of that the checksums may take: those that are not stored are built again.
const SUMS_STOP_MAX: Duration = Duration::from_secs(1);

/// A stop, or a leave, in progress.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ending {
    /// Another role follows, to which clients send again what has no reply.
    leaves: bool,
    /// When the checksums are not waited for any longer.
    sums_until: Instant,
    /// When nothing is waited for any longer.
    pub(super) until: Instant,
}

impl Ending {
    pub(super) fn begin(leaves: bool, now: Instant) -> Ending {
        Ending {
            leaves,
            sums_until: now + SUMS_STOP_MAX,
            until: now + if leaves { LEAVE_MAX } else { STOP_MAX },
        }
    }
}

impl Mirror {
    /// Whether nothing is left to do before the end, or it is too late for that.
    pub(super) fn may_end(&mut self, ending: Ending, now: Instant) -> bool {
        if now >= ending.until {
            return true;
        }
        let hands_over = self.replica.is_mirrored() && self.lease.is_held();
        if hands_over || self.awaits_requests(ending.leaves) {
            return false;
        }
        // A copy that follows may be written all the time.
        self.local.stop() || now >= ending.sums_until
    }

    /// Whether requests under way, or their replies, are to be waited for.
    ///
    /// A leave waits for none that only the next owner can reply to: this process does nothing
    /// of them any more. Those at the other node it awaits; if their replies are late, they are
    /// done there before what their clients send again, or never.
    fn awaits_requests(&self, leaves: bool) -> bool {
        if leaves {
            let are_under_way = self.replica.has_begun() || self.clients.has_abroad();
            return are_under_way || self.export.has_output();
        }
        self.export.is_busy()
    }
}

#[cfg(test)]
mod tests {
    use super::super::bed::{self, SIZE};
    use super::super::boottime;
    use super::super::clients::Place;
    use super::super::record::ME;
    use super::*;
    use crate::device::bed::joined;
    use crate::disk::{Operation, Token};
    use crate::replica::{Epoch, Generation, InSync, Incarnation, Record, Request};
    use lab::{Scratch, eventually};

    const SOON: Duration = Duration::from_secs(20);
    const WRITE: Operation = Operation::Discard {
        offset: 0,
        length: 4096,
    };

    /// The cluster tells that this node has the lease, or had it, and that only its copy counts.
    fn learn(mirror: &mut Mirror, is_held: bool) {
        let record = Record {
            incarnation: Incarnation(7),
            generation: Generation(1),
            epoch: Epoch(0),
            in_sync: InSync::One(ME),
            forks: Vec::new(),
        };
        let until_ns = boottime().0 + 60_000_000_000;
        bed::learn(mirror, "alpha", if is_held { until_ns } else { 0 }, &record);
    }

    /// One that has the lease and serves.
    fn serving(scratch: &Scratch) -> Mirror {
        let mut mirror = bed::mirror(scratch, joined(SIZE, 7));
        learn(&mut mirror, true);
        let serves = || {
            mirror.turn(Instant::now());
            mirror.replica.serves().is_some()
        };
        assert!(eventually(SOON, serves));
        mirror
    }

    fn ask(mirror: &mut Mirror, token: u64) {
        mirror.asked(Token(token), WRITE, Instant::now());
    }

    /// Whether it awaits requests until they have ended.
    fn awaits_what_has_begun(mirror: &mut Mirror) -> bool {
        let awaits = mirror.awaits_requests(true);
        awaits
            && eventually(SOON, || {
                mirror.turn(Instant::now());
                !mirror.awaits_requests(true)
            })
    }

    #[test]
    fn a_leave_awaits_requests_that_have_begun() {
        let scratch = Scratch::new().unwrap();
        let mut mirror = serving(&scratch);
        ask(&mut mirror, 1);
        ask(&mut mirror, 2);
        let now = Instant::now();
        let ending = Ending::begin(true, now);
        assert!(!mirror.may_end(ending, now));
        assert!(mirror.may_end(ending, ending.until));
        assert!(awaits_what_has_begun(&mut mirror));
        assert!(mirror.may_end(ending, now));
    }

    #[test]
    fn a_leave_awaits_no_request_that_waits_for_the_lease() {
        let scratch = Scratch::new().unwrap();
        let mut mirror = serving(&scratch);
        learn(&mut mirror, false);
        ask(&mut mirror, 1);
        assert_eq!(mirror.replica.report(boottime()).requests, 1);
        assert!(!mirror.awaits_requests(true));
        // It has begun once the lease is back.
        learn(&mut mirror, true);
        assert!(awaits_what_has_begun(&mut mirror));
    }

    #[test]
    fn a_leave_awaits_requests_at_the_other_node_and_none_that_wait_for_an_owner() {
        let scratch = Scratch::new().unwrap();
        let mut mirror = bed::mirror(&scratch, joined(SIZE, 7));
        ask(&mut mirror, 1);
        assert!(mirror.clients.has_waiting());
        assert!(!mirror.awaits_requests(true));
        let id = mirror.clients.open_here(Token(2), Request::Flush);
        mirror.clients.put(id, Place::Other);
        assert!(mirror.awaits_requests(true));
        // The connection is lost.
        mirror.call_back();
        assert!(!mirror.awaits_requests(true));
    }
}
