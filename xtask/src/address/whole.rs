//! Sets up the pair with proxies: fast requests that the proxy itself answers, and slow ones that
//! take a second at a server behind it. Evenkeel runs one file of its own language on both
//! machines; keepalived runs together with HAProxy, with the sysctl that this needs.

use super::site::{ADDRESS, AddressProgram, Node, READY_TIMEOUT, STEADY_LOOKS, Site, output};
use crate::comparison::Error;
use lab::{
    Behaviour, Failure, Lab, LabHost, OriginServer, Pace, Probe, ScratchDirectory, Watcher,
    eventually,
};
use std::net::SocketAddr;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

const HAPROXY: &str = "/usr/sbin/haproxy";
const HTTP: u16 = 80;

/// Response time of the slow server.
const SLOW: Duration = Duration::from_secs(1);

const SLOW_CLIENTS: u32 = 4;

/// Timeout of a client of the slow server.
const SLOW_TIMEOUT: Duration = Duration::from_secs(4);

/// Configuration of both proxies. NODE is the machine's name.
const PROXY: &str = "\
defaults
    mode http
    timeout connect 2s
    timeout client 10s
    timeout server 10s
frontend www
    bind 10.60.0.100:80
    http-request return status 200 content-type text/plain string \"${NODE}\" if { path /quick }
    default_backend slow
backend slow
    server origin 10.60.0.50:80
";

/// Lines for Evenkeel before those of the proxy, on both machines.
const OURS: &str = "\
node alpha
    address 10.60.0.1
node beta
    address 10.60.0.2
virtual-ip www
    address 10.60.0.100/24
    interface eth0
    prefer alpha beta
    failover 50ms
    handover-drain 2s
";

impl Site {
    /// Starts the pair, and waits until the first machine serves steadily and the second one is
    /// backup.
    pub fn whole(side: &AddressProgram, advert: &str) -> Result<Site, Error> {
        let lab = Lab::new("bench")?;
        let lan = lab.switch("lan")?;
        let client = lab.host("client")?;
        lan.attach(&client)?.address("10.60.0.9/24")?;
        let farm = lab.host("farm")?;
        lan.attach(&farm)?.address("10.60.0.50/24")?;
        let origin =
            OriginServer::start(&farm, "origin", SocketAddr::from(([10, 60, 0, 50], HTTP)))?;
        origin.set_behaviour(Behaviour::Delay(SLOW));
        let mut proxies = Vec::new();
        let mut node = |name: &str, number: u8, priority: u8| -> Result<Node, Error> {
            let host = lab.host(name)?;
            let at = lan.attach(&host)?;
            at.address(&format!("10.60.0.{number}/24"))?;
            let scratch = ScratchDirectory::new()?;
            if side.ours {
                let config = scratch.write("evenkeel.cfg", format!("{OURS}{PROXY}"))?;
                let mut command = Command::new(&side.program);
                command.args(["run", "-f"]).arg(config).env("NODE", name);
                output(&mut command, &scratch)?;
                let program = host.spawn(command)?;
                return Ok(Node::new(program, host, at, scratch));
            }
            host.sysctl("net/ipv4/ip_nonlocal_bind", "1")?;
            let config = scratch.write("haproxy.cfg", PROXY)?;
            let mut command = Command::new(HAPROXY);
            command.args(["-db", "-f"]).arg(config).env("NODE", name);
            command.stdin(Stdio::null());
            command.stdout(Stdio::null()).stderr(Stdio::null());
            proxies.push(host.spawn(command)?);
            let program = super::site::run(side, &host, &scratch, advert, priority)?;
            Ok(Node::new(program, host, at, scratch))
        };
        let (alpha, beta) = (node("alpha", 1, 200)?, node("beta", 2, 100)?);
        let mut site = Site {
            watcher: None,
            _answerers: Vec::new(),
            _proxies: proxies,
            _origin: Some(origin),
            alpha,
            beta,
            label: side.label,
            client,
            _lan: lan,
            _lab: lab,
        };
        let owns = |node: &Node| node.has_address().unwrap_or(false);
        site.watch_anew()?;
        let stands = || {
            let steady = site.watcher.as_ref().is_some_and(|watcher| {
                watcher.wait_for(Some("alpha"), STEADY_LOOKS, Duration::from_secs(2))
            });
            steady && owns(&site.alpha) && !owns(&site.beta) && listens(&site.beta.host)
        };
        if !eventually(READY_TIMEOUT, stands) {
            return Err(site.not_ready("the first machine serves, the second stands by"));
        }
        // Failures while the pair started do not count.
        site.watch_anew()?;
        site.wait_for("alpha", "the first machine serves")?;
        Ok(site)
    }

    /// Starts another client that makes new connections, without the results of the previous one.
    fn watch_anew(&mut self) -> Result<(), Error> {
        self.watcher = None;
        let service = SocketAddr::from((ADDRESS_BYTES, HTTP));
        let watcher = Watcher::asking(&self.client, service, "/quick", Pace::default())?;
        self.watcher = Some(watcher);
        Ok(())
    }

    /// Starts clients that have slow requests in progress from now on.
    pub fn slow_clients(&self) -> Slow {
        let stop = Arc::new(AtomicBool::new(false));
        let service = SocketAddr::from((ADDRESS_BYTES, HTTP));
        let clients = (0..SLOW_CLIENTS).map(|number| {
            let stop = Arc::clone(&stop);
            let mut probe = Probe::new(&self.client, service).timeout(SLOW_TIMEOUT);
            thread::spawn(move || {
                thread::sleep(SLOW / SLOW_CLIENTS * number);
                let mut outcomes = Vec::new();
                while !stop.load(Ordering::Relaxed) {
                    let begun = Instant::now();
                    let outcome = probe.get("/slow").map(|answer| answer.status);
                    outcomes.push(outcome);
                    probe.disconnect();
                    // A request that fails at once is not repeated before its time is over.
                    if !matches!(outcome, Ok(200)) {
                        thread::sleep(SLOW.saturating_sub(begun.elapsed()));
                    }
                }
                outcomes
            })
        });
        Slow {
            clients: clients.collect(),
            stop,
        }
    }
}

const ADDRESS_BYTES: [u8; 4] = [10, 60, 0, 100];

/// Returns whether a machine's proxy listens at the address.
fn listens(host: &LabHost) -> bool {
    let mut command = Command::new("ss");
    command.args(["-H", "-l", "-t", "-n"]);
    let shown = host.run(command).unwrap_or_default();
    shown.contains(&format!("{ADDRESS}:{HTTP}"))
}

#[derive(Debug)]
pub struct Slow {
    clients: Vec<JoinHandle<Vec<Result<u16, Failure>>>>,
    stop: Arc<AtomicBool>,
}

impl Slow {
    /// Waits for the requests in progress. Returns how many succeeded, and how many failed.
    pub fn end(self) -> (usize, usize) {
        self.stop.store(true, Ordering::Relaxed);
        let joined = self.clients.into_iter().map(JoinHandle::join);
        let outcomes: Vec<_> = joined.flatten().flatten().collect();
        let good = outcomes.iter().filter(|o| matches!(o, Ok(200))).count();
        (good, outcomes.len() - good)
    }
}
