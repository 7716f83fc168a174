//! Tests of processes that serve TLS and HTTP/2, with open connections and streams in progress:
//! reloads, upgrades, adoption, takeovers and soft stops.

use crate::harness::{PATIENCE, evenkeel, start};
use crate::supervised::{Supervised, lives};
use lab::pki::{Authority, Issued, KeyKind, Leaf};
use lab::tls::{TlsClient, TlsConnection, TlsOffer, Versions};
use lab::{OriginServer, ScratchDirectory, eventually, free_port};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::net::SocketAddr;
use std::process::{Child, Command, Output, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};

const NAME: &str = "site.test";

/// Configuration of a TLS proxy: a directory with certificates, a port, and a server.
pub struct TlsProcessFixture {
    pub scratch: ScratchDirectory,
    pub authority: Authority,
    pub port: u16,
    pub origin: OriginServer,
}

impl TlsProcessFixture {
    pub fn new() -> TlsProcessFixture {
        let bed = TlsProcessFixture {
            scratch: ScratchDirectory::new().unwrap(),
            authority: Authority::new("Test CA").unwrap(),
            port: free_port().unwrap(),
            origin: OriginServer::start_local("web").unwrap(),
        };
        bed.issue("site.pem", KeyKind::Ecdsa);
        let ca = bed.authority.certificate_pem();
        bed.scratch.write("ca.pem", ca).unwrap();
        bed
    }

    /// Issues a certificate and writes it with its key into a file.
    pub fn issue(&self, file: &str, key: KeyKind) -> Issued {
        let leaf = Leaf {
            names: &[NAME],
            key,
            ..Leaf::default()
        };
        let issued = self.authority.issue(&leaf).unwrap();
        self.scratch.write(file, issued.bundle()).unwrap();
        issued
    }

    pub fn word(&self, file: &str) -> String {
        self.scratch.path().join(file).display().to_string()
    }

    /// Returns the usual options of the `bind` line.
    pub fn usual(&self) -> String {
        format!("ssl crt {} alpn h2,http/1.1", self.word("site.pem"))
    }

    /// Writes the configuration with these lines in `global`, options of `bind`, and lines of the
    /// frontend.
    pub fn write(&self, global: &str, bind: &str, more: &str) {
        self.write_to(global, bind, more, &self.origin.address().to_string());
    }

    /// Writes the configuration as [`TlsProcessFixture::write`] does, with another server address
    /// and its options.
    pub fn write_to(&self, global: &str, bind: &str, more: &str, server: &str) {
        let port = self.port;
        let text = format!(
            "global\n    maxconn 400\n{global}\ndefaults\n    mode http\n    timeout client 60s\n    timeout server 60s\n    \
             timeout connect 5s\nfrontend web\n    bind 127.0.0.1:{port} {bind}\n{more}    default_backend app\nbackend app\n    \
             http-reuse always\n    retries 0\n    server one {server}\n"
        );
        self.scratch.write("a.cfg", text).unwrap();
    }

    pub fn address(&self) -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], self.port))
    }

    pub fn url(&self, path: &str) -> String {
        format!("https://127.0.0.1:{}/{path}", self.port)
    }

    /// Starts `evenkeel run`, and waits until the proxy accepts TLS.
    pub fn run(&self) -> Supervised {
        let supervised = Supervised::run(&self.scratch, "a.cfg");
        self.serves();
        supervised
    }

    pub fn serves(&self) {
        let client = self.client(false, Versions::Both);
        let serves = || client.connect(self.address()).is_ok();
        assert!(eventually(PATIENCE, serves), "nobody serves TLS");
    }

    pub fn client(&self, resume: bool, versions: Versions) -> TlsClient {
        let offer = TlsOffer {
            sni: Some(NAME),
            roots: &[self.authority.der()],
            versions,
            resume,
            ..TlsOffer::default()
        };
        TlsClient::new_local(&offer).unwrap()
    }

    pub fn connect(&self) -> TlsConnection {
        let client = self.client(false, Versions::Both);
        client.connect(self.address()).unwrap()
    }

    /// Starts curl over HTTP/2 in the background.
    fn curl(&self, arguments: &[&str]) -> Child {
        Command::new("curl")
            .args([
                "--silent",
                "--show-error",
                "--fail",
                "--insecure",
                "--http2",
            ])
            .args(["--max-time", "60"])
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap()
    }
}

fn ends_well(child: Child) -> Output {
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{output:?}");
    output
}

