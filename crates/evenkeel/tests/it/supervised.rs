//! Runs a supervisor for tests, finds the processes that it started by their parent, and kills them
//! when the value is dropped. Also provides clients, servers and configurations for these tests.

use crate::harness::{CommandOutput, PATIENCE, evenkeel, finish, run, start_with};
use lab::{ScratchDirectory, eventually, free_port};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use rustix::pipe::{SpliceFlags, tee};
use std::cell::RefCell;
use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Child;

/// Capacity of a pipe in bytes, the most of standard error that is compared.
const SAID_MAX: usize = 64 * 1024;

pub struct Supervised {
    child: Option<Child>,
    pub pid: Pid,
    directory: PathBuf,
    /// Process IDs of all children that the tests have seen.
    seen: RefCell<BTreeSet<i32>>,
}

impl Supervised {
    pub fn start<A: AsRef<OsStr>>(
        program: &Path,
        directory: &Path,
        arguments: impl IntoIterator<Item = A>,
    ) -> Supervised {
        Supervised::start_with(program, directory, arguments, &[])
    }

    pub fn start_with<A: AsRef<OsStr>>(
        program: &Path,
        directory: &Path,
        arguments: impl IntoIterator<Item = A>,
        variables: &[(&str, &str)],
    ) -> Supervised {
        let child = start_with(program, directory, arguments, variables);
        let pid = Pid::from_raw(child.id().try_into().unwrap());
        Supervised {
            child: Some(child),
            pid,
            directory: directory.into(),
            seen: RefCell::default(),
        }
    }

    /// Starts `evenkeel run` with a file of the directory.
    pub fn run(scratch: &ScratchDirectory, file: &str) -> Supervised {
        Supervised::start(evenkeel(), scratch.path(), ["run", "-f", file])
    }

    /// Returns the live children of the supervisor.
    pub fn children(&self) -> Vec<i32> {
        let children = children_of(self.pid);
        self.seen.borrow_mut().extend(&children);
        children
    }

    pub fn role(&self) -> Option<i32> {
        let is_role = |pid: &i32| {
            let line = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
            line.starts_with(b"evenkeel: proxy")
        };
        self.children().into_iter().find(is_role)
    }

    pub fn reads_signals(&self) -> bool {
        reads_signals(self.pid)
    }

    /// Returns whether standard error of the supervisor contains a text so far, without consuming
    /// it.
    pub fn has_said(&self, words: &str) -> bool {
        self.times_said(words) > 0
    }

    /// Returns how often standard error of the supervisor contains a text, without consuming it.
    pub fn times_said(&self, words: &str) -> usize {
        let stderr = self.child.as_ref().and_then(|child| child.stderr.as_ref());
        let (reader, writer) = rustix::pipe::pipe().unwrap();
        let copied = stderr.map(|stderr| tee(stderr, &writer, SAID_MAX, SpliceFlags::NONBLOCK));
        drop(writer);
        let mut said = String::new();
        // Returns zero if no byte was copied.
        let read = std::fs::File::from(reader).read_to_string(&mut said);
        match (copied, read) {
            (Some(Ok(_)), Ok(_)) => said.matches(words).count(),
            _ => 0,
        }
    }

    pub fn signal(&self, signal: Signal) {
        kill(self.pid, signal).unwrap();
    }

    pub fn reload(&self) -> CommandOutput {
        let pid = self.pid.to_string();
        run(evenkeel(), &self.directory, ["reload", "--pid", &pid])
    }

    pub fn finish(mut self) -> CommandOutput {
        self.children();
        finish(self.child.take().unwrap())
    }

    /// Sends a signal and waits for the end.
    pub fn end(self, signal: Signal) -> CommandOutput {
        self.signal(signal);
        self.finish()
    }

    /// Returns the number of files in the runtime directory.
    pub fn left_behind(directory: &Path) -> usize {
        std::fs::read_dir(directory.join("runtime")).map_or(0, Iterator::count)
    }
}

impl Drop for Supervised {
    fn drop(&mut self) {
        self.children();
        let failed = std::thread::panicking();
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
            // The output usually shows why the test failed. A remaining process may keep the
            // stream open.
            if failed {
                let said = child.stderr.take().map(said_so_far).unwrap_or_default();
                eprintln!("the supervisor {} said:\n{said}", self.pid);
            }
        }
        for pid in self.seen.borrow().iter().filter(|pid| is_ours(**pid)) {
            let _ = kill(Pid::from_raw(*pid), Signal::SIGKILL);
        }
        // Kills all processes of the directory after a failed test, whatever their parents are.
        if failed {
            for pid in roles_of(&self.directory) {
                let _ = kill(Pid::from_raw(pid), Signal::SIGKILL);
            }
        }
    }
}

/// Returns the available text of a stream without waiting for more.
fn said_so_far(stream: std::process::ChildStderr) -> String {
    let _ = rustix::io::ioctl_fionbio(&stream, true);
    let (mut stream, mut said) = (stream, Vec::new());
    // Ignores the error of a stream that is still open; the available text was read before.
    let _ = stream.read_to_end(&mut said);
    String::from_utf8_lossy(&said).into_owned()
}

