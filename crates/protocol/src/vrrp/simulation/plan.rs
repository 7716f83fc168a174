//! Plans a simulated history of VRRP: faults drawn from the seed, then a phase without faults.

use super::network::HOSTS;
use super::plain_settings;
use crate::vrrp::{Probing, Settings, VrrpVersion};
use lab::Random;
use std::net::IpAddr;
use std::time::Duration;

const DISTURBANCES: u64 = 9;

#[derive(Clone, Copy, Debug)]
pub enum Disturbance {
    /// Packets from the first machine to the second are lost.
    Cut(usize, usize),
    /// The machines are split into two sides that do not receive each other.
    Partition(u64),
    /// The machine and the others receive nothing from each other, and no client reaches it.
    Isolate(usize),
    /// All cuts and losses end.
    Heal,
    /// Percentage of packets that are lost.
    Loss(u64),
    /// The process is suspended; its kernel is not.
    Freeze(usize, u64),
    Suspend(usize, u64),
    /// The process is killed, and restarts after this time.
    Kill(usize, u64),
    /// The machine is switched off, and on again after this time.
    Crash(usize, u64),
    /// The process stops in an orderly way, and restarts after this time.
    Stop(usize, u64),
    Reload(usize),
    Priority(usize, u8),
    Band(usize, usize),
    Fault(usize, bool),
    HandOver(usize, u64),
    /// Another program deletes the address.
    Delete(usize),
    /// A third machine uses the address.
    Foreign(usize),
    /// A burst of forged packets arrives.
    Forge(usize, u64),
}

/// The seed's choice of settings and faults for a history, before it is run.
#[derive(Clone, Debug)]
pub struct VrrpSimulationPlan {
    pub hosts: usize,
    pub settings: Vec<Settings>,
    pub interval_ns: u64,
    pub steps: Vec<(u64, Disturbance)>,
    /// Time at which all faults end.
    pub healed_at: u64,
    pub ends_at: u64,
    /// If set, the kernel removes the addresses when no process has renewed them for this time.
    pub lifetime_ns: Option<u64>,
    /// Deviation of each machine's clock, in millionths too fast.
    pub drift_ppm: [i64; HOSTS],
    pub delay_ns: u64,
    pub jitter_ns: u64,
    pub double: u64,
}

pub fn draw(random: &mut Random) -> VrrpSimulationPlan {
    let hosts = random.between(2, HOSTS as u64) as usize;
    let interval_ms = random.pick(&[10, 10, 10, 50, 100, 200, 1000]);
    let version_2 = interval_ms == 1000 && random.percent(50);
    let interval_ns = interval_ms * 1_000_000;
    let settings = draw_settings(random, hosts, interval_ms, version_2);
    let down_ns = down_ns(&settings[0], interval_ns);
    let bound_ns = settings[0].probing.map_or(0, |p| p.bound.as_nanos() as u64);
    let disturbed_at = down_ns + interval_ns * 2;
    let (steps, healed_at) = draw_steps(random, hosts, disturbed_at, interval_ns);
    VrrpSimulationPlan {
        hosts,
        lifetime_ns: random.percent(50).then_some(down_ns * 10),
        drift_ppm: std::array::from_fn(|_| random.between(0, 10_000) as i64 - 5_000),
        delay_ns: interval_ns / random.pick(&[1000, 200, 50]),
        jitter_ns: interval_ns / random.pick(&[500, 50, 8]),
        double: random.pick(&[0, 0, 5, 30]),
        settings,
        interval_ns,
        steps,
        healed_at,
        ends_at: healed_at + down_ns * 3 + bound_ns + interval_ns * 4,
    }
}

pub fn down_ns(settings: &Settings, interval_ns: u64) -> u64 {
    let skew = match settings.version {
        VrrpVersion::V2 => 1_000_000_000,
        VrrpVersion::V3 => interval_ns,
    };
    interval_ns * u64::from(settings.down_adverts) + skew
}

