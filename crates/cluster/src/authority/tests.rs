//! Tests the CA: what it signs, whom members trust, and what stays encrypted.

use super::certificate::sha256;
use super::tls::over_at;
use super::*;
use crate::command::{CHUNK_BYTES_MAX, Epoch, NextAuthority, SealedAuthority};
use crate::file_set::SET_BYTES_MAX;
use crate::member::{ClusterMember, Digest, MemberId, MemberKind};
use crate::state::{ClusterState, RetiredAuthority};
use rustls::pki_types::CertificateDer;
use rustls::{ClientConnection, ServerConnection};
use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

mod part;

const CLUSTER: &str = "office";
const DAY: Duration = Duration::from_secs(24 * 3600);

fn identity(authority: &Authority, member: u64) -> MemberIdentity {
    let key = MemberKey::generate().unwrap();
    identity_with(authority, member, key, &[], SystemTime::now())
}

fn identity_with(
    authority: &Authority,
    member: u64,
    key: MemberKey,
    before: &[Digest],
    now: SystemTime,
) -> MemberIdentity {
    let request = key.request(b"").unwrap();
    request.verify(b"").unwrap();
    let id = MemberId(member);
    let certificate = authority.sign_at(id, &request, before, now).unwrap();
    let chain = [authority.certificate().to_vec()];
    MemberIdentity::new(authority.cluster(), id, key, certificate, &chain).unwrap()
}

fn member(identity: &MemberIdentity) -> ClusterMember {
    ClusterMember {
        id: identity.member(),
        name: format!("host{}", identity.member()),
        kind: MemberKind::Node,
        addresses: Vec::new(),
        certificate: identity.key().digest(),
        sealing_key: None,
        format: 1,
    }
}

fn trust(authority: &Authority, of: &[&MemberIdentity]) -> Trust {
    Trust {
        cluster: authority.cluster().to_owned(),
        authorities: vec![authority.certificate().to_vec()],
        members: of.iter().map(|one| (one.member(), member(one))).collect(),
        ..Trust::default()
    }
}

/// Performs a handshake in memory. Returns the results of the client and of the server.
fn handshake(
    client: &TlsConfigs,
    server: &TlsConfigs,
) -> Result<(Vec<u8>, Vec<u8>), rustls::Error> {
    let name = "member-1.office.evenkeel".try_into().unwrap();
    let mut client = ClientConnection::new(client.member(), name).unwrap();
    let mut server = ServerConnection::new(server.server()).unwrap();
    shake(&mut client, &mut server)?;
    let seen_by = |certificates: Option<&[rustls::pki_types::CertificateDer<'_>]>| {
        certificates.unwrap()[0].to_vec()
    };
    Ok((
        seen_by(client.peer_certificates()),
        seen_by(server.peer_certificates()),
    ))
}

fn shake(
    client: &mut ClientConnection,
    server: &mut ServerConnection,
) -> Result<(), rustls::Error> {
    for _ in 0..8 {
        let mut bytes = Vec::new();
        while client.wants_write() {
            client.write_tls(&mut bytes).unwrap();
        }
        let mut cursor = io::Cursor::new(bytes);
        while server.read_tls(&mut cursor).unwrap() > 0 {
            server.process_new_packets()?;
        }
        let mut bytes = Vec::new();
        while server.wants_write() {
            server.write_tls(&mut bytes).unwrap();
        }
        let mut cursor = io::Cursor::new(bytes);
        while client.read_tls(&mut cursor).unwrap() > 0 {
            client.process_new_packets()?;
        }
    }
    Ok(())
}

fn configs(identity: &MemberIdentity, authorities: &[&Authority]) -> TlsConfigs {
    let authorities = authorities.iter().map(|one| one.certificate().to_vec());
    let trust = Trust {
        authorities: authorities.collect(),
        ..Trust::default()
    };
    TlsConfigs::new(identity, &trust).unwrap()
}

