//! The consoles of two nodes: what somebody has tried or used at one counts at the other one.

use crate::cluster_site::{Machine, SOON, Site, configuration};
use lab::eventually;
use serde_json::Value;
use std::io::{Read, Write};
use std::net::SocketAddr;
use std::time::Duration;

/// What is served beside the site's own.
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
/// Shows the present code of RFC 6238 by another implementation.
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

/// Whether the console of a machine hears those of both nodes.
fn hears_both(machine: &Machine) -> bool {
    // "vera:plum"
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
        let (_, rest) = { page.split_once("name=\"half\" value=\"") }.expect("a form for a code");
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
