//! Runs one round of a case.
//!
//! A round begins with new processes, so that the chance properties of one process, such as its
//! memory layout, do not affect every round.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use super::attack::{self, Attack, Attackers};
use super::case::{Case, Kind, Secure, Traffic};
use super::collector::Collector;
use super::configuration::{self, File, PORT_VARIABLES};
use super::error::BenchError;
use super::load::{self, Generator};
use super::map::ENTRIES_SMALL;
use super::origin::{BODY_SIZES_BYTES, Origin};
use super::process::{self, Cores, PortNames, Proxy, Side};
use super::secure::{self, Clients, Key, Talk};
use super::statistics;

/// Divisor of the numbers of requests with `--quick`.
const QUICK_DIVISOR: u64 = 8;
/// Number of measured slices of a round, in which the sides take turns.
const SLICES: u64 = 8;
const WARM_UP_SLICES: u64 = 2;
/// A proxy that is less busy than this waits for the load: the other core is
/// shared, or too slow for it.
const BUSY_LEAST: f64 = 0.85;
/// Numbers of connections and requests that warm a proxy up before its memory is read.
const IDLE_WARM_UP: (usize, u64) = (64, 2000);
/// Numbers of connections and requests that warm a proxy up over TLS, each request with a
/// handshake.
const SECURE_WARM_UP: (usize, u64) = (64, 200);
/// Wait between the last request and the measurement of a proxy's memory.
const AFTER_TRAFFIC: Duration = Duration::from_secs(6);
/// Response that a proxy generates itself.
const PONG: &[u8] = b"pong";

#[derive(Debug)]
pub struct Bench {
    pub cores: Cores,
    pub origin: Origin,
    pub body: Arc<[u8]>,
    /// Text that is requested where responses are compressed.
    pub text: Arc<[u8]>,
    /// Destination of the proxies' logs.
    pub log: Collector,
    /// Directory of the generated files, which is removed at the end.
    pub folder: PathBuf,
    pub quick: bool,
}

/// The programs that are compared.
#[derive(Debug)]
pub struct Sides {
    pub left: Side,
    pub right: Side,
    pub nginx: Option<Side>,
}

#[derive(Debug)]
pub struct Sample {
    /// A number for each metric of the case.
    pub values: Vec<f64>,
    /// Share of the time in which the proxy's core was busy, where that is meaningful.
    pub busy: Option<f64>,
    /// Remarks on the numbers for the reader.
    pub notes: Vec<String>,
}

impl Case {
    /// Writes the configuration of this case; returns its path.
    pub fn configuration(&self, bench: &Bench) -> Result<PathBuf, BenchError> {
        self.file.write(&bench.folder)
    }

    /// Returns the sides that this case measures: left, right, and nginx if the case is about TLS.
    pub fn sides<'s>(&self, sides: &'s Sides) -> Vec<&'s Side> {
        let mut measured = vec![&sides.left, &sides.right];
        if matches!(self.kind, Kind::Secure(_) | Kind::SecureIdle(_)) {
            measured.extend(&sides.nginx);
        }
        measured
    }

    pub fn round<'s>(
        &self,
        bench: &'s Bench,
        sides: &[&'s Side],
        configuration: &Path,
    ) -> Result<Vec<Sample>, BenchError> {
        let start = |side: &&'s Side| Served::start(bench, side, configuration, self.file);
        match &self.kind {
            Kind::Traffic(traffic) => {
                let lanes: Result<Vec<_>, BenchError> = sides
                    .iter()
                    .map(|side| traffic.lane(bench, start(side)?, self.file))
                    .collect();
                alternate(bench, lanes?, &traffic.plan(bench), self.file)
            }
            Kind::Compressed(traffic) => {
                let lanes: Result<Vec<_>, BenchError> = sides
                    .iter()
                    .map(|side| traffic.compressed_lane(bench, start(side)?))
                    .collect();
                alternate(bench, lanes?, &traffic.plan(bench), self.file)
            }
            Kind::Map(lookup, traffic) => {
                let small = File::Map(*lookup, ENTRIES_SMALL).write(&bench.folder)?;
                let mut lanes = Vec::new();
                for configuration in [&small, configuration] {
                    for side in sides {
                        let served = Served::start(bench, side, configuration, self.file)?;
                        lanes.push(traffic.lane(bench, served, self.file)?);
                    }
                }
                let samples = alternate(bench, lanes, &traffic.plan(bench), self.file)?;
                Ok(grown_of(samples, sides.len()))
            }
            Kind::Secure(secure) => {
                let lanes: Result<Vec<_>, BenchError> = sides
                    .iter()
                    .map(|side| secure.lane(bench, start(side)?, self.file))
                    .collect();
                alternate(bench, lanes?, &secure.plan(bench), self.file)
            }
            Kind::Idle(counts) => each(sides, |side| {
                let mut served = start(side)?;
                let result = idle_of(bench, &served, counts);
                served.explained(result)
            }),
            Kind::SecureIdle(count) => each(sides, |side| {
                let mut served = start(side)?;
                let result = secure_idle_of(bench, &served, *count);
                served.explained(result)
            }),
            Kind::Attack(attack, requests) => {
                let requests = if bench.quick { requests / 2 } else { *requests };
                each(sides, |side| {
                    attacked(bench, side, configuration, *attack, requests)
                })
            }
            Kind::Memory => each(sides, |side| {
                let mut served = start(side)?;
                let result = memory_after(bench, &served);
                served.explained(result)
            }),
            Kind::Check => each(sides, |side| check(bench, side, configuration)),
        }
    }
}

