//! Implements a VRRP router: the states of RFC 9568, section 6.4, with keepalived's fault state,
//! and the transitions between them. The modules `backup` and `master` handle events in these
//! states.

use super::advert::{Advert, GROUP_V4, on_wire};
use super::backup::Wait;
use super::context::Context;
use super::defect::VrrpDefect;
use super::hearing::{Dropped, ReceivedAdvert, validate_packet};
use super::master::Rule;
use super::note::{About, Notes};
use super::pace::{Damper, Pace};
use super::priority::{OWNER, PriorityInputs};
use super::rejected::Rejections;
use super::{
    AdvertTransport, Announce, Counter, Counters, HandOver, Reason, Resume, Settings, Time,
    VrrpAction, VrrpState, VrrpStatus, VrrpVersion,
};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;

/// Number of priority-zero adverts that are accepted in a burst.
const STOP_BURST: u32 = 5;
/// Minimum interval of further priority-zero adverts, so that forged ones cannot move the addresses
/// faster.
const STOP_PAUSE: Duration = Duration::from_secs(1);

/// A transition that a step requests; the sync group may execute it for all members.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Transition {
    Master(Reason),
    Backup(Reason),
}

/// Last advert of a master that yields to another router's advert.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum FinalAdvert {
    /// An advert with the normal priority before the release. Sent with `higher_prio_send_advert`,
    /// or if another router may have been master all the time.
    Advert,
    /// An advert with priority zero after the release, because this machine was suspended. A normal
    /// advert could make a master of lower priority yield. If the master whose advert arrived no
    /// longer exists, the others must not wait for this router.
    Stop,
}

/// State machine of one virtual router. [`Router`](super::Router) runs it.
#[derive(Debug)]
pub(super) struct VirtualRouter {
    pub state: VrrpState,
    since: Time,
    why: Reason,
    holds: bool,
    pub fault: Option<String>,
    pub inputs: PriorityInputs,
    pub source: Option<IpAddr>,
    pub owner: Option<(IpAddr, u8, Time)>,
    pub owner_interval: Duration,
    pub wait: Wait,
    pub rule: Rule,
    pub damper: Damper,
    pub notes: Notes,
    pub counters: Counters,
    rejected: Rejections,
    same_place: Option<(IpAddr, u8)>,
    pub last_turn: Time,
    /// Limits how often adverts with priority zero are trusted.
    pub stops: Pace,
    pub yielded: Option<u8>,
    /// The router became master for another reason than a stop or a preemption of the owner, so
    /// that a router with a higher priority may be master as well.
    unsure: bool,
    pub parting: FinalAdvert,
}

impl VirtualRouter {
    pub(super) fn new(settings: &Settings) -> VirtualRouter {
        VirtualRouter {
            state: VrrpState::Init,
            since: Time::default(),
            why: Reason::Stopped,
            holds: true,
            fault: None,
            inputs: PriorityInputs::default(),
            source: settings.source,
            owner: None,
            owner_interval: own_interval(settings),
            wait: Wait::default(),
            rule: Rule::default(),
            damper: Damper::default(),
            notes: Notes::default(),
            counters: Counters::default(),
            rejected: Rejections::default(),
            same_place: None,
            last_turn: Time::default(),
            stops: Pace::new(STOP_BURST, STOP_PAUSE),
            yielded: None,
            unsure: false,
            parting: FinalAdvert::Advert,
        }
    }

    pub(super) fn priority(&self, settings: &Settings) -> u8 {
        self.inputs.priority(settings)
    }

    /// Returns the skew time, which grows as the priority falls.
    pub(super) fn skew(&self, settings: &Settings, interval: Duration) -> Duration {
        let unit = match settings.version {
            VrrpVersion::V2 => Duration::from_secs(1),
            VrrpVersion::V3 => interval,
        };
        unit * (256 - u32::from(self.priority(settings))) / 256
    }

