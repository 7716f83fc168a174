//! Connects the state of a farm with the other nodes: requests decisions from the agreement
//! ([`crate::agreement`]) and passes its messages to the link.

use super::{FarmState, FarmStateInner};
use crate::agreement::{AgreementMessage, FarStep, InvalidMessage, Logon, LogonOutcome};
use crate::collection::{Assignee, CollectionId};
use crate::directory::{Decision, Directory, DirectoryId, NoHost};
use crate::token::NameId;
use crate::user::FarmUser;
use part::lock;
use part::report::Moment;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Instant;
use tokio::sync::{oneshot, watch};

const STEPS_MAX: usize = 100;
/// Maximum delay of steps while logons wait for another node, milliseconds.
const STEPS_MS: u64 = 200;
const HEARD_MAX: usize = 16;

/// Notified when a message is due to another node.
pub type MessageNotifier = Arc<watch::Sender<u64>>;

#[derive(Clone, Debug)]
pub struct SharingParameters {
    /// Identifier of the directory; a new one after each start.
    pub origin: DirectoryId,
    pub bell: MessageNotifier,
}

impl FarmState {
    pub(super) fn ring(&self) {
        if let Some(bell) = &self.bell {
            bell.send_modify(|count| *count = count.wrapping_add(1));
        }
    }

    /// Decides the host of a user in a collection, and measures the duration. The other nodes are
    /// asked if the user is not known there.
    ///
    /// # Errors
    /// Returns why no host is available.
    pub(super) async fn decide(
        &self,
        user: &FarmUser,
        collection: CollectionId,
        hint: Option<NameId>,
    ) -> Result<Decision, NoHost> {
        let began = Instant::now();
        let id = Assignee::new(user.id, collection);
        let decided = self.agree(id, user, hint).await;
        let now = Instant::now();
        let took = now.saturating_duration_since(began);
        lock(&self.inner).history.decided(took, now);
        match &decided {
            Ok(one) => tracing::info!(
                user = ?user.name,
                host = one.host,
                reason = ?one.why,
                took_ms = took.as_millis(),
                "host decided"
            ),
            Err(why) => tracing::info!(user = ?user.name, reason = %why, "no host for a user"),
        }
        decided
    }

    async fn agree(
        &self,
        id: Assignee,
        user: &FarmUser,
        hint: Option<NameId>,
    ) -> Result<Decision, NoHost> {
        let logon = Logon {
            id,
            name: user.name.clone(),
            hint,
        };
        self.wait_for_agents(id).await;
        let waits = {
            let mut inner = lock(&self.inner);
            match inner.agreement.request(logon, Moment::now().boottime_ms) {
                LogonOutcome::Decided(decided) => {
                    self.ring();
                    return decided;
                }
                LogonOutcome::Waits(ticket) => {
                    let (sender, receiver) = oneshot::channel();
                    inner.waiting.insert(ticket, sender);
                    receiver
                }
            }
        };
        self.ring();
        // Counts a dropped sender as busy, which happens only when the farm ends.
        waits.await.unwrap_or(Err(NoHost::Busy))
    }

    /// Changes the agreement, and wakes the logons that were decided by the change.
    fn with<T>(&self, change: impl FnOnce(&mut FarmStateInner, u64) -> T) -> T {
        let (changed, resolved) = {
            let mut inner = lock(&self.inner);
            let changed = change(&mut inner, Moment::now().boottime_ms);
            let resolved = inner.agreement.take_resolved().into_iter();
            let waiting = resolved.filter_map(|(ticket, decided)| {
                let waiting = inner.waiting.remove(&ticket)?;
                Some((waiting, decided))
            });
            (changed, waiting.collect::<Vec<_>>())
        };
        // Sends without the lock, which the woken tasks need next.
        for (waiting, decided) in resolved {
            // Ignores an error: the receiver is gone if the client has disconnected.
            let _ = waiting.send(decided);
        }
        self.ring();
        changed
    }

    pub fn origin(&self) -> DirectoryId {
        lock(&self.inner).agreement.directory.table().origin()
    }

