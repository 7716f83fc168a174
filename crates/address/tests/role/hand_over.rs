//! Tests hand-overs of an address between nodes under load: a client opens a new connection every
//! few milliseconds, and each request takes half a second. No client may see a failure.

use crate::scene::{AddressRoleFixture, LATEST, Scene, VIP, address, config, instance, patient};
use address::config::{Config, Dialect, InstanceTransport};
use lab::{LabHost, Signal, eventually};
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

/// Duration of a slow request. The drain is longer by the delay of a busy machine.
const SLOW: Duration = Duration::from_millis(500);
const DRAIN: Duration = Duration::from_secs(8);
const VIP6: &str = "fd00::100";

#[derive(Clone, Copy, PartialEq)]
enum Family {
    Four,
    Six,
}

impl Family {
    fn vip(self) -> &'static str {
        match self {
            Family::Four => VIP,
            Family::Six => VIP6,
        }
    }

    fn at(self) -> SocketAddr {
        SocketAddr::new(self.vip().parse().unwrap(), 80)
    }
}

/// Returns a configuration in Evenkeel's own dialect.
fn own(family: Family, priority: u8) -> Config {
    let mut one = instance("www", 51, priority);
    one.options.handover_drain = DRAIN;
    if family == Family::Six {
        one.ipv6 = true;
        one.transport = InstanceTransport::Multicast {
            group: "ff02::12".parse().unwrap(),
        };
        one.addresses = vec![address("fd00::100/64")];
    }
    let mut config = config(vec![one]);
    config.dialect = Dialect::Own;
    config
}

/// Starts a server that returns its name to each request: `q` at once, `s` after a delay.
fn serve(host: &LabHost, name: &'static str) {
    let listener = host.tcp_listen("[::]:80".parse().unwrap()).unwrap();
    thread::spawn(move || {
        while let Ok((stream, _)) = listener.accept() {
            thread::spawn(move || answer(stream, name));
        }
    });
}

fn answer(mut stream: TcpStream, name: &str) {
    let mut kind = [0];
    while stream.read(&mut kind).is_ok_and(|n| n > 0) {
        if kind == *b"s" {
            lab::sleep_in_test(SLOW, "a slow response");
        }
        if stream.write_all(format!("{name}\n").as_bytes()).is_err() {
            return;
        }
    }
}

fn ask(stream: &mut TcpStream, kind: &[u8]) -> io::Result<String> {
    stream.set_read_timeout(Some(LATEST))?;
    stream.write_all(kind)?;
    let mut said = Vec::new();
    while said.last() != Some(&b'\n') {
        let mut byte = [0];
        if stream.read(&mut byte)? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        said.extend(byte);
    }
    said.pop();
    Ok(String::from_utf8_lossy(&said).into_owned())
}

/// Connects until `name` responds. The previous owner serves new connections until the client has
/// learned of the new one; no connection may fail.
fn reach(scene: &Scene, family: Family, name: &str) -> TcpStream {
    let mut reached = None;
    let answers = || {
        let mut stream = scene.client.tcp_connect(family.at(), LATEST).unwrap();
        let is_it = ask(&mut stream, b"q").unwrap() == name;
        reached = is_it.then_some(stream);
        is_it
    };
    assert!(eventually(LATEST, answers), "{name} answers no connection");
    reached.unwrap()
}

#[derive(Default)]
struct ClientResults {
    answers: Vec<String>,
    failures: Vec<String>,
}

