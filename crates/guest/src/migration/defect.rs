//! Lists deliberate defects of a migration, each of which its simulation has to find.

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[cfg_attr(not(test), allow(dead_code, reason = "checked, never injected"))]
pub(crate) enum MigrationDefect {
    /// Bug: the target lets a guest run without `MigrationMessage::Done`.
    TrustsTheStream,
    /// Bug: the source lets the guest run without its lease.
    ReturnsWithoutLease,
    /// Bug: the source lets the guest run while the target may write its volumes.
    ReturnsWithoutVolumes,
}
