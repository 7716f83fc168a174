//! Decides whether this node may respond to clients with the configuration version that it serves
//! ([`Admission`]).
//!
//! A removed member does not respond at all. A member whose version no majority has confirmed
//! responds only to clients that no other server answers ([`UnansweredClients`]), and never
//! refuses an address: the lease may be a current node's.

use super::NetworkState;
use crate::config::AddressSource;
use crate::dhcp::attempts::{ATTEMPTS_MIN, UNANSWERED_MS, UnansweredClients};
use crate::dhcp::desk::DhcpDecision;
use crate::dhcp::reply::DhcpReplyType;
use crate::mac::Mac;
use part::role::Admission;

/// Admission of this node, and the clients to which it responds because no other server does.
#[derive(Default)]
pub(super) struct AdmissionState {
    pub(super) admission: Admission,
    unanswered: UnansweredClients,
}

impl NetworkState {
    /// Suppresses a refusal (NAK) while this node may not act on its version of the configuration:
    /// a node with the current version may have assigned the address.
    pub(super) fn without_refusal(&self, decision: DhcpDecision) -> DhcpDecision {
        let verdict = decision.answer.as_ref().map(|answer| answer.verdict);
        if !self.is_reserve() || verdict != Some(DhcpReplyType::No) {
            return decision;
        }
        let (why, reason) = (&decision.why, self.reserve.admission.why());
        DhcpDecision::silent(format!("{why}; it gets no NAK: {reason}"))
    }

    pub fn admit(&mut self, admission: Admission) {
        self.reserve.admission = admission;
        if admission.is_admitted() {
            // If all clients get responses, their requests prove nothing about other servers.
            self.reserve.unanswered = UnansweredClients::default();
        }
    }

    /// Explains why this node does not respond at all; None: it may respond.
    pub fn why_closed(&self) -> Option<String> {
        let is_removed = self.reserve.admission == Admission::Removed;
        is_removed.then(|| format!("{}: it answers nothing", self.reserve.admission.why()))
    }

    pub(super) fn is_reserve(&self) -> bool {
        !self.reserve.admission.is_admitted()
    }

    /// Explains to operators why only unanswered clients get responses; None: all clients get them.
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

    /// Explains why this node does not respond as usual; None: it does.
    pub fn notice(&self) -> Option<String> {
        self.why_closed().or_else(|| self.why_reserve())
    }

    /// Records a message of a client. Returns why this node sends no response; None: it may
    /// respond.
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
        // If another server assigns the addresses, all clients accept the offers of that server.
        let takes_another = names_another && self.lan.gives != AddressSource::Other;
        let may_answer = self.reserve.unanswered.note(mac, takes_another, now_ms);
        let taken = "it takes the offer of another server";
        (!may_answer).then(|| {
            if takes_another {
                format!("{}, and {taken}", self.reserve.admission.why())
            } else {
                format!(
                    "{}, and another server may answer",
                    self.reserve.admission.why()
                )
            }
        })
    }

    /// Explains why a machine may not fetch its own files from this node; None: it may.
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
