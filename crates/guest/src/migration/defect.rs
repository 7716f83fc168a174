//! Deliberate defects of a move, which its simulation has to find.

/// A defect.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Defect {
    /// The target continues a guest without [`super::Message::Done`].
    TrustsTheStream,
    /// The source lets the guest go on without its lease.
    ReturnsWithoutLease,
    /// The source lets the guest go on while the target may write its volumes.
    ReturnsWithoutVolumes,
}
