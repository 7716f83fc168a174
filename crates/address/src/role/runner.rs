//! Runs tracked scripts and notify scripts outside the event loop, and never in a shell. A separate
//! thread starts them, so the loop never waits for a fork, and they have ordinary scheduling and
//! memory. The thread ends programs after their timeout, and reports their exit status.
//!
//! Each program leads a process group, which is ended as a whole. Jobs of one queue start one after
//! another: each one when its predecessor has ended, or after [`ORDER_WAIT`].

use crate::config::Account;
use part::spawn::watch_child;
use part::wake::WakeEvent;
use rustix::event::{PollFd, PollFlags, poll};
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::process::{Pid, Signal, kill_process_group, set_parent_process_death_signal};
use std::collections::{HashMap, VecDeque};
use std::ffi::OsString;
use std::fs::File;
use std::io;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Child, Command};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

const MAX_RUNNING: usize = 256;

const MAX_WAITING: usize = 1024;

/// Time for which a job waits for its predecessor in the queue.
const ORDER_WAIT: Duration = Duration::from_secs(1);

/// Time between SIGTERM and SIGKILL to a group.
const TERM_GRACE: Duration = Duration::from_secs(1);

#[derive(Debug)]
pub struct ProgramJob<T = Token> {
    pub token: T,
    pub words: Vec<OsString>,
    /// Complete environment; None: that of this process.
    pub environment: Option<Vec<(OsString, OsString)>>,
    pub account: Option<Account>,
    /// Time after which the program is ended; None: never.
    pub timeout: Option<Duration>,
    /// Name of the queue whose jobs start in order; None: the job waits for no other.
    pub queue: Option<String>,
    /// True if the program runs for as long as the role does, and ends with it.
    pub stays: bool,
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Token {
    /// A `vrrp_script`, by name, and the generation of its configuration.
    Script(String, u64),
    /// A notify script, with its program name for the log.
    Notify(String),
    /// A script that reads a pipe for as long as the role runs.
    Reader(String),
    Once(&'static str),
}

#[derive(Debug)]
pub enum JobResult {
    Exited(i32),
    Signalled(i32),
    TimedOut,
    NotStarted(io::Error),
    TooMany,
}

/// Handle of the thread that runs programs, for the event loop.
#[derive(Debug)]
pub struct Runner<T = Token> {
    jobs: Option<Sender<ProgramJob<T>>>,
    outcomes: Receiver<(T, JobResult)>,
    waiting: Arc<AtomicUsize>,
    given_up: Arc<AtomicBool>,
    job_came: Arc<WakeEvent>,
    job_ended: Arc<WakeEvent>,
    thread: Option<JoinHandle<()>>,
}

impl<T: Clone + Send + 'static> Runner<T> {
    /// Starts the thread. Call this before the loop's thread gets real-time priority,
    /// because the new thread and its programs inherit the caller's scheduling.
    ///
    /// # Errors
    /// /dev/null cannot be opened, or an eventfd or the thread cannot be created.
    pub fn start() -> io::Result<Runner<T>> {
        let null = File::options().read(true).write(true).open("/dev/null")?;
        Runner::with(null, false)
    }

    /// As [`Runner::start`], with a file for the standard streams of programs, for a root
    /// directory without /dev/null. If `together`, the programs are killed when this process
    /// dies.
    ///
    /// # Errors
    /// An eventfd or the thread cannot be created.
    pub fn with(null: File, together: bool) -> io::Result<Runner<T>> {
        let job_came = Arc::new(WakeEvent::new()?);
        let job_ended = Arc::new(WakeEvent::new()?);
        let (jobs, todo) = channel();
        let (done, outcomes) = channel();
        let waiting = Arc::new(AtomicUsize::new(0));
        let given_up = Arc::new(AtomicBool::new(false));
        let inside = Inside {
            null,
            together,
            given_up: Arc::clone(&given_up),
            todo,
            done,
            came: Arc::clone(&job_came),
            ended: Arc::clone(&job_ended),
            pending: Arc::clone(&waiting),
            queues: HashMap::new(),
            running: Vec::new(),
        };
        let thread = std::thread::Builder::new()
            .name("scripts".to_owned())
            .spawn(move || inside.run())?;
        Ok(Runner {
            jobs: Some(jobs),
            outcomes,
            waiting,
            given_up,
            job_came,
            job_ended,
            thread: Some(thread),
        })
    }

    /// Queues a program. Returns false if too many programs are waiting.
    pub fn submit(&self, job: ProgramJob<T>) -> bool {
        if self.waiting.load(Ordering::Relaxed) >= MAX_WAITING {
            return false;
        }
        self.waiting.fetch_add(1, Ordering::Relaxed);
        let sent = self
            .jobs
            .as_ref()
            .is_some_and(|jobs| jobs.send(job).is_ok());
        self.job_came.wake();
        sent
    }

    pub fn as_fd(&self) -> BorrowedFd<'_> {
        self.job_ended.as_fd()
    }

