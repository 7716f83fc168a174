//! Deliberate defects of the life cycle of a guest, which its simulation has to find.

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[cfg_attr(not(test), allow(dead_code, reason = "checked, never injected"))]
pub(crate) enum LifecycleDefect {
    /// A guest continues to run after its lease has ended.
    RunsWithoutLease,
    /// The process of a QEMU that does not confirm a pause is not stopped.
    TrustsPause,
    /// A process that is not seen to be stopped is not killed.
    TrustsHalt,
    /// A stopped process is not continued.
    StaysHalted,
    /// A failed guest is restarted without a delay.
    RestartsAtOnce,
    /// A failed guest is restarted without end.
    NeverGivesUp,
    /// The restart of an unhealthy guest does not count as a failure.
    ForgivesUnwell,
}