    /// Returns the master down interval: silence of this duration means that the master has
    /// failed.
    pub(super) fn down_interval(&self, settings: &Settings, interval: Duration) -> Duration {
        interval * u32::from(settings.down_adverts) + self.skew(settings, interval)
    }

    /// Returns the down interval by this router's own advert interval: after this silence, another
    /// router may have become master.
    pub(super) fn own_down_interval(&self, settings: &Settings) -> Duration {
        self.down_interval(settings, own_interval(settings))
    }

    /// Starts the router, or restarts it after a fault.
    pub(super) fn begin(&mut self, ctx: &mut Context<'_>, why: Reason, resume: Option<Resume>) {
        self.last_turn = ctx.now;
        if let Some(words) = &self.fault {
            let why = Reason::Failed(words.clone());
            return self.enter_fault(ctx, why);
        }
        if let Some(kept) = resume {
            if kept.state != VrrpState::Init {
                return self.go_on(ctx, kept);
            }
            // The previous process was stopped as planned, so only the effect of an operator's
            // hand-over remains.
            self.yielded = kept.yielded;
        }
        if ctx.settings.priority == OWNER && ctx.settings.starts_as_master {
            return self.enter_master(ctx, Reason::OwnsAddresses);
        }
        let held_back = match self.state {
            VrrpState::Init => ctx.settings.startup_delay,
            _ => Duration::ZERO,
        };
        self.enter_backup(ctx, why);
        self.wait.hold_back(held_back);
    }

    /// Continues where a killed or replaced process stopped.
    fn go_on(&mut self, ctx: &mut Context<'_>, kept: Resume) {
        self.yielded = kept.yielded;
        if self.can_resume_as_master(ctx, &kept) {
            self.enter_master(ctx, Reason::Resumed);
            self.since = kept.since;
            return;
        }
        self.holds = kept.holds;
        if kept.state != VrrpState::Master {
            self.owner_interval = kept.owner_interval.max(Duration::from_millis(10));
            self.owner = kept.owner.map(|(from, priority)| (from, priority, kept.at));
        }
        self.enter_backup(ctx, Reason::Resumed);
        if let (VrrpState::Backup, Some(down_at)) = (kept.state, kept.master_down_at) {
            self.since = kept.since;
            let interval = self.owner_interval;
            let soonest = ctx.now.after(interval + self.skew(ctx.settings, interval));
            self.wait.expire_by(down_at.max(soonest));
        }
    }

    /// Returns whether a stored master state is so recent that no other router can have become
    /// master yet.
    pub(super) fn can_resume_as_master(&self, ctx: &Context<'_>, kept: &Resume) -> bool {
        if kept.state != VrrpState::Master || !kept.holds {
            return false;
        }
        let mut patience = self.own_down_interval(ctx.settings);
        // Allows the bound of probes if it is longer: the other routers probe this machine's
        // kernel, which still has the addresses.
        if let Some(probing) = ctx.settings.probing {
            patience = patience.max(probing.bound);
        }
        ctx.now.since(kept.at) <= patience || ctx.broken(VrrpDefect::ResumesAlways)
    }

    pub(super) fn enter_master(&mut self, ctx: &mut Context<'_>, why: Reason) {
        let resumed = why == Reason::Resumed;
        if let Reason::Preempts { owner, .. } = &why
            && let Some(hold) = self.damper.record(ctx.now)
        {
            let words = format!(
                "the owner changes too often: the next preemption is delayed by {hold:?} (last owner: {owner})"
            );
            self.notes.log_note(ctx, About::Damped, words);
        }
        self.unsure = !matches!(why, Reason::OwnerStopped { .. } | Reason::Preempts { .. });
        self.yielded = None;
        self.owner_interval = own_interval(ctx.settings);
        self.counters[Counter::BecameMaster] += 1;
        self.holds = true;
        self.last_turn = ctx.now;
        let instance = ctx.at;
        ctx.queue_required(VrrpAction::Acquire { instance });
        self.rule = Rule::begin(ctx);
        let told = if resumed {
            Announce::Again
        } else {
            Announce::Acquired
        };
        self.send_advert(ctx);
        self.announce(ctx, ctx.settings.garp.repeat, told);
        self.enter(ctx, VrrpState::Master, why);
    }

