//! Tests remote desktops on a cluster. Both nodes have one directory, so a user returns to the
//! session even when the node that created it has died.

use crate::cluster::site::{Machine, SOON, Site, configuration};
use crate::farm_client::{Person, logs_on, negotiates, packet, request, token};
use lab::pki::{Authority, Leaf};
use lab::{LabHost, eventually, may_run, privileged};
use protocol::rdp::{Negotiated, Redirection, Routing, SSL};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::thread;

/// Configuration lines in addition to those of the site.
const LINES: &str = "
farm office
\tbind 0.0.0.0:3389 crt {crt}
\ttoken-key {key}
\tcheck interval 500ms
\thost ts1 10.60.0.181
\thost ts2 10.60.0.182
";

/// Starts a host that responds to requests, and then echoes all data with its letter in front.
fn host(farm: &LabHost, number: u8, letter: u8) {
    let at = SocketAddr::from(([10, 60, 0, number], 3389));
    let listener = farm.enter(|| TcpListener::bind(at)).unwrap();
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            thread::spawn(move || serve(stream, letter));
        }
    });
}

fn serve(mut stream: TcpStream, letter: u8) {
    let selected = Negotiated::Selected {
        flags: 0,
        protocol: SSL,
    };
    if packet(&mut stream).is_err() || stream.write_all(&selected.encode()).is_err() {
        return;
    }
    let mut bytes = [0; 64];
    while let Ok(read @ 1..) = stream.read(&mut bytes) {
        let answer = [&[letter], &bytes[..read]].concat();
        if stream.write_all(&answer).is_err() {
            return;
        }
    }
}

/// Creates a cluster that serves a farm of two hosts.
fn site(name: &str) -> Site {
    let site = Site::new(name);
    host(&site.farm, 181, b'1');
    host(&site.farm, 182, b'2');
    let leaf = Leaf {
        names: &["desktop.example.org"],
        ..Leaf::default()
    };
    let issued = Authority::new("Test CA").unwrap().issue(&leaf).unwrap();
    let crt = site.alpha.scratch().join("desktop.pem");
    std::fs::write(&crt, issued.bundle()).unwrap();
    let key = site.alpha.scratch().join("farm.key");
    std::fs::write(&key, [7; 32]).unwrap();
    let lines = LINES
        .replace("{crt}", &crt.display().to_string())
        .replace("{key}", &key.display().to_string());
    let text = configuration("farm") + &lines;
    site.alpha.apply(&text, &["--now"]).well();
    for node in site.nodes() {
        shows(node, &["farm", "list"], |text| {
            text.contains("agrees") && text.matches(": up").count() == 2
        });
    }
    site
}

/// Waits until the output of a command satisfies a condition; returns the output.
#[track_caller]
fn shows(node: &Machine, words: &[&str], is_good: impl Fn(&str) -> bool) -> String {
    let mut text = String::new();
    let good = eventually(SOON, || {
        text = node.command(words).text();
        is_good(&text)
    });
    assert!(good, "{}: {words:?}: {text}\n{}", node.name(), node.said());
    text
}

fn at(node: &Machine) -> SocketAddr {
    SocketAddr::from(([10, 60, 0, node.number], 3389))
}

/// Connects with a token; returns the connection and the letter of the host.
fn comes(client: &LabHost, to: SocketAddr, token: &Routing) -> (TcpStream, u8) {
    client.enter(|| {
        let (mut stream, confirm) = negotiates(to, &request(token.clone(), SSL));
        confirm.expect("the host answers");
        stream.write_all(b"hello").unwrap();
        let mut answer = [0; 6];
        stream.read_exact(&mut answer).unwrap();
        (stream, answer[0])
    })
}

fn logs_on_at(client: &LabHost, to: SocketAddr, user: &str) -> Redirection {
    let redirected = client.enter(|| logs_on(to, Person::named(user)));
    redirected.expect("a redirection")
}

#[test]
fn users_of_a_failed_node_return_via_the_other() {
    if !may_run("farm_nodes", privileged()) {
        return;
    }
    let mut site = site("farmnodes");
    let mut sessions = Vec::new();
    for user in ["anna", "bert", "cleo"] {
        let redirection = logs_on_at(&site.client, at(&site.alpha), user);
        let (stream, letter) = comes(&site.client, at(&site.alpha), &token(&redirection));
        sessions.push((user, stream, letter));
    }
    let first = sessions
        .iter()
        .filter(|(.., letter)| *letter == b'1')
        .count();
    assert!((1..=2).contains(&first), "all are at one host");
    for node in site.nodes() {
        shows(node, &["farm", "sessions"], |text| {
            let lines = text.lines();
            let connected =
                lines.filter(|line| line.contains("connected") && line.contains("alpha"));
            connected.count() == 3
        });
        shows(node, &["farm", "why", "anna"], |text| {
            text.contains("redirected to ts") && text.contains("routed to ts")
        });
    }
    // An order holds on both nodes.
    site.beta.command(&["farm", "drain", "ts1"]).well();
    shows(&site.alpha, &["farm", "list"], |text| {
        text.contains("drained by an operator")
    });
    let process = site.alpha.kill_at_once();
    for (user, _, letter) in &sessions {
        let redirection = logs_on_at(&site.client, at(&site.beta), user);
        let (_stream, same) = comes(&site.client, at(&site.beta), &token(&redirection));
        assert_eq!(same, *letter, "{user} has another host");
    }
    // A new user does not wait for the dead node.
    let redirection = logs_on_at(&site.client, at(&site.beta), "dora");
    let (_stream, letter) = comes(&site.client, at(&site.beta), &token(&redirection));
    assert_eq!(letter, b'2', "ts1 is drained");
    drop(process);
    shows(&site.beta, &["farm", "list"], |text| text.contains("gone"));
    // Alpha returns without state, and gets all sessions from beta.
    site.alpha.start();
    shows(&site.alpha, &["farm", "sessions"], |text| {
        ["anna", "bert", "cleo", "dora"]
            .iter()
            .all(|user| text.contains(user))
    });
}
