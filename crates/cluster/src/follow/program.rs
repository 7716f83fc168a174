//! Runs the system's `git`, `hg` and `gpg` for followed repositories: limited in time, output and
//! disk usage; without a shell, without a terminal, and with an environment of their own.

use super::decide::Trouble;
use rustix::process::{Pid, Signal, kill_process_group};
use std::collections::VecDeque;
use std::ffi::OsString;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio::process::{Child, Command};

const SEARCHED: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
/// Timeout of a program that contacts another machine.
pub(super) const FAR_LIMIT: Duration = Duration::from_secs(120);
/// Timeout of a program that works locally.
pub(super) const NEAR_LIMIT: Duration = Duration::from_secs(60);
pub(super) const WORDS_BYTES_MAX: usize = 1 << 20;
pub(super) const LIST_BYTES_MAX: usize = 16 << 20;
const COMPLAINT_BYTES_MAX: usize = 4096;
pub(super) const MIRROR_BYTES_MAX: u64 = 512 << 20;
const MEASURE_EVERY: Duration = Duration::from_millis(500);
/// Largest number of entries of a mirror that are measured; a mirror with more is too
/// large.
const MEASURED_MAX: usize = 200_000;

/// Gives this thread, and the programs that it starts, ordinary scheduling: the role's
/// is not meant for them.
pub(crate) fn be_ordinary() {
    // Ignores a failure: giving up a priority needs no privilege.
    let _ = part::scheduling::set_scheduler(nix::libc::SCHED_OTHER, 0);
}

#[derive(Debug)]
pub(super) struct Asking<'a> {
    pub program: &'static str,
    pub arguments: Vec<OsString>,
    /// Variables beside those of every program.
    pub environment: Vec<(&'static str, OsString)>,
    /// Working directory of the program, which is also its home.
    pub directory: &'a Path,
    pub limit: Duration,
    pub said_max: usize,
    pub input: Vec<u8>,
    /// True if the program makes its directory grow, so that the directory is measured.
    pub grows: bool,
}

/// Exit code and output of a program.
#[derive(Debug)]
pub(super) struct ProgramOutput {
    program: &'static str,
    /// Exit code; None if a signal ended the program.
    pub code: Option<i32>,
    pub out: Vec<u8>,
    /// Error output, in one line.
    pub complaint: String,
}

impl ProgramOutput {
    pub(super) fn good(&self) -> bool {
        self.code == Some(0)
    }

    pub(super) fn line(&self) -> String {
        let text = String::from_utf8_lossy(&self.out);
        text.lines().next().unwrap_or_default().trim().to_owned()
    }

    /// Returns the output of a program that succeeded; otherwise its failure.
    pub(super) fn well(self) -> Result<ProgramOutput, Trouble> {
        if self.good() {
            Ok(self)
        } else {
            Err(self.failed())
        }
    }

    pub(super) fn failed(&self) -> Trouble {
        let program = self.program;
        let words = match (&*self.complaint, self.code) {
            ("", Some(code)) => format!("{program} ended with {code}"),
            ("", None) => format!("{program} was killed by a signal"),
            (words, _) => words.to_owned(),
        };
        Trouble::Unreachable { words }
    }
}

pub(super) fn no_mirror(mirror: &Path, error: &std::io::Error) -> Trouble {
    Trouble::Unreachable {
        words: format!("cannot create the mirror '{}': {error}", mirror.display()),
    }
}

