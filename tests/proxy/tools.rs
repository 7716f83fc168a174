//! Tests the tools of HAProxy's users with our statistics socket and our logs: they show the same
//! as with HAProxy.

use crate::program::evenkeel;
use lab::{Location, OriginServer, Peer, Probe, Syslog, eventually, free_port};
use std::io::{Read, Write};
use std::net::SocketAddr;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

const SOON: Duration = Duration::from_secs(120);

const CONFIG: &str = "
    global
        stats socket {dir}/admin.sock mode 600 level admin
        log @LOG@ format rfc3164 local0
    defaults
        mode http
        log global
        option httplog
        timeout client 5s
        timeout server 5s
        timeout connect 5s
    frontend shopwindow
        bind @WEB@
        http-request deny if { path /denied }
        default_backend backoffice
    backend backoffice
        server clerk @ORIGIN@
";

struct Bed {
    peer: Peer,
    web: SocketAddr,
    log: Syslog,
    _origin: OriginServer,
}

fn here() -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], free_port().unwrap()))
}

impl Bed {
    fn new() -> Bed {
        let origin = OriginServer::start_local("clerk").unwrap();
        let (web, log) = (here(), here());
        let syslog = Syslog::udp(Location::Here, log).unwrap();
        let config = CONFIG
            .replace("@WEB@", &web.to_string())
            .replace("@LOG@", &log.to_string())
            .replace("@ORIGIN@", &origin.address().to_string());
        let peer = evenkeel(Location::Here, &config, web).unwrap();
        // The socket gets its name when the configuration is served, a moment after the first
        // response.
        let socket = peer.directory().join("admin.sock");
        assert!(eventually(SOON, || socket.exists()));
        Bed {
            peer,
            web,
            log: syslog,
            _origin: origin,
        }
    }

    fn socket(&self) -> PathBuf {
        self.peer.directory().join("admin.sock")
    }

    fn command(&self, command: &str) -> String {
        let mut stream = UnixStream::connect(self.socket()).unwrap();
        stream.set_read_timeout(Some(SOON)).unwrap();
        writeln!(stream, "{command}").unwrap();
        let mut told = String::new();
        stream.read_to_string(&mut told).unwrap();
        told
    }

    /// Sends some requests; returns a file with the lines that a syslog daemon would have written.
    fn log_file(&self) -> PathBuf {
        let mut probe = Probe::new(Location::Here, self.web);
        for path in ["/", "/a", "/a", "/denied"] {
            probe.get(path).unwrap();
        }
        let lines = || {
            let all = self.log.messages();
            all.into_iter()
                .filter(|line| line.contains(" shopwindow ") && line.contains("HTTP/1.1"))
                .collect::<Vec<_>>()
        };
        assert!(eventually(SOON, || lines().len() >= 4), "{:?}", lines());
        // A syslog daemon writes the lines like this, without the priority.
        let text = lines().into_iter().map(|line| {
            let rest = line
                .split_once('>')
                .map(|(_, rest)| rest.trim_end().to_owned());
            rest.unwrap_or(line) + "\n"
        });
        let text: String = text.collect();
        let path = self.peer.directory().join("haproxy.log");
        std::fs::write(&path, text).unwrap();
        path
    }
}

#[test]
fn hatop_shows_proxies_and_servers_and_quits() {
    lab::skip_unless_installed!("hatop");
    lab::skip_unless_installed!("script");
    let bed = Bed::new();
    let hatop = format!(
        "stty rows 40 cols 140; exec hatop -i 1 -s {}",
        bed.socket().display()
    );
    let mut child = Command::new("script")
        .args(["-q", "-e", "-c", &hatop, "/dev/null"])
        .env("TERM", "xterm")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let shown: Arc<Mutex<Vec<u8>>> = Arc::default();
    let (screen, mut output) = (Arc::clone(&shown), child.stdout.take().unwrap());
    let reader = std::thread::spawn(move || {
        let mut bytes = [0; 4096];
        while let Ok(read @ 1..) = output.read(&mut bytes) {
            screen.lock().unwrap().extend_from_slice(&bytes[..read]);
        }
    });
    let text = || String::from_utf8_lossy(&shown.lock().unwrap()).into_owned();
    let there = |words: &[&str]| words.iter().all(|word| text().contains(word));
    let whole = ["shopwindow", "backoffice", "clerk", "FRONTEND"];
    assert!(eventually(SOON, || there(&whole)), "{}", text());
    let mut input = child.stdin.take().unwrap();
    input.write_all(b"q").unwrap();
    let ended = || child.try_wait().is_ok_and(|status| status.is_some());
    let mut ended = ended;
    let in_time = eventually(SOON, &mut ended);
    if !in_time {
        let _ = child.kill();
    }
    drop(input);
    let status = child.wait().unwrap();
    reader.join().unwrap();
    assert!(in_time && status.success(), "{status}: {}", text());
}

