//! Tests the process under the name `haproxy`: exit codes, the background, signals, privileges. The
//! real HAProxy has to pass the same tests.

use crate::program::{Program, binary, link_named_haproxy};
use lab::{
    Exit, Lab, LabHost, Location, OriginServer, Probe, ScratchDirectory, Signal, eventually,
    free_port,
};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

const SOON: Duration = Duration::from_secs(120);

/// User and group ID that no account of a test machine depends on.
const UID: u32 = 65_534;

const DEFAULTS: &str = "
    defaults
        mode http
        timeout client 5s
        timeout server 5s
        timeout connect 5s
";

fn here() -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], free_port().unwrap()))
}

fn listen(address: SocketAddr, server: SocketAddr) -> String {
    format!("{DEFAULTS}    listen web\n        bind {address}\n        server s {server}\n")
}

struct Said {
    code: Option<i32>,
    out: String,
    err: String,
}

fn run(program: Program, args: &[&str], directory: &Path) -> Said {
    let mut command = program.command();
    command.args(args).current_dir(directory);
    let output = command.stdin(Stdio::null()).output().unwrap();
    Said {
        code: output.status.code(),
        out: String::from_utf8_lossy(&output.stdout).into_owned(),
        err: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}

#[test]
fn check_has_the_exit_code_and_messages_of_haproxy() {
    lab::skip_unless_installed!("haproxy");
    let scratch = ScratchDirectory::new().unwrap();
    let server = SocketAddr::from(([127, 0, 0, 1], 9));
    let valid = listen(here(), server);
    scratch.write("valid.cfg", &valid).unwrap();
    scratch
        .write("bad.cfg", valid.replace("bind ", "bnid "))
        .unwrap();
    let silent = format!("{DEFAULTS}    backend web\n        server s {server}\n");
    scratch.write("silent.cfg", silent).unwrap();
    let warned = valid.replace("timeout client 5s", "");
    scratch.write("warned.cfg", warned).unwrap();
    for (file, code) in [
        ("valid.cfg", 0),
        ("bad.cfg", 1),
        ("silent.cfg", 2),
        ("warned.cfg", 0),
        ("missing.cfg", 1),
    ] {
        let check = |args: &[&str]| Program::BOTH.map(|p| run(p, args, scratch.path()));
        let [ours, theirs] = check(&["-c", "-f", file]);
        assert_eq!((ours.code, theirs.code), (Some(code), Some(code)), "{file}");
        assert_eq!(ours.out, theirs.out, "{file}");
        assert_eq!(ours.err.is_empty(), theirs.err.is_empty(), "{file}");
        for quiet in check(&["-c", "-q", "-f", file]) {
            assert_eq!((quiet.code, &*quiet.out, &*quiet.err), (Some(code), "", ""));
        }
        let [ours, theirs] = check(&["-c", "-dW", "-f", file]);
        assert_eq!(ours.code, theirs.code, "{file}");
    }
    let [ours, theirs] = Program::BOTH.map(|p| run(p, &["-c", "-f", "bad.cfg"], scratch.path()));
    let alert = |said: &Said| {
        let line = said.err.lines().find(|line| line.starts_with("[ALERT]"));
        let (_, line) = line.unwrap().split_once("parsing ").unwrap();
        line.to_owned()
    };
    assert_eq!(alert(&ours), alert(&theirs));
}

#[test]
fn the_binary_is_haproxy_by_that_name_alone() {
    let scratch = ScratchDirectory::new().unwrap();
    let link = link_named_haproxy(&scratch);
    scratch.write("valid.cfg", listen(here(), here())).unwrap();
    let output = Command::new(link)
        .args(["-c", "-f", "valid.cfg"])
        .current_dir(scratch.path())
        .output()
        .unwrap();
    assert_eq!(output.stdout, b"Configuration file is valid\n");
}

/// A program in the background, known by its process ID.
struct Daemon(rustix::process::Pid);

impl Daemon {
    fn start(
        program: Program,
        scratch: &ScratchDirectory,
        config: &str,
        address: SocketAddr,
    ) -> Self {
        let file = scratch.write("config", config).unwrap();
        let pid_file = scratch.path().join("pid");
        let mut command = program.command();
        command
            .arg("-D")
            .arg("-f")
            .arg(file)
            .arg("-p")
            .arg(&pid_file);
        // The pipes are read to their ends: a background process that keeps
        // them open stops the test here.
        let output = command.stdin(Stdio::null()).output().unwrap();
        assert!(output.status.success(), "{output:?}");
        let pid: i32 = std::fs::read_to_string(pid_file)
            .unwrap()
            .trim()
            .parse()
            .unwrap();
        let daemon = Daemon(rustix::process::Pid::from_raw(pid).unwrap());
        let mut probe = Probe::new(Location::Here, address);
        assert!(eventually(SOON, || probe.get("/").is_ok()));
        daemon
    }

    fn signal(&self, signal: Signal) {
        rustix::process::kill_process(self.0, signal).unwrap();
    }

    fn runs(&self) -> bool {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.0.as_raw_nonzero()));
        stat.is_ok_and(|stat| !stat.contains(") Z "))
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        if self.runs() {
            let _ = rustix::process::kill_process(self.0, Signal::KILL);
        }
    }
}