#[test]
fn members_authenticate_each_other_and_others_by_their_key() {
    let authority = Authority::found(CLUSTER).unwrap();
    let (one, two) = (identity(&authority, 1), identity(&authority, 2));
    let (seen, shown) =
        handshake(&configs(&one, &[&authority]), &configs(&two, &[&authority])).unwrap();
    let trust = trust(&authority, &[&one, &two]);
    assert_eq!(
        trust.judge(&seen, MemberId(2)),
        Ok(CertificateRelation::Member)
    );
    assert_eq!(
        trust.judge(&shown, MemberId(1)),
        Ok(CertificateRelation::Member)
    );
    let claimed = MemberId(1);
    assert_eq!(
        trust.judge(&seen, claimed),
        Err(PeerRejection::Name { claimed })
    );
}

#[test]
fn certificate_of_another_ca_ends_the_handshake() {
    let (ours, other) = (
        Authority::found(CLUSTER).unwrap(),
        Authority::found(CLUSTER).unwrap(),
    );
    let (one, forged) = (identity(&ours, 1), identity(&other, 2));
    // The forger trusts our CA, so only our side can refuse.
    let forged = configs(&forged, &[&ours]);
    let one = configs(&one, &[&ours]);
    assert!(handshake(&one, &forged).is_err());
    assert!(handshake(&forged, &one).is_err());
}

#[test]
fn removed_member_is_refused_despite_a_valid_certificate() {
    let authority = Authority::found(CLUSTER).unwrap();
    let (one, gone) = (identity(&authority, 1), identity(&authority, 2));
    let mut trust = trust(&authority, &[&one]);
    trust.removed.insert(gone.key().digest());
    let shown = &gone.chain()[0];
    assert_eq!(trust.judge(shown, MemberId(2)), Err(PeerRejection::Removed));
    // Without the removed keys, the highest member number shows that member 2 was removed.
    trust.removed.clear();
    trust.highest = MemberId(2);
    assert_eq!(trust.judge(shown, MemberId(2)), Err(PeerRejection::Removed));
}

#[test]
fn new_key_of_a_member_needs_a_certificate_naming_the_old() {
    let authority = Authority::found(CLUSTER).unwrap();
    let one = identity(&authority, 1);
    let trust = trust(&authority, &[&one]);
    let now = SystemTime::now();
    let stranger = identity(&authority, 1);
    assert_eq!(
        trust.judge(&stranger.chain()[0], MemberId(1)),
        Err(PeerRejection::Key)
    );
    // The key changed twice while a member was away.
    let second = MemberKey::generate().unwrap().digest();
    let before = [second, one.key().digest()];
    let third = MemberKey::generate().unwrap();
    let third = identity_with(&authority, 1, third, &before, now);
    assert_eq!(
        trust.judge(&third.chain()[0], MemberId(1)),
        Ok(CertificateRelation::Successor)
    );
}

#[test]
fn member_that_joined_during_an_absence_is_accepted() {
    let authority = Authority::found(CLUSTER).unwrap();
    let (one, new) = (identity(&authority, 1), identity(&authority, 3));
    let mut trust = trust(&authority, &[&one]);
    trust.highest = MemberId(2);
    assert_eq!(
        trust.judge(&new.chain()[0], MemberId(3)),
        Ok(CertificateRelation::Newcomer)
    );
}

#[test]
fn certificate_is_renewed_early_and_accepted_despite_wrong_clocks() {
    let authority = Authority::found(CLUSTER).unwrap();
    let now = SystemTime::now();
    let key = MemberKey::generate().unwrap();
    let fresh = identity_with(&authority, 1, key, &[], now);
    assert!(!fresh.renewal_due(now));
    assert!(!fresh.renewal_due(now + DAY * 240));
    assert!(fresh.renewal_due(now + DAY * 250));
    assert!(!fresh.renewal_due(SystemTime::UNIX_EPOCH));
    let ends = [(300, None), (305, Some(60)), (364, Some(1)), (365, Some(0))];
    for (age, days) in ends {
        let at = now + DAY * age + DAY / 2;
        assert_eq!(fresh.ends_in_days(at), days, "{age}");
    }

    let past = now - DAY * 500;
    let key = MemberKey::generate().unwrap();
    let over = identity_with(&authority, 2, key, &[], past);
    assert!(over_at(over.chain(), now));
    let one = configs(&fresh, &[&authority]);
    let (seen, _) = handshake(&one, &configs(&over, &[&authority])).unwrap();
    assert_eq!(one.clocks_wrong(), 1);
    let trust = trust(&authority, &[&fresh, &over]);
    assert_eq!(
        trust.judge(&seen, MemberId(2)),
        Ok(CertificateRelation::Member)
    );
    // A clock that lost its battery is before the start of the certificate.
    let future = now + DAY * 20_000;
    let key = MemberKey::generate().unwrap();
    let early = identity_with(&authority, 2, key, &[], future);
    assert!(handshake(&one, &configs(&early, &[&authority])).is_ok());
    assert_eq!(one.clocks_wrong(), 2);
}

