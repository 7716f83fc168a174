//! Tests new certificates, with the same key and with another one.

use super::*;
use crate::authority::{CertificateRelation, PeerRejection, disk};
use crate::wire::{Event, RenewalError, Signer};
use std::time::SystemTime;

/// Responds, and signs if it has the CA.
struct Signing(Option<Arc<Authority>>);

impl Handler for Signing {
    async fn handle(&self, _: MemberId, _: Service, bytes: Vec<u8>) -> Vec<u8> {
        bytes
    }

    async fn join(&self, _: SocketAddr, _: Binding, _: Vec<u8>) -> Vec<u8> {
        Vec::new()
    }

    fn signer(&self) -> Option<Signer> {
        let authority = self.0.clone()?;
        let chain = vec![authority.certificate().to_vec()];
        Some(Signer { authority, chain })
    }
}

async fn signing(paper: &Paper, id: u64, with_key: bool) -> MemberWire<Tcp> {
    let wire = paper.wire(id, Tcp);
    let authority = with_key.then(|| Arc::clone(&paper.authority));
    let addresses = &paper.members[&MemberId(id)].addresses;
    wire.serve(addresses, Signing(authority)).await.unwrap();
    wire
}

#[test]
fn a_member_without_the_authority_has_a_node_sign_its_new_key() {
    on_one_thread(async {
        let paper = Paper::new(&free_addresses(2));
        let node = signing(&paper, 1, true).await;
        let arbiter = signing(&paper, 2, false).await;
        until("they talk", || connections(&arbiter, 1) == 2).await;
        let mut known = paper.trust();
        // Twice, and a member that only knows the first key still trusts it.
        for _ in 0..2 {
            let renewed = arbiter.renew(MemberKey::generate().unwrap()).await.unwrap();
            let shown = &renewed.chain()[0];
            assert_eq!(
                known.judge(shown, MemberId(2)),
                Ok(CertificateRelation::Successor)
            );
            assert_eq!(
                paper.trust().judge(shown, MemberId(2)),
                Ok(CertificateRelation::Successor)
            );
            let digest = renewed.key().digest();
            arbiter.set_identity(Arc::new(renewed)).unwrap();
            known.members.get_mut(&MemberId(2)).unwrap().certificate = digest;
            node.set_trust(known.clone()).unwrap();
        }
        // If the cluster knows none of its keys any longer, nothing is signed for it.
        let strange = MemberKey::generate().unwrap().digest();
        known.members.get_mut(&MemberId(2)).unwrap().certificate = strange;
        assert!(arbiter.renew(MemberKey::generate().unwrap()).await.is_ok());
        node.set_trust(known).unwrap();
        let renewed = arbiter.renew(MemberKey::generate().unwrap()).await;
        assert!(matches!(
            renewed,
            Err(RenewalError::Denied(MemberId(1)) | RenewalError::NoNode(Some(_)))
        ));
    });
}

#[test]
fn stolen_old_key_gets_no_new_certificate() {
    on_one_thread(async {
        let mut paper = Paper::new(&free_addresses(2));
        // The thief of the former key names the new key as if it were a predecessor.
        let new = MemberKey::generate().unwrap().digest();
        let stolen = paper
            .identity(2)
            .with_chain(&paper.identity(2).chain()[1..]);
        let stolen = stolen.unwrap().with_predecessors(vec![new]);
        let former = stolen.key().digest();
        paper.identities.insert(MemberId(2), Arc::new(stolen));
        let node = signing(&paper, 1, true).await;
        let thief = signing(&paper, 2, false).await;
        until("they talk", || connections(&thief, 1) == 2).await;
        let mut known = paper.trust();
        // A lagging node signs a certificate that is no successor of the new key.
        let lagging = thief.renew(MemberKey::generate().unwrap()).await.unwrap();
        let shown = &lagging.chain()[0];
        assert_eq!(
            known.judge(shown, MemberId(2)),
            Ok(CertificateRelation::Successor)
        );
        known.members.get_mut(&MemberId(2)).unwrap().certificate = new;
        assert_eq!(known.judge(shown, MemberId(2)), Err(PeerRejection::Key));
        // A node that knows the new key does not sign, although the connection is open.
        node.set_trust(known.clone()).unwrap();
        assert_eq!(connections(&thief, 1), 2);
        let renewed = thief.renew(MemberKey::generate().unwrap()).await;
        assert!(matches!(renewed, Err(RenewalError::Denied(MemberId(1)))));
        // Nor is one that is only said to go on from the present key by an authority that
        // may be exposed.
        let key = MemberKey::generate().unwrap();
        let request = key.request(b"").unwrap();
        let authority = &paper.authority;
        let forged = authority.sign(MemberId(2), &request, &[new]).unwrap();
        assert_eq!(
            known.judge(&forged, MemberId(2)),
            Ok(CertificateRelation::Successor)
        );
        assert_eq!(known.predecessors_of(&forged, MemberId(2), &[new]), None);
        // Only predecessors that the current certificate names remain named.
        let request = key.request(b"").unwrap();
        let own = key.digest();
        known.members.get_mut(&MemberId(2)).unwrap().certificate = own;
        let present = authority.sign(MemberId(2), &request, &[former]).unwrap();
        let named = known.predecessors_of(&present, MemberId(2), &[own, former, new]);
        assert_eq!(named, Some(vec![own, former]));
    });
}