fn crowd(scene: &Scene, family: Family, during: impl FnOnce()) -> ClientResults {
    let seen = Mutex::new(ClientResults::default());
    let over = AtomicBool::new(false);
    let client = |kind: &[u8], pause: Duration| {
        while !over.load(Ordering::Relaxed) {
            let asked = TcpStream::connect_timeout(&family.at(), LATEST)
                .and_then(|mut stream| ask(&mut stream, kind));
            let mut seen = seen.lock().unwrap();
            match asked {
                Ok(who) => seen.answers.push(who),
                Err(error) => seen.failures.push(format!("{kind:?}: {error}")),
            }
            drop(seen);
            thread::sleep(pause);
        }
    };
    thread::scope(|scope| {
        scope.spawn(|| {
            scene
                .client
                .enter(|| client(b"q", Duration::from_millis(5)))
        });
        for place in 0..8 {
            scope.spawn(move || {
                lab::sleep_in_test(SLOW / 8 * place, "requests begin at different times");
                scene.client.enter(|| client(b"s", Duration::ZERO));
            });
        }
        // A client that deletes its neighbour entries asks again at every moment of the hand-over.
        // Entries that are being resolved are kept, because a deletion makes the kernel report
        // EHOSTUNREACH to waiting connections.
        const KNOWN: [&str; 11] = [
            "neigh",
            "flush",
            "all",
            "nud",
            "reachable",
            "nud",
            "stale",
            "nud",
            "delay",
            "nud",
            "probe",
        ];
        scope.spawn(|| {
            while !over.load(Ordering::Relaxed) {
                let _ = scene.client.ip(&KNOWN);
                thread::sleep(Duration::from_millis(20));
            }
        });
        let done = std::panic::catch_unwind(std::panic::AssertUnwindSafe(during));
        over.store(true, Ordering::Relaxed);
        if let Err(panic) = done {
            std::panic::resume_unwind(panic);
        }
    });
    seen.into_inner().unwrap()
}

/// Starts `alpha` as the owner and `beta` as the backup.
fn pair(name: &str, family: Family) -> (Scene, AddressRoleFixture, AddressRoleFixture) {
    let scene = begin(name);
    let alpha = scene.role(&scene.alpha, &own(family, 150));
    let beta = scene.role(&scene.beta, &own(family, 100));
    assert!(
        scene.comes_to(&scene.alpha, family.vip()),
        "{}",
        alpha.said().join("\n")
    );
    assert!(eventually(LATEST, || beta.state("www") == "BACKUP"));
    (scene, alpha, beta)
}

fn begin(name: &str) -> Scene {
    let scene = Scene::new(name);
    serve(&scene.alpha, "alpha");
    serve(&scene.beta, "beta");
    scene
}

/// Moves the address while clients send requests. No request fails, both nodes respond, and an
/// earlier connection continues for the drain and ends with it.
fn moves(
    scene: &Scene,
    family: Family,
    old: &LabHost,
    old_role: &AddressRoleFixture,
    new: &LabHost,
    new_role: &str,
    order: impl FnOnce() -> Option<AddressRoleFixture>,
) -> Option<AddressRoleFixture> {
    let mut idle = scene.client.tcp_connect(family.at(), LATEST).unwrap();
    assert_eq!(ask(&mut idle, b"q").unwrap(), old.name());
    let mut started = None;
    let seen = crowd(scene, family, || {
        lab::sleep_in_test(SLOW, "slow requests are under way");
        started = order();
        old_role.wait_for("connections may finish");
        assert!(scene.has(old, family.vip()), "it is still here");
        assert!(scene.has(new, family.vip()));
        assert_eq!(ask(&mut idle, b"s").unwrap(), old.name());
        assert!(
            scene.leaves(old, family.vip()),
            "{}",
            old_role.said().join("\n")
        );
        lab::sleep_in_test(SLOW * 2, "slow requests end");
    });
    let count = |name: &str| seen.answers.iter().filter(|who| *who == name).count();
    let failures = &seen.failures;
    assert!(
        failures.is_empty(),
        "{failures:?}\n{}",
        old_role.said().join("\n")
    );
    assert!(count(old.name()) > 10 && count(new_role) > 10);
    assert!(ask(&mut idle, b"q").is_err(), "it is older than the drain");
    for host in [old, new] {
        let tables = host.run(nft()).unwrap();
        assert!(!tables.contains("evenkeel-"), "{tables}");
    }
    started
}

fn nft() -> std::process::Command {
    let mut command = std::process::Command::new("nft");
    command.args(["list", "tables"]);
    command
}

fn by_order(name: &str, family: Family) {
    let (scene, alpha, beta) = pair(name, family);
    let order = || {
        alpha.order("hand-over www");
        None
    };
    moves(
        &scene,
        family,
        &scene.alpha,
        &alpha,
        &scene.beta,
        "beta",
        order,
    );
    assert_eq!(beta.state("www"), "MASTER");
    assert_eq!(alpha.state("www"), "BACKUP");
}

