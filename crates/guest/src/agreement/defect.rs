//! Deliberate defects of the agreement, which its simulation has to find.

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[cfg_attr(not(test), allow(dead_code, reason = "checked, never injected"))]
pub(crate) enum AgreementDefect {
    /// A guest runs on although its node does not hold its lease.
    RunsWithoutLease,
    /// A paused guest continues after it has run elsewhere.
    ContinuesStale,
    /// A lease is given up before its guest has left.
    ReleasesEarly,
    /// An order is carried out after another node has had the guest.
    KeepsOrders,
    /// The end of a move takes the place of an order that the cluster has not got.
    LosesOrders,
    /// The target of a move that cannot take the guest is waited for.
    KeepsTarget,
    /// A node remembers failures and shut-downs from before another node had the guest.
    NeverForgives,
    PlacesStopped,
    /// The lease of another node is not given back.
    NeverYields,
    /// A node asks for a lease again that it has just given up for another one.
    TakesBack,
    /// A restarted node does not request the leases that the cluster still records as its own.
    LeavesItsOwn,
    TrustsSilence,
    /// A guest starts before the cluster has that its disks are open here.
    OpensAtOnce,
    /// A killed QEMU counts as one that ended in order.
    ForgetsKilled,
    /// A node opens disks while the cluster has it as off since an earlier failure.
    TrustsOldFencing,
    /// The record that a copy was missing stays after the copy is back.
    RemembersCopies,
    /// The watchdog is fed although a guest has its disks open without its lease.
    FeedsWithoutLease,
    /// A guest that has left for another node is placed as any other.
    TurnsBack,
    /// A guest starts while another one that has to leave still uses its capacity.
    PromisesTwice,
    DrainsAtOnce,
}