    pub fn ended(&self) -> Vec<(T, JobResult)> {
        self.job_ended.reset();
        self.outcomes.try_iter().collect()
    }

    /// Kills the groups of all running programs, and starts no further ones.
    pub fn kill_all(mut self) {
        self.given_up.store(true, Ordering::Release);
        self.jobs = None;
        self.job_came.wake();
        if let Some(thread) = self.thread.take() {
            // Ignores a panic of the thread, which the panic hook has already printed.
            let _ = thread.join();
        }
    }

    /// Waits up to `wait` until waiting jobs have started, and scripts with a timeout and readers
    /// of pipes have ended. Other running programs are left alone.
    pub fn finish(&mut self, wait: Duration) {
        self.jobs = None;
        self.job_came.wake();
        let end = Instant::now() + wait;
        let Some(thread) = self.thread.take() else {
            return;
        };
        while !thread.is_finished() && Instant::now() < end {
            std::thread::sleep(Duration::from_millis(1));
        }
    }
}

struct RunningProgram<T> {
    child: Child,
    group: Option<Pid>,
    pidfd: OwnedFd,
    token: T,
    stays: bool,
    queue: Option<String>,
    /// Latest time until which the next job of the queue waits for this program.
    order_until: Instant,
    ends_at: Option<Instant>,
    ask: TimeoutAction,
}

/// Next action at the timeout of a program.
#[derive(Clone, Copy, PartialEq)]
enum TimeoutAction {
    /// None: the program has no timeout and runs as long as it likes.
    Nothing,
    Terminate,
    /// SIGTERM was sent; SIGKILL is next.
    Kill,
}

struct Inside<T> {
    null: File,
    /// True if the programs are killed when this process ends, for whatever reason.
    together: bool,
    given_up: Arc<AtomicBool>,
    todo: Receiver<ProgramJob<T>>,
    done: Sender<(T, JobResult)>,
    came: Arc<WakeEvent>,
    ended: Arc<WakeEvent>,
    pending: Arc<AtomicUsize>,
    queues: HashMap<Option<String>, VecDeque<ProgramJob<T>>>,
    running: Vec<RunningProgram<T>>,
}

impl<T: Clone> Inside<T> {
    fn run(mut self) {
        loop {
            let closed = self.take_jobs();
            if self.given_up.load(Ordering::Acquire) {
                self.running
                    .iter()
                    .for_each(|r| signal(r.group, Signal::KILL));
                return;
            }
            self.reap();
            self.end_late_ones();
            self.start_what_may();
            let idle = self.queues.is_empty();
            // Lets notified programs outlive the role, but not programs with a timeout, or that
            // received SIGTERM.
            let asked = self.running.iter().any(|r| r.ask != TimeoutAction::Nothing);
            if closed && idle {
                self.end_readers();
                if !asked {
                    return;
                }
            }
            self.sleep();
        }
    }

    /// Accepts new jobs; returns whether these were the last ones.
    fn take_jobs(&mut self) -> bool {
        self.came.reset();
        loop {
            match self.todo.try_recv() {
                Ok(job) => {
                    let queue = self.queues.entry(job.queue.clone()).or_default();
                    queue.push_back(job);
                }
                Err(std::sync::mpsc::TryRecvError::Empty) => return false,
                Err(std::sync::mpsc::TryRecvError::Disconnected) => return true,
            }
        }
    }

    fn tell(&self, token: T, outcome: JobResult) {
        let _ = self.done.send((token, outcome));
        self.ended.wake();
    }

    fn reap(&mut self) {
        let mut kept = Vec::with_capacity(self.running.len());
        for mut r in std::mem::take(&mut self.running) {
            match r.child.try_wait() {
                Ok(None) => kept.push(r),
                // Reports nothing for a killed program, whose outcome was reported when it was
                // killed.
                Ok(Some(_)) | Err(_) if r.ask == TimeoutAction::Kill => {}
                Ok(Some(status)) => {
                    let outcome = match (status.code(), status.signal()) {
                        (Some(code), _) => JobResult::Exited(code),
                        (None, signal) => JobResult::Signalled(signal.unwrap_or(0)),
                    };
                    self.tell(r.token, outcome);
                }
                Err(error) => self.tell(r.token, JobResult::NotStarted(error)),
            }
        }
        self.running = kept;
    }