#[test]
fn new_ca_is_trusted_by_members_that_know_the_old() {
    let old = Authority::found(CLUSTER).unwrap();
    let new = Authority::found(CLUSTER).unwrap();
    let (away, two) = (identity(&old, 1), identity(&old, 2));
    // Member 2 has a certificate of the new CA, and presents the chain to the old one.
    // The member that was away trusts only the old CA.
    let key = MemberKey::from_pkcs8(&two.key().pkcs8()).unwrap();
    let request = key.request(b"").unwrap();
    let certificate = new.sign(MemberId(2), &request, &[]).unwrap();
    let chain = [
        old.vouch_for(&new).unwrap(),
        new.certificate().to_vec(),
        old.certificate().to_vec(),
    ];
    let two = MemberIdentity::new(CLUSTER, MemberId(2), key, certificate, &chain).unwrap();
    let away_knows_old = configs(&away, &[&old]);
    let during = configs(&two, &[&new, &old]);
    assert!(handshake(&away_knows_old, &during).is_ok());
    assert!(handshake(&during, &away_knows_old).is_ok());
    // When the old CA is dropped, its certificates are no longer valid.
    let after = configs(&two, &[&new]);
    assert!(handshake(&away_knows_old, &after).is_err());
    // The old CA's key can then certify nothing.
    let forged = Authority::found(CLUSTER).unwrap();
    let key = MemberKey::generate().unwrap();
    let certificate = forged
        .sign(MemberId(2), &key.request(b"").unwrap(), &[])
        .unwrap();
    let chain = [old.vouch_for(&forged).unwrap(), old.certificate().to_vec()];
    let forged = MemberIdentity::new(CLUSTER, MemberId(2), key, certificate, &chain).unwrap();
    assert!(handshake(&configs(&forged, &[&new, &old]), &after).is_err());
}

/// Adds successive CAs to the state, as the log has them after this CA replaced the
/// former ones.
fn followed(state: &mut ClusterState, old: &Authority, late: &[u64]) -> Authority {
    let new = Authority::found(CLUSTER).unwrap();
    state.succession.formers.push(RetiredAuthority {
        certificate: old.certificate().to_vec(),
        vouched: old.vouch_for(&new).unwrap(),
        late: late.iter().copied().map(MemberId).collect(),
    });
    state.authority = new.certificate().to_vec();
    new
}

fn certified(state: &ClusterState, authority: &Authority, of: &MemberIdentity) -> MemberIdentity {
    let key = MemberKey::from_pkcs8(&of.key().pkcs8()).unwrap();
    let request = key.request(b"").unwrap();
    let certificate = authority.sign(of.member(), &request, &[]).unwrap();
    let chain = state.chain_to(authority.certificate()).unwrap();
    MemberIdentity::new(CLUSTER, of.member(), key, certificate, &chain).unwrap()
}

fn agreed(authority: &Authority, of: &[&MemberIdentity]) -> ClusterState {
    let mut state = ClusterState::default();
    state.cluster = CLUSTER.to_owned();
    state.authority = authority.certificate().to_vec();
    state.members = of.iter().map(|one| (one.member(), member(one))).collect();
    state.last_member = MemberId(of.len() as u64);
    state
}

