//! Sets up two nodes and an arbiter that serve a farm of simulated hosts, and a machine for the
//! clients.

use super::crowd::{self, By, NETWORK, Plan, Seen};
use super::hosts::Hosts;
use crate::cluster::ensemble::{Ensemble, Side};
use crate::cluster::{Error, ours};
use crate::comparison;
use lab::pki::{Authority, Leaf};
use lab::{LabHost, ScratchDirectory, eventually};
use serde_json::Value;
use std::fmt::Write as _;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

/// Weights of the hosts: the number of users that each host should have.
pub const WEIGHTS: [u16; 10] = [50, 60, 70, 80, 90, 100, 110, 120, 150, 170];
const RDP: u16 = 3389;
/// Last byte of the address of the clients' machine.
const CLIENTS: u8 = 9;
const FIRST_HOST: u8 = 101;
/// Timeout of everything but a logon.
const SOON: Duration = Duration::from_secs(60);

pub struct FarmFixture {
    // Declared before the hosts, so that the processes in them are dropped first.
    ensemble: Ensemble,
    program: PathBuf,
    clients: LabHost,
    _hosts: Hosts,
    _farm: LabHost,
    _files: ScratchDirectory,
}

/// Decision times that a node reports in microseconds: median, 99th percentile and maximum.
pub type Decisions = [f64; 3];

#[derive(Debug)]
pub struct Storm {
    pub seen: Vec<Seen>,
    /// Time from the death of a node until all clients had a lasting response.
    pub back: Option<Duration>,
    /// Decision times of the slower node; None if this program does not report them.
    pub decisions: Option<Decisions>,
}

fn at(number: u8) -> SocketAddr {
    SocketAddr::from(([10, 62, 0, number], RDP))
}

fn configuration(files: &ScratchDirectory) -> Result<String, Error> {
    let leaf = Leaf {
        names: &["desktop.example.org"],
        ..Leaf::default()
    };
    let issued = Authority::new("Bench CA")?.issue(&leaf)?;
    let crt = files.write("desktop.pem", issued.bundle())?;
    let key = files.write("farm.key", [7; 32])?;
    let mut text = format!(
        "node alpha\n\taddress 10.62.0.1\nnode beta\n\taddress 10.62.0.2\n\n\
         farm office\n\tbind 0.0.0.0:{RDP} crt {}\n\ttoken-key {}\n",
        crt.display(),
        key.display()
    );
    for (number, weight) in (FIRST_HOST..).zip(WEIGHTS) {
        let _ = writeln!(text, "\thost ts{number} 10.62.0.{number} weight {weight}");
    }
    Ok(text)
}

impl FarmFixture {
    /// Starts the members and hosts, and waits until both nodes serve the farm.
    pub fn start(program: &Path) -> Result<FarmFixture, Error> {
        let ensemble = Ensemble::start(&Side::Evenkeel {
            program: program.to_owned(),
        })?;
        let clients = ensemble.host("clients", CLIENTS)?;
        let farm = ensemble.host("farm", FIRST_HOST)?;
        for number in (FIRST_HOST..).take(WEIGHTS.len()).skip(1) {
            let address = format!("10.62.0.{number}/24");
            farm.ip(&["address", "add", &address, "dev", "eth0"])?;
        }
        // Gives the addresses of all clients to a single network card, so that a node needs one
        // entry in its neighbour table.
        clients.ip(&["route", "add", "local", NETWORK, "dev", "lo"])?;
        for member in ensemble.members.iter().filter(|member| member.node) {
            member.host.route(NETWORK, &format!("10.62.0.{CLIENTS}"))?;
        }
        let addresses: Vec<_> = (FIRST_HOST..).take(WEIGHTS.len()).map(at).collect();
        let hosts = Hosts::start(&farm, &addresses).map_err(broken("the hosts start"))?;
        let files = ScratchDirectory::new()?;
        let first = ensemble.members.first().ok_or(Error::NoMember(0))?;
        ours::apply_text(program, first, &configuration(&files)?, "farm")?;
        let site = FarmFixture {
            ensemble,
            program: program.to_owned(),
            clients,
            _hosts: hosts,
            _farm: farm,
            _files: files,
        };
        for node in 0..2 {
            if !eventually(SOON, || site.list(node).is_some_and(|farm| is_ready(&farm))) {
                return Err(site.ensemble.not_ready("both nodes serve the farm"));
            }
        }
        Ok(site)
    }

    /// Returns a node's report of the farm.
    fn list(&self, node: usize) -> Option<Value> {
        let member = self.ensemble.members.get(node)?;
        let text = ours::ask(&self.program, member, &["farm", "list", "--json"]).ok()?;
        let report: Value = serde_json::from_str(&text).ok()?;
        report["subjects"].get(0).cloned()
    }

    fn decisions(&self, node: usize) -> Option<Decisions> {
        let numbers = self.list(node)?["numbers"].clone();
        let names = ["decision p50 us", "decision p99 us", "decision max us"];
        let [p50, p99, max] = names.map(|name| numbers[name].as_f64());
        Some([p50?, p99?, max?])
    }

    /// Runs the logons of all clients; with `kills`, kills a node when half of them have a
    /// response.
    pub fn storm(&self, by: By, kills: bool) -> Result<Storm, Error> {
        let doomed = kills.then_some(0);
        let plan = Plan {
            by,
            nodes: [at(1), at(2)],
            doomed,
        };
        let (half, comes) = mpsc::channel();
        let (seen, killed) = thread::scope(|scope| {
            let crowd = scope.spawn(|| self.clients.enter(|| crowd::logs_on(plan, half)));
            let member = doomed.and_then(|node| self.ensemble.members.get(node));
            // No message means that the crowd has failed.
            let killed = member.filter(|_| comes.recv().is_ok()).map(|member| {
                let now = Instant::now();
                member.process.kill_tree();
                now
            });
            let seen = crowd
                .join()
                .unwrap_or_else(|_| Err(io::Error::other("panic")));
            (seen, killed)
        });
        let seen = seen.map_err(broken("all clients log on"))?;
        let last = seen.iter().map(|one| one.last).max();
        let alive = (0..2).filter(|node| doomed != Some(*node));
        let slower = |a: Decisions, b: Decisions| [0, 1, 2].map(|at| a[at].max(b[at]));
        Ok(Storm {
            back: killed.and_then(|killed| Some(last?.saturating_duration_since(killed))),
            decisions: alive.filter_map(|node| self.decisions(node)).reduce(slower),
            seen,
        })
    }
}

fn is_ready(farm: &Value) -> bool {
    let is = |kind: &str, state: &str| {
        let children = farm["children"].as_array().into_iter().flatten();
        let good = children.filter(|one| one["kind"] == kind && one["state"] == state);
        good.count()
    };
    is("host", "up") == WEIGHTS.len() && is("node", "agrees") == 1
}

fn broken(waited_for: &'static str) -> impl Fn(io::Error) -> Error {
    move |error| {
        Error::Comparison(comparison::Error::NotReady {
            label: "evenkeel".to_owned(),
            waited_for,
            said: error.to_string(),
        })
    }
}
