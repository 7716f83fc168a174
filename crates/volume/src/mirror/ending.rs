//! Shuts down a mirrored volume on this node, within timeouts.
//!
//! A client repeats a request if its connection closes before the reply. After a stop, this node
//! may not serve the volume again, so requests are completed first if possible. If the process only
//! leaves for its successor, that process serves the volume, so only requests that have begun are
//! completed.

use super::Mirror;
use std::time::{Duration, Instant};

/// Timeout of a stop. It includes the hand-over of the volume and the requests in progress.
const STOP_MAX: Duration = Duration::from_secs(5);
/// Timeout of a stop if a new process follows; this node's clients are not served until then.
const LEAVE_MAX: Duration = Duration::from_secs(1);
/// Part of the timeout for storing checksums. Checksums that are not stored are rebuilt.
const SUMS_STOP_MAX: Duration = Duration::from_secs(1);

#[derive(Clone, Copy, Debug)]
pub(super) struct MirrorShutdown {
    leaves: bool,
    sums_until: Instant,
    pub(super) until: Instant,
}

impl MirrorShutdown {
    pub(super) fn begin(leaves: bool, now: Instant) -> MirrorShutdown {
        MirrorShutdown {
            leaves,
            sums_until: now + SUMS_STOP_MAX,
            until: now + if leaves { LEAVE_MAX } else { STOP_MAX },
        }
    }
}

impl Mirror {
    pub(super) fn may_end(&mut self, ending: MirrorShutdown, now: Instant) -> bool {
        if now >= ending.until {
            return true;
        }
        let hands_over = self.replica.is_mirrored() && self.lease.is_held();
        if hands_over || self.awaits_requests(ending.leaves) {
            return false;
        }
        // Stops only the checksums here: the owner may write to a following copy at any time.
        self.local.stop() || now >= ending.sums_until
    }

    /// Returns whether requests or queued replies are still in progress.
    ///
    /// Before a new process, requests that need the next owner are not awaited, because this
    /// process no longer executes them. Forwarded requests are awaited. If their replies are late,
    /// the other node executes them before the clients' repeated requests, or never.
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
    use super::super::clients::RequestLocation;
    use super::super::record::ME;
    use super::*;
    use crate::device::bed::joined;
    use crate::disk::{Operation, Token};
    use crate::replica::{Epoch, Generation, InSync, Incarnation, Record, Request};
    use lab::{ScratchDirectory, eventually};

    const SOON: Duration = Duration::from_secs(20);
    const WRITE: Operation = Operation::Discard {
        offset: 0,
        length: 4096,
    };

    /// Reports the lease as held or ended, with a record of this copy alone.
    fn learn(mirror: &mut Mirror, is_held: bool) {
        let record = Record {
            incarnation: Incarnation(7),
            generation: Generation(1),
            epoch: Epoch(0),
            in_sync: InSync::One(ME),
            copies: Vec::new(),
            forks: Vec::new(),
        };
        let until_ns = boottime().0 + 60_000_000_000;
        bed::learn(mirror, "alpha", if is_held { until_ns } else { 0 }, &record);
    }

    /// Creates a volume that holds the lease and serves.
    fn serving(scratch: &ScratchDirectory) -> Mirror {
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
        mirror.handle_operation(Token(token), WRITE, Instant::now());
    }

    /// Returns whether the shutdown waits for requests that have begun.
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
        let scratch = ScratchDirectory::new().unwrap();
        let mut mirror = serving(&scratch);
        ask(&mut mirror, 1);
        ask(&mut mirror, 2);
        let now = Instant::now();
        let ending = MirrorShutdown::begin(true, now);
        assert!(!mirror.may_end(ending, now));
        assert!(mirror.may_end(ending, ending.until));
        assert!(awaits_what_has_begun(&mut mirror));
        assert!(mirror.may_end(ending, now));
    }

    #[test]
    fn a_leave_awaits_no_request_that_waits_for_the_lease() {
        let scratch = ScratchDirectory::new().unwrap();
        let mut mirror = serving(&scratch);
        learn(&mut mirror, false);
        ask(&mut mirror, 1);
        assert_eq!(mirror.replica.report(boottime()).requests, 1);
        assert!(!mirror.awaits_requests(true));
        // The request begins once the lease is back.
        learn(&mut mirror, true);
        assert!(awaits_what_has_begun(&mut mirror));
    }

    #[test]
    fn a_leave_awaits_requests_at_the_other_node_and_none_that_wait_for_an_owner() {
        let scratch = ScratchDirectory::new().unwrap();
        let mut mirror = bed::mirror(&scratch, joined(SIZE, 7));
        ask(&mut mirror, 1);
        assert!(mirror.clients.has_waiting());
        assert!(!mirror.awaits_requests(true));
        let id = mirror.clients.open_here(Token(2), Request::Flush);
        mirror.clients.put(id, RequestLocation::Other);
        assert!(mirror.awaits_requests(true));
        // The connection breaks.
        mirror.reclaim_forwarded_requests();
        assert!(!mirror.awaits_requests(true));
    }
}