#[test]
fn background_process_closes_outputs_and_usr1_finishes_downloads() {
    lab::skip_unless_installed!("haproxy");
    for program in Program::BOTH {
        let scratch = ScratchDirectory::new().unwrap();
        let (address, slow) = (here(), SlowServer::start());
        let daemon = Daemon::start(program, &scratch, &listen(address, slow.0), address);
        for descriptor in [0, 1, 2] {
            let path = format!("/proc/{}/fd/{descriptor}", daemon.0.as_raw_nonzero());
            let target = std::fs::read_link(path);
            let quiet = target
                .as_ref()
                .map_or(true, |t| !t.to_string_lossy().contains("pipe:"));
            assert!(quiet, "{program:?}: {descriptor} is {target:?}");
        }
        let mut client = std::net::TcpStream::connect(address).unwrap();
        client.set_read_timeout(Some(SOON)).unwrap();
        client
            .write_all(b"GET /slow HTTP/1.1\r\nHost: x\r\n\r\n")
            .unwrap();
        let mut said = vec![0; 64];
        let read = client.read(&mut said).unwrap();
        said.truncate(read);
        daemon.signal(Signal::USR1);
        let refused = || std::net::TcpStream::connect(address).is_err();
        assert!(eventually(SOON, refused), "{program:?} listens on");
        assert!(daemon.runs(), "{program:?} left its client");
        slow.1.store(true, Ordering::SeqCst);
        client.read_to_end(&mut said).unwrap();
        assert!(
            said.ends_with(b"last"),
            "{program:?} {}",
            String::from_utf8_lossy(&said)
        );
        assert!(eventually(SOON, || !daemon.runs()), "{program:?} stays");
    }
}

/// Responds at once, except to a request for `/slow`, which waits for the test.
struct SlowServer(SocketAddr, Arc<AtomicBool>);

impl SlowServer {
    const PIECES: usize = 10;

    fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let done = Arc::new(AtomicBool::new(false));
        let told = Arc::clone(&done);
        std::thread::spawn(move || {
            for mut stream in listener.incoming().flatten() {
                let told = Arc::clone(&told);
                std::thread::spawn(move || Self::serve(&mut stream, &told));
            }
        });
        SlowServer(address, done)
    }

    fn serve(stream: &mut std::net::TcpStream, done: &AtomicBool) -> std::io::Result<()> {
        let mut head = [0; 1024];
        let read = stream.read(&mut head)?;
        let pieces = if head[..read].starts_with(b"GET /slow") {
            Self::PIECES
        } else {
            0
        };
        let length = pieces * 4 + 4;
        write!(
            stream,
            "HTTP/1.1 200 OK\r\ncontent-length: {length}\r\n\r\n"
        )?;
        for _ in 0..pieces {
            stream.write_all(b"more")?;
        }
        if pieces > 0 {
            // Waits for the test, but not forever.
            let _ = eventually(SOON, || done.load(Ordering::SeqCst));
        }
        stream.write_all(b"last")
    }
}

