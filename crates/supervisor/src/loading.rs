//! Starts a loader process, watches its time limit, and reads its result for the supervisor.

use crate::master::{self, MasterSocket};
use crate::pulse;
use part::channel::{ChannelError, Received};
use part::heart::{LOOK_EVERY_MS, LOOKS_MAX, PollTiming};
use part::role::{Load, NotLoaded, Personality, SupervisorMessage, VersionPlan};
use part::spawn::{self, StartFailure, Started, Why};
use part::{SharedFd, memory};
use std::ffi::{OsStr, OsString};
use std::os::fd::OwnedFd;
use std::path::Path;
use std::time::{Duration, Instant};

/// Timeout of a loader. Each host name without a response takes seconds.
const LIMIT: Duration = Duration::from_secs(300);
const LIMIT_VARIABLE: &str = "EVENKEEL_LOADER_SECONDS";
const SLOW: Duration = Duration::from_secs(10);
const LIMIT_SECONDS_MAX: u64 = 86_400;

pub struct Loading {
    pub process: Started,
    pub until: Instant,
    limit: Duration,
    began: Instant,
    /// True once the slow loader was reported in the log.
    is_slow_reported: bool,
    /// True once a signal has stopped the process for too long.
    is_frozen: bool,
}

fn limit() -> Duration {
    let named = std::env::var(LIMIT_VARIABLE).ok();
    let seconds = named.and_then(|text| text.parse().ok());
    let seconds = seconds.filter(|seconds| (1..=LIMIT_SECONDS_MAX).contains(seconds));
    seconds.map_or(LIMIT, Duration::from_secs)
}

pub struct LoaderResult {
    pub outcome: Result<VersionPlan, NotLoaded>,
    pub plain: String,
    pub shown: String,
    pub descriptors: Vec<OwnedFd>,
}

/// The reason why a loader gave no result.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    #[error(transparent)]
    Process(StartFailure),
    #[error("unexpected reply of the loader")]
    Message,
    #[error("the loader's messages: {0}")]
    Notes(memory::MemoryError),
    #[error(
        "the loader was stopped because it took longer than {} s (a pipe without a writer, an unresponsive \
         nameserver?); {LIMIT_VARIABLE} sets another limit",
        .0.as_secs()
    )]
    TooLong(Duration),
    #[error(
        "the loader (process {0}) was killed because a signal had stopped it for {seconds} s",
        seconds = u64::from(LOOKS_MAX) * LOOK_EVERY_MS / 1_000
    )]
    Frozen(i32),
    #[error("the loader ended without a message")]
    Ended,
}

impl Loading {
    /// Starts a loader of a program with additional environment variables, and sends the request.
    pub fn begin(
        program: &Path,
        load: Load,
        descriptors: &[SharedFd],
        variables: &[(&str, &OsStr)],
    ) -> Result<Loading, LoadError> {
        let personality = load.personality;
        let message = SupervisorMessage::Load(Box::new(load));
        let first = |process: &mut Started| process.send(&message, descriptors);
        let entry = spawn::LOADER_ENTRY;
        let process = spawn::start(program, entry, personality, variables, first)
            .map_err(LoadError::Process)?;
        Ok(Loading::of(process, limit()))
    }

    /// As [`Self::begin`], with the environment variables that HAProxy would set for a version that
    /// is served.
    pub fn begin_with_masters(
        program: &Path,
        load: Load,
        descriptors: &[SharedFd],
        masters: &[MasterSocket],
    ) -> Result<Loading, LoadError> {
        let sockets = OsString::from(master::shown(masters));
        let worker = ("HAPROXY_MWORKER", OsStr::new("1"));
        let both = [worker, ("HAPROXY_MASTER_CLI", &*sockets)];
        let variables: &[(&str, &OsStr)] = match load.personality {
            Personality::Own | Personality::Keepalived => &[],
            Personality::Haproxy if sockets.is_empty() => &both[..1],
            Personality::Haproxy => &both,
        };
        Loading::begin(program, load, descriptors, variables)
    }

    fn of(process: Started, limit: Duration) -> Loading {
        let began = Instant::now();
        Loading {
            process,
            until: began + limit,
            limit,
            began,
            is_slow_reported: false,
            is_frozen: false,
        }
    }

    /// Records one of the supervisor's polls. A process that a signal has stopped for
    /// [`LOOKS_MAX`] of them fails.
    pub fn poll_process(&mut self, timing: PollTiming) {
        self.is_frozen |= pulse::is_stopped(&mut self.process, timing).is_some();
    }

    pub fn deadline(&self) -> Instant {
        if self.is_slow_reported {
            return self.until;
        }
        self.until.min(self.began + SLOW)
    }

    pub fn began(&self) -> Instant {
        self.began
    }

    /// Describes a loader that takes long; None before that.
    pub fn slowness(&self, now: Instant) -> Option<String> {
        let runs = now.saturating_duration_since(self.began);
        (runs >= SLOW).then(|| {
            format!(
                "the loader (process {}) has been reading the files for {} s (a file system or nameserver that \
                 does not respond?); reloads wait for it, and it is killed after {} s",
                self.process.number(),
                runs.as_secs(),
                self.limit.as_secs()
            )
        })
    }