fn by_stop(name: &str, family: Family) {
    let (scene, alpha, beta) = pair(name, family);
    let order = || {
        alpha.order("stop");
        None
    };
    moves(
        &scene,
        family,
        &scene.alpha,
        &alpha,
        &scene.beta,
        "beta",
        order,
    );
    alpha.wait_for("stopped");
    assert_eq!(beta.state("www"), "MASTER");
}

fn by_return(name: &str, family: Family) {
    let scene = begin(name);
    let beta = scene.role(&scene.beta, &own(family, 100));
    assert!(scene.comes_to(&scene.beta, family.vip()));
    let order = || Some(scene.role(&scene.alpha, &own(family, 150)));
    let alpha = moves(
        &scene,
        family,
        &scene.beta,
        &beta,
        &scene.alpha,
        "alpha",
        order,
    );
    assert_eq!(alpha.unwrap().state("www"), "MASTER");
}

#[test]
fn nobody_notices_that_an_operator_hands_an_address_over() {
    lab::skip_unless_root!();
    lab::skip_unless_installed!("nft");
    by_order("over-order", Family::Four);
}

#[test]
fn nobody_notices_that_an_operator_hands_an_address_of_ipv6_over() {
    lab::skip_unless_root!();
    lab::skip_unless_installed!("nft");
    by_order("over-order-6", Family::Six);
}

#[test]
fn nobody_notices_a_planned_stop() {
    lab::skip_unless_root!();
    lab::skip_unless_installed!("nft");
    by_stop("over-stop", Family::Four);
}

#[test]
fn nobody_notices_a_planned_stop_with_an_address_of_ipv6() {
    lab::skip_unless_root!();
    lab::skip_unless_installed!("nft");
    by_stop("over-stop-6", Family::Six);
}

fn without() -> Config {
    let mut other = instance("other", 52, 150);
    other.addresses = vec![address("10.0.0.102/24")];
    let mut config = config(vec![other]);
    config.dialect = Dialect::Own;
    config
}

#[test]
fn nobody_notices_a_reload_that_removes_the_address() {
    lab::skip_unless_root!();
    lab::skip_unless_installed!("nft");
    let (scene, alpha, beta) = pair("over-reload", Family::Four);
    let order = || {
        let config = String::from_utf8(without().encode()).unwrap();
        alpha.order(&format!("take {config}"));
        None
    };
    moves(
        &scene,
        Family::Four,
        &scene.alpha,
        &alpha,
        &scene.beta,
        "beta",
        order,
    );
    alpha.wait_for("taken");
    assert_eq!(beta.state("www"), "MASTER");
    assert!(scene.comes_to(&scene.alpha, "10.0.0.102"));
}

#[test]
fn a_reload_that_removes_an_address_which_no_other_node_takes_waits_for_none() {
    lab::skip_unless_root!();
    let scene = begin("over-reload-alone");
    let alpha = scene.role(&scene.alpha, &own(Family::Four, 150));
    assert!(scene.comes_to(&scene.alpha, VIP));
    alpha.take(&without());
    assert!(!scene.has(&scene.alpha, VIP));
    assert!(alpha.says("(www) hand-over: no other node took over the addresses"));
    assert!(scene.comes_to(&scene.alpha, "10.0.0.102"));
    // A stop does not wait for a configuration that is still being applied.
    alpha.take(&own(Family::Four, 150));
    assert!(scene.comes_to(&scene.alpha, VIP));
    let config = String::from_utf8(without().encode()).unwrap();
    alpha.order(&format!("take {config}"));
    alpha.order("stop");
    alpha.wait_for("stopped");
    assert!(scene.leaves(&scene.alpha, VIP));
}

#[test]
fn nobody_notices_that_a_better_node_comes_back() {
    lab::skip_unless_root!();
    lab::skip_unless_installed!("nft");
    by_return("over-return", Family::Four);
}

#[test]
fn nobody_notices_that_a_better_node_comes_back_to_an_address_of_ipv6() {
    lab::skip_unless_root!();
    lab::skip_unless_installed!("nft");
    by_return("over-return-6", Family::Six);
}

