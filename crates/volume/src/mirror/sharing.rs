//! Keeps users of a volume on two nodes apart, and admits the writes of the one user that both
//! nodes share: all machines of network boot. No role requests the volume for the shared user, so
//! the owner itself proposes the write admission: of this node while the shared user has clients
//! only here, of both nodes once the other node reports the shared user too. Until then writes of
//! the shared user wait while the cluster's record admits another user.
//!
//! An admission in the record is replaced only if it names one node and a user, not if an operator
//! made it. If another user has the volume on the other node, the connections of this node's user
//! are closed; the process of a guest is ended by the guest role instead.

use super::Mirror;
use super::admission::WriteAdmission;
use super::clients::{RequestLocation, RequestOrigin};
use super::peer::{number, number_of};
use crate::export::{OtherNodeUse, RESERVED_FOR, SHARED_USER, VolumeUser, waits_in_role};
use part::role::VolumeUse;
use rustix::io::Errno;
use std::time::Instant;

/// Presence of users on the other node.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum OtherNode {
    /// The node is connected and has not reported its user yet.
    Unknown,
    /// The node is connected: the number of its user, or 0.
    Connected(u64),
    /// The node is not connected, and the user with this number may continue there.
    Lost(u64),
    /// The node is not connected, and no user is expected there.
    Away,
}

impl OtherNode {
    fn volume_use(self) -> OtherNodeUse {
        let shared = number_of(SHARED_USER);
        match self {
            OtherNode::Connected(0) | OtherNode::Away => OtherNodeUse::Free,
            OtherNode::Connected(user) | OtherNode::Lost(user) if user == shared => {
                OtherNodeUse::Shared
            }
            OtherNode::Connected(user) if user == number_of("") => OtherNodeUse::Clients,
            OtherNode::Connected(_) => OtherNodeUse::User,
            OtherNode::Unknown | OtherNode::Lost(_) => OtherNodeUse::Unknown,
        }
    }
}

/// Returns the node to be admitted for the shared user; empty for both nodes. None: another user
/// has the volume, or the record needs no change.
fn next_admission(
    here: Option<&VolumeUser>,
    there: OtherNode,
    recorded: &WriteAdmission,
    me: &str,
) -> Option<String> {
    let is_here = match here {
        None => false,
        Some(user) if is_shared(user) => true,
        Some(_) => return None,
    };
    let only = match there {
        OtherNode::Connected(user) if user == number_of(SHARED_USER) => "",
        OtherNode::Lost(user) if user == number_of(SHARED_USER) && is_here => me,
        // Admits this node alone: a process of the previous user may still exist on the other node,
        // even if that node reports no user. A reservation ends, and an earlier release reports no
        // users.
        OtherNode::Connected(0) | OtherNode::Away if is_here => me,
        _ => return None,
    };
    let is_of_a_user = !recorded.only.is_empty() && recorded.user != 0;
    (is_of_a_user && recorded.only != only).then(|| only.to_owned())
}

fn is_shared(user: &VolumeUser) -> bool {
    matches!(user, VolumeUser::User { name, .. } if name == SHARED_USER)
}

/// Returns whether clients of the other node must not write, because this node serves and its user
/// is another one. `there`: the number of the other node's user.
fn conflicts(here: Option<&VolumeUser>, there: u64) -> bool {
    let own = here.map_or(0, number);
    match here {
        Some(VolumeUser::User { name, .. }) if waits_in_role(name) => false,
        // Counts a client without a number, too: a command has a single connection, and a client
        // that has just left has no number.
        Some(VolumeUser::User { name, .. }) if name != SHARED_USER => own != 0 && there != own,
        Some(_) => own != 0 && there != 0 && there != own,
        None => false,
    }
}

impl Mirror {
    fn other_node(&self, now: Instant) -> OtherNode {
        match (self.peer.users(), self.peer.session()) {
            (Some(users), _) => OtherNode::Connected(users.holder),
            (None, Some(_)) => OtherNode::Unknown,
            (None, None) => {
                let lost = self.peer.lost_user(now).or(self.recorded_user(now));
                lost.map_or(OtherNode::Away, OtherNode::Lost)
            }
        }
    }

