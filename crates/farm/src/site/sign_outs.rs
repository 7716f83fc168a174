//! Sign-outs of the portal: the other nodes accept the same tokens, so they hear of each.

use super::Site;
use crate::agreement::Message;
use access::ended::{Ended, Ends};
use access::proof::now_s;
use access::session::ended_at;
use part::lock;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

/// Sessions in one message.
const ENDS_MAX: usize = 500;

/// What the portal and the link know of sign-outs.
#[derive(Debug)]
pub(super) struct SignOuts {
    ended: Arc<Mutex<Ended>>,
    /// The last change that each other node got.
    told: Mutex<BTreeMap<String, u64>>,
}

impl Site {
    /// Shares the sign-outs of the portal with the other nodes.
    pub fn shares_sign_outs(&self, ended: Arc<Mutex<Ended>>) {
        // A farm has one portal while it runs.
        let _ = self.sign_outs.set(SignOuts {
            ended,
            told: Mutex::default(),
        });
    }

    /// When all that a user had was ended, as the password had changed, seconds of the time of day; zero: that is not
    /// known.
    pub(super) fn all_ended_s(&self, user: &str) -> u64 {
        let sign_outs = self.sign_outs.get();
        sign_outs.map_or(0, |one| ended_at(&lock(&one.ended), user))
    }

    /// A user has signed out of the portal.
    pub fn signed_out(&self) {
        self.ring();
    }

    /// A node gets all of them: the connection is new.
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

    /// The next sign-outs for a node.
    pub(super) fn next_sign_outs(&self, node: &str) -> Option<Message> {
        let sign_outs = self.sign_outs.get()?;
        let mut told = lock(&sign_outs.told);
        let upto = told.get(node).copied().unwrap_or_default();
        let ended = lock(&sign_outs.ended);
        if ended.last() <= upto {
            return None;
        }
        let (ends, upto) = ended.after(upto, ENDS_MAX);
        told.insert(node.to_owned(), upto);
        Some(Message::SignedOut(ends))
    }

    pub(super) fn hears_sign_outs(&self, ends: &Ends) {
        if let Some(sign_outs) = self.sign_outs.get() {
            lock(&sign_outs.ended).take(ends, now_s());
        }
    }
}
