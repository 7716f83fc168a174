//! Implements the backup state of a VRRP router: waits until the owner of the addresses is
//! silent, probes the owner's kernel if that is configured, and does not mistake a delay of this
//! machine for the owner's silence.

use super::context::Context;
use super::defect::VrrpDefect;
use super::hearing::ReceivedAdvert;
use super::machine::{Transition, VirtualRouter};
use super::note::About;
use super::{Reason, Time, VrrpAction};
use std::net::IpAddr;
use std::time::Duration;

/// A timer that is late by more than the interval divided by this shows that this machine was
/// delayed, so that missing adverts do not prove that the owner is silent.
const LATE_PART: u32 = 4;
/// Maximum number of consecutive times that missing adverts are ignored because this machine was
/// late.
const LATE_GRACES: u8 = 2;
/// Minimum wait for a reply to a probe.
const SHORTEST_WAIT: Duration = Duration::from_millis(1);
/// Pause between probes if this router leaves addresses to machines that use them
/// (`yields_to_users`).
const USED_PAUSE: Duration = Duration::from_millis(500);

#[derive(Clone, Debug, Default)]
pub(super) struct Wait {
    down_at: Time,
    /// Time of the last valid advert, or of the start.
    silent_since: Time,
    /// Owner that announced its stop with priority zero.
    stopped: Option<IpAddr>,
    /// Owner with a lower priority that this router may preempt, its priority, and the time of its
    /// last advert.
    lower: Option<(IpAddr, u8, Time)>,
    /// Time of the next timer whose only purpose is to notice that this machine was delayed.
    tick_at: Time,
    /// Number of consecutive times that a delay of this machine was excused.
    graces: u8,
    probe: Option<Probe>,
    /// Time until which `preempt_delay` prevents a preemption.
    preempt_at: Option<Time>,
    /// Reason why the router could become master now, although its group cannot yet.
    pub ready: Option<Reason>,
}

#[derive(Clone, Copy, Debug)]
struct Probe {
    decide_at: Time,
    answered: bool,
}

impl Wait {
    pub(super) fn owner_stopped(&mut self, owner: IpAddr) {
        self.stopped = Some(owner);
    }

    pub(super) fn begin(now: Time, down: Duration, interval: Duration) -> Wait {
        Wait {
            down_at: now.after(down),
            tick_at: now.after(interval),
            silent_since: now,
            ..Wait::default()
        }
    }

    pub(super) fn hold_back(&mut self, delay: Duration) {
        self.down_at = self.down_at.after(delay);
    }

    /// Makes the master-down timer expire at `time`, unless it expires earlier.
    pub(super) fn expire_by(&mut self, time: Time) {
        self.down_at = self.down_at.min(time);
    }

    /// Returns the expiry of the master-down timer or, while the owner is probed, the end of the
    /// wait for a reply.
    pub(super) fn down_at(&self) -> Time {
        self.probe.map_or(self.down_at, |probe| probe.decide_at)
    }

    /// Returns the time of the next decision, or of the next check for a delay; None while the
    /// router is ready and waits for its group.
    pub(super) fn deadline(&self) -> Option<Time> {
        match (&self.ready, self.probe) {
            (Some(_), _) => None,
            (None, Some(probe)) => Some(probe.decide_at.min(self.tick_at)),
            (None, None) => Some(self.down_at.min(self.tick_at)),
        }
    }
}

impl VirtualRouter {
    /// Handles an advert in the backup state (RFC 9568, 6.4.2).
    pub(super) fn receive_as_backup(
        &mut self,
        ctx: &mut Context<'_>,
        heard: ReceivedAdvert,
    ) -> Option<Transition> {
        if heard.priority == 0 && !ctx.broken(VrrpDefect::IgnoresPriorityZero) {
            self.receive_priority_zero(ctx, heard);
            return None;
        }
        self.note_owner(ctx.now, heard);
        let settings = ctx.settings;
        if heard.priority < self.priority(settings) && self.can_preempt_owner(ctx, heard) {
            let words = format!(
                "{} announces the lower priority {}: its advert is ignored",
                heard.from, heard.priority
            );
            self.notes.log_note(ctx, About::Discarded, words);
            self.wait.lower = Some((heard.from, heard.priority, ctx.now));
            // Becomes master at once if the owner's kernel was being probed: the owner was silent
            // for a down interval, and now turns out to be alive with a lower priority.
            return self.wait.probe.take().map(|_| {
                Transition::Master(Reason::Preempts {
                    owner: heard.from,
                    priority: heard.priority,
                })
            });
        }
        if heard.priority >= self.priority(settings) {
            self.wait.preempt_at = None;
        }
        self.adopt_owner_interval(settings, heard);
        let down = self.down_interval(settings, self.owner_interval);
        self.wait = Wait {
            preempt_at: self.wait.preempt_at,
            ..Wait::begin(ctx.now, down, self.owner_interval)
        };
        self.notes.end_topic(About::Answered);
        None
    }

    /// Handles an advert with priority zero: this router becomes master after a skew time. Adverts
    /// of other routers than a live owner have no effect, and further stops are accepted at a
    /// limited rate only.
    fn receive_priority_zero(&mut self, ctx: &mut Context<'_>, heard: ReceivedAdvert) {
        if let Some((owner, _, at)) = self.owner
            && owner != heard.from
            && ctx.now.since(at) < self.owner_interval * 2
        {
            return;
        }
        if self.wait.stopped.is_none() && !self.stops.allows(ctx.now) {
            return;
        }
        let skew = self.skew(ctx.settings, self.owner_interval);
        let down_at = ctx.now.after(skew);
        // A repeated advert with priority zero does not restart the timer.
        let down_at = match self.wait.stopped {
            Some(_) => self.wait.down_at.min(down_at),
            None => down_at,
        };
        self.wait = Wait {
            down_at,
            stopped: Some(heard.from),
            ready: self.wait.ready.take(),
            ..Wait::begin(ctx.now, skew, self.owner_interval)
        };
    }

