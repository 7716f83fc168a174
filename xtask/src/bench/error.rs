//! Defines the errors of a benchmark. A missed target is not an error but a result.

use std::fmt;
use std::io;
use std::path::PathBuf;
use std::process::ExitStatus;

use super::answer::Fault;
use super::http2;

/// Reason why a benchmark, or one of its cases, stopped.
#[derive(Debug)]
pub enum BenchError {
    /// An argument of `cargo xtask bench` that lexopt refuses.
    Arguments(lexopt::Error),
    /// A case that does not exist.
    NoSuchCase { name: String },
    /// Options that exclude each other.
    Conflict {
        first: &'static str,
        second: &'static str,
    },
    /// The program of one side does not exist.
    MissingProgram { path: PathBuf },
    /// The process may use fewer than two cores; the proxy and the load need one each.
    Cores { available: usize },
    /// The hard limit of file descriptors is too low for the idle connections.
    Descriptors { needed: u64, hard_limit: u64 },
    System {
        doing: &'static str,
        source: io::Error,
    },
    /// A system call about this file failed.
    File {
        doing: &'static str,
        path: PathBuf,
        source: io::Error,
    },
    /// No free port in the range of the benchmark.
    NoPort,
    /// A proxy ended or does not listen.
    NotServing {
        label: String,
        status: Option<ExitStatus>,
        stderr: String,
    },
    /// `-c` refused the generated file or did not end.
    CheckFailed {
        label: String,
        status: Option<ExitStatus>,
        stderr: String,
    },
    /// `-c` accepts a file with a mistake, so its time means nothing.
    AcceptsMistake { label: String },
    /// A response differs from that of the origin.
    Answer { connection: usize, fault: Fault },
    /// A connection to the proxy failed.
    Connection {
        connection: usize,
        doing: &'static str,
        source: io::Error,
    },
    /// TLS failed on a connection to the proxy.
    Secure {
        connection: usize,
        source: rustls::Error,
    },
    /// A session that should be resumed was not.
    NotResumed { connection: usize },
    /// The keys were not agreed on with X25519, as everywhere else.
    OtherGroup { connection: usize },
    /// The proxy does not choose HTTP/2.
    NoHttp2 { connection: usize },
    /// An HTTP/2 response differs from that of the origin.
    Http2 {
        connection: usize,
        fault: http2::Fault,
    },
    /// Certificates or clients could not be prepared.
    Laboratory(lab::LabError),
    /// Any other error, while that side was measured.
    Side {
        label: String,
        source: Box<BenchError>,
    },
    /// Nothing arrived for a long time.
    Stalled { outstanding: u64, seconds: u64 },
    /// The origin served another number of requests than the client made.
    Unserved { asked: u64, served: u64 },
    /// A proxy that should write its log did not.
    NoLog,
    /// A file in /proc does not contain the expected number.
    Accounting { path: PathBuf },
    /// docs/benchmarks.md has no markers for the table.
    NoMarkers { path: PathBuf },
    /// Only complete tables are written.
    Incomplete,
}

impl BenchError {
    /// Returns a function for `map_err`: the system call that `doing` names failed.
    pub fn system<E: Into<io::Error>>(doing: &'static str) -> impl FnOnce(E) -> Self {
        move |source| Self::System {
            doing,
            source: source.into(),
        }
    }

    /// Returns a function for `map_err`: the system call that `doing` names failed for a file.
    pub fn file(doing: &'static str, path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::File {
            doing,
            path: path.into(),
            source,
        }
    }
}

