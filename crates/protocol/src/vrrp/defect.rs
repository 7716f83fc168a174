//! Lists mistakes that tests can build into the VRRP state machine on purpose; the simulation
//! must find each of them. Outside tests no mistake is ever active, and the compiler removes
//! every check.

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[cfg_attr(not(test), allow(dead_code, reason = "asked for, never set"))]
pub(super) enum VrrpDefect {
    /// The router wrongly treats adverts of lower priority as the owner's, and never preempts.
    NeverPreempts,
    /// The router wrongly treats an advert with priority zero like any other.
    IgnoresPriorityZero,
    /// The router wrongly does not yield to another one of equal priority and higher address.
    NoTieBreak,
    /// The router wrongly takes a delay of its own machine for silence of the owner.
    BelievesLateTimers,
    /// The router wrongly ignores replies of the owner's kernel to probes.
    IgnoresAnswers,
    /// The router wrongly waits forever while the owner's kernel responds to probes.
    WaitsForAnswersForEver,
    /// At a stop, the router wrongly sends the advert with priority zero before it releases the
    /// addresses.
    StopsBeforeRelease,
    /// The router wrongly does not announce its addresses again after there were two owners.
    NoAnnouncementAfterHeal,
    /// The router wrongly trusts stored state of any age.
    ResumesAlways,
    /// In a hand-over, the router wrongly releases the addresses before it offers them.
    HandOverReleasesFirst,
    /// A master that was suspended wrongly continues as if it had not been.
    IgnoresItsFreeze,
    /// The router wrongly answers each forged or lower advert, however many arrive.
    AnswersEverything,
    /// A router in the backup state wrongly becomes master although it has a fault.
    TakesOverWithFault,
    /// The router wrongly never delays frequent preemptions.
    NeverDamped,
    NeverGivesWay,
}