    /// Enters the backup state: another router owns the addresses, or none does yet.
    pub(super) fn enter_backup(&mut self, ctx: &mut Context<'_>, why: Reason) {
        let from_master = self.state == VrrpState::Master;
        if from_master {
            self.counters[Counter::ReleasedMaster] += 1;
            self.send_final_message(ctx, &why);
        }
        self.release(ctx);
        let stops = match why {
            Reason::Group { .. } | Reason::Used { .. } => true,
            Reason::Preempted { .. } => self.parting == FinalAdvert::Stop,
            _ => false,
        };
        if from_master && stops {
            self.send(ctx, 0);
        }
        let down = self.down_interval(ctx.settings, self.owner_interval);
        self.wait = Wait::begin(ctx.now, down, self.owner_interval);
        if matches!(why, Reason::Used { .. }) {
            // Waits longer by a number of down intervals that depends on the source address, so
            // that two routers that yield to each other do not become master at the same time.
            let step = self.own_down_interval(ctx.settings);
            self.wait.hold_back(step * self.place_among_sources());
        }
        self.enter(ctx, VrrpState::Backup, why);
    }

    /// Returns the last byte of the source address modulo 8; zero without a source address.
    fn place_among_sources(&self) -> u32 {
        let last = match self.source {
            Some(IpAddr::V4(source)) => source.octets().last().copied(),
            Some(IpAddr::V6(source)) => source.octets().last().copied(),
            None => None,
        };
        u32::from(last.unwrap_or_default() % 8)
    }

    fn send_final_message(&mut self, ctx: &mut Context<'_>, why: &Reason) {
        match *why {
            Reason::HandOver { by } => {
                let instance = ctx.at;
                let step = HandOver::Taken { by };
                ctx.queue_required(VrrpAction::HandOver { instance, step });
                self.yielded = self.owner.map(|(_, priority, _)| priority);
            }
            // Sends one more advert, because a router of higher priority may have been master
            // unnoticed all the time: the advert makes it announce its addresses again.
            Reason::Preempted { .. }
                if self.parting == FinalAdvert::Advert
                    && (ctx.settings.higher_prio_send_advert
                        || (self.unsure && !ctx.settings.strict)) =>
            {
                self.send_advert(ctx);
            }
            _ => {}
        }
    }

    pub(super) fn enter_fault(&mut self, ctx: &mut Context<'_>, why: Reason) {
        self.release_and_resign(ctx);
        self.enter(ctx, VrrpState::Fault, why);
    }

    pub(super) fn enter_init(&mut self, ctx: &mut Context<'_>) {
        if self.state != VrrpState::Init {
            self.release_and_resign(ctx);
            self.enter(ctx, VrrpState::Init, Reason::Stopped);
        }
    }

    fn release_and_resign(&mut self, ctx: &mut Context<'_>) {
        let from_master = self.state == VrrpState::Master;
        let tells_first = ctx.broken(VrrpDefect::StopsBeforeRelease);
        if from_master && tells_first {
            self.send(ctx, 0);
        }
        self.release(ctx);
        if from_master {
            self.counters[Counter::ReleasedMaster] += 1;
            if !tells_first {
                self.send(ctx, 0);
            }
        }
    }

    fn release(&mut self, ctx: &mut Context<'_>) {
        if self.holds {
            self.holds = false;
            let instance = ctx.at;
            ctx.queue_required(VrrpAction::Release { instance });
        }
    }

