//! Tests a whole small business of 2011 in network namespaces: its file unchanged, and a check of
//! each of its purposes. HAProxy has to pass the same checks, except for the one line that current
//! versions refuse.

use crate::program::{Program, root};
use base64::prelude::{BASE64_STANDARD, Engine};
use lab::{
    Echo, Failure, Lab, LabHost, OriginServer, Peer, Probe, Record, ScratchDirectory, eventually,
    exchange,
};
use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::SocketAddr;
use std::process::Command;
use std::time::{Duration, Instant};

const SOON: Duration = Duration::from_secs(120);
/// Timeout of one attempt to connect: a lost packet must not use up all of [`SOON`].
const ATTEMPT: Duration = Duration::from_secs(3);
/// Time for which the farm is observed while one of its servers is known to be down.
const WATCHED: Duration = Duration::from_secs(3);

/// Time in which health checks notice a change: three checks, two seconds apart, and one in
/// progress.
const CHECKED: Duration = Duration::from_secs(12);

const FILE: &str = "tests/proxy/small-business-2011.cfg";
const OLD_FORM: &str = "listen Statistics *:81\n";
const NEW_FORM: &str = "listen Statistics\n\tbind *:81\n";

const WEB: &str = "192.0.2.150:80";
const STATISTICS: &str = "192.0.2.150:81";
const TUNNEL: &str = "192.0.2.159:443";
const CREDENTIALS: &str = "admin:secret";

struct Business {
    // The lab is dropped last: it kills the remaining processes in its hosts.
    web: [OriginServer; 2],
    _tls: [Peer; 2],
    _apps: [Echo; 2],
    scratch: ScratchDirectory,
    balancer: LabHost,
    customer: LabHost,
    public: LabHost,
    _lab: Lab,
}

fn at(address: &str) -> SocketAddr {
    address.parse().unwrap()
}

impl Business {
    fn build() -> Self {
        let lab = Lab::new("business").unwrap();
        let scratch = ScratchDirectory::new().unwrap();
        let [balancer, web0, web1, app, customer, public] =
            ["balancer", "web0", "web1", "app", "customer", "public"].map(|n| lab.host(n).unwrap());
        let office = lab.switch("office").unwrap();
        let inside = office.attach(&balancer).unwrap();
        inside.address("192.0.2.150/24").unwrap();
        inside.address("192.0.2.159/24").unwrap();
        for (host, address) in [(&web0, "181"), (&web1, "182"), (&app, "12")] {
            let interface = office.attach(host).unwrap();
            interface.address(&format!("192.0.2.{address}/24")).unwrap();
        }
        for (host, network) in [(&customer, "203.0.113"), (&public, "198.51.100")] {
            let link = lab.link(host, &balancer).unwrap();
            link.a.address(&format!("{network}.7/24")).unwrap();
            link.b.address(&format!("{network}.1/24")).unwrap();
            host.route("default", &format!("{network}.1")).unwrap();
        }
        certificate(&scratch);
        let serve =
            |host: &LabHost, name, ip| OriginServer::start(host, name, at(&format!("{ip}:80")));
        Business {
            web: [
                serve(&web0, "web0", "192.0.2.181").unwrap(),
                serve(&web1, "web1", "192.0.2.182").unwrap(),
            ],
            _tls: [
                tls_server(&web0, "web0", "192.0.2.181:443", &scratch),
                tls_server(&web1, "web1", "192.0.2.182:443", &scratch),
            ],
            _apps: [
                Echo::start(&app, at("192.0.2.12:35007")).unwrap(),
                Echo::start(&app, at("192.0.2.12:35096")).unwrap(),
            ],
            scratch,
            balancer,
            customer,
            public,
            _lab: lab,
        }
    }

    /// Starts the balancer, whose command has to return, and gives its process id.
    fn open(&self, program: Program) -> i32 {
        let path = match program {
            Program::Evenkeel => root().join(FILE),
            Program::Haproxy => {
                let file = std::fs::read_to_string(root().join(FILE)).unwrap();
                assert!(file.contains(OLD_FORM));
                let file = file.replace(OLD_FORM, NEW_FORM);
                self.scratch.write("new.cfg", file).unwrap()
            }
        };
        let pid_file = self.scratch.path().join("pid");
        let mut command = program.command();
        command.arg("-f").arg(path).arg("-p").arg(&pid_file);
        self.balancer.run(command).unwrap();
        let pid = std::fs::read_to_string(pid_file).unwrap();
        pid.trim().parse().unwrap()
    }

    /// Returns the state on which connecting depends, for the message of a failure.
    fn state(&self, pid: i32) -> String {
        let status = std::fs::read_to_string(format!("/proc/{pid}/status"));
        let run = |host: &LabHost, words: &[&str]| {
            let mut command = Command::new(words[0]);
            command.args(&words[1..]);
            host.run(command).unwrap_or_else(|error| error.to_string())
        };
        let sockets = run(&self.balancer, &["ss", "-ltn"]);
        let here = run(&self.balancer, &["ip", "neighbour"]);
        let there = run(&self.public, &["ip", "neighbour"]);
        let route = run(&self.public, &["ip", "route"]);
        format!("{status:?}\n{sockets}\n{here}\n{there}\n{route}")
    }
}

