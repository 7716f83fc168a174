//! Tests the Python tools of administrators, haproxyadmin and haproxy-cli: they show the same as of
//! HAProxy.

use crate::program::{Program, root};
use lab::{Location, Missing, OriginServer, Probe, free_port};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::Command;

/// The steps of both tools, line by line.
const STEPS: &str = include_str!("tools_python.py");

const CONFIG: &str = "
    global
        stats socket {dir}/admin.sock mode 600 level admin
        nbthread 2
        maxconn 300
        node desk
    defaults
        mode http
        timeout client 5s
        timeout server 5s
        timeout connect 5s
    frontend web
        bind @WEB@
        maxconn 100
        acl listed src -f @ACL@
        http-request deny if listed
        use_backend %[req.hdr(host),map(@MAP@,app)]
        default_backend app
    backend app
        balance roundrobin
        server one @ORIGIN@ weight 10
        server two @ORIGIN@ weight 20 disabled
    backend other
        server three @ORIGIN@
";

/// Returns the directory into which `scripts/install-test-peers` installs the tools.
fn tools() -> Result<PathBuf, Missing> {
    lab::installed("python3")?;
    let directory = root().join("target/test-tools");
    if directory.join("haproxyadmin").is_dir() && directory.join("haproxy").is_dir() {
        Ok(directory)
    } else {
        Err(Missing::Program(
            "haproxyadmin and haproxy-cli (scripts/install-test-peers)",
        ))
    }
}

fn lines(program: Program, tools: &PathBuf) -> Vec<String> {
    let files = lab::ScratchDirectory::new().unwrap();
    let (list, map) = (files.path().join("acl"), files.path().join("map"));
    std::fs::write(&list, "198.51.100.0/24\n").unwrap();
    std::fs::write(&map, "a.test app\nb.test other\n").unwrap();
    let origin = OriginServer::start_local("one").unwrap();
    let web = SocketAddr::from(([127, 0, 0, 1], free_port().unwrap()));
    let config = CONFIG
        .replace("@WEB@", &web.to_string())
        .replace("@ORIGIN@", &origin.address().to_string())
        .replace("@ACL@", &list.display().to_string())
        .replace("@MAP@", &map.display().to_string());
    let peer = program.start(Location::Here, &config, web).unwrap();
    let mut probe = Probe::new(Location::Here, web);
    for _ in 0..3 {
        probe.get("/").unwrap();
    }
    let output = Command::new("python3")
        .args(["-c", STEPS])
        .args([peer.directory(), &list, &map])
        .env("PYTHONPATH", tools)
        .output()
        .unwrap();
    let shown = String::from_utf8_lossy(&output.stdout).into_owned();
    let failed = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{program:?}: {shown}{failed}");
    let port = origin.address().port().to_string();
    shown.lines().map(|l| l.replace(&port, "PORT")).collect()
}

#[test]
fn haproxyadmin_and_haproxy_cli_show_the_same_as_for_haproxy() {
    fn skipped_here() {}
    lab::skip_unless_installed!("haproxy");
    let tools = tools();
    if !lab::may_run(
        std::any::type_name_of_val(&skipped_here),
        tools.clone().map(drop),
    ) {
        return;
    }
    let tools = tools.unwrap_or_default();
    let [ours, theirs] = Program::BOTH.map(|program| lines(program, &tools));
    assert!(ours.len() > 50, "{ours:#?}");
    assert_eq!(ours, theirs);
}