fn each<'s>(
    sides: &[&'s Side],
    measure: impl FnMut(&&'s Side) -> Result<Sample, BenchError>,
) -> Result<Vec<Sample>, BenchError> {
    sides.iter().map(measure).collect()
}

/// A running proxy with its ports.
#[derive(Debug)]
struct Served<'s> {
    side: &'s Side,
    proxy: Proxy,
    port: u16,
    /// None for nginx, which has no statistics port.
    statistics_port: Option<u16>,
}

impl<'s> Served<'s> {
    fn start(
        bench: &Bench,
        side: &'s Side,
        configuration: &Path,
        file: File,
    ) -> Result<Self, BenchError> {
        Self::start_before(bench, side, configuration, file, bench.origin.port)
    }

    /// Starts a proxy in front of the origin at this port.
    fn start_before(
        bench: &Bench,
        side: &'s Side,
        configuration: &Path,
        file: File,
        origin_port: u16,
    ) -> Result<Self, BenchError> {
        let port = process::free_port()?;
        if let (true, File::Https(key)) = (side.is_nginx(), file) {
            let (folder, origin) = (&bench.folder, bench.origin.port);
            let configuration = configuration::write_nginx(key, folder, port, origin)?;
            return Ok(Self {
                side,
                proxy: Proxy::start_nginx(side, &configuration, folder, port, bench.cores)?,
                port,
                statistics_port: None,
            });
        }
        let statistics_port = process::free_port()?;
        let [ours, statistics, origin, log] = PORT_VARIABLES;
        let names: PortNames = [
            (ours, port),
            (statistics, statistics_port),
            (origin, origin_port),
            (log, bench.log.port),
        ];
        Ok(Self {
            side,
            proxy: Proxy::start(side, configuration, &names, port, bench.cores)?,
            port,
            statistics_port: Some(statistics_port),
        })
    }

    /// Adds the name of the side to an error, or replaces the error by the end of the proxy if that
    /// was the cause.
    fn explained<T>(&mut self, result: Result<T, BenchError>) -> Result<T, BenchError> {
        result.map_err(|error| self.proxy.explain(self.side, error))
    }

    /// Returns a note if the proxy's statistics do not count the requests.
    fn verify_counted(&self, file: File, requests: u64, connections: u64) -> Option<String> {
        let (column, least) = match file {
            File::Tcp => ("stot", connections),
            _ => ("req_tot", requests),
        };
        match statistics::frontend_counter(self.statistics_port?, column) {
            Some(count) if count >= least => None,
            Some(count) => Some(format!("its statistics say {column} {count}, not {least}")),
            None => Some(format!(
                "its statistics do not tell {column} of the frontend"
            )),
        }
    }
}

