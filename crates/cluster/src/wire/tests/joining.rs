//! Tests a new member, which joins with a token.

use super::super::Event;
use super::*;
use crate::authority::{SealingKey, Token};
use crate::member::Digest;
use crate::wire::join::{
    Admitted, Denied, JoinError, Joined, Newcomer, Registrar, join, join_with, rude, serve,
};
use std::collections::HashMap;
use std::sync::{Mutex, OnceLock};

/// Stand-in for a member's role, with a list instead of consensus.
struct Office {
    authority: Option<Arc<Authority>>,
    certificate: Vec<u8>,
    nodes: Vec<SocketAddr>,
    tokens: Mutex<HashMap<Digest, MemberKind>>,
    members: Mutex<BTreeMap<MemberId, ClusterMember>>,
    wire: OnceLock<MemberWire<Tcp>>,
    /// Loses the next response to an admitted member.
    mute: Mutex<bool>,
    /// Number of joiners whose request arrived here.
    heard: AtomicU64,
}

impl Office {
    fn new(paper: &Paper, with_key: bool) -> Office {
        Office {
            authority: with_key.then(|| Arc::clone(&paper.authority)),
            certificate: paper.authority.certificate().to_vec(),
            nodes: Vec::new(),
            tokens: Mutex::default(),
            members: Mutex::new(paper.members.clone()),
            wire: OnceLock::new(),
            mute: Mutex::new(false),
            heard: AtomicU64::new(0),
        }
    }

    fn invite(&self, kind: MemberKind, address: SocketAddr) -> Token {
        let fingerprint = Digest(sha256(&self.certificate));
        let token = Token::new(kind, vec![address], &fingerprint).unwrap();
        self.tokens.lock().unwrap().insert(token.digest(), kind);
        token
    }

    fn admitted(&self, id: MemberId) -> Admitted {
        let members = self.members.lock().unwrap();
        Admitted {
            id,
            members: members.values().cloned().collect(),
        }
    }
}

fn sha256(bytes: &[u8]) -> [u8; 32] {
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, bytes);
    digest.as_ref().try_into().unwrap()
}

impl Registrar for Arc<Office> {
    fn authority(&self) -> Option<Arc<Authority>> {
        self.authority.clone()
    }

    fn chain(&self) -> Vec<Vec<u8>> {
        vec![self.certificate.clone()]
    }

    fn nodes(&self) -> Vec<SocketAddr> {
        self.nodes.clone()
    }

    fn known(&self, key: &Digest) -> Option<Admitted> {
        let members = self.members.lock().unwrap();
        let id = members.values().find(|one| one.certificate == *key)?.id;
        drop(members);
        Some(self.admitted(id))
    }

    async fn invited(&self, hint: Digest) -> Option<Digest> {
        let tokens = self.tokens.lock().unwrap();
        let mut open = tokens.keys();
        open.find(|token| Token::hint_of(token) == hint).copied()
    }

    async fn admit(&self, token: Digest, mut newcomer: ClusterMember) -> Result<Admitted, Denied> {
        let kind = self.tokens.lock().unwrap().get(&token).copied();
        match kind {
            None => return Err(Denied::Token),
            Some(kind) if kind != newcomer.kind => return Err(Denied::Kind),
            Some(_) => {}
        }
        self.tokens.lock().unwrap().remove(&token);
        let mut members = self.members.lock().unwrap();
        newcomer.id = MemberId(members.keys().next_back().unwrap().0 + 1);
        let id = newcomer.id;
        members.insert(id, newcomer);
        drop(members);
        if let Some(wire) = self.wire.get() {
            let trust = Trust {
                cluster: CLUSTER.to_owned(),
                authorities: vec![self.certificate.clone()],
                members: self.members.lock().unwrap().clone(),
                ..Trust::default()
            };
            wire.set_trust(trust).unwrap();
        }
        Ok(self.admitted(id))
    }
}

struct Reception(Arc<Office>);

impl Handler for Reception {
    async fn handle(&self, _: MemberId, _: Service, bytes: Vec<u8>) -> Vec<u8> {
        bytes
    }

