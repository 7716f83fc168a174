//! Tests a VRRP router with hostile input: keepalived's packets with changed bits and bytes, with
//! correct checksums, from any sender, at any time.

use super::advert::{Advert, TTL};
use super::checksum::Sum;
use super::simulation::plain_settings;
use super::{
    AdvertTransport, Authentication, Instance, Router, Settings, Time, VrrpAction, VrrpVersion,
};
use proptest::prelude::*;
use std::net::IpAddr;
use std::time::Duration;

/// Maximum number of actions that one packet or one turn may cause.
const ACTIONS_MAX: usize = 32;

fn ip(text: &str) -> IpAddr {
    text.parse().expect("an address")
}

fn settings(version: VrrpVersion, password: bool) -> Settings {
    Settings {
        version,
        vrid: 51,
        addresses: vec![ip("10.9.0.100"), ip("10.9.0.101")],
        source: Some(ip("10.9.0.1")),
        transport: AdvertTransport::Multicast(super::advert::GROUP_V4),
        authentication: password.then_some(Authentication::Pass(*b"secret12")),
        ..plain_settings()
    }
}

#[derive(Clone, Debug)]
struct HostileStep {
    wait_ms: u16,
    from: u8,
    ttl: u8,
    vrid: u8,
    priority: u8,
    changes: Vec<(usize, u8)>,
    length: Option<usize>,
    mended: bool,
}

fn step() -> impl Strategy<Value = HostileStep> {
    let ttl = prop_oneof![4 => Just(TTL), 1 => any::<u8>()];
    let vrid = prop_oneof![8 => Just(51_u8), 1 => any::<u8>()];
    let changes = proptest::collection::vec((any::<usize>(), any::<u8>()), 0..3);
    let length = proptest::option::weighted(0.2, 0usize..64);
    let numbers = (0u16..4000, 0u8..5, any::<u8>(), any::<bool>());
    (numbers, ttl, vrid, changes, length).prop_map(|(numbers, ttl, vrid, changes, length)| {
        let (wait_ms, from, priority, mended) = numbers;
        HostileStep {
            wait_ms,
            from,
            ttl,
            vrid,
            priority,
            changes,
            length,
            mended,
        }
    })
}

fn packet(step: &HostileStep, of: &Settings, from: IpAddr) -> Vec<u8> {
    let advert = Advert {
        version: of.version,
        vrid: step.vrid,
        priority: step.priority,
        interval: of.interval,
        addresses: of.addresses.clone(),
        authentication: of.authentication.clone(),
    };
    let mut packet = advert.encode(from, super::advert::GROUP_V4);
    for (place, byte) in &step.changes {
        let place = place % packet.len();
        packet[place] = *byte;
    }
    if let Some(length) = step.length {
        packet.resize(length, 0x5a);
    }
    if step.mended && packet.len() >= 8 {
        packet[6..8].fill(0);
        let sum = match of.version {
            VrrpVersion::V2 => Sum::default(),
            VrrpVersion::V3 => {
                let to = super::advert::GROUP_V4;
                Sum::default().with_pseudo_header(from, to, 112, packet.len())
            }
        };
        let sum = sum.with(&packet).checksum();
        packet[6..8].copy_from_slice(&sum.to_be_bytes());
    }
    packet
}

fn actions(router: &mut Router) -> Vec<VrrpAction> {
    let all: Vec<VrrpAction> = std::iter::from_fn(|| router.poll()).take(1000).collect();
    assert!(all.len() <= ACTIONS_MAX, "{all:?}");
    all
}

/// Simulates the effect of the actions on a kernel.
#[derive(Default)]
struct Kernel {
    holds: bool,
    sent: usize,
}

impl Kernel {
    /// Checks that addresses are acquired and released alternately, and that adverts are those of
    /// the tested router.
    fn follow(&mut self, actions: Vec<VrrpAction>) {
        for action in actions {
            match action {
                VrrpAction::Acquire { .. } => {
                    assert!(!self.holds, "acquired twice");
                    self.holds = true;
                }
                VrrpAction::Release { .. } => self.holds = false,
                VrrpAction::Send { bytes, .. } => {
                    self.sent += 1;
                    assert_eq!(bytes.get(1), Some(&51));
                }
                _ => {}
            }
        }
    }
}

proptest! {
    #[test]
    fn hostile_packets_cause_no_panic_or_flood(
        v3: bool,
        password: bool,
        steps in proptest::collection::vec(step(), 1..80),
    ) {
        let version = if v3 { VrrpVersion::V3 } else { VrrpVersion::V2 };
        let settings = settings(version, password && !v3);
        let mut router = Router::new(vec![settings.clone()], Vec::new());
        let at = Instance(0);
        let mut now = Time(1);
        router.start(now, at, None);
        actions(&mut router);
        let mut kernel = Kernel::default();
        let mut turns = 0;
        for step in &steps {
            let then = now.after(Duration::from_millis(u64::from(step.wait_ms)));
            // The driver is never late, because the router would react to its delay.
            while let Some(due) = router.deadline().filter(|due| *due < then) {
                prop_assert!(due > now, "it would spin");
                now = due;
                turns += 1;
                router.handle_time(now);
                kernel.follow(actions(&mut router));
            }
            now = then;
            turns += 1;
            let from = ip(&format!("10.9.0.{}", step.from));
            let bytes = packet(step, &settings, from);
            router.handle_packet(now, at, from, step.ttl, &bytes);
            router.handle_time(now);
            kernel.follow(actions(&mut router));
        }
        // At most one advert for each turn, and one for each packet that the router contradicts.
        prop_assert!(kernel.sent <= turns + steps.len() + 2, "{} sent", kernel.sent);
    }
}
