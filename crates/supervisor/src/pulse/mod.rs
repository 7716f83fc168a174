//! Detects frozen roles: a main loop that does not respond, or a thread of the proxy that writes no
//! heartbeat. The supervisor logs where the role hangs and kills it; the successor starts with the
//! last good version.
//!
//! Time is counted in polls of the supervisor: a machine that was suspended, or stopped with all
//! its processes, counts none ([`part::heart`]). On a busy machine the polls are late, and a frozen
//! role is detected later.

mod memory;
pub mod sample;

use crate::slot::{RoleSlot, RunningRole, Slots};
use part::SharedFd;
use part::heart::{Frozen, Heart, LOOK_EVERY_MS, LOOKS_MAX, PollTiming, ThreadState};
use part::mapped;
use part::role::SupervisorMessage;
use part::spawn::Started;
use part::voice::MessagePrinter;
use protocol::vitals::{Vitals, WORDS};
use rustix::fs::fstat;
use std::time::{Duration, Instant};

const LOOK_EVERY: Duration = Duration::from_millis(LOOK_EVERY_MS);
/// Delay above which a poll counts as late: the supervisor itself did not run.
const LATE: Duration = Duration::from_secs(3);
const SIDE_THREAD: &str = "side";

/// Liveness of a thread of the proxy, as its heartbeats show it.
#[derive(Clone, Copy, Debug, Default)]
struct Thread {
    /// Value of the last heartbeat that was read from the heartbeat memory.
    beat: u64,
    heart: Heart,
}

#[derive(Default)]
pub struct Pulses {
    next: Option<Instant>,
    /// Heartbeat memory, which outlives images of the program.
    file: Option<SharedFd>,
    /// Inode number and mapping of the heartbeat memory.
    memory: Option<(u64, Vitals<'static>)>,
    process: i32,
    threads: Vec<Thread>,
    side: Thread,
}

impl Pulses {
    pub fn file(&self) -> Option<&SharedFd> {
        self.file.as_ref()
    }

    pub fn resume(&mut self, file: SharedFd) {
        self.file = Some(file);
    }

    pub fn deadline(&self) -> Option<Instant> {
        self.next
    }

    /// Returns the punctuality of the poll that is due now; None if none is due.
    pub fn look(&mut self, now: Instant) -> Option<PollTiming> {
        let due = *self.next.get_or_insert(now + LOOK_EVERY);
        if due > now {
            return None;
        }
        self.next = Some(now + LOOK_EVERY);
        let late = now.saturating_duration_since(due) > LATE;
        Some(if late {
            PollTiming::Late
        } else {
            PollTiming::InTime
        })
    }

    /// Resets what was observed about the proxy's threads.
    fn begin_anew(&mut self) {
        self.threads.clear();
        self.side = Thread::default();
    }

    /// Resets what was observed about all processes.
    pub fn restart(&mut self, slots: &mut Slots) {
        self.begin_anew();
        if let Some(proxy) = &mut slots.serving.running {
            proxy.helpers.iter_mut().for_each(|one| one.heart.beats());
        }
        for (process, _) in slots.all_mut().filter_map(RoleSlot::beating) {
            process.heart.beats();
        }
    }

    /// Kills a frozen proxy. With `is_upgraded`, a proxy that serves is not checked, because it may
    /// be paused while the role of the new program serves.
    pub fn check_proxy(
        &mut self,
        proxy: Option<&mut RunningRole>,
        is_upgraded: bool,
        look: PollTiming,
        voice: &mut MessagePrinter,
    ) {
        self.map_vitals();
        let Some(proxy) = proxy else {
            return self.begin_anew();
        };
        let number = proxy.process.number();
        let frozen = if !proxy.ready {
            self.begin_anew();
            is_stopped(&mut proxy.process, look).map(|why| (None, why))
        } else if is_upgraded {
            proxy.process.heart.beats();
            self.begin_anew();
            None
        } else if let Some(why) = is_frozen(&mut proxy.process, look) {
            Some((None, why))
        } else {
            // Names no thread if a signal has stopped the process: all its threads are stopped
            // then.
            self.frozen_thread(number, look).map(|(name, why)| {
                let named = Some(name).filter(|_| why != Frozen::Stopped);
                (named, why)
            })
        };
        if let Some((thread, why)) = frozen {
            report_frozen(voice, "proxy", number, thread.as_deref(), why);
            // Only kills: the main loop notices the end of the process and restarts the role.
            proxy.process.kill();
            self.begin_anew();
        }
    }