#[test]
fn halog_counts_our_log_lines() {
    lab::skip_unless_installed!("halog");
    let bed = Bed::new();
    let file = bed.log_file();
    let counted = |what: &str| {
        let input = std::fs::File::open(&file).unwrap();
        let output = Command::new("halog")
            .args(["-q", what])
            .stdin(input)
            .env("PATH", "/usr/sbin:/sbin:/usr/bin:/bin")
            .output()
            .unwrap();
        String::from_utf8_lossy(&output.stdout).into_owned()
    };
    let statuses = counted("-st");
    assert!(
        statuses.contains("200 3\n") && statuses.contains("403 1\n"),
        "{statuses}"
    );
    let servers = counted("-srv");
    let clerk = servers
        .lines()
        .find(|line| line.starts_with("backoffice/clerk"));
    let clerk: Vec<&str> = clerk.unwrap_or_default().split_whitespace().collect();
    // Name, then the number of responses of each class, others, and requests.
    assert_eq!(clerk.get(2), Some(&"3"), "{servers}");
    let urls = counted("-u");
    assert!(
        urls.lines()
            .any(|line| line.starts_with('2') && line.ends_with(" /a")),
        "{urls}"
    );
}

#[test]
fn goaccess_reads_our_logs_without_an_invalid_line() {
    lab::skip_unless_installed!("goaccess");
    let bed = Bed::new();
    let file = bed.log_file();
    // RFC 3164 pads the day of the month with a space, and goaccess counts each space.
    let lines = std::fs::read_to_string(&file).unwrap().replace("  ", " ");
    std::fs::write(&file, lines).unwrap();
    let report = bed.peer.directory().join("report.json");
    let format = "%^ %^ %^ %^ %^ %h:%^ [%d:%t.%^] %^ %^ %^/%^/%^/%L/%^ %s %b %^ %^ %^ %^ %^ \"%r\"";
    let output = Command::new("goaccess")
        .arg(&file)
        .args([
            "--date-format=%d/%b/%Y",
            "--time-format=%H:%M:%S",
            "--no-global-config",
        ])
        .arg(format!("--log-format={format}"))
        .arg("-o")
        .arg(&report)
        .output()
        .unwrap();
    let text = std::fs::read_to_string(&report)
        .unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(&output.stderr)));
    let report: serde_json::Value = serde_json::from_str(&text).unwrap();
    assert_eq!(report["general"]["valid_requests"], 4, "{text}");
    assert_eq!(report["general"]["failed_requests"], 0, "{text}");
}

#[test]
fn added_server_serves_and_draining_one_gets_nothing() {
    let bed = Bed::new();
    let second = OriginServer::start_local("second").unwrap();
    let add = format!("add server backoffice/second {}", second.address());
    assert_eq!(bed.command(&add), "New server registered.\n\n");
    // Commands that Ansible's module sends for `state: drain`, and their responses.
    for server in ["second", "clerk"] {
        assert_eq!(
            bed.command(&format!("enable server backoffice/{server}")),
            "\n"
        );
    }
    assert_eq!(bed.command("set server backoffice/clerk state drain"), "\n");
    let stat = bed.command("show stat");
    let clerk = stat
        .lines()
        .find(|line| line.starts_with("backoffice,clerk,"));
    assert!(clerk.is_some_and(|line| line.contains(",DRAIN")), "{stat}");
    let info = bed.command("show info");
    assert!(
        info.starts_with("Name: HAProxy\nVersion: 3.4.0-evenkeel-"),
        "{info}"
    );
    let mut probe = Probe::new(Location::Here, bed.web);
    for _ in 0..4 {
        assert!(probe.get("/").unwrap().text().contains("second"));
    }
    assert_eq!(bed.command("set server backoffice/clerk state ready"), "\n");
    assert_eq!(bed.command("disable server backoffice/second"), "\n");
    assert!(probe.get("/").unwrap().text().contains("clerk"));
    assert_eq!(
        bed.command("del server backoffice/second"),
        "Server deleted.\n\n"
    );
}
