//! Deliberate bugs in the replica, each of which the simulation has to find. Outside of tests none
//! is active, and the compiler removes all checks for them.

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[cfg_attr(not(test), allow(dead_code, reason = "asked for, never set"))]
pub(crate) enum ReplicaDefect {
    /// A write is acknowledged when only the local disk has it.
    AcksWithoutOther,
    /// A write proceeds without the other copy before the record permits it.
    AcksBeforeRecord,
    /// A flush waits for the local disk only.
    FlushesLocalOnly,
    /// Replies are sent and requests started regardless of the lease.
    IgnoresLeaseEnd,
    /// A write does not wait until its extent is in the activity log.
    WritesBeforeHot,
    /// An extent leaves the activity log before both disks have flushed its writes.
    EvictsUnstable,
    /// An extent leaves the activity log with its dirty bits before the record has this copy
    /// alone.
    LeavesBeforeRecord,
    /// Overlapping writes run at the same time.
    NoIntervalLock,
    /// Reads do not wait for writes in progress.
    ReadsPassWrites,
    /// The follower accepts every epoch.
    AcceptsOldEpochs,
    /// The role changes while earlier disk operations are in progress.
    NeverDrains,
    /// A loss of the other copy marks only requests in progress as dirty.
    ForgetsUnstable,
    /// The activity log of the other copy is not marked.
    IgnoresTheirLog,
    /// The local activity log is not marked after a restart.
    IgnoresOwnLog,
    /// The follower joins without a flush.
    JoinsWithoutFlush,
    /// A copy that is not in the record serves.
    ServesOutOfRecord,
    /// A copy of the other node is used as this node's one.
    IgnoresIdentity,
    /// A copy that lost power serves as if it had lost nothing.
    IgnoresPowerLoss,
    /// The follower begins a resync before the owner has stored that everything is dirty.
    BeginsUnstored,
    /// After a join with an unknown outcome the owner continues alone.
    ForgetsProposal,
    /// The other copy leaves the record before the local one has flushed.
    ProposesUnflushed,
    /// A hand-over does not wait for requests in progress.
    HandsOverUndrained,
    /// Requests from before another node's ownership are executed.
    ExecutesStale,
    /// The dirty bits are trusted for any other copy.
    TrustsAnyBits,
    /// A copy that the configuration no longer names stays in the record.
    ForgetsStranger,
    /// The owner grows while the other copy in the record is smaller.
    GrowsAlone,
    /// The owner accepts requests for the new part before its size is stored.
    GrowsUnstored,
    /// A copy that has shrunk treats the space behind its end as zeroes.
    KeepsRoom,
    /// A copy joins a larger volume with its old size.
    BeginsInOldSize,
    /// The follower clears its activity log when a resync begins.
    ForgetsLogEarly,
    /// A request that failed without a majority is executed later.
    ExecutesFailed,
    /// A write that failed without a majority releases its range before both copies agree.
    FailedLeavesRange,
    /// A verify does not wait for writes in progress.
    VerifyPassesWrites,
    /// A repair does not wait for writes in progress, so it compares its content before them.
    RepairPassesWrites,
    /// A repair writes any content of the other copy.
    RepairsUnchecked,
    /// A resync sends zeroes for damaged blocks.
    CopiesZeros,
    /// A verify with repair skips the owner's damaged blocks.
    VerifyForgetsDamage,
    /// The follower compares its blocks for a verify without checking its checksums.
    VerifyTrustsTheirs,
    /// Checksums are stored as valid before their data.
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
