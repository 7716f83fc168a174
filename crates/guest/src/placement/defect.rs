//! Lists deliberate defects of the placement, each of which its simulation has to find.

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[cfg_attr(not(test), allow(dead_code, reason = "checked, never injected"))]
pub(crate) enum PlacementDefect {
    /// Bug: the full capacity of a node is offered to each guest.
    PromisesTwice,
    /// Bug: names instead of priorities decide which guests run.
    IgnoresPriority,
    /// Bug: a guest returns to a better node without `fail-back yes`.
    FailsBack,
    /// Bug: a drained node accepts guests.
    FillsDrained,
    /// Bug: guests share a node despite `apart`.
    IgnoresApart,
    /// Bug: a guest that does not run replaces a running one of the same priority.
    StartsFirst,
}