    /// Returns the user of the other node for which that node was admitted last. That user may
    /// still be there until this process has connected to that node.
    fn recorded_user(&self, now: Instant) -> Option<u64> {
        let recorded = &self.lease.recorded.clients;
        let is_of_another = recorded.user != 0 && recorded.user != number_of(SHARED_USER);
        let is_there = recorded.only == self.lease.names.other && !recorded.only.is_empty();
        let may_continue = is_of_another && is_there && now < self.opened + RESERVED_FOR;
        may_continue.then_some(recorded.user)
    }

    /// Reports the use of the other node to the export, and records that a user of that node loses
    /// the volume while the two nodes are not connected.
    pub(super) fn watch_other_user(&mut self, now: Instant) {
        let elsewhere = self.other_node(now).volume_use();
        self.export.set_elsewhere(elsewhere);
        let own = self.export.holder().map_or(0, number);
        self.peer.watch_lost_user(own);
    }

    /// Ends the connections of this node's user if another user has, or has had, the volume on the
    /// other node, which serves the volume. The process of a guest is ended by its role instead.
    pub(super) fn yield_to_other_node(&mut self) {
        let other = self.peer.users().map_or(0, |users| users.holder);
        let is_other = self.peer.serves() && self.replica.serves().is_none();
        let own = self.yielding_user();
        let has_lost = |own| self.peer.has_superseded(own);
        if own.is_some_and(|own| has_lost(own) || is_other && other != 0 && other != own) {
            self.end_user("another user has used the volume on the other node");
        }
    }

    /// Ends the connections of this node's user if the cluster has recorded an admission of another
    /// user since.
    pub(super) fn yield_to_recorded(&mut self) {
        let user = self.lease.recorded.clients.user;
        let count = self.lease.recorded.clients.admissions();
        let known = &mut self.clients.admissions_known;
        // Ignores the first record: the process knows no earlier one when it starts.
        let is_new = known.is_some_and(|known| count > known);
        *known = Some(known.unwrap_or(0).max(count));
        let own = self.yielding_user();
        if is_new && user != 0 && own.is_some_and(|own| own != user) {
            self.end_user("the cluster has admitted another user of the volume");
        }
    }

    /// Returns the number of this node's user, if no role ends the user's process.
    fn yielding_user(&self) -> Option<u64> {
        let holder = self.export.holder()?;
        let yields = match holder {
            VolumeUser::User { name, .. } => !waits_in_role(name),
            VolumeUser::Clients => true,
        };
        Some(number(holder)).filter(|user| yields && *user != 0)
    }

    fn end_user(&mut self, why: &str) {
        let user = self.export.holder().map(ToString::to_string);
        self.export.end_user();
        // Fails waiting requests: if they were executed later, they would overwrite the other
        // user's writes.
        self.fail_waiting_requests();
        let user = user.unwrap_or_default();
        (self.outside.say)(format!("{why}: the connections of {user} here are closed"));
    }

    pub(super) fn fail_waiting_requests(&mut self) {
        for id in self.clients.take_waiting() {
            match self.clients.get(id).map(|asked| asked.origin) {
                Some(RequestOrigin::Here(_)) => self.end(id, Err(Errno::SHUTDOWN)),
                _ => self.clients.put(id, RequestLocation::Waiting),
            }
        }
    }

    /// Returns whether a write of the other node's client must not be executed, because another
    /// user has the volume on this node. Guests are kept apart by the write admission instead.
    pub(super) fn is_of_another_user(&self, origin: RequestOrigin) -> bool {
        let there = match origin {
            RequestOrigin::Here(_) => return false,
            RequestOrigin::There(_) => self.peer.users().map_or(0, |users| users.holder),
        };
        let recorded = &self.lease.recorded.clients;
        recorded.only != self.lease.names.other && conflicts(self.export.holder(), there)
    }