    async fn join(&self, from: SocketAddr, binding: Binding, bytes: Vec<u8>) -> Vec<u8> {
        self.0.heard.fetch_add(1, Ordering::Relaxed);
        let members = self.0.members.lock().unwrap().len();
        let answer = serve(&self.0, from, binding, &bytes).await;
        let admitted = self.0.members.lock().unwrap().len() > members;
        if admitted && std::mem::take(&mut *self.0.mute.lock().unwrap()) {
            return Vec::new();
        }
        answer
    }
}

async fn open(paper: &Paper, id: u64, office: Office) -> (Arc<Office>, MemberWire<Tcp>) {
    let office = Arc::new(office);
    let wire = paper.wire(id, Tcp);
    let addresses = &paper.members[&MemberId(id)].addresses;
    wire.serve(addresses, Reception(Arc::clone(&office)))
        .await
        .unwrap();
    assert!(office.wire.set(wire.clone()).is_ok());
    (office, wire)
}

fn newcomer(kind: MemberKind, address: SocketAddr) -> Newcomer {
    Newcomer {
        addresses: vec![address],
        ..Newcomer::new("newhost", kind)
    }
}

fn wire_of(joined: Joined) -> MemberWire<Tcp> {
    let trust = Trust {
        cluster: joined.cluster,
        authorities: joined.authorities,
        members: joined
            .members
            .into_iter()
            .map(|one| (one.id, one))
            .collect(),
        ..Trust::default()
    };
    MemberWire::new(Arc::new(joined.identity), trust, Timing::default(), Tcp).unwrap()
}

#[test]
fn a_node_joins_gets_the_authority_and_talks() {
    on_one_thread(async {
        let addresses = free_addresses(2);
        let paper = Paper::new(&addresses[..1]);
        let (office, wire) = open(&paper, 1, Office::new(&paper, true)).await;
        let token = office.invite(MemberKind::Node, addresses[0]);
        let token: Token = token.to_string().parse().unwrap();
        let joined = join(&Tcp, &token, &newcomer(MemberKind::Node, addresses[1]))
            .await
            .unwrap();
        assert_eq!((joined.member.id, joined.members.len()), (MemberId(2), 2));
        let authority = joined.authority.as_ref().unwrap();
        assert_eq!(authority.fingerprint(), paper.authority.fingerprint());
        let sealing = joined.sealing.as_ref().unwrap().public().to_vec();
        assert_eq!(joined.member.sealing_key, Some(sealing));
        let new = wire_of(joined);
        new.serve(&addresses[1..], Echo::default()).await.unwrap();
        until("they talk", || connections(&wire, 2) == 2).await;
        let call = wire.call(MemberId(2), Service::Raft, b"hello".to_vec(), PATIENCE);
        assert_eq!(call.await.unwrap(), b"hello of 1 for raft");
        // The same token again.
        let again = join(&Tcp, &token, &newcomer(MemberKind::Node, addresses[1])).await;
        assert!(matches!(again, Err(JoinError::Denied(Denied::Token))));
        assert!(again.unwrap_err().to_string().contains("used, or expired"));
    });
}

#[test]
fn an_arbiter_gets_neither_the_authority_nor_a_key_of_contents() {
    on_one_thread(async {
        let addresses = free_addresses(2);
        let paper = Paper::new(&addresses[..1]);
        let (office, _wire) = open(&paper, 1, Office::new(&paper, true)).await;
        let token = office.invite(MemberKind::Arbiter, addresses[0]);
        let as_node = join(&Tcp, &token, &newcomer(MemberKind::Node, addresses[1])).await;
        assert!(matches!(
            as_node,
            Err(JoinError::Kind {
                invited: MemberKind::Arbiter
            })
        ));
        let joined = join(&Tcp, &token, &newcomer(MemberKind::Arbiter, addresses[1]))
            .await
            .unwrap();
        assert!(joined.authority.is_none() && joined.sealing.is_none());
        assert!(joined.member.sealing_key.is_none());
    });
}

#[test]
fn arbiter_refers_a_join_request_to_a_node() {
    on_one_thread(async {
        let addresses = free_addresses(3);
        let paper = Paper::new(&addresses[..2]);
        let mut arbiter = Office::new(&paper, false);
        arbiter.nodes = vec![addresses[1]];
        let (_arbiter, _one) = open(&paper, 1, arbiter).await;
        let (node, _two) = open(&paper, 2, Office::new(&paper, true)).await;
        let token = node.invite(MemberKind::Node, addresses[0]);
        let joined = join(&Tcp, &token, &newcomer(MemberKind::Node, addresses[2]))
            .await
            .unwrap();
        assert_eq!(joined.member.id, MemberId(3));
    });
}

