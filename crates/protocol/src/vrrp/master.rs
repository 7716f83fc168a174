//! Implements the master state of a VRRP router: sends adverts, announces the addresses to
//! neighbours, answers routers that also claim the addresses, yields to better routers, and hands
//! over when an operator requests it.

use super::context::Context;
use super::defect::VrrpDefect;
use super::hearing::ReceivedAdvert;
use super::machine::{FinalAdvert, Transition, VirtualRouter, own_interval};
use super::note::About;
use super::pace::Pace;
use super::priority::OWNER;
use super::{Announce, HandOver, Reason, Time, VrrpAction};
use std::cmp::Ordering;
use std::net::IpAddr;
use std::time::Duration;

/// Maximum number of adverts per interval that are sent at once in response to other routers.
const ANSWERS_PER_INTERVAL: u32 = 4;
/// Number of announcements at the start of a contest (another router also claims the addresses),
/// one interval apart.
const CONTEST_BURST: u32 = 5;
/// Pause between later announcements in a contest, in intervals.
const CONTEST_INTERVALS: u32 = 10;
/// Maximum pause between later announcements in a contest.
const CONTEST_PAUSE: Duration = Duration::from_secs(1);
/// Number of times that use of an address by another machine is contested at once; later times
/// follow pauses that double. Otherwise two routers that drop each other's adverts would respond
/// to each announcement with another.
const FOREIGN_BURST: u32 = 2;
/// Length of the first pause between contests of an address that another machine uses, in advert
/// intervals.
const FOREIGN_INTERVALS: u32 = 4;
/// Maximum pause between contests of an address that another machine uses.
const FOREIGN_PAUSE_MOST: Duration = Duration::from_secs(3_600);
/// Time without use of an address by other machines after which the pauses between contests start
/// again.
const FOREIGN_CALM: Duration = Duration::from_secs(7_200);
/// Number of times that addresses deleted by another program are restored at once.
const PUT_BACK_BURST: u32 = 5;
/// Minimum pause before each later restoration.
const PUT_BACK_PAUSE: Duration = Duration::from_secs(1);

#[derive(Clone, Debug)]
pub(super) struct Rule {
    advert_at: Time,
    sent_at: Option<Time>,
    /// After a suspension: listens until this instant before it sends adverts.
    listen_until: Option<Time>,
    again_at: Option<Time>,
    /// Rate limit of announcements in contests.
    contests: Pace,
    contest_told: Option<Time>,
    contest_at: Option<Time>,
    /// Time of the repeated announcements after a contest.
    contest_again_at: Option<Time>,
    /// Number of contests because another machine used an address.
    foreign: u32,
    foreign_at: Option<Time>,
    refresh_at: Option<Time>,
    put_back: Pace,
    put_back_at: Option<Time>,
    hand: Option<Hand>,
}

#[derive(Clone, Copy, Debug)]
enum Hand {
    Draining { until: Time },
    Settling { until: Time },
    Offered { until: Time },
}

impl Default for Rule {
    fn default() -> Rule {
        Rule {
            advert_at: Time::default(),
            sent_at: None,
            listen_until: None,
            again_at: None,
            contests: Pace::new(CONTEST_BURST, CONTEST_PAUSE),
            contest_told: None,
            contest_at: None,
            contest_again_at: None,
            foreign: 0,
            foreign_at: None,
            refresh_at: None,
            put_back: Pace::new(PUT_BACK_BURST, PUT_BACK_PAUSE),
            put_back_at: None,
            hand: None,
        }
    }
}

impl Rule {
    pub(super) fn begin(ctx: &Context<'_>) -> Rule {
        let garp = &ctx.settings.garp;
        let later = |wait: Duration| (!wait.is_zero()).then(|| ctx.now.after(wait));
        Rule {
            advert_at: ctx.now,
            contests: Pace::new(
                CONTEST_BURST,
                CONTEST_PAUSE.min(own_interval(ctx.settings) * CONTEST_INTERVALS),
            ),
            again_at: later(garp.delay),
            refresh_at: later(garp.refresh),
            ..Rule::default()
        }
    }

    pub(super) fn sent(&mut self, now: Time, interval: Duration) {
        self.sent_at = Some(now);
        self.advert_at = now.after(interval);
    }

    /// Returns when the last advert was sent and when the next one is due; `None` before the first
    /// advert, and while the router only listens after a suspension.
    pub(super) fn paced(&self) -> Option<(Time, Time)> {
        let sent_at = self.sent_at.filter(|_| self.listen_until.is_none())?;
        Some((sent_at, self.advert_at))
    }

    pub(super) fn sent_at(&self) -> Time {
        self.sent_at.unwrap_or_default()
    }