    /// Sends the proxy the heartbeat memory, which other roles read. Creates the memory if there is
    /// none yet.
    pub fn share_with(&mut self, proxy: Option<&mut RunningRole>, voice: &mut MessagePrinter) {
        if self.file.is_none() {
            let made = memory::create().map_err(|error| {
                voice.warning(format_args!(
                    "cannot create the heartbeat memory ({error}): virtual addresses do not follow the health of the \
                     proxy, and a frozen proxy is not restarted"
                ));
            });
            self.file = made.ok();
        }
        if let Some(proxy) = proxy {
            proxy.process.share(self.file.as_ref());
        }
    }

    fn map_vitals(&mut self) {
        let Some(file) = &self.file else {
            return;
        };
        let inode = fstat(file).map_or(0, |data| data.st_ino);
        if self.memory.is_some_and(|(mapped, _)| mapped == inode) {
            return;
        }
        // The mapping is never removed: the memory is created once per program image.
        let opened = mapped::map(file, WORDS).and_then(|words| Vitals::open(words).ok());
        self.memory = opened.map(|vitals| (inode, vitals));
    }

    /// Returns the name of the first frozen thread of a proxy.
    fn frozen_thread(&mut self, process: i32, look: PollTiming) -> Option<(String, Frozen)> {
        let (_, vitals) = self.memory?;
        if vitals.owner() != u64::try_from(process).unwrap_or(0) {
            // Checks no thread: another process owns the memory, or the proxy has not started to
            // write.
            self.begin_anew();
            return None;
        }
        if std::mem::replace(&mut self.process, process) != process {
            self.begin_anew();
        }
        let beats: Vec<u64> = vitals.thread_heartbeats().collect();
        self.threads.resize_with(beats.len(), Thread::default);
        let mut all: Vec<(String, u64, &mut Thread)> = self
            .threads
            .iter_mut()
            .zip(beats)
            .enumerate()
            .map(|(number, (thread, beat))| (format!("proxy/{number}"), beat, thread))
            .collect();
        let side = vitals.side_heartbeat_ms();
        if side != 0 {
            all.push((SIDE_THREAD.to_owned(), side, &mut self.side));
        }
        let mut frozen = None;
        for (name, beat, thread) in all {
            if std::mem::replace(&mut thread.beat, beat) != beat {
                thread.heart.beats();
                continue;
            }
            let found = match sample::named(process, &name) {
                Some(number) => sample::thread(process, number),
                None => ThreadState::Unknown,
            };
            let why = thread.heart.is_silent(found, look);
            frozen = frozen.or(why.map(|why| (name, why)));
        }
        frozen
    }
}

/// Returns the reason if a signal has kept a process stopped for [`LOOKS_MAX`] polls. Checks only
/// that, for processes that do not respond to pings.
pub fn is_stopped(process: &mut Started, look: PollTiming) -> Option<Frozen> {
    let number = process.number();
    match sample::thread(number, number) {
        ThreadState::Stopped => process.heart.is_silent(ThreadState::Stopped, look),
        _ => {
            process.heart.beats();
            None
        }
    }
}

/// Kills a frozen role. A role that starts is only checked for a signal that stopped it.
pub fn check_role(slot: &mut RoleSlot, look: PollTiming, voice: &mut MessagePrinter) {
    let what = slot.row.entry.display_name;
    let Some((role, runs)) = slot.beating() else {
        return;
    };
    let frozen = if runs {
        is_frozen(role, look)
    } else {
        is_stopped(role, look)
    };
    if let Some(why) = frozen {
        report_frozen(voice, what, role.number(), None, why);
        role.kill();
    }
}

/// Reports what is frozen and where it waits; the location is read before the process is killed.
pub fn report_frozen(
    voice: &mut MessagePrinter,
    role: &str,
    process: i32,
    thread: Option<&str>,
    why: Frozen,
) {
    let place = match why {
        Frozen::Sleeps => sample::place(process, thread),
        Frozen::Stopped | Frozen::Loops | Frozen::Gone => None,
    };
    let place = place.map_or_else(String::new, |place| format!(" (in the kernel's {place})"));
    let thread = thread.map_or_else(|| "main thread".to_owned(), |name| format!("thread {name}"));
    let seconds = u64::from(LOOKS_MAX) * LOOK_EVERY_MS / 1_000;
    voice.alert(format_args!(
        "the {role} (process {process}) is frozen: its {thread} {why}{place} and has shown no activity for {seconds} s; \
         the supervisor kills and restarts it"
    ));
}

/// Returns why the main loop of a role is frozen; None if it is not. Sends a ping unless one is
/// pending; any message of the role counts as the response.
fn is_frozen(process: &mut Started, look: PollTiming) -> Option<Frozen> {
    if process.is_channel_closed {
        return None;
    }
    // A role that cannot receive the ping counts as silent, because it does not read its full
    // channel.
    if !process.is_asked() && process.send_ping(&SupervisorMessage::TellPulse) {
        return None;
    }
    let number = process.number();
    process
        .heart
        .is_silent(sample::thread(number, number), look)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bed::{Theirs, bed, voice};
    use rustix::process::Signal;
    use std::sync::Arc;

    #[test]
    fn poll_is_late_after_a_suspension() {
        let mut pulses = Pulses::default();
        let begin = Instant::now();
        assert_eq!(pulses.look(begin), None);
        assert_eq!(pulses.look(begin + LOOK_EVERY / 2), None);
        assert_eq!(pulses.look(begin + LOOK_EVERY), Some(PollTiming::InTime));
        let second = begin + 2 * LOOK_EVERY + LATE;
        assert_eq!(pulses.look(second), Some(PollTiming::InTime));
        let third = second + LOOK_EVERY + LATE + Duration::from_millis(1);
        assert_eq!(pulses.look(third), Some(PollTiming::Late));
        assert_eq!(pulses.look(third), None, "one look, however late");
    }

    fn stopped_proxy(ready: bool) -> (RunningRole, Theirs) {
        let (process, theirs) = bed();
        process.signal(Signal::STOP);
        let mut proxy = RunningRole::adopted(process);
        proxy.ready = ready;
        (proxy, theirs)
    }

    #[test]
    fn stopped_proxy_is_killed_after_some_polls() {
        for ready in [false, true] {
            let (mut proxy, _theirs) = stopped_proxy(ready);
            let mut pulses = Pulses::default();
            let mut polls = 0;
            assert!(lab::eventually(Duration::from_secs(20), || {
                polls += 1;
                let look = PollTiming::InTime;
                pulses.check_proxy(Some(&mut proxy), false, look, &mut voice());
                proxy.process.process_exit().is_some()
            }));
            assert!(polls >= LOOKS_MAX, "{polls}");
        }
    }

    #[test]
    fn proxy_that_an_upgrade_pauses_is_not_killed() {
        let (mut proxy, _theirs) = stopped_proxy(true);
        let mut pulses = Pulses::default();
        for _ in 0..3 * LOOKS_MAX {
            let look = PollTiming::InTime;
            pulses.check_proxy(Some(&mut proxy), true, look, &mut voice());
        }
        assert!(proxy.process.process_exit().is_none());
    }

    #[test]
    fn heartbeat_memory_is_created_once() {
        let mut pulses = Pulses::default();
        pulses.check_proxy(None, false, PollTiming::InTime, &mut voice());
        pulses.share_with(None, &mut voice());
        let file = pulses.file().cloned().expect("memory");
        pulses.share_with(None, &mut voice());
        assert!(Arc::ptr_eq(&file, pulses.file().expect("memory")));
        pulses.map_vitals();
        assert!(pulses.memory.is_some());
    }
}