    fn end_late_ones(&mut self) {
        let now = Instant::now();
        let mut told = Vec::new();
        for r in &mut self.running {
            if r.ends_at.is_none_or(|at| now < at) {
                continue;
            }
            match r.ask {
                TimeoutAction::Nothing => {}
                TimeoutAction::Terminate => {
                    signal(r.group, Signal::TERM);
                    r.ask = TimeoutAction::Kill;
                    r.ends_at = Some(now + TERM_GRACE);
                    told.push(r.token.clone());
                }
                TimeoutAction::Kill => {
                    signal(r.group, Signal::KILL);
                    r.ends_at = Some(now + TERM_GRACE);
                }
            }
        }
        for token in told {
            self.tell(token, JobResult::TimedOut);
        }
    }

    fn end_readers(&mut self) {
        for r in &mut self.running {
            if r.stays && r.ask == TimeoutAction::Nothing {
                signal(r.group, Signal::TERM);
                (r.ask, r.ends_at) = (TimeoutAction::Kill, Some(Instant::now() + TERM_GRACE));
            }
        }
    }

    fn start_what_may(&mut self) {
        let mut queues = std::mem::take(&mut self.queues);
        for (name, queue) in &mut queues {
            while !self.waits(name.as_deref()) {
                let Some(job) = queue.pop_front() else { break };
                self.pending.fetch_sub(1, Ordering::Relaxed);
                self.begin(job);
            }
        }
        queues.retain(|_, queue| !queue.is_empty());
        self.queues = queues;
    }

    /// Returns whether a running program of the queue delays the next job.
    fn waits(&self, queue: Option<&str>) -> bool {
        let now = Instant::now();
        queue.is_some()
            && self
                .running
                .iter()
                .any(|r| r.queue.as_deref() == queue && now < r.order_until)
    }

    fn begin(&mut self, job: ProgramJob<T>) {
        if self.running.len() >= MAX_RUNNING {
            return self.tell(job.token, JobResult::TooMany);
        }
        let now = Instant::now();
        match spawn(&job, &self.null, self.together) {
            Ok((child, pidfd)) => self.running.push(RunningProgram {
                group: i32::try_from(child.id()).ok().and_then(Pid::from_raw),
                child,
                pidfd,
                token: job.token,
                stays: job.stays,
                queue: job.queue,
                order_until: now + ORDER_WAIT,
                ends_at: job.timeout.map(|timeout| now + timeout),
                ask: match job.timeout {
                    Some(_) => TimeoutAction::Terminate,
                    None => TimeoutAction::Nothing,
                },
            }),
            Err(error) => self.tell(job.token, JobResult::NotStarted(error)),
        }
    }

    fn sleep(&self) {
        let now = Instant::now();
        let has_queue =
            |r: &&RunningProgram<T>| self.queues.contains_key(&r.queue) && r.queue.is_some();
        let ends = self.running.iter().filter_map(|r| r.ends_at);
        let orders = self.running.iter().filter(has_queue).map(|r| r.order_until);
        let next = ends.chain(orders.filter(|at| *at > now)).min();
        let wait = next.map(|at| super::clock::timespec(at.saturating_duration_since(now)));
        let mut fds = vec![PollFd::new(&*self.came, PollFlags::IN)];
        fds.extend(
            self.running
                .iter()
                .map(|r| PollFd::new(&r.pidfd, PollFlags::IN)),
        );
        // Ignores an error, because an interrupted sleep only ends early.
        let _ = poll(&mut fds, wait.as_ref());
    }
}

fn signal(group: Option<Pid>, signal: Signal) {
    if let Some(group) = group {
        // Ignores an error, because the process group may be gone already.
        let _ = kill_process_group(group, signal);
    }
}

fn spawn<T>(job: &ProgramJob<T>, null: &File, together: bool) -> io::Result<(Child, OwnedFd)> {
    let (program, arguments) = job.words.split_first().ok_or(io::ErrorKind::InvalidInput)?;
    let mut command = Command::new(program);
    command
        .args(arguments)
        .stdin(null.try_clone()?)
        .stdout(null.try_clone()?)
        .stderr(null.try_clone()?)
        .process_group(0);
    if let Some(environment) = &job.environment {
        let pairs = environment.iter().map(|(name, value)| (name, value));
        command.env_clear().envs(pairs);
    }
    // Keeps the user of a process that is not root, as keepalived does.
    if let Some(account) = job
        .account
        .as_ref()
        .filter(|_| rustix::process::geteuid().is_root())
    {
        command.gid(account.gid).uid(account.uid);
    }
    if together {
        let die_too = || Ok(set_parent_process_death_signal(Some(Signal::KILL))?);
        // SAFETY: prctl(2) is allowed between fork and exec.
        unsafe { command.pre_exec(die_too) };
    }
    let mut child = command.spawn()?;
    let pidfd = watch_child(&mut child)?;
    Ok((child, pidfd))
}

#[cfg(test)]
mod tests {
    use super::*;

    const LATEST: Duration = Duration::from_secs(20);

