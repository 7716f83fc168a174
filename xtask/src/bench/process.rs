//! Manages the measured processes: starts them on their core, reads their resource use, and ends
//! them in any case.
//!
//! The values of a proxy include its descendants, so that work moved into a child is counted.

use std::ffi::OsString;
use std::fs;
use std::io;
use std::net::{Ipv4Addr, TcpStream};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::process::{Pid, PidfdFlags, Resource, Rlimit, Signal};
use rustix::thread::CpuSet;

use super::error::BenchError;

/// Timeout of a proxy's start in seconds.
const START_SECONDS: u64 = 10;
/// Time in seconds that a proxy has to end after SIGTERM before it is killed.
const STOP_SECONDS: u64 = 2;
/// Timeout of `-c` in seconds.
const CHECK_SECONDS: i64 = 60;
/// Maximum number of bytes of a failed program's standard error that are shown.
const STDERR_BYTES_MAX: usize = 1000;
/// Maximum number of 2 ms steps of the wait until a proxy is idle.
const QUIET_STEPS_MAX: usize = 50;
/// Maximum number of processes that are counted for a proxy.
const DESCENDANTS_MAX: usize = 64;

/// The two cores of a benchmark.
#[derive(Debug, Clone, Copy)]
pub struct Cores {
    /// Processor of the proxy, which it has alone.
    pub proxy: usize,
    /// Processor of the clients and the origin.
    pub load: usize,
}

impl Cores {
    /// Returns the first two cores that this process may use.
    pub fn of_this_process() -> Result<Self, BenchError> {
        let allowed = rustix::thread::sched_getaffinity(None)
            .map_err(BenchError::system("asking for the cores of this process"))?;
        let mut cores = (0..CpuSet::MAX_CPU).filter(|&core| allowed.is_set(core));
        match (cores.next(), cores.next()) {
            (Some(proxy), Some(load)) => Ok(Self { proxy, load }),
            (first, _) => Err(BenchError::Cores {
                available: usize::from(first.is_some()),
            }),
        }
    }
}

fn only(core: usize) -> CpuSet {
    let mut set = CpuSet::new();
    set.set(core);
    set
}

/// Pins the calling thread to one core.
pub fn pin(core: usize) -> Result<(), BenchError> {
    rustix::thread::sched_setaffinity(None, &only(core))
        .map_err(BenchError::system("pinning a thread to its core"))
}

/// Raises the limit of file descriptors to the hard limit, for this process and
/// the proxies that it starts.
pub fn raise_descriptor_limit(needed: u64) -> Result<(), BenchError> {
    let limit = rustix::process::getrlimit(Resource::Nofile);
    let hard_limit = limit.maximum.unwrap_or(u64::MAX);
    if hard_limit < needed {
        return Err(BenchError::Descriptors { needed, hard_limit });
    }
    let raised = Rlimit {
        current: limit.maximum,
        maximum: limit.maximum,
    };
    rustix::process::setrlimit(Resource::Nofile, raised)
        .map_err(BenchError::system("raising the limit of file descriptors"))
}

/// Returns a free port for a proxy, which no client and no other benchmark gets.
pub fn free_port() -> Result<u16, BenchError> {
    lab::free_port().map_err(|_| BenchError::NoPort)
}

/// A program of the comparison.
#[derive(Debug)]
pub struct Side {
    pub label: String,
    /// Link to the program, by default with the name `haproxy`, so that both programs accept
    /// haproxy's command line.
    pub program: PathBuf,
    /// First line of the output of `-v`, if there is one.
    pub version: Option<String>,
    stderr: PathBuf,
    nginx: bool,
}

impl Side {
    /// Returns whether the program uses nginx's command line and configuration.
    pub fn is_nginx(&self) -> bool {
        self.nginx
    }

    /// Prepares `program` in a folder of its own.
    pub fn prepare(label: String, program: &Path, folder: &Path) -> Result<Self, BenchError> {
        Self::prepare_as("haproxy", label, program, folder)
    }

