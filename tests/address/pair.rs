//! Tests the two machines of a small business in 2011: proxy and virtual addresses in one program,
//! from the original files, and from one file of Evenkeel for both machines.

use crate::address::site::{Node, Running, SOON, Site};
use crate::program::binary;
use lab::{Echo, LabHost, OriginServer, Probe, ScratchDirectory, eventually, exchange};
use std::net::SocketAddr;
use std::process::Command;
use std::time::Duration;

const PROXY: &str = include_str!("address-pair-2011.cfg");
const ADDRESSES: &str = include_str!("address-pair-2011.conf");
const VIPS: [&str; 2] = ["10.60.0.150", "10.60.0.159"];

/// The servers behind the pair.
#[derive(Debug)]
struct Farm {
    _origins: Vec<OriginServer>,
    _echoes: Vec<Echo>,
    _host: LabHost,
}

impl Farm {
    fn start(site: &Site) -> Farm {
        let host = site.lab.host("farm").unwrap();
        let at = site.lan.attach(&host).unwrap();
        let (mut origins, mut echoes) = (Vec::new(), Vec::new());
        for (number, name) in [(181, "Web0"), (182, "Web1")] {
            at.address(&format!("10.60.0.{number}/24")).unwrap();
            let on = |port: u16| SocketAddr::from(([10, 60, 0, number], port));
            origins.push(OriginServer::start(&host, name, on(80)).unwrap());
            for port in [443, 35_096] {
                echoes.push(Echo::start(&host, on(port)).unwrap());
            }
        }
        Farm {
            _origins: origins,
            _echoes: echoes,
            _host: host,
        }
    }
}

/// Runs files as `evenkeel run -f … -f …` does.
fn run(node: &Node, files: &[(&str, &str)]) -> Running {
    let scratch = ScratchDirectory::new().unwrap();
    let mut command = Command::new(binary());
    command.arg("run");
    let mut last = None;
    for (name, text) in files {
        let path = scratch
            .write(name, node.fill(text, scratch.path()))
            .unwrap();
        command.arg("-f").arg(&path);
        last = Some(path);
    }
    Running::start(node, command, scratch, last.unwrap())
}

fn at(vip: &str, port: u16) -> SocketAddr {
    format!("{vip}:{port}").parse().unwrap()
}

/// Returns whether a client gets a page and both tunnels with new connections.
fn serves(site: &Site) -> bool {
    let page = |vip: &str| {
        let mut probe = Probe::new(&site.client, at(vip, 80)).timeout(Duration::from_secs(2));
        probe.get("/").is_ok_and(|answer| answer.status == 200)
    };
    let tunnel = |vip: &str| {
        let said = exchange(&site.client, at(vip, 443), b"hello", Duration::from_secs(2));
        said.is_ok_and(|said| said == b"hello")
    };
    VIPS.iter().all(|vip| page(vip) && tunnel(vip))
}

/// Powers the owner off, and checks that the other machine serves; then starts the owner again.
fn survives(site: &Site, start: impl Fn(&Node) -> Running) {
    let (alpha, beta) = (start(&site.alpha), start(&site.beta));
    for vip in VIPS {
        assert!(site.owned_by(vip, &["alpha"]), "{}", alpha.said());
    }
    let shown = || format!("alpha: {}\nbeta: {}", alpha.said(), beta.said());
    assert!(eventually(SOON, || serves(site)), "{}", shown());
    // The standby's proxy listens at addresses that its machine does not have.
    let listens = |node: &Node| {
        let mut command = Command::new("ss");
        command.args(["-H", "-l", "-t", "-n"]);
        let shown = node.host.run(command).unwrap();
        VIPS.iter().all(|vip| shown.contains(&format!("{vip}:443")))
    };
    assert!(eventually(SOON, || listens(&site.beta)), "{}", shown());
    let sysctl = "/proc/sys/net/ipv4/ip_nonlocal_bind";
    let value = site.beta.host.enter(|| std::fs::read_to_string(sysctl));
    assert_eq!(value.unwrap().trim(), "0");
    let off = site.alpha.host.power_off().unwrap();
    assert!(eventually(SOON, || serves(site)), "{}", shown());
    assert!(VIPS.iter().all(|vip| site.beta.has(vip)));
    drop((off, alpha));
    let alpha = start(&site.alpha);
    for vip in VIPS {
        assert!(site.owned_by(vip, &["alpha"]), "{}", alpha.said());
    }
    assert!(eventually(SOON, || serves(site)), "{}", alpha.said());
}

#[test]
fn the_pair_of_2011_survives_the_death_of_its_master() {
    lab::skip_unless_root!();
    let site = Site::new("pair-2011");
    let _farm = Farm::start(&site);
    survives(&site, |node| {
        let priority = if node.number == 1 { "200" } else { "100" };
        let addresses = ADDRESSES.replace("{priority}", priority);
        run(
            node,
            &[("haproxy.cfg", PROXY), ("keepalived.conf", &addresses)],
        )
    });
}

const OURS: &str = "
node alpha
\taddress 10.60.0.1
node beta
\taddress 10.60.0.2

virtual-ip public
\taddress 10.60.0.150/24
\taddress 10.60.0.159/24
\tinterface eth0
\tprefer alpha beta
\tfailover 200ms
";

#[test]
fn one_file_for_both_machines_makes_the_same_pair() {
    lab::skip_unless_root!();
    let site = Site::new("pair-ours");
    let _farm = Farm::start(&site);
    let both = format!("{PROXY}\n{OURS}");
    survives(&site, |node| run(node, &[("evenkeel.cfg", &both)]));
}

#[test]
fn machine_without_servers_yields_to_one_that_serves() {
    lab::skip_unless_root!();
    let site = Site::new("pair-health");
    let _farm = Farm::start(&site);
    let both = format!("{PROXY}\n{OURS}");
    let start = |node: &Node| run(node, &[("evenkeel.cfg", &both)]);
    let (alpha, beta) = (start(&site.alpha), start(&site.beta));
    assert!(site.owned_by(VIPS[0], &["alpha"]), "{}", alpha.said());
    assert!(eventually(SOON, || serves(&site)), "{}", alpha.said());
    // The link from alpha to the servers is cut; adverts and the client still pass.
    let servers = ["10.60.0.181", "10.60.0.182"].map(|server| {
        let filter = lab::PacketFilter::all().remote(server.parse().unwrap());
        site.alpha.host.block(&filter).unwrap()
    });
    for vip in VIPS {
        assert!(
            site.owned_by(vip, &["beta"]),
            "{}\n{}",
            alpha.said(),
            beta.said()
        );
    }
    assert!(eventually(SOON, || serves(&site)), "{}", beta.said());
    drop(servers);
    for vip in VIPS {
        assert!(site.owned_by(vip, &["alpha"]), "{}", alpha.said());
    }
    // If both machines are equally unhealthy, the owner keeps the address: a move would gain
    // nothing.
    let all = site.nodes().map(|node| {
        ["10.60.0.181", "10.60.0.182"].map(|server| {
            let filter = lab::PacketFilter::all().remote(server.parse().unwrap());
            node.host.block(&filter).unwrap()
        })
    });
    lab::sleep_in_test(Duration::from_secs(8), "checks fail and nothing moves");
    assert_eq!(site.owners(VIPS[0]), ["alpha"], "{}", alpha.said());
    drop(all);
}
