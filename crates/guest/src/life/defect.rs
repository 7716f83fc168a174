//! Lists deliberate defects of the life cycle of a guest, each of which its simulation has to find.

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[cfg_attr(not(test), allow(dead_code, reason = "checked, never injected"))]
pub(crate) enum LifecycleDefect {
    /// Bug: a guest continues to run after its lease has ended.
    RunsWithoutLease,
    /// Bug: the process of a QEMU that does not confirm a pause is not stopped by a signal.
    TrustsPause,
    /// Bug: a process that was not seen to stop after the signal is not killed.
    TrustsHalt,
    /// Bug: a process that was stopped by a signal is never continued.
    StaysHalted,
    /// Bug: a failed guest is restarted without a delay.
    RestartsAtOnce,
    /// Bug: a failed guest is restarted without a limit.
    NeverGivesUp,
    /// Bug: the restart of an unhealthy guest does not count as a failure.
    ForgivesUnwell,
}