    /// Variant of [`Side::prepare`] with another name of the link than `haproxy`.
    pub fn prepare_as(
        name: &str,
        label: String,
        program: &Path,
        folder: &Path,
    ) -> Result<Self, BenchError> {
        let real = fs::canonicalize(program).map_err(|_| BenchError::MissingProgram {
            path: program.to_owned(),
        })?;
        fs::create_dir(folder).map_err(BenchError::file("creating", folder))?;
        let link = folder.join(name);
        std::os::unix::fs::symlink(real, &link).map_err(BenchError::file("linking", &link))?;
        let flag = if matches!(name, "haproxy" | "nginx") {
            "-v"
        } else {
            "--version"
        };
        let version = Command::new(&link)
            .arg(flag)
            .stdin(Stdio::null())
            .output()
            .ok()
            .and_then(|output| {
                // nginx prints its version on standard error, after `nginx version: `.
                let said = [output.stdout, output.stderr].concat();
                let text = String::from_utf8_lossy(&said).into_owned();
                let line = text.lines().next().filter(|_| output.status.success())?;
                let line = line.strip_prefix("nginx version: ").unwrap_or(line);
                Some(line.split(" - ").next().unwrap_or(line).to_owned())
            });
        Ok(Self {
            label,
            program: link,
            version,
            stderr: folder.join("stderr"),
            nginx: name == "nginx",
        })
    }

    fn command(&self, arguments: &[OsString], core: Option<usize>) -> Result<Command, BenchError> {
        // Appends to the file: the next process of this side may start before the last one has
        // ended.
        let stderr = fs::File::options()
            .create(true)
            .append(true)
            .open(&self.stderr)
            .map_err(BenchError::file("creating", &self.stderr))?;
        let mut command = Command::new(&self.program);
        command
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(stderr);
        command.process_group(0);
        let set = core.map(only);
        let parent = rustix::process::getpid();
        // SAFETY: between fork and exec the closure makes three system calls and
        // neither allocates nor takes a lock.
        unsafe {
            command.pre_exec(move || {
                rustix::process::set_parent_process_death_signal(Some(Signal::KILL))?;
                if rustix::process::getppid() != Some(parent) {
                    return Err(io::ErrorKind::Interrupted.into());
                }
                match &set {
                    Some(set) => Ok(rustix::thread::sched_setaffinity(None, set)?),
                    None => Ok(()),
                }
            });
        }
        Ok(command)
    }

    /// Returns the end of the standard error of this side's processes.
    pub fn said(&self) -> String {
        let bytes = fs::read(&self.stderr).unwrap_or_default();
        let start = bytes.len().saturating_sub(STDERR_BYTES_MAX);
        let mut end = &bytes[start..];
        if start > 0
            && let Some(line_end) = end.iter().position(|&byte| byte == b'\n')
        {
            end = &end[line_end + 1..];
        }
        String::from_utf8_lossy(end).into_owned()
    }

