//! The cases, their targets, and how one round of a case is taken.
//!
//! A round begins with fresh processes, so that the luck of one process (where its
//! memory lies) is not in every round.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use super::configuration::{File, PORT_VARIABLES};
use super::error::Error;
use super::load::{Generator, Job};
use super::origin::Origin;
use super::process::{self, Cores, PortNames, Proxy, Side};
use super::statistics;

/// What `--quick` divides the numbers of requests by.
const QUICK_DIVISOR: u64 = 8;
/// Slices of a round, in which the sides take turns, and those before it which are
/// not measured.
const SLICES: u64 = 8;
const WARM_UP_SLICES: u64 = 2;
/// A proxy that is less busy than this waits for the load: the other core is
/// shared, or too slow for it.
const BUSY_LEAST: f64 = 0.85;
/// Connections and requests which warm a proxy up before its memory is read.
const IDLE_WARM_UP: (usize, u64) = (64, 2000);

/// What the numbers of a metric are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unit {
    /// CPU time of one request.
    MicrosecondsPerRequest,
    /// Memory of one connection.
    BytesPerConnection,
    /// Time of one run.
    Milliseconds,
    /// Memory of one run.
    Mebibytes,
}

/// One line of the table.
#[derive(Debug)]
pub struct Metric {
    /// What the table calls it.
    pub about: &'static str,
    /// Of the absolute numbers.
    pub unit: Unit,
    /// What haproxy's number divided by ours is to be at least.
    pub target: f64,
    /// What it should be.
    pub stretch: Option<f64>,
}

/// One situation which is measured.
#[derive(Debug)]
pub struct Case {
    /// For `--case`.
    pub name: &'static str,
    /// Its lines of the table.
    pub metrics: &'static [Metric],
    file: File,
    kind: Kind,
}

#[derive(Debug)]
enum Kind {
    Traffic(Traffic),
    /// Idle connections; a metric for each number.
    Idle(&'static [usize]),
    Check,
}

#[derive(Debug)]
struct Traffic {
    connections: usize,
    body_bytes: usize,
    keep_alive: bool,
    requests: u64,
}

const fn traffic(about: &'static str, target: f64, stretch: Option<f64>) -> Metric {
    Metric {
        about,
        unit: Unit::MicrosecondsPerRequest,
        target,
        stretch,
    }
}

const fn kept_alive(connections: usize, body_bytes: usize, requests: u64) -> Kind {
    Kind::Traffic(Traffic {
        connections,
        body_bytes,
        keep_alive: true,
        requests,
    })
}

/// All cases, in the order of the table.
pub static CASES: [Case; 9] = [
    Case {
        name: "small",
        metrics: &[traffic("100-byte answers, 64 connections", 1.15, Some(1.2))],
        file: File::Http,
        kind: kept_alive(64, 100, 80_000),
    },
    Case {
        name: "crowd",
        metrics: &[traffic("100-byte answers, 1,000 connections", 1.3, None)],
        file: File::Http,
        kind: kept_alive(1000, 100, 80_000),
    },
    Case {
        name: "connect",
        metrics: &[traffic("a connection a request", 1.05, None)],
        file: File::Http,
        kind: Kind::Traffic(Traffic {
            connections: 64,
            body_bytes: 100,
            keep_alive: false,
            requests: 25_000,
        }),
    },
    Case {
        name: "medium",
        metrics: &[traffic("16 KiB answers, 64 connections", 1.3, None)],
        file: File::Http,
        kind: kept_alive(64, 16 * 1024, 64_000),
    },
    Case {
        name: "medium-bufsize",
        metrics: &[traffic("16 KiB answers, tune.bufsize 65536", 1.1, None)],
        file: File::HttpLargeBuffers,
        kind: kept_alive(64, 16 * 1024, 64_000),
    },
    Case {
        name: "large",
        metrics: &[traffic("1 MiB answers, tune.bufsize 65536", 1.0, None)],
        file: File::HttpLargeBuffers,
        kind: kept_alive(64, 1024 * 1024, 4000),
    },
    Case {
        name: "tcp",
        metrics: &[traffic(
            "mode tcp, 100-byte answers, 64 connections",
            1.05,
            None,
        )],
        file: File::Tcp,
        kind: kept_alive(64, 100, 80_000),
    },
    Case {
        name: "memory",
        metrics: &[
            Metric {
                about: "memory of each of 5,000 idle connections",
                unit: Unit::BytesPerConnection,
                target: 2.0,
                stretch: None,
            },
            Metric {
                about: "memory of each of 9,000 idle connections",
                unit: Unit::BytesPerConnection,
                target: 2.0,
                stretch: None,
            },
        ],
        file: File::Http,
        kind: Kind::Idle(&[5000, 9000]),
    },
    Case {
        name: "check",
        metrics: &[
            Metric {
                about: "-c of 10,000 servers: time on the wall",
                unit: Unit::Milliseconds,
                target: 1.0,
                stretch: None,
            },
            Metric {
                about: "-c of 10,000 servers: CPU time",
                unit: Unit::Milliseconds,
                target: 1.0,
                stretch: None,
            },
            Metric {
                about: "-c of 10,000 servers: largest memory",
                unit: Unit::Mebibytes,
                target: 1.0,
                stretch: None,
            },
        ],
        file: File::ManyServers,
        kind: Kind::Check,
    },
];

/// File descriptors that the largest case needs in one process.
pub const DESCRIPTORS_NEEDED: u64 = 10_000;

/// What every sample needs.
#[derive(Debug)]
pub struct Bench {
    pub cores: Cores,
    pub origin: Origin,
    pub body: std::sync::Arc<[u8]>,
    /// For the generated files; removed at the end.
    pub folder: PathBuf,
    pub quick: bool,
}

/// One sample of one side.
#[derive(Debug)]
pub struct Sample {
    /// A number for each metric of the case.
    pub values: Vec<f64>,
    /// How busy the proxy's core was by it, where that says something.
    pub busy: Option<f64>,
    /// What should be known about the numbers.
    pub notes: Vec<String>,
}

impl Case {
    /// Writes the file of this case.
    pub fn configuration(&self, bench: &Bench) -> Result<PathBuf, Error> {
        self.file.write(&bench.folder)
    }

