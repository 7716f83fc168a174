//! Sends the adverts of masters while the event loop waits for the kernel.
//!
//! The kernel serves requests about interfaces, addresses and routes of all network namespaces one
//! after the other. A request of the loop may wait for seconds behind those of other programs, and
//! the master would be silent for longer than its backups wait. So a thread knows the next advert
//! of each master. The thread sends an advert that the loop did not send in time, and the loop
//! reports that to the router afterwards.
//!
//! The thread never decides: it repeats what the router announces, for [`LIMIT`] at most. If this
//! process was stopped for so long that another node may have taken over, the thread sends nothing,
//! and the router finds out who is master. Authenticated adverts (AH) carry a sequence number each,
//! so they are not repeated.
//!
//! No advert follows a resignation (priority 0): the thread sends under the lock of its list, and
//! [`AddressRole::stop_pacing`] removes the master from that list before the loop resigns.

use super::clock;
use super::event_loop::AddressRole;
use crate::config::Authentication;
use crate::wire::VrrpSender;
use protocol::vrrp::{Instance, NextAdvert, Time};
use std::collections::BTreeMap;
use std::mem;
use std::net::IpAddr;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{Builder, JoinHandle};
use std::time::Duration;

/// Divisor of the advert interval: the time after the due time in which the loop may still send an
/// advert itself.
const GRACE_PARTS: u32 = 4;

/// Maximum time for which the thread sends adverts for a loop that is blocked.
const LIMIT: Duration = Duration::from_secs(10);

/// Stack size of the thread in bytes; small, because it may be locked in memory.
const STACK_BYTES: usize = 128 << 10;

/// Selects the masters that [`AddressRole::report_masters`] reports.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Paced {
    Known,
    All,
}

/// Handle of the thread, which is started for the first master.
#[derive(Debug, Default)]
pub(super) struct Pacemaker {
    shared: Arc<SharedPacemaker>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Debug, Default)]
struct SharedPacemaker {
    state: Mutex<PacemakerState<Packets>>,
    changed: Condvar,
}

/// The masters; `P` is the type of an advert's packets.
#[derive(Debug)]
struct PacemakerState<P> {
    masters: BTreeMap<usize, Master<P>>,
    /// Time until which the thread sleeps; `None`: until it is woken.
    wakes_at: Option<Time>,
    ends: bool,
}

#[derive(Debug)]
struct Master<P> {
    /// Generation of the configuration to which the master's index belongs.
    generation: u64,
    next: NextAdvert,
    /// Number of adverts that the thread sent and has not yet reported to the event loop.
    sent: u64,
    packets: P,
}

#[derive(Debug)]
struct Packets {
    sender: VrrpSender,
    all: Vec<(IpAddr, Vec<u8>)>,
}

impl<P> Default for PacemakerState<P> {
    fn default() -> PacemakerState<P> {
        PacemakerState {
            masters: BTreeMap::new(),
            wakes_at: None,
            ends: false,
        }
    }
}

impl<P> Master<P> {
    /// Returns when the advert is late; `None` if it must not be sent before the loop is back.
    fn late_at(&self) -> Option<Time> {
        let NextAdvert { interval, at, .. } = self.next;
        let repeated = u32::try_from(self.sent).unwrap_or(u32::MAX);
        let within = interval.saturating_mul(repeated) < LIMIT;
        within.then(|| at.after(interval / GRACE_PARTS))
    }
}

impl<P> PacemakerState<P> {
    /// Passes the packets of each late advert to `send`, and records when the next one is late.
    fn turn(&mut self, now: Time, mut send: impl FnMut(&NextAdvert, &P)) {
        self.wakes_at = None;
        for master in self.masters.values_mut() {
            let Some(late_at) = master.late_at() else {
                continue;
            };
            let late_at = if late_at > now {
                Some(late_at)
            } else if now.since(master.next.sent_at) >= master.next.patience {
                // Sends nothing: another node may be master by now, so the router must decide.
                None
            } else {
                send(&master.next, &master.packets);
                master.sent += 1;
                master.next.sent_at = now;
                master.next.at = now.after(master.next.interval);
                master.late_at()
            };
            self.wakes_at = [self.wakes_at, late_at].into_iter().flatten().min();
        }
    }