/// Moves the address to the other node, back, and there again within one drain: each connection
/// continues on the node where it began.
fn back_and_forth(name: &str, family: Family) {
    let scene = begin(name);
    let long = |priority| {
        let mut config = own(family, priority);
        config.instances[0].options.handover_drain = LATEST * 20;
        config
    };
    let alpha = scene.role(&scene.alpha, &long(150));
    assert!(scene.comes_to(&scene.alpha, family.vip()));
    let beta = scene.role(&scene.beta, &long(100));
    assert!(eventually(LATEST, || beta.state("www") == "BACKUP"));
    let mut open: Vec<(TcpStream, &str)> = Vec::new();
    let mut roles = [("alpha", &alpha), ("beta", &beta)];
    for _ in 0..4 {
        let [(old, owner), (_, next)] = roles;
        let fresh = scene.client.tcp_connect(family.at(), LATEST).unwrap();
        open.push((fresh, old));
        for (stream, of) in &mut open {
            let who = ask(stream, b"q");
            assert_eq!(who.unwrap(), *of, "{:?} {:?}", alpha.said(), beta.said());
        }
        let before = next.count("existing connections continue");
        owner.order("hand-over www");
        assert!(eventually(LATEST, || next.state("www") == "MASTER"));
        assert!(eventually(LATEST, || owner.state("www") == "BACKUP"));
        assert_eq!(next.count("existing connections continue"), before + 1);
        roles.reverse();
    }
    for (stream, of) in &mut open {
        assert_eq!(ask(stream, b"q").unwrap(), *of);
    }
}

#[test]
fn connections_of_both_nodes_go_on_when_the_address_comes_back_within_the_drain() {
    lab::skip_unless_root!();
    back_and_forth("over-back", Family::Four);
}

#[test]
fn connections_of_ipv6_go_on_when_the_address_comes_back_within_the_drain() {
    lab::skip_unless_root!();
    back_and_forth("over-back-6", Family::Six);
}

#[test]
fn a_planned_stop_with_nobody_else_there_is_not_delayed_by_the_drain() {
    lab::skip_unless_root!();
    let scene = Scene::new("over-alone");
    let mut alone = own(Family::Four, 150);
    alone.instances[0].options.handover_drain = LATEST * 20;
    let alpha = scene.role(&scene.alpha, &alone);
    assert!(scene.comes_to(&scene.alpha, VIP));
    alpha.order("stop");
    alpha.wait_for("stopped");
    assert!(alpha.says("no other node took over the addresses"));
    assert!(!scene.has(&scene.alpha, VIP));
}

#[test]
fn a_hand_over_outlives_the_roles_of_both_machines_and_ends_with_its_drain() {
    lab::skip_unless_root!();
    lab::skip_unless_installed!("nft");
    let scene = begin("over-killed");
    let long = |priority| {
        let mut config = own(Family::Four, priority);
        config.instances[0].options.handover_drain = LATEST * 20;
        patient(config)
    };
    let alpha = scene.role(&scene.alpha, &long(150));
    assert!(scene.comes_to(&scene.alpha, VIP));
    let beta = scene.role(&scene.beta, &long(100));
    assert!(eventually(LATEST, || beta.state("www") == "BACKUP"));
    let mut open = scene.client.tcp_connect(Family::Four.at(), LATEST).unwrap();
    assert_eq!(ask(&mut open, b"q").unwrap(), "alpha");
    alpha.order("hand-over www");
    alpha.wait_for("connections may finish");
    beta.wait_for("existing connections continue at 10.0.0.1");
    assert_eq!(ask(&mut open, b"q").unwrap(), "alpha");
    let has_tables = |host: &LabHost| host.run(nft()).unwrap().contains("evenkeel-");
    let kill = |role: &AddressRoleFixture| {
        role.process.signal(Signal::KILL).unwrap();
        role.process.wait(LATEST).unwrap();
    };
    kill(&alpha);
    kill(&beta);
    let alpha = scene.role(&scene.alpha, &long(150));
    let beta = scene.role(&scene.beta, &long(100));
    assert!(eventually(LATEST, || beta.state("www") == "MASTER"));
    assert!(eventually(LATEST, || alpha.state("www") == "BACKUP"));
    assert!(scene.has(&scene.alpha, VIP) && has_tables(&scene.alpha) && has_tables(&scene.beta));
    assert_eq!(ask(&mut open, b"q").unwrap(), "alpha");
    let mut new = scene.client.tcp_connect(Family::Four.at(), LATEST).unwrap();
    assert_eq!(ask(&mut new, b"q").unwrap(), "beta");
    // The next instances have a shorter drain, so what is left of the hand-over is removed. Alpha
    // does not take over the address again.
    kill(&alpha);
    kill(&beta);
    let _beta = scene.role(&scene.beta, &own(Family::Four, 100));
    let _alpha = scene.role(&scene.alpha, &own(Family::Four, 50));
    assert!(scene.leaves(&scene.alpha, VIP));
    assert!(eventually(LATEST, || !has_tables(&scene.alpha)));
    assert!(eventually(LATEST, || !has_tables(&scene.beta)));
}