    /// Returns whether the addresses are offered to other routers, so that adverts have priority
    /// zero.
    pub(super) fn is_offered(&self) -> bool {
        matches!(self.hand, Some(Hand::Offered { .. }))
    }

    pub(super) fn is_handing_over(&self) -> bool {
        self.hand.is_some()
    }

    /// Records that another machine uses an address. Returns the pause before it is contested;
    /// None if a contest is already scheduled.
    fn contests_foreign(&mut self, now: Time, interval: Duration) -> Option<Duration> {
        let before = self.foreign_at.replace(now);
        if before.is_some_and(|at| now.since(at) >= FOREIGN_CALM) {
            self.foreign = 0;
        }
        if self.contest_at.is_some() {
            return None;
        }
        let doubled = self.foreign.checked_sub(FOREIGN_BURST);
        self.foreign = self.foreign.saturating_add(1);
        let times = doubled.map(|n| 1_u32.checked_shl(n).unwrap_or(u32::MAX));
        Some(times.map_or(Duration::ZERO, |times| {
            let first = interval.saturating_mul(FOREIGN_INTERVALS);
            first.saturating_mul(times).min(FOREIGN_PAUSE_MOST)
        }))
    }

    pub(super) fn deadline(&self) -> Option<Time> {
        // While the router listens after a suspension, no other timer counts.
        if self.listen_until.is_some() {
            return self.listen_until;
        }
        let hand = self.hand.map(|hand| match hand {
            Hand::Draining { until } | Hand::Settling { until } | Hand::Offered { until } => until,
        });
        [
            Some(self.advert_at),
            self.again_at,
            self.contest_at,
            self.contest_again_at,
            self.refresh_at,
            self.put_back_at,
            hand,
        ]
        .into_iter()
        .flatten()
        .min()
    }
}

/// Returns whether the timer has expired, and clears it then.
fn due(at: &mut Option<Time>, now: Time) -> bool {
    at.take_if(|at| *at <= now).is_some()
}

impl VirtualRouter {
    /// Handles an advert in the master state (RFC 9568, 6.4.3).
    pub(super) fn receive_as_master(
        &mut self,
        ctx: &mut Context<'_>,
        heard: ReceivedAdvert,
    ) -> Option<Transition> {
        if heard.priority == 0 {
            if !self.rule.is_offered() {
                self.send_immediate_advert(ctx);
                self.announce_contest(ctx);
            }
            return None;
        }
        if self.rule.is_offered() {
            self.note_owner(ctx.now, heard);
            return Some(Transition::Backup(Reason::HandOver { by: heard.from }));
        }
        let better = self.should_yield_to(ctx, heard);
        // Yields to any advert after a suspension: another router may be master, and packets that
        // waited meanwhile may be outdated.
        let is_old = self.was_suspended(ctx);
        let listens = self.rule.listen_until.is_some();
        if (better && !ctx.broken(VrrpDefect::NeverGivesWay)) || is_old || listens {
            self.parting = if better && !is_old {
                FinalAdvert::Advert
            } else {
                FinalAdvert::Stop
            };
            self.note_owner(ctx.now, heard);
            self.adopt_owner_interval(ctx.settings, heard);
            return Some(Transition::Backup(Reason::Preempted {
                by: heard.from,
                priority: heard.priority,
            }));
        }
        ctx.queue_report(VrrpAction::HeardLower {
            instance: ctx.at,
            from: heard.from,
            priority: heard.priority,
        });
        if !ctx.settings.lower_prio_no_advert {
            self.send_immediate_advert(ctx);
        }
        self.announce_contest(ctx);
        None
    }

    fn should_yield_to(&mut self, ctx: &mut Context<'_>, heard: ReceivedAdvert) -> bool {
        if heard.priority == OWNER && self.priority(ctx.settings) == OWNER {
            let words = format!(
                "{} also announces priority 255 (address owner): this router now uses 254",
                heard.from
            );
            self.notes.log_note(ctx, About::TwoOwners, words);
            self.inputs.reduced = true;
        }
        match heard.priority.cmp(&self.priority(ctx.settings)) {
            Ordering::Greater => true,
            Ordering::Less => false,
            Ordering::Equal => {
                Some(heard.from) > self.source && !ctx.broken(VrrpDefect::NoTieBreak)
            }
        }
    }

    /// Returns whether this machine was suspended for so long that another router can have become
    /// master.
    fn was_suspended(&self, ctx: &Context<'_>) -> bool {
        if ctx.broken(VrrpDefect::IgnoresItsFreeze) {
            return false;
        }
        let gap = ctx.now.since(self.last_turn);
        gap > self.own_down_interval(ctx.settings)
    }