/// Amount of work of a round.
#[derive(Debug, Clone, Copy)]
struct Plan {
    slice: u64,
    connections: usize,
    /// The origin serves the requests, not the proxy itself.
    from_origin: bool,
    /// The load should keep the proxy busy all the time.
    busy: bool,
}

/// The clients of one side.
trait LoadGenerator {
    /// Sends exactly this number of requests.
    fn run(&mut self, requests: u64, connections: usize) -> Result<(), BenchError>;
    /// Ends the warm-up: the requests that follow are measured.
    fn is_warm(&mut self);
    /// Returns the size of the last response body, if the result should include it.
    fn body_bytes(&self) -> Option<usize> {
        None
    }
}

impl LoadGenerator for Generator<'_> {
    fn run(&mut self, requests: u64, connections: usize) -> Result<(), BenchError> {
        Generator::run(self, requests, connections)
    }

    fn is_warm(&mut self) {
        self.compare_bodies(false);
    }

    fn body_bytes(&self) -> Option<usize> {
        self.is_coded().then_some(self.body_bytes)
    }
}

impl LoadGenerator for Clients<'_> {
    fn run(&mut self, requests: u64, connections: usize) -> Result<(), BenchError> {
        Clients::run(self, requests, connections)
    }

    fn is_warm(&mut self) {
        Clients::is_warm(self);
    }
}

/// A side in a round of traffic.
struct Lane<'s, L> {
    // Declared before the proxy, so that clients disconnect before it ends.
    clients: L,
    served: Served<'s>,
    used: Duration,
    wall: Duration,
}

impl<'s, L: LoadGenerator> Lane<'s, L> {
    fn new(served: Served<'s>, clients: L) -> Self {
        Self {
            clients,
            served,
            used: Duration::ZERO,
            wall: Duration::ZERO,
        }
    }

    fn warm_up(&mut self, plan: &Plan) -> Result<(), BenchError> {
        let requests = plan.slice * WARM_UP_SLICES;
        let result = self.clients.run(requests, plan.connections);
        self.served.explained(result)?;
        self.clients.is_warm();
        Ok(())
    }

    fn slice(&mut self, origin: &Origin, plan: &Plan) -> Result<(), BenchError> {
        let before = self.served.proxy.quiet_cpu_ns()?;
        let served_before = origin.served();
        let begin = Instant::now();
        let result = self.clients.run(plan.slice, plan.connections);
        self.served.explained(result)?;
        self.wall += begin.elapsed();
        let after = self.served.proxy.quiet_cpu_ns()?;
        self.used += Duration::from_nanos(after.saturating_sub(before));
        let served = origin.served() - served_before;
        let asked = if plan.from_origin { plan.slice } else { 0 };
        if served == asked {
            Ok(())
        } else {
            Err(BenchError::Unserved { asked, served })
        }
    }
}

/// Measures all proxies in one round, in alternating slices, so that other activity of the machine
/// affects all of them.
fn alternate<L: LoadGenerator>(
    bench: &Bench,
    mut lanes: Vec<Lane<'_, L>>,
    plan: &Plan,
    file: File,
) -> Result<Vec<Sample>, BenchError> {
    for lane in &mut lanes {
        lane.warm_up(plan)?;
    }
    for _ in 0..SLICES {
        for lane in &mut lanes {
            lane.slice(&bench.origin, plan)?;
            let lines = bench.log.drain();
            if file == File::Rules && lines == 0 {
                return Err(lane
                    .served
                    .proxy
                    .explain(lane.served.side, BenchError::NoLog));
            }
        }
    }
    let all = plan.slice * (WARM_UP_SLICES + SLICES);
    let samples = lanes.into_iter().map(|lane| {
        let busy = lane.used.as_secs_f64() / lane.wall.as_secs_f64();
        let counted = lane
            .served
            .verify_counted(file, all, plan.connections as u64);
        let idle = (plan.busy && busy < BUSY_LEAST).then(|| {
            "its core was idle at times, because the load generator was too slow or the machine was busy".to_owned()
        });
        let mut values = vec![lane.used.as_secs_f64() * 1e6 / (plan.slice * SLICES) as f64];
        values.extend(lane.clients.body_bytes().map(|bytes| bytes as f64));
        Sample {
            values,
            busy: Some(busy),
            notes: [counted, idle].into_iter().flatten().collect(),
        }
    });
    Ok(samples.collect())
}

