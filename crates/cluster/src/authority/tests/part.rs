//! Tests the certificates of roles: which peers trust them, and which do not.

use super::*;

#[test]
fn part_certificate_authenticates_to_the_same_part_only() {
    let authority = Authority::found(CLUSTER).unwrap();
    let (one, two) = (identity(&authority, 1), identity(&authority, 2));
    let trust = trust(&authority, &[&one, &two]);
    let chain = [authority.certificate().to_vec()];
    let issue = |part: &str, id| {
        PartCredentials::issue(part, MemberId(id), &authority, &chain, &trust).unwrap()
    };
    let volume = issue("volume", 2);
    let certificate = |of: &PartCredentials| {
        let (client, _) = of.tls().unwrap();
        let mut client = ClientConnection::new(client, "x.example".try_into().unwrap()).unwrap();
        let (_, server) = volume.tls().unwrap();
        let mut server = ServerConnection::new(server).unwrap();
        shake(&mut client, &mut server).unwrap();
        server.peer_certificates().unwrap()[0].to_vec()
    };
    let shown = certificate(&issue("volume", 1));
    let chain = |der: &[u8]| [CertificateDer::from(der.to_vec())];
    assert_eq!(volume.node_of(&chain(&shown)), Some("host1"));
    assert_eq!(volume.node_of(&[]), None);
    let guest = issue("guest", 2);
    assert_eq!(guest.node_of(&chain(&shown)), None, "another part");
    let claimed = MemberId(1);
    assert_eq!(
        trust.judge(&shown, claimed),
        Err(PeerRejection::Name { claimed })
    );
    // The number is higher than all that this member knows.
    let new = certificate(&issue("volume", 7));
    assert_eq!(volume.node_of(&chain(&new)), None);
    let claimed = MemberId(7);
    assert_eq!(
        trust.judge(&new, claimed),
        Err(PeerRejection::Name { claimed })
    );
    // The certificate of a member is not accepted as that of a role.
    assert_eq!(volume.node_of(&chain(&one.chain()[0])), None);
    let message = volume.envelope();
    assert!(message.holds && message.part == "volume");
    assert_eq!(PartCredentials::of(&message).as_ref(), Some(&volume));
    assert!(!format!("{volume:?}").contains('['), "no key in a log");
}

#[test]
fn part_certificate_is_refused_after_removal_and_after_its_ca_was_dropped() {
    let (old, new) = (
        Authority::found(CLUSTER).unwrap(),
        Authority::found(CLUSTER).unwrap(),
    );
    let (one, two) = (identity(&old, 1), identity(&old, 2));
    let both = trust(&old, &[&one, &two]);
    let issue = |id, authority: &Authority, trust: &Trust| {
        let chain = [authority.certificate().to_vec()];
        let issued = PartCredentials::issue("volume", MemberId(id), authority, &chain, trust);
        issued.unwrap()
    };
    let shown = {
        let (client, server) = (
            issue(2, &old, &both).tls().unwrap().0,
            issue(1, &old, &both),
        );
        let mut client = ClientConnection::new(client, "x.example".try_into().unwrap()).unwrap();
        let mut server = ServerConnection::new(server.tls().unwrap().1).unwrap();
        shake(&mut client, &mut server).unwrap();
        let chain = server.peer_certificates().unwrap().iter();
        chain
            .map(|one| one.clone().into_owned())
            .collect::<Vec<_>>()
    };
    assert_eq!(issue(1, &old, &both).node_of(&shown), Some("host2"));
    let removed = trust(&old, &[&one]);
    assert_eq!(issue(1, &old, &removed).node_of(&shown), None);
    // The members are the same, and the CA has been replaced.
    let rotated = Trust {
        authorities: vec![new.certificate().to_vec()],
        ..both
    };
    assert_eq!(issue(1, &new, &rotated).node_of(&shown), None);
}

#[test]
fn part_of_another_cluster_or_without_certificate_is_refused() {
    let (ours, other) = (
        Authority::found(CLUSTER).unwrap(),
        Authority::found(CLUSTER).unwrap(),
    );
    let of = |authority: &Authority| {
        let one = identity(authority, 1);
        let chain = [authority.certificate().to_vec()];
        let trust = trust(authority, &[&one]);
        PartCredentials::issue("volume", MemberId(1), authority, &chain, &trust).unwrap()
    };
    let name = || "x.example".try_into().unwrap();
    let ((client, server), (forged, forged_server)) =
        (of(&ours).tls().unwrap(), of(&other).tls().unwrap());
    let shakes = |client, server| {
        let mut client = ClientConnection::new(client, name()).unwrap();
        shake(&mut client, &mut ServerConnection::new(server).unwrap())
    };
    assert!(shakes(Arc::clone(&client), Arc::clone(&server)).is_ok());
    assert!(shakes(forged, Arc::clone(&server)).is_err());
    assert!(shakes(client, forged_server).is_err());
    let member = configs(&identity(&ours, 1), &[&ours]);
    assert!(
        shakes(member.member(), Arc::clone(&server)).is_err(),
        "ALPN"
    );
    let addresses = vec!["127.0.0.1:7443".parse().unwrap()];
    let token = Token::new(MemberKind::Node, addresses, &ours.fingerprint()).unwrap();
    let none = shakes(joining(&token).unwrap(), server);
    assert!(none.is_err(), "no certificate");
}
