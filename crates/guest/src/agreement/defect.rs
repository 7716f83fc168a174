//! Lists deliberate defects of the agreement, each of which its simulation has to find.

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[cfg_attr(not(test), allow(dead_code, reason = "checked, never injected"))]
pub(crate) enum AgreementDefect {
    /// Bug: a guest runs on although its node does not hold its lease.
    RunsWithoutLease,
    /// Bug: a paused guest continues after it has run on another node.
    ContinuesStale,
    /// Bug: a lease is released before its guest has left.
    ReleasesEarly,
    /// Bug: an order is carried out after another node has had the guest.
    KeepsOrders,
    /// Bug: the end of a migration overwrites an order that the cluster has not recorded yet.
    LosesOrders,
    /// Bug: the agreement waits for the target of a migration although the target cannot run the
    /// guest.
    KeepsTarget,
    /// Bug: a node keeps failures and shutdowns from before another node had the guest.
    NeverForgives,
    PlacesStopped,
    /// Bug: the lease of another node is not released when that node returns.
    NeverYields,
    /// Bug: a node requests a lease again that it has just released for another node.
    TakesBack,
    /// Bug: a restarted node does not request the leases that the cluster still records as its own.
    LeavesItsOwn,
    TrustsSilence,
    /// Bug: a guest starts before the cluster has recorded that its disks are open on this node.
    OpensAtOnce,
    /// Bug: a killed QEMU process counts as one that closed its disks.
    ForgetsKilled,
    /// Bug: a node opens disks although the cluster has recorded it as off since an earlier
    /// failure.
    TrustsOldFencing,
    /// Bug: the record that a copy was missing stays after the copy is back.
    RemembersCopies,
    /// Bug: the watchdog is fed although a guest has its disks open without its lease.
    FeedsWithoutLease,
    /// Bug: a guest that has left for another node is placed like any other.
    TurnsBack,
    /// Bug: a guest starts while another one that has to leave still uses its capacity.
    PromisesTwice,
    DrainsAtOnce,
}
