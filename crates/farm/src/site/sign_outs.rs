//! Exchanges sign-outs of the portal with the other nodes, which accept the same session tokens.

use super::FarmState;
use crate::agreement::AgreementMessage;
use access::ended::{EndedSessions, SessionEndBatch};
use access::proof::now_s;
use access::session::sessions_ended_at;
use part::lock;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

const ENDS_MAX: usize = 500;

/// Sign-outs that the portal and the link share.
#[derive(Debug)]
pub(super) struct SignOuts {
    ended: Arc<Mutex<EndedSessions>>,
    told: Mutex<BTreeMap<String, u64>>,
}

impl FarmState {
    /// Shares the sign-outs of the portal with the other nodes.
    pub fn shares_sign_outs(&self, ended: Arc<Mutex<EndedSessions>>) {
        // Ignores the result: setting fails only the second time, and a farm has one portal while
        // it runs.
        let _ = self.sign_outs.set(SignOuts {
            ended,
            told: Mutex::default(),
        });
    }

    /// Returns the time at which all sessions of a user were ended because the password was
    /// changed, seconds since 1970; 0 if no such time is known.
    pub(super) fn all_ended_s(&self, user: &str) -> u64 {
        let sign_outs = self.sign_outs.get();
        sign_outs.map_or(0, |one| sessions_ended_at(&lock(&one.ended), user))
    }

    pub fn signed_out(&self) {
        self.ring();
    }

    /// Schedules all sign-outs for a node with a new connection.
    pub(super) fn sign_outs_to_all(&self, node: &str) {
        if let Some(sign_outs) = self.sign_outs.get() {
            lock(&sign_outs.told).remove(node);
        }
    }

    pub(super) fn has_sign_outs(&self, node: &str) -> bool {
        self.sign_outs.get().is_some_and(|sign_outs| {
            let told = lock(&sign_outs.told).get(node).copied();
            lock(&sign_outs.ended).last() > told.unwrap_or_default()
        })
    }

    pub(super) fn next_sign_outs(&self, node: &str) -> Option<AgreementMessage> {
        let sign_outs = self.sign_outs.get()?;
        let mut told = lock(&sign_outs.told);
        let upto = told.get(node).copied().unwrap_or_default();
        let ended = lock(&sign_outs.ended);
        if ended.last() <= upto {
            return None;
        }
        let (ends, upto) = ended.after(upto, ENDS_MAX);
        told.insert(node.to_owned(), upto);
        Some(AgreementMessage::SignedOut(ends))
    }

    pub(super) fn merge_sign_outs(&self, ends: &SessionEndBatch) {
        if let Some(sign_outs) = self.sign_outs.get() {
            lock(&sign_outs.ended).merge_ends(ends, now_s());
        }
    }
}