    /// Measures both sides once.
    pub fn round(
        &self,
        bench: &mut Bench,
        sides: [&Side; 2],
        configuration: &Path,
    ) -> Result<[Sample; 2], Error> {
        match &self.kind {
            Kind::Traffic(traffic) => traffic.round(bench, sides, configuration, self.file),
            Kind::Idle(counts) => {
                let [left, right] = sides;
                Ok([
                    idle(bench, left, configuration, counts)?,
                    idle(bench, right, configuration, counts)?,
                ])
            }
            Kind::Check => {
                let [left, right] = sides;
                Ok([
                    check(bench, left, configuration)?,
                    check(bench, right, configuration)?,
                ])
            }
        }
    }
}

/// A proxy with the ports that it got.
#[derive(Debug)]
struct Served<'s> {
    side: &'s Side,
    proxy: Proxy,
    port: u16,
    statistics_port: u16,
}

impl<'s> Served<'s> {
    fn start(bench: &mut Bench, side: &'s Side, configuration: &Path) -> Result<Self, Error> {
        let port = process::free_port()?;
        let statistics_port = process::free_port()?;
        let [ours, statistics, origin] = PORT_VARIABLES;
        let names: PortNames = [
            (ours, port),
            (statistics, statistics_port),
            (origin, bench.origin.port),
        ];
        let proxy = Proxy::start(side, configuration, &names, port, bench.cores)?;
        Ok(Self {
            side,
            proxy,
            port,
            statistics_port,
        })
    }

    /// Names the side, or the proxy's end where that was the cause.
    fn explained<T>(&mut self, result: Result<T, Error>) -> Result<T, Error> {
        result.map_err(|error| self.proxy.explain(self.side, error))
    }

    /// A note, when the proxy did not count what it answered.
    fn verify_counted(&self, file: File, requests: u64, connections: u64) -> Option<String> {
        let (column, least) = match file {
            File::Tcp => ("stot", connections),
            _ => ("req_tot", requests),
        };
        match statistics::frontend_counter(self.statistics_port, column) {
            Some(count) if count >= least => None,
            Some(count) => Some(format!("its statistics say {column} {count}, not {least}")),
            None => Some(format!(
                "its statistics do not tell {column} of the frontend"
            )),
        }
    }
}

/// One side of a round of traffic.
struct Lane<'s> {
    // Dropped before the proxy: clients leave, then it ends.
    clients: Generator<'s>,
    served: Served<'s>,
    used: Duration,
    wall: Duration,
}

impl Lane<'_> {
    fn warm_up(&mut self, requests: u64, connections: usize) -> Result<(), Error> {
        let result = self.clients.run(requests, connections);
        self.served.explained(result)?;
        self.clients.compare_bodies(false);
        Ok(())
    }

    fn slice(&mut self, origin: &Origin, requests: u64, connections: usize) -> Result<(), Error> {
        let before = self.served.proxy.quiet_cpu_ns()?;
        let served_before = origin.served();
        let begin = Instant::now();
        let result = self.clients.run(requests, connections);
        self.served.explained(result)?;
        self.wall += begin.elapsed();
        let after = self.served.proxy.quiet_cpu_ns()?;
        self.used += Duration::from_nanos(after.saturating_sub(before));
        let served = origin.served() - served_before;
        if served == requests {
            Ok(())
        } else {
            Err(Error::Unserved {
                asked: requests,
                served,
            })
        }
    }
}

