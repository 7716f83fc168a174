//! Exchanges failed sign-ins and used one-time codes of the portal and the gateway with the other
//! nodes, which count the same failures and refuse codes that were used here (RFC 6238, 5.2).

use super::{FarmState, MessageNotifier};
use crate::agreement::AgreementMessage;
use access::peers::{AttemptChange, CHANGES_MAX, IsNew, Peers};
use access::proof::Authenticator;
use part::lock;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fmt;
use std::sync::{Arc, Mutex, OnceLock, Weak};
use std::time::Duration;
use tokio::sync::oneshot;
use tokio::time::timeout;

/// Limit of changes that wait for a node. The oldest are dropped first, since they would expire
/// first.
const WAITING_MAX: usize = 16_384;
const CLAIMS_MAX: usize = 1_024;
const CLAIM_LIMIT: Duration = Duration::from_millis(1_000);

/// Failed sign-ins and used codes that the authenticator of a farm and the link exchange.
pub(super) struct Tries {
    bell: Option<MessageNotifier>,
    desk: OnceLock<Weak<Authenticator>>,
    inner: Mutex<AttemptState>,
}

#[derive(Default)]
struct AttemptState {
    nodes: BTreeMap<String, PendingMessages>,
    claims: BTreeMap<u64, CodeClaim>,
    last: u64,
}

#[derive(Default)]
struct PendingMessages {
    /// Claims of codes and responses to claims, sent first because a client waits for them.
    first: VecDeque<AgreementMessage>,
    changes: VecDeque<AttemptChange>,
}

struct CodeClaim {
    nodes: BTreeSet<String>,
    decided: oneshot::Sender<bool>,
}

impl fmt::Debug for Tries {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Tries")
    }
}

impl Tries {
    pub(super) fn new(bell: Option<MessageNotifier>) -> Tries {
        Tries {
            bell,
            desk: OnceLock::new(),
            inner: Mutex::default(),
        }
    }

    fn ring(&self) {
        if let Some(bell) = &self.bell {
            bell.send_modify(|count| *count = count.wrapping_add(1));
        }
    }

    fn desk(&self) -> Option<Arc<Authenticator>> {
        self.desk.get()?.upgrade()
    }

    /// Sends all failures that still count to a newly connected node.
    pub(super) fn linked(&self, node: &str) {
        // Collects the changes before the lock is acquired: the limiter is locked while it reports
        // changes, so the opposite order could deadlock.
        let left = self
            .desk()
            .map(|desk| desk.changes_for_new_node())
            .unwrap_or_default();
        let mut inner = lock(&self.inner);
        let waiting = PendingMessages {
            first: VecDeque::new(),
            changes: left.into(),
        };
        inner.nodes.insert(node.to_owned(), waiting);
        drop(inner);
        self.ring();
    }

    /// Drops a disconnected node, so that no claim waits for it.
    pub(super) fn drop_node(&self, node: &str) {
        let mut inner = lock(&self.inner);
        inner.nodes.remove(node);
        let claims: Vec<u64> = inner.claims.keys().copied().collect();
        claims
            .iter()
            .for_each(|number| inner.record_claim_response(*number, node, true));
    }

    pub(super) fn has_message(&self, node: &str) -> bool {
        let inner = lock(&self.inner);
        let waiting = inner.nodes.get(node);
        waiting.is_some_and(|one| !one.first.is_empty() || !one.changes.is_empty())
    }

    pub(super) fn next_message(&self, node: &str) -> Option<AgreementMessage> {
        let mut inner = lock(&self.inner);
        let waiting = inner.nodes.get_mut(node)?;
        if let Some(message) = waiting.first.pop_front() {
            return Some(message);
        }
        let count = waiting.changes.len().min(CHANGES_MAX);
        let changes: Vec<AttemptChange> = waiting.changes.drain(..count).collect();
        (!changes.is_empty()).then_some(AgreementMessage::Tries(changes))
    }