    fn enter(&mut self, ctx: &mut Context<'_>, to: VrrpState, why: Reason) {
        let from = self.state;
        self.state = to;
        self.since = ctx.now;
        self.why = why.clone();
        let instance = ctx.at;
        ctx.queue_required(VrrpAction::Entered {
            instance,
            from,
            to,
            why,
        });
    }

    /// Sends an advert with this router's priority, or with zero once a hand-over has
    /// offered the addresses.
    pub(super) fn send_advert(&mut self, ctx: &mut Context<'_>) {
        let priority = self.announced_priority(ctx.settings);
        self.rule.sent(ctx.now, own_interval(ctx.settings));
        self.send(ctx, priority);
    }

    /// Returns the priority of a master's adverts: zero once a hand-over has offered the
    /// addresses, which is its last stage.
    pub(super) fn announced_priority(&self, settings: &Settings) -> u8 {
        if self.rule.is_offered() {
            0
        } else {
            self.priority(settings)
        }
    }

    fn send(&mut self, ctx: &mut Context<'_>, priority: u8) {
        let instance = ctx.at;
        for (to, bytes) in self.adverts(ctx.settings, priority) {
            ctx.queue_report(VrrpAction::Send {
                instance,
                to,
                bytes,
            });
        }
        self.counters[Counter::AdvertsSent] += 1;
        if priority == 0 {
            self.counters[Counter::PriorityZeroSent] += 1;
        }
    }

    pub(super) fn adverts(&self, settings: &Settings, priority: u8) -> Vec<(IpAddr, Vec<u8>)> {
        let advert = Advert {
            version: settings.version,
            vrid: settings.vrid,
            priority,
            interval: own_interval(settings),
            addresses: settings.addresses.clone(),
            authentication: settings.authentication.clone(),
        };
        let from = self.source.unwrap_or(if settings.ipv6 {
            IpAddr::V6(Ipv6Addr::UNSPECIFIED)
        } else {
            IpAddr::V4(Ipv4Addr::UNSPECIFIED)
        });
        match &settings.transport {
            AdvertTransport::Multicast(group) => vec![(*group, advert.encode(from, *group))],
            AdvertTransport::Unicast { peers, .. } => {
                let old = settings.old_unicast_checksum == Some(true) && !settings.ipv6;
                let packet = |to: IpAddr| {
                    let bytes = advert.encode(from, if old { GROUP_V4 } else { to });
                    (to, bytes)
                };
                peers.iter().map(|peer| packet(peer.address)).collect()
            }
        }
    }

    pub(super) fn announce(&self, ctx: &mut Context<'_>, repeat: u32, why: Announce) {
        if repeat > 0 {
            let instance = ctx.at;
            ctx.queue_report(VrrpAction::Announce {
                instance,
                repeat,
                why,
            });
        }
    }

    pub(super) fn receive_packet(
        &mut self,
        ctx: &mut Context<'_>,
        from: IpAddr,
        ttl: u8,
        bytes: &[u8],
    ) -> Option<Transition> {
        if self.state == VrrpState::Init {
            return None;
        }
        if Some(from) == self.source {
            let words = format!(
                "received an advert from this router's own address {from}: a network loop, or a machine with the same address"
            );
            self.notes.log_note(ctx, About::Loop, words);
            return None;
        }
        let known = self.owner.map(|(known, _, _)| known);
        let heard = match validate_packet(ctx.settings, self.source, known, from, ttl, bytes) {
            Ok(heard) => heard,
            Err(dropped) => {
                self.drop_packet(ctx, from, dropped);
                return None;
            }
        };
        self.counters[Counter::AdvertsReceived] += 1;
        if heard.priority == 0 {
            self.counters[Counter::PriorityZeroReceived] += 1;
        }
        self.compare_places(ctx, heard);
        match self.state {
            VrrpState::Backup => self.receive_as_backup(ctx, heard),
            VrrpState::Master => self.receive_as_master(ctx, heard),
            VrrpState::Init | VrrpState::Fault => {
                self.note_owner(ctx.now, heard);
                None
            }
        }
    }