#[test]
fn a_token_of_another_kind_that_was_forged_is_denied_by_the_member() {
    on_one_thread(async {
        let addresses = free_addresses(2);
        let paper = Paper::new(&addresses[..1]);
        let (office, _wire) = open(&paper, 1, Office::new(&paper, true)).await;
        let mut token = office.invite(MemberKind::Arbiter, addresses[0]);
        token.kind = MemberKind::Node;
        let joined = join(&Tcp, &token, &newcomer(MemberKind::Node, addresses[1])).await;
        assert!(matches!(joined, Err(JoinError::Denied(Denied::Kind))));
    });
}

#[test]
fn machine_of_another_cluster_gets_no_secret() {
    on_one_thread(async {
        let addresses = free_addresses(2);
        let ours = Paper::new(&addresses[..1]);
        let token = Office::new(&ours, true).invite(MemberKind::Node, addresses[0]);
        // A stranger listens there, with a CA of the same name.
        let other = Paper::new(&addresses[..1]);
        let (_office, wire) = open(&other, 1, Office::new(&other, true)).await;
        let joined = join(&Tcp, &token, &newcomer(MemberKind::Node, addresses[1])).await;
        assert!(matches!(joined, Err(JoinError::Fingerprint { .. })));
        assert_eq!(wire.counted(|c| &c.joins), 0);
    });
}

#[test]
fn removed_member_gets_no_secret_and_signs_nothing() {
    on_one_thread(async {
        let addresses = free_addresses(2);
        let paper = Paper::new(&addresses[..1]);
        let token = Office::new(&paper, true).invite(MemberKind::Arbiter, addresses[0]);
        let newcomer = newcomer(MemberKind::Arbiter, addresses[1]);
        // The removed member has a certificate of the CA, and does not know the invitation.
        let (removed, wire) = open(&paper, 1, Office::new(&paper, true)).await;
        let joined = join(&Tcp, &token, &newcomer).await;
        assert!(matches!(joined, Err(JoinError::Denied(Denied::Token))));
        assert_eq!(removed.members.lock().unwrap().len(), 1);
        wire.stop();
        drop((removed, wire));
        // Now the removed member knows the invitation, but not the CA's key. It signs with its own
        // key, as an arbiter in the path of a node could.
        let address = free_addresses(1);
        let paper = Paper {
            members: paper
                .members
                .into_iter()
                .map(|(id, one)| {
                    (
                        id,
                        ClusterMember {
                            addresses: address.clone(),
                            ..one
                        },
                    )
                })
                .collect(),
            ..paper
        };
        let mut office = Office::new(&paper, false);
        let mut token = office.invite(MemberKind::Arbiter, address[0]);
        token.addresses = address;
        office.authority = Some(Arc::new(Authority::found(CLUSTER).unwrap()));
        let (office, _wire) = open(&paper, 1, office).await;
        let joined = join(&Tcp, &token, &newcomer).await;
        assert!(
            matches!(joined, Err(JoinError::Unproven { .. })),
            "{joined:?}"
        );
        let open = office.tokens.lock().unwrap().len();
        assert_eq!(open, 1, "it was not shown the secret");
    });
}

#[test]
fn unreachable_address_is_named() {
    on_one_thread(async {
        let addresses = free_addresses(1);
        let paper = Paper::new(&addresses);
        let token = Office::new(&paper, true).invite(MemberKind::Node, addresses[0]);
        let joined = join(&Tcp, &token, &newcomer(MemberKind::Node, addresses[0])).await;
        let told = joined.unwrap_err().to_string();
        assert!(told.contains(&addresses[0].to_string()), "{told}");
    });
}

#[test]
fn garbage_in_place_of_a_request_is_denied() {
    on_one_thread(async {
        let addresses = free_addresses(1);
        let paper = Paper::new(&addresses);
        let office = Arc::new(Office::new(&paper, true));
        for bytes in [&b""[..], b"garbage", &[0xff; 4000]] {
            let answer = serve(&office, addresses[0], Binding([0; 32]), bytes).await;
            assert!(!answer.is_empty());
        }
        assert_eq!(office.members.lock().unwrap().len(), 1);
    });
}