    pub fn set_peers(&self, nodes: &BTreeSet<String>) {
        self.with(|inner, now_ms| inner.agreement.set_peers(nodes, now_ms));
    }

    pub fn linked(&self, node: &str, origin: DirectoryId) {
        self.sign_outs_to_all(node);
        self.tries.linked(node);
        self.with(|inner, now_ms| {
            inner.told.last.remove(node);
            inner.agreement.linked(node, origin, now_ms);
        });
    }

    pub fn broke(&self, node: &str, why: &str) {
        self.tries.drop_node(node);
        self.with(|inner, now_ms| inner.agreement.broke(node, why, now_ms));
    }

    /// Handles a node that is not part of this farm, or leaves it. Nothing waits for the node any
    /// more.
    pub fn left(&self, node: &str, why: &str) {
        self.tries.drop_node(node);
        self.with(|inner, now_ms| inner.agreement.left(node, why, now_ms));
    }

    /// Handles expired timeouts. Returns the connections that have to be closed, with the reason.
    pub fn tick(&self) -> Vec<(String, &'static str)> {
        let mut inner = lock(&self.inner);
        let now_ms = Moment::now().boottime_ms;
        inner.agreement.tidy(now_ms);
        let waits_ms = now_ms.saturating_sub(inner.told.since_ms);
        let last = inner.history.last();
        if last > inner.told.upto && (!inner.agreement.is_asking() || waits_ms >= STEPS_MS) {
            (inner.told.upto, inner.told.since_ms) = (last, now_ms);
            self.ring();
        }
        if inner.agreement.due_ms().is_none_or(|due| due > now_ms) {
            return inner.agreement.take_broken();
        }
        drop(inner);
        self.with(|inner, now_ms| {
            inner.agreement.tick(now_ms);
            inner.agreement.take_broken()
        })
    }

    /// Releases all steps of the history for sending, because this node shuts down.
    pub fn spread(&self) {
        let mut inner = lock(&self.inner);
        inner.told.upto = inner.history.last();
    }

    /// Handles a message of a node.
    ///
    /// # Errors
    /// Returns an error if the connection has to end.
    pub fn handle(
        &self,
        node: &str,
        origin: DirectoryId,
        message: AgreementMessage,
    ) -> Result<(), InvalidMessage> {
        if let AgreementMessage::SignedOut(ends) = &message {
            message.check()?;
            self.merge_sign_outs(ends);
            return Ok(());
        }
        if let AgreementMessage::Tries(_)
        | AgreementMessage::UseCode { .. }
        | AgreementMessage::CodeUsed { .. } = &message
        {
            message.check()?;
            self.tries.handle(node, &message);
            return Ok(());
        }
        self.with(|inner, now_ms| {
            inner.has_changed = true;
            match message {
                AgreementMessage::Steps(_) => {
                    message.check()?;
                    inner.store_steps(node, origin, message);
                    Ok(())
                }
                AgreementMessage::Disconnect { user, ref host } => {
                    message.check()?;
                    inner.disconnect(user, host);
                    Ok(())
                }
                message => inner.agreement.handle(node, message, now_ms),
            }
        })
    }

    pub fn has_message(&self, node: &str) -> bool {
        let inner = lock(&self.inner);
        let told = inner.told.last.get(node).copied().unwrap_or_default();
        let has_more = inner.agreement.has_message(node) || told < inner.told.upto;
        has_more || self.has_sign_outs(node) || self.tries.has_message(node)
    }

    pub fn next_message(&self, node: &str) -> Option<AgreementMessage> {
        // Sends messages about one-time codes first, because a client waits for the response.
        if let Some(message) = self.tries.next_message(node) {
            return Some(message);
        }
        let mut inner = lock(&self.inner);
        let now_ms = Moment::now().boottime_ms;
        let key = inner.key.check();
        let message = inner.agreement.next_message(node, key, now_ms);
        // Sends sign-outs before steps of the history, which are only displayed.
        message
            .or_else(|| self.next_sign_outs(node))
            .or_else(|| inner.next_steps(node, now_ms))
    }
}

