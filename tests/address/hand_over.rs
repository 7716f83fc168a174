//! Tests planned hand-overs with the whole program: proxy and virtual address of both machines from
//! one file. Requests in progress complete, and no new connection fails.

use crate::address::site::{Node, Running, SOON, Site};
use crate::program::binary;
use lab::{
    Behaviour, Failure, OriginServer, Pace, Probe, ScratchDirectory, Signal, Watcher, eventually,
};
use std::net::SocketAddr;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

const VIP: &str = "10.60.0.100";

/// Duration of a slow request: well within the drain, also on a busy machine.
const SLOW: Duration = Duration::from_secs(1);
const SLOW_CLIENTS: u32 = 4;

/// Pace of new connections: often enough to meet every moment of a move, with a long timeout,
/// because a busy machine is no failure.
const PACE: Pace = Pace {
    every: Duration::from_millis(10),
    patience: Duration::from_secs(20),
};

/// Number of polls after which a machine counts as serving steadily.
const STEADY_LOOKS: usize = 50;

const BOTH: &str = "
node alpha
    address 10.60.0.1
node beta
    address 10.60.0.2

virtual-ip www
    address 10.60.0.100/24
    interface eth0
    prefer alpha beta
    failover 1s
    handover-drain 6s

defaults
    mode http
    timeout connect 10s
    timeout client 30s
    timeout server 30s

frontend www
    bind 10.60.0.100:80
    http-request return status 200 content-type text/plain string \"${NODE}\" if { path /quick }
    default_backend slow

backend slow
    server origin 10.60.0.50:80
";

/// Two machines with the same file, and a server behind them that responds late.
struct Pair {
    alpha: Running,
    beta: Running,
    origin: OriginServer,
    site: Site,
}

fn run(node: &Node) -> Running {
    let scratch = ScratchDirectory::new().unwrap();
    let config = scratch.write("evenkeel.cfg", BOTH).unwrap();
    let mut command = Command::new(binary());
    command.args(["run", "-f"]).arg(&config);
    command.env("NODE", node.name());
    Running::start(node, command, scratch, config)
}

fn service() -> SocketAddr {
    format!("{VIP}:80").parse().unwrap()
}

impl Pair {
    /// Starts both machines: `alpha` serves, and `beta` is backup.
    fn start(name: &str) -> Pair {
        let site = Site::new(name);
        let farm = site.lab.host("farm").unwrap();
        let at = site.lan.attach(&farm).unwrap();
        at.address("10.60.0.50/24").unwrap();
        let address = SocketAddr::from(([10, 60, 0, 50], 80));
        let origin = OriginServer::start(&farm, "origin", address).unwrap();
        origin.set_behaviour(Behaviour::Delay(SLOW));
        let alpha = run(&site.alpha);
        assert!(site.owned_by(VIP, &["alpha"]), "{}", alpha.said());
        let beta = run(&site.beta);
        assert!(beta.says("Entering BACKUP STATE", 1), "{}", beta.said());
        let listens = || {
            let mut ss = Command::new("ss");
            ss.args(["-H", "-l", "-t", "-n"]);
            let shown = site.beta.host.run(ss).unwrap();
            shown.contains(&format!("{VIP}:80"))
        };
        assert!(eventually(SOON, listens), "{}", beta.said());
        // Waits until the proxy of beta counts as healthy: no address is handed over to an
        // unhealthy one.
        let is_well = || {
            let mut address = Command::new(binary());
            let pid = beta.process.pid().to_string();
            address.args(["address", "--pid", &pid]);
            let shown = site.beta.host.run(address);
            shown.is_ok_and(|shown| shown.contains("all frontends are available"))
        };
        assert!(eventually(SOON, is_well), "{}", beta.said());
        Pair {
            alpha,
            beta,
            origin,
            site,
        }
    }

    fn said(&self) -> String {
        format!("alpha: {}\nbeta: {}", self.alpha.said(), self.beta.said())
    }

