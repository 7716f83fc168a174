//! Lists mistakes that tests can build into the VRRP state machine on purpose; the simulation
//! must find each of them. Outside tests no mistake is ever active, and the compiler removes
//! every check.

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[cfg_attr(not(test), allow(dead_code, reason = "asked for, never set"))]
pub(super) enum VrrpDefect {
    /// Adverts of lower priority count as the owner's.
    NeverPreempts,
    /// Priority zero is treated like any other.
    IgnoresPriorityZero,
    /// Of two equal routers, neither yields.
    NoTieBreak,
    /// The router's own delay is taken for the owner's silence.
    BelievesLateTimers,
    /// Replies of the owner's kernel are ignored.
    IgnoresAnswers,
    /// While the owner's kernel responds, the router waits forever.
    WaitsForAnswersForEver,
    /// At a stop the advert of priority zero precedes the release.
    StopsBeforeRelease,
    /// Neighbours are not notified again after two owners met.
    NoAnnouncementAfterHeal,
    /// Stored state is trusted regardless of its age.
    ResumesAlways,
    /// A hand-over releases the addresses before it offers them.
    HandOverReleasesFirst,
    /// A suspended master continues as if nothing had happened.
    IgnoresItsFreeze,
    /// Each forged or lower advert is answered, however many arrive.
    AnswersEverything,
    /// A backup takes over although it has a fault.
    TakesOverWithFault,
    /// Preemptions never have to wait.
    NeverDamped,
    NeverGivesWay,
}