/// Returns the samples of large maps, which follow those of small ones, with their cost relative to
/// these.
fn grown_of(mut samples: Vec<Sample>, sides: usize) -> Vec<Sample> {
    let large = samples.split_off(sides);
    let both = samples.into_iter().zip(large);
    both.map(|(small, mut large)| {
        let beside = small.values.first().zip(large.values.first());
        let growth = beside.map(|(small, large)| large / small);
        large.values.extend(growth);
        large.notes.extend(small.notes);
        large
    })
    .collect()
}

fn slice_of(requests: u64, connections: usize, quick: bool) -> u64 {
    let requests = if quick {
        requests / QUICK_DIVISOR
    } else {
        requests
    };
    (requests / SLICES).max(connections as u64)
}

impl Traffic {
    fn plan(&self, bench: &Bench) -> Plan {
        Plan {
            slice: slice_of(self.requests, self.connections, bench.quick),
            connections: self.connections,
            from_origin: true,
            busy: true,
        }
    }

    fn lane<'s>(
        &self,
        bench: &'s Bench,
        served: Served<'s>,
        file: File,
    ) -> Result<Lane<'s, Generator<'s>>, BenchError> {
        let folder = if file == File::Tcp { "plain" } else { "bench" };
        let clients = Generator::new(load::Job {
            port: served.port,
            path: format!("/{folder}/{}", self.body_bytes),
            body: &bench.body[..self.body_bytes],
            keep_alive: self.keep_alive,
            lines: self.lines,
            gzip: false,
        })?;
        Ok(Lane::new(served, clients))
    }

    fn compressed_lane<'s>(
        &self,
        bench: &'s Bench,
        served: Served<'s>,
    ) -> Result<Lane<'s, Generator<'s>>, BenchError> {
        let clients = Generator::new(load::Job {
            port: served.port,
            path: "/bench/text".to_owned(),
            body: &bench.text,
            keep_alive: self.keep_alive,
            lines: self.lines,
            gzip: true,
        })?;
        Ok(Lane::new(served, clients))
    }
}

impl Secure {
    fn plan(&self, bench: &Bench) -> Plan {
        let streams = match self.talk {
            Talk::Http2 { streams } => streams,
            _ => 1,
        };
        Plan {
            slice: slice_of(self.requests, self.connections * streams, bench.quick),
            connections: self.connections,
            from_origin: self.body_bytes > 0,
            // The proxy is not always busy, because the clients' cryptography costs about as much.
            busy: false,
        }
    }

    fn lane<'s>(
        &self,
        bench: &'s Bench,
        served: Served<'s>,
        file: File,
    ) -> Result<Lane<'s, Clients<'s>>, BenchError> {
        let mut job = secure_job(bench, &served, self.body_bytes, key_of(file));
        job.old = self.old;
        job.talk = self.talk;
        Ok(Lane::new(served, Clients::new(job)?))
    }
}

fn key_of(file: File) -> Key {
    match file {
        File::Https(key) => key,
        _ => Key::Ecdsa,
    }
}

/// Builds a request for a body of the origin, or for a response of the proxy itself.
fn secure_job<'a>(
    bench: &'a Bench,
    served: &Served<'_>,
    body_bytes: usize,
    key: Key,
) -> secure::Job<'a> {
    let (path, body) = match body_bytes {
        0 => ("/pong".to_owned(), PONG),
        bytes => (format!("/bench/{bytes}"), &bench.body[..bytes]),
    };
    secure::Job {
        port: served.port,
        path,
        body,
        key,
        old: false,
        talk: Talk::Http1,
    }
}

fn idle_of(bench: &Bench, served: &Served<'_>, counts: &[usize]) -> Result<Sample, BenchError> {
    let size = BODY_SIZES_BYTES[0];
    let job = load::Job {
        port: served.port,
        path: format!("/bench/{size}"),
        body: &bench.body[..size],
        keep_alive: true,
        lines: "",
        gzip: false,
    };
    // The warm-up keeps the cost of a process's first requests out of the measurement.
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
        values.push(grown(served, before, count)?);
        clients.verify_idle()?;
    }
    Ok(Sample {
        values,
        busy: None,
        notes: Vec::new(),
    })
}