    /// Sends an advert at once, or as soon as [`ANSWERS_PER_INTERVAL`] per interval allow it.
    fn send_immediate_advert(&mut self, ctx: &mut Context<'_>) {
        if self.rule.listen_until.is_some() {
            return;
        }
        let pause = own_interval(ctx.settings) / ANSWERS_PER_INTERVAL;
        let free_at = self.rule.sent_at.map_or(ctx.now, |sent| sent.after(pause));
        if ctx.now >= free_at || ctx.broken(VrrpDefect::AnswersEverything) {
            self.send_advert(ctx);
        } else {
            self.rule.advert_at = self.rule.advert_at.min(free_at);
        }
    }

    /// Announces the addresses to the neighbours because there are two owners, at a limited rate.
    fn announce_contest(&mut self, ctx: &mut Context<'_>) {
        let pause = own_interval(ctx.settings);
        let free_at = self.rule.contest_told.map(|told| told.after(pause));
        match free_at.filter(|free_at| ctx.now < *free_at) {
            Some(free_at) => self.contest_not_after(free_at),
            None => self.tell_contest(ctx),
        }
    }

    fn contest_not_after(&mut self, at: Time) {
        let earlier = self.rule.contest_at.map_or(at, |other| other.min(at));
        self.rule.contest_at = Some(earlier);
    }

    fn tell_contest(&mut self, ctx: &mut Context<'_>) {
        if ctx.broken(VrrpDefect::NoAnnouncementAfterHeal) {
            return;
        }
        let garp = &ctx.settings.garp;
        if !self.rule.contests.allows(ctx.now) {
            self.rule.contest_at = Some(self.rule.contests.next());
            return;
        }
        self.rule.contest_told = Some(ctx.now);
        self.rule.contest_at = None;
        self.rule.contest_again_at =
            (!garp.lower_prio_delay.is_zero()).then(|| ctx.now.after(garp.lower_prio_delay));
        self.announce(ctx, garp.lower_prio_repeat, Announce::Contested);
    }

    pub(super) fn handle_master_timers(&mut self, ctx: &mut Context<'_>) -> Option<Transition> {
        let now = ctx.now;
        self.handle_suspension(ctx);
        if let Some(until) = self.rule.listen_until {
            if now < until {
                return None;
            }
            self.rule.listen_until = None;
            self.resume_announcing(ctx);
        }
        self.turn_hand_over(ctx);
        if self.rule.advert_at <= now {
            self.send_advert(ctx);
        }
        self.turn_announcements(ctx);
        if due(&mut self.rule.put_back_at, now) {
            self.restore_address(ctx);
        }
        None
    }

    /// Handles a long pause of this machine. Packets that had arrived were handled before, so no
    /// other router has sent an advert. If another router may have become master and its adverts
    /// were lost, the router listens first. Otherwise it must send an advert at once, because the
    /// others already probe its kernel.
    fn handle_suspension(&mut self, ctx: &mut Context<'_>) {
        let gap = ctx.now.since(self.last_turn);
        let down = self.own_down_interval(ctx.settings);
        if gap <= down || ctx.broken(VrrpDefect::IgnoresItsFreeze) {
            return;
        }
        let words = format!("this machine was frozen for {gap:?} while it was master");
        self.notes.log_note(ctx, About::Late, words);
        let patience = ctx.settings.probing.map_or(down, |p| p.bound.max(down));
        if gap > patience {
            let interval = own_interval(ctx.settings);
            self.rule.listen_until = Some(ctx.now.after(interval + interval / 2));
        } else {
            self.resume_announcing(ctx);
        }
    }

    /// Continues as master after a pause: adds the addresses to the kernel again, which may have
    /// lost them, and announces them, because neighbours may have learnt another MAC.
    fn resume_announcing(&mut self, ctx: &mut Context<'_>) {
        let instance = ctx.at;
        ctx.queue_required(VrrpAction::Acquire { instance });
        self.send_advert(ctx);
        self.announce(ctx, ctx.settings.garp.repeat, Announce::Contested);
    }

    fn turn_announcements(&mut self, ctx: &mut Context<'_>) {
        let now = ctx.now;
        let garp = &ctx.settings.garp;
        if due(&mut self.rule.again_at, now) {
            self.announce(ctx, garp.repeat, Announce::Again);
        }
        if due(&mut self.rule.contest_at, now) {
            self.tell_contest(ctx);
        }
        if due(&mut self.rule.contest_again_at, now) {
            self.announce(ctx, garp.lower_prio_repeat, Announce::Contested);
        }
        if due(&mut self.rule.refresh_at, now) {
            self.rule.refresh_at = Some(now.after(garp.refresh));
            self.announce(ctx, garp.refresh_repeat, Announce::Refresh);
        }
    }

    pub(super) fn announce_change(&mut self, ctx: &mut Context<'_>) {
        if !self.rule.is_offered() {
            self.send_immediate_advert(ctx);
        }
    }