fn draw_settings(
    random: &mut Random,
    hosts: usize,
    interval_ms: u64,
    version_2: bool,
) -> Vec<Settings> {
    let interval = Duration::from_millis(interval_ms);
    let healthy = random.percent(30);
    let equal = random.percent(20);
    let probing = random.percent(60).then(|| Probing {
        wait: interval,
        bound: interval * random.pick(&[6, 10]),
    });
    let version = if version_2 {
        VrrpVersion::V2
    } else {
        VrrpVersion::V3
    };
    let preempt = random.percent(75);
    let base = Settings {
        version,
        interval,
        preempt,
        probing,
        lower_prio_no_advert: random.percent(20),
        higher_prio_send_advert: random.percent(30),
        skip_check_addresses: random.percent(30),
        ..plain_settings()
    };
    (0..hosts)
        .map(|host| {
            let place = host as u8;
            let mut settings = base.clone();
            settings.source = Some(source(host));
            settings.priority = match (healthy, equal) {
                (true, _) => 220 - 10 * place,
                (false, true) => 100,
                (false, false) => random.between(1, 62) as u8 * 4 + place,
            };
            settings.place = if healthy {
                [220, 140, 60].map(|best| best - 10 * place).to_vec()
            } else {
                Vec::new()
            };
            settings
        })
        .collect()
}

pub fn source(host: usize) -> IpAddr {
    IpAddr::from([10, 9, 0, 1 + host as u8])
}

fn draw_steps(
    random: &mut Random,
    hosts: usize,
    from: u64,
    interval_ns: u64,
) -> (Vec<(u64, Disturbance)>, u64) {
    let mut steps = Vec::new();
    let mut at = from;
    if random.percent(3) {
        // Lets machine 0 fail and recover 14 times, and nothing else: its preemptions must be
        // delayed more and more.
        for _ in 0..14 {
            for failed in [true, false] {
                steps.push((at, Disturbance::Fault(0, failed)));
                at += interval_ns * if failed { 5 } else { 6 };
            }
        }
        return (steps, at + interval_ns);
    }
    for _ in 0..random.between(1, DISTURBANCES) {
        at += random.below(interval_ns * 6);
        steps.push((at, draw_disturbance(random, hosts as u64, interval_ns)));
    }
    (steps, at + random.between(1, 16) * interval_ns)
}

fn draw_disturbance(random: &mut Random, hosts: u64, interval_ns: u64) -> Disturbance {
    let host = random.below(hosts) as usize;
    let other = (host + 1 + random.below(hosts - 1) as usize) % hosts as usize;
    let short = random.between(interval_ns / 8, interval_ns * 3);
    let long = random.between(interval_ns, interval_ns * 14);
    match random.below(24) {
        0 => Disturbance::Cut(host, other),
        1 | 2 => Disturbance::Partition(random.between(1, (1 << hosts) - 2)),
        3 => Disturbance::Isolate(host),
        4 | 5 => Disturbance::Heal,
        6 => Disturbance::Loss(random.pick(&[1, 10, 40])),
        7 => Disturbance::Freeze(host, short),
        8 => Disturbance::Freeze(host, long),
        9 => Disturbance::Suspend(host, short),
        10 => Disturbance::Suspend(host, long),
        11 => Disturbance::Kill(host, short),
        12 => Disturbance::Kill(host, long),
        13 => Disturbance::Crash(host, long),
        14 => Disturbance::Stop(host, long),
        15 => Disturbance::Reload(host),
        16 => Disturbance::Priority(host, random.between(1, 254) as u8),
        17 => Disturbance::Band(host, random.below(3) as usize),
        18 => Disturbance::Fault(host, true),
        19 => Disturbance::Fault(host, false),
        20 | 21 => Disturbance::HandOver(host, random.below(2) * short),
        22 => Disturbance::Delete(host),
        _ if random.percent(70) => Disturbance::Foreign(host),
        _ => Disturbance::Forge(host, random.between(1, 120)),
    }
}
