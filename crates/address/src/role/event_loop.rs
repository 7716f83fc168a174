//! The event loop: sleeps until a descriptor is readable or a timer is due, handles all packets,
//! then all other events, then advances the router's time, then executes its actions.

use super::hand_over::HandOvers;
use super::health::Health;
use super::host::Host;
use super::kept::Keeper;
use super::leases::Leases;
use super::member::Member;
use super::pacemaker::Paced;
use super::runner::Runner;
use super::sockets::Sockets;
use super::standing::Membership;
use super::tell::Teller;
use super::tracker::Tracker;
use super::{Exit, Level, Notification, RoleError, RoleInputs, clock};
use crate::config::Config;
use protocol::vrrp::{Router, Time};
use rustix::event::{PollFd, PollFlags, poll};
use rustix::fd::{AsFd, BorrowedFd};
use std::time::Duration;

/// Interval at which a role without a supervisor polls for orders.
const ASK_ALONE: Duration = Duration::from_millis(100);

/// Maximum number of actions in one turn, because actions may cause further actions.
const MAX_ACTIONS: usize = 100_000;

/// State of the address role.
pub(super) struct Role {
    pub(super) config: Config,
    pub(super) given: RoleInputs,
    /// State of the role's own process.
    pub(super) process: Process,
    /// Network of this machine.
    pub(super) host: Host,
    pub(super) members: Vec<Member>,
    pub(super) router: Router,
    pub(super) sockets: Sockets,
    pub(super) tracker: Tracker,
    pub(super) runner: Runner,
    pub(super) teller: Teller,
    pub(super) health: Health,
    pub(super) leases: Leases,
    pub(super) membership: Membership,
    pub(super) hand_overs: HandOvers,
    pub(super) keeper: Keeper,
}

/// State of the role's own process.
#[derive(Debug, Default)]
pub(super) struct Process {
    /// The other end of the order channel is closed.
    pub(super) alone: bool,
    /// Granted privileges, for the report.
    pub(super) privileges: Vec<String>,
    /// Wakes the loop at its deadline after a suspension.
    pub(super) timer: Option<clock::Timer>,
}

/// A polled descriptor.
#[derive(Clone, Copy, PartialEq, Debug)]
enum Source {
    Adverts(usize),
    Frames(u32, bool),
    Monitor,
    Orders,
    Runner,
    Files,
    Processes,
    Bfd,
    Timer,
}

/// Runs a configuration until the role must stop.
pub fn run(config: Config, given: RoleInputs) -> Result<Exit, RoleError> {
    let mut role = Role::begin(config, given)?;
    role.given.orders.tell(Notification::Ready);
    role.tell_wanted_leases(super::clock::now());
    let exit = role.turns();
    if matches!(exit, Ok(Exit::Released)) {
        // Another machine can get the leases without waiting for their end.
        role.given
            .orders
            .tell(Notification::WantsLeases(Vec::new()));
    }
    role.given.orders.tell(Notification::Stopped);
    exit
}

impl Role {
    fn turns(&mut self) -> Result<Exit, RoleError> {
        loop {
            // Actions of the start or of the previous turn come first.
            self.act();
            if let Some(exit) = self.take_orders() {
                return Ok(exit);
            }
            let ready = self.sleep()?;
            self.take_packets(&ready);
            if ready.contains(&Source::Monitor) {
                self.take_changes();
            }
            if ready.contains(&Source::Runner) {
                self.take_outcomes();
            }
            self.take_tracked(&ready);
            let now = clock::now();
            self.take_adverts_before(now);
            self.handle_time(now);
            if self.has_handed_over(now) {
                match self.hand_overs.take_next() {
                    Some(config) => self.take(*config),
                    None if self.keep_what_stays() => {}
                    None => return Ok(self.stop(true)),
                }
            }
        }
    }

    /// Receives adverts that arrived by `now`, if a timer of the router is due. Such an advert
    /// takes precedence over the timer, however long this process waited for a processor or for the
    /// kernel.
    fn take_adverts_before(&mut self, now: Time) {
        if self.router.deadline().is_none_or(|at| at > now) {
            return;
        }
        for place in 0..self.sockets.adverts.len() {
            if { self.sockets.adverts.get(place) }.is_some_and(|adverts| !adverts.broken) {
                self.take_adverts(place);
            }
        }
    }

    /// Handles everything that is due.
    fn handle_time(&mut self, now: Time) {
        self.hear_pacemaker();
        self.poll_links(now);
        let events = self.host.links.handle_time(now);
        self.take_link_events(now, events);
        self.start_scripts(now);
        self.look_at_health(now);
        self.look_at_standings(now);
        self.look_at_leases(now);
        self.router.handle_time(now);
        self.act();
        self.renew(now);
        self.announce_extra(now);
        self.tend_hand_overs(now);
        self.send_announcements(now);
        if self.keeper.is_due(now) {
            self.keep(now);
        }
    }