fn certificate(scratch: &ScratchDirectory) {
    let path = |name| scratch.path().join(name);
    let made = Command::new("openssl")
        .args(["req", "-x509", "-newkey", "ec", "-nodes", "-days", "2"])
        .args(["-pkeyopt", "ec_paramgen_curve:prime256v1"])
        .args(["-subj", "/CN=shop.example"])
        .args(["-addext", "subjectAltName=DNS:shop.example"])
        .arg("-keyout")
        .arg(path("key.pem"))
        .arg("-out")
        .arg(path("certificate.pem"))
        .output()
        .unwrap();
    assert!(made.status.success(), "{made:?}");
}

fn tls_server(host: &LabHost, name: &str, address: &str, scratch: &ScratchDirectory) -> Peer {
    let directory = scratch.path().display();
    let config = format!(
        "events {{}} http {{ access_log off; server {{ listen {address} ssl;
         ssl_certificate {directory}/certificate.pem; ssl_certificate_key {directory}/key.pem;
         location / {{ return 200 {name}; }} }} }}"
    );
    Peer::nginx(host, &config, at(address)).unwrap()
}

fn serves(program: Program) {
    let mut business = Business::build();
    let pid = business.open(program);
    assert!(std::path::Path::new(&format!("/proc/{pid}")).exists());
    if matches!(program, Program::Haproxy) {
        // Not requested where requests are counted, because it may count a connection as one.
        let mut last = String::new();
        let connects = || {
            let attempt = business.public.tcp_connect(at(STATISTICS), ATTEMPT);
            attempt.map_err(|error| last = error.to_string()).is_ok()
        };
        let ready = eventually(SOON, connects);
        assert!(ready, "{last}\n{}", business.state(pid));
    }
    farm_is_even(&business);
    tls_is_passed_through(&business);
    tunnel_is_for_the_customer(&business);
    ports_are_mapped(&business);
    statistics_need_the_password(&business);
    a_web_server_dies_and_comes_back(&mut business);
    let pid = rustix::process::Pid::from_raw(pid).unwrap();
    rustix::process::kill_process(pid, lab::Signal::USR1).unwrap();
    let gone = || rustix::process::test_kill_process(pid).is_err() || is_zombie(pid);
    assert!(eventually(SOON, gone), "soft stop");
}

fn is_zombie(pid: rustix::process::Pid) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{}/stat", pid.as_raw_nonzero()));
    stat.is_ok_and(|stat| stat.contains(") Z "))
}

fn farm_is_even(business: &Business) {
    let mut probe = Probe::new(&business.public, at(WEB));
    let mut counts = BTreeMap::new();
    for n in 0..40 {
        if n % 4 == 0 {
            probe.disconnect();
        }
        let answer = probe.get("/").unwrap();
        assert_eq!(answer.status, 200);
        *counts.entry(answer.text()).or_insert(0) += 1;
    }
    let even = [("web0".to_owned(), 20), ("web1".to_owned(), 20)];
    assert_eq!(counts, BTreeMap::from(even));
}

fn tls_is_passed_through(business: &Business) {
    let ask = || {
        let mut curl = Command::new("curl");
        curl.args(["--silent", "--show-error", "--max-time", "5"])
            .args(["--resolve", "shop.example:443:192.0.2.150", "--cacert"])
            .arg(business.scratch.path().join("certificate.pem"))
            .arg("https://shop.example/");
        business.public.run(curl).unwrap()
    };
    let mut said = [ask(), ask()];
    said.sort();
    assert_eq!(said, ["web0", "web1"]);
}

fn tunnel_is_for_the_customer(business: &Business) {
    echoes(&business.customer, at(TUNNEL), b"hello");
    // The connection is closed or reset without a byte.
    if let Ok(said) = exchange(&business.public, at(TUNNEL), b"hello", SOON) {
        assert_eq!(said, b"");
    }
}

fn ports_are_mapped(business: &Business) {
    let much: Vec<u8> = (0..200_000_u32).map(|n| (n % 251) as u8).collect();
    for port in [35007, 35096] {
        let address = SocketAddr::from(([192, 0, 2, 150], port));
        echoes(&business.public, address, &much);
    }
}

/// Checks an echo. Reads everything before it closes, because with `option nolinger` a close
/// discards data in transit.
fn echoes(from: &LabHost, to: SocketAddr, bytes: &[u8]) {
    let stream = from.tcp_connect(to, SOON).unwrap();
    stream.set_read_timeout(Some(SOON)).unwrap();
    let mut said = vec![0; bytes.len()];
    std::thread::scope(|scope| {
        scope.spawn(|| (&stream).write_all(bytes).unwrap());
        (&stream).read_exact(&mut said).unwrap();
    });
    assert!(said == bytes, "{to}");
}

