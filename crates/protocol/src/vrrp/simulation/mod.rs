//! Simulates VRRP: two to four machines in virtual time, with a network that loses, delays,
//! duplicates and reorders packets, partitions, processes that are suspended and killed, clocks
//! that drift. A seed replays one such history.
//!
//! `VRRP_SEED=n cargo test -p evenkeel-protocol simulation` repeats the history `n`,
//! `VRRP_SEEDS=n` runs this number of histories.

mod check;
mod forge;
mod network;
mod plan;
mod scene;
mod world;

use super::defect::VrrpDefect;
use super::{AdvertTransport, Garp, OwnershipLimits, Settings, VrrpVersion, advert};
use lab::{Random, setting};
use std::net::IpAddr;
use std::time::Duration;
use world::VrrpSimulation;

const HISTORIES: u64 = 10_000;
/// Number of histories within which each defect must be found.
const FOUND_WITHIN: u64 = 500;

pub(super) fn plain_settings() -> Settings {
    Settings {
        name: "VI_1".to_owned(),
        vrid: 51,
        version: VrrpVersion::V3,
        ipv6: false,
        priority: 100,
        interval: Duration::from_secs(1),
        down_adverts: 3,
        addresses: vec![IpAddr::from([10, 9, 0, 100])],
        source: Some(IpAddr::from([10, 9, 0, 1])),
        transport: AdvertTransport::Multicast(advert::GROUP_V4),
        authentication: None,
        starts_as_master: false,
        preempt: true,
        preempt_delay: Duration::ZERO,
        startup_delay: Duration::ZERO,
        lower_prio_no_advert: false,
        higher_prio_send_advert: false,
        skip_check_addresses: false,
        old_unicast_checksum: None,
        strict: false,
        garp: Garp {
            delay: Duration::from_secs(5),
            repeat: 5,
            lower_prio_delay: Duration::from_secs(5),
            lower_prio_repeat: 5,
            refresh: Duration::ZERO,
            refresh_repeat: 1,
        },
        probing: None,
        place: Vec::new(),
    }
}

/// Returns the limits for a node at a position in `prefer` whose services are all available (0),
/// partly (1) or not at all (2).
pub(super) fn standing(place: u8, band: usize, preempt: bool) -> OwnershipLimits {
    let priorities = [220, 140, 60].map(|best: u8| best - 10 * place);
    OwnershipLimits {
        priority: priorities.get(band).copied(),
        takes_below: [if preempt { u8::MAX } else { 160 }, 80, 0]
            .get(band)
            .copied()
            .unwrap_or_default(),
        takes_also: Vec::new(),
        yields_to_users: false,
    }
}

/// Runs one history. The error is the violation with a description of the history.
fn history(seed: u64, defect: Option<VrrpDefect>) -> Result<(), String> {
    let mut random = Random::new(seed);
    let plan = plan::draw(&mut random);
    let traced = setting("VRRP_SEED").is_some();
    let mut world = VrrpSimulation::new(plan, random, defect, traced);
    world
        .run()
        .map_err(|what| format!("{what}\n{}", world.told()))
}

#[test]
fn ten_thousand_histories_keep_the_invariants() {
    let seeds = match setting("VRRP_SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..setting("VRRP_SEEDS").unwrap_or(HISTORIES),
    };
    let mut failed = seeds.filter_map(|seed| Some((seed, history(seed, None).err()?)));
    if let Some((seed, what)) = failed.next() {
        let others: Vec<u64> = failed.map(|(seed, _)| seed).take(20).collect();
        panic!("VRRP_SEED={seed} (and {others:?}): {what}");
    }
}

#[test]
fn a_seed_replays_its_history() {
    for seed in 0..20 {
        let defect = Some(VrrpDefect::NoTieBreak);
        assert_eq!(history(seed, defect), history(seed, defect));
    }
}

/// Returns the seed of the first history that finds the defect.
fn finds(defect: VrrpDefect) -> Option<u64> {
    (0..FOUND_WITHIN).find(|seed| history(*seed, Some(defect)).is_err())
}

#[test]
fn deliberate_defects_are_found() {
    let all = [
        VrrpDefect::NeverPreempts,
        VrrpDefect::IgnoresPriorityZero,
        VrrpDefect::NoTieBreak,
        VrrpDefect::BelievesLateTimers,
        VrrpDefect::IgnoresAnswers,
        VrrpDefect::WaitsForAnswersForEver,
        VrrpDefect::StopsBeforeRelease,
        VrrpDefect::NoAnnouncementAfterHeal,
        VrrpDefect::ResumesAlways,
        VrrpDefect::HandOverReleasesFirst,
        VrrpDefect::IgnoresItsFreeze,
        VrrpDefect::AnswersEverything,
        VrrpDefect::TakesOverWithFault,
        VrrpDefect::NeverDamped,
        VrrpDefect::NeverGivesWay,
    ];
    let hidden: Vec<VrrpDefect> = all
        .into_iter()
        .filter(|defect| finds(*defect).is_none())
        .collect();
    assert!(hidden.is_empty(), "nobody found {hidden:?}");
}
