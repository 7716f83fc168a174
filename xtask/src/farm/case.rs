//! Defines the cases of `bench-farm`, and their rows.

use super::crowd::By;
use super::desktops;
use super::options::Options;
use super::site::{FarmFixture, Storm, WEIGHTS};
use super::table::{Row, Sample, row};
use crate::cluster::Error;
use crate::comparison::Unit;
use std::time::Duration;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Case {
    Routed,
    Redirected,
    RoutedDeath,
    RedirectedDeath,
    Desktops,
}

impl crate::comparison::Case for Case {
    const ALL: &'static [Case] = &[
        Case::Routed,
        Case::Redirected,
        Case::RoutedDeath,
        Case::RedirectedDeath,
        Case::Desktops,
    ];

    fn name(self) -> &'static str {
        match self {
            Case::Routed => "routed",
            Case::Redirected => "redirected",
            Case::RoutedDeath => "routed-death",
            Case::RedirectedDeath => "redirected-death",
            Case::Desktops => "desktops",
        }
    }
}

impl Case {
    pub fn turn(self, options: &Options) -> Result<Vec<Sample>, Error> {
        let (by, kills) = match self {
            Case::Routed => (By::Hint, false),
            Case::Redirected => (By::Redirection, false),
            Case::RoutedDeath => (By::Hint, true),
            Case::RedirectedDeath => (By::Redirection, true),
            Case::Desktops => return Ok(desktops::turn(&options.left, &options.right)?),
        };
        let storm = FarmFixture::start(&options.right)?.storm(by, kills)?;
        Ok(self.samples(&storm))
    }

    fn samples(self, storm: &Storm) -> Vec<Sample> {
        let mut values = vec![deviation(storm), two_hosts(storm)];
        match storm.back {
            Some(back) => values.push(milliseconds(back)),
            None => {
                let failed: u32 = storm.seen.iter().map(|one| one.failed).sum();
                values.push(f64::from(failed));
                values.extend(answers(storm));
                let decisions = storm.decisions.into_iter().flatten();
                values.extend(decisions.map(|us| us / 1_000.0));
            }
        }
        self.rows().iter().copied().zip(values).collect()
    }

    fn rows(self) -> &'static [Row] {
        match self {
            Case::Routed => &ROUTED,
            Case::Redirected => &REDIRECTED,
            Case::RoutedDeath => &ROUTED_DEATH,
            Case::RedirectedDeath => &REDIRECTED_DEATH,
            Case::Desktops => &[],
        }
    }
}

const ROUTED: [Row; 8] = logons([
    "1,000 routed: largest deviation from the weights",
    "1,000 routed: users with two hosts",
    "1,000 routed: connections without an answer",
    "1,000 routed: connect to answer, p50",
    "1,000 routed: connect to answer, p99",
    "1,000 routed: decision p50, of the slower node",
    "1,000 routed: decision p99",
    "1,000 routed: decision, longest",
]);

const REDIRECTED: [Row; 8] = logons([
    "1,000 redirected: largest deviation from the weights",
    "1,000 redirected: users with two hosts",
    "1,000 redirected: connections without an answer",
    "1,000 redirected: first connect to answer, p50",
    "1,000 redirected: first connect to answer, p99",
    "1,000 redirected: decision p50, of the slower node",
    "1,000 redirected: decision p99",
    "1,000 redirected: decision, longest",
]);

const ROUTED_DEATH: [Row; 3] = deaths([
    "1,000 routed, a node killed: largest deviation",
    "1,000 routed, a node killed: users with two hosts",
    "1,000 routed, a node killed: until all are back",
]);

const REDIRECTED_DEATH: [Row; 3] = deaths([
    "1,000 redirected, a node killed: largest deviation",
    "1,000 redirected, a node killed: users with two hosts",
    "1,000 redirected, a node killed: until all are back",
]);

/// Returns the rows of logons, in the order of [`Case::samples`].
const fn logons(names: [&'static str; 8]) -> [Row; 8] {
    let [
        deviation,
        moved,
        failed,
        answer50,
        answer99,
        decision50,
        decision99,
        longest,
    ] = names;
    [
        row(deviation, Unit::Percent, Some(5.0)),
        row(moved, Unit::Times, Some(0.0)),
        row(failed, Unit::Times, Some(0.0)),
        row(answer50, Unit::Milliseconds, None),
        row(answer99, Unit::Milliseconds, None),
        row(decision50, Unit::Latency, None),
        row(decision99, Unit::Latency, Some(5.0)),
        row(longest, Unit::Latency, None),
    ]
}

/// Returns the rows of logons while a node dies, in the order of [`Case::samples`].
const fn deaths(names: [&'static str; 3]) -> [Row; 3] {
    let [deviation, moved, back] = names;
    [
        row(deviation, Unit::Percent, Some(5.0)),
        row(moved, Unit::Times, Some(0.0)),
        row(back, Unit::Milliseconds, Some(2_000.0)),
    ]
}

fn milliseconds(time: Duration) -> f64 {
    time.as_secs_f64() * 1_000.0
}

/// Returns the largest deviation of a host's users from its weight, per cent.
fn deviation(storm: &Storm) -> f64 {
    let of = |(number, weight): (usize, u16)| {
        let last = storm.seen.iter().filter_map(|one| one.hosts.last());
        let users = last.filter(|host| usize::from(**host) == number).count();
        (users as f64 - f64::from(weight)).abs() * 100.0 / f64::from(weight)
    };
    WEIGHTS.into_iter().enumerate().map(of).fold(0.0, f64::max)
}

/// Returns the number of users who reached more than one host.
fn two_hosts(storm: &Storm) -> f64 {
    let moved = storm.seen.iter().filter(|one| {
        let first = one.hosts.first();
        one.hosts.iter().any(|host| Some(host) != first)
    });
    moved.count() as f64
}

/// Returns the median and the 99th percentile of the clients' waits in milliseconds.
fn answers(storm: &Storm) -> Vec<f64> {
    let mut took: Vec<Duration> = storm.seen.iter().map(|one| one.took).collect();
    took.sort_unstable();
    let at = |percent: usize| took.get(took.len() * percent / 100).copied();
    [50, 99]
        .into_iter()
        .filter_map(at)
        .map(milliseconds)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::farm::crowd::Seen;
    use std::time::Instant;

    #[test]
    fn deviations_and_users_of_two_hosts_are_counted() {
        let seen = |hosts: &[u8]| Seen {
            took: Duration::from_millis(7),
            hosts: hosts.to_vec(),
            last: Instant::now(),
            failed: 0,
        };
        let mut all = Vec::new();
        for (number, weight) in (0..).zip(WEIGHTS) {
            all.extend((0..weight).map(|_| seen(&[number])));
        }
        let mut storm = Storm {
            seen: all,
            back: None,
            decisions: None,
        };
        assert_eq!((deviation(&storm), two_hosts(&storm)), (0.0, 0.0));
        assert_eq!(answers(&storm), [7.0, 7.0]);
        // Moves five users of the first host, whose weight is 50, to the last one.
        for one in &mut storm.seen[..5] {
            one.hosts.push(9);
        }
        assert_eq!((deviation(&storm), two_hosts(&storm)), (10.0, 5.0));
        assert_eq!(Case::Routed.samples(&storm).len(), 5);
    }
}