fn reloads(supervised: &Supervised) {
    let outcome = supervised.reload();
    assert_eq!(outcome.code(), Some(0), "{}", outcome.stderr);
}

/// A server whose chunked response ends when the test permits it.
struct Slow {
    address: SocketAddr,
    begun: std::sync::mpsc::Receiver<()>,
    finish: std::sync::mpsc::Sender<()>,
}

/// Size of the response of [`Slow`], in bytes.
const SLOW_BYTES: usize = 400_000;

fn slow() -> Slow {
    use std::io::{Read, Write};
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let (tell, begun) = std::sync::mpsc::channel();
    let (finish, told) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        let told: std::sync::mpsc::Receiver<()> = told;
        for mut stream in listener.incoming().flatten() {
            let _ = stream.read(&mut [0; 4096]);
            let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {SLOW_BYTES}\r\n\r\n");
            let half = vec![b'x'; SLOW_BYTES / 2];
            let _ = stream.write_all(head.as_bytes());
            let _ = stream.write_all(&half);
            let _ = tell.send(());
            let _ = told.recv();
            let _ = stream.write_all(&half);
        }
    });
    Slow {
        address,
        begun,
        finish,
    }
}

#[test]
fn changes_of_the_file_under_load_fail_no_request_and_keep_idle_connections() {
    lab::skip_unless_installed!("h2load");
    let bed = TlsProcessFixture::new();
    let write = |n: usize| {
        let more = format!("    http-response set-header x-version {n}\n");
        bed.write("", &bed.usual(), &more);
    };
    write(0);
    let supervised = bed.run();
    let mut idle = bed.connect();
    assert_eq!(idle.get("/").unwrap().header("x-version"), Some("0"));
    let client = bed.client(true, Versions::Both);
    client.connect(bed.address()).unwrap().get("/").unwrap();
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let load = scope.spawn(|| {
            let mut rounds = 0;
            while !stop.load(Ordering::Relaxed) || rounds == 0 {
                rounds += 1;
                let said = Command::new("h2load")
                    .args(["-n", "3000", "-c", "6", "-m", "10", &bed.url("")])
                    .output()
                    .unwrap();
                let said = String::from_utf8_lossy(&said.stdout).into_owned();
                let none = "status codes: 3000 2xx, 0 3xx, 0 4xx, 0 5xx";
                assert!(said.contains(none), "{said}");
            }
        });
        for n in 1..=10 {
            write(n);
            reloads(&supervised);
            let version = n.to_string();
            let answer = idle.get("/").unwrap();
            assert_eq!(answer.header("x-version"), Some(version.as_str()));
            let mut again = client.connect(bed.address()).unwrap();
            assert_eq!(again.get("/").unwrap().status, 200);
            assert!(again.negotiated().resumed, "change {n}");
        }
        stop.store(true, Ordering::Relaxed);
        load.join().unwrap();
    });
    assert_eq!(supervised.end(Signal::SIGTERM).code(), Some(0));
}

#[test]
fn open_stream_survives_reloads_and_a_soft_stop() {
    lab::skip_unless_installed!("curl");
    let bed = TlsProcessFixture::new();
    let slow = slow();
    let write = |more| bed.write_to("", &bed.usual(), more, &slow.address.to_string());
    write("");
    let supervised = bed.run();
    let under_way = bed.curl(&[&bed.url("slow")]);
    slow.begun.recv_timeout(PATIENCE).unwrap();
    write("    http-request return status 200 content-type text/plain string new\n");
    reloads(&supervised);
    // Another stream uses the new version while the first one waits.
    let next = ends_well(bed.curl(&[&bed.url("next")]));
    assert_eq!(next.stdout, b"new");
    supervised.signal(Signal::SIGUSR1);
    let refused = || std::net::TcpStream::connect(bed.address()).is_err();
    assert!(eventually(PATIENCE, refused), "it still listens");
    slow.finish.send(()).unwrap();
    let whole = ends_well(under_way);
    assert_eq!(whole.stdout.len(), SLOW_BYTES);
    assert_eq!(supervised.finish().code(), Some(0));
}

