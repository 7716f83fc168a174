//! Tests the takeover of listening sockets from a real HAProxy, and by one.

use crate::bed;
use configuration::LoadOptions;
use keyword::load::load;
use lab::{LabProcess, Location, Peer, ScratchDirectory, eventually};
use model::{config::Config, state};
use proxy::listener::{self, Inherited, Listening};
use proxy::operations::{self, OperationsSocket};
use proxy::running::{self, DataPlane, ServeOptions};
use proxy::takeover::{self, TakeoverError, TakeoverSource};
use std::collections::{BTreeMap, BTreeSet};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

const SOON: Duration = bed::PATIENCE;
/// Number of listeners in [`CONFIG`], including statistics sockets.
const SOCKETS: usize = 8;

/// Every kind of listener that both programs support; `@WHO@` names the one that responds.
const CONFIG: &str = "
    global
        stats socket {dir}/admin.sock level admin expose-fd listeners
        stats socket {dir}/shut.sock level admin
    defaults
        mode http
        timeout client 2s
        timeout server 2s
        timeout connect 2s
    frontend one
        bind 127.0.0.1:@0@
        bind [::]:@1@ v6only
        bind 127.0.0.1:@2@ interface lo
        bind unix@{dir}/web.sock mode 600
        bind abns@@ABSTRACT@
        bind *:@3@
        http-request redirect location /@WHO@
";

struct TakeoverSetup {
    ports: Vec<u16>,
    scratch: ScratchDirectory,
}

impl TakeoverSetup {
    fn new() -> TakeoverSetup {
        TakeoverSetup {
            ports: (0..4).map(|_| lab::free_port().unwrap()).collect(),
            scratch: ScratchDirectory::new().unwrap(),
        }
    }

    fn directory(&self) -> &Path {
        self.scratch.path()
    }

    fn address(&self, n: usize) -> SocketAddr {
        ([127, 0, 0, 1], self.ports[n]).into()
    }

    fn text(&self, who: &str) -> String {
        let mut text = CONFIG
            .replace("{dir}", &self.directory().display().to_string())
            .replace("@ABSTRACT@", &format!("takeover-{}", self.ports[0]))
            .replace("@WHO@", who);
        for (n, port) in self.ports.iter().enumerate() {
            text = text.replace(&format!("@{n}@"), &port.to_string());
        }
        text
    }

    fn config(&self) -> Config {
        let loaded = load(
            vec![("test.cfg".to_owned(), self.text("evenkeel").into_bytes())],
            language::Environment::empty(),
            language::Facts::new("2.6.12"),
            LoadOptions::default(),
        );
        let told = language::render::concise(&loaded.sources, &loaded.diagnostics, true);
        let mut config = loaded.config.unwrap_or_else(|| panic!("{told}"));
        reactor::set_shards(2);
        model::control::install(&mut config, None, state::now_ms());
        config
    }

    fn admin(&self) -> TakeoverSource {
        TakeoverSource::Path(self.directory().join("admin.sock"))
    }

    /// Returns which program responds on a Unix socket and on all ports.
    fn answers(&self) -> BTreeSet<String> {
        let mut all = BTreeSet::new();
        for n in [0, 2, 3] {
            all.insert(who(TcpStream::connect(self.address(n))));
        }
        all.insert(who(TcpStream::connect(("::1", self.ports[1]))));
        all.insert(who(UnixStream::connect(self.directory().join("web.sock"))));
        all
    }
}

/// Returns which program sent the redirect on a connection.
fn who<S: Read + Write>(stream: std::io::Result<S>) -> String {
    let mut stream = match stream {
        Ok(stream) => stream,
        Err(error) => return error.to_string(),
    };
    let mut answer = String::new();
    let request = b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";
    if let Err(error) = stream.write_all(request) {
        return error.to_string();
    }
    // A reset after the response does not matter.
    let _ = stream.read_to_string(&mut answer);
    let location = answer.lines().find_map(|l| {
        l.to_ascii_lowercase()
            .strip_prefix("location: /")
            .map(str::to_owned)
    });
    location.unwrap_or(answer)
}

/// Our side, serving on these sockets and the statistics sockets.
struct Ours {
    running: DataPlane,
    inodes: BTreeSet<u64>,
    side: Option<(tokio::sync::oneshot::Sender<()>, JoinHandle<()>)>,
}

impl Ours {
    fn serve(config: Config, listening: Vec<Listening>, sockets: Vec<OperationsSocket>) -> Ours {
        let options = ServeOptions {
            threads: 1,
            connections_max: 1000,
        };
        let inodes = inodes(&listening, &sockets);
        let running = running::serve(Arc::new(config), listening, &options).unwrap();
        let side = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        operations::start(running.runtime, sockets, side.handle()).unwrap();
        let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
        let side = std::thread::spawn(move || {
            let _ = side.block_on(stopped);
        });
        Ours {
            running,
            inodes,
            side: Some((stop, side)),
        }
    }
}

