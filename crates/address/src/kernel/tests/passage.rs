//! What is quiet, and what is passed on.

use super::super::{Passage, Passes, Quiet};
use lab::{Host, Lab};
use std::io::{Read, Write};
use std::net::{IpAddr, TcpStream};
use std::time::Duration;

const PATIENCE: Duration = Duration::from_secs(10);

struct Scene {
    _lab: Lab,
    old: Host,
    new: Host,
    client: Host,
}

/// `old` has the address, and `new` is to get it.
fn scene(name: &str) -> Scene {
    let lab = Lab::new(name).unwrap();
    let switch = lab.switch("lan").unwrap();
    let [old, new, client] = ["old", "new", "client"].map(|n| lab.host(n).unwrap());
    for (host, last) in [(&old, 1), (&new, 2), (&client, 9)] {
        host.sysctl("net/ipv6/conf/default/accept_dad", "0")
            .unwrap();
        let port = switch.attach(host).unwrap();
        port.address(&format!("10.0.0.{last}/24")).unwrap();
        host.ip(&[
            "address",
            "add",
            &format!("fd00::{last}/64"),
            "dev",
            "eth0",
            "nodad",
        ])
        .unwrap();
    }
    for vip in ["10.0.0.100/24", "fd00::100/64"] {
        old.ip(&["address", "add", vip, "dev", "eth0", "nodad"])
            .unwrap();
    }
    Scene {
        _lab: lab,
        old,
        new,
        client,
    }
}

fn index(host: &Host) -> u32 {
    let shown = host.ip(&["-o", "link", "show", "eth0"]).unwrap();
    shown.split(':').next().unwrap().parse().unwrap()
}

/// The MAC of an interface, or of a neighbour.
fn mac_in(shown: &str, behind: &str) -> Option<String> {
    let mut words = shown.split_whitespace();
    words.find(|w| *w == behind)?;
    words.next().map(str::to_owned)
}

fn mac(host: &Host) -> String {
    let shown = host.ip(&["-o", "link", "show", "eth0"]).unwrap();
    mac_in(&shown, "link/ether").unwrap()
}

/// Says each line that comes back.
fn serve(host: &Host, at: &str, word: &'static str) {
    let listener = host.tcp_listen(at.parse().unwrap()).unwrap();
    std::thread::spawn(move || {
        while let Ok((mut stream, _)) = listener.accept() {
            std::thread::spawn(move || {
                let mut buffer = [0; 64];
                while stream.read(&mut buffer).is_ok_and(|n| n > 0) {
                    if stream.write_all(word.as_bytes()).is_err() {
                        return;
                    }
                }
            });
        }
    });
}

fn ask(stream: &mut TcpStream) -> std::io::Result<String> {
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.write_all(b"who?")?;
    let mut buffer = [0; 64];
    let length = stream.read(&mut buffer)?;
    Ok(String::from_utf8_lossy(&buffer[..length]).into_owned())
}

/// What the old owner does, and what the new one does.
fn both_ends(scene: &Scene, address: IpAddr, own: IpAddr) -> (Passage, Passage) {
    let quiet = Passage {
        table: Passage::name("test"),
        quiet: vec![Quiet {
            address,
            instead: Some(own),
        }],
        passes: Vec::new(),
    };
    let passes = Passage {
        table: Passage::name("test"),
        quiet: Vec::new(),
        passes: vec![Passes {
            address,
            to: own,
            by: index(&scene.new),
        }],
    };
    (quiet, passes)
}

/// Hands the address over by hand, and asks on the old connection, on a new one, and
/// on the old one when nothing is passed on any more.
fn hand_over(name: &str, vip: &str, old_own: &str) {
    let scene = scene(name);
    let address: IpAddr = vip.parse().unwrap();
    let own: IpAddr = old_own.parse().unwrap();
    let any = if address.is_ipv6() {
        "[::]:80"
    } else {
        "0.0.0.0:80"
    };
    serve(&scene.old, any, "old");
    serve(&scene.new, any, "new");
    let at = std::net::SocketAddr::new(address, 80);
    let mut before = scene.client.tcp_connect(at, PATIENCE).unwrap();
    assert_eq!(ask(&mut before).unwrap(), "old");
    let (quiet, passes) = both_ends(&scene, address, own);
    // What another process has left is replaced.
    scene.new.enter(|| passes.apply().unwrap());
    scene.new.enter(|| passes.apply().unwrap());
    let prefix = if address.is_ipv6() { 64 } else { 24 };
    let whole = format!("{vip}/{prefix}");
    scene
        .new
        .ip(&["address", "add", &whole, "dev", "eth0", "nodad"])
        .unwrap();
    scene.old.enter(|| quiet.apply().unwrap());
    // All know that they know nothing: who asks is answered by the new one alone.
    for host in [&scene.client, &scene.old] {
        host.ip(&["neigh", "flush", "all"]).unwrap();
    }
    let known = || scene.client.ip(&["neigh", "show", vip]).unwrap();
    for _ in 0..5 {
        scene.client.ip(&["neigh", "flush", "all"]).unwrap();
        let mut fresh = scene.client.tcp_connect(at, PATIENCE).unwrap();
        assert_eq!(ask(&mut fresh).unwrap(), "new");
        assert_eq!(mac_in(&known(), "lladdr"), Some(mac(&scene.new)));
    }
    // The old owner has forgotten the client, and answers: it asks under its own name.
    scene.old.ip(&["neigh", "flush", "all"]).unwrap();
    for _ in 0..3 {
        assert_eq!(ask(&mut before).unwrap(), "old");
    }
    assert_eq!(mac_in(&known(), "lladdr"), Some(mac(&scene.new)));
    let mut after = scene.client.tcp_connect(at, PATIENCE).unwrap();
    assert_eq!(ask(&mut after).unwrap(), "new");
    assert_eq!(ask(&mut before).unwrap(), "old");
    // The end: what was passed on is nobody's any more, what is new goes on.
    scene.new.enter(|| passes.undo().unwrap());
    assert!(ask(&mut before).is_err());
    assert_eq!(ask(&mut after).unwrap(), "new");
    scene
        .old
        .ip(&["address", "delete", &whole, "dev", "eth0"])
        .unwrap();
    assert!(scene.old.enter(|| Passage::remove(&quiet.table).unwrap()));
    assert!(!scene.old.enter(|| Passage::remove(&quiet.table).unwrap()));
    scene.new.enter(|| passes.undo().unwrap());
}

#[test]
fn connections_of_before_go_on_at_the_old_owner_and_new_ones_are_the_new_owners() {
    lab::skip_unless_root!();
    hand_over("kernel-passage", "10.0.0.100", "10.0.0.1");
}

#[test]
fn connections_of_ipv6_go_on_at_the_old_owner_too() {
    lab::skip_unless_root!();
    hand_over("kernel-passage-6", "fd00::100", "fd00::1");
}

#[test]
fn it_says_whether_the_kernel_can_and_leaves_nothing() {
    lab::skip_unless_root!();
    let lab = Lab::new("kernel-passage-can").unwrap();
    let host = lab.host("a").unwrap();
    host.enter(|| Passage::can().unwrap());
    let own = Passage::name(&std::process::id().to_string());
    assert!(!host.enter(|| Passage::remove(&own).unwrap()));
}