    pub(super) fn foreign_use(
        &mut self,
        ctx: &mut Context<'_>,
        address: IpAddr,
        mac: [u8; 6],
    ) -> Option<Transition> {
        if self.rule.is_offered() || self.rule.listen_until.is_some() {
            return None;
        }
        let [a, b, c, d, e, f] = mac;
        let words = format!(
            "{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{f:02x} also uses the virtual address {address}"
        );
        self.notes.log_note(ctx, About::Foreign, words);
        if self.inputs.yields_to_users() {
            return Some(Transition::Backup(Reason::Used { address }));
        }
        // Delays the announcement, because the sender may be a better master whose advert is in
        // transit, and neighbours must not receive this router's announcement after that master's.
        let soonest = own_interval(ctx.settings);
        if let Some(pause) = self.rule.contests_foreign(ctx.now, soonest) {
            self.contest_not_after(ctx.now.after(pause.max(soonest)));
        }
        None
    }

    /// Restores an address that another program deleted, now or when the rate limit allows.
    pub(super) fn restore_address(&mut self, ctx: &mut Context<'_>) {
        if !self.rule.put_back.allows(ctx.now) {
            let next = self.rule.put_back.next();
            self.rule.put_back_at.get_or_insert(next);
            return;
        }
        self.rule.put_back_at = None;
        let words = "another program deleted a virtual address, route or rule; restored";
        self.notes.log_note(ctx, About::Lost, words.to_owned());
        let instance = ctx.at;
        ctx.queue_required(VrrpAction::Acquire { instance });
        self.announce(ctx, ctx.settings.garp.repeat, Announce::Again);
    }

    /// Starts a hand-over that an operator requested; returns false if one is in progress.
    pub(super) fn hand_over(&mut self, ctx: &mut Context<'_>, drain: Duration) -> bool {
        if self.rule.hand.is_some() {
            return false;
        }
        if drain.is_zero() {
            self.settle_hand_over(ctx);
        } else {
            let until = ctx.now.after(drain);
            self.rule.hand = Some(Hand::Draining { until });
            self.tell_hand(ctx, HandOver::Draining { until });
        }
        true
    }

    /// Sends the offer (an advert with priority zero) half an interval after the last advert. If
    /// that advert overtook the offer, the next master would give the addresses back.
    fn settle_hand_over(&mut self, ctx: &mut Context<'_>) {
        let calm = own_interval(ctx.settings) / 2;
        let until = self.rule.sent_at.map_or(ctx.now, |sent| sent.after(calm));
        if until <= ctx.now {
            self.offer(ctx);
        } else {
            self.rule.hand = Some(Hand::Settling { until });
        }
    }

    /// Ends the drain, because all requests have finished.
    pub(super) fn drained(&mut self, ctx: &mut Context<'_>) {
        if let Some(Hand::Draining { .. }) = self.rule.hand {
            self.settle_hand_over(ctx);
        }
    }

    fn turn_hand_over(&mut self, ctx: &mut Context<'_>) {
        match self.rule.hand {
            Some(Hand::Draining { until }) if until <= ctx.now => self.settle_hand_over(ctx),
            Some(Hand::Settling { until }) if until <= ctx.now => self.offer(ctx),
            Some(Hand::Offered { until }) if until <= ctx.now => {
                self.rule.hand = None;
                self.tell_hand(ctx, HandOver::Withdrawn);
                self.send_advert(ctx);
                // Announces the addresses again: neighbours that used one meanwhile may have got no
                // reply.
                self.announce(ctx, ctx.settings.garp.repeat, Announce::Again);
            }
            _ => {}
        }
    }

    /// Offers the addresses by adverts with priority zero, until another router becomes master or
    /// the time is over.
    fn offer(&mut self, ctx: &mut Context<'_>) {
        if ctx.broken(VrrpDefect::HandOverReleasesFirst) {
            let instance = ctx.at;
            ctx.queue_required(VrrpAction::Release { instance });
        }
        let interval = own_interval(ctx.settings);
        // Offers the addresses for three intervals, of which one or two adverts may be lost, and
        // the longest skew time: one interval, in version 2 one second.
        let until = ctx
            .now
            .after(interval * 3 + Duration::max(interval, skew_unit(ctx)));
        self.rule.hand = Some(Hand::Offered { until });
        self.tell_hand(ctx, HandOver::Offered { until });
        self.send_advert(ctx);
    }

    fn tell_hand(&self, ctx: &mut Context<'_>, step: HandOver) {
        let instance = ctx.at;
        ctx.queue_required(VrrpAction::HandOver { instance, step });
    }
}

fn skew_unit(ctx: &Context<'_>) -> Duration {
    match ctx.settings.version {
        super::VrrpVersion::V2 => Duration::from_secs(1),
        super::VrrpVersion::V3 => own_interval(ctx.settings),
    }
}