    pub(super) fn handle(&self, node: &str, message: &AgreementMessage) {
        match message {
            AgreementMessage::Tries(changes) => {
                if let Some(desk) = self.desk() {
                    desk.apply_remote_changes(changes);
                }
            }
            AgreementMessage::UseCode { number, user, step } => {
                let desk = self.desk();
                let is_new = desk.is_none_or(|desk| desk.record_remote_code(user, *step));
                let mut inner = lock(&self.inner);
                if let Some(waiting) = inner.nodes.get_mut(node)
                    && waiting.first.len() < CLAIMS_MAX
                {
                    let number = *number;
                    let response = AgreementMessage::CodeUsed { number, is_new };
                    waiting.first.push_back(response);
                }
                drop(inner);
                self.ring();
            }
            AgreementMessage::CodeUsed { number, is_new } => {
                lock(&self.inner).record_claim_response(*number, node, *is_new);
            }
            _ => {}
        }
    }
}

impl AttemptState {
    /// Records the response of a node to the claim of a code, or that the node will not respond.
    fn record_claim_response(&mut self, number: u64, node: &str, is_new: bool) {
        let Some(claim) = self.claims.get_mut(&number) else {
            return;
        };
        let was_asked = claim.nodes.remove(node);
        if was_asked
            && (!is_new || claim.nodes.is_empty())
            && let Some(claim) = self.claims.remove(&number)
        {
            // Ignores an error: the receiver is gone if the client has disconnected.
            let _ = claim.decided.send(is_new);
        }
    }
}

impl Peers for Tries {
    fn changed(&self, changes: &[AttemptChange]) {
        let mut inner = lock(&self.inner);
        for waiting in inner.nodes.values_mut() {
            waiting.changes.extend(changes.iter().cloned());
            let over = waiting.changes.len().saturating_sub(WAITING_MAX);
            waiting.changes.drain(..over);
        }
        drop(inner);
        self.ring();
    }

    fn claim_code<'a>(&'a self, user: &'a str, step: u64) -> IsNew<'a> {
        Box::pin(async move {
            let (number, decided) = {
                let mut inner = lock(&self.inner);
                inner.last += 1;
                let number = inner.last;
                let mut nodes = BTreeSet::new();
                for (node, waiting) in &mut inner.nodes {
                    if waiting.first.len() < CLAIMS_MAX {
                        let user = user.to_owned();
                        waiting
                            .first
                            .push_back(AgreementMessage::UseCode { number, user, step });
                        nodes.insert(node.clone());
                    }
                }
                if nodes.is_empty() {
                    return true;
                }
                let (sender, receiver) = oneshot::channel();
                let decided = sender;
                inner.claims.insert(number, CodeClaim { nodes, decided });
                (number, receiver)
            };
            self.ring();
            let decided = timeout(CLAIM_LIMIT, decided).await;
            lock(&self.inner).claims.remove(&number);
            // Counts a node that does not respond as unreachable.
            !matches!(decided, Ok(Ok(false)))
        })
    }
}