#[test]
fn signals_end_the_process_as_in_haproxy() {
    lab::skip_unless_installed!("haproxy");
    let origin = OriginServer::start_local("web").unwrap();
    for program in Program::BOTH {
        for (signal, expected) in [
            (Signal::TERM, Exit::Signal(Signal::TERM.as_raw())),
            (Signal::INT, Exit::Signal(Signal::INT.as_raw())),
            (Signal::USR1, Exit::Code(0)),
        ] {
            let address = here();
            let peer = program
                .start(Location::Here, &listen(address, origin.address()), address)
                .unwrap();
            peer.process().signal(signal).unwrap();
            let exit = peer.process().wait(SOON);
            assert_eq!(
                exit,
                Some(expected),
                "{program:?} {signal:?}: {}",
                peer.output()
            );
        }
    }
}

#[test]
fn a_second_process_shares_the_port_and_takes_over() {
    let origins = [
        OriginServer::start_local("old").unwrap(),
        OriginServer::start_local("new").unwrap(),
    ];
    let address = here();
    let start = |origin: &OriginServer| {
        let config = listen(address, origin.address());
        Program::Evenkeel
            .start(Location::Here, &config, address)
            .unwrap()
    };
    let old = start(&origins[0]);
    let new = start(&origins[1]);
    assert_eq!(new.process().exit(), None);
    let mut probe = Probe::new(Location::Here, address);
    let both = || {
        probe.disconnect();
        probe.get("/").unwrap();
        origins.iter().all(|origin| origin.request_count() > 0)
    };
    assert!(eventually(SOON, both), "one of the two gets no connection");
    old.process().signal(Signal::USR1).unwrap();
    assert_eq!(old.process().wait(SOON), Some(Exit::Code(0)));
    for _ in 0..20 {
        probe.disconnect();
        assert_eq!(probe.get("/").unwrap().text(), "new");
    }
}

fn one_host(name: &str) -> (Lab, LabHost) {
    let lab = Lab::new(name).unwrap();
    let host = lab.host("balancer").unwrap();
    (lab, host)
}

#[test]
fn confined_process_serves_a_privileged_port() {
    lab::skip_unless_root!();
    lab::skip_unless_installed!("haproxy");
    for program in Program::BOTH {
        let (_lab, host) = one_host("rights");
        let empty = ScratchDirectory::new().unwrap();
        std::fs::set_permissions(empty.path(), PermissionsExt::from_mode(0o755)).unwrap();
        let origin = OriginServer::start(&host, "web", "127.0.0.1:8080".parse().unwrap()).unwrap();
        let address: SocketAddr = "127.0.0.1:80".parse().unwrap();
        let global = format!(
            "    global\n        chroot {}\n        user nobody\n        group nogroup\n        \
             stats socket {{dir}}/stats.sock mode 600 level admin\n",
            empty.path().display()
        );
        let config = global + &listen(address, origin.address());
        let peer = program.start(&host, &config, address).unwrap();
        assert_eq!(Probe::new(&host, address).get("/").unwrap().text(), "web");
        let pid = peer.process().pid();
        let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
        let field = |name: &str| {
            let line = status.lines().find(|line| line.starts_with(name)).unwrap();
            line.split_whitespace()
                .skip(1)
                .collect::<Vec<_>>()
                .join(" ")
        };
        let all = format!("{UID} {UID} {UID} {UID}");
        assert_eq!(
            (field("Uid:"), field("Gid:")),
            (all.clone(), all),
            "{program:?}"
        );
        assert_eq!(
            field("Groups:"),
            if field("Groups:").is_empty() {
                ""
            } else {
                "65534"
            }
        );
        assert_eq!(field("CapEff:"), "0000000000000000", "{program:?}");
        let root = std::fs::read_link(format!("/proc/{pid}/root")).unwrap();
        assert_eq!(root, empty.path().canonicalize().unwrap(), "{program:?}");
        let socket = std::fs::metadata(peer.directory().join("stats.sock")).unwrap();
        assert_eq!(socket.mode() & 0o777, 0o600, "{program:?}");
    }
}

#[test]
fn busy_port_is_refused_with_haproxys_message() {
    lab::skip_unless_installed!("haproxy");
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap();
    let scratch = ScratchDirectory::new().unwrap();
    let config = listen(address, here());
    scratch.write("busy.cfg", config).unwrap();
    let started = Instant::now();
    let [ours, theirs] = Program::BOTH.map(|p| run(p, &["-db", "-f", "busy.cfg"], scratch.path()));
    assert!(started.elapsed() < SOON);
    assert_eq!((ours.code, theirs.code), (Some(1), Some(1)));
    for said in [ours, theirs] {
        let told = said
            .err
            .lines()
            .any(|line| line.starts_with("[ALERT]") && line.contains(&address.to_string()));
        assert!(told, "{}", said.err);
    }
}