impl Drop for Ours {
    fn drop(&mut self) {
        self.running.stop();
        let _ = self.running.wait();
        if let Some((stop, side)) = self.side.take() {
            drop(stop);
            let _ = side.join();
        }
    }
}

fn inodes(listening: &[Listening], sockets: &[OperationsSocket]) -> BTreeSet<u64> {
    let stat = |socket: &OperationsSocket| rustix::fs::fstat(socket.as_fd()).unwrap().st_ino;
    let listening = listening.iter().map(|one| one.inode);
    listening.chain(sockets.iter().map(stat)).collect()
}

fn sockets_of(process: &LabProcess) -> BTreeSet<u64> {
    let folder = format!("/proc/{}/fd", process.pid());
    let entries = std::fs::read_dir(folder).unwrap();
    let targets = entries.filter_map(|entry| std::fs::read_link(entry.ok()?.path()).ok());
    targets
        .filter_map(|target| {
            let target = target.to_str()?.to_owned();
            target
                .strip_prefix("socket:[")?
                .strip_suffix(']')?
                .parse()
                .ok()
        })
        .collect()
}

/// Returns the sockets of all processes that listen on a TCP port.
fn listening_on(port: u16) -> BTreeSet<u64> {
    const LISTEN: &str = "0A";
    let mut all = BTreeSet::new();
    for table in ["/proc/net/tcp", "/proc/net/tcp6"] {
        for line in std::fs::read_to_string(table).unwrap().lines() {
            let words: Vec<&str> = line.split_whitespace().collect();
            if words.len() > 9 && words[3] == LISTEN && words[1].ends_with(&format!(":{port:04X}"))
            {
                all.insert(words[9].parse().unwrap());
            }
        }
    }
    all
}

fn open_with(
    inherited: &mut Inherited,
    config: &Config,
) -> (Vec<Listening>, Vec<OperationsSocket>) {
    let (listening, errors) = listener::open(config, inherited);
    assert!(errors.is_empty(), "{errors:?}");
    let (sockets, failures) = operations::open(config, inherited);
    assert!(failures.is_empty(), "{failures:?}");
    inherited.settle().unwrap();
    (listening, sockets)
}

/// Starts HAProxy, and waits until it listens on its Unix sockets, which it opens last.
fn haproxy(scene: &TakeoverSetup, text: &str) -> Peer {
    let peer = Peer::haproxy(Location::Here, text, scene.address(0)).unwrap();
    let listens = |name: &str| UnixStream::connect(scene.directory().join(name)).is_ok();
    let all = || {
        ["admin.sock", "shut.sock", "web.sock"]
            .iter()
            .all(|name| listens(name))
    };
    assert!(eventually(SOON, all), "{}", peer.output());
    peer
}

#[test]
fn every_listener_kind_is_taken_over_from_haproxy() {
    lab::skip_unless_root!();
    lab::skip_unless_installed!("haproxy");
    let _one = bed::alone();
    let scene = TakeoverSetup::new();
    let peer = haproxy(&scene, &scene.text("haproxy"));
    assert_eq!(scene.answers(), BTreeSet::from(["haproxy".to_owned()]));
    let theirs = sockets_of(peer.process());
    let taken = takeover::fetch(&scene.admin(), SOON).unwrap();
    assert_eq!(taken.len(), SOCKETS);
    let said = taken
        .iter()
        .filter(|one| &*one.description.interface == b"lo");
    assert_eq!(said.count(), 1);
    let mut inherited = Inherited::default();
    for one in taken {
        inherited.add(one.fd).unwrap();
    }
    let config = scene.config();
    let (listening, sockets) = open_with(&mut inherited, &config);
    assert!(inherited.is_empty(), "{inherited:?}");
    let ours = inodes(&listening, &sockets);
    assert_eq!(ours.len(), SOCKETS);
    assert!(ours.is_subset(&theirs));
    drop(peer);
    let _ours = Ours::serve(config, listening, sockets);
    assert_eq!(scene.answers(), BTreeSet::from(["evenkeel".to_owned()]));
}

#[test]
fn takeover_from_haproxy_fails_no_connection() {
    lab::skip_unless_root!();
    lab::skip_unless_installed!("haproxy");
    let _one = bed::alone();
    let scene = Arc::new(TakeoverSetup::new());
    let peer = haproxy(&scene, &scene.text("haproxy"));
    let ended = Arc::new(AtomicBool::new(false));
    let clients = [(); 2].map(|()| {
        let (scene, ended) = (Arc::clone(&scene), Arc::clone(&ended));
        std::thread::spawn(move || {
            let mut answers = BTreeMap::new();
            while !ended.load(Ordering::Relaxed) {
                for answer in scene.answers() {
                    *answers.entry(answer).or_insert(0) += 1;
                }
            }
            answers
        })
    });
    let mut inherited = Inherited::default();
    for one in takeover::fetch(&scene.admin(), SOON).unwrap() {
        inherited.add(one.fd).unwrap();
    }
    let config = scene.config();
    let (listening, sockets) = open_with(&mut inherited, &config);
    let ours = Ours::serve(config, listening, sockets);
    bed::pause(100);
    peer.process().signal(lab::Signal::USR1).unwrap();
    assert!(peer.process().wait(SOON).is_some(), "{}", peer.output());
    bed::pause(100);
    ended.store(true, Ordering::Relaxed);
    for client in clients {
        let answers = client.join().unwrap();
        let who: Vec<&str> = answers.keys().map(String::as_str).collect();
        assert_eq!(who, ["evenkeel", "haproxy"], "{answers:?}");
    }
    drop(ours);
}