impl fmt::Display for BenchError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Arguments(source) => write!(f, "{source} (--help shows the options)"),
            Self::NoSuchCase { name } => {
                write!(f, "there is no case `{name}` (--list shows them)")
            }
            Self::Conflict { first, second } => write!(f, "{first} cannot go with {second}"),
            Self::MissingProgram { path } => write!(
                f,
                "{} is not there; build with `cargo build --release -p evenkeel`, install \
                 haproxy, or choose with --left and --right",
                path.display()
            ),
            Self::Cores { available } => write!(
                f,
                "the proxy and the load need a core each, this process may use {available}"
            ),
            Self::Descriptors { needed, hard_limit } => write!(
                f,
                "{needed} file descriptors are needed, the hard limit is {hard_limit}; raise it \
                 with `ulimit -Hn`"
            ),
            Self::System { doing, source } => write!(f, "{doing}: {source}"),
            Self::File {
                doing,
                path,
                source,
            } => write!(f, "{doing} {}: {source}", path.display()),
            Self::NoPort => write!(f, "no free port on 127.0.0.1"),
            Self::NoMarkers { path } => write!(
                f,
                "{} has no line `<!-- bench -->` followed by a line `<!-- /bench -->`",
                path.display()
            ),
            Self::Incomplete => write!(f, "a case failed, so docs/benchmarks.md is unchanged"),
            measuring => measuring.fmt_measuring(f),
        }
    }
}

impl BenchError {
    /// Writes the errors of a running case for Display.
    fn fmt_measuring(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotServing {
                label,
                status,
                stderr,
            } => {
                match status {
                    Some(status) => write!(f, "{label} ended ({status})")?,
                    None => write!(f, "{label} runs but does not listen")?,
                }
                write_stderr(f, stderr)
            }
            Self::CheckFailed {
                label,
                status,
                stderr,
            } => {
                match status {
                    Some(status) => write!(f, "{label} -c failed ({status})")?,
                    None => write!(f, "{label} -c did not end")?,
                }
                write_stderr(f, stderr)
            }
            Self::AcceptsMistake { label } => {
                write!(
                    f,
                    "{label} -c accepts a file with a mistake, so its time means nothing"
                )
            }
            Self::Answer { connection, fault } => {
                write!(f, "the answer on connection {connection} is wrong: {fault}")
            }
            Self::Connection {
                connection,
                doing,
                source,
            } => {
                write!(f, "{doing} on connection {connection}: {source}")
            }
            Self::Laboratory(source) => write!(f, "{source}"),
            Self::Side { label, source } => write!(f, "{label}: {source}"),
            Self::Stalled {
                outstanding,
                seconds,
            } => write!(
                f,
                "nothing arrived for {seconds} s while {outstanding} answers were awaited"
            ),
            Self::Unserved { asked, served } => write!(
                f,
                "{asked} requests were answered but the origin served {served}: the proxy \
                 repeats or invents"
            ),
            Self::NoLog => write!(f, "no line of its log came"),
            Self::Accounting { path } => {
                write!(f, "{} does not have the expected form", path.display())
            }
            secure => secure.fmt_secure(f),
        }
    }

    /// Writes the errors of TLS for Display.
    fn fmt_secure(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Secure { connection, source } => {
                write!(f, "TLS on connection {connection}: {source}")
            }
            Self::NotResumed { connection } => {
                write!(f, "the session on connection {connection} was not resumed")
            }
            Self::OtherGroup { connection } => {
                write!(f, "the keys of connection {connection} are not X25519's")
            }
            Self::NoHttp2 { connection } => {
                write!(f, "no HTTP/2 was agreed on for connection {connection}")
            }
            Self::Http2 { connection, fault } => {
                write!(f, "HTTP/2 on connection {connection} is wrong: {fault}")
            }
            // The text of other errors is written by the caller.
            _ => Ok(()),
        }
    }
}

fn write_stderr(f: &mut fmt::Formatter<'_>, stderr: &str) -> fmt::Result {
    for line in stderr.lines() {
        write!(f, "\n    {line}")?;
    }
    Ok(())
}

impl std::error::Error for BenchError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Arguments(source) => Some(source),
            Self::Side { source, .. } => Some(source),
            Self::Secure { source, .. } => Some(source),
            Self::Laboratory(source) => Some(source),
            Self::System { source, .. }
            | Self::File { source, .. }
            | Self::Connection { source, .. } => Some(source),
            _ => None,
        }
    }
}

impl From<lexopt::Error> for BenchError {
    fn from(source: lexopt::Error) -> Self {
        Self::Arguments(source)
    }
}
