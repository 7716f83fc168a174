//! Deliberate defects of the life of a guest, which its simulation has to find.

/// A defect.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Defect {
    /// A guest goes on when its lease has ended.
    RunsWithoutLease,
    /// The process of a QEMU that does not confirm a pause is not stopped.
    TrustsPause,
    /// One that is not seen to be stopped is not killed.
    TrustsHalt,
    /// A process that was stopped does not go on.
    StaysHalted,
    /// A guest that fails is started again without a pause.
    RestartsAtOnce,
    /// A guest that fails is started again without end.
    NeverGivesUp,
    /// The restart of a guest that does not work is no failure.
    ForgivesUnwell,
}