    fn forget(&mut self, at: usize) {
        self.masters.remove(&at);
    }

    /// Returns whether an advert becomes late before the thread's next wake-up.
    fn is_to_be_woken(&self) -> bool {
        let first = self.masters.values().filter_map(Master::late_at).min();
        first.is_some_and(|first| self.wakes_at.is_none_or(|at| first < at))
    }
}

impl SharedPacemaker {
    fn lock(&self) -> MutexGuard<'_, PacemakerState<Packets>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn run(&self) {
        let mut state = self.lock();
        while !state.ends {
            let now = clock::now();
            state.turn(now, |next, packets| {
                for (to, bytes) in &packets.all {
                    // Errors are ignored: the loop reports an interface that cannot send.
                    let _ = packets.sender.send(next.source, *to, bytes);
                }
            });
            let wakes_at = state.wakes_at;
            state = match wakes_at {
                Some(at) => {
                    let woken = self.changed.wait_timeout(state, at.since(now));
                    woken.unwrap_or_else(PoisonError::into_inner).0
                }
                None => {
                    let woken = self.changed.wait(state);
                    woken.unwrap_or_else(PoisonError::into_inner)
                }
            };
        }
    }
}

impl Pacemaker {
    fn start(&mut self) {
        let shared = Arc::clone(&self.shared);
        let builder = Builder::new()
            .name("pacemaker".to_owned())
            .stack_size(STACK_BYTES);
        self.thread = builder.spawn(move || shared.run()).ok();
    }
}