    /// Describes a slow loader as [`Self::slowness`] does, but only once for each loader.
    pub fn report_slowness(&mut self, now: Instant) -> Option<String> {
        let words = self.slowness(now).filter(|_| !self.is_slow_reported);
        self.is_slow_reported |= words.is_some();
        words
    }

    fn look(&mut self) -> Result<Option<LoaderResult>, LoadError> {
        let channel = &mut self.process.channel;
        let received = channel.flush().and_then(|()| channel.receive());
        match received {
            Ok(None) if self.is_frozen => Err(LoadError::Frozen(self.process.number())),
            Ok(None) if Instant::now() >= self.until => Err(LoadError::TooLong(self.limit)),
            Ok(None) => Ok(None),
            Ok(Some(received)) => read(received).map(Some),
            Err(ChannelError::Closed) => Err(LoadError::Ended),
            Err(error) => {
                let failure = self.process.failure(Why::Channel(error));
                Err(LoadError::Process(failure))
            }
        }
    }

    /// Removes a loader that is done, and returns its result.
    pub fn settle(place: &mut Option<Loading>) -> Option<Result<LoaderResult, LoadError>> {
        let loading = place.as_mut()?;
        let told = loading.look().transpose()?;
        if told.is_err() {
            loading.process.kill();
        }
        if let Some(loading) = place.take() {
            loading.end();
        }
        Some(told)
    }

    pub fn abandon(place: &mut Option<Loading>) {
        if let Some(loading) = place.take() {
            loading.process.kill();
            loading.end();
        }
    }

    /// Waits for the end of the loader, which is expected soon.
    fn end(mut self) {
        /// Time for the loader to end after its last message, before it is killed; it has no work
        /// left.
        const PATIENCE: Duration = Duration::from_millis(500);
        self.process.wait_for_end(Instant::now() + PATIENCE);
    }
}

fn read(received: Received) -> Result<LoaderResult, LoadError> {
    let mut descriptors = received.descriptors.into_iter();
    let mut text = || {
        let fd = descriptors.next().ok_or(LoadError::Message)?;
        memory::text(&fd).map_err(LoadError::Notes)
    };
    let outcome = match received.message {
        SupervisorMessage::Loaded(plan) => Ok(*plan),
        SupervisorMessage::NotLoaded(why) => Err(*why),
        _ => return Err(LoadError::Message),
    };
    Ok(LoaderResult {
        outcome,
        plain: text()?,
        shown: text()?,
        descriptors: descriptors.collect(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bed::bed;
    use part::heart::ThreadState;
    use rustix::process::{Pid, Signal, WaitOptions, kill_process, waitpid};

    #[test]
    fn stopped_loader_is_killed_with_an_error_message() {
        let (process, theirs) = bed();
        let number = process.number();
        let mut place = Some(Loading::of(process, LIMIT));
        let poll = |place: &mut Option<Loading>| {
            let loading = place.as_mut().expect("a loader");
            loading.poll_process(PollTiming::InTime);
        };
        // A sleeping loader is not killed: it may wait for a response.
        for _ in 0..3 * LOOKS_MAX {
            poll(&mut place);
        }
        assert!(Loading::settle(&mut place).is_none());
        let pid = Pid::from_child(&theirs.child);
        kill_process(pid, Signal::STOP).unwrap();
        waitpid(Some(pid), WaitOptions::UNTRACED).unwrap();
        for _ in 1..LOOKS_MAX {
            poll(&mut place);
        }
        assert!(Loading::settle(&mut place).is_none());
        // A loader that was stopped and continues starts the count of silent polls again.
        kill_process(pid, Signal::CONT).unwrap();
        assert!(lab::eventually(Duration::from_secs(60), || {
            pulse::sample::thread(number, number) == ThreadState::Sleeps
        }));
        poll(&mut place);
        kill_process(pid, Signal::STOP).unwrap();
        waitpid(Some(pid), WaitOptions::UNTRACED).unwrap();
        for _ in 1..LOOKS_MAX {
            poll(&mut place);
        }
        assert!(Loading::settle(&mut place).is_none());
        poll(&mut place);
        let Some(Err(error)) = Loading::settle(&mut place) else {
            panic!("the loader is still waited for");
        };
        let words = error.to_string();
        assert!(words.contains(&format!("process {number}")), "{words}");
        assert!(
            words.contains("a signal had stopped it for 10 s"),
            "{words}"
        );
        assert!(place.is_none());
    }

    #[test]
    fn slow_loader_is_reported_once() {
        let (process, _theirs) = bed();
        let mut loading = Loading::of(process, LIMIT);
        let slow = loading.began + SLOW;
        assert_eq!(loading.deadline(), slow);
        assert_eq!(loading.report_slowness(loading.began), None);
        let words = loading.report_slowness(slow).expect("a report");
        assert!(words.contains("for 10 s"), "{words}");
        assert!(words.contains("killed after 300 s"), "{words}");
        assert_eq!(loading.report_slowness(slow), None);
        assert_eq!(loading.deadline(), loading.until);
        assert!(loading.slowness(slow).is_some());
    }
}