#[test]
fn renewal_without_a_node_fails_with_a_message() {
    on_one_thread(async {
        let paper = Paper::new(&free_addresses(2));
        let wire = signing(&paper, 1, false).await;
        let renewed = wire.renew(MemberKey::generate().unwrap()).await;
        assert!(matches!(renewed, Err(RenewalError::NoNode(Some(_)))));
    });
}

#[test]
fn expiring_certificate_is_renewed_and_stored() {
    on_one_thread(async {
        let mut paper = Paper::new(&free_addresses(1));
        let key = paper.identity(1);
        let key = MemberKey::from_pkcs8(&key.key().pkcs8()).unwrap();
        let request = key.request(b"").unwrap();
        let long_ago = SystemTime::now() - Duration::from_secs(300 * 24 * 3600);
        let former = MemberKey::generate().unwrap().digest();
        let authority = &paper.authority;
        let old = authority
            .sign_at(MemberId(1), &request, &[former], long_ago)
            .unwrap();
        let chain = [authority.certificate().to_vec()];
        let old = MemberIdentity::new(CLUSTER, MemberId(1), key, old, &chain).unwrap();
        let old = old.with_predecessors(vec![former]);
        assert!(old.renewal_due(SystemTime::now()));
        paper.identities.insert(MemberId(1), Arc::new(old));
        let wire = paper.wire(1, Tcp);
        let mut events = wire.events();
        let signer = Signing(Some(Arc::clone(&paper.authority)));
        wire.serve(&paper.members[&MemberId(1)].addresses, signer)
            .await
            .unwrap();
        let renewed = loop {
            if let Event::Renewed(identity) = events.recv().await.unwrap() {
                break identity;
            }
        };
        assert!(!renewed.renewal_due(SystemTime::now()));
        let scratch = lab::ScratchDirectory::new().unwrap();
        disk::write_identity(scratch.path(), &renewed).unwrap();
        let read = disk::read_identity(scratch.path(), CLUSTER, MemberId(1)).unwrap();
        assert_eq!(read.predecessors(), [former]);
        assert_eq!(read.chain(), renewed.chain());
        let mut away = paper.trust();
        away.members.get_mut(&MemberId(1)).unwrap().certificate = former;
        assert_eq!(
            away.judge(&read.chain()[0], MemberId(1)),
            Ok(CertificateRelation::Successor)
        );
    });
}

#[test]
fn new_identity_is_used_on_all_connections() {
    on_one_thread(async {
        let paper = Paper::new(&free_addresses(2));
        let node = signing(&paper, 1, true).await;
        let other = signing(&paper, 2, false).await;
        until("they talk", || connections(&node, 2) == 2).await;
        let mut events = node.events();
        let renewed = other.renew(MemberKey::generate().unwrap()).await.unwrap();
        let mut known = paper.trust();
        known.members.get_mut(&MemberId(2)).unwrap().certificate = renewed.key().digest();
        let before = std::time::Instant::now();
        other.set_identity(Arc::new(renewed)).unwrap();
        node.set_trust(known).unwrap();
        until("all connections are new", || {
            let path = node.paths().remove(0);
            let age = before.elapsed().as_millis() as u64;
            path.connections.len() == 2 && path.connections.iter().all(|one| one.since_ms < age)
        })
        .await;
        while let Ok(event) = events.try_recv() {
            assert!(
                !matches!(event, Event::Down { .. } | Event::RefusedBy { .. }),
                "{event:?}"
            );
        }
        assert_eq!(node.counted(|c| &c.refused), 0);
    });
}
