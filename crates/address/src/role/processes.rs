//! Counts the running processes of each name that is tracked (`vrrp_track_process`), and computes
//! their verdicts. A separate thread scans `/proc` when the kernel reports a started or ended
//! process (process events, where they are permitted), and every [`PERIOD`] in any case.

use super::clock;
use super::weight::TrackedState;
use crate::config::{ParameterMatch, TrackProcess};
use part::wake::WakeEvent;
use protocol::vrrp::Time;
use rustix::event::{PollFd, PollFlags, poll};
use rustix::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use rustix::net::{AddressFamily, RecvFlags, SocketFlags, SocketType, recv, socket_with};
use std::io;
use std::num::NonZeroU32;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// Interval of scans without process events.
const PERIOD: Duration = Duration::from_millis(500);

/// Minimum interval between scans, even if hundreds of processes start and end.
const REST: Duration = Duration::from_millis(50);

const MAX_COMMAND_BYTES: usize = 16 * 1024;

/// Length of a process name in the kernel, in bytes.
const NAME_BYTES: usize = 15;

/// Tracked processes, their counts and verdicts.
#[derive(Debug)]
pub struct Processes {
    shared: Arc<ProcessCounts>,
    states: Vec<TrackedProcessState>,
}

/// Counts shared by the watching thread and the loop.
#[derive(Debug)]
struct ProcessCounts {
    wanted: Vec<TrackProcess>,
    counts: Mutex<Vec<u32>>,
    changed: WakeEvent,
    stop: WakeEvent,
    stopped: AtomicBool,
}

#[derive(Debug)]
struct TrackedProcessState {
    count: u32,
    is_ok: bool,
    change_at: Option<Time>,
}

impl Processes {
    /// Counts the processes once, then starts the watching thread. As for
    /// [`super::runner::Runner::start`], the thread inherits the caller's scheduling.
    ///
    /// # Errors
    /// An eventfd or the thread cannot be created.
    pub fn watch(wanted: &[TrackProcess]) -> io::Result<Processes> {
        let counts = count(wanted);
        let states = wanted
            .iter()
            .zip(&counts)
            .map(|(wanted, count)| TrackedProcessState {
                count: *count,
                is_ok: has_quorum(wanted, *count),
                change_at: None,
            })
            .collect();
        let shared = Arc::new(ProcessCounts {
            wanted: wanted.to_vec(),
            counts: Mutex::new(counts),
            changed: WakeEvent::new()?,
            stop: WakeEvent::new()?,
            stopped: AtomicBool::new(false),
        });
        let inside = Arc::clone(&shared);
        std::thread::Builder::new()
            .name("processes".to_owned())
            .spawn(move || inside.run())?;
        Ok(Processes { shared, states })
    }

    pub fn as_fd(&self) -> BorrowedFd<'_> {
        self.shared.changed.as_fd()
    }

    pub fn verdict(&self, name: &str) -> TrackedState {
        let all = self.shared.wanted.iter().zip(&self.states);
        let mut found = all.filter(|(wanted, _)| wanted.name == name);
        match found.next() {
            Some((_, state)) if state.is_ok => TrackedState::Up,
            Some(_) => TrackedState::Down,
            None => TrackedState::Unknown,
        }
    }

    /// Returns all tracked processes, each with its count and whether its verdict is up.
    pub fn all(&self) -> impl Iterator<Item = (&TrackProcess, u32, bool)> {
        let all = self.shared.wanted.iter().zip(&self.states);
        all.map(|(wanted, state)| (wanted, state.count, state.is_ok))
    }

    /// Returns when [`Processes::handle_time`] must be called.
    pub fn deadline(&self) -> Option<Time> {
        self.states.iter().filter_map(|s| s.change_at).min()
    }

    /// Reads new counts, and applies changes whose delay has expired. Returns whether a verdict
    /// changed.
    pub fn handle_time(&mut self, now: Time) -> bool {
        self.shared.changed.reset();
        let counts = self.shared.lock().clone();
        let mut changed = false;
        let all = self.shared.wanted.iter().zip(&mut self.states).zip(counts);
        for ((wanted, state), count) in all {
            let too_many = |count| wanted.quorum_max.is_some_and(|most| count > most);
            let before = std::mem::replace(&mut state.count, count);
            let well = has_quorum(wanted, count);
            if well == state.is_ok {
                state.change_at = None;
                continue;
            }
            // A started process makes the count sufficient or too high; an ended one makes it too
            // low or no longer too high.
            let fork = if well {
                !too_many(before)
            } else {
                too_many(count)
            };
            let delay = if fork {
                wanted.fork_delay
            } else {
                wanted.terminate_delay
            };
            let at = *state.change_at.get_or_insert(now.after(delay));
            if at <= now {
                (state.is_ok, state.change_at) = (well, None);
                changed = true;
            }
        }
        changed
    }
}

impl Drop for Processes {
    fn drop(&mut self) {
        self.shared.stopped.store(true, Ordering::Relaxed);
        self.shared.stop.wake();
    }
}