fn statistics_need_the_password(business: &Business) {
    let mut probe = Probe::new(&business.public, at(STATISTICS));
    let refused = probe.get("/haproxy?stats").unwrap();
    assert_eq!(refused.status, 401);
    assert!(refused.header("www-authenticate").is_some());
    let known = format!("Basic {}", BASE64_STANDARD.encode(CREDENTIALS));
    let mut ask = |path, who: &str| {
        // With `option nolinger` a connection may be reset after any response.
        probe.disconnect();
        probe.request("GET", path, &[("authorization", who)], b"")
    };
    assert_eq!(
        ask("/haproxy?stats", "Basic YWRtaW46eA==").unwrap().status,
        401
    );
    let page = ask("/haproxy?stats", &known).unwrap();
    assert_eq!(page.status, 200);
    assert!(
        page.header("content-type")
            .unwrap()
            .starts_with("text/html")
    );
    // HAProxy requests the refresh in a header, Evenkeel in the page.
    let in_page = page.text().contains("http-equiv=\"refresh\" content=\"20");
    assert!(
        in_page || page.header("refresh") == Some("20"),
        "{}",
        page.text()
    );
    for word in ["Web-Farm", "Public-Tunnel", "App-First", "Web0"] {
        assert!(page.text().contains(word), "{word}");
    }
    let table = ask("/haproxy?stats;csv", &known).unwrap().text();
    assert!(table.starts_with("# pxname,svname,qcur,qmax,scur,smax,slim,stot,bin,bout"));
    let row = |proxy: &str, server: &str| {
        let found = table
            .lines()
            .find(|line| line.starts_with(&format!("{proxy},{server},")));
        let row = found.unwrap_or_else(|| panic!("{proxy},{server}: {table}"));
        row.split(',').map(str::to_owned).collect::<Vec<_>>()
    };
    let column = |name: &str| {
        let head = table
            .lines()
            .next()
            .unwrap_or_default()
            .trim_start_matches("# ");
        head.split(',').position(|n| n == name).unwrap()
    };
    let web0 = row("Web-Farm", "Web0");
    assert_eq!(
        (&*web0[column("status")], &*web0[column("stot")]),
        ("UP", "20")
    );
    assert_eq!(web0[column("hrsp_2xx")], "20");
    assert_eq!(row("Public-HTTP", "FRONTEND")[column("req_tot")], "40");
    assert_eq!(row("Public-Tunnel", "FRONTEND")[column("stot")], "2");
    assert_eq!(row("App-First", "App0")[column("bin")], "200000");
    // All other paths have no backend here.
    assert_eq!(ask("/", &known).unwrap().status, 503);
}

/// Returns whether the checks of the farm found its first server down.
fn is_down(business: &Business) -> bool {
    let known = format!("Basic {}", BASE64_STANDARD.encode(CREDENTIALS));
    let mut probe = Probe::new(&business.public, at(STATISTICS));
    let table = probe.request(
        "GET",
        "/haproxy?stats;csv",
        &[("authorization", &*known)],
        b"",
    );
    let table = table.unwrap().text();
    let mut head = table.lines().next().unwrap().split(',');
    let status = head.position(|name| name == "status");
    let mut web0 = table
        .lines()
        .find(|line| line.starts_with("Web-Farm,Web0,"))
        .unwrap()
        .split(',');
    web0.nth(status.unwrap())
        .is_some_and(|status| status.starts_with("DOWN"))
}

fn a_web_server_dies_and_comes_back(business: &mut Business) {
    let probe = Probe::new(&business.public, at(WEB)).timeout(CHECKED);
    let steady = probe.steadily("/", Duration::from_millis(50));
    business.web[0].stop();
    assert!(
        eventually(CHECKED, || is_down(business)),
        "web0 is not down"
    );
    let noticed = Instant::now();
    lab::sleep_in_test(WATCHED, "clients watch");
    business.web[0].resume().unwrap();
    let before = business.web[0].request_count();
    // Checks are requests, too: more than they make means that it is in the farm.
    let is_back = || business.web[0].request_count() > before + 20;
    assert!(eventually(CHECKED, is_back), "web0 is not used again");
    let records = steady.stop();
    let bad = |record: &&Record| record.outcome != Ok(200);
    let late: Vec<_> = records.iter().filter(|r| r.started > noticed).collect();
    assert!(late.len() > 50, "{}", late.len());
    assert!(!late.into_iter().any(|record| bad(&record)));
    // Before the checks noticed the failure, requests may fail after the retries of one server,
    // because the file does not enable redispatch.
    for record in records.iter().filter(bad) {
        let known = matches!(record.outcome, Ok(503 | 502) | Err(Failure::Closed { .. }));
        assert!(known, "{record:?}");
    }
}

#[test]
fn a_small_business_of_2011_is_served_by_its_unchanged_file() {
    lab::skip_unless_root!();
    lab::skip_unless_installed!("nginx");
    lab::skip_unless_installed!("curl");
    lab::skip_unless_installed!("openssl");
    serves(Program::Evenkeel);
}

#[test]
fn haproxy_passes_the_same_small_business_test() {
    lab::skip_unless_root!();
    lab::skip_unless_installed!("nginx");
    lab::skip_unless_installed!("curl");
    lab::skip_unless_installed!("openssl");
    lab::skip_unless_installed!("haproxy");
    serves(Program::Haproxy);
}