pub(super) fn remove(directory: &Path) -> std::io::Result<()> {
    match std::fs::remove_dir_all(directory) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// Process group of a program. Dropping this value kills all processes that remain in it.
struct Group(Option<Pid>);

impl Drop for Group {
    fn drop(&mut self) {
        if let Some(group) = self.0 {
            // The group may be empty already, so a failure is ignored.
            let _ = kill_process_group(group, Signal::KILL);
        }
    }
}

pub(super) async fn ask(asking: Asking<'_>) -> Result<ProgramOutput, Trouble> {
    let program = asking.program;
    let unreachable = |what: &str, error: std::io::Error| Trouble::Unreachable {
        words: match error.kind() {
            std::io::ErrorKind::NotFound => {
                format!("the program '{program}' is not installed on this node")
            }
            _ => format!("'{program}' {what}: {error}"),
        },
    };
    let mut command = Command::new(program);
    command
        .args(&asking.arguments)
        .env_clear()
        .env("PATH", SEARCHED)
        .env("HOME", asking.directory)
        // Sets the directory of temporary files: the role may write below its state directory only.
        .env("TMPDIR", asking.directory)
        .env("LC_ALL", "C.UTF-8")
        .env("SSH_ASKPASS", "/bin/false")
        .env("SSH_ASKPASS_REQUIRE", "force")
        .envs(asking.environment.iter().map(|(name, value)| (name, value)))
        .current_dir(asking.directory)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .process_group(0)
        .kill_on_drop(true);
    let mut child = command
        .spawn()
        .map_err(|error| unreachable("cannot be started", error))?;
    let pid = child.id().and_then(|pid| i32::try_from(pid).ok());
    let mut group = Group(pid.and_then(Pid::from_raw));
    let limit = asking.limit;
    let work = async {
        tokio::select! {
            said = listen(&mut child, &asking) => match said {
                Ok(Some(said)) => Ok(said),
                Ok(None) => Err(Trouble::SaysTooMuch {
                    program: program.to_owned(),
                    bytes_max: asking.said_max,
                }),
                Err(error) => Err(unreachable("its output cannot be read", error)),
            },
            () = measure(asking.directory), if asking.grows => Err(Trouble::TooLarge {
                bytes_max: MIRROR_BYTES_MAX,
            }),
        }
    };
    let said = tokio::time::timeout(limit, work).await;
    let said = said.map_err(|_| Trouble::Slow {
        limit_s: limit.as_secs(),
    })??;
    // Kills what the program left running in the background.
    drop(child);
    drop(Group(group.0.take()));
    Ok(said)
}

/// Reads the output of a program until it ends. None: the output exceeds the limit.
async fn listen(child: &mut Child, asking: &Asking<'_>) -> std::io::Result<Option<ProgramOutput>> {
    let (stdin, stdout, stderr) = (child.stdin.take(), child.stdout.take(), child.stderr.take());
    let speak = async {
        if let Some(mut stdin) = stdin {
            // Ignores an error: a program that does not read all of its input reports it by its
            // exit status.
            let _ = stdin.write_all(&asking.input).await;
        }
    };
    let hear = async {
        match stdout {
            Some(stdout) => all(stdout, asking.said_max).await,
            None => Ok(Some(Vec::new())),
        }
    };
    let complain = async {
        match stderr {
            Some(stderr) => last(stderr).await,
            None => Ok(Vec::new()),
        }
    };
    let ((), out, complaint) = tokio::join!(speak, hear, complain);
    let Some(out) = out? else {
        return Ok(None);
    };
    let status = child.wait().await?;
    Ok(Some(ProgramOutput {
        program: asking.program,
        code: status.code(),
        out,
        complaint: one_line(&complaint?),
    }))
}

/// Reads to the end. None: the data exceed the limit.
async fn all(from: impl AsyncRead + Unpin, bytes_max: usize) -> std::io::Result<Option<Vec<u8>>> {
    let mut out = Vec::new();
    let room = u64::try_from(bytes_max).unwrap_or(u64::MAX);
    from.take(room.saturating_add(1))
        .read_to_end(&mut out)
        .await?;
    Ok((out.len() <= bytes_max).then_some(out))
}

/// Reads to the end and keeps the last [`COMPLAINT_BYTES_MAX`] bytes.
async fn last(mut from: impl AsyncRead + Unpin) -> std::io::Result<Vec<u8>> {
    let mut kept: VecDeque<u8> = VecDeque::new();
    let mut piece = [0; 1024];
    loop {
        let read = from.read(&mut piece).await?;
        let Some(piece) = piece.get(..read).filter(|piece| !piece.is_empty()) else {
            return Ok(kept.into());
        };
        kept.extend(piece);
        let surplus = kept.len().saturating_sub(COMPLAINT_BYTES_MAX);
        kept.drain(..surplus);
    }
}

/// Returns error output on one line, without terminal control characters.
pub(super) fn one_line(complaint: &[u8]) -> String {
    let text = String::from_utf8_lossy(complaint);
    let lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
    let joined: Vec<_> = lines.map(language::render::visible).collect();
    joined.join("; ")
}

async fn measure(directory: &Path) {
    loop {
        tokio::time::sleep(MEASURE_EVERY).await;
        if size(directory) > MIRROR_BYTES_MAX {
            return;
        }
    }
}

pub(super) fn size(directory: &Path) -> u64 {
    let mut waiting = vec![directory.to_path_buf()];
    let (mut bytes, mut seen) = (0_u64, 0_usize);
    while let Some(directory) = waiting.pop() {
        for entry in std::fs::read_dir(directory).into_iter().flatten().flatten() {
            seen += 1;
            if seen > MEASURED_MAX {
                return u64::MAX;
            }
            match entry.metadata() {
                Ok(data) if data.is_dir() => waiting.push(entry.path()),
                Ok(data) => bytes = bytes.saturating_add(data.len()),
                Err(_) => {}
            }
        }
    }
    bytes
}