    fn can_preempt_owner(&mut self, ctx: &mut Context<'_>, heard: ReceivedAdvert) -> bool {
        if ctx.broken(VrrpDefect::NeverPreempts)
            || !self.inputs.may_preempt(ctx.settings, heard.priority)
        {
            return false;
        }
        match self.yielded {
            Some(priority)
                if heard.priority >= priority && !self.inputs.is_listed(heard.priority) =>
            {
                return false;
            }
            _ => self.yielded = None,
        }
        let delay = ctx.settings.preempt_delay;
        let preempt_at = *self.wait.preempt_at.get_or_insert(ctx.now.after(delay));
        if ctx.now < preempt_at {
            return false;
        }
        !self.damper.holds(ctx.now) || ctx.broken(VrrpDefect::NeverDamped)
    }

    pub(super) fn handle_backup_timers(&mut self, ctx: &mut Context<'_>) -> Option<Transition> {
        let now = ctx.now;
        let deadline = self.wait.deadline().filter(|deadline| *deadline <= now)?;
        self.wait.tick_at = now.after(self.owner_interval);
        let lower = self.wait.lower.filter(|(_, _, at)| {
            now.since(*at) < self.down_interval(ctx.settings, self.owner_interval)
        });
        let is_silence = self.wait.stopped.is_none() && lower.is_none();
        if is_silence && self.excuse_delay(ctx, now.since(deadline)) {
            return None;
        }
        if now < self.wait.down_at() {
            return None;
        }
        if let Some(probe) = self.wait.probe {
            return self.decide(ctx, probe);
        }
        if let Some(owner) = self.wait.stopped {
            return Some(Transition::Master(Reason::OwnerStopped { owner }));
        }
        if let Some((owner, priority, _)) = lower {
            return Some(Transition::Master(Reason::Preempts { owner, priority }));
        }
        match ctx.settings.probing {
            Some(probing) => {
                self.ask(ctx, probing.wait);
                None
            }
            None => {
                let since = now.since(self.wait.silent_since);
                Some(Transition::Master(Reason::Silence { since }))
            }
        }
    }

    /// Excuses a delay of this machine: adverts that were sent in that time may be lost, so the
    /// router waits for one more. At most [`LATE_GRACES`] times in a row.
    fn excuse_delay(&mut self, ctx: &mut Context<'_>, late: Duration) -> bool {
        let interval = self.owner_interval;
        if late <= interval / LATE_PART
            || self.wait.graces >= LATE_GRACES
            || ctx.broken(VrrpDefect::BelievesLateTimers)
        {
            return false;
        }
        self.wait.graces += 1;
        self.wait.probe = None;
        let skew = self.skew(ctx.settings, interval);
        let soonest = ctx.now.after(interval + skew);
        self.wait.down_at = self.wait.down_at.max(soonest);
        let words = "this machine itself was delayed: it waits longer for adverts";
        self.notes.log_note(ctx, About::Late, words.to_owned());
        true
    }

    fn ask(&mut self, ctx: &mut Context<'_>, wait: Duration) {
        self.wait.probe = Some(Probe {
            decide_at: ctx.now.after(wait.max(SHORTEST_WAIT)),
            answered: false,
        });
        let instance = ctx.at;
        ctx.queue_report(VrrpAction::Probe { instance });
    }

    fn decide(&mut self, ctx: &mut Context<'_>, probe: Probe) -> Option<Transition> {
        let since = ctx.now.since(self.wait.silent_since);
        let Some(probing) = ctx.settings.probing.filter(|_| probe.answered) else {
            self.wait.probe = None;
            return Some(Transition::Master(Reason::Silence { since }));
        };
        if self.inputs.yields_to_users() {
            self.ask(ctx, probing.wait.max(USED_PAUSE));
            return None;
        }
        if since >= probing.bound && !ctx.broken(VrrpDefect::WaitsForAnswersForEver) {
            self.wait.probe = None;
            return Some(Transition::Master(Reason::SilenceBound { since }));
        }
        self.ask(ctx, probing.wait);
        // The wait ends no later than the configured bound.
        let bound = self.wait.silent_since.after(probing.bound);
        if let Some(probe) = &mut self.wait.probe
            && bound > ctx.now
        {
            probe.decide_at = probe.decide_at.min(bound);
        }
        None
    }

    /// Handles a reply to a probe: another machine has the address.
    pub(super) fn answered_as_backup(&mut self, ctx: &mut Context<'_>, address: IpAddr) {
        if ctx.broken(VrrpDefect::IgnoresAnswers) {
            return;
        }
        if let Some(probe) = &mut self.wait.probe {
            probe.answered = true;
            let bound = ctx.settings.probing.map(|probing| probing.bound);
            let words = match bound.filter(|_| !self.inputs.yields_to_users()) {
                Some(bound) => format!(
                    "no adverts, but another machine still responds for {address}: takeover at the latest {bound:?} after its last advert"
                ),
                None => format!("another machine responds for {address}: it keeps the address"),
            };
            self.notes.log_note(ctx, About::Answered, words);
        }
    }

    /// Restarts the wait. This router was ready to become master, but a member of its group no
    /// longer is.
    pub(super) fn restart_wait(&mut self, ctx: &Context<'_>) {
        if self.wait.ready.is_some() {
            let down = self.down_interval(ctx.settings, self.owner_interval);
            self.wait = Wait::begin(ctx.now, down, self.owner_interval);
        }
    }
}
