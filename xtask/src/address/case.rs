//! Defines the cases of `bench-address`: the faults of the pair, and the values that are measured.

use super::site::{AddressProgram, Site};
use crate::comparison::Error;
use crate::comparison::{Sample, Unit};
use lab::{BusyProcessors, Signal, WatcherResults};
use std::process::Command;
use std::time::{Duration, Instant};

/// Advert interval in seconds for cases that measure single moments.
const FAST: &str = "0.01";
const SLOW: &str = "1";

const BUSY_PROCESSES: usize = 8;
const BUSY_TIME: Duration = Duration::from_secs(8);

/// Load of requests of one second before a hand-over: each client has one in progress.
const DRAIN_BEFORE: Duration = Duration::from_millis(1900);

/// Observation after a hand-over: longer than connections may need to finish.
const DRAIN_AFTER: Duration = Duration::from_millis(2500);

/// Longest time in which the address of a killed program may vanish.
const LEFT_MAX: Duration = Duration::from_secs(10);

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Case {
    Death,
    Stop,
    SlowStop,
    HandOver,
    Load,
    Sigkill,
    Failover,
    Drain,
}

impl crate::comparison::Case for Case {
    const ALL: &'static [Case] = &[
        Case::Death,
        Case::Stop,
        Case::SlowStop,
        Case::HandOver,
        Case::Load,
        Case::Sigkill,
        Case::Failover,
        Case::Drain,
    ];

    fn name(self) -> &'static str {
        match self {
            Case::Death => "death",
            Case::Stop => "stop",
            Case::SlowStop => "slow-stop",
            Case::HandOver => "hand-over",
            Case::Load => "load",
            Case::Sigkill => "sigkill",
            Case::Failover => "failover",
            Case::Drain => "drain",
        }
    }
}

impl Case {
    /// Runs one turn of one side.
    pub fn turn(self, side: &AddressProgram) -> Result<Vec<Sample>, Error> {
        let advert = if self == Case::SlowStop { SLOW } else { FAST };
        let mut site = match self {
            Case::Failover | Case::Drain => Site::whole(side, advert)?,
            _ => Site::start(side, advert)?,
        };
        match self {
            Case::Death => death(&mut site, "master killed together with its link: gap"),
            Case::Failover => {
                let row = "virtual-ip, failover 50ms: killed together with its link: gap";
                death(&mut site, row)
            }
            Case::Stop => stop(&mut site, "clean stop: gap"),
            Case::SlowStop => stop(&mut site, "clean stop, adverts of 1 s: gap"),
            Case::HandOver => hand_over(&mut site, side),
            Case::Load => load(&mut site),
            Case::Sigkill => sigkill(&mut site),
            Case::Drain => drain(&mut site, side),
        }
    }
}

fn gap(row: &'static str, seen: &WatcherResults) -> Sample {
    Sample {
        row,
        unit: Unit::Milliseconds,
        value: seen.longest_gap().as_secs_f64() * 1000.0,
    }
}

fn times(row: &'static str, count: usize) -> Sample {
    Sample {
        row,
        unit: Unit::Times,
        value: count as f64,
    }
}

fn death(site: &mut Site, row: &'static str) -> Result<Vec<Sample>, Error> {
    let _off = site.alpha.host.power_off()?;
    site.wait_for("beta", "the second machine takes over")?;
    Ok(vec![gap(row, &site.seen())])
}

fn stop(site: &mut Site, row: &'static str) -> Result<Vec<Sample>, Error> {
    site.alpha.program.signal(Signal::TERM)?;
    site.wait_for("beta", "the second machine takes over")?;
    Ok(vec![gap(row, &site.seen())])
}

/// Measures a planned move of the address; keepalived has only the clean stop for that.
fn hand_over(site: &mut Site, side: &AddressProgram) -> Result<Vec<Sample>, Error> {
    move_away(site, side, "VI_1")?;
    site.wait_for("beta", "the second machine takes over")?;
    let seen = site.seen();
    let missed = seen.misses().values().sum();
    Ok(vec![
        times("planned hand-over: failed connections", missed),
        gap("planned hand-over: gap", &seen),
    ])
}

fn move_away(site: &Site, side: &AddressProgram, name: &str) -> Result<(), Error> {
    if side.ours {
        let mut command = Command::new(&side.program);
        command
            .args(["address", "--pid"])
            .arg(site.alpha.program.pid().to_string())
            .args(["hand-over", name]);
        site.alpha.host.run(command)?;
    } else {
        site.alpha.program.signal(Signal::TERM)?;
    }
    Ok(())
}

/// Runs the hand-over with proxies, while requests are in progress.
fn drain(site: &mut Site, side: &AddressProgram) -> Result<Vec<Sample>, Error> {
    let slow = site.slow_clients();
    site.pass(DRAIN_BEFORE);
    move_away(site, side, "www")?;
    site.wait_for("beta", "the second machine takes over")?;
    site.pass(DRAIN_AFTER);
    let (good, failed) = slow.end();
    let seen = site.seen();
    // An error response of the proxy contains no name of a machine.
    let served = |who: &str| {
        seen.responses_by_machine()
            .get(who)
            .copied()
            .unwrap_or_default()
    };
    let unserved = seen.polls.len() - served("alpha") - served("beta");
    if good == 0 {
        return Err(site.not_ready("a request of 1 s finishes"));
    }
    Ok(vec![
        times(
            "virtual-ip, hand-over: 1-second requests in progress that failed",
            failed,
        ),
        times("virtual-ip, hand-over: failed connections", unserved),
        gap("virtual-ip, hand-over: gap", &seen),
    ])
}

fn load(site: &mut Site) -> Result<Vec<Sample>, Error> {
    let masters = |site: &Site| site.alpha.masters() + site.beta.masters();
    let before = masters(site);
    let busy = BusyProcessors::start(BUSY_PROCESSES)?;
    site.pass(BUSY_TIME);
    drop(busy);
    let takeovers = masters(site) - before;
    let seen = site.seen();
    Ok(vec![
        times("eight busy processes for 8 s: takeovers", takeovers),
        gap("eight busy processes for 8 s: gap", &seen),
    ])
}

fn sigkill(site: &mut Site) -> Result<Vec<Sample>, Error> {
    let since = Instant::now();
    site.alpha.program.kill_tree();
    site.wait_for("beta", "the second machine takes over")?;
    let left = site.left_behind(since, LEFT_MAX);
    Ok(vec![
        gap("program killed, link up: gap", &site.seen()),
        Sample {
            row: "program killed, link up: address on both (at most 10 s watched)",
            unit: Unit::Milliseconds,
            value: left.as_secs_f64() * 1000.0,
        },
    ])
}
