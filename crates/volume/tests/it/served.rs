//! A served volume: this test binary, started again with an environment variable that makes
//! one of its tests the server.

use lab::Scratch;
use protocol::nbd;
use std::fs::File;
use std::os::fd::AsFd;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;
use volume::disk::{Preference, Target};
use volume::export::Listener;
use volume::single::Single;

/// `ENGINE DIRECTORY`: the server serves `DIRECTORY/disk` at `DIRECTORY/socket`.
const SERVE: &str = "EVENKEEL_VOLUME_SERVE";
const START_MAX: Duration = Duration::from_secs(20);

/// Does nothing as a test.
#[test]
fn serves_a_volume_if_it_is_asked_to() {
    let Ok(asked) = std::env::var(SERVE) else {
        return;
    };
    let (engine, directory) = asked.split_once(' ').expect("two words");
    let directory = Path::new(directory);
    let prefers = match engine {
        "threads" => Preference::Threads,
        _ => Preference::Best,
    };
    let path = directory.join("disk");
    let size = path.metadata().expect("the disk's size").len();
    let target = Target {
        file: Arc::new(open(&path, engine != "buffered")),
        is_device: false,
        first: 0,
    };
    let export = nbd::Export {
        name: "mail".to_owned(),
        description: "the volume mail".to_owned(),
        size,
        read_only: false,
        multi_conn: true,
        block_min: 512,
        block_preferred: 4096,
    };
    let listener = UnixListener::bind(directory.join("socket")).expect("a socket");
    let listeners = vec![Listener::Unix(listener)];
    let single = Single::new(&target, export, listeners, prefers).expect("a volume");
    single.run(std::io::stdin().as_fd()).expect("served");
}

/// With direct I/O where there is.
pub(crate) fn open(path: &Path, direct: bool) -> File {
    use std::os::unix::fs::OpenOptionsExt;
    let mut options = File::options();
    options.read(true).write(true);
    let flags = rustix::fs::OFlags::DIRECT.bits() as i32;
    let directly = options.clone().custom_flags(flags).open(path);
    match directly {
        Ok(file) if direct => file,
        _ => options.open(path).expect("the disk"),
    }
}

/// A running server. It ends with this value.
pub(crate) struct Served {
    child: Child,
    pub(crate) scratch: Scratch,
    engine: &'static str,
}

impl Served {
    /// Serves a volume of zeroes.
    pub(crate) fn start(engine: &'static str, size: u64) -> Served {
        let scratch = Scratch::new().expect("a directory");
        let disk = File::create(scratch.path().join("disk")).expect("a disk");
        disk.set_len(size).expect("its size");
        Served {
            child: spawn(engine, scratch.path()),
            scratch,
            engine,
        }
    }

    /// Kills the server by SIGKILL, and starts another one.
    pub(crate) fn kill_and_start(&mut self) {
        self.child.kill().expect("killed");
        self.child.wait().expect("its end");
        std::fs::remove_file(self.socket()).expect("its socket");
        self.child = spawn(self.engine, self.scratch.path());
    }

    /// Stops the server, which ends by itself.
    pub(crate) fn stop(&mut self) {
        drop(self.child.stdin.take());
        let mut ended = None;
        let _ = lab::eventually(START_MAX, || {
            ended = self.child.try_wait().expect("its state");
            ended.is_some()
        });
        let ended = ended.expect("the server ends when it is told to");
        assert!(ended.success(), "{ended}");
    }

    pub(crate) fn socket(&self) -> PathBuf {
        self.scratch.path().join("socket")
    }

    pub(crate) fn disk(&self) -> PathBuf {
        self.scratch.path().join("disk")
    }

    /// As clients want it.
    pub(crate) fn uri(&self) -> String {
        format!("nbd+unix:///mail?socket={}", self.socket().display())
    }

    pub(crate) fn connect(&self) -> UnixStream {
        UnixStream::connect(self.socket()).expect("a connection")
    }

    /// Memory of the server that is in use, KiB.
    pub(crate) fn memory_kib(&self) -> u64 {
        let path = format!("/proc/{}/status", self.child.id());
        let status = std::fs::read_to_string(path).expect("its status");
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let words = line.expect("VmRSS").split_whitespace().next();
        words.expect("a number").parse().expect("a number")
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn spawn(engine: &str, directory: &Path) -> Child {
    let program = std::env::current_exe().expect("this program");
    let mut child = Command::new(program)
        .args(["--exact", "served::serves_a_volume_if_it_is_asked_to"])
        .args(["--nocapture", "--test-threads=1"])
        .env(SERVE, format!("{engine} {}", directory.display()))
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()
        .expect("a server");
    let socket = directory.join("socket");
    let is_up = lab::eventually(START_MAX, || UnixStream::connect(&socket).is_ok());
    if !is_up {
        let _ = child.kill();
        panic!("the server did not start: {:?}", child.wait());
    }
    child
}

/// Runs a program to its end, and returns its standard output.
pub(crate) fn run(program: &str, args: &[&str]) -> String {
    let output = Command::new("timeout")
        .args(["120", program])
        .args(args)
        .output()
        .unwrap_or_else(|error| panic!("{program}: {error}"));
    let (out, err) = (output.stdout, output.stderr);
    let (out, err) = (String::from_utf8_lossy(&out), String::from_utf8_lossy(&err));
    assert!(output.status.success(), "{program} {args:?}: {out}{err}");
    out.into_owned()
}