#[test]
fn long_absent_member_returns_only_with_its_own_key() {
    let first = Authority::found(CLUSTER).unwrap();
    let (one, away) = (identity(&first, 1), identity(&first, 2));
    let knows_first = configs(&away, &[&first]);
    let mut state = agreed(&first, &[&one, &away]);
    let mut present = followed(&mut state, &first, &[2]);
    for _ in 1..FORMER_AUTHORITIES_MAX {
        present = followed(&mut state, &present, &[]);
    }
    let one = certified(&state, &present, &one);
    assert!(one.is_issued_by(present.certificate()) && !one.is_issued_by(first.certificate()));
    let trust = state.trust();
    let now = TlsConfigs::new(&one, &trust).unwrap();
    // The absent member trusts the current CA through all CAs between. The others trust the member
    // by its key.
    for (client, server) in [(&knows_first, &now), (&now, &knows_first)] {
        handshake(client, server).unwrap();
    }
    assert!(trust.believes_issuer_of(&away.chain()[0]));
    assert_eq!(
        trust.judge(&away.chain()[0], MemberId(2)),
        Ok(CertificateRelation::Member)
    );
    // The stolen key of the former CA makes nobody trusted: neither a new member nor another key
    // for the absent one.
    for number in [2, 3] {
        let forged = identity(&first, number);
        assert!(!trust.believes_issuer_of(&forged.chain()[0]));
        let forged = configs(&forged, &[&first]);
        assert!(handshake(&forged, &now).is_err());
        assert!(handshake(&now, &forged).is_err());
    }
    // Once the absent member has a new certificate, its former one is refused.
    state.succession.formers[0].late.clear();
    let now = TlsConfigs::new(&one, &state.trust()).unwrap();
    assert!(handshake(&knows_first, &now).is_err());
    let back = certified(&state, &present, &away);
    assert!(handshake(&configs(&back, &[&present]), &now).is_ok());
}

#[test]
fn removed_member_learns_of_it_after_its_ca_was_dropped() {
    let first = Authority::found(CLUSTER).unwrap();
    let (one, gone) = (identity(&first, 1), identity(&first, 2));
    let mut state = agreed(&first, &[&one]);
    state.last_member = MemberId(2);
    state.removed.insert(gone.key().digest(), MemberId(2));
    let present = followed(&mut state, &first, &[]);
    let one = certified(&state, &present, &one);
    let trust = state.trust();
    let now = TlsConfigs::new(&one, &trust).unwrap();
    let (_, shown) = handshake(&configs(&gone, &[&first]), &now).unwrap();
    assert_eq!(
        trust.judge(&shown, MemberId(2)),
        Err(PeerRejection::Removed)
    );
}

#[test]
fn next_ca_needs_a_signature_of_the_current_one() {
    let present = Authority::found(CLUSTER).unwrap();
    let (next, other) = (
        Authority::found(CLUSTER).unwrap(),
        Authority::found(CLUSTER).unwrap(),
    );
    let one = identity(&present, 1);
    let mut state = agreed(&present, &[&one]);
    let (rings, _) = rings(1);
    let key = SealedAuthority {
        epoch: rings.newest().unwrap(),
        bytes: rings.seal_secret("authority", &next.pkcs8()).unwrap(),
    };
    let mut believed = |vouched: Vec<u8>| {
        state.succession.next = Some(NextAuthority {
            certificate: next.certificate().to_vec(),
            vouched,
            key: key.clone(),
        });
        state.trust().authorities.len() == 2
    };
    assert!(believed(present.vouch_for(&next).unwrap()));
    assert!(!believed(present.vouch_for(&other).unwrap()));
    assert!(!believed(other.vouch_for(&next).unwrap()));
    assert!(!believed(next.certificate().to_vec()));
    assert!(!believed(b"nothing".to_vec()));
}

#[test]
fn next_ca_is_due_long_before_the_current_one_expires() {
    let authority = Authority::found(CLUSTER).unwrap();
    let now = SystemTime::now();
    let days = |days: u64| now + DAY * days as u32;
    assert!(!follow_up_due(authority.certificate(), now));
    assert!(!follow_up_due(
        authority.certificate(),
        days(AUTHORITY_VALID_DAYS - 740)
    ));
    // Certificates that the CA signs until then expire before the CA.
    assert!(follow_up_due(
        authority.certificate(),
        days(AUTHORITY_VALID_DAYS - 720)
    ));
    assert!(!follow_up_due(b"nothing", now));
}

