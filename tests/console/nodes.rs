//! Tests the consoles of two nodes: failed attempts and used codes at one node count at the other
//! one.

use crate::cluster::site::{Machine, SOON, Site, configuration};
use lab::eventually;
use serde_json::Value;
use std::io::{Read, Write};
use std::net::SocketAddr;
use std::time::Duration;

/// Configuration lines in addition to those of the site.
const FURTHER: &str = "
userlist staff
\tuser olga insecure-password kiwi
\tuser vera insecure-password plum

console
\tbind 127.0.0.1:8600 plain
\tusers staff
\trole admin user vera
\tsecond-factor user olga secret JBSWY3DPEHPK3PXPJBSWY3DPEHPK3PXP
";
const CONSOLE: SocketAddr =
    SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 8600);
const READ: Duration = Duration::from_secs(60);
/// Python script that prints the current code of RFC 6238.
const CODE: &str = "
import base64, hmac, struct, time
key = base64.b32decode('JBSWY3DPEHPK3PXPJBSWY3DPEHPK3PXP')
tag = hmac.new(key, struct.pack('>Q', int(time.time()) // 30), 'sha1').digest()
at = tag[-1] & 15
print('%06d' % ((struct.unpack('>I', tag[at:at + 4])[0] & 0x7fffffff) % 1000000))
";

/// Sends a form to the console of a machine, from within the machine. None: nothing responds.
fn form(machine: &Machine, body: &str) -> Option<String> {
    let head = format!(
        "POST /sign-in HTTP/1.1\r\nOrigin: http://{CONSOLE}\r\nContent-Type: application/x-www-form-urlencoded\r\n\
         Content-Length: {}\r\n",
        body.len()
    );
    request(machine, &head, body)
}

fn request(machine: &Machine, head: &str, body: &str) -> Option<String> {
    let mut stream = machine.host.tcp_connect(CONSOLE, READ).ok()?;
    stream.set_read_timeout(Some(READ)).ok()?;
    write!(
        stream,
        "{head}Host: {CONSOLE}\r\nConnection: close\r\n\r\n{body}"
    )
    .ok()?;
    let mut response = Vec::new();
    stream.read_to_end(&mut response).ok()?;
    Some(String::from_utf8_lossy(&response).into_owned())
}

/// Returns whether the console of a machine has the reports of both nodes.
fn hears_both(machine: &Machine) -> bool {
    // Authenticates as vera with the password plum.
    let head = "GET /api/v1/platform HTTP/1.1\r\nAuthorization: Basic dmVyYTpwbHVt\r\n";
    let response = request(machine, head, "").unwrap_or_default();
    let body = response.split_once("\r\n\r\n").map_or("", |(_, body)| body);
    let platform: Value = serde_json::from_str(body).unwrap_or_default();
    let members = platform["members"].as_array().cloned().unwrap_or_default();
    let nodes = members.iter().filter(|member| member["kind"] == "node");
    nodes
        .filter(|node| node["silent"].is_null() && node["age_ms"].is_number())
        .count()
        == 2
}

#[test]
fn code_that_was_used_at_one_node_is_refused_at_the_other() {
    lab::skip_unless_root!();
    lab::skip_unless_installed!("python3");
    let site = Site::new("console-nodes");
    let text = configuration("two") + FURTHER;
    site.alpha.apply(&text, &["--now"]).well();
    let nodes = site.nodes();
    let all_hear = || nodes.into_iter().all(hears_both);
    assert!(eventually(SOON, all_hear), "{}", site.tell());
    let halves = nodes.map(|node| {
        let page = form(node, "user=olga&password=kiwi").expect("a response");
        let (_, rest) = page
            .split_once("name=\"half\" value=\"")
            .expect("a form for a code");
        rest.split('"').next().unwrap_or_default().to_owned()
    });
    let output = std::process::Command::new("python3")
        .args(["-c", CODE])
        .output();
    let code = String::from_utf8(output.expect("python3").stdout).expect("a code");
    let status = |at: usize| {
        let body = format!("half={}&code={}", halves[at], code.trim());
        let response = form(nodes[at], &body).expect("a response");
        response.split(' ').nth(1).unwrap_or_default().to_owned()
    };
    let statuses = [status(0), status(1), status(0)];
    assert_eq!(statuses, ["303", "403", "403"], "{}", site.tell());
}

/// Requests the versions as vera from the console of a machine; returns the status and the whole
/// response.
fn vera_reads(machine: &Machine) -> (String, String) {
    let head = "GET /api/v1/versions HTTP/1.1\r\nAuthorization: Basic dmVyYTpwbHVt\r\n";
    let response = request(machine, head, "").unwrap_or_default();
    let status = response.split(' ').nth(1).unwrap_or_default().to_owned();
    (status, response)
}

#[track_caller]
fn wait_for_vera(machine: &Machine, status: &str, words: &str) {
    let is_it = || {
        let (got, response) = vera_reads(machine);
        got == status && response.contains(words)
    };
    assert!(eventually(SOON, is_it), "{:?}", vera_reads(machine));
}

#[test]
fn returned_member_lets_no_user_of_its_old_version_in() {
    lab::skip_unless_root!();
    let mut site = Site::new("console-returned");
    let text = configuration("two") + FURTHER;
    site.alpha.apply(&text, &["--now"]).well();
    wait_for_vera(&site.alpha, "200", "");
    site.alpha.kill();
    // User vera is removed meanwhile.
    let without = text
        .replace("\tuser vera insecure-password plum\n", "")
        .replace("role admin user vera", "role admin user olga");
    let applied = || site.beta.apply(&without, &["--now"]).good;
    assert!(eventually(SOON, applied), "{}", site.tell());
    wait_for_vera(&site.beta, "401", "");
    let cut = [site.cut("alpha", "beta"), site.cut("alpha", "arbiter")];
    site.alpha.start();
    wait_for_vera(&site.alpha, "503", "no majority of the cluster");
    // The administrator of alpha signs in with a link from the command line, which needs no
    // version.
    let link = site.alpha.command(&["console", "link"]).well();
    let text = link.text();
    let (_, rest) = text.split_once("/once/").expect("a link");
    let secret = rest.split_whitespace().next().unwrap_or_default();
    let head = format!(
        "POST /once/{secret} HTTP/1.1\r\nOrigin: http://{CONSOLE}\r\nContent-Length: 0\r\n"
    );
    let response = request(&site.alpha, &head, "").unwrap_or_default();
    assert!(response.starts_with("HTTP/1.1 303"), "{response}");
    drop(cut);
    wait_for_vera(&site.alpha, "401", "");
    // A removed member lets nobody in.
    let removed = || site.beta.command(&["cluster", "remove", "alpha"]).good;
    assert!(eventually(SOON, removed), "{}", site.tell());
    wait_for_vera(&site.alpha, "503", "was removed from the cluster");
    let refused = site.alpha.command(&["console", "link"]);
    refused.refused(&["was removed from the cluster"]);
}
