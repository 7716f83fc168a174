//! Tests live migrations between two roles with the real QEMU. The test takes the place of the
//! cluster that grants the leases. The guest has no operating system and no disk: its firmware
//! keeps looking for something to boot.

mod line;
mod remote;
mod storage;

use guest::config::{Console, Guest, Guests};
use guest::message::{GuestOrder, GuestResponse};
use guest::role::report::{GUEST, NODE, NOT_MOVED, RUNNING, TAKES};
use guest::role::{GuestRole, RoleEnvironment};
use lab::{ScratchDirectory, eventually};
use part::codec;
use part::report::Subject;
use part::role::{
    KnownLease, KnownLeases, LeaseNews, UsedVolumes, VolumeNews, VolumeState, VolumeUse,
};
use rustix::process::{Pid, Signal, kill_process};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::pki_types::{CertificateDer, PrivatePkcs8KeyDer, ServerName, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{
    ClientConfig, DigitallySignedStruct, DistinguishedName, ServerConfig, SignatureScheme,
};
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use wire::TrustedNodes;

const PATIENCE: Duration = Duration::from_secs(120);
const NODES: [&str; 2] = ["alpha", "beta"];

fn guests(me: &str, memory_mib: u64) -> Vec<u8> {
    payload(me, guest(memory_mib))
}

fn guest(memory_mib: u64) -> Guest {
    Guest {
        prefer: NODES.map(str::to_owned).into(),
        console: Console::Serial,
        stop_ms: 1,
        ..Guest::plain(memory_mib << 20)
    }
}

fn payload(me: &str, guest: Guest) -> Vec<u8> {
    codec::encode(&Guests {
        me: me.to_owned(),
        guests: [("mail".to_owned(), guest)].into(),
        ..Guests::default()
    })
}

/// Accepts every certificate: [`TrustedNodes::node_of`] determines to which node it belongs.
#[derive(Debug)]
struct Anybody;

const SCHEMES: [SignatureScheme; 2] = [
    SignatureScheme::ECDSA_NISTP256_SHA256,
    SignatureScheme::ED25519,
];

impl ServerCertVerifier for Anybody {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        SCHEMES.to_vec()
    }
}

impl ClientCertVerifier for Anybody {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: UnixTime,
    ) -> Result<ClientCertVerified, rustls::Error> {
        Ok(ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        SCHEMES.to_vec()
    }
}

/// Trust of each node, two copies. Each node has an address of its own.
fn trusted(network: u8) -> [[TrustedNodes; 2]; 2] {
    let made = NODES.map(|node| {
        let made = rcgen::generate_simple_self_signed(vec![node.to_owned()]).unwrap();
        let key = made.signing_key.serialize_der();
        (made.cert.der().to_vec(), key)
    });
    // Other processes may run these tests at the same time.
    let [.., high, low] = std::process::id().to_be_bytes();
    let address = |number: u8| IpAddr::from([127, high | 1, low, network * 4 + number]);
    let of = |index: usize| {
        let (own, key) = &made[index];
        let chain = || vec![CertificateDer::from(own.clone())];
        let key = || PrivatePkcs8KeyDer::from(key.clone()).into();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let client = ClientConfig::builder_with_provider(Arc::clone(&provider))
            .with_protocol_versions(&[&rustls::version::TLS13])
            .unwrap()
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(Anybody))
            .with_client_auth_cert(chain(), key())
            .unwrap();
        let server = ServerConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&rustls::version::TLS13])
            .unwrap()
            .with_client_cert_verifier(Arc::new(Anybody))
            .with_single_cert(chain(), key())
            .unwrap();
        let known: Vec<Vec<u8>> = made.iter().map(|(der, _)| der.clone()).collect();
        let places = (1..)
            .zip(NODES)
            .map(|(number, node)| (node.to_owned(), vec![address(number)]))
            .collect();
        let node_of = move |chain: &[CertificateDer<'_>]| {
            let at = known
                .iter()
                .position(|one| chain.first().is_some_and(|der| **one == **der))?;
            Some(NODES[at].to_owned())
        };
        let me = NODES[index].to_owned();
        let (client, server) = (Arc::new(client), Arc::new(server));
        TrustedNodes::new(me, places, client, server, Arc::new(node_of))
    };
    [[of(0), of(1)], [of(0), of(1)]]
}