#[test]
fn certificate_request_is_valid_on_its_connection_only() {
    let key = MemberKey::generate().unwrap();
    let request = key.request(b"this one").unwrap();
    assert!(request.verify(b"this one").is_ok());
    assert!(matches!(
        request.verify(b"another"),
        Err(AuthorityError::Unproven)
    ));
    assert_eq!(request.digest(), key.digest());
}

#[test]
fn cluster_name_must_fit_into_a_certificate() {
    let long = "x".repeat(33);
    for name in [
        "",
        "two words",
        "under_score",
        "-first",
        "last-",
        "a.b",
        "ü",
        &long,
    ] {
        let refused = Authority::found(name);
        assert!(
            matches!(refused, Err(AuthorityError::ClusterName(_))),
            "{name}"
        );
    }
    assert!(Authority::found("Office-2").is_ok());
}

#[test]
fn token_is_parsed_as_printed_and_as_typed() {
    let authority = Authority::found(CLUSTER).unwrap();
    let addresses = vec![
        "10.0.0.1:7443".parse().unwrap(),
        "[fd00::2]:7443".parse().unwrap(),
    ];
    for kind in [MemberKind::Node, MemberKind::Arbiter] {
        let token = Token::new(kind, addresses.clone(), &authority.fingerprint()).unwrap();
        let text = token.to_string();
        assert!(text.starts_with("EK1-"));
        assert_eq!(text.parse::<Token>().unwrap(), token);
        let typed = format!(
            "  {} ",
            text.to_lowercase().replace('0', "o").replace('1', "l")
        );
        let typed = typed.replacen("ekl", "ek1", 1);
        assert_eq!(typed.parse::<Token>().unwrap(), token);
        assert_eq!(
            text.replacen("-", " ", 2).replacen(' ', "-", 1).parse(),
            Ok(token.clone())
        );
        assert!(token.names(authority.certificate()));
        assert!(!token.names(Authority::found(CLUSTER).unwrap().certificate()));
        assert!(!format!("{token:?}").contains(&text[20..40]));
    }
}

#[test]
fn invitation_proof_needs_the_secret_the_ca_key_and_the_connection() {
    let (authority, other) = (
        Authority::found(CLUSTER).unwrap(),
        Authority::found(CLUSTER).unwrap(),
    );
    let address = vec!["192.0.2.1:7443".parse().unwrap()];
    let token = Token::new(MemberKind::Node, address, &authority.fingerprint()).unwrap();
    let certificate = authority.certificate();
    let prove = |binding: &[u8], by| Token::proof_of(&token.digest(), binding, by).unwrap();
    let good = prove(b"here", &authority);
    assert!(token.is_proven_by(&good, b"here", certificate));
    assert!(!token.is_proven_by(&good, b"there", certificate));
    assert!(!token.is_proven_by(&good[..32], b"here", certificate));
    assert!(!token.is_proven_by(&good[..31], b"here", certificate));
    assert!(!token.is_proven_by(&[], b"here", certificate));
    // A machine that knows the invitation, as an arbiter does, and signs with its own key.
    let own = prove(b"here", &other);
    assert!(!token.is_proven_by(&own, b"here", certificate));
    assert!(!token.is_proven_by(&own, b"here", other.certificate()));
    // A signature for another connection, of a node that was queried meanwhile.
    let elsewhere = prove(b"there", &authority);
    let pieced = [&good[..32], &elsewhere[32..]].concat();
    assert!(!token.is_proven_by(&pieced, b"here", certificate));
    // The authority's key without the invitation.
    let unknown = Token::proof_of(&fingerprint(b"another"), b"here", &authority).unwrap();
    assert!(!token.is_proven_by(&unknown, b"here", certificate));
}