#[test]
fn disabled_listener_of_haproxy_is_taken_over() {
    lab::skip_unless_root!();
    lab::skip_unless_installed!("haproxy");
    let _one = bed::alone();
    let scene = TakeoverSetup::new();
    // HAProxy 2.6 exits at once if one of its sockets is in the abstract name space.
    let text = scene.text("haproxy");
    let lines = text.lines().filter(|line| !line.contains("abns@"));
    let text: String = lines.map(|line| format!("{line}\n")).collect();
    let peer = haproxy(&scene, &text);
    let mut admin = UnixStream::connect(scene.directory().join("admin.sock")).unwrap();
    admin.write_all(b"disable frontend one\n").unwrap();
    let mut answer = String::new();
    admin.read_to_string(&mut answer).unwrap();
    assert_eq!(answer, "\n", "{}", peer.output());
    assert!(listening_on(scene.ports[0]).is_empty());
    let theirs = sockets_of(peer.process());
    let mut inherited = Inherited::default();
    for one in takeover::fetch(&scene.admin(), SOON).unwrap() {
        // Unix sockets cannot be paused, so haproxy closes or keeps them.
        let _ = inherited.add(one.fd);
    }
    let config = scene.config();
    let (listening, sockets) = open_with(&mut inherited, &config);
    for n in [0, 1, 2, 5] {
        assert!(theirs.contains(&listening[n].inode), "{n}");
    }
    drop(peer);
    let _ours = Ours::serve(config, listening, sockets);
    assert_eq!(scene.answers(), BTreeSet::from(["evenkeel".to_owned()]));
}

#[test]
fn haproxy_without_expose_fd_differs_from_a_missing_one() {
    lab::skip_unless_root!();
    lab::skip_unless_installed!("haproxy");
    let _one = bed::alone();
    let scene = TakeoverSetup::new();
    let peer = haproxy(&scene, &scene.text("haproxy"));
    let shut = TakeoverSource::Path(scene.directory().join("shut.sock"));
    let result = takeover::fetch(&shut, SOON);
    assert!(matches!(result, Err(TakeoverError::Refused)), "{result:?}");
    drop(peer);
    let result = takeover::fetch(&shut, SOON);
    assert!(
        matches!(result, Err(TakeoverError::Connect(_))),
        "{result:?}"
    );
}

#[test]
fn haproxy_takes_over_every_listener_kind() {
    lab::skip_unless_root!();
    lab::skip_unless_installed!("haproxy");
    let _one = bed::alone();
    let scene = TakeoverSetup::new();
    let config = scene.config();
    let (listening, sockets) = open_with(&mut Inherited::default(), &config);
    let ours = Ours::serve(config, listening, sockets);
    assert_eq!(scene.answers(), BTreeSet::from(["evenkeel".to_owned()]));
    let admin = scene.directory().join("admin.sock").display().to_string();
    let args = ["-db", "-f", "{dir}/config", "-x", &admin];
    let text = scene.text("haproxy");
    let peer = Peer::start(Location::Here, "haproxy", &args, &text, scene.address(0)).unwrap();
    // The response may have come from our side; HAProxy has its sockets a moment later.
    let has_all = || ours.inodes.is_subset(&sockets_of(peer.process()));
    assert!(eventually(SOON, has_all), "{}", peer.output());
    for port in &scene.ports {
        let all = listening_on(*port);
        assert_eq!(all.len(), 1, "{port}");
        assert!(all.is_subset(&ours.inodes), "{port}");
    }
    // The handover has closed no socket: once our side ends, HAProxy answers on all of them.
    drop(ours);
    let haproxy = || scene.answers() == BTreeSet::from(["haproxy".to_owned()]);
    assert!(eventually(SOON, haproxy), "{:?}", scene.answers());
}

#[test]
fn our_socket_without_the_option_refuses_haproxy() {
    lab::skip_unless_root!();
    lab::skip_unless_installed!("haproxy");
    let _one = bed::alone();
    let scene = TakeoverSetup::new();
    let config = scene.config();
    let (listening, sockets) = open_with(&mut Inherited::default(), &config);
    let _ours = Ours::serve(config, listening, sockets);
    let file = scene
        .scratch
        .write("config", scene.text("haproxy"))
        .unwrap();
    let mut command = Command::new("haproxy");
    command.env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin");
    command
        .args(["-db", "-f"])
        .arg(file)
        .arg("-x")
        .arg(scene.directory().join("shut.sock"));
    let output = command.output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(told.contains("Failed to get the sockets"), "{told}");
}