#[test]
fn join_without_an_invitation_is_refused_early() {
    on_one_thread(async {
        let addresses = free_addresses(2);
        let paper = Paper::new(&addresses[..1]);
        let (office, _wire) = open(&paper, 1, Office::new(&paper, true)).await;
        let token = office.invite(MemberKind::Arbiter, addresses[0]);
        let newcomer = newcomer(MemberKind::Arbiter, addresses[1]);
        let heard = || office.heard.load(Ordering::Relaxed);
        let at_once = rude::demand(&Tcp, &token, &newcomer, false).await;
        assert!(matches!(at_once, Ok(Denied::Form)), "{at_once:?}");
        assert_eq!(heard(), 0);
        let later = rude::demand(&Tcp, &token, &newcomer, true).await;
        assert!(matches!(later, Ok(Denied::Token)), "{later:?}");
        assert_eq!(heard(), 2);
        assert_eq!(office.members.lock().unwrap().len(), 1);
    });
}

#[test]
fn refusal_of_a_forged_member_is_reported() {
    on_one_thread(async {
        let addresses = free_addresses(2);
        let paper = Paper::new(&addresses);
        let echo = Echo::default();
        let one = serving(&paper, 1, &echo).await;
        let mut events = one.events();
        // A member 2 of another CA, which dials member 1.
        let forged = Paper::new(&addresses);
        let two = forged.wire(2, Tcp);
        two.serve(&addresses[1..], echo.clone()).await.unwrap();
        until("both count it", || {
            one.counted(|c| &c.foreign) >= 1 && two.counted(|c| &c.foreign) >= 1
        })
        .await;
        loop {
            if let Event::Noted { words } = events.recv().await.unwrap() {
                assert!(words.contains("different CAs"), "{words}");
                break;
            }
        }
        assert_eq!((connections(&one, 2), connections(&two, 1)), (0, 0));
    });
}

/// Sends a request like a foreign program, with keys of its choice.
async fn ask_with(
    token: &Token,
    newcomer: &Newcomer,
    key: &MemberKey,
    sealing: Option<SealingKey>,
) -> Result<Joined, JoinError> {
    let key = MemberKey::from_pkcs8(&key.pkcs8()).unwrap();
    join_with(&Tcp, token, newcomer, key, sealing).await
}

#[test]
fn join_can_be_repeated_after_a_lost_response() {
    on_one_thread(async {
        let addresses = free_addresses(2);
        let paper = Paper::new(&addresses[..1]);
        let (office, _wire) = open(&paper, 1, Office::new(&paper, true)).await;
        let mut token = office.invite(MemberKind::Arbiter, addresses[0]);
        token.addresses.push(addresses[0]);
        let key = MemberKey::generate().unwrap();
        let newcomer = newcomer(MemberKind::Arbiter, addresses[1]);
        *office.mute.lock().unwrap() = true;
        let joined = ask_with(&token, &newcomer, &key, None).await.unwrap();
        assert_eq!(joined.member.id, MemberId(2));
        assert_eq!(office.members.lock().unwrap().len(), 2);
        // With a used token nobody can prove anything: the joiner accepts no certificate
        // from an unproven member.
        let again = ask_with(&token, &newcomer, &key, None).await;
        assert!(
            matches!(again, Err(JoinError::Unproven { .. })),
            "{again:?}"
        );
    });
}

#[test]
fn arbiter_key_cannot_join_as_a_node() {
    on_one_thread(async {
        let addresses = free_addresses(2);
        let paper = Paper::new(&addresses[..1]);
        let (office, _wire) = open(&paper, 1, Office::new(&paper, true)).await;
        let token = office.invite(MemberKind::Arbiter, addresses[0]);
        let key = MemberKey::generate().unwrap();
        let as_arbiter = newcomer(MemberKind::Arbiter, addresses[1]);
        ask_with(&token, &as_arbiter, &key, None).await.unwrap();
        // The arbiter's disk is stolen; the thief requests what nodes get.
        let mut forged = token.clone();
        forged.kind = MemberKind::Node;
        let sealing = Some(SealingKey::generate().unwrap());
        let as_node = newcomer(MemberKind::Node, addresses[1]);
        let stolen = ask_with(&forged, &as_node, &key, sealing).await;
        assert!(
            matches!(stolen, Err(JoinError::Denied(Denied::Kind))),
            "{stolen:?}"
        );
    });
}