fn has_quorum(wanted: &TrackProcess, count: u32) -> bool {
    let most = wanted.quorum_max.unwrap_or(u32::MAX);
    let least = match wanted.quorum_max {
        Some(0) => 0,
        _ => wanted.quorum,
    };
    (least..=most).contains(&count)
}

impl ProcessCounts {
    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<u32>> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn run(&self) {
        let events = events();
        while !self.stopped.load(Ordering::Relaxed) {
            let counts = count(&self.wanted);
            let changed = std::mem::replace(&mut *self.lock(), counts.clone()) != counts;
            if changed {
                self.changed.wake();
            }
            self.wait(events.as_ref());
        }
    }

    fn wait(&self, events: Option<&OwnedFd>) {
        let mut rest = [PollFd::new(&self.stop, PollFlags::IN)];
        let _ = poll(&mut rest, Some(&clock::timespec(REST)));
        let mut fds = vec![PollFd::new(&self.stop, PollFlags::IN)];
        fds.extend(events.map(|events| PollFd::new(events, PollFlags::IN)));
        let _ = poll(&mut fds, Some(&clock::timespec(PERIOD)));
        let mut buffer = [0; 4096];
        let mut drained = 0;
        while let Some(events) = events
            && drained < 1024
            && recv(events, &mut buffer, RecvFlags::DONTWAIT).is_ok()
        {
            drained += 1;
        }
    }
}

/// Subscribes to process events: the protocol `NETLINK_CONNECTOR`, its group and its message.
/// Returns None if the kernel or the namespace refuses; then the count is updated only every
/// period.
fn events() -> Option<OwnedFd> {
    const CONNECTOR: u32 = 11;
    const CN_IDX_PROC: u32 = 1;
    const LISTEN: u32 = 1;
    let protocol = NonZeroU32::new(CONNECTOR).map(rustix::net::Protocol::from_raw);
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let fd = socket_with(AddressFamily::NETLINK, SocketType::DGRAM, flags, protocol).ok()?;
    // SAFETY: zero is a valid value of each of its fields.
    let mut at: libc::sockaddr_nl = unsafe { std::mem::zeroed() };
    at.nl_family = libc::AF_NETLINK as libc::sa_family_t;
    at.nl_groups = CN_IDX_PROC;
    // SAFETY: the address is a whole sockaddr_nl and lives during the call.
    let bound = unsafe {
        libc::bind(
            fd.as_raw_fd(),
            std::ptr::from_ref(&at).cast(),
            size_of::<libc::sockaddr_nl>() as libc::socklen_t,
        )
    };
    if bound != 0 {
        return None;
    }
    // nlmsghdr (length 40, type DONE), cn_msg (id proc/proc, length 4), the operation.
    let mut message = [0; 40];
    let mut put = |at: usize, bytes: &[u8]| {
        if let Some(place) = message.get_mut(at..at + bytes.len()) {
            place.copy_from_slice(bytes);
        }
    };
    put(0, &40u32.to_ne_bytes());
    put(4, &(libc::NLMSG_DONE as u16).to_ne_bytes());
    put(16, &CN_IDX_PROC.to_ne_bytes());
    put(20, &1u32.to_ne_bytes());
    put(32, &4u16.to_ne_bytes());
    put(36, &LISTEN.to_ne_bytes());
    rustix::net::send(&fd, &message, rustix::net::SendFlags::empty()).ok()?;
    Some(fd)
}

/// Counts the processes of each name. Zombies do not count.
fn count(wanted: &[TrackProcess]) -> Vec<u32> {
    let mut counts = vec![0; wanted.len()];
    let with_command = |w: &TrackProcess| w.full_command || w.parameters.is_some();
    let commands = wanted.iter().any(with_command);
    let Ok(entries) = std::fs::read_dir("/proc") else {
        return counts;
    };
    for entry in entries.flatten() {
        let file_name = entry.file_name();
        if !file_name
            .as_encoded_bytes()
            .first()
            .is_some_and(u8::is_ascii_digit)
        {
            continue;
        }
        let path = entry.path();
        let Ok(stat) = std::fs::read(path.join("stat")) else {
            continue;
        };
        let Some(name) = running_name(&stat) else {
            continue;
        };
        let command = if commands {
            let all = std::fs::read(path.join("cmdline")).unwrap_or_default();
            all.get(..MAX_COMMAND_BYTES.min(all.len()))
                .unwrap_or_default()
                .to_vec()
        } else {
            Vec::new()
        };
        for (wanted, count) in wanted.iter().zip(&mut counts) {
            *count += u32::from(is(wanted, name, &command));
        }
    }
    counts
}

/// Returns the name from `PID (NAME) STATE …`, unless the process is a zombie. A name may contain
/// any byte, also brackets.
fn running_name(stat: &[u8]) -> Option<&[u8]> {
    let from = stat.iter().position(|b| *b == b'(')? + 1;
    let to = stat.iter().rposition(|b| *b == b')')?;
    let state = stat.get(to + 2)?;
    if matches!(state, b'Z' | b'X') {
        return None;
    }
    stat.get(from..to)
}