#[derive(Default)]
struct ClusterLease {
    holder: Option<usize>,
    epoch: u64,
    number: u64,
    record: Vec<u8>,
}

/// The nodes, and the cluster that grants their leases.
struct MigrationFixture {
    scratch: Vec<ScratchDirectory>,
    roles: Vec<GuestRole>,
    /// Leases that each role requests with their ranks; None: the role has started, and has
    /// requested nothing yet.
    wants: [Option<BTreeMap<String, u32>>; 2],
    leases: BTreeMap<String, ClusterLease>,
    payloads: [Vec<u8>; 2],
    bandwidth: u64,
    /// The role that is suspended.
    stopped: Option<usize>,
    /// The node that is gone: the other one may get its leases.
    gone: Option<usize>,
    loses_records: bool,
    /// Use of the guest's volumes by each node.
    used: [UsedVolumes; 2],
    /// Reason why no volume can be handed over at present.
    stays: Option<&'static str>,
    /// Trust for roles that start later.
    trusted: Option<[TrustedNodes; 2]>,
}

impl MigrationFixture {
    fn new(network: u8, bandwidth: u64) -> MigrationFixture {
        let mut site = MigrationFixture::begin(network, bandwidth, &guest(64));
        site.until_alpha("runs on alpha", |site| site.runs(0));
        site
    }

    /// Waits for an event on alpha before beta does anything: on a busy machine beta could be the
    /// first to request the guest's lease.
    #[track_caller]
    fn until_alpha(&mut self, what: &str, is: impl Fn(&MigrationFixture) -> bool) {
        self.stopped = Some(1);
        self.until(what, is);
        self.stopped = None;
        self.until("beta is there", |site| {
            let report = site.roles[0].report();
            let beta = report.find(NODE, NODES[1]);
            beta.is_some_and(|one| one.state.word == TAKES)
        });
    }

    fn begin(network: u8, bandwidth: u64, guest: &Guest) -> MigrationFixture {
        let scratch: Vec<ScratchDirectory> = NODES
            .iter()
            .map(|_| ScratchDirectory::new().unwrap())
            .collect();
        let payloads = NODES.map(|node| payload(node, guest.clone()));
        let mut roles = Vec::new();
        let [now, later] = trusted(network);
        for (index, trusted) in now.into_iter().enumerate() {
            let mut role = begin(scratch[index].path(), &payloads[index], bandwidth);
            role.trust(trusted);
            roles.push(role);
        }
        MigrationFixture {
            scratch,
            roles,
            wants: Default::default(),
            leases: BTreeMap::new(),
            payloads,
            bandwidth,
            stopped: None,
            gone: None,
            loses_records: false,
            used: Default::default(),
            stays: None,
            trusted: Some(later),
        }
    }

    /// Kills a role and starts its successor. The old threads and their connections remain in this
    /// process, and nobody reads from them.
    fn again(&mut self, index: usize) {
        let before = self.roles.remove(index);
        drop(before);
        let runtime = self.scratch[index].path();
        let role = begin(runtime, &self.payloads[index], self.bandwidth);
        self.roles.insert(index, role);
        self.wants[index] = None;
    }

