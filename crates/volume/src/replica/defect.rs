//! Deliberate bugs in the replica, each of which the simulation has to find. Outside of tests none
//! is active, and the compiler removes all checks for them.

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[cfg_attr(not(test), allow(dead_code, reason = "asked for, never set"))]
pub(crate) enum ReplicaDefect {
    /// Bug: a write is acknowledged when only the local disk has it.
    AcksWithoutOther,
    /// Bug: a write proceeds without the other copy before the record permits it.
    AcksBeforeRecord,
    /// Bug: a flush waits for the local disk only.
    FlushesLocalOnly,
    /// Bug: replies are sent and requests started regardless of the lease.
    IgnoresLeaseEnd,
    /// Bug: a write does not wait until its extent is in the activity log.
    WritesBeforeHot,
    /// Bug: an extent leaves the activity log before both disks have flushed its writes.
    EvictsUnstable,
    /// Bug: an extent leaves the activity log with its dirty bits before the record has this copy
    /// alone.
    LeavesBeforeRecord,
    /// Bug: overlapping writes run at the same time.
    NoIntervalLock,
    /// Bug: reads do not wait for writes in progress.
    ReadsPassWrites,
    /// Bug: the follower accepts every epoch.
    AcceptsOldEpochs,
    /// Bug: the role changes while earlier disk operations are in progress.
    NeverDrains,
    /// Bug: a loss of the other copy marks only requests in progress as dirty.
    ForgetsUnstable,
    /// Bug: the activity log of the other copy is not marked.
    IgnoresTheirLog,
    /// Bug: the local activity log is not marked after a restart.
    IgnoresOwnLog,
    /// Bug: the follower joins without a flush.
    JoinsWithoutFlush,
    /// Bug: a copy that is not in the record serves.
    ServesOutOfRecord,
    /// Bug: a copy of the other node is used as this node's one.
    IgnoresIdentity,
    /// Bug: a copy that lost power serves as if it had lost nothing.
    IgnoresPowerLoss,
    /// Bug: the follower begins a resync before the owner has stored that everything is dirty.
    BeginsUnstored,
    /// Bug: after a join with an unknown outcome the owner continues alone.
    ForgetsProposal,
    /// Bug: the other copy leaves the record before the local one has flushed.
    ProposesUnflushed,
    /// Bug: a hand-over does not wait for requests in progress.
    HandsOverUndrained,
    /// Bug: requests from before another node's ownership are executed.
    ExecutesStale,
    /// Bug: the dirty bits are trusted for any other copy.
    TrustsAnyBits,
    /// Bug: a copy that the configuration no longer names stays in the record.
    ForgetsStranger,
    /// Bug: the owner grows while the other copy in the record is smaller.
    GrowsAlone,
    /// Bug: the owner accepts requests for the new part before its size is stored.
    GrowsUnstored,
    /// Bug: a copy that has shrunk treats the space after its end as zeroes.
    KeepsRoom,
    /// Bug: a copy joins a larger volume with its old size.
    BeginsInOldSize,
    /// Bug: the follower clears its activity log when a resync begins.
    ForgetsLogEarly,
    /// Bug: a request that failed without a majority is executed later.
    ExecutesFailed,
    /// Bug: a write that failed without a majority releases its range before both copies agree.
    FailedLeavesRange,
    /// Bug: a verify does not wait for writes in progress.
    VerifyPassesWrites,
    /// Bug: a repair does not wait for writes in progress, so it compares its content before them.
    RepairPassesWrites,
    /// Bug: a repair writes any content of the other copy.
    RepairsUnchecked,
    /// Bug: a resync sends zeroes for damaged blocks.
    CopiesZeros,
    /// Bug: a verify with repair skips the owner's damaged blocks.
    VerifyForgetsDamage,
    /// Bug: the follower compares its blocks for a verify without checking its checksums.
    VerifyTrustsTheirs,
    /// Bug: checksums are stored as valid before their data.
    SumsBeforeData,
}

#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct InjectedDefect {
    #[cfg(test)]
    pub by: Option<ReplicaDefect>,
}

impl InjectedDefect {
    /// Returns whether this defect is injected.
    #[cfg(test)]
    pub fn is(self, defect: ReplicaDefect) -> bool {
        self.by == Some(defect)
    }

    /// Always false outside of tests.
    #[cfg(not(test))]
    pub fn is(self, _: ReplicaDefect) -> bool {
        false
    }
}