#[test]
fn check_reports_every_error_of_a_file() {
    let scratch = ScratchDirectory::new().unwrap();
    let file = "global
    maxcon 100
    daemon yes no
defaults
    mode htp
    timeout clinet 5s
    timeout server 5x
frontend web
    bind 127.0.0.1:80800
    acl local src 127.0.0.300
    use_backend app if nowhere
    default_backend missing
backend app
    balance roundrobbin
    server s 127.0.0.1:80 chek
";
    scratch.write("ten.cfg", file).unwrap();
    let check = |format: &str| {
        Command::new(binary())
            .args(["check", "--format", format, "ten.cfg"])
            .current_dir(scratch.path())
            .output()
            .unwrap()
    };
    let concise = check("concise");
    assert_eq!(concise.status.code(), Some(1));
    let said = String::from_utf8_lossy(&concise.stdout).into_owned()
        + &String::from_utf8_lossy(&concise.stderr);
    let errors: Vec<usize> = said
        .lines()
        .filter(|line| line.contains(": error["))
        .filter_map(|line| line.split(':').nth(1)?.parse().ok())
        .collect();
    for line in [2, 5, 6, 7, 9, 10, 11, 12, 14, 15] {
        assert!(errors.contains(&line), "line {line} of:\n{said}");
    }
    for guess in ["maxconn", "roundrobin", "check", "client"] {
        assert!(said.contains(guess), "{guess} in:\n{said}");
    }
    let json = check("json");
    let text = String::from_utf8_lossy(&json.stdout);
    let found = text
        .lines()
        .all(|line| serde_json::from_str::<serde_json::Value>(line).is_ok())
        || serde_json::from_str::<serde_json::Value>(&text).is_ok();
    assert!(found, "{text}");
}

/// Tests the configuration of the package with its paths, socket and user.
#[test]
fn debians_own_file_starts_and_is_left_by_usr1() {
    lab::skip_unless_root!();
    const STOCK: &str = "/etc/haproxy/haproxy.cfg";
    lab::skip_unless_installed!("haproxy");
    if !Path::new(STOCK).exists() {
        return;
    }
    let scratch = ScratchDirectory::new().unwrap();
    let (_lab, host) = one_host("debian");
    // Nothing in it listens but the socket of operations, whose directory the
    // service makes.
    let text = std::fs::read_to_string(STOCK).unwrap();
    assert!(text.contains("stats socket /run/haproxy/admin.sock"));
    let socket = scratch.path().join("admin.sock").display().to_string();
    let text = text.replace("/run/haproxy/admin.sock", &socket);
    let file = scratch.write("haproxy.cfg", text).unwrap();
    let mut codes = Vec::new();
    for program in Program::BOTH {
        let mut command = program.command();
        command.args(["-c", "-f"]).arg(&file);
        codes.push(command.output().unwrap().status.code());
    }
    assert_eq!(codes[0], codes[1]);
    let mut command = Program::Evenkeel.command();
    command.arg("-db").arg("-f").arg(&file);
    let process = host.spawn(command).unwrap();
    assert!(
        eventually(SOON, || Path::new(&socket).exists()),
        "{:?}",
        process.exit()
    );
    assert_eq!(process.wait(Duration::from_millis(300)), None);
    process.signal(Signal::USR1).unwrap();
    assert_eq!(process.wait(SOON), Some(Exit::Code(0)));
}

#[test]
fn the_demonstration_by_script_loses_no_request() {
    let mut command = Command::new(binary());
    command.args(["demo", "--script"]).stdin(Stdio::null());
    let output = command.output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(
        output.status.success(),
        "{said}{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let total = said.lines().find(|line| line.starts_with("total")).unwrap();
    let numbers: Vec<u64> = total
        .split_whitespace()
        .filter_map(|word| word.parse().ok())
        .collect();
    assert!(numbers[0] > 100 && numbers.last() == Some(&0), "{total}");
}