    fn spawn(
        &self,
        arguments: &[OsString],
        core: Option<usize>,
        ports: &[(&'static str, u16)],
    ) -> Result<Child, BenchError> {
        let mut command = self.command(arguments, core)?;
        for (name, value) in ports {
            command.env(name, value.to_string());
        }
        command
            .spawn()
            .map_err(BenchError::file("starting", &self.program))
    }
}

/// Environment variables with the ports, and their values.
pub type PortNames = [(&'static str, u16); 4];

/// A running proxy; ends when dropped.
#[derive(Debug)]
pub struct Proxy {
    child: Child,
    pid: Pid,
}

impl Proxy {
    /// Starts `-f CONFIGURATION -db` and waits until it listens on `port`.
    pub fn start(
        side: &Side,
        configuration: &Path,
        names: &PortNames,
        port: u16,
        cores: Cores,
    ) -> Result<Self, BenchError> {
        let arguments = ["-f".into(), configuration.into(), "-db".into()];
        let mut proxy = Self::launch(side, &arguments, Some(cores.proxy), names)?;
        proxy.wait_for_listener(side, port)?;
        Ok(proxy)
    }

    /// Starts nginx with a complete configuration, and waits until it listens on `port`.
    pub fn start_nginx(
        side: &Side,
        configuration: &Path,
        folder: &Path,
        port: u16,
        cores: Cores,
    ) -> Result<Self, BenchError> {
        let own = format!("daemon off; pid \"{}\";", folder.join("pid").display());
        let arguments: [OsString; 8] = [
            "-p".into(),
            folder.into(),
            "-e".into(),
            "stderr".into(),
            "-c".into(),
            configuration.into(),
            "-g".into(),
            own.into(),
        ];
        let mut proxy = Self::launch(side, &arguments, Some(cores.proxy), &[])?;
        proxy.wait_for_listener(side, port)?;
        Ok(proxy)
    }

    /// Starts the program without waiting for its listener.
    pub fn launch(
        side: &Side,
        arguments: &[OsString],
        core: Option<usize>,
        ports: &[(&'static str, u16)],
    ) -> Result<Self, BenchError> {
        let child = side.spawn(arguments, core, ports)?;
        let pid = Pid::from_child(&child);
        Ok(Self { child, pid })
    }

    /// Waits until a listener exists on `port`, while the program runs.
    pub fn wait_for_listener(&mut self, side: &Side, port: u16) -> Result<(), BenchError> {
        let deadline = Instant::now() + Duration::from_secs(START_SECONDS);
        loop {
            if TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_ok() {
                return Ok(());
            }
            let status = self.status()?;
            if status.is_some() || Instant::now() > deadline {
                let (label, stderr) = (side.label.clone(), side.said());
                return Err(BenchError::NotServing {
                    label,
                    status,
                    stderr,
                });
            }
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Returns the ID of the process that was started.
    pub fn pid(&self) -> Pid {
        self.pid
    }

    /// Returns the exit status if the process has ended.
    pub fn status(&mut self) -> Result<Option<ExitStatus>, BenchError> {
        self.child
            .try_wait()
            .map_err(BenchError::system("asking for the state of a proxy"))
    }

    /// Returns the underlying error of a failure: the end of the proxy if it ended, otherwise the
    /// failure with the side's name.
    pub fn explain(&mut self, side: &Side, error: BenchError) -> BenchError {
        // Waits a moment, because a crashed process may not have ended yet.
        std::thread::sleep(Duration::from_millis(20));
        match self.status() {
            Ok(status @ Some(_)) => BenchError::NotServing {
                label: side.label.clone(),
                status,
                stderr: side.said(),
            },
            _ => BenchError::Side {
                label: side.label.clone(),
                source: Box::new(error),
            },
        }
    }

    /// Returns the CPU time of all threads so far. A running thread is accounted up to its last
    /// tick only, so call this when the process is idle.
    pub fn cpu_ns(&self) -> Result<u64, BenchError> {
        let mut total = 0;
        for pid in self.processes() {
            for task in tasks(pid)? {
                total += first_number(&task.join("schedstat"))?;
            }
        }
        Ok(total)
    }

    /// Waits until the CPU time of the proxy no longer grows, for a limited time; returns that CPU
    /// time.
    pub fn quiet_cpu_ns(&self) -> Result<u64, BenchError> {
        let mut before = self.cpu_ns()?;
        for _ in 0..QUIET_STEPS_MAX {
            std::thread::sleep(Duration::from_millis(2));
            let now = self.cpu_ns()?;
            if now == before {
                break;
            }
            before = now;
        }
        Ok(before)
    }

    /// Returns the resident anonymous memory of all processes in bytes.
    pub fn anonymous_bytes(&self) -> Result<u64, BenchError> {
        let mut total = 0;
        for pid in self.processes() {
            total += anonymous_bytes(pid)?;
        }
        Ok(total)
    }

    /// Returns the process and its descendants.
    pub fn processes(&self) -> Vec<Pid> {
        let mut found = vec![self.pid];
        let mut at = 0;
        while at < found.len() && found.len() < DESCENDANTS_MAX {
            // A kernel without CONFIG_PROC_CHILDREN has no such file.
            for task in tasks(found[at]).unwrap_or_default() {
                let children = fs::read_to_string(task.join("children")).unwrap_or_default();
                let children = children.split_ascii_whitespace();
                found.extend(children.filter_map(|child| Pid::from_raw(child.parse().ok()?)));
            }
            at += 1;
        }
        found
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        let deadline = Instant::now() + Duration::from_secs(STOP_SECONDS);
        // An error means that the process has ended already.
        let mut alive = rustix::process::kill_process(self.pid, Signal::TERM).is_ok();
        while alive && Instant::now() < deadline {
            alive = matches!(self.child.try_wait(), Ok(None));
            std::thread::sleep(Duration::from_millis(2));
        }
        // Kills the process group of the proxy, too, in which children may be left.
        let _ = rustix::process::kill_process_group(self.pid, Signal::KILL);
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Returns the resident anonymous memory of one process in bytes.
pub fn anonymous_bytes(pid: Pid) -> Result<u64, BenchError> {
    let path = process_folder(pid).join("status");
    let text = fs::read_to_string(&path).map_err(BenchError::file("reading", &path))?;
    let kilobytes = text
        .lines()
        .find_map(|line| line.strip_prefix("RssAnon:"))
        .and_then(|rest| rest.trim().strip_suffix("kB"))
        .and_then(|digits| digits.trim().parse::<u64>().ok())
        .ok_or(BenchError::Accounting { path })?;
    Ok(kilobytes * 1024)
}

pub fn process_folder(pid: Pid) -> PathBuf {
    Path::new("/proc").join(pid.as_raw_nonzero().to_string())
}

fn tasks(pid: Pid) -> Result<Vec<PathBuf>, BenchError> {
    let folder = process_folder(pid).join("task");
    let entries = fs::read_dir(&folder).map_err(BenchError::file("reading", &folder))?;
    Ok(entries
        .filter_map(|entry| Some(entry.ok()?.path()))
        .collect())
}

fn first_number(path: &Path) -> Result<u64, BenchError> {
    let text = fs::read_to_string(path).map_err(BenchError::file("reading", path))?;
    text.split_ascii_whitespace()
        .next()
        .and_then(|digits| digits.parse().ok())
        .ok_or_else(|| BenchError::Accounting {
            path: path.to_owned(),
        })
}

/// Cost of one run of `-c`.
#[derive(Debug, Clone, Copy)]
pub struct CheckCost {
    pub wall: Duration,
    /// User and system time, including ended descendants.
    pub cpu: Duration,
    /// Largest resident size; at least that of this process, from which the program was forked.
    pub peak_bytes: u64,
}

/// Runs `-c -f CONFIGURATION`; returns the cost of the run.
pub fn check(side: &Side, configuration: &Path, cores: Cores) -> Result<CheckCost, BenchError> {
    let arguments = ["-c".into(), "-f".into(), configuration.into()];
    let mut command = side.command(&arguments, Some(cores.proxy))?;
    let begin = Instant::now();
    let mut child = command
        .spawn()
        .map_err(BenchError::file("starting", &side.program))?;
    let pid = Pid::from_child(&child);
    let ended = wait_for_end(pid);
    if !matches!(ended, Ok(true)) {
        let _ = child.kill();
        let _ = child.wait();
    }
    let failed = |status| {
        let (label, stderr) = (side.label.clone(), side.said());
        BenchError::CheckFailed {
            label,
            status,
            stderr,
        }
    };
    if !ended? {
        return Err(failed(None));
    }
    let (status, usage) = reap(pid)?;
    let wall = begin.elapsed();
    let status = ExitStatus::from_raw(status);
    if status.success() {
        let cpu = duration(usage.ru_utime) + duration(usage.ru_stime);
        let peak_bytes = u64::try_from(usage.ru_maxrss).unwrap_or(0) * 1024;
        Ok(CheckCost {
            wall,
            cpu,
            peak_bytes,
        })
    } else {
        Err(failed(Some(status)))
    }
}

/// Returns whether the process ended in time. The process is not reaped.
fn wait_for_end(pid: Pid) -> Result<bool, BenchError> {
    let descriptor = rustix::process::pidfd_open(pid, PidfdFlags::empty())
        .map_err(BenchError::system("opening a process descriptor"))?;
    let patience = Timespec {
        tv_sec: CHECK_SECONDS,
        tv_nsec: 0,
    };
    let mut polled = [PollFd::new(&descriptor, PollFlags::IN)];
    let ready = rustix::event::poll(&mut polled, Some(&patience))
        .map_err(BenchError::system("waiting for a process"))?;
    Ok(ready > 0)
}

fn reap(pid: Pid) -> Result<(i32, nix::libc::rusage), BenchError> {
    let mut status = 0;
    let mut usage = std::mem::MaybeUninit::<nix::libc::rusage>::zeroed();
    // SAFETY: both pointers are to live values of the right types.
    let reaped = unsafe {
        nix::libc::wait4(
            pid.as_raw_nonzero().get(),
            &raw mut status,
            0,
            usage.as_mut_ptr(),
        )
    };
    if reaped < 0 {
        return Err(BenchError::system("reaping a process")(
            io::Error::last_os_error(),
        ));
    }
    // SAFETY: a struct of integers, all zero before wait4 filled it.
    Ok((status, unsafe { usage.assume_init() }))
}

fn duration(time: nix::libc::timeval) -> Duration {
    let seconds = u64::try_from(time.tv_sec).unwrap_or(0);
    Duration::from_secs(seconds) + Duration::from_micros(u64::try_from(time.tv_usec).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder(name: &str) -> PathBuf {
        std::env::temp_dir().join(format!("evenkeel-bench-test-{name}-{}", std::process::id()))
    }

    #[test]
    fn a_check_costs_time_and_memory_and_a_failure_is_told() {
        let cores = Cores::of_this_process().expect("two cores");
        for (program, good) in [("/bin/true", true), ("/bin/false", false)] {
            let folder = folder(if good { "true" } else { "false" });
            let side = Side::prepare("x".to_owned(), Path::new(program), &folder).expect("a side");
            match check(&side, Path::new("/dev/null"), cores) {
                Ok(cost) => assert!(good && cost.peak_bytes > 0 && cost.wall >= Duration::ZERO),
                Err(error) => {
                    assert!(
                        !good
                            && matches!(
                                error,
                                BenchError::CheckFailed {
                                    status: Some(_),
                                    ..
                                }
                            )
                    );
                }
            }
            fs::remove_dir_all(folder).expect("to clean up");
        }
    }

    #[test]
    fn a_proxy_that_ends_at_once_is_an_error_with_what_it_said() {
        let cores = Cores::of_this_process().expect("two cores");
        let folder = folder("ends");
        let side = Side::prepare("x".to_owned(), Path::new("/bin/cat"), &folder).expect("a side");
        let names = ["A", "B", "C", "D"].map(|name| (name, 1));
        let port = free_port().expect("a port");
        let error = Proxy::start(&side, Path::new("/nonexistent"), &names, port, cores);
        match error.expect_err("cat is no proxy") {
            BenchError::NotServing { stderr, .. } => assert!(!stderr.is_empty()),
            other => panic!("{other}"),
        }
        fs::remove_dir_all(folder).expect("to clean up");
    }
}
