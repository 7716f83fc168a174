//! Runs the event loop: sleeps until a descriptor is readable or a timer is due, handles all
//! packets, then all other events, then advances the router's time, then executes its actions.

use super::hand_over::HandOvers;
use super::health::Health;
use super::host::HostNetwork;
use super::kept::Keeper;
use super::leases::Leases;
use super::member::VrrpInstance;
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

/// State of the address role, which only the thread of its event loop uses.
pub(super) struct AddressRole {
    pub(super) config: Config,
    pub(super) given: RoleInputs,
    pub(super) process: RoleProcess,
    pub(super) host: HostNetwork,
    pub(super) members: Vec<VrrpInstance>,
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
pub(super) struct RoleProcess {
    /// True if the other end of the order channel is closed.
    pub(super) is_unsupervised: bool,
    pub(super) privileges: Vec<String>,
    /// Wakes the loop at its deadline after a suspension.
    pub(super) timer: Option<clock::Timer>,
}

#[derive(Clone, Copy, PartialEq, Debug)]
enum EventSource {
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
    let mut role = AddressRole::begin(config, given)?;
    role.given.orders.send_notification(Notification::Ready);
    role.report_wanted_leases(super::clock::now());
    let exit = role.run_event_loop();
    if matches!(exit, Ok(Exit::Released)) {
        // Withdraws all requests for leases, so that another machine can get the leases without
        // waiting for their end.
        role.given
            .orders
            .send_notification(Notification::WantsLeases(Vec::new()));
    }
    role.given.orders.send_notification(Notification::Stopped);
    exit
}

impl AddressRole {
    fn run_event_loop(&mut self) -> Result<Exit, RoleError> {
        loop {
            // Executes the actions of the start or of the previous turn.
            self.act();
            if let Some(exit) = self.execute_orders() {
                return Ok(exit);
            }
            let ready = self.sleep()?;
            self.take_packets(&ready);
            if ready.contains(&EventSource::Monitor) {
                self.receive_kernel_changes();
            }
            if ready.contains(&EventSource::Runner) {
                self.handle_ended_programs();
            }
            self.take_tracked(&ready);
            let now = clock::now();
            self.take_adverts_before(now);
            self.handle_time(now);
            if self.has_handed_over(now) {
                match self.hand_overs.take_next() {
                    Some(config) => self.install_config(*config),
                    None if self.has_remaining_addresses() => {}
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
            if self
                .sockets
                .adverts
                .get(place)
                .is_some_and(|adverts| !adverts.broken)
            {
                self.receive_adverts(place);
            }
        }
    }

    fn handle_time(&mut self, now: Time) {
        self.report_paced_adverts();
        self.poll_links(now);
        self.host.retry_filter(now, &mut self.given.log);
        let events = self.host.links.handle_time(now);
        self.take_link_events(now, events);
        self.start_scripts(now);
        self.poll_health(now);
        self.look_at_standings(now);
        self.expire_leases(now);
        self.router.handle_time(now);
        self.act();
        self.renew_lifetimes(now);
        self.announce_extra(now);
        self.tend_hand_overs(now);
        self.send_announcements(now);
        if self.keeper.is_due(now) {
            self.store_state(now);
        }
    }

    pub(super) fn act(&mut self) {
        // Passes the adverts to the pacemaker before the actions, which may wait for the kernel. A
        // new master is passed after them, because it acquires its addresses before it sends
        // adverts.
        self.report_masters(Paced::Known);
        for _ in 0..MAX_ACTIONS {
            let Some(action) = self.router.poll() else {
                break;
            };
            self.execute_action(action);
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
            self.leases.next_turn(),
            self.membership.deadline(),
            self.hand_overs.deadline(),
            self.keeper.deadline(),
            self.host.deadline(),
            self.process
                .is_unsupervised
                .then(|| clock::now().after(ASK_ALONE)),
        ];
        scripts
            .chain(renewals)
            .chain(extras)
            .chain(refused)
            .chain(others.into_iter().flatten())
            .min()
    }

    fn sleep(&mut self) -> Result<Vec<EventSource>, RoleError> {
        let mut sources = vec![EventSource::Monitor, EventSource::Runner];
        let mut fds: Vec<BorrowedFd<'_>> = vec![self.host.monitor.as_fd(), self.runner.as_fd()];
        let orders = self.given.orders.as_fd();
        if !self.process.is_unsupervised {
            sources.push(EventSource::Orders);
            fds.push(orders);
        }
        for (place, adverts) in self.sockets.adverts.iter().enumerate() {
            if !adverts.broken {
                sources.push(EventSource::Adverts(place));
                fds.push(adverts.socket.as_fd());
            }
        }
        for ((interface, ipv6), socket) in &self.sockets.frames {
            sources.push(EventSource::Frames(*interface, *ipv6));
            fds.push(socket.as_fd());
        }
        if let Some(files) = &self.tracker.files {
            sources.push(EventSource::Files);
            fds.push(files.as_fd());
        }
        if let Some(processes) = &self.tracker.processes {
            sources.push(EventSource::Processes);
            fds.push(processes.as_fd());
        }
        for listener in self.tracker.bfd.descriptors() {
            sources.push(EventSource::Bfd);
            fds.push(listener);
        }
        let deadline = self.deadline();
        if let Some(timer) = &self.process.timer {
            timer.set(deadline);
            sources.push(EventSource::Timer);
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
    fn take_packets(&mut self, ready: &[EventSource]) {
        for source in ready {
            match source {
                EventSource::Adverts(place) => self.receive_adverts(*place),
                EventSource::Frames(interface, ipv6) => self.take_frames(*interface, *ipv6),
                _ => {}
            }
        }
    }

    fn take_tracked(&mut self, ready: &[EventSource]) {
        let now = clock::now();
        let mut changed = false;
        if let Some(files) = &mut self.tracker.files
            && ready.contains(&EventSource::Files)
        {
            changed |= files.take_events();
            for line in files.take_said() {
                (self.given.log)(Level::Warning, &line);
            }
        }
        if let Some(processes) = &mut self.tracker.processes {
            let due = processes.deadline().is_some_and(|at| at <= now);
            if due || ready.contains(&EventSource::Processes) {
                changed |= processes.handle_time(now);
            }
        }
        let due = self.tracker.bfd.deadline().is_some_and(|at| at <= now);
        if due || ready.contains(&EventSource::Bfd) {
            changed |= self.run_bfd_sessions();
        }
        if changed {
            self.evaluate_all_instances(now);
        }
    }

    pub(super) fn log(&mut self, level: Level, line: &str) {
        (self.given.log)(level, line);
    }
}