    pub(super) fn advance_sharing(&mut self, now: Instant) {
        let is_granted = match self.clients.used.here() {
            None | Some(VolumeUse::Reads) => false,
            Some(VolumeUse::Alone | VolumeUse::HandsOver) => true,
        };
        if is_granted || self.replica.serves().is_none() {
            return;
        }
        let there = self.other_node(now);
        let (here, names) = (self.export.holder(), &self.lease.names);
        let only = next_admission(here, there, &self.lease.recorded.clients, &names.me);
        if let Some(only) = only.filter(|only| !self.is_admitting(only)) {
            self.admit(only, number_of(SHARED_USER));
        }
    }

    /// Returns whether a write that is not admitted yet waits instead of being refused: its client
    /// belongs to the shared user, and the record admits another user.
    pub(super) fn waits_for_admission(&self, origin: RequestOrigin) -> bool {
        let is_shared = match origin {
            RequestOrigin::Here(_) => self.export.holder().is_some_and(is_shared),
            RequestOrigin::There(_) => {
                let users = self.peer.users();
                users.is_some_and(|users| users.holder == number_of(SHARED_USER))
            }
        };
        is_shared && self.lease.recorded.clients.user != 0
    }
}

#[cfg(test)]
mod tests {
    use super::super::bed::{self, SIZE};
    use super::super::mailbox::MailboxMessage;
    use super::super::record::OTHER;
    use super::*;
    use crate::client::{Address, Client, NbdRequest, Server};
    use crate::device::bed::joined;
    use crate::disk::{Operation, Token};
    use crate::export::Presence;
    use crate::layout::{Superblock, SyncState};
    use crate::link::LinkError;
    use crate::link::frame::{FrameHeader, FrameKind, HEAD_BYTES};
    use crate::link::greeting::{Greeting, ReplicaProperties};
    use crate::replica::{
        Epoch, Generation, InSync, Incarnation, Record, ReplicaMessage, VolumeId,
    };
    use ::wire::NodeConnection;
    use lab::{ScratchDirectory, eventually};
    use std::io::{Read, Write};
    use std::os::fd::OwnedFd;
    use std::os::unix::net::UnixStream;
    use std::sync::{Arc, Mutex};
    use std::time::Duration;

    fn user(name: &str, presence: Presence) -> VolumeUser {
        VolumeUser::User {
            name: name.to_owned(),
            presence,
        }
    }

    fn only(node: &str, user: &str) -> WriteAdmission {
        let user = if user.is_empty() { 0 } else { number_of(user) };
        WriteAdmission {
            count: 3,
            only: node.to_owned(),
            user,
            ..WriteAdmission::default()
        }
    }

    /// Returns the next admission on alpha. `there`: the user on beta.
    fn next(
        here: Option<&VolumeUser>,
        there: OtherNode,
        recorded: &WriteAdmission,
    ) -> Option<String> {
        next_admission(here, there, recorded, "alpha")
    }

    #[test]
    fn shared_user_admits_both_nodes_after_a_guest() {
        let boot = user(SHARED_USER, Presence::Connected);
        let number = number_of(SHARED_USER);
        let both = Some(String::new());
        for node in ["alpha", "beta"] {
            let recorded = only(node, "guest/a");
            // Machines at both nodes, and at the other node.
            let free = OtherNode::Connected(0);
            let there = OtherNode::Connected(number);
            assert_eq!(next(Some(&boot), there, &recorded), both);
            assert_eq!(next(None, there, &recorded), both);
            assert_eq!(next(None, free, &recorded), None);
        }
        // The order of an operator stays, and so does what is admitted already.
        let there = OtherNode::Connected(number);
        for recorded in [only("alpha", ""), only("", SHARED_USER), only("", "")] {
            assert_eq!(next(Some(&boot), there, &recorded), None, "{recorded:?}");
        }
    }

    #[test]
    fn shared_user_admits_its_node_alone_while_the_other_node_is_away() {
        let boot = user(SHARED_USER, Presence::Connected);
        let away = |node, user| next(Some(&boot), OtherNode::Away, &only(node, user));
        assert_eq!(away("beta", "guest/a"), Some("alpha".to_owned()));
        assert_eq!(away("alpha", "guest/a"), None);
        // The other node has reported no user of its own: a process may still exist there.
        let free = OtherNode::Connected(0);
        let alpha = Some("alpha".to_owned());
        assert_eq!(next(Some(&boot), free, &only("beta", "guest/a")), alpha);
        // Machines connect to the other node, too.
        let recorded = only("alpha", SHARED_USER);
        assert_eq!(next(Some(&boot), free, &recorded), None);
        let both = Some(String::new());
        let there = OtherNode::Connected(number_of(SHARED_USER));
        assert_eq!(next(Some(&boot), there, &recorded), both);
    }

