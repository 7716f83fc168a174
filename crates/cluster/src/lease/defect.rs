//! Leases broken on purpose: the simulation has to find each of these. Outside of
//! tests nothing is ever broken, and the compiler drops every question.

/// Kind of defect.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[cfg_attr(not(test), allow(dead_code, reason = "asked for, never set"))]
pub(crate) enum Defect {
    /// Validity counts from the answer, not from the sending.
    CountsFromAnswer,
    /// The holder uses all of the time, as if clocks were exact.
    NoDriftOfHolder,
    /// The leader waits for no more than the validity, as if clocks were exact.
    NoDriftOfGrantor,
    /// A new leader grants as if nobody had answered renewals before it.
    NewLeaderDoesNotWait,
    /// Renewals are answered without confirmed leadership.
    AnswersUnconfirmed,
    /// A confirmation that was asked for before the renewal came counts, too.
    BelievesOldConfirmation,
    /// Renewals are answered while the lease is being given to another.
    AnswersWhileGranting,
    /// A member's own grant with a shorter validity does not wait for the longer one.
    ShortensAtOnce,
    /// A holder that began anew goes on with the epoch of its former life.
    ResumesFormerEpoch,
    /// Releases while it goes on using the lease.
    UsesAfterRelease,
    /// The time was looked at once, not at every use.
    ChecksBeforeThePause,
    /// A grant enters the log in whatever term leads by then.
    GrantsInAnyTerm,
    /// The next holder's validity counts from its last request, even if another one was
    /// granted.
    CountsFromLastRequest,
    /// The leader keeps no quarantine for the next holder of a passed lease.
    PassesWithoutPromise,
    /// A grant takes effect whatever the epoch is by then.
    GrantsOnAnyEpoch,
}

/// The injected defect, if any.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Broken {
    #[cfg(test)]
    pub by: Option<Defect>,
}

impl Broken {
    /// Returns whether this defect is injected.
    #[cfg(test)]
    pub fn is(self, defect: Defect) -> bool {
        self.by == Some(defect)
    }

    /// Never.
    #[cfg(not(test))]
    pub fn is(self, _: Defect) -> bool {
        false
    }
}
