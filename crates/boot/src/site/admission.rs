//! Whether this node may answer by the version that it serves ([`Admission`]).
//!
//! A removed member answers nothing. A member whose version no majority has confirmed answers only
//! clients that no other server answers ([`UnansweredClients`]), and refuses nobody an address: the
//! lease may be a current node's.

use super::Site;
use crate::config::Gives;
use crate::dhcp::attempts::{ATTEMPTS_MIN, UNANSWERED_MS, UnansweredClients};
use crate::dhcp::desk::Decision;
use crate::dhcp::reply::Verdict;
use crate::mac::Mac;
use part::role::Admission;

/// What the version that this node serves allows, and the clients for which it stands in.
#[derive(Default)]
pub(super) struct Reserve {
    /// Whether this node may answer by the version that it serves.
    pub(super) admission: Admission,
    unanswered: UnansweredClients,
}

impl Site {
    /// A node that may not act by its version refuses no address: a current node may have given it.
    pub(super) fn without_refusal(&self, decision: Decision) -> Decision {
        let verdict = decision.answer.as_ref().map(|answer| answer.verdict);
        if !self.is_reserve() || verdict != Some(Verdict::No) {
            return decision;
        }
        let (why, reason) = (&decision.why, self.reserve.admission.why());
        Decision::silent(format!("{why}; it gets no NAK: {reason}"))
    }

    /// Whether this node may answer from now on.
    pub fn admit(&mut self, admission: Admission) {
        self.reserve.admission = admission;
        if admission.is_admitted() {
            // What clients ask while they are answered shows nothing of other servers.
            self.reserve.unanswered = UnansweredClients::default();
        }
    }

    /// Why this node answers nobody at all, in words; None: it may answer.
    pub fn why_closed(&self) -> Option<String> {
        let is_removed = self.reserve.admission == Admission::Removed;
        is_removed.then(|| format!("{}: it answers nothing", self.reserve.admission.why()))
    }

    /// Whether only clients are answered that no other server answers.
    pub(super) fn is_reserve(&self) -> bool {
        !self.reserve.admission.is_admitted()
    }

    /// What operators should know while only clients are answered that no other server answers.
    pub(super) fn why_reserve(&self) -> Option<String> {
        let words = || {
            format!(
                "{}: a client is answered only after it has asked {ATTEMPTS_MIN} times in {} s without an answer of \
                 another server",
                self.reserve.admission.why(),
                UNANSWERED_MS / 1_000
            )
        };
        let is_shown = self.is_reserve() && self.reserve.admission != Admission::Removed;
        is_shown.then(words)
    }

    /// Why this node does not answer as usual, in words; None: it does.
    pub fn notice(&self) -> Option<String> {
        self.why_closed().or_else(|| self.why_reserve())
    }

    /// Notes a message of a client. Returns why it is not answered; None: it may be.
    pub(super) fn why_silent(
        &mut self,
        mac: Mac,
        names_another: bool,
        now_ms: u64,
    ) -> Option<String> {
        if let Some(why) = self.why_closed() {
            return Some(why);
        }
        if !self.is_reserve() {
            return None;
        }
        // Where another server gives the addresses, all clients take its offers.
        let takes_another = names_another && self.lan.gives != Gives::Other;
        let may_answer = self.reserve.unanswered.note(mac, takes_another, now_ms);
        let taken = "it takes the offer of another server";
        (!may_answer).then(|| match takes_another {
            true => format!("{}, and {taken}", self.reserve.admission.why()),
            false => format!(
                "{}, and another server may answer",
                self.reserve.admission.why()
            ),
        })
    }

    /// Why a machine may fetch nothing of its own here; None: it may.
    pub(super) fn why_no_fetch(&self, mac: Mac, now_ms: u64) -> Option<String> {
        if let Some(why) = self.why_closed() {
            return Some(why);
        }
        let is_answered = !self.is_reserve() || self.reserve.unanswered.may_answer(mac, now_ms);
        (!is_answered).then(|| {
            format!(
                "{}, and {mac} was not answered by it",
                self.reserve.admission.why()
            )
        })
    }
}

#[cfg(test)]
mod tests;