impl FarmState {
    /// Shares the failed sign-ins at an authenticator with the other nodes.
    pub fn shares_tries(&self, desk: &Arc<Authenticator>) {
        // Ignores the result: setting fails only the second time, and a farm has one portal while
        // it runs.
        let _ = self.tries.desk.set(Arc::downgrade(desk));
        desk.share_attempts(Arc::clone(&self.tries) as Arc<dyn Peers>);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use access::limiter::Key;
    use access::proof::{SignInOrigin, now_s};
    use access::second_factor::{SecondFactor, code, step};
    use access::session::Sessions;
    use access::user::AuthorizedUser;
    use configuration::{Account, Password};
    use std::net::IpAddr;

    fn node() -> (Arc<Authenticator>, Arc<Tries>) {
        let tries = Arc::new(Tries::new(None));
        let sessions = Sessions::new(None).unwrap();
        let desk = Arc::new(Authenticator::new("test", sessions, |_, _| true));
        tries.desk.set(Arc::downgrade(&desk)).unwrap();
        desk.share_attempts(Arc::clone(&tries) as Arc<dyn Peers>);
        (desk, tries)
    }

    fn carry(alpha: &Tries, beta: &Tries) {
        loop {
            let (to_beta, to_alpha) = (alpha.next_message("beta"), beta.next_message("alpha"));
            if to_beta.is_none() && to_alpha.is_none() {
                return;
            }
            for message in to_beta.iter().chain(&to_alpha) {
                message.check().unwrap();
            }
            to_beta.iter().for_each(|one| beta.handle("alpha", one));
            to_alpha.iter().for_each(|one| alpha.handle("beta", one));
        }
    }

    fn uses(desk: &Authenticator, typed: &str, carry: impl Fn()) -> bool {
        let anna = AuthorizedUser {
            account: Account {
                name: "anna".to_owned(),
                groups: Vec::new(),
                password: Password::None,
            },
            second_factor: SecondFactor::Codes(vec![7; 20]),
        };
        let client = SignInOrigin::program(IpAddr::from([192, 0, 2, 1]));
        let mut runtime = tokio::runtime::Builder::new_current_thread();
        let runtime = runtime.enable_all().start_paused(true).build().unwrap();
        runtime.block_on(async {
            let mut code = std::pin::pin!(desk.code(&client, &anna, typed));
            let mut context = std::task::Context::from_waker(std::task::Waker::noop());
            match code.as_mut().poll(&mut context) {
                std::task::Poll::Ready(used) => used.is_ok(),
                std::task::Poll::Pending => {
                    carry();
                    code.await.is_ok()
                }
            }
        })
    }

    #[test]
    fn code_is_accepted_at_one_node_only() {
        let ((alpha_desk, alpha), (beta_desk, beta)) = (node(), node());
        alpha.linked("beta");
        beta.linked("alpha");
        let typed = code(&[7; 20], step(now_s()));
        let between = || carry(&alpha, &beta);
        assert!(uses(&alpha_desk, &typed, between));
        assert!(!uses(&alpha_desk, &typed, between));
        assert!(!uses(&beta_desk, &typed, between));
        // Each of the two nodes accepts the next code.
        let next = code(&[7; 20], step(now_s()) + 1);
        assert!(uses(&beta_desk, &next, between));
        assert!(!uses(&alpha_desk, &next, between));
    }

    #[test]
    fn node_that_does_not_respond_is_left_out_and_learns_codes_later() {
        let ((alpha_desk, alpha), (beta_desk, beta)) = (node(), node());
        alpha.linked("beta");
        let typed = code(&[7; 20], step(now_s()));
        assert!(uses(&alpha_desk, &typed, || {}));
        alpha.drop_node("beta");
        alpha.linked("beta");
        beta.linked("alpha");
        carry(&alpha, &beta);
        assert!(!uses(&beta_desk, &typed, || carry(&alpha, &beta)));
        // If the connection ends, that counts as a response.
        let next = code(&[7; 20], step(now_s()) + 1);
        assert!(uses(&alpha_desk, &next, || alpha.drop_node("beta")));
        assert!(lock(&alpha.inner).claims.is_empty());
    }

    #[test]
    fn failures_count_at_both_nodes() {
        let ((alpha_desk, alpha), (beta_desk, beta)) = (node(), node());
        let keys = Key::of_stranger([192, 0, 2, 9].into(), "anna");
        let now = access::proof::now_ms();
        let fails = |desk: &Authenticator| lock(&desk.limiter).count(&keys, now);
        let is_held = |desk: &Authenticator| lock(&desk.limiter).wait(&keys, now).is_some();
        fails(&alpha_desk);
        fails(&alpha_desk);
        alpha.linked("beta");
        beta.linked("alpha");
        fails(&alpha_desk);
        carry(&alpha, &beta);
        fails(&beta_desk);
        fails(&beta_desk);
        assert!(!is_held(&alpha_desk));
        carry(&alpha, &beta);
        assert!(is_held(&alpha_desk) && is_held(&beta_desk));
    }
}
