//! Deliberate defects of the placement, which its simulation has to find.

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[cfg_attr(not(test), allow(dead_code, reason = "checked, never injected"))]
pub(crate) enum PlacementDefect {
    /// The capacity of a node is offered in full to each guest.
    PromisesTwice,
    /// Names instead of priorities decide which guests run.
    IgnoresPriority,
    /// A guest returns to a better node without `fail-back yes`.
    FailsBack,
    /// A drained node accepts guests.
    FillsDrained,
    /// Guests share a node despite `apart`.
    IgnoresApart,
    /// A guest that does not run takes the place of one of the same priority that does.
    StartsFirst,
}
