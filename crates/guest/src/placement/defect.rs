//! Deliberate defects of the placement, which its simulation has to find.

/// A defect.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Defect {
    /// The room of a node is promised to each guest for itself.
    PromisesTwice,
    /// The order of the names decides which guests run.
    IgnoresPriority,
    /// A guest returns to a better node although the file does not say so.
    FailsBack,
    /// A drained node takes guests.
    FillsDrained,
    /// Guests are together that have to be apart.
    IgnoresApart,
    /// A guest that does not run takes the place of one of the same priority that does.
    StartsFirst,
}
