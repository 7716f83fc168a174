//! Tests two links over loopback.

use super::*;
use lab::eventually;
use lab::pki::{Authority, Issued, Leaf};
use lab::tls::{Terms, TlsClient, TlsOffer, TlsServer};
use std::net::IpAddr;
use std::time::Duration;

const NAMES: [&str; 2] = ["alpha", "beta"];
/// Longest wait on a busy machine.
const SOON: Duration = Duration::from_secs(60);

/// State of a node in the cluster. `accepts`: the node whose certificates it accepts.
fn trusted(
    authority: &Authority,
    nodes: &[Issued; 2],
    me: usize,
    accepts: &'static [&str],
) -> TrustedNodes {
    let offer = TlsOffer {
        identity: Some(&nodes[me]),
        ..TlsOffer::default()
    };
    let terms = Terms {
        client_roots: &[authority.der()],
        ..Terms::default()
    };
    let client = TlsClient::new_local(&offer).unwrap().config();
    let server = TlsServer::new(&nodes[me], &terms).unwrap().config();
    let addresses = [1, 2].map(|last| vec![IpAddr::from([127, 46, 91, last])]);
    let places = NAMES.map(str::to_owned).into_iter().zip(addresses);
    let ders = nodes.each_ref().map(|node| node.der.clone());
    let node_of: wire::NodeOf = Arc::new(move |chain| {
        let first = chain.first()?;
        let at = ders.iter().position(|der| der == first.as_ref())?;
        accepts.contains(&NAMES[at]).then(|| NAMES[at].to_owned())
    });
    let me = NAMES[me].to_owned();
    TrustedNodes::new(me, places.collect(), client, server, node_of)
}

#[test]
fn link_ends_when_the_certificate_of_the_other_node_is_revoked() {
    let authority = Authority::new("Cluster CA").unwrap();
    let leaf = Leaf {
        names: &["node.evenkeel"],
        client: true,
        ..Leaf::default()
    };
    let nodes = [(); 2].map(|()| authority.issue(&leaf).unwrap());
    let links = [(); 2].map(|()| BootNodeLink::start().unwrap());
    let [alpha, beta] = &links;
    alpha.trust(trusted(&authority, &nodes, 0, &NAMES));
    let trouble = |link: &BootNodeLink, other: &str| link.troubles().get(other).cloned();
    assert!(eventually(SOON, || trouble(alpha, "beta").is_some()));
    beta.trust(trusted(&authority, &nodes, 1, &NAMES));
    let is_connected = || trouble(alpha, "beta").is_none() && trouble(beta, "alpha").is_none();
    assert!(eventually(SOON, is_connected), "{:?}", alpha.troubles());
    // Beta still accepts alpha: its own connection ends at the other side.
    alpha.trust(trusted(&authority, &nodes, 0, &["alpha"]));
    let has_ended = || trouble(alpha, "beta").is_some() && trouble(beta, "alpha").is_some();
    assert!(
        eventually(SOON, has_ended),
        "{:?} {:?}",
        alpha.troubles(),
        beta.troubles()
    );
}
