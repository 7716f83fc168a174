//! The code broken on purpose: the simulation has to find each of these. Outside of
//! tests nothing is ever broken, and the compiler drops every question.

/// One way to be broken.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[cfg_attr(not(test), allow(dead_code, reason = "asked for, never set"))]
pub(super) enum Defect {
    /// Adverts of lower priority count as the owner's.
    NeverPreempts,
    /// Priority zero is heard like any other.
    IgnoresPriorityZero,
    /// Between equals nobody gives way.
    NoTieBreak,
    /// Its own lateness is taken for the owner's silence.
    BelievesLateTimers,
    /// The answers of the owner's kernel are not heard.
    IgnoresAnswers,
    /// While the owner's kernel answers, it waits for ever.
    WaitsForAnswersForEver,
    /// At a stop the advert of priority zero comes before the release.
    StopsBeforeRelease,
    /// Neighbours are not told again after two owners met.
    NoAnnouncementAfterHeal,
    /// Stored state is trusted regardless of its age.
    ResumesAlways,
    /// A hand-over gives away first and tells then.
    HandOverReleasesFirst,
    /// A master that stood still goes on as if nothing had happened.
    IgnoresItsFreeze,
    /// Each forged or lower advert is answered, however many come.
    AnswersEverything,
    /// A backup takes over although it has a fault.
    TakesOverWithFault,
    /// Preemption is never held back.
    NeverDamped,
    /// As master it never gives way.
    NeverGivesWay,
}
