//! What happens to the pair, and what is counted.

use super::error::Error;
use super::site::{Side, Site};
use lab::{BusyProcessors, Seen, Signal};
use std::process::Command;
use std::time::{Duration, Instant};

/// Adverts where moments count.
const FAST: &str = "0.01";
const SLOW: &str = "1";

const BUSY_PROCESSES: usize = 8;
const BUSY_TIME: Duration = Duration::from_secs(8);

/// How long it is watched whether a killed program's address vanishes.
const LEFT_MAX: Duration = Duration::from_secs(10);

/// A case.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Case {
    Death,
    Stop,
    SlowStop,
    HandOver,
    Load,
    Sigkill,
}

/// A number of one turn, with the row that it belongs to.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Sample {
    pub row: &'static str,
    pub unit: Unit,
    pub value: f64,
}

/// In what a number is counted.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Unit {
    Milliseconds,
    Times,
}

impl Case {
    pub const ALL: [Case; 6] = [
        Case::Death,
        Case::Stop,
        Case::SlowStop,
        Case::HandOver,
        Case::Load,
        Case::Sigkill,
    ];

    pub fn name(self) -> &'static str {
        match self {
            Case::Death => "death",
            Case::Stop => "stop",
            Case::SlowStop => "slow-stop",
            Case::HandOver => "hand-over",
            Case::Load => "load",
            Case::Sigkill => "sigkill",
        }
    }

    /// One turn of one side.
    pub fn turn(self, side: &Side) -> Result<Vec<Sample>, Error> {
        let advert = if self == Case::SlowStop { SLOW } else { FAST };
        let mut site = Site::start(side, advert)?;
        match self {
            Case::Death => {
                let _off = site.alpha.host.power_off()?;
                site.wait_for("beta", "the second machine takes over")?;
                Ok(vec![gap("master killed with its link: gap", &site.seen())])
            }
            Case::Stop => stop(&mut site, "clean stop: gap"),
            Case::SlowStop => stop(&mut site, "clean stop, adverts of 1 s: gap"),
            Case::HandOver => hand_over(&mut site, side),
            Case::Load => load(&mut site),
            Case::Sigkill => sigkill(&mut site),
        }
    }
}

fn gap(row: &'static str, seen: &Seen) -> Sample {
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

fn stop(site: &mut Site, row: &'static str) -> Result<Vec<Sample>, Error> {
    site.alpha.program.signal(Signal::TERM)?;
    site.wait_for("beta", "the second machine takes over")?;
    Ok(vec![gap(row, &site.seen())])
}

/// A planned move. keepalived has none but the clean stop.
fn hand_over(site: &mut Site, side: &Side) -> Result<Vec<Sample>, Error> {
    if side.ours {
        let mut command = Command::new(&side.program);
        command
            .args(["address", "--pid"])
            .arg(site.alpha.program.pid().to_string())
            .args(["hand-over", "VI_1"]);
        site.alpha.host.run(command)?;
    } else {
        site.alpha.program.signal(Signal::TERM)?;
    }
    site.wait_for("beta", "the second machine takes over")?;
    let seen = site.seen();
    let missed = seen.misses().values().sum();
    Ok(vec![
        times("planned hand-over: failed connections", missed),
        gap("planned hand-over: gap", &seen),
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