    fn turn(&mut self) {
        for (index, role) in self.roles.iter_mut().enumerate() {
            if self.stopped == Some(index) {
                continue;
            }
            role.turn();
            let says = role.take_outbox();
            if let Some(leases) = says.leases {
                let ranked = leases.into_iter().map(|one| (one.name, one.rank));
                self.wants[index] = Some(ranked.collect());
            }
            if let Some(used) = says.volumes {
                self.used[index] = used;
            }
            for record in says.records {
                if self.loses_records {
                    continue;
                }
                let lease = self.leases.entry(record.name).or_default();
                if lease.holder == Some(index) && lease.epoch == record.epoch.0 {
                    (lease.number, lease.record) = (record.number, record.value);
                }
            }
        }
        self.grant();
        let now = boottime_ns();
        for (index, role) in self.roles.iter_mut().enumerate() {
            if self.stopped == Some(index) {
                continue;
            }
            let known = self.leases.iter().map(|(name, lease)| KnownLease {
                name: name.clone(),
                epoch: lease.epoch,
                until_ns: if lease.holder == Some(index) {
                    now + 10_000_000_000
                } else {
                    0
                },
                holder: lease.holder.map_or("", |holder| NODES[holder]).to_owned(),
                number: lease.number,
                record: lease.record.clone(),
                is_inherited: false,
            });
            role.apply_lease_news(LeaseNews::Known(KnownLeases(known.collect())));
            // A volume is served by the node that uses it alone.
            let mut other = self.used[1 - index].volumes.iter();
            let is_theirs =
                self.gone != Some(1 - index) && other.any(|one| one.r#use == VolumeUse::Alone);
            let stays = self.stays;
            let volumes = self.used[index].volumes.iter().map(|one| {
                let ready = (one.r#use == VolumeUse::HandsOver) == is_theirs;
                let stays = stays.filter(|_| ready && one.r#use == VolumeUse::Alone);
                VolumeState {
                    name: one.name.clone(),
                    r#use: one.r#use,
                    ready,
                    stays: stays.is_some(),
                    gone: false,
                    is_superseded: false,
                    why: stays.unwrap_or("it is at the other node").to_owned(),
                }
            });
            let volumes = volumes.collect();
            role.apply_volume_news(VolumeNews { volumes });
        }
        // A suspended role does not see that its guest has ended.
        let is_seen = self.stopped.is_none() || self.gone.is_none();
        assert!(!(is_seen && self.runs(0) && self.runs(1)), "it runs twice");
    }

    /// Grants each lease to the node that requests it with the highest rank.
    fn grant(&mut self) {
        for name in self.wants.iter().flatten().flat_map(BTreeMap::keys) {
            let lease = self.leases.entry(name.clone()).or_default();
            let wants = &self.wants;
            let said = |index: usize| wants[index].as_ref().map(|all| all.get(name).copied());
            let gone = self.gone;
            let rank = |index: usize| {
                if gone == Some(index) {
                    0
                } else {
                    said(index).flatten().unwrap_or(0)
                }
            };
            let gives = |index: usize| {
                let has_given = said(index).is_some_and(|rank| rank.unwrap_or(0) == 0);
                has_given || gone == Some(index)
            };
            // A node that returns requests its own lease.
            let is_others = |holder: usize| {
                let is_node = name.starts_with("guest/@") && gone.is_none();
                is_node && !name.ends_with(NODES[holder])
            };
            if lease
                .holder
                .is_some_and(|holder| gives(holder) || is_others(holder))
            {
                lease.holder = None;
            }
            // A node always gets its own lease.
            let best = [0, 1]
                .into_iter()
                .max_by_key(|index| (rank(*index), 1 - index));
            if lease.holder.is_none()
                && let Some(best) = best.filter(|best| rank(*best) > 0)
                && (!name.starts_with("guest/@") || name.ends_with(NODES[best]) || gone.is_some())
            {
                lease.holder = Some(best);
                lease.epoch += 1;
            }
        }
    }

    fn subject(&self, index: usize) -> Subject {
        self.roles[index]
            .report()
            .find(GUEST, "mail")
            .cloned()
            .unwrap()
    }

    fn runs(&self, index: usize) -> bool {
        self.subject(index).value(RUNNING) == Some(1)
    }

    fn process(&self, index: usize) -> u64 {
        self.subject(index).value("process").unwrap_or(0)
    }

    #[track_caller]
    fn until(&mut self, what: &str, is: impl Fn(&MigrationFixture) -> bool) {
        let reached = eventually(PATIENCE, || {
            self.turn();
            is(self)
        });
        assert!(
            reached,
            "{what}: {:#?}\n{:#?}",
            self.subject(0),
            self.subject(1)
        );
    }

    fn order(&mut self, from: usize) {
        let answer = self.roles[from].order(&GuestOrder::Move {
            name: "mail".to_owned(),
            node: NODES[1 - from].to_owned(),
        });
        assert!(answer.good, "{}", answer.words);
    }

    /// Gives an order for another node, and polls until that node has responded.
    fn order_at(&mut self, index: usize, node: &str, order: GuestOrder) -> GuestResponse {
        let (node, order) = (node.to_owned(), Box::new(order));
        let mut answer = self.roles[index].order(&GuestOrder::At { node, order });
        let answered = eventually(PATIENCE, || {
            self.turn();
            if answer.waits != 0 {
                let number = answer.waits;
                answer = self.roles[index].order(&GuestOrder::Sent { number });
            }
            answer.waits == 0
        });
        assert!(answered, "no answer");
        answer
    }

    /// Makes a node distrust the other node's certificate.
    fn revoke(&mut self, index: usize) {
        let [alpha, beta] = self.trusted.take().expect("nobody has begun again");
        let mut now = if index == 0 { alpha } else { beta };
        now.node_of = Arc::new(|_: &[CertificateDer<'_>]| None);
        self.roles[index].trust(now);
    }

    fn events(&self, index: usize) -> String {
        let events = self.subject(index).events;
        events.into_iter().map(|event| event.to + "\n").collect()
    }
}

impl Drop for MigrationFixture {
    fn drop(&mut self) {
        for index in [0, 1] {
            kill(self.process(index));
        }
    }
}

fn boottime_ns() -> u64 {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
    now.tv_sec as u64 * 1_000_000_000 + now.tv_nsec as u64
}

fn begin(runtime: &Path, payload: &[u8], bandwidth: u64) -> GuestRole {
    let place = RoleEnvironment {
        runtime: runtime.to_owned(),
        program: "/usr/bin/qemu-system-x86_64".into(),
        confine: None,
        has_kvm: false,
        move_bandwidth: bandwidth,
        groups: None,
        claimed: std::collections::BTreeSet::new(),
        commands: runtime.join("command"),
    };
    GuestRole::new(place, payload, None).unwrap()
}

fn kill(pid: u64) {
    if let Some(pid) = i32::try_from(pid).ok().and_then(Pid::from_raw) {
        let _ = kill_process(pid, Signal::KILL);
    }
}

#[test]
fn a_guest_moves_back_and_forth_without_a_restart() {
    lab::skip_unless_installed!("qemu-system-x86_64");
    let mut site = MigrationFixture::new(1, 0);
    for from in [0, 1, 0] {
        let to = 1 - from;
        site.order(from);
        site.until("moves", |site| site.runs(to) && site.process(from) == 0);
        let events = site.events(to);
        assert!(
            events.contains(&format!("it comes from {}", NODES[from])),
            "{events}"
        );
        assert!(
            site.events(from).contains("it has moved"),
            "{}",
            site.events(from)
        );
    }
    let starts = |index| site.events(index).matches("started, as process").count();
    // QEMU was started once at first, and once for each arrival.
    assert_eq!(
        (starts(0), starts(1)),
        (2, 2),
        "{}\n{}",
        site.events(0),
        site.events(1)
    );
}

#[test]
fn an_order_goes_to_the_node_that_has_the_guest() {
    lab::skip_unless_installed!("qemu-system-x86_64");
    let mut site = MigrationFixture::new(9, 0);
    let name = || "mail".to_owned();
    let how = site.order_at(1, "alpha", GuestOrder::How { name: name() });
    assert_eq!((how.good, &*how.words), (true, "guest mail is running"));
    let to = |node: &str| GuestOrder::Move {
        name: name(),
        node: node.to_owned(),
    };
    let refused = site.order_at(1, "alpha", to("gamma"));
    assert!(
        !refused.good && refused.words.contains("names alpha, beta"),
        "{refused:?}"
    );
    let nobody = site.order_at(1, "gamma", to("beta"));
    assert!(
        !nobody.good && nobody.words.starts_with("node gamma: "),
        "{nobody:?}"
    );
    let twice = GuestOrder::At {
        node: "beta".to_owned(),
        order: Box::new(to("beta")),
    };
    assert!(!site.order_at(1, "alpha", twice).good);
    assert!(!site.roles[1].order(&GuestOrder::Sent { number: 77 }).good);
    assert!(site.order_at(1, "alpha", to("beta")).good);
    site.until("moves", |site| site.runs(1) && site.process(0) == 0);
    let kills = true;
    let stopped = site.order_at(
        0,
        "beta",
        GuestOrder::Stop {
            name: name(),
            kills,
        },
    );
    assert!(stopped.good, "{stopped:?}");
    site.until("stops", |site| site.process(1) == 0);
}

#[test]
fn a_guest_whose_move_fails_continues_on_its_node() {
    lab::skip_unless_installed!("qemu-system-x86_64");
    let mut site = MigrationFixture::new(2, 200_000);
    let pid = site.process(0);
    // The QEMU process that waits for the incoming migration is killed.
    site.order(0);
    site.until("copies", |site| site.subject(0).value("sent") > Some(0));
    assert_eq!(site.subject(0).state.word, "moving");
    kill(site.process(1));
    site.until("stays", |site| site.subject(0).words(NOT_MOVED).is_some());
    site.until("runs", |site| site.runs(0) && site.process(1) == 0);
    assert_eq!(site.process(0), pid);
    // The role there is.
    site.order(0);
    site.until("copies", |site| site.subject(0).value("sent") > Some(0));
    site.again(1);
    site.until("stays", |site| site.subject(0).words(NOT_MOVED).is_some());
    site.until("runs", |site| site.runs(0) && site.process(1) == 0);
    assert_eq!(site.process(0), pid);
}

#[test]
fn move_to_a_node_ends_when_its_certificate_is_revoked() {
    lab::skip_unless_installed!("qemu-system-x86_64");
    for revoker in [0, 1] {
        let mut site = MigrationFixture::new(26 + revoker as u8, 200_000);
        let pid = site.process(0);
        site.order(0);
        site.until("copies", |site| site.subject(0).value("sent") > Some(0));
        site.revoke(revoker);
        site.until("stays", |site| site.subject(0).words(NOT_MOVED).is_some());
        site.until("runs", |site| site.runs(0) && site.process(1) == 0);
        assert_eq!(site.process(0), pid);
    }
}

#[test]
fn a_guest_does_not_move_between_different_configurations() {
    lab::skip_unless_installed!("qemu-system-x86_64");
    let mut site = MigrationFixture::new(3, 0);
    let pid = site.process(0);
    let payload = guests("beta", 65);
    site.roles[1].change(&payload).unwrap();
    site.order(0);
    site.until("stays", |site| site.subject(0).words(NOT_MOVED).is_some());
    let why = site
        .subject(0)
        .words(NOT_MOVED)
        .unwrap_or_default()
        .to_owned();
    assert!(why.contains("another configuration (memory)"), "{why}");
    site.until("runs", |site| site.runs(0));
    assert_eq!(site.process(0), pid);
}

#[test]
fn an_immovable_guest_of_a_drained_node_shuts_down_on_request() {
    lab::skip_unless_installed!("qemu-system-x86_64");
    let mut site = MigrationFixture::new(18, 0);
    site.roles[1].change(&guests("beta", 65)).unwrap();
    let pid = site.process(0);
    let drain = |shuts_down| GuestOrder::Drain {
        drained: true,
        shuts_down,
    };
    assert!(site.roles[0].order(&drain(false)).good);
    let why = |site: &MigrationFixture| site.subject(0).words(NOT_MOVED).unwrap_or_default();
    site.until("does not move", |site| {
        why(site).contains("another configuration (memory)")
    });
    assert_eq!(site.process(0), pid);
    // The guest has no operating system, so it ignores the power button: its process is ended after
    // the timeout.
    assert!(site.roles[0].order(&drain(true)).good);
    site.until("starts there", |site| site.runs(1) && site.process(0) == 0);
}

#[test]
fn a_kill_during_a_move_leaves_one_instance() {
    lab::skip_unless_installed!("qemu-system-x86_64");
    let mut site = MigrationFixture::new(4, 200_000);
    site.order(0);
    site.until("copies", |site| site.subject(0).value("sent") > Some(0));
    site.bandwidth = 0;
    site.again(0);
    let [alpha, _] = site.trusted.take().unwrap();
    site.roles[0].trust(alpha);
    // QEMU, here or there, may still be busy with the first move: then it stays.
    let is_at = |site: &MigrationFixture, one: usize| site.runs(one) && site.process(1 - one) == 0;
    site.until("moves or stays", |site| {
        let stays = site.subject(0).words(NOT_MOVED).is_some();
        is_at(site, 1) || (stays && is_at(site, 0))
    });
    // The guest was not started from its disks.
    let starts = site.events(1).matches("started, as process").count();
    let came = site.events(1).matches("it comes from alpha").count();
    assert_eq!(starts, came, "{}", site.events(1));
}

/// Returns a guest that is paused for the switchover, while the other role does not respond.
fn paused_for_the_switch(network: u8) -> (MigrationFixture, u64) {
    let mut site = MigrationFixture::new(network, 600_000);
    let pid = site.process(0);
    site.order(0);
    site.until("copies", |site| site.subject(0).value("sent") > Some(0));
    site.stopped = Some(1);
    site.until("is paused", |site| {
        let why = site.subject(0).why;
        why.contains("paused: its volumes are switched to the target") && !site.runs(0)
    });
    (site, pid)
}

#[test]
fn a_switching_guest_continues_if_its_role_is_killed() {
    lab::skip_unless_installed!("qemu-system-x86_64");
    let (mut site, pid) = paused_for_the_switch(5);
    // The next role process does not know the target of the migration.
    site.again(0);
    site.until("goes on", |site| site.runs(0));
    assert_eq!(site.process(0), pid);
    site.stopped = None;
    site.until("ends there", |site| site.process(1) == 0);
    assert_eq!((site.runs(0), site.process(0)), (true, pid));
}

#[test]
fn a_switching_guest_continues_if_the_other_role_is_killed() {
    lab::skip_unless_installed!("qemu-system-x86_64");
    let (mut site, pid) = paused_for_the_switch(6);
    site.again(1);
    site.stopped = None;
    site.until("stays", |site| site.subject(0).words(NOT_MOVED).is_some());
    site.until("goes on", |site| site.runs(0) && site.process(1) == 0);
    assert_eq!(site.process(0), pid);
}

#[test]
fn a_switching_guest_continues_if_the_other_node_is_silent() {
    lab::skip_unless_installed!("qemu-system-x86_64");
    let (mut site, pid) = paused_for_the_switch(7);
    site.until("stays", |site| site.subject(0).words(NOT_MOVED).is_some());
    let why = site
        .subject(0)
        .words(NOT_MOVED)
        .unwrap_or_default()
        .to_owned();
    assert!(why.contains("silent"), "{why}");
    site.until("goes on", |site| site.runs(0));
    assert_eq!(site.process(0), pid);
    site.stopped = None;
    site.until("ends there", |site| site.process(1) == 0);
    assert!(site.runs(0));
}
