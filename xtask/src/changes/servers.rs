//! Implements the case `servers`: a file of ten thousand servers is changed under load.
//!
//! The load is an open loop at half of the proxy's capacity: the latency of a request that could
//! not begin on time counts from its due time. Windows with changes alternate with equally long
//! windows without. In both the judge writes files and probes, so that its own work makes no
//! difference.

use std::time::{Duration, Instant};

use serde_json::json;

use crate::bench::load::{Generator, Job};
use crate::bench::origin::BODY_SIZES_BYTES;
use crate::bench::table::quantile;

use super::client::Errand;
use super::crowd::{Crowd, Member};
use super::error::ChangesError;
use super::judge::Judge;
use super::options::Case;
use super::report::Report;
use super::site::ProxyFolder;
use super::subject::{CHANGE_PATIENCE, Running, Subject};

const CONNECTIONS: u32 = 64;
/// Number of requests that measure the capacity of the proxy.
const SATURATION_REQUESTS: u64 = 30_000;
/// Maximum rate in requests per second; beyond it the clients themselves would be slow.
const RATE_MAX: f64 = 12_000.0;
/// Duration of one window in which latencies are measured.
const WINDOW: Duration = Duration::from_secs(4);
const WINDOW_QUICK: Duration = Duration::from_secs(2);
/// Time of load before the first window.
const SETTLE: Duration = Duration::from_millis(1000);
const BETWEEN: Duration = Duration::from_millis(400);
/// Permitted increase of the slowest request of a window by changes.
const SLOWER_MS_MAX: f64 = 5.0;

/// The latencies of one window.
#[derive(Debug, Clone, Copy)]
struct Window {
    slowest_ms: f64,
    p999_ms: f64,
}

impl Window {
    fn take(crowd: &Crowd) -> Self {
        let latencies = crowd.take_latencies_ms();
        Self {
            slowest_ms: quantile(&latencies, 1.0),
            p999_ms: quantile(&latencies, 0.999),
        }
    }
}

/// Runs the case `servers` for one side.
pub fn run(judge: &mut Judge<'_>, subject: &Subject, right: bool) -> Result<Report, ChangesError> {
    let rounds = judge.options.rounds(Case::Servers, right);
    let site = judge.site(&format!("servers-{}", if right { "right" } else { "left" }))?;
    site.write_many(0)?;
    let running = subject.start(&site, 0, &[])?;
    let most = saturated(judge, &site)?;
    let rate = (most / 2.0).min(RATE_MAX);
    let crowd = load(judge, &site, rate)?;
    let window = if judge.options.quick {
        WINDOW_QUICK
    } else {
        WINDOW
    };
    std::thread::sleep(SETTLE);
    let (mut without, mut with) = (Vec::new(), Vec::new());
    let mut changes = Changes::default();
    for _ in 0..rounds {
        // Effects of the last window must not count in this one.
        std::thread::sleep(BETWEEN);
        crowd.take_latencies_ms();
        changes.window(&site, &running, &crowd, window, false)?;
        without.push(Window::take(&crowd));
        changes.window(&site, &running, &crowd, window, true)?;
        with.push(Window::take(&crowd));
    }
    let tally = crowd.stop()?;
    let mut report = Report::default();
    report.row("saturated", format!("{most:.0} requests/s"), json!(most));
    report.row("load", format!("{rate:.0} requests/s"), json!(rate));
    report.count("changes", changes.asked);
    report.count("changes never seen", changes.unseen);
    let median = quantile(&changes.seen_ms, 0.5);
    report.milliseconds(
        "signal to new content, median",
        median.is_finite().then_some(median),
    );
    report.clients("", &tally);
    tell_windows(&mut report, &without, &with);
    report.claim(changes.unseen == 0, "a change was never seen");
    report.claim(tally.all_failed() == 0, "requests failed");
    report.claim(
        tally.closed() + tally.closed_announced == 0,
        "connections were closed",
    );
    Ok(report)
}

/// Returns the capacity of the proxy in requests per second.
fn saturated(judge: &Judge<'_>, site: &ProxyFolder) -> Result<f64, ChangesError> {
    let size = BODY_SIZES_BYTES[0];
    let mut generator = Generator::new(Job {
        port: site.at.web,
        path: format!("/plain/{size}"),
        body: &judge.body[..size],
        keep_alive: true,
        lines: "",
        gzip: false,
    })?;
    generator.run(SATURATION_REQUESTS / 8, CONNECTIONS as usize)?;
    let begin = Instant::now();
    generator.run(SATURATION_REQUESTS, CONNECTIONS as usize)?;
    Ok(SATURATION_REQUESTS as f64 / begin.elapsed().as_secs_f64())
}

fn load(judge: &Judge<'_>, site: &ProxyFolder, rate: f64) -> Result<Crowd, ChangesError> {
    let errand = Errand {
        port: site.at.web,
        host: "one.test",
        body: judge.body_of(0),
        keep_alive: true,
        interval: Duration::from_secs_f64(f64::from(CONNECTIONS) / rate.max(1.0)),
        catch_up: true,
        name: "kept-alive client",
    };
    let members = (0..CONNECTIONS).map(|_| Member::http(errand.clone()));
    Crowd::start(members.collect())
}

#[derive(Debug, Default)]
struct Changes {
    asked: u64,
    unseen: u64,
    seen_ms: Vec<f64>,
}

impl Changes {
    /// Runs one window: with changes, or with the same other work of the judge.
    fn window(
        &mut self,
        site: &ProxyFolder,
        running: &Running<'_>,
        crowd: &Crowd,
        window: Duration,
        ask: bool,
    ) -> Result<(), ChangesError> {
        let end = Instant::now() + window;
        while Instant::now() + BETWEEN < end {
            if !ask {
                site.write_many_aside(self.asked)?;
                running.wait_for(self.asked, CHANGE_PATIENCE);
                std::thread::sleep(BETWEEN);
                continue;
            }
            self.asked += 1;
            crowd.at_change(self.asked);
            site.write_many(self.asked)?;
            running.ask()?;
            match running.wait_for(self.asked, CHANGE_PATIENCE) {
                Some(seen) => self.seen_ms.push(seen.as_secs_f64() * 1e3),
                None => self.unseen += 1,
            }
            std::thread::sleep(BETWEEN);
        }
        std::thread::sleep(end.saturating_duration_since(Instant::now()));
        Ok(())
    }
}

type Get = fn(&Window) -> f64;

fn tell_windows(report: &mut Report, without: &[Window], with: &[Window]) {
    let of = |windows: &[Window], get: Get| -> Vec<f64> { windows.iter().map(get).collect() };
    let gets: [(&str, Get); 2] = [
        ("slowest request", |window| window.slowest_ms),
        ("99.9 %", |window| window.p999_ms),
    ];
    for (name, get) in gets {
        let (without, with) = (of(without, get), of(with, get));
        let pairs = without.iter().zip(&with);
        let differences: Vec<f64> = pairs.map(|(without, with)| with - without).collect();
        for (what, values) in [
            ("without changes", &without),
            ("with changes", &with),
            ("difference", &differences),
        ] {
            let median = quantile(values, 0.5);
            report.milliseconds(format!("{name}, {what}, median window"), Some(median));
            let worst = quantile(values, 1.0);
            report.milliseconds(format!("{name}, {what}, worst window"), Some(worst));
        }
        if name == "slowest request" {
            report.claim(
                quantile(&differences, 0.5) <= SLOWER_MS_MAX,
                format!("the slowest request is more than {SLOWER_MS_MAX} ms slower"),
            );
        }
    }
}