    #[test]
    fn shared_user_admits_nobody_while_another_user_has_the_volume() {
        let recorded = only("beta", "guest/a");
        let boot = user(SHARED_USER, Presence::Connected);
        let guest = OtherNode::Connected(number_of("guest/a"));
        assert_eq!(next(Some(&boot), guest, &recorded), None);
        assert_eq!(next(Some(&boot), OtherNode::Unknown, &recorded), None);
        let lost = OtherNode::Lost(number_of("guest/a"));
        assert_eq!(next(Some(&boot), lost, &recorded), None);
        let there = OtherNode::Connected(number_of(SHARED_USER));
        for presence in [Presence::Connected, Presence::Reserved, Presence::Expected] {
            let guest = user("guest/a", presence);
            assert_eq!(next(Some(&guest), there, &recorded), None);
        }
        assert_eq!(next(Some(&VolumeUser::Clients), there, &recorded), None);
    }

    #[test]
    fn owner_refuses_writes_of_the_other_node_while_a_command_has_the_volume() {
        let command = user("command/alpha/7", Presence::Connected);
        let [own, clients, boot, guest] =
            ["command/alpha/7", "", SHARED_USER, "guest/a"].map(number_of);
        for there in [0, clients, boot, guest] {
            assert!(conflicts(Some(&command), there));
        }
        assert!(!conflicts(Some(&command), own));
        // Clients without a name share the volume, and a node with an earlier release reports none.
        assert!(!conflicts(Some(&VolumeUser::Clients), clients));
        assert!(!conflicts(Some(&VolumeUser::Clients), 0));
        assert!(conflicts(Some(&VolumeUser::Clients), boot));
        let shared = user(SHARED_USER, Presence::Connected);
        assert!(!conflicts(Some(&shared), boot));
        assert!(conflicts(Some(&shared), clients));
        // A guest has the write admission, also while it migrates.
        assert!(!conflicts(
            Some(&user("guest/a", Presence::Connected)),
            clients
        ));
        assert!(!conflicts(None, clients));
    }

    /// Node alpha of a volume, and the other end of its connection to beta.
    struct Connected {
        _scratch: ScratchDirectory,
        alpha: Mirror,
        beta: UnixStream,
        said: Arc<Mutex<Vec<String>>>,
    }

    impl Connected {
        fn new() -> Connected {
            Connected::with(joined(SIZE, 7))
        }

        fn with(head: Superblock) -> Connected {
            let scratch = ScratchDirectory::new().unwrap();
            let mut alpha = bed::mirror(&scratch, head);
            let said = Arc::new(Mutex::new(Vec::new()));
            let says = Arc::clone(&said);
            alpha.outside.say = Arc::new(move |words| says.lock().unwrap().push(words));
            let beta = connect(&mut alpha);
            Connected {
                _scratch: scratch,
                alpha,
                beta,
                said,
            }
        }

        /// Beta reports that it serves, and its user.
        fn report(&mut self, user: u64, tag: u32) {
            let head = FrameHeader {
                epoch: user,
                tag,
                ..FrameHeader::new(FrameKind::Pulse).number(1)
            };
            self.beta.write_all(&head.encode()).unwrap();
            let is_known = || {
                self.alpha.turn(Instant::now());
                self.alpha
                    .peer
                    .users()
                    .is_some_and(|there| there.holder == user)
            };
            assert!(eventually(Duration::from_secs(20), is_known));
        }

        fn reserve(&mut self, user: &str) {
            let tenure = Arc::clone(&self.alpha.outside.tenure);
            tenure.reserve(user.to_owned(), Instant::now());
            self.alpha.turn(Instant::now());
            assert!(self.alpha.export.holder().is_some());
        }

