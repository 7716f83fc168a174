//! Exchanges sign-ins between the consoles of all nodes, so that attempts count at all consoles
//! together, and a one-time code that was used at one is accepted at no other.

use crate::shared::{ConsoleState, SignInReport};
use ::access::peers::{AttemptChange, IsNew, Peers};
use part::lock;
use std::fmt;
use std::sync::{Arc, Weak};
use std::time::Duration;
use tokio::sync::oneshot;
use tokio::time::{Instant, timeout_at};

const LIMIT: Duration = Duration::from_millis(1_000);

/// Consoles of the other nodes, as the authentication of this console uses them.
pub(super) struct PeerConsoles(Weak<ConsoleState>);

impl PeerConsoles {
    /// Shares the sign-ins of a console with those of the other nodes.
    pub(super) fn share(shared: &Arc<ConsoleState>) {
        let consoles = PeerConsoles(Arc::downgrade(shared));
        shared.authentication.share_attempts(Arc::new(consoles));
    }
}

impl fmt::Debug for PeerConsoles {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Consoles")
    }
}

impl Peers for PeerConsoles {
    fn changed(&self, changes: &[AttemptChange]) {
        let Some(shared) = self.0.upgrade() else {
            return;
        };
        for node in lock(&shared.others).sign_ins() {
            // Drops the report if the queue is full: waiting would not help, and a node that
            // reconnects gets all attempts.
            let _ = node.try_send(SignInReport::Tries(changes.to_vec()));
        }
    }

    fn claim_code<'a>(&'a self, user: &'a str, step: u64) -> IsNew<'a> {
        Box::pin(async move {
            let mut responses = Vec::new();
            if let Some(shared) = self.0.upgrade() {
                for node in lock(&shared.others).sign_ins() {
                    let (is_new, response) = oneshot::channel();
                    let user = user.to_owned();
                    let code = SignInReport::Code { user, step, is_new };
                    if node.try_send(code).is_ok() {
                        responses.push(response);
                    }
                }
            }
            let until = Instant::now() + LIMIT;
            let mut all_new = true;
            for response in responses {
                let response = timeout_at(until, response).await;
                // Counts a node that does not respond as absent.
                all_new &= !matches!(response, Ok(Ok(false)));
            }
            all_new
        })
    }
}