impl Traffic {
    /// Both proxies live through the round and take turns by slices: what else
    /// happens on the machine then meets both.
    fn round(
        &self,
        bench: &mut Bench,
        sides: [&Side; 2],
        configuration: &Path,
        file: File,
    ) -> Result<[Sample; 2], Error> {
        let requests = if bench.quick {
            self.requests / QUICK_DIVISOR
        } else {
            self.requests
        };
        let slice = (requests / SLICES).max(self.connections as u64);
        let [left, right] = sides;
        let starts = [
            Served::start(bench, left, configuration)?,
            Served::start(bench, right, configuration)?,
        ];
        let bench = &*bench;
        let [left, right] = starts.map(|served| self.lane(bench, served, file));
        let mut lanes = [left?, right?];
        for lane in &mut lanes {
            lane.warm_up(slice * WARM_UP_SLICES, self.connections)?;
        }
        for _ in 0..SLICES {
            for lane in &mut lanes {
                lane.slice(&bench.origin, slice, self.connections)?;
            }
        }
        let all = slice * (WARM_UP_SLICES + SLICES);
        Ok(lanes.map(|lane| {
            let busy = lane.used.as_secs_f64() / lane.wall.as_secs_f64();
            let counted = lane
                .served
                .verify_counted(file, all, self.connections as u64);
            let idle = (busy < BUSY_LEAST).then(|| {
                "its core was idle at times: the load was too slow, or the machine not idle"
                    .to_owned()
            });
            Sample {
                values: vec![lane.used.as_secs_f64() * 1e6 / (slice * SLICES) as f64],
                busy: Some(busy),
                notes: [counted, idle].into_iter().flatten().collect(),
            }
        }))
    }

    fn lane<'s>(
        &self,
        bench: &'s Bench,
        served: Served<'s>,
        file: File,
    ) -> Result<Lane<'s>, Error> {
        let folder = if file == File::Tcp { "plain" } else { "bench" };
        let clients = Generator::new(Job {
            port: served.port,
            path: format!("/{folder}/{}", self.body_bytes),
            body: &bench.body[..self.body_bytes],
            keep_alive: self.keep_alive,
        })?;
        Ok(Lane {
            served,
            clients,
            used: Duration::ZERO,
            wall: Duration::ZERO,
        })
    }
}

fn idle(
    bench: &mut Bench,
    side: &Side,
    configuration: &Path,
    counts: &[usize],
) -> Result<Sample, Error> {
    let mut served = Served::start(bench, side, configuration)?;
    let result = idle_of(bench, &served, counts);
    served.explained(result)
}

fn idle_of(bench: &Bench, served: &Served<'_>, counts: &[usize]) -> Result<Sample, Error> {
    let size = super::origin::BODY_SIZES_BYTES[0];
    let job = Job {
        port: served.port,
        path: format!("/bench/{size}"),
        body: &bench.body[..size],
        keep_alive: true,
    };
    // What the first requests of a process cost is not the connections'.
    let (connections, requests) = IDLE_WARM_UP;
    let mut warm_up = Generator::new(job.clone())?;
    warm_up.run(requests, connections)?;
    drop(warm_up);
    served.proxy.quiet_cpu_ns()?;
    let before = served.proxy.anonymous_bytes()?;
    let mut clients = Generator::new(job)?;
    let mut values = Vec::new();
    for &count in counts {
        clients.raise_idle(count)?;
        served.proxy.quiet_cpu_ns()?;
        let after = served.proxy.anonymous_bytes()?;
        clients.verify_idle()?;
        // At least a byte, so that a ratio exists.
        let grown = after.saturating_sub(before).max(count as u64);
        values.push(grown as f64 / count as f64);
    }
    Ok(Sample {
        values,
        busy: None,
        notes: Vec::new(),
    })
}

fn check(bench: &Bench, side: &Side, configuration: &Path) -> Result<Sample, Error> {
    let mistaken = File::ManyServersMistaken.write(&bench.folder)?;
    match process::check(side, &mistaken, bench.cores) {
        Err(Error::CheckFailed {
            status: Some(_), ..
        }) => {}
        Err(error) => return Err(error),
        Ok(_) => {
            return Err(Error::AcceptsMistake {
                label: side.label.clone(),
            });
        }
    }
    let cost = process::check(side, configuration, bench.cores)?;
    let mebibytes = cost.peak_bytes as f64 / (1024.0 * 1024.0);
    let values = vec![milliseconds(cost.wall), milliseconds(cost.cpu), mebibytes];
    Ok(Sample {
        values,
        busy: None,
        notes: Vec::new(),
    })
}

fn milliseconds(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e3
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_case_has_a_name_of_its_own_and_a_metric_for_each_number() {
        for (at, case) in CASES.iter().enumerate() {
            assert!(
                CASES[..at].iter().all(|other| other.name != case.name),
                "{}",
                case.name
            );
            let numbers = match &case.kind {
                Kind::Traffic(_) => 1,
                Kind::Idle(counts) => counts.len(),
                Kind::Check => 3,
            };
            assert_eq!(case.metrics.len(), numbers, "{}", case.name);
        }
    }

    #[test]
    fn the_origin_has_every_body_that_is_asked_for() {
        for case in &CASES {
            if let Kind::Traffic(traffic) = &case.kind {
                assert!(crate::bench::origin::BODY_SIZES_BYTES.contains(&traffic.body_bytes));
            }
        }
    }
}