#[test]
fn mistyped_token_differs_from_an_expired_one() {
    let authority = Authority::found(CLUSTER).unwrap();
    let address = vec!["10.0.0.1:7443".parse().unwrap()];
    let text = Token::new(MemberKind::Node, address, &authority.fingerprint())
        .unwrap()
        .to_string();
    let parse = |text: &str| text.parse::<Token>().unwrap_err();
    assert_eq!(parse("hello"), TokenError::Prefix);
    assert_eq!(
        parse(&text.replacen("EK1-", "EK1-*", 1)),
        TokenError::Letter('*')
    );
    // Each letter is changed, and the text is cut at each position.
    for at in 4..text.len() {
        let letter = text.as_bytes()[at];
        if letter == b'-' {
            continue;
        }
        let mut changed = text.clone().into_bytes();
        changed[at] = if letter == b'7' { b'8' } else { b'7' };
        let changed = String::from_utf8(changed).unwrap();
        assert_eq!(parse(&changed), TokenError::Checksum, "{changed}");
        assert_eq!(parse(&text[..at]), TokenError::Checksum);
    }
    assert_eq!(
        Token::new(MemberKind::Node, Vec::new(), &authority.fingerprint()),
        Err(TokenError::Addresses)
    );
}

proptest::proptest! {
    #[test]
    fn no_text_makes_a_token_panic(text in "(EK1-)?[ -~]{0,200}") {
        let _ = text.parse::<Token>();
    }
}

fn rings(epochs: u64) -> (Rings, SealingKey) {
    let key = SealingKey::generate().unwrap();
    let mut rings = Rings::default();
    for epoch in 1..=epochs {
        let ring = Rings::begin(CLUSTER, Epoch(epoch), [(MemberId(1), key.public())]).unwrap();
        assert_eq!(
            rings
                .decrypt_keys(CLUSTER, MemberId(1), &key, [&ring])
                .unwrap(),
            1
        );
    }
    (rings, key)
}

fn store(sealed: &Sealed) -> BTreeMap<Digest, Vec<u8>> {
    sealed.chunks.iter().cloned().collect()
}

#[test]
fn contents_of_every_size_are_decrypted() {
    let (rings, _) = rings(1);
    for size in [
        0,
        1,
        CHUNK_PLAIN_BYTES,
        CHUNK_PLAIN_BYTES + 1,
        3 * CHUNK_PLAIN_BYTES,
    ] {
        let plain: Vec<u8> = (0..size).map(|at| at as u8).collect();
        let sealed = rings.seal(&plain).unwrap();
        let chunks = store(&sealed);
        assert!(chunks.values().all(|chunk| chunk.len() <= CHUNK_BYTES_MAX));
        assert!(
            chunks
                .iter()
                .all(|(digest, chunk)| sha256(chunk) == *digest)
        );
        let opened = rings
            .open(&sealed.content, |digest| chunks.get(digest).cloned())
            .unwrap();
        assert!(*opened == plain);
    }
    let large = vec![0; SET_BYTES_MAX as usize + 1];
    assert!(matches!(
        rings.seal(&large),
        Err(AuthorityError::TooLarge { .. })
    ));
}

#[test]
fn changed_swapped_or_missing_pieces_are_not_decrypted() {
    let (rings, _) = rings(1);
    let plain = vec![7; 3 * CHUNK_PLAIN_BYTES];
    let sealed = rings.seal(&plain).unwrap();
    let twin = rings.seal(&plain).unwrap();
    let all: BTreeMap<_, _> = store(&sealed).into_iter().chain(store(&twin)).collect();
    let open = |content: &crate::command::EncryptedContent| {
        rings
            .open(content, |digest| all.get(digest).cloned())
            .map(|_| ())
    };
    assert!(open(&sealed.content).is_ok());
    let not_sealed = |result| assert!(matches!(result, Err(AuthorityError::NotSealed)));
    let mut swapped = sealed.content.clone();
    swapped.chunks.swap(0, 1);
    not_sealed(open(&swapped));
    let mut mixed = sealed.content.clone();
    mixed.chunks[1] = twin.content.chunks[1];
    not_sealed(open(&mixed));
    let mut shorter = sealed.content.clone();
    shorter.chunks.pop();
    not_sealed(open(&shorter));
    let flip = |digest: &Digest| {
        all.get(digest).map(|chunk| {
            let mut chunk = chunk.clone();
            *chunk.last_mut().unwrap() ^= 1;
            chunk
        })
    };
    not_sealed(rings.open(&sealed.content, flip).map(|_| ()));
    let missing = rings.open(&sealed.content, |_| None);
    assert!(matches!(missing, Err(AuthorityError::MissingChunk(_))));
}