impl FarmStateInner {
    fn next_steps(&mut self, node: &str, now_ms: u64) -> Option<AgreementMessage> {
        let told = self.told.last.get(node).copied().unwrap_or_default();
        if told >= self.told.upto {
            return None;
        }
        let steps = self.history.behind(told, STEPS_MAX);
        // Skips steps that have been dropped from the history, which are never sent.
        let last = steps.last().map_or(self.told.upto, |(number, ..)| *number);
        self.told.last.insert(node.to_owned(), last);
        if steps.is_empty() {
            return None;
        }
        let step = |(number, user, step): (u64, _, crate::history::HistoryStep)| FarStep {
            number,
            user,
            age_ms: now_ms.saturating_sub(step.at.boottime_ms),
            step,
        };
        Some(AgreementMessage::Steps(
            steps.into_iter().map(step).collect(),
        ))
    }

    /// Stores the steps of another node. Steps with known numbers are ignored: a previous
    /// connection delivered them.
    fn store_steps(&mut self, node: &str, origin: DirectoryId, message: AgreementMessage) {
        let AgreementMessage::Steps(steps) = message else {
            return;
        };
        if self.heard.len() >= HEARD_MAX && !self.heard.contains_key(&origin) {
            self.heard.clear();
        }
        let heard = self.heard.entry(origin).or_default();
        let now = Moment::now();
        for FarStep {
            number,
            user,
            age_ms,
            mut step,
        } in steps
        {
            if number <= *heard {
                continue;
            }
            *heard = number;
            step.at = Moment {
                boottime_ms: now.boottime_ms.saturating_sub(age_ms),
                unix_ms: now.unix_ms.saturating_sub(age_ms),
            };
            node.clone_into(&mut step.node);
            self.history.add_far(user, step);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::directory::tests::farm;
    use crate::history::HistoryStep;
    use std::net::{IpAddr, Ipv4Addr};

    /// Creates a farm with a connection to `beta`, which has received all steps.
    fn linked() -> FarmState {
        let shared = SharingParameters {
            origin: DirectoryId(1),
            bell: Arc::new(watch::Sender::new(0)),
        };
        let site = FarmState::new(
            "office",
            farm(Default::default(), &[1]),
            &[7; 32],
            Some(shared),
        );
        site.set_peers(&BTreeSet::from(["beta".to_owned()]));
        site.linked("beta", DirectoryId(2));
        site.handle("beta", DirectoryId(2), AgreementMessage::Whole)
            .unwrap();
        while site.next_message("beta").is_some() {}
        site
    }

    fn far(number: u64) -> FarStep {
        let user = FarmUser::named("bert").unwrap().id;
        let step = HistoryStep {
            at: Moment::default(),
            from: String::new(),
            asked: number.to_string(),
            got: String::new(),
            why: String::new(),
            node: String::new(),
        };
        let age_ms = 0;
        FarStep {
            number,
            user,
            age_ms,
            step,
        }
    }

    #[test]
    fn claims_precede_steps_and_missing_nodes_are_skipped() {
        let site = linked();
        let anna = FarmUser::named("anna").unwrap();
        site.at_portal(&anna.name, IpAddr::from(Ipv4Addr::LOCALHOST), "a page", "");
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .build()
            .unwrap();
        runtime.block_on(async {
            let decides = site.decide(&anna, CollectionId::ALL, None);
            tokio::pin!(decides);
            let mut context = std::task::Context::from_waker(std::task::Waker::noop());
            assert!(decides.as_mut().poll(&mut context).is_pending());
        });
        let claim = site.next_message("beta");
        assert!(
            matches!(claim, Some(AgreementMessage::Claim { .. })),
            "{claim:?}"
        );
        assert_eq!(site.next_message("beta"), None);
        // The other node's steps displace the unsent one from the history.
        for first in (1..=2_000).step_by(STEPS_MAX) {
            let steps = (first..).take(STEPS_MAX).map(far).collect();
            let heard = site.handle("beta", DirectoryId(2), AgreementMessage::Steps(steps));
            heard.unwrap();
        }
        site.spread();
        assert!(site.has_message("beta"));
        assert_eq!(site.next_message("beta"), None);
        assert!(!site.has_message("beta"));
    }
}
