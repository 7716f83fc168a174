//! Lists deliberate defects of the store, for simulations. A simulation that finds none of them
//! would not find a real one either.

/// A mistake that a maintainer could make, for [`crate::Table::set_defect`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Defect {
    /// The end of the last hold ends the record.
    ForgetsAtEnd,
    /// Of two records for one key the last one to arrive wins, whatever their versions.
    LastMergeHolds,
    /// The holds of a node that is gone still count.
    GoneStaysHeld,
    AsksNobody,
    /// Two claims of one group for different keys ignore each other.
    ClaimsCross,
    /// A node that restarts decides before it has received the records of the others.
    AnswersBeforeSync,
    OneReplyConfirms,
    /// A node decides alone as soon as a connection breaks.
    BrokenIsGone,
    /// An adopted claim counts as confirmed while a third node may know better.
    ClaimIsConfirmed,
    ClockStands,
    NotForwarded,
    /// The generation is not increased when a decision replaces another one.
    GenerationStands,
    /// A replacement does not count as pending: the previous value is still returned.
    LeavingIsKnown,
    /// A torn frame ends the journal without a check of its contents.
    ChecksumIgnored,
    /// A client gets its response before the named nodes have the decision of an owned key.
    NamesNotAwaited,
    /// A client gets its response before nodes that may soon be named have the decision.
    StepNotAwaited,
    /// The record names a node as soon as its copy begins.
    NamedTooEarly,
    /// The numbers of messages restart with each copy.
    NumberRestarts,
    /// An incomplete copy counts.
    HalfCopyCounts,
}