    fn drop_packet(&mut self, ctx: &mut Context<'_>, from: IpAddr, dropped: Dropped) {
        self.counters[dropped.counter()] += 1;
        self.rejected.add(ctx.now, from, dropped);
        let words = format!("dropped a packet from {from}: {dropped}");
        self.notes.log_note(ctx, About::Dropped, words);
    }

    /// Checks whether another node has the same position: if the `prefer` lines are the same
    /// everywhere, no two nodes share a position, and thus a priority.
    fn compare_places(&mut self, ctx: &mut Context<'_>, heard: ReceivedAdvert) {
        let ours = &ctx.settings.place;
        let ReceivedAdvert { from, priority, .. } = heard;
        if priority != 0 && ours.contains(&priority) {
            self.same_place = Some((from, priority));
            let words = format!(
                "{from} announces priority {priority}, which is this node's position in `prefer`: the order in the two files differs"
            );
            self.notes.log_note(ctx, About::SamePlace, words);
        } else if priority != 0 && self.same_place.is_some_and(|(known, _)| known == from) {
            self.same_place = None;
            self.notes.end_topic(About::SamePlace);
        }
    }

    pub(super) fn note_owner(&mut self, now: Time, heard: ReceivedAdvert) {
        self.owner = Some((heard.from, heard.priority, now));
    }

    /// Adopts the advert interval of the owner (version 3).
    pub(super) fn adopt_owner_interval(&mut self, settings: &Settings, heard: ReceivedAdvert) {
        if settings.version == VrrpVersion::V3 {
            self.owner_interval = heard.interval;
        }
    }

    pub(super) fn handle_timers(&mut self, ctx: &mut Context<'_>) -> Option<Transition> {
        let want = match self.state {
            VrrpState::Backup => self.handle_backup_timers(ctx),
            VrrpState::Master => self.handle_master_timers(ctx),
            VrrpState::Init | VrrpState::Fault => None,
        };
        self.last_turn = ctx.now;
        want
    }

    pub(super) fn deadline(&self) -> Option<Time> {
        match self.state {
            VrrpState::Backup => self.wait.deadline(),
            VrrpState::Master => self.rule.deadline(),
            VrrpState::Init | VrrpState::Fault => None,
        }
    }

    pub(super) fn status(&self, settings: &Settings) -> VrrpStatus {
        VrrpStatus {
            state: self.state,
            since: self.since,
            why: self.why.clone(),
            priority: self.priority(settings),
            owner: self.owner.filter(|_| self.state != VrrpState::Master),
            master_down_at: match self.state {
                VrrpState::Backup if self.wait.ready.is_none() => Some(self.wait.down_at()),
                _ => None,
            },
            counters: self.counters,
            rejected: self.rejected.list(),
            same_place: self.same_place,
            handing_over: self.state == VrrpState::Master && self.rule.is_handing_over(),
            yielded: self.yielded,
        }
    }

    pub(super) fn resume_snapshot(&self, now: Time) -> Resume {
        Resume {
            state: self.state,
            since: self.since,
            at: match self.state {
                VrrpState::Master => self.rule.sent_at(),
                _ => now,
            },
            holds: self.holds,
            owner: self
                .owner
                .filter(|_| self.state == VrrpState::Backup)
                .map(|(from, priority, _)| (from, priority)),
            master_down_at: match self.state {
                VrrpState::Backup if self.wait.ready.is_none() => Some(self.wait.down_at()),
                _ => None,
            },
            owner_interval: self.owner_interval,
            yielded: self.yielded,
        }
    }
}

/// Returns this router's advert interval, as rounded for adverts.
pub(super) fn own_interval(settings: &Settings) -> Duration {
    on_wire(settings.version, settings.interval)
}