/// Returns whether a process has started others, and handles signals. HAProxy's master blocks
/// signals until its event loop runs, and loses earlier ones; ours handles them from its start.
pub fn reads_signals(pid: Pid) -> bool {
    let wait = std::fs::read_to_string(format!("/proc/{pid}/wchan")).unwrap_or_default();
    // The kernel may hide where a process waits; a running process waits nowhere.
    let sleeps = |status: &str| status.contains("State:\tS");
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let blocked = status.lines().find_map(|line| line.strip_prefix("SigBlk:"));
    let blocks_none = blocked.is_some_and(|set| set.trim().trim_start_matches('0').is_empty());
    let program = std::fs::read_link(format!("/proc/{pid}/exe")).unwrap_or_default();
    let is_ours = program.file_name() == evenkeel().file_name();
    let in_its_loop = sleeps(&status) && (wait.contains("poll") || wait.trim() == "0");
    !children_of(pid).is_empty() && (is_ours || (blocks_none && in_its_loop))
}

/// Returns whether the process has a title of ours: the kernel may have reused the process ID.
fn is_ours(pid: i32) -> bool {
    let line = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    line.starts_with(b"evenkeel: ")
}

fn processes() -> impl Iterator<Item = i32> {
    let entries = std::fs::read_dir("/proc").unwrap().flatten();
    entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok())
}

/// Returns the live loaders and roles that were started from a directory, whatever their parents
/// are.
pub fn roles_of(directory: &Path) -> Vec<i32> {
    let runtime = format!("EVENKEEL_RUNTIME_DIRECTORY={}", directory.display());
    let ours = |pid: &i32| {
        let environment = std::fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
        let mut parts = environment.windows(runtime.len());
        is_ours(*pid) && lives(*pid) && parts.any(|part| part == runtime.as_bytes())
    };
    processes().filter(ours).collect()
}

/// Returns the live children of a process. The kernel's own list (`task/PID/children`) omits some
/// while others end.
pub fn children_of(pid: Pid) -> Vec<i32> {
    let parent = pid.to_string();
    let child = |pid: &i32| {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        // The name is in parentheses and may contain anything; the state follows.
        let rest = stat.rsplit(") ").next().unwrap_or_default();
        !rest.starts_with('Z') && rest.split(' ').nth(1) == Some(&parent)
    };
    processes().filter(child).collect()
}

/// Returns whether a process runs. A zombie, whose parent has not waited for it, does not.
pub fn lives(pid: i32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let rest = stat.rsplit(") ").next().unwrap_or_default();
    // Counts a zombie with further threads as running: these still hold its sockets.
    let threads = rest.split(' ').nth(17);
    let is_zombie = rest.starts_with('Z') && matches!(threads, Some("0" | "1"));
    !rest.is_empty() && !is_zombie
}

/// Starts a server that responds to every request with this text, and returns its port.
pub fn origin(name: &'static str) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            std::thread::spawn(move || answer(stream, name));
        }
    });
    port
}

fn answer(mut stream: TcpStream, name: &str) {
    while let Some(head) = head(&mut stream) {
        assert!(head.starts_with("GET "), "{head}");
        let answer = format!(
            "HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{name}",
            name.len()
        );
        if stream.write_all(answer.as_bytes()).is_err() {
            return;
        }
    }
}

fn head(stream: &mut TcpStream) -> Option<String> {
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") {
        if stream.read(&mut byte).ok()? == 0 {
            return None;
        }
        head.push(byte[0]);
    }
    String::from_utf8(head).ok()
}

/// HTTP client with one persistent connection.
pub struct Client(TcpStream);

impl Client {
    pub fn new(port: u16) -> Option<Client> {
        let stream = TcpStream::connect(("127.0.0.1", port)).ok()?;
        stream.set_read_timeout(Some(PATIENCE)).ok()?;
        Some(Client(stream))
    }

    /// Sends a request and returns the body of the response; None after any error.
    pub fn get(&mut self) -> Option<String> {
        self.0
            .write_all(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
            .ok()?;
        let head = head(&mut self.0)?.to_ascii_lowercase();
        let length = head.split("content-length: ").nth(1)?;
        let length = length.split("\r\n").next()?.parse().ok()?;
        let mut body = vec![0; length];
        self.0.read_exact(&mut body).ok()?;
        String::from_utf8(body).ok()
    }
}

/// Returns the body of the response on a new connection.
pub fn get(port: u16) -> Option<String> {
    Client::new(port)?.get()
}

/// Waits until a request at this port gets this body, and returns false at the time limit.
pub fn answers(port: u16, body: &str) -> bool {
    eventually(PATIENCE, || get(port).as_deref() == Some(body))
}

/// Returns a configuration that forwards ports to a server.
pub fn passes(global: &str, ports: &[u16], server: u16) -> String {
    let binds: String = ports
        .iter()
        .map(|port| format!("    bind 127.0.0.1:{port}\n"))
        .collect();
    format!(
        "global\n    maxconn 100\n{global}\ndefaults\n    mode http\n    timeout client 30s\n    timeout server 2m\n    \
         timeout connect 5s\nfrontend web\n{binds}    default_backend app\nbackend app\n    server one 127.0.0.1:{server}\n"
    )
}

/// Starts `evenkeel run` of `a.cfg`, whose one port responds with `one`.
pub fn serving_one() -> (ScratchDirectory, u16, Supervised) {
    let scratch = ScratchDirectory::new().unwrap();
    let port = free_port().unwrap();
    let text = passes("", &[port], origin("one"));
    scratch.write("a.cfg", text).unwrap();
    let supervised = Supervised::run(&scratch, "a.cfg");
    assert!(answers(port, "one"));
    (scratch, port, supervised)
}