#[test]
fn repeated_encryption_gives_different_bytes() {
    let (rings, _) = rings(1);
    let (one, two) = (
        rings.seal(b"secret").unwrap(),
        rings.seal(b"secret").unwrap(),
    );
    assert_ne!(one.content.chunks, two.content.chunks);
    assert!(!one.chunks[0].1.windows(6).any(|part| part == b"secret"));
}

#[test]
fn new_content_key_excludes_the_removed_node() {
    let (mut node, key) = rings(1);
    let old = node.seal(b"old").unwrap();
    let removed = SealingKey::generate().unwrap();
    let ring = Rings::begin(CLUSTER, Epoch(2), [(MemberId(1), key.public())]).unwrap();
    assert_eq!(
        node.decrypt_keys(CLUSTER, MemberId(1), &key, [&ring])
            .unwrap(),
        1
    );
    let new = node.seal(b"new").unwrap();
    assert_eq!(new.content.epoch, Epoch(2));
    let (old_chunks, new_chunks) = (store(&old), store(&new));
    assert_eq!(
        **node
            .open(&old.content, |at| old_chunks.get(at).cloned())
            .unwrap(),
        *b"old"
    );
    let mut without = Rings::default();
    assert_eq!(
        without
            .decrypt_keys(CLUSTER, MemberId(2), &removed, [&ring])
            .unwrap(),
        0
    );
    let opened = without.open(&new.content, |at| new_chunks.get(at).cloned());
    assert!(matches!(opened, Err(AuthorityError::NoRing(Epoch(2)))));
    assert!(matches!(without.seal(b"x"), Err(AuthorityError::NoRings)));
}

#[test]
fn new_node_alone_can_decrypt_the_keys_sent_to_it() {
    let (node, _) = rings(3);
    let sealed = node.seal(b"before it came").unwrap();
    let chunks = store(&sealed);
    let key = SealingKey::generate().unwrap();
    let given = node
        .seal_all_to(CLUSTER, MemberId(2), key.public())
        .unwrap();
    let mut new = Rings::default();
    assert_eq!(
        new.decrypt_keys(CLUSTER, MemberId(2), &key, &given)
            .unwrap(),
        3
    );
    let opened = new
        .open(&sealed.content, |at| chunks.get(at).cloned())
        .unwrap();
    assert_eq!(**opened, *b"before it came");
    // Another key, member, cluster or epoch decrypts none of the rings.
    let other = SealingKey::generate().unwrap();
    let take = |cluster, id, key| Rings::default().decrypt_keys(cluster, MemberId(id), key, &given);
    assert!(matches!(
        take(CLUSTER, 2, &other),
        Err(AuthorityError::UnusableRing(Epoch(1)))
    ));
    assert!(matches!(
        take("other", 2, &key),
        Err(AuthorityError::UnusableRing(Epoch(1)))
    ));
    assert!(matches!(take(CLUSTER, 3, &key), Ok(0)));
    let mut renamed = given.clone();
    renamed[0].epoch = Epoch(9);
    let taken = Rings::default().decrypt_keys(CLUSTER, MemberId(2), &key, &renamed);
    assert!(matches!(taken, Err(AuthorityError::UnusableRing(Epoch(9)))));
    let short = node.seal_all_to(CLUSTER, MemberId(2), b"short");
    assert!(matches!(
        short,
        Err(AuthorityError::SealingKey(MemberId(2)))
    ));
}

#[test]
fn ring_with_garbage_blocks_no_newer_ring() {
    let (node, _) = rings(3);
    let key = SealingKey::generate().unwrap();
    let mut given = node
        .seal_all_to(CLUSTER, MemberId(2), key.public())
        .unwrap();
    for epoch in [0, 1] {
        given[epoch].sealed[0].bytes = vec![0; 80];
    }
    let mut new = Rings::default();
    let mut decrypt = || new.decrypt_keys(CLUSTER, MemberId(2), &key, &given);
    for _ in 0..2 {
        assert!(matches!(
            decrypt(),
            Err(AuthorityError::UnusableRing(Epoch(1)))
        ));
    }
    assert_eq!(new.epochs().collect::<Vec<_>>(), [Epoch(3)]);
    assert_eq!(new.newest(), Some(Epoch(3)));
}