    /// Moves the address from `alpha` to `beta` while clients send requests.
    fn moves(&self, order: impl FnOnce() -> Result<(), lab::LabError>) {
        let watcher = Watcher::asking(&self.site.client, service(), "/quick", PACE).unwrap();
        let serves = |who| watcher.wait_for(Some(who), STEADY_LOOKS, SOON);
        assert!(serves("alpha"), "{}\n{}", watcher.results(), self.said());
        let over = AtomicBool::new(false);
        let (over, site) = (&over, &self.site);
        let outcomes = thread::scope(|scope| {
            let clients = (0..SLOW_CLIENTS).map(|number| {
                scope.spawn(move || {
                    lab::sleep_in_test(
                        SLOW / SLOW_CLIENTS * number,
                        "requests begin at different times",
                    );
                    slow_requests(site, over)
                })
            });
            let kept_alive = scope.spawn(move || kept_alive_requests(site, over));
            let clients: Vec<_> = clients.chain([kept_alive]).collect();
            // Nothing may panic in the scope before the clients are stopped: the scope would wait
            // for them forever.
            let asked = eventually(SOON, || {
                self.origin.request_count() > u64::from(SLOW_CLIENTS)
            });
            let under_way = self.origin.request_count();
            let ordered = order();
            let taken = serves("beta");
            let gone = eventually(SOON, || !site.alpha.has(VIP));
            let again = serves("beta");
            over.store(true, Ordering::Relaxed);
            let joined = clients.into_iter().map(|client| client.join().unwrap());
            let outcomes: Vec<_> = joined.flatten().collect();
            assert!(ordered.is_ok(), "{ordered:?}");
            assert!(asked && taken && gone && again, "{}", self.said());
            assert!(outcomes.len() as u64 >= under_way, "{outcomes:?}");
            outcomes
        });
        let good = |outcome: &Result<u16, Failure>| *outcome == Ok(200);
        assert!(outcomes.iter().all(good), "{outcomes:?}\n{}", self.said());
        let seen = watcher.stop();
        assert!(seen.misses().is_empty(), "{seen}\n{}", self.said());
        let turns = seen.responder_changes();
        let turns: Vec<&str> = turns.iter().map(|(_, who)| &**who).collect();
        // A proxy of `alpha` that was suspended with its machine was unhealthy meanwhile: the
        // address moved away and back by itself, and no request failed.
        if self.alpha.said().contains("all frontends are available") {
            assert_eq!(turns.last(), Some(&"beta"), "{seen}\n{}", self.said())
        } else {
            assert_eq!(turns, ["alpha", "beta"], "{seen}\n{}", self.said())
        }
        assert_eq!(site.owners(VIP), ["beta"]);
    }
}

/// Sends slow requests one after the other, each over its own connection, until `over` is set.
fn slow_requests(site: &Site, over: &AtomicBool) -> Vec<Result<u16, Failure>> {
    let mut outcomes = Vec::new();
    let mut probe = Probe::new(&site.client, service()).timeout(SOON);
    while !over.load(Ordering::Relaxed) {
        outcomes.push(probe.get("/slow").map(|answer| answer.status));
        probe.disconnect();
    }
    outcomes
}

/// Sends quick requests over one connection until `over` is set.
fn kept_alive_requests(site: &Site, over: &AtomicBool) -> Vec<Result<u16, Failure>> {
    let mut outcomes = Vec::new();
    let mut probe = Probe::new(&site.client, service()).timeout(SOON);
    while !over.load(Ordering::Relaxed) {
        outcomes.push(probe.get("/quick").map(|answer| answer.status));
        lab::sleep_in_test(PACE.every, "the pace of requests");
    }
    outcomes
}

#[test]
fn hand_over_by_an_operator_fails_no_request() {
    lab::skip_unless_root!();
    lab::skip_unless_installed!("nft");
    let pair = Pair::start("whole-order");
    pair.moves(|| {
        let mut command = Command::new(binary());
        command
            .args(["address", "--pid"])
            .arg(pair.alpha.process.pid().to_string())
            .args(["hand-over", "www"]);
        pair.site.alpha.host.run(command).map(drop)
    });
    assert!(pair.alpha.process.exit().is_none(), "{}", pair.said());
}

#[test]
fn stop_of_the_owner_fails_no_request() {
    lab::skip_unless_root!();
    lab::skip_unless_installed!("nft");
    let pair = Pair::start("whole-stop");
    pair.moves(|| pair.alpha.process.signal(Signal::TERM));
    let exit = pair.alpha.process.wait(SOON);
    assert!(exit.is_some(), "{}", pair.said());
}

#[test]
fn a_soft_stop_without_another_node_keeps_the_address_until_requests_have_finished() {
    lab::skip_unless_root!();
    lab::skip_unless_installed!("nft");
    let pair = Pair::start("whole-alone");
    pair.beta.stop();
    // The response takes longer than other nodes are waited for.
    pair.origin.set_behaviour(Behaviour::Delay(SLOW * 5));
    let before = pair.origin.request_count();
    let outcome = thread::scope(|scope| {
        let request = scope.spawn(|| {
            let mut probe = Probe::new(&pair.site.client, service()).timeout(SOON);
            probe.get("/slow").map(|answer| answer.status)
        });
        let asked = eventually(SOON, || pair.origin.request_count() > before);
        let told = pair.alpha.process.signal(Signal::USR1);
        let outcome = request.join().unwrap();
        assert!(asked && told.is_ok(), "{told:?}");
        outcome
    });
    assert_eq!(outcome, Ok(200), "{}", pair.said());
    let exit = pair.alpha.process.wait(SOON);
    assert!(exit.is_some(), "{}", pair.said());
    assert!(!pair.site.alpha.has(VIP), "{}", pair.said());
}

#[test]
fn reload_that_removes_the_address_fails_no_request() {
    lab::skip_unless_root!();
    lab::skip_unless_installed!("nft");
    let pair = Pair::start("whole-reload");
    let without = BOTH.find("virtual-ip").zip(BOTH.find("defaults"));
    let (begins, ends) = without.unwrap();
    let without = format!("{}{}", &BOTH[..begins], &BOTH[ends..]);
    pair.moves(|| {
        std::fs::write(pair.alpha.config(), without).unwrap();
        let mut command = Command::new(binary());
        command
            .args(["reload", "--pid"])
            .arg(pair.alpha.process.pid().to_string());
        pair.site.alpha.host.run(command).map(drop)
    });
    assert!(pair.alpha.process.exit().is_none(), "{}", pair.said());
}