        /// Ends of connections that alpha has reported.
        fn ends(&self) -> usize {
            let said = self.said.lock().unwrap();
            said.iter()
                .filter(|words| words.contains("are closed"))
                .count()
        }
    }

    fn connect(alpha: &mut Mirror) -> UnixStream {
        let (ours, theirs) = UnixStream::pair().unwrap();
        ours.set_nonblocking(true).unwrap();
        let greeting = Greeting {
            volume: "mail".to_owned(),
            from: "beta".to_owned(),
            to: "alpha".to_owned(),
            facts: ReplicaProperties {
                volume: None,
                size_bytes: SIZE,
            },
        };
        let wire = NodeConnection::from(OwnedFd::from(ours));
        let letters = alpha.outside.mailbox.letters();
        letters.put(MailboxMessage::Connected(wire, greeting));
        alpha.read_letters(Instant::now());
        theirs
    }

    #[test]
    fn user_of_the_node_that_does_not_serve_ends_for_another_user() {
        for own in [SHARED_USER, "command/alpha/7"] {
            let mut both = Connected::new();
            both.report(0, 0);
            both.reserve(own);
            both.report(number_of(own), 0);
            assert_eq!(both.ends(), 0, "{own} is one user at both nodes");
            both.report(number_of(""), 0);
            assert_eq!(both.ends(), 1, "{own}");
            assert_eq!(both.alpha.export.holder(), None);
        }
        let mut both = Connected::new();
        both.reserve("guest/a");
        both.report(number_of("guest/b"), 0);
        assert_eq!(both.ends(), 0, "the guest role ends its process");
    }

    #[test]
    fn a_user_that_lost_the_volume_during_a_partition_ends() {
        let mut both = Connected::new();
        // Beta has had the same user as alpha, then another one, and has none now.
        both.reserve(SHARED_USER);
        both.report(0, 1);
        assert_eq!(both.ends(), 1);
        // Alpha reports the same of the user of beta.
        let mut both = Connected::new();
        both.report(number_of(SHARED_USER), 0);
        both.alpha.handle_connection_loss(LinkError::Closed);
        both.reserve("guest/a");
        both.alpha.outside.tenure.forget_reservation();
        both.alpha.turn(Instant::now());
        assert_eq!(both.alpha.export.holder(), None);
        both.beta = connect(&mut both.alpha);
        both.alpha.turn(Instant::now());
        let mut bytes = [0; HEAD_BYTES];
        both.beta.read_exact(&mut bytes).unwrap();
        let head = FrameHeader::decode(&bytes).unwrap();
        assert_eq!((head.kind, head.tag), (FrameKind::Pulse, 1));
        // The next user of beta has lost nothing.
        both.report(0, 0);
        both.report(number_of(SHARED_USER), 0);
        assert_eq!(both.alpha.peer.superseded(), 0);
    }

    /// Beta alone is complete in a record of alpha's own history.
    fn learn_record(alpha: &mut Mirror, generation: u64) {
        let record = Record {
            incarnation: Incarnation(7),
            generation: Generation(generation),
            epoch: Epoch(0),
            in_sync: InSync::One(OTHER),
            copies: Vec::new(),
            forks: Vec::new(),
        };
        bed::learn(alpha, "beta", 0, &record);
    }

    #[test]
    fn discarded_copy_ends_the_guest_of_its_node() {
        let mut both = Connected::with(Superblock {
            state: SyncState::Joined(9),
            ..joined(SIZE, 7)
        });
        both.report(0, 0);
        // The cluster was restored from an older state than the copy's.
        learn_record(&mut both.alpha, 1);
        both.reserve("guest/a");
        assert!(both.alpha.apart().is_some_and(|apart| apart.other_serves));
        assert!(!both.alpha.is_superseded());
        both.alpha.discard();
        assert!(both.alpha.is_superseded());
        assert_eq!(both.alpha.outside.tenure.named_user(), None);
    }