fn is(wanted: &TrackProcess, name: &[u8], command: &[u8]) -> bool {
    let Some((program, parameters)) = wanted.words.split_first() else {
        return false;
    };
    let mut words = command
        .strip_suffix(b"\0")
        .unwrap_or(command)
        .split(|b| *b == 0);
    let first = words.next().unwrap_or_default();
    let same_program = if wanted.full_command {
        first == program.as_bytes()
    } else {
        let program = program.as_bytes();
        // Removes the directory, because `process` may be a path. The kernel's name has no
        // directory and is truncated.
        let last = program.rsplit(|b| *b == b'/').next().unwrap_or(program);
        let cut = last.get(..NAME_BYTES.min(last.len())).unwrap_or(last);
        name == cut
    };
    if !same_program {
        return false;
    }
    let Some(how) = wanted
        .parameters
        .or((wanted.full_command).then_some(ParameterMatch::Exact))
    else {
        return true;
    };
    let there: Vec<&[u8]> = words.collect();
    let parameters: Vec<&[u8]> = parameters.iter().map(String::as_bytes).collect();
    match how {
        ParameterMatch::Exact => there == parameters,
        ParameterMatch::Partial => there.starts_with(&parameters),
        ParameterMatch::Initial => match parameters.split_last() {
            None => true,
            Some((last, before)) => {
                there.starts_with(before)
                    && there.get(before.len()).is_some_and(|t| t.starts_with(last))
            }
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Weight;
    use std::process::Command;

    fn wanted(words: &[&str], parameters: Option<ParameterMatch>, quorum: u32) -> TrackProcess {
        TrackProcess {
            name: "p".to_owned(),
            words: words.iter().map(|w| (*w).to_owned()).collect(),
            parameters,
            full_command: false,
            weight: Weight::default(),
            quorum,
            quorum_max: None,
            fork_delay: Duration::ZERO,
            terminate_delay: Duration::ZERO,
        }
    }

    #[test]
    fn a_process_is_known_by_its_name_and_by_its_parameters_where_they_are_given() {
        let command = b"/usr/bin/sleep\x00600\x00now\x00";
        let like = |words: &[&str], how| is(&wanted(words, how, 1), b"sleep", command);
        assert!(like(&["sleep"], None));
        assert!(like(&["/bin/sleep"], None));
        assert!(!like(&["slee"], None));
        assert!(like(&["sleep", "600", "now"], Some(ParameterMatch::Exact)));
        assert!(!like(&["sleep", "600"], Some(ParameterMatch::Exact)));
        assert!(like(&["sleep", "600"], Some(ParameterMatch::Partial)));
        assert!(like(&["sleep", "600", "no"], Some(ParameterMatch::Initial)));
        assert!(!like(&["sleep", "no"], Some(ParameterMatch::Initial)));
        assert!(!like(&["sleep"], Some(ParameterMatch::Exact)));
        let mut full = wanted(&["/usr/bin/sleep", "600", "now"], None, 1);
        full.full_command = true;
        assert!(is(&full, b"other", command));
    }

    #[test]
    fn a_name_with_brackets_is_read_whole_and_a_zombie_does_not_run() {
        assert_eq!(running_name(b"7 (a) (b) S 1"), Some(&b"a) (b"[..]));
        assert_eq!(running_name(b"7 (a) Z 1"), None);
        assert_eq!(running_name(b"7 (a"), None);
        assert_eq!(running_name(b""), None);
    }

    #[test]
    fn processes_that_come_and_go_are_counted() {
        let secret = format!("{}.5", 600 + std::process::id());
        let wanted = wanted(&["sleep", &secret], Some(ParameterMatch::Exact), 2);
        let mut processes = Processes::watch(&[wanted]).unwrap();
        assert_eq!(processes.verdict("p"), TrackedState::Down);
        let start = || Command::new("sleep").arg(&secret).spawn().unwrap();
        let (mut one, mut two) = (start(), start());
        let latest = Duration::from_secs(20);
        let mut comes = |verdict: TrackedState| {
            lab::eventually(latest, || {
                processes.handle_time(clock::now());
                processes.verdict("p") == verdict
            })
        };
        let up = comes(TrackedState::Up);
        one.kill().unwrap();
        one.wait().unwrap();
        let down = comes(TrackedState::Down);
        two.kill().unwrap();
        two.wait().unwrap();
        assert!(up && down);
    }

    #[test]
    fn too_many_are_as_bad_as_too_few() {
        let mut most = wanted(&["x"], None, 1);
        most.quorum_max = Some(2);
        let well: Vec<_> = (0..4).map(|count| has_quorum(&most, count)).collect();
        assert_eq!(well, [false, true, true, false]);
        most.quorum_max = Some(0);
        assert!(has_quorum(&most, 0) && !has_quorum(&most, 1));
    }
}
