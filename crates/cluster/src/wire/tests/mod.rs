//! Tests the wire over real TCP on loopback, over simulated networks, and in namespaces.

mod flood;
mod joining;
mod lab_cut;
mod loopback;
mod renewing;
mod simulated;
mod strangers;

use super::{Binding, ConnectionFactory, Handler, MemberWire, Service, Tcp, Timing};
use crate::authority::{Authority, MemberIdentity, MemberKey, Trust};
use crate::member::{ClusterMember, MemberId, MemberKind};
use std::collections::BTreeMap;
use std::future::Future;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::sync::Notify;

pub(super) const CLUSTER: &str = "office";
/// Timeout of the tests on a loaded machine.
pub(super) const PATIENCE: Duration = Duration::from_secs(30);

/// Stand-in for a cluster: a CA, and the identity of each member.
pub(super) struct Paper {
    pub(super) authority: Arc<Authority>,
    pub(super) identities: BTreeMap<MemberId, Arc<MemberIdentity>>,
    pub(super) members: BTreeMap<MemberId, ClusterMember>,
}

pub(super) fn identity(authority: &Authority, id: MemberId) -> MemberIdentity {
    let key = MemberKey::generate().unwrap();
    let request = key.request(b"").unwrap();
    let certificate = authority.sign(id, &request, &[]).unwrap();
    let chain = [authority.certificate().to_vec()];
    MemberIdentity::new(authority.cluster(), id, key, certificate, &chain).unwrap()
}

impl Paper {
    /// Members at these addresses, numbered from 1.
    pub(super) fn new(addresses: &[SocketAddr]) -> Paper {
        let authority = Arc::new(Authority::found(CLUSTER).unwrap());
        let mut paper = Paper {
            authority,
            identities: BTreeMap::new(),
            members: BTreeMap::new(),
        };
        for (at, address) in addresses.iter().enumerate() {
            let id = MemberId(at as u64 + 1);
            let identity = identity(&paper.authority, id);
            let member = member(&identity, *address);
            paper.members.insert(id, member);
            paper.identities.insert(id, Arc::new(identity));
        }
        paper
    }

    pub(super) fn trust(&self) -> Trust {
        Trust {
            cluster: CLUSTER.to_owned(),
            authorities: vec![self.authority.certificate().to_vec()],
            members: self.members.clone(),
            ..Trust::default()
        }
    }

    pub(super) fn identity(&self, id: u64) -> Arc<MemberIdentity> {
        Arc::clone(&self.identities[&MemberId(id)])
    }

    pub(super) fn wire<N: ConnectionFactory>(&self, id: u64, network: N) -> MemberWire<N> {
        let timing = Timing::default();
        MemberWire::new(self.identity(id), self.trust(), timing, network).unwrap()
    }
}

pub(super) fn member(identity: &MemberIdentity, address: SocketAddr) -> ClusterMember {
    ClusterMember {
        id: identity.member(),
        name: format!("host{}", identity.member()),
        kind: MemberKind::Node,
        addresses: vec![address],
        certificate: identity.key().digest(),
        sealing_key: None,
        format: 1,
    }
}

/// Loopback addresses with ports that are free now.
pub(super) fn free_addresses(count: usize) -> Vec<SocketAddr> {
    let held: Vec<std::net::TcpListener> = (0..count)
        .map(|_| std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap())
        .collect();
    held.iter().map(|one| one.local_addr().unwrap()).collect()
}

/// Responds with its number and the request; counts the requests, and may delay its
/// responses.
#[derive(Clone, Default)]
pub(super) struct Echo {
    pub(super) asked: Arc<AtomicU64>,
    /// Notifier that releases one response each.
    pub(super) held: Option<Arc<Notify>>,
}

impl Handler for Echo {
    async fn handle(&self, from: MemberId, service: Service, mut bytes: Vec<u8>) -> Vec<u8> {
        self.asked.fetch_add(1, Ordering::Relaxed);
        if let Some(release) = &self.held {
            release.notified().await;
        }
        bytes.extend(format!(" of {from} for {service}").bytes());
        bytes
    }

    async fn join(&self, _: SocketAddr, _: Binding, _: Vec<u8>) -> Vec<u8> {
        Vec::new()
    }
}

pub(super) async fn serving(paper: &Paper, id: u64, echo: &Echo) -> MemberWire<Tcp> {
    let addresses = &paper.members[&MemberId(id)].addresses;
    // A process that was just stopped may still listen there.
    for _ in 0..1000 {
        let wire = paper.wire(id, Tcp);
        match wire.serve(addresses, echo.clone()).await {
            Ok(_) if wire.unbound().is_empty() => return wire,
            _ => {
                wire.stop();
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        }
    }
    panic!("member {id} cannot listen");
}

pub(super) async fn until(what: &str, mut is_true: impl FnMut() -> bool) {
    let waited = tokio::time::timeout(PATIENCE, async {
        while !is_true() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    });
    assert!(waited.await.is_ok(), "never: {what}");
}

pub(super) fn connections<N: ConnectionFactory>(wire: &MemberWire<N>, to: u64) -> usize {
    let paths = wire.paths();
    let path = paths.iter().find(|path| path.member == MemberId(to));
    path.map_or(0, |path| path.connections.len())
}

/// Runs on one thread, as the role does.
pub(super) fn on_one_thread(test: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(test);
}