#[test]
fn streams_end_in_the_old_process_after_a_takeover() {
    lab::skip_unless_installed!("curl");
    let bed = TlsProcessFixture::new();
    let slow = slow();
    let socket = bed.word("s");
    let global = format!("    stats socket {socket} mode 600 level admin expose-fd listeners\n");
    let write = |more| bed.write_to(&global, &bed.usual(), more, &slow.address.to_string());
    write("");
    let begin = |more: &[&str]| {
        let all = [&["haproxy", "-db", "-f", "a.cfg"], more].concat();
        ChildGuard(start(evenkeel(), bed.scratch.path(), all))
    };
    let mut first = begin(&[]);
    bed.serves();
    let under_way = bed.curl(&[&bed.url("slow")]);
    slow.begun.recv_timeout(PATIENCE).unwrap();
    write("    http-request return status 200 content-type text/plain string new\n");
    let pid = first.0.id().to_string();
    let _second = begin(&["-x", &socket, "-sf", &pid]);
    let new = || {
        bed.connect()
            .get("/")
            .is_ok_and(|answer| answer.text() == "new")
    };
    assert!(eventually(PATIENCE, new), "the second does not serve");
    slow.finish.send(()).unwrap();
    assert_eq!(ends_well(under_way).stdout.len(), SLOW_BYTES);
    let ended = || first.0.try_wait().is_ok_and(|status| status.is_some());
    assert!(eventually(PATIENCE, ended), "the first does not end");
}

struct ChildGuard(Child);