impl Drop for Pacemaker {
    fn drop(&mut self) {
        self.shared.lock().ends = true;
        self.shared.changed.notify_one();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

impl AddressRole {
    pub(super) fn report_masters(&mut self, which: Paced) {
        let is_idle = self.sockets.pacemaker.thread.is_none();
        if is_idle && which == Paced::Known {
            return;
        }
        self.report_paced_adverts();
        let shared = Arc::clone(&self.sockets.pacemaker.shared);
        let mut state = shared.lock();
        state.masters.retain(|at, _| *at < self.members.len());
        for at in 0..self.members.len() {
            self.pace_one(at, which, &mut state.masters);
        }
        let any = !state.masters.is_empty();
        let wakes = state.is_to_be_woken();
        drop(state);
        if is_idle && any {
            self.sockets.pacemaker.start();
        } else if wakes {
            shared.changed.notify_one();
        }
    }

    /// Removes a master from the pacemaker before its resignation is sent. An advert that the
    /// thread is sending at this moment goes out first.
    pub(super) fn stop_pacing(&mut self, at: usize) {
        self.report_paced_adverts();
        self.sockets.pacemaker.shared.lock().forget(at);
    }

    fn pace_one(&self, at: usize, which: Paced, masters: &mut BTreeMap<usize, Master<Packets>>) {
        let next = self.router.next_advert(Instance(at));
        let (Some(next), Some(sender)) = (next, self.paced_sender(at)) else {
            masters.remove(&at);
            return;
        };
        let generation = self.tracker.generation;
        match masters.get_mut(&at) {
            Some(known)
                if known.generation == generation
                    && has_same_bytes(&known.next, &next)
                    && known.packets.sender.is_same(&sender) =>
            {
                known.next = next;
            }
            None if which == Paced::Known => {}
            _ => {
                let all = self.router.encode_next_advert(Instance(at));
                let master = Master {
                    generation,
                    next,
                    sent: 0,
                    packets: Packets { sender, all },
                };
                masters.insert(at, master);
            }
        }
    }

    fn paced_sender(&self, at: usize) -> Option<VrrpSender> {
        let member = self.members.get(at)?;
        let adverts = self.sockets.adverts.get(member.socket?)?;
        let authentication = &member.config.options.authentication;
        let is_sealed = matches!(authentication, Some(Authentication::Ah(_)));
        (!adverts.broken && !is_sealed).then(|| adverts.socket.sender())
    }

    pub(super) fn report_paced_adverts(&mut self) {
        if self.sockets.pacemaker.thread.is_none() {
            return;
        }
        let generation = self.tracker.generation;
        let mut state = self.sockets.pacemaker.shared.lock();
        for (at, master) in &mut state.masters {
            let sent = mem::take(&mut master.sent);
            if sent > 0 && master.generation == generation {
                let last = master.next.sent_at;
                self.router.advertised(last, Instance(*at), sent);
            }
        }
    }
}

fn has_same_bytes(one: &NextAdvert, other: &NextAdvert) -> bool {
    let what = |next: &NextAdvert| (next.priority, next.source, next.interval);
    what(one) == what(other)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: u64 = 1_000_000_000;

    /// Returns the times in ms at which adverts are sent until `end_s` while the loop is blocked.
    /// The master sent its last advert at 0 s, and its interval is one second.
    fn sent_until(end_s: u64, state: &mut PacemakerState<()>) -> Vec<u64> {
        let mut sent = Vec::new();
        let mut now = Time(0);
        loop {
            state.turn(now, |_, ()| sent.push(now.0 / 1_000_000));
            match state.wakes_at {
                Some(at) if at <= Time(end_s * SECOND) => now = at,
                _ => return sent,
            }
        }
    }

    fn state() -> PacemakerState<()> {
        let interval = Duration::from_secs(1);
        let next = NextAdvert {
            priority: 100,
            source: None,
            interval,
            patience: interval * 3,
            sent_at: Time(0),
            at: Time(SECOND),
        };
        let mut state = PacemakerState::default();
        let master = Master {
            generation: 1,
            next,
            sent: 0,
            packets: (),
        };
        state.masters.insert(0, master);
        state
    }

    #[test]
    fn a_loop_that_waits_has_its_adverts_sent_a_quarter_late_and_not_for_ever() {
        let mut state = state();
        assert_eq!(sent_until(4, &mut state), [1_250, 2_500, 3_750]);
        assert_eq!(state.masters[&0].sent, 3);
        assert_eq!(sent_until(100, &mut state).len(), 7);
        assert_eq!(state.wakes_at, None, "10 s are over");
        assert!(!state.is_to_be_woken());
        state.masters.get_mut(&0).unwrap().sent = 0;
        assert!(state.is_to_be_woken(), "the loop turned");
    }

    #[test]
    fn no_advert_follows_a_resignation() {
        let mut state = state();
        state.turn(Time(2 * SECOND), |_, ()| {});
        state.forget(0);
        let sends = |_: &NextAdvert, (): &()| panic!("it has resigned");
        state.turn(Time(4 * SECOND), sends);
        assert_eq!(state.wakes_at, None);
    }

    #[test]
    fn a_process_that_was_stopped_for_longer_than_backups_wait_sends_nothing() {
        let mut state = state();
        state.turn(Time(3 * SECOND), |_, ()| {
            panic!("another node may be master")
        });
        assert_eq!(state.wakes_at, None);
        let mut sent = 0;
        let mut state = self::state();
        state.turn(Time(3 * SECOND - 1), |_, ()| sent += 1);
        assert_eq!(sent, 1);
    }

    #[test]
    fn an_advert_that_the_loop_sends_in_time_is_not_repeated() {
        let mut state = state();
        for second in 1..20 {
            let master = state.masters.get_mut(&0).unwrap();
            master.next.sent_at = Time(second * SECOND);
            master.next.at = Time((second + 1) * SECOND);
            assert!(sent_until(second + 1, &mut state).is_empty());
        }
    }
}