    fn shell(
        name: &str,
        script: &str,
        timeout: Option<Duration>,
        queue: Option<&str>,
    ) -> ProgramJob {
        ProgramJob {
            token: Token::Notify(name.to_owned()),
            words: ["/bin/sh", "-c", script].map(OsString::from).into(),
            environment: None,
            account: None,
            timeout,
            queue: queue.map(str::to_owned),
            stays: false,
        }
    }

    fn collect(runner: &Runner, many: usize) -> Vec<(String, String)> {
        let mut all = Vec::new();
        assert!(lab::eventually(LATEST, || {
            all.extend(runner.ended());
            all.len() >= many
        }));
        let name = |token: &Token| match token {
            Token::Notify(name) => name.clone(),
            other => format!("{other:?}"),
        };
        all.iter()
            .map(|(token, outcome)| (name(token), format!("{outcome:?}")))
            .collect()
    }

    #[test]
    fn it_is_told_how_a_program_ended_also_when_it_never_began() {
        let mut runner = Runner::start().unwrap();
        runner.submit(shell("code", "exit 3", None, None));
        runner.submit(shell("signal", "kill -9 $$", None, None));
        let mut none = shell("none", "", None, None);
        none.words = vec!["/no/such/program".into()];
        runner.submit(none);
        let mut got = collect(&runner, 3);
        got.sort();
        assert_eq!(got[0], ("code".to_owned(), "Exited(3)".to_owned()));
        assert!(got[1].1.contains("NotFound"), "{got:?}");
        assert_eq!(got[2], ("signal".to_owned(), "Signalled(9)".to_owned()));
        runner.finish(LATEST);
    }

    #[test]
    fn a_program_whose_time_is_over_is_ended_with_its_children() {
        let scratch = lab::ScratchDirectory::new().unwrap();
        let file = scratch.path().join("child");
        let mut runner = Runner::start().unwrap();
        let script = format!(
            "trap '' TERM; sleep 600 & echo $! > {}; wait; sleep 600",
            file.display()
        );
        runner.submit(shell(
            "late",
            &script,
            Some(Duration::from_millis(300)),
            None,
        ));
        assert_eq!(collect(&runner, 1)[0].1, "TimedOut");
        let child = std::fs::read_to_string(&file).unwrap();
        let gone =
            || !std::path::Path::new("/proc").join(child.trim()).exists() || zombie(child.trim());
        assert!(lab::eventually(LATEST, gone));
        runner.finish(LATEST);
    }

    fn zombie(pid: &str) -> bool {
        std::fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|s| s.contains(") Z "))
    }

    #[test]
    fn a_runner_that_is_given_up_kills_what_runs_and_programs_have_the_environment_given() {
        let scratch = lab::ScratchDirectory::new().unwrap();
        let file = scratch.path().join("seen");
        let runner = Runner::start().unwrap();
        let script = format!(
            "echo $$ $A $HOME > {0}.part; mv {0}.part {0}; sleep 600",
            file.display()
        );
        let mut job = shell("long", &script, Some(LATEST), None);
        let pairs = [("A", "b"), ("PATH", "/bin:/usr/bin")];
        job.environment = Some(pairs.map(|(n, v)| (n.into(), v.into())).into());
        runner.submit(job);
        let read = || std::fs::read_to_string(&file).ok();
        assert!(lab::eventually(LATEST, || read().is_some()));
        let seen = read().unwrap();
        let (pid, rest) = seen.trim().split_once(' ').unwrap();
        assert_eq!(rest, "b");
        runner.kill_all();
        let gone = || !std::path::Path::new("/proc").join(pid).exists() || zombie(pid);
        assert!(lab::eventually(LATEST, gone));
    }

    #[test]
    fn programs_of_one_queue_run_one_after_another_and_others_do_not_wait() {
        let mut runner = Runner::start().unwrap();
        runner.submit(shell("a1", "sleep 0.3", None, Some("a")));
        runner.submit(shell("a2", "exit 0", None, Some("a")));
        runner.submit(shell("b1", "exit 0", None, Some("b")));
        let names: Vec<_> = collect(&runner, 3).into_iter().map(|(n, _)| n).collect();
        let place = |name: &str| names.iter().position(|n| n == name).unwrap();
        assert!(place("a1") < place("a2"), "{names:?}");
        assert!(place("b1") < place("a2"), "{names:?}");
        runner.finish(LATEST);
    }

    #[test]
    fn a_program_that_hangs_holds_its_queue_up_no_longer_than_said() {
        let mut runner = Runner::start().unwrap();
        runner.submit(shell("a1", "sleep 30", Some(LATEST), Some("a")));
        runner.submit(shell("a2", "exit 0", None, Some("a")));
        assert_eq!(collect(&runner, 1)[0].0, "a2");
        // The hanging program would end at its timeout, for which the test does not wait.
        runner.finish(Duration::ZERO);
    }
}