#[test]
fn secret_is_decrypted_for_its_purpose_only() {
    let (rings, _) = rings(2);
    let sealed = rings.seal_secret("authority", b"key").unwrap();
    assert_eq!(**rings.open_secret("authority", &sealed).unwrap(), *b"key");
    assert!(matches!(
        rings.open_secret("other", &sealed),
        Err(AuthorityError::NotSealed)
    ));
    assert!(rings.open_secret("authority", &sealed[..7]).is_err());
}

#[test]
fn a_sealing_key_with_one_wrong_bit_in_either_half_is_damaged_and_renewed() {
    let scratch = lab::ScratchDirectory::new().unwrap();
    let at = scratch.path();
    let key = SealingKey::generate().unwrap();
    for half in [0, 1] {
        let mut halves = [key.public().to_vec(), key.private().to_vec()];
        halves[half][10] ^= 1;
        let [public, private] = &halves;
        let damaged = SealingKey::from_halves(public, private).unwrap();
        disk::write_sealing_key(at, &damaged).unwrap();
        assert!(disk::read_sealing_key(at).is_err(), "half {half}");
        let (renewed, why) = disk::sealing_key_or_new(at).unwrap();
        assert_eq!(why, Some("damaged"));
        let read = disk::read_sealing_key(at).unwrap().unwrap();
        assert_eq!(read.public(), renewed.public());
    }
}

#[test]
fn secrets_on_disk_are_read_back_and_private_to_their_owner() {
    use std::os::unix::fs::PermissionsExt;
    let scratch = lab::ScratchDirectory::new().unwrap();
    let at = scratch.path();
    let authority = Authority::found(CLUSTER).unwrap();
    let own = identity(&authority, 1);
    let sealing = SealingKey::generate().unwrap();
    assert!(disk::read_sealing_key(at).unwrap().is_none());
    assert!(
        disk::read_authority(at, CLUSTER, authority.certificate(), &sealing)
            .unwrap()
            .is_none()
    );
    disk::write_identity(at, &own).unwrap();
    disk::write_authorities(at, &[authority.certificate().to_vec()]).unwrap();
    disk::write_sealing_key(at, &sealing).unwrap();
    let next = Authority::found(CLUSTER).unwrap();
    let (certificate, following) = (
        authority.certificate().to_vec(),
        next.certificate().to_vec(),
    );
    let fingerprint = authority.fingerprint();
    disk::write_authority_keys(at, &[authority, next], &sealing).unwrap();
    for name in [
        "member.pem",
        "member.key",
        "authority.pem",
        "authority.key",
        "sealing.key",
    ] {
        let mode = std::fs::metadata(at.join(name))
            .unwrap()
            .permissions()
            .mode();
        assert_eq!(mode & 0o777, 0o600, "{name}");
    }
    let read = disk::read_identity(at, CLUSTER, MemberId(1)).unwrap();
    assert_eq!(
        (read.chain(), read.key().digest()),
        (own.chain(), own.key().digest())
    );
    let sealing = disk::read_sealing_key(at).unwrap().unwrap();
    let read = disk::read_authority(at, CLUSTER, &certificate, &sealing)
        .unwrap()
        .unwrap();
    assert_eq!(read.fingerprint(), fingerprint);
    let next = disk::read_authority(at, CLUSTER, &following, &sealing)
        .unwrap()
        .unwrap();
    // The former CA's key is deleted when only the next one is stored.
    disk::write_authority_keys(at, &[next], &sealing).unwrap();
    let former = disk::read_authority(at, CLUSTER, &certificate, &sealing);
    assert!(former.unwrap().is_none());
    // Without the sealing key, the stored CA key cannot be read.
    let other = SealingKey::generate().unwrap();
    let read = disk::read_authority(at, CLUSTER, &following, &other);
    assert!(read.unwrap().is_none());
    std::fs::write(at.join("member.key"), "-----BEGIN PRIVATE KEY-----\n").unwrap();
    let read = disk::read_identity(at, CLUSTER, MemberId(1));
    assert!(matches!(read, Err(AuthorityError::Malformed(_))));
}
