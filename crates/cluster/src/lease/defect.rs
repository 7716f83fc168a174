//! Lists deliberate defects of leases, each of which the simulation must find. Outside of tests
//! none is active, and the compiler removes the checks for them.

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[cfg_attr(not(test), allow(dead_code, reason = "asked for, never set"))]
pub(crate) enum LeaseDefect {
    /// Validity counts from the response instead of the request.
    CountsFromAnswer,
    /// The holder uses the whole validity, as if clocks were exact.
    NoDriftOfHolder,
    /// The leader waits no longer than the validity, as if clocks were exact.
    NoDriftOfGrantor,
    /// A new leader grants as if no earlier leader had acknowledged renewals.
    NewLeaderDoesNotWait,
    /// The leader acknowledges renewals without confirming its leadership.
    AnswersUnconfirmed,
    /// The leader accepts a confirmation that it requested before the renewal arrived.
    BelievesOldConfirmation,
    /// The leader acknowledges renewals while it grants the lease to another member.
    AnswersWhileGranting,
    /// A member's own grant with a shorter validity does not wait for the longer one.
    ShortensAtOnce,
    /// A restarted holder continues with the epoch of its previous process.
    ResumesFormerEpoch,
    UsesAfterRelease,
    /// The holder checks the time once, not at every use.
    ChecksBeforeThePause,
    /// A grant enters the log in any later term.
    GrantsInAnyTerm,
    /// The next holder's validity counts from its last request, even if another one was
    /// granted.
    CountsFromLastRequest,
    /// The leader keeps no quarantine for the next holder of a passed lease.
    PassesWithoutPromise,
    GrantsOnAnyEpoch,
}

#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct InjectedLeaseDefect {
    #[cfg(test)]
    pub by: Option<LeaseDefect>,
}

impl InjectedLeaseDefect {
    #[cfg(test)]
    pub fn is(self, defect: LeaseDefect) -> bool {
        self.by == Some(defect)
    }

    #[cfg(not(test))]
    pub fn is(self, _: LeaseDefect) -> bool {
        false
    }
}