impl Drop for ChildGuard {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn connections_outlive_the_supervisor_and_keys_are_read_again_by_the_next() {
    let bed = TlsProcessFixture::new();
    bed.write("", &bed.usual(), "");
    let first = bed.run();
    let mut kept = bed.connect();
    assert_eq!(kept.get("/").unwrap().status, 200);
    let role = first.role().unwrap();
    first.signal(Signal::SIGKILL);
    assert!(eventually(PATIENCE, || !lives(first.pid.as_raw())));
    assert_eq!(kept.get("/").unwrap().status, 200, "nobody supervises");
    bed.write(
        "",
        &bed.usual(),
        "    http-response set-header x-next yes\n",
    );
    let second = bed.run();
    let next = |kept: &mut TlsConnection| {
        let answer = kept.get("/").unwrap();
        answer.header("x-next").map(str::to_owned)
    };
    let taken = || next(&mut kept).as_deref() == Some("yes");
    assert!(eventually(PATIENCE, taken), "the file is not taken in");
    assert!(eventually(PATIENCE, || lives(role)), "another role");
    // The next supervisor has the keys and can start a role by itself.
    kill(Pid::from_raw(role), Signal::SIGKILL).unwrap();
    assert!(eventually(PATIENCE, || !lives(role)));
    bed.serves();
    assert_eq!(bed.connect().get("/").unwrap().status, 200);
    assert_eq!(second.end(Signal::SIGTERM).code(), Some(0));
}

#[test]
fn a_bind_gains_and_loses_tls_and_changes_its_protocols_and_certificate() {
    let bed = TlsProcessFixture::new();
    let shown = |alpn: &[&str]| {
        let roots = [bed.authority.der()];
        let offer = TlsOffer {
            sni: Some(NAME),
            roots: &roots,
            alpn,
            ..TlsOffer::default()
        };
        let client = TlsClient::new_local(&offer).unwrap();
        let connection = client.connect(bed.address()).ok()?;
        let negotiated = connection.negotiated();
        let alpn = negotiated.alpn.clone();
        Some((alpn, negotiated.certificates[0].to_vec()))
    };
    let plain = || {
        let mut probe = lab::Probe::new(lab::Location::Here, bed.address());
        probe.get("/").ok().map(|answer| answer.status)
    };
    bed.write("", "", "");
    let supervised = Supervised::run(&bed.scratch, "a.cfg");
    assert!(eventually(PATIENCE, || plain() == Some(200)));
    let mut before = lab::Probe::new(lab::Location::Here, bed.address());
    before.get("/").unwrap();
    let one = bed.issue("site.pem", KeyKind::Ecdsa);
    bed.write("", &bed.usual(), "");
    reloads(&supervised);
    assert_eq!(plain(), None, "it speaks TLS now");
    let (alpn, certificate) = shown(&["h2", "http/1.1"]).unwrap();
    assert_eq!((alpn, certificate), (Some("h2".into()), one.der));
    let two = bed.issue("two.pem", KeyKind::Rsa2048);
    let other = format!("ssl crt {} alpn http/1.1", bed.word("two.pem"));
    bed.write("", &other, "");
    reloads(&supervised);
    let (alpn, certificate) = shown(&["h2", "http/1.1"]).unwrap();
    assert_eq!((alpn, certificate), (Some("http/1.1".into()), two.der));
    bed.write("", "", "");
    reloads(&supervised);
    assert_eq!(plain(), Some(200));
    assert_eq!(shown(&[]), None);
    assert_eq!(supervised.end(Signal::SIGTERM).code(), Some(0));
}

#[test]
fn changed_tls_settings_retire_idle_server_connections() {
    let bed = TlsProcessFixture::new();
    let site = bed.issue("site.pem", KeyKind::Ecdsa);
    let server = lab::tls::TlsServer::new(&site, &lab::tls::Terms::default()).unwrap();
    let origin = OriginServer::tls(
        lab::Location::Here,
        "tls",
        "127.0.0.1:0".parse().unwrap(),
        server,
    );
    let origin = origin.unwrap();
    let stranger = Authority::new("Stranger").unwrap();
    bed.scratch
        .write("stranger.pem", stranger.certificate_pem())
        .unwrap();
    let write = |words: &str| {
        let server = format!("{} {words}", origin.address());
        bed.write_to("", &bed.usual(), "", &server);
    };
    write("ssl verify none");
    let supervised = bed.run();
    let mut client = bed.connect();
    for _ in 0..3 {
        assert_eq!(client.get("/").unwrap().text(), "tls");
    }
    let (ca, other) = (bed.word("ca.pem"), bed.word("stranger.pem"));
    for (words, status) in [
        (format!("ssl verify required ca-file {other}"), 503),
        (format!("ssl verify required ca-file {ca}"), 200),
        (
            format!("ssl verify required ca-file {ca} verifyhost other.test"),
            503,
        ),
        (
            format!("ssl verify required ca-file {ca} verifyhost {NAME}"),
            200,
        ),
    ] {
        write(&words);
        reloads(&supervised);
        let answer = client.get("/").unwrap();
        assert_eq!(answer.status, status, "{words}");
    }
    assert_eq!(supervised.end(Signal::SIGTERM).code(), Some(0));
}

#[test]
fn an_upgrade_of_the_program_lets_streams_end_in_the_old_one() {
    lab::skip_unless_installed!("curl");
    let bed = TlsProcessFixture::new();
    let slow = slow();
    let program = bed.scratch.path().join("evenkeel");
    let copy = |to: &std::path::Path| {
        // Copied by another process: a parallel test may inherit a descriptor for writing.
        let status = Command::new("cp").arg(evenkeel()).arg(to).status();
        assert!(status.unwrap().success());
    };
    copy(&program);
    let write = |more| bed.write_to("", &bed.usual(), more, &slow.address.to_string());
    write("");
    let supervised = Supervised::start(&program, bed.scratch.path(), ["run", "-f", "a.cfg"]);
    bed.serves();
    let old = supervised.role().unwrap();
    let under_way = bed.curl(&[&bed.url("slow")]);
    slow.begun.recv_timeout(PATIENCE).unwrap();
    let new = bed.scratch.path().join("new");
    copy(&new);
    std::fs::rename(&new, &program).unwrap();
    write("    http-request return status 200 content-type text/plain string new\n");
    reloads(&supervised);
    assert_eq!(bed.connect().get("/").unwrap().text(), "new");
    slow.finish.send(()).unwrap();
    assert_eq!(ends_well(under_way).stdout.len(), SLOW_BYTES);
    assert!(eventually(PATIENCE, || !lives(old)), "the old one finishes");
    // The new supervisor has the keys, too.
    let role = supervised.role().unwrap();
    kill(Pid::from_raw(role), Signal::SIGKILL).unwrap();
    assert!(eventually(PATIENCE, || !lives(role)));
    bed.serves();
    assert_eq!(bed.connect().get("/").unwrap().text(), "new");
    assert_eq!(supervised.end(Signal::SIGTERM).code(), Some(0));
}

/// Reads the next frame of an HTTP/2 connection: its type and payload.
fn next_frame(connection: &mut TlsConnection) -> Option<(u8, Vec<u8>)> {
    use std::io::Read;
    let mut head = [0; 9];
    connection.read_exact(&mut head).ok()?;
    let length = u32::from_be_bytes([0, head[0], head[1], head[2]]);
    let mut payload = vec![0; length as usize];
    connection.read_exact(&mut payload).ok()?;
    Some((head[3], payload))
}

const SETTINGS: u8 = 4;
const PING: u8 = 6;
const GOAWAY: u8 = 7;

/// Waits for a frame of a type; None when the connection ends before.
fn awaits(connection: &mut TlsConnection, kind: u8) -> Option<Vec<u8>> {
    loop {
        let (found, payload) = next_frame(connection)?;
        if found == kind {
            return Some(payload);
        }
    }
}

fn http2(bed: &TlsProcessFixture) -> TlsConnection {
    use std::io::Write;
    let offer = TlsOffer {
        sni: Some(NAME),
        alpn: &["h2"],
        ..TlsOffer::default()
    };
    let client = TlsClient::new_local(&offer).unwrap().timeout(PATIENCE);
    let mut connection = client.connect(bed.address()).unwrap();
    assert_eq!(connection.negotiated().alpn.as_deref(), Some("h2"));
    let mut opening = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
    opening.extend([0, 0, 0, SETTINGS, 0, 0, 0, 0, 0]);
    connection.write_all(&opening).unwrap();
    awaits(&mut connection, SETTINGS).unwrap();
    connection
}

fn ping(connection: &mut TlsConnection) -> bool {
    use std::io::Write;
    let ping = [&[0, 0, 8, PING, 0, 0, 0, 0, 0][..], b"evenkeel"].concat();
    connection.write_all(&ping).is_ok() && awaits(connection, PING).is_some()
}

#[test]
fn idle_connection_survives_reloads_and_gets_goaway_at_soft_stop() {
    let bed = TlsProcessFixture::new();
    bed.write("", &bed.usual(), "");
    let supervised = bed.run();
    let mut idle = http2(&bed);
    for n in 0..3 {
        let more = format!("    http-response set-header x-version {n}\n");
        bed.write("", &bed.usual(), &more);
        reloads(&supervised);
        assert!(ping(&mut idle), "change {n} closed it");
    }
    supervised.signal(Signal::SIGUSR1);
    let said = awaits(&mut idle, GOAWAY).expect("a GOAWAY before the end");
    assert_eq!(&said[4..8], [0; 4], "no error");
    // Without open streams the process ends by itself.
    assert_eq!(supervised.finish().code(), Some(0));
}

#[test]
fn connection_gets_goaway_when_its_listener_loses_http2() {
    let bed = TlsProcessFixture::new();
    bed.write("", &bed.usual(), "");
    let supervised = bed.run();
    let mut idle = http2(&bed);
    bed.write("", "", "");
    reloads(&supervised);
    assert!(awaits(&mut idle, GOAWAY).is_some(), "no GOAWAY");
    assert_eq!(supervised.end(Signal::SIGTERM).code(), Some(0));
}

#[test]
fn takeovers_under_load_fail_no_request_over_tls() {
    lab::skip_unless_installed!("curl");
    let bed = TlsProcessFixture::new();
    let socket = bed.word("s");
    let global = format!("    stats socket {socket} mode 600 level admin expose-fd listeners\n");
    bed.write(&global, &bed.usual(), "");
    let begin = |more: &[&str]| {
        let all = [&["haproxy", "-db", "-f", "a.cfg"], more].concat();
        ChildGuard(start(evenkeel(), bed.scratch.path(), all))
    };
    let mut serving = begin(&[]);
    bed.serves();
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let curls = scope.spawn(|| {
            let mut asked = 0;
            while !stop.load(Ordering::Relaxed) {
                let url = bed.url("");
                let all = [url.as_str(); 5];
                assert_eq!(ends_well(bed.curl(&all)).stdout, b"webwebwebwebweb");
                asked += 1;
            }
            asked
        });
        let kept = scope.spawn(|| {
            // Uses a client that keeps its connection until the server closes it, and resumes TLS
            // sessions.
            let client = bed.client(true, Versions::Both);
            let mut connection = client.connect(bed.address()).unwrap();
            while !stop.load(Ordering::Relaxed) {
                let answer = connection.get("/").unwrap();
                assert_eq!(answer.status, 200);
                let closes = |said: &str| said.eq_ignore_ascii_case("close");
                if answer.header("connection").is_some_and(closes) {
                    connection = client.connect(bed.address()).unwrap();
                }
            }
        });
        for _ in 0..4 {
            let pid = serving.0.id().to_string();
            let next = begin(&["-x", &socket, "-sf", &pid]);
            let mut before = std::mem::replace(&mut serving, next);
            let ended = || before.0.try_wait().is_ok_and(|status| status.is_some());
            assert!(eventually(PATIENCE, ended), "the one before does not end");
        }
        stop.store(true, Ordering::Relaxed);
        assert!(curls.join().unwrap() > 0);
        kept.join().unwrap();
    });
}