    #[test]
    fn requests_wait_until_the_history_of_the_owner_is_known() {
        // The cluster has granted epoch 5.
        for (epoch, joins, is_sent) in [
            (5, None, true),
            (6, None, false),
            (6, Some(8), false),
            (6, Some(7), true),
        ] {
            let mut both = Connected::new();
            learn_record(&mut both.alpha, 9);
            let number = 1;
            let hello = ReplicaMessage::Hello {
                epoch: Epoch(epoch),
                number,
            };
            both.alpha.peer.note_history(&hello);
            if let Some(joins) = joins {
                both.alpha.peer.note_history(&ReplicaMessage::Begin {
                    epoch: Epoch(epoch),
                    volume: VolumeId([1; 16]),
                    incarnation: Incarnation(joins),
                    base: Generation(1),
                    blocks: 1,
                });
            }
            both.report(0, 0);
            let operation = Operation::Discard {
                offset: 0,
                length: 4096,
            };
            let now = Instant::now();
            both.alpha.handle_operation(Token(1), operation, now);
            assert_eq!(
                both.alpha.clients.has_abroad(),
                is_sent,
                "{epoch} {joins:?}"
            );
            assert_eq!(both.alpha.clients.has_waiting(), !is_sent);
            // A write of a client that waits goes on once the lease is known.
            both.alpha.lease.reported = Some(Epoch(epoch));
            both.alpha.retry();
            assert!(both.alpha.clients.has_abroad());
        }
    }

    #[test]
    fn repeated_resync_has_an_operation_of_its_own() {
        let mut both = Connected::new();
        let mut begin = |number| {
            let epoch = Epoch(5);
            let peer = &mut both.alpha.peer;
            peer.note_history(&ReplicaMessage::Hello { epoch, number });
            peer.note_history(&ReplicaMessage::Begin {
                epoch,
                volume: VolumeId([1; 16]),
                incarnation: Incarnation(7),
                base: Generation(1),
                blocks: 1,
            });
            peer.resync_operation().unwrap().to_owned()
        };
        let first = begin(1);
        assert_eq!(begin(1), first);
        // The connection or a role restarted: the owner greets once more.
        assert_ne!(begin(2), first);
        both.alpha.peer.end_resync_operation();
        assert_eq!(both.alpha.peer.resync_operation(), None);
    }

    #[test]
    fn user_ends_when_the_cluster_admits_another_one() {
        let mut both = Connected::new();
        let alpha = &mut both.alpha;
        let admit = |alpha: &mut Mirror, count, user: &str| {
            alpha.lease.recorded.clients = WriteAdmission {
                count,
                ..only("beta", user)
            };
            alpha.yield_to_recorded();
        };
        admit(alpha, 4, "guest/a");
        alpha
            .outside
            .tenure
            .reserve(SHARED_USER.to_owned(), Instant::now());
        alpha.turn(Instant::now());
        // The record of the previous user, an operator's order, and the own admission.
        for (count, user) in [(4, "guest/a"), (5, ""), (6, SHARED_USER)] {
            admit(alpha, count, user);
            assert!(alpha.export.holder().is_some());
        }
        admit(alpha, 7, "guest/b");
        assert_eq!(alpha.export.holder(), None);
    }

    #[test]
    fn first_write_of_a_client_waits_for_the_user_of_the_other_node() {
        for (there, is_refused) in [(number_of("command/beta/7"), true), (number_of(""), false)] {
            let mut both = Connected::new();
            let socket = both._scratch.path().join("socket");
            let client = std::thread::spawn(move || {
                let mut client = Client::connect(Address {
                    server: Server::Unix(socket),
                    export: "mail".to_owned(),
                })
                .unwrap();
                client.call(NbdRequest::Write(0, vec![1; 4096])).map(drop)
            });
            let has_client = || {
                both.alpha.turn_once();
                both.alpha.export.clients() == 1
            };
            assert!(eventually(Duration::from_secs(20), has_client));
            both.report(there, 0);
            let has_decided = || {
                both.alpha.turn_once();
                client.is_finished() || both.alpha.export.holder().is_some()
            };
            assert!(eventually(Duration::from_secs(20), has_decided));
            assert_eq!(client.is_finished(), is_refused);
            drop(both);
            if is_refused {
                let error = client.join().unwrap().unwrap_err();
                assert!(error.to_string().contains("read-only"), "{error}");
            }
        }
    }
}
