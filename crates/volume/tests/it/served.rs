//! Serves a volume in another process, for tests: this test binary, started with an environment
//! variable that turns one of its tests into the server.

use lab::ScratchDirectory;
use protocol::nbd;
use rustix::fs::OFlags;
use std::os::fd::AsFd;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;
use volume::device::{self, Backing, DeviceError};
use volume::disk::Preference;
use volume::export::ExportListener;
use volume::layout::{Superblock, SyncState, VolumeId};
use volume::single::Single;

/// `ENGINE DIRECTORY`: the server serves `DIRECTORY/mail.volume` at `DIRECTORY/socket`.
const SERVE: &str = "EVENKEEL_VOLUME_SERVE";
const NAME: &str = "mail";
const ID: VolumeId = VolumeId([5; 16]);
const START_MAX: Duration = Duration::from_secs(20);

/// Does nothing when it runs as a test.
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
    // The kernel may still be completing disk operations of a previous server that has exited.
    let mut opened = None;
    let is_free = lab::eventually(START_MAX, || {
        let one = device::open(&Backing::File(directory.into()), NAME, Some(ID));
        let is_in_use = matches!(one, Err(DeviceError::InUse(_)));
        opened = Some(one);
        !is_in_use
    });
    assert!(is_free, "the copy stays in use");
    let (device, _, loaded) = opened.expect("a try").expect("the copy");
    if engine == "buffered" {
        rustix::fs::fcntl_setfl(&device.data.file, OFlags::RDWR).expect("without O_DIRECT");
    }
    let export = nbd::Export {
        name: NAME.to_owned(),
        description: "the volume mail".to_owned(),
        size: loaded.head.size_bytes,
        read_only: false,
        multi_conn: true,
        block_min: device.sector_bytes,
        block_preferred: 4096,
    };
    let listener = UnixListener::bind(directory.join("socket")).expect("a socket");
    let listeners = vec![ExportListener::Unix(listener)];
    let single = Single::new(&device.data, export, listeners, prefers).expect("a volume");
    assert!(
        engine != "ring" || single.uses_ring(),
        "this kernel has io_uring"
    );
    single.run(std::io::stdin().as_fd()).expect("served");
}

/// Running server, which is killed when dropped.
pub(crate) struct VolumeServer {
    child: Child,
    pub(crate) scratch: ScratchDirectory,
    engine: &'static str,
}

impl VolumeServer {
    /// Serves a volume full of zeroes.
    pub(crate) fn start(engine: &'static str, size: u64) -> VolumeServer {
        let scratch = ScratchDirectory::new().expect("a directory");
        let head = Superblock {
            volume: Some(ID),
            size_bytes: size,
            data_offset: 0,
            promised: 1,
            incarnation: 1,
            state: SyncState::Joined(1),
            unflushed: None,
            hot: Vec::new(),
            identity: None,
            overwrite: None,
        };
        let backing = Backing::File(scratch.path().to_path_buf());
        drop(device::create(&backing, NAME, head, false, &mut |_| {}).expect("a copy"));
        VolumeServer {
            child: spawn(engine, scratch.path()),
            scratch,
            engine,
        }
    }

    /// Kills the server with SIGKILL, and starts another one.
    pub(crate) fn kill_and_start(&mut self) {
        self.child.kill().expect("killed");
        self.child.wait().expect("its end");
        std::fs::remove_file(self.socket()).expect("its socket");
        self.child = spawn(self.engine, self.scratch.path());
    }

    /// Stops the server, and starts another one.
    pub(crate) fn stop_and_start(&mut self) {
        self.stop();
        std::fs::remove_file(self.socket()).expect("its socket");
        self.child = spawn(self.engine, self.scratch.path());
    }

    /// Stops the server, which exits by itself.
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
        self.scratch.path().join("mail.volume")
    }

    pub(crate) fn uri(&self) -> String {
        format!("nbd+unix:///mail?socket={}", self.socket().display())
    }

    pub(crate) fn connect(&self) -> UnixStream {
        UnixStream::connect(self.socket()).expect("a connection")
    }

    /// Resident memory of the server, KiB.
    pub(crate) fn memory_kib(&self) -> u64 {
        let path = format!("/proc/{}/status", self.child.id());
        let status = std::fs::read_to_string(path).expect("its status");
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let words = line.expect("VmRSS").split_whitespace().next();
        words.expect("a number").parse().expect("a number")
    }
}

impl Drop for VolumeServer {
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
