//! Records the removal of this member from its cluster on the member's own disk.
//!
//! A removed member learns of its removal from another member. After a restart without a link to
//! one, only the mark in its state directory keeps it from serving as a member. A majority that
//! confirms the membership clears the mark: the report of the removal then came from a minority.

use crate::machine::ServingMachine;
use crate::role::removed_words;
use crate::role::shared::{RoleState, moved};
use crate::wire::ConnectionFactory;
use part::voice::write_error;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

const POLL: Duration = Duration::from_millis(500);
const RETRY: Duration = Duration::from_secs(2);

/// Keeps the mark in the state directory consistent with the known removal.
#[derive(Debug)]
pub(super) struct RemovalMark {
    is_set: bool,
    retry_at: Option<Instant>,
    failure: String,
}

impl RemovalMark {
    pub(super) fn new<M: ServingMachine, N: ConnectionFactory>(
        shared: &RoleState<M, N>,
    ) -> RemovalMark {
        RemovalMark {
            is_set: shared.is_marked_removed(),
            retry_at: None,
            failure: String::new(),
        }
    }

    /// Writes or clears the mark if it is out of date. Called before the removal is reported to the
    /// roles of the machine.
    pub(super) fn update<M: ServingMachine, N: ConnectionFactory>(
        &mut self,
        shared: &RoleState<M, N>,
    ) {
        let is_removed = if self.is_set {
            !shared.is_confirmed_member()
        } else {
            shared.is_removed()
        };
        let is_early = |at: Instant| Instant::now() < at;
        if is_removed == self.is_set || self.retry_at.is_some_and(is_early) {
            return;
        }
        let words = removed_words(shared.who.kind);
        let written = if is_removed {
            shared.directory.mark_removed(&format!("{words}\n"))
        } else {
            shared.directory.clear_removed()
        };
        match written {
            Ok(()) => {
                self.is_set = is_removed;
                (self.retry_at, self.failure) = (None, String::new());
                if is_removed {
                    log(words)
                } else {
                    shared.forget_removal();
                    log(
                        "a majority has confirmed that this machine is a member: the report of its removal is void",
                    );
                }
            }
            Err(error) => {
                self.retry_at = Some(Instant::now() + RETRY);
                let failure = error.to_string();
                if self.failure == failure {
                    return;
                }
                let words = format!(
                    "cannot store on its disk whether it was removed from the cluster: {failure}. After a \
                     restart without a link to another member, this may be unknown: make the directory \
                     writable, or do not start this machine again"
                );
                log(&words);
                shared.note(words);
                self.failure = failure;
            }
        }
    }
}

fn log(words: &str) {
    write_error(&format!("evenkeel: cluster: {words}\n"));
}

pub(super) async fn run<M: ServingMachine, N: ConnectionFactory>(shared: Arc<RoleState<M, N>>) {
    let mut mark = RemovalMark::new(&shared);
    let mut changes = shared.engine.changes();
    loop {
        mark.update(&shared);
        tokio::select! {
            () = moved(&mut changes) => {}
            () = tokio::time::sleep(POLL) => {}
        }
    }
}
