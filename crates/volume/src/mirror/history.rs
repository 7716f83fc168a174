//! Ends the use of a volume by the clients of this node when the volume continues with another
//! history of writes: after an adoption, or because this node's copy is discarded. A client's cache
//! is of the previous history, so its later writes would destroy the new one.
//!
//! The process of a guest counts as superseded and never writes again; the guest role kills it.
//! The connections of all clients are closed, and their requests fail.

use super::Mirror;
use crate::export::waits_in_role;

impl Mirror {
    /// Ends the users of this node if the cluster has recorded another history. Must be called
    /// before any request is executed in that history.
    pub(super) fn follow_history(&mut self) {
        let Some(recorded) = self.lease.history() else {
            return;
        };
        let before = self.history.replace(recorded);
        if before.is_some_and(|before| before != recorded) {
            self.end_local_users("the volume continues with another history");
        }
    }

    pub(super) fn end_local_users(&mut self, why: &str) {
        let user = self.local_user().filter(|user| waits_in_role(user));
        let is_used = user.is_some() || self.export.clients() > 0;
        self.clients.end_local_requests();
        self.export.end_clients();
        self.fail_waiting_requests();
        if let Some(user) = user {
            self.clients.open_user.supersede(user);
        }
        self.shown.is_due = true;
        if is_used {
            (self.outside.say)(format!(
                "{why}: the connections of clients here are closed, because they have cached what is no longer valid; \
                 the process of a guest is killed"
            ));
        }
    }

    /// Returns whether this node knows the history that the other node serves: the cluster has
    /// reported the epoch, or the other node has named the same history. Otherwise the other node
    /// may serve an older copy that an operator has adopted.
    pub(super) fn knows_served_history(&self) -> bool {
        let Some((epoch, joins)) = self.peer.served_history() else {
            return false;
        };
        let is_reported = self.lease.reported.is_some_and(|known| epoch <= known);
        is_reported || joins.is_some() && joins == self.history
    }
}

#[cfg(test)]
mod tests {
    use super::super::Incarnation;
    use super::super::bed::{self, SIZE};
    use super::super::record::OTHER;
    use super::*;
    use crate::client::{Address, Client, NbdRequest, Server};
    use crate::device::bed::joined;
    use crate::disk::{Completion, Failure, Operation, Token};
    use crate::export::Grant;
    use crate::replica::{Epoch, Generation, InSync, Record};
    use lab::{ScratchDirectory, eventually};
    use part::role::VolumeUse;
    use rustix::io::Errno;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicBool, Ordering};
    use std::time::{Duration, Instant};

    const SOON: Duration = Duration::from_secs(20);
    const WRITE: Operation = Operation::Discard {
        offset: 0,
        length: 4096,
    };

    /// Reports a record of this history, in which the copy of beta alone is complete.
    fn record(alpha: &mut Mirror, incarnation: u64) {
        let record = Record {
            incarnation: Incarnation(incarnation),
            generation: Generation(9),
            epoch: Epoch(0),
            in_sync: InSync::One(OTHER),
            copies: Vec::new(),
            forks: Vec::new(),
        };
        bed::learn(alpha, "beta", 0, &record);
    }

    /// Reports, as the guest role, the use of the volume, and whether a process of guest a has it
    /// open.
    fn use_by_guest(alpha: &mut Mirror, used: VolumeUse, is_open: bool) {
        let user = "guest/a".to_owned();
        alpha.outside.tenure.grant(Some(Grant {
            user,
            is_open,
            is_unnamed: false,
        }));
        alpha.outside.mailbox.set_use(Some(used));
        alpha.apply_use_change();
    }

    /// Returns whether the request was refused.
    fn is_refused(alpha: &mut Mirror, token: u64) -> bool {
        let refused = Failure::Io(Errno::SHUTDOWN);
        let is_meant = |one: &Completion| {
            one.token == Token(token) && matches!(&one.result, Err(failure) if *failure == refused)
        };
        alpha.completed.iter().any(is_meant)
    }

    #[test]
    fn guest_of_a_discarded_history_never_writes_again() {
        let scratch = ScratchDirectory::new().unwrap();
        let mut alpha = bed::mirror(&scratch, joined(SIZE, 7));
        record(&mut alpha, 7);
        use_by_guest(&mut alpha, VolumeUse::Alone, true);
        alpha.handle_operation(Token(1), WRITE, Instant::now());
        assert!(!is_refused(&mut alpha, 1), "it waits for an owner");
        record(&mut alpha, 7);
        assert!(!alpha.is_superseded());

        // Beta has adopted its copy.
        record(&mut alpha, 8);
        assert!(is_refused(&mut alpha, 1));
        assert!(alpha.is_superseded());
        alpha.handle_operation(Token(2), WRITE, Instant::now());
        assert!(is_refused(&mut alpha, 2), "the process connects again");
        use_by_guest(&mut alpha, VolumeUse::HandsOver, true);
        assert!(alpha.is_superseded(), "its migration keeps its memory");

        // Another user is not affected, even if the guest role has not reported the end of the
        // first one.
        alpha.outside.tenure.grant(None);
        alpha.outside.mailbox.set_use(None);
        alpha.apply_use_change();
        assert!(alpha.is_superseded());
        alpha.handle_operation(Token(4), WRITE, Instant::now());
        assert!(!is_refused(&mut alpha, 4));

        // The next process begins with the new history.
        use_by_guest(&mut alpha, VolumeUse::Alone, false);
        assert!(!alpha.is_superseded());
        use_by_guest(&mut alpha, VolumeUse::Alone, true);
        record(&mut alpha, 8);
        assert!(!alpha.is_superseded());
        alpha.handle_operation(Token(3), WRITE, Instant::now());
        assert!(!is_refused(&mut alpha, 3));
    }

    #[test]
    fn reserved_guest_ends_after_a_restart_of_the_role() {
        let scratch = ScratchDirectory::new().unwrap();
        let mut alpha = bed::mirror(&scratch, joined(SIZE, 7));
        let tenure = Arc::clone(&alpha.outside.tenure);
        tenure.reserve("guest/a".to_owned(), Instant::now());
        record(&mut alpha, 8);
        assert!(alpha.is_superseded());
        assert_eq!(tenure.named_user(), None);
    }

    #[test]
    fn connections_close_when_another_history_is_recorded() {
        let scratch = ScratchDirectory::new().unwrap();
        let mut alpha = bed::mirror(&scratch, joined(SIZE, 7));
        record(&mut alpha, 7);
        let socket = scratch.path().join("socket");
        let is_open = Arc::new(AtomicBool::new(false));
        let opened = Arc::clone(&is_open);
        let client = std::thread::spawn(move || {
            let address = Address {
                server: Server::Unix(socket),
                export: "mail".to_owned(),
            };
            let mut client = Client::connect(address).unwrap();
            opened.store(true, Ordering::Release);
            client.call(NbdRequest::Read(0, 4096)).map(drop)
        });
        let has_opened = || {
            alpha.turn_once();
            is_open.load(Ordering::Acquire)
        };
        assert!(eventually(SOON, has_opened));
        record(&mut alpha, 8);
        assert_eq!(alpha.export.clients(), 0);
        assert!(client.join().unwrap().is_err());
    }
}