fn secure_idle_of(bench: &Bench, served: &Served<'_>, count: usize) -> Result<Sample, BenchError> {
    let job = secure_job(bench, served, BODY_SIZES_BYTES[0], Key::Ecdsa);
    let (connections, requests) = SECURE_WARM_UP;
    let mut warm_up = Clients::new(job.clone())?;
    warm_up.run(requests, connections)?;
    drop(warm_up);
    served.proxy.quiet_cpu_ns()?;
    let before = served.proxy.anonymous_bytes()?;
    let mut clients = Clients::new(job)?;
    clients.raise_idle(count)?;
    let value = grown(served, before, count)?;
    clients.verify_idle()?;
    Ok(Sample {
        values: vec![value],
        busy: None,
        notes: Vec::new(),
    })
}

/// Runs a well-behaved client during an attack.
fn attacked(
    bench: &Bench,
    side: &Side,
    configuration: &Path,
    attack: Attack,
    requests: usize,
) -> Result<Sample, BenchError> {
    let origin = attack::Origin::start(bench.cores.load)?;
    let mut served = Served::start_before(bench, side, configuration, File::Attack, origin.port)?;
    let attackers = Attackers::start(attack, served.port, bench.cores.load);
    let (cpu, passed) = (served.proxy.cpu_ns()?, origin.bytes.load(Relaxed));
    let measured = attack::good_client(served.port, requests);
    let cpu = served.proxy.cpu_ns()?.saturating_sub(cpu);
    let passed = origin.bytes.load(Relaxed) - passed;
    drop(attackers);
    let mut values = vec![served.explained(measured)?];
    if matches!(attack, Attack::ChunkedUpload | Attack::ChunkedAnswer) {
        values.push(cpu as f64 / passed.max(1) as f64);
    }
    Ok(Sample {
        values,
        busy: None,
        notes: Vec::new(),
    })
}

/// Returns the memory of a proxy some seconds after its clients have disconnected: many connections
/// at once, large responses, compressed ones.
fn memory_after(bench: &Bench, served: &Served<'_>) -> Result<Sample, BenchError> {
    let [small, _, large] = BODY_SIZES_BYTES;
    for (connections, requests, size, gzip) in [
        (2000, 20_000, small, false),
        (256, 2_000, large, false),
        (512, 10_000, bench.text.len(), true),
    ] {
        let mut clients = Generator::new(load::Job {
            port: served.port,
            path: if gzip {
                "/bench/text".to_owned()
            } else {
                format!("/bench/{size}")
            },
            body: if gzip {
                &bench.text
            } else {
                &bench.body[..size]
            },
            keep_alive: true,
            lines: if gzip {
                "Accept-Encoding: gzip\r\n"
            } else {
                ""
            },
            gzip,
        })?;
        let requests = if bench.quick {
            requests / QUICK_DIVISOR
        } else {
            requests
        };
        clients.run(requests.max(connections as u64), connections)?;
    }
    std::thread::sleep(AFTER_TRAFFIC);
    let bytes = served.proxy.anonymous_bytes()? as f64;
    Ok(Sample {
        values: vec![bytes / (1024.0 * 1024.0)],
        busy: None,
        notes: Vec::new(),
    })
}

/// Returns the memory that each of these connections added to the proxy.
fn grown(served: &Served<'_>, before: u64, count: usize) -> Result<f64, BenchError> {
    served.proxy.quiet_cpu_ns()?;
    let after = served.proxy.anonymous_bytes()?;
    // Counts at least a byte for each connection, so that a ratio exists.
    let grown = after.saturating_sub(before).max(count as u64);
    Ok(grown as f64 / count as f64)
}

fn check(bench: &Bench, side: &Side, configuration: &Path) -> Result<Sample, BenchError> {
    let mistaken = File::ManyServersMistaken.write(&bench.folder)?;
    match process::check(side, &mistaken, bench.cores) {
        Err(BenchError::CheckFailed {
            status: Some(_), ..
        }) => {}
        Err(error) => return Err(error),
        Ok(_) => {
            return Err(BenchError::AcceptsMistake {
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