    /// Executes the router's actions until there are none.
    pub(super) fn act(&mut self) {
        // An action may wait for the kernel, so the pacemaker gets the adverts first. A new master
        // acquires its addresses before it sends adverts, so the pacemaker learns of it afterwards.
        self.report_masters(Paced::Known);
        for _ in 0..MAX_ACTIONS {
            let Some(action) = self.router.poll() else {
                break;
            };
            self.carry_out(action);
        }
        self.report_masters(Paced::All);
    }

    fn deadline(&self) -> Option<Time> {
        let scripts = self.tracker.scripts.iter().filter_map(|s| s.deadline());
        let members = self.members.iter();
        let renewals = members.clone().filter_map(|m| m.renew_at);
        let extras = members.clone().filter_map(|m| m.extra_at);
        let refused = members.filter_map(|m| m.refused.deadline());
        let others = [
            self.router.deadline(),
            self.sockets.announcer.deadline(),
            self.tracker.processes.as_ref().and_then(|p| p.deadline()),
            self.tracker.bfd.deadline(),
            self.health.deadline(),
            self.leases.deadline(),
            self.membership.deadline(),
            self.hand_overs.deadline(),
            self.keeper.deadline(),
            self.host.deadline(),
            self.process.alone.then(|| clock::now().after(ASK_ALONE)),
        ];
        scripts
            .chain(renewals)
            .chain(extras)
            .chain(refused)
            .chain(others.into_iter().flatten())
            .min()
    }

    fn sleep(&mut self) -> Result<Vec<Source>, RoleError> {
        let mut sources = vec![Source::Monitor, Source::Runner];
        let mut fds: Vec<BorrowedFd<'_>> = vec![self.host.monitor.as_fd(), self.runner.as_fd()];
        let orders = self.given.orders.as_fd();
        if !self.process.alone {
            sources.push(Source::Orders);
            fds.push(orders);
        }
        for (place, adverts) in self.sockets.adverts.iter().enumerate() {
            if !adverts.broken {
                sources.push(Source::Adverts(place));
                fds.push(adverts.socket.as_fd());
            }
        }
        for ((interface, ipv6), socket) in &self.sockets.frames {
            sources.push(Source::Frames(*interface, *ipv6));
            fds.push(socket.as_fd());
        }
        if let Some(files) = &self.tracker.files {
            sources.push(Source::Files);
            fds.push(files.as_fd());
        }
        if let Some(processes) = &self.tracker.processes {
            sources.push(Source::Processes);
            fds.push(processes.as_fd());
        }
        for listener in self.tracker.bfd.descriptors() {
            sources.push(Source::Bfd);
            fds.push(listener);
        }
        let deadline = self.deadline();
        if let Some(timer) = &self.process.timer {
            timer.set(deadline);
            sources.push(Source::Timer);
            fds.push(timer.as_fd());
        }
        let mut polled: Vec<PollFd<'_>> = fds
            .iter()
            .map(|fd| PollFd::new(fd, PollFlags::IN))
            .collect();
        let wait = clock::until(clock::now(), deadline);
        match poll(&mut polled, wait.as_ref()) {
            Ok(_) => {}
            Err(rustix::io::Errno::INTR) => return Ok(Vec::new()),
            Err(errno) => {
                return Err(RoleError::System {
                    what: "poll",
                    error: errno.into(),
                });
            }
        }
        let is_ready = |fd: &PollFd<'_>| !fd.revents().is_empty();
        let ready = polled.iter().map(is_ready);
        let ready = sources.into_iter().zip(ready).filter(|(_, ready)| *ready);
        Ok(ready.map(|(source, _)| source).collect())
    }

    /// Handles all received packets, before the time advances.
    fn take_packets(&mut self, ready: &[Source]) {
        for source in ready {
            match source {
                Source::Adverts(place) => self.take_adverts(*place),
                Source::Frames(interface, ipv6) => self.take_frames(*interface, *ipv6),
                _ => {}
            }
        }
    }

    fn take_tracked(&mut self, ready: &[Source]) {
        let now = clock::now();
        let mut changed = false;
        if let Some(files) = &mut self.tracker.files
            && ready.contains(&Source::Files)
        {
            changed |= files.take_events();
        }
        if let Some(processes) = &mut self.tracker.processes {
            let due = processes.deadline().is_some_and(|at| at <= now);
            if due || ready.contains(&Source::Processes) {
                changed |= processes.handle_time(now);
            }
        }
        let due = self.tracker.bfd.deadline().is_some_and(|at| at <= now);
        if due || ready.contains(&Source::Bfd) {
            changed |= self.take_bfd();
        }
        if changed {
            self.judge_all(now);
        }
    }

    /// Writes a line to the log.
    pub(super) fn log(&mut self, level: Level, line: &str) {
        (self.given.log)(level, line);
    }
}