#[test]
fn connections_go_on_where_they_began_when_an_address_goes_with_its_lease() {
    lab::skip_unless_root!();
    let scene = begin("over-lease");
    let bound = |priority| {
        let mut config = own(Family::Four, priority);
        config.instances[0].options.lease = true;
        config.instances[0].options.handover_drain = LATEST * 20;
        config
    };
    let hold = "hold address/www 4611686018427387904";
    let alpha = scene.role(&scene.alpha, &bound(150));
    let beta = scene.role(&scene.beta, &bound(100));
    let wants = "WantsLeases([WantedLease { name: \"address/www\", rank: 150 }])";
    alpha.wait_for(wants);
    beta.wait_for("rank: 100");
    alpha.order(hold);
    assert!(eventually(LATEST, || alpha.state("www") == "MASTER"));
    let mut first = reach(&scene, Family::Four, "alpha");
    // Another machine has a higher rank for the lease.
    alpha.order("hand-over-lease address/www");
    alpha.wait_for("connections may finish");
    alpha.order("hold");
    beta.order(hold);
    beta.wait_for("existing connections continue at 10.0.0.1");
    assert_eq!(ask(&mut first, b"q").unwrap(), "alpha");
    let mut second = reach(&scene, Family::Four, "beta");
    // Alpha requests the lease again, and the other role is stopped.
    let wanted = || alpha.count(wants) == 2;
    assert!(eventually(LATEST * 10, wanted), "{:?}", alpha.said());
    beta.order("stop");
    beta.wait_for("connections may finish");
    beta.wait_for("WantsLeases([])");
    // No node owns the address: both still have their connections.
    assert_eq!(ask(&mut first, b"q").unwrap(), "alpha");
    assert_eq!(ask(&mut second, b"q").unwrap(), "beta");
    // A new grant ends later than the released one.
    alpha.order("hold address/www 4611686018427387905");
    alpha.wait_for("existing connections continue at 10.0.0.2");
    assert_eq!(ask(&mut first, b"q").unwrap(), "alpha");
    assert_eq!(ask(&mut second, b"q").unwrap(), "beta");
    reach(&scene, Family::Four, "alpha");
}

#[test]
fn a_preempted_keepalived_dialect_gives_the_address_up_at_once_and_makes_no_tables() {
    lab::skip_unless_root!();
    lab::skip_unless_installed!("nft");
    let scene = Scene::new("over-dialect");
    let as_keepalived = |priority| {
        let mut config = own(Family::Four, priority);
        config.dialect = Dialect::Keepalived;
        config
    };
    let beta = scene.role(&scene.beta, &as_keepalived(100));
    assert!(scene.comes_to(&scene.beta, VIP));
    let alpha = scene.role(&scene.alpha, &as_keepalived(150));
    assert!(scene.comes_to(&scene.alpha, VIP));
    assert!(scene.leaves(&scene.beta, VIP));
    for (host, role) in [(&scene.alpha, &alpha), (&scene.beta, &beta)] {
        assert!(!host.run(nft()).unwrap().contains("evenkeel-"));
        assert!(!role.says("connections"), "{}", role.said().join("\n"));
    }
}
