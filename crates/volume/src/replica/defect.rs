//! The replica broken on purpose: the simulation has to find each of these. Outside of
//! tests nothing is ever broken, and the compiler drops every question.

/// One way to be broken.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[cfg_attr(not(test), allow(dead_code, reason = "asked for, never set"))]
pub(crate) enum Defect {
    /// A write is acknowledged when the local disk has it.
    AcksWithoutOther,
    /// A write goes on without the other copy before the record says so.
    AcksBeforeRecord,
    /// A flush waits for the local disk only.
    FlushesLocalOnly,
    /// Replies are given and requests started whatever the lease says.
    IgnoresLeaseEnd,
    /// A write does not wait for the activity log.
    WritesBeforeHot,
    /// An extent leaves the activity log before both disks have flushed its writes.
    EvictsUnstable,
    /// An extent leaves the activity log with its dirty bits before the record has this copy
    /// alone.
    LeavesBeforeRecord,
    /// Overlapping writes run at the same time.
    NoIntervalLock,
    /// Reads do not wait for writes under way.
    ReadsPassWrites,
    /// The follower accepts each epoch.
    AcceptsOldEpochs,
    /// A side is changed while former operations of the disk are under way.
    NeverDrains,
    /// A loss of the other copy marks only what is under way.
    ForgetsUnstable,
    /// The activity log of the other copy is not marked.
    IgnoresTheirLog,
    /// The own activity log is not marked after a restart.
    IgnoresOwnLog,
    /// The follower joins without a flush.
    JoinsWithoutFlush,
    /// A copy out of the record serves.
    ServesOutOfRecord,
    /// A copy that lost power serves as if it had lost nothing.
    IgnoresPowerLoss,
    /// The follower begins before the owner has stored that everything is dirty.
    BeginsUnstored,
    /// After a join with unknown outcome the owner goes on alone.
    ForgetsProposal,
    /// The other copy is taken out of the record before the own one has flushed.
    ProposesUnflushed,
    /// A hand-over does not wait for requests under way.
    HandsOverUndrained,
    /// Requests from before the ownership of the other node are executed.
    ExecutesStale,
    /// The bits are trusted whatever the other copy is.
    TrustsAnyBits,
    /// A copy that the file does not name any longer is left in the record.
    ForgetsStranger,
    /// The owner grows while the other copy, which is in the record, is smaller.
    GrowsAlone,
    /// The owner accepts requests for the new part before its size is stored.
    GrowsUnstored,
    /// A copy that became smaller counts what follows its end as zeros.
    KeepsRoom,
    /// A copy joins a larger volume in its old size.
    BeginsInOldSize,
    /// The follower forgets its activity log when a resync begins.
    ForgetsLogEarly,
    /// A request that failed without a majority is executed later.
    ExecutesFailed,
    /// A write that failed without a majority leaves its range before both copies agree.
    FailedLeavesRange,
    /// A verify does not wait for writes under way.
    VerifyPassesWrites,
    /// A repair does not wait for writes under way: what it writes is compared before them.
    RepairPassesWrites,
    /// A repair writes whatever the other copy has.
    RepairsUnchecked,
    /// A resync sends zeros for blocks that are damaged.
    CopiesZeros,
    /// A verify that repairs leaves the owner's damaged blocks.
    VerifyForgetsDamage,
    /// The follower compares its blocks for a verify and ignores its checksums.
    VerifyTrustsTheirs,
    /// Checksums are on disk as valid before the data is.
    SumsBeforeData,
}

/// The injected defect, if any.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Broken {
    #[cfg(test)]
    pub by: Option<Defect>,
}

impl Broken {
    /// Returns whether this defect is injected.
    #[cfg(test)]
    pub fn is(self, defect: Defect) -> bool {
        self.by == Some(defect)
    }

    /// Never.
    #[cfg(not(test))]
    pub fn is(self, _: Defect) -> bool {
        false
    }
}
