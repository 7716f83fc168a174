//! Changes the state of a server: by its configuration, an operator, its health checks, an agent,
//! or the recorded state of a previous process.

use crate::clock::revision;
use crate::config::{InitState, Server, ServerAddress, ServerOptions};
use crate::queue;
use crate::state::{
    ADDRESS_SET, AdminState, Adoption, BACKUP, CheckPhase, CheckResult, HealthState, PERSISTENT,
    RANKS, ServerChange, ServerControl, ServerState, Tally, UP, USABLE, Verdict, WEIGHT_MAX,
    WEIGHT_SCALE,
};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering::{Relaxed, SeqCst};

impl ServerControl {
    pub(crate) fn in_maintenance(&self) -> bool {
        self.location.unresolved || self.admin == AdminState::Maintenance
    }

    pub(crate) fn is_maintained(&self) -> bool {
        self.in_maintenance()
            || self
                .tracking
                .inherited
                .is_some_and(|other| other.maintenance)
    }

    pub(crate) fn configure_name(&mut self, server: &Server) {
        self.location.file_unresolved = server.address == ServerAddress::Unresolved;
        let follows = server.is_followed_if(|| self.location.host.is_some());
        // Resets whether the address is unresolved, unless the server already followed a resolved
        // name: it then keeps the resolved address.
        if !follows || !self.location.follows {
            self.location.unresolved =
                self.location.file_unresolved && self.location.address.is_none();
        }
        self.location.follows = follows;
    }

    pub(crate) fn configure_agent(&mut self, options: &ServerOptions) {
        if !options.agent.check {
            self.agent = Default::default();
        }
        self.agent.configured = options.agent.check;
    }

    /// Applies the check settings of a `server` line. The streak of check results restarts if they
    /// changed.
    pub(crate) fn configure_checks(&mut self, options: &ServerOptions, fresh: bool) {
        if fresh
            || !options.check
            || (self.checks.rise, self.checks.fall) != (options.rise, options.fall)
        {
            (self.checks.rise, self.checks.fall) = (options.rise.max(1), options.fall.max(1));
            // Starts the checks of a new server with `init-state`; by default it is up, but the
            // first failed check takes it down.
            let begins = fresh && options.check && self.checks.health == HealthState::Up;
            if begins && matches!(options.init_state, InitState::Down | InitState::FullyDown) {
                self.checks.health = HealthState::Down;
            }
            self.checks.streak = match (self.checks.health, options.init_state) {
                (HealthState::Down, InitState::Down) if begins => self.checks.rise - 1,
                (HealthState::Down, _) if options.check => 0,
                (_, InitState::FullyUp) if begins => self.checks.top(),
                _ if fresh => self.checks.rise,
                _ => self.checks.top(),
            };
        }
        // Resets the health to up if checks are switched off, because their earlier result no
        // longer applies. What an operator set stays.
        if self.checks.enabled && !options.check {
            self.checks.health = HealthState::Up;
        }
        self.checks.enabled = options.check;
    }

    pub(crate) fn flags(&self, backup: bool) -> u32 {
        let inherited = self.tracking.inherited;
        let health = inherited.map_or(self.checks.health, |other| other.health);
        let up = health != HealthState::Down && !self.agent.down && !self.is_maintained();
        let usable = up
            && health == HealthState::Up
            && self.admin == AdminState::Ready
            && !inherited.is_some_and(|other| other.drain)
            && self.weight > 0
            && !self.lifecycle.retired;
        (if up { UP | PERSISTENT } else { 0 })
            | (if usable { USABLE } else { 0 })
            | (if backup { BACKUP } else { 0 })
            | (if self.location.address.is_some() {
                ADDRESS_SET
            } else {
                0
            })
    }
}

impl ServerState {
    /// Applies the `server` line of a configuration file. Values that an operator set stay, unless
    /// the new file has another value for the same setting than the previous file.
    pub fn configure(self: &Arc<Self>, server: &Server, now_ms: u64) -> Adoption {
        let options = &server.options;
        // Load balancing and queues are notified of changes only: of ten thousand servers, most
        // stay the same.
        let mut news = false;
        let adoption = {
            let mut control = self.control();
            let adoption = if control.lifecycle.configured {
                Adoption::Adopted
            } else {
                Adoption::Fresh
            };
            let fresh = adoption == Adoption::Fresh;
            if fresh {
                control.outages.last_change_ms = now_ms;
                news = true;
            }
            if fresh || control.file.disabled != options.disabled {
                control.file.disabled = options.disabled;
                control.admin = if options.disabled {
                    AdminState::Maintenance
                } else {
                    AdminState::Ready
                };
            }
            if fresh || control.file.weight != options.weight {
                (control.file.weight, control.weight) = (options.weight, options.weight);
            }
            control.configure_name(server);
            control.configure_checks(options, fresh);
            control.configure_agent(options);
            control.warmup.slowstart_ms = options.slowstart_ms;
            news |= self.configure_limits(&mut control, options, fresh);
            self.idle
                .purge_delay_ms
                .store(options.pool_purge_delay_ms, Relaxed);
            let was_backup = self.backup();
            if was_backup != options.backup {
                if control.lifecycle.counted {
                    self.backend.swap_side(options.backup);
                }
                self.availability.flags.fetch_xor(BACKUP, Relaxed);
                news = true;
            }
            control.lifecycle.configured = true;
            adoption
        };
        self.recompute_state(now_ms);
        self.control().lifecycle.begun = true;
        if let (Adoption::Fresh, Some(saved)) = (adoption, &options.saved) {
            self.resume(saved.as_ref().clone(), server, now_ms);
        }
        if news {
            // Notifies load balancing and queues: the server is new, became a backup or ceased to
            // be one, or its limits changed.
            self.changed();
            queue::flow(self);
        }
        adoption
    }

    fn configure_limits(
        &self,
        control: &mut ServerControl,
        options: &ServerOptions,
        fresh: bool,
    ) -> bool {
        let max = options.maxconn.max(options.minconn);
        let raised = fresh || control.file.maxconn != max;
        if raised {
            control.file.maxconn = max;
            self.limits.maxconn.store(max, Relaxed);
        }
        let min = match options.minconn {
            0 => u32::MAX,
            min => min,
        };
        self.limits.maxqueue.store(options.maxqueue, Relaxed);
        self.limits.minconn.swap(min, Relaxed) != min || raised
    }

    /// Marks a new server as down before it is configured, because checks already found its address
    /// down.
    pub(crate) fn begin_down(&self, now_ms: u64) {
        let mut control = self.control();
        control.checks.health = HealthState::Down;
        control.outages.since_ms = Some(now_ms);
        // Stores the flags without a report of a change, because the server was never up.
        self.availability
            .flags
            .store(control.flags(self.backup()), Relaxed);
    }

    /// Restarts the checks, because they query another address now. Like a new server it is up
    /// until the first failed check, unless the address was found down already.
    pub(super) fn restart_checks(self: &Arc<Self>, health: HealthState, now_ms: u64) {
        {
            let checks = &mut self.control().checks;
            checks.restart();
            if health == HealthState::Down {
                (checks.health, checks.streak) = (health, 0);
            }
        }
        self.recompute_state(now_ms);
    }

    /// Retires a server that the newest configuration file no longer contains. Its backend stops
    /// counting it and gives it no more streams. Existing sessions continue. Waiting streams move
    /// to other servers of their configuration, if it has any (see [`crate::queue`]).
    pub fn retire(self: &Arc<Self>, now_ms: u64) {
        self.control().lifecycle.retired = true;
        if !self.ending.retired.swap(true, SeqCst) {
            self.backend.backend.balance.retire_one();
        }
        self.close_way();
        self.recompute_state(now_ms);
        queue::redistribute(self);
    }

    pub fn set_admin(self: &Arc<Self>, admin: AdminState, now_ms: u64) -> ServerChange {
        {
            let mut control = self.control();
            let was = std::mem::replace(&mut control.admin, admin);
            if was == AdminState::Maintenance && admin != was && control.checks.enabled {
                control.checks.restart();
            }
        }
        self.recompute_state(now_ms)
    }

    /// Overrides the health that the checks found (`set server … health`).
    pub fn set_health(self: &Arc<Self>, health: HealthState, now_ms: u64) -> ServerChange {
        {
            let mut control = self.control();
            control.checks.health = health;
            control.checks.streak = match health {
                HealthState::Down => 0,
                _ => control.checks.top(),
            };
        }
        self.recompute_state(now_ms)
    }

    /// Sets the weight at run time; a weight above [`WEIGHT_MAX`] is lowered to that.
    pub fn set_weight(self: &Arc<Self>, weight: u32, now_ms: u64) -> ServerChange {
        self.control().weight = weight.min(WEIGHT_MAX);
        self.recompute_state(now_ms)
    }

    /// Returns the current weight and the weight in the configuration file.
    pub fn user_weight(&self) -> (u32, u32) {
        let control = self.control();
        (control.weight, control.file.weight)
    }

    /// Sets the session limit at run time; 0 means no limit.
    pub fn set_maxconn(self: &Arc<Self>, maxconn: u32) {
        self.limits.maxconn.store(maxconn, SeqCst);
        self.changed();
        revision::advance();
        queue::flow(self);
    }

    /// Returns the current session limit; 0 means no limit.
    pub fn maxconn(&self) -> u32 {
        self.limits.maxconn.load(Relaxed)
    }

    /// Sets the address at run time; None restores that of the configuration file.
    pub fn set_address(self: &Arc<Self>, address: Option<SocketAddr>, now_ms: u64) -> ServerChange {
        let other = {
            let mut control = self.control();
            control.location.unresolved = control.location.file_unresolved && address.is_none();
            control.location.port_offset = None;
            std::mem::replace(&mut control.location.address, address) != address
        };
        let change = self.recompute_state(now_ms);
        if other {
            // Starts a new generation, so that idle connections to the old address are not reused.
            // The generation changes after the address, so that a thread that sees the new
            // generation also sees the new address.
            self.next_of_operator();
        }
        change
    }

    /// Sets the address to which the host name resolved. Without an address the server enters
    /// maintenance, and keeps its last address for later.
    pub fn set_resolved(
        self: &Arc<Self>,
        address: Option<ServerAddress>,
        now_ms: u64,
    ) -> ServerChange {
        let (address, offset) = match address {
            Some(ServerAddress::Inet(address)) => (Some(address), None),
            Some(ServerAddress::SamePort(ip, offset)) => {
                (Some(SocketAddr::new(ip, 0)), Some(offset))
            }
            _ => (None, None),
        };
        let other = {
            let mut control = self.control();
            let was = std::mem::replace(&mut control.location.unresolved, address.is_none());
            if was && address.is_some() && control.checks.enabled {
                control.checks.restart();
            }
            let before = (control.location.address, control.location.port_offset);
            if address.is_some() {
                (control.location.address, control.location.port_offset) = (address, offset);
            }
            before != (control.location.address, control.location.port_offset)
        };
        let change = self.recompute_state(now_ms);
        if other {
            // Starts a new generation of connections, so that idle connections to the old address
            // are not reused.
            self.next_of_operator();
        }
        change
    }

    /// Counts a finished check. Returns the change of state, and whether the result differs from
    /// the last one, which `option log-health-checks` logs.
    pub fn take_check(self: &Arc<Self>, result: CheckResult, now_ms: u64) -> (ServerChange, bool) {
        let moved = {
            let mut control = self.control();
            let checks = &mut control.checks;
            let before = (checks.streak, checks.health, checks.last.status);
            let top = checks.top();
            match result.verdict {
                Verdict::Failed => {
                    // As in HAProxy, failed checks of a server that is already down are not
                    // counted.
                    if checks.streak >= checks.rise {
                        self.traffic.counters.count(Tally::CheckFailures);
                        checks.failures += 1;
                    }
                    if checks.streak > checks.rise {
                        checks.streak -= 1;
                    } else {
                        checks.streak = 0;
                        checks.health = HealthState::Down;
                    }
                }
                Verdict::Passed | Verdict::Conditional => {
                    checks.streak = (checks.streak + 1).min(top);
                    if checks.streak >= checks.rise {
                        checks.streak = top;
                        checks.health = match (result.verdict, checks.health) {
                            // Leaves a server down that is down: a response with status 404 does
                            // not bring it up.
                            (Verdict::Conditional, HealthState::Down) => HealthState::Down,
                            (Verdict::Conditional, _) => HealthState::Stopping,
                            _ => HealthState::Up,
                        };
                        if checks.health == HealthState::Down {
                            checks.streak = checks.rise - 1;
                        }
                    }
                }
            }
            checks.last = result;
            checks.last_ms = Some(now_ms);
            before != (checks.streak, checks.health, checks.last.status)
        };
        (self.recompute_state(now_ms), moved)
    }

    /// Raises the weight of a server in slow start. Called periodically; cheap.
    pub fn warm_up(self: &Arc<Self>, now_ms: u64) {
        if self.share.throttle.load(Relaxed) < 100 {
            self.recompute_state(now_ms);
            queue::flow(self);
        }
    }

    /// `disable health` and `enable health`: stops or resumes the checks. A server whose checks are
    /// stopped keeps its health. The setting stays when a new configuration is installed.
    pub fn stop_checks(&self, stopped: bool) {
        self.availability.checks_stopped.store(stopped, Relaxed);
    }

    pub fn checks_stopped(&self) -> bool {
        self.availability.checks_stopped.load(Relaxed)
    }

    /// Returns whether checks must not run: in maintenance, or stopped by an operator.
    pub fn is_check_suppressed(&self) -> bool {
        self.checks_stopped() || self.in_maintenance()
    }

    /// Returns whether the server, or the one that it tracks, is in maintenance.
    pub fn is_maintained(&self) -> bool {
        self.control().is_maintained()
    }

    /// Returns whether the server is in maintenance, without regard to the one that it tracks.
    pub fn in_maintenance(&self) -> bool {
        self.control().in_maintenance()
    }

    /// Returns whether the health checks found the server fully up, fully down or in transition,
    /// which selects the interval until the next check (`fastinter`).
    pub fn check_phase(&self) -> CheckPhase {
        let control = self.control();
        let top = control.checks.top();
        match control.checks.streak {
            0 => CheckPhase::Down,
            streak if streak >= top => CheckPhase::Up,
            _ => CheckPhase::Changing,
        }
    }

    /// Recomputes the state of the server and notifies all that depend on it.
    pub(crate) fn recompute_state(self: &Arc<Self>, now_ms: u64) -> ServerChange {
        let (mut change, reweighed) = self.recompute(now_ms);
        self.tell_trackers(now_ms);
        // Updates the queues without the server's lock, because they give slots to streams.
        if !change.is_up {
            change.requeued = queue::redistribute(self);
        }
        if change.is_usable && (!change.was_usable || reweighed) {
            change.requeued = queue::flow(self);
        }
        change
    }

    /// Recomputes the atomics of the server, the counts of its backend and its place in load
    /// balancing. Also returns whether the weight changed.
    pub(crate) fn recompute(self: &Arc<Self>, now_ms: u64) -> (ServerChange, bool) {
        let mut control = self.control();
        let before = self.availability.flags.load(Relaxed);
        let backup = before & BACKUP != 0;
        let after = control.flags(backup);
        let (was_up, is_up) = (before & UP != 0, after & UP != 0);
        let (was_usable, is_usable) = (before & USABLE != 0, after & USABLE != 0);
        if was_up != is_up {
            self.up_or_down(&mut control, is_up, now_ms);
        } else if was_usable != is_usable {
            control.outages.last_change_ms = now_ms;
        }
        let weight = self.warm_weight(&mut control, now_ms);
        let reweighed = weight != self.share.weight.swap(weight, Relaxed);
        let whole = control.weight * WEIGHT_SCALE;
        let rewhole = whole != self.share.whole_weight.swap(whole, Relaxed);
        if is_usable && !was_usable {
            self.availability
                .rank
                .store(RANKS.fetch_add(1, Relaxed), Relaxed);
        }
        self.availability.flags.store(after, SeqCst);
        let mut lineup = self.backend.lineup();
        if control.lifecycle.configured && control.lifecycle.counted != is_usable {
            control.lifecycle.counted = is_usable;
            lineup = self.backend.relineup(backup, is_usable, now_ms);
        }
        if was_usable != is_usable || reweighed || rewhole {
            self.changed();
        }
        let told = (after, control.admin, control.checks.health, whole);
        if control.last_published != Some(told) {
            control.last_published = Some(told);
            revision::advance();
        }
        let change = ServerChange {
            was_up,
            is_up,
            was_usable,
            is_usable,
            lineup,
            requeued: 0,
        };
        (change, reweighed)
    }

    pub(crate) fn up_or_down(&self, control: &mut ServerControl, is_up: bool, now_ms: u64) {
        if is_up {
            control.outages.end(now_ms);
            control.warmup.since_ms = (control.warmup.slowstart_ms > 0).then_some(now_ms);
        } else {
            control.outages.begin(now_ms);
            control.warmup.since_ms = None;
            // Counts the outage only if checks, an agent or an operator caused it, not loading or
            // removal.
            if control.lifecycle.begun && !control.lifecycle.retired {
                self.traffic.counters.count(Tally::WentDown);
            }
        }
    }

    /// Returns the current weight in units of [`WEIGHT_SCALE`]; also sets the throttle.
    pub(crate) fn warm_weight(&self, control: &mut ServerControl, now_ms: u64) -> u32 {
        let whole = control.weight * WEIGHT_SCALE;
        let elapsed = control
            .warmup
            .since_ms
            .map(|since| now_ms.saturating_sub(since));
        match elapsed {
            Some(elapsed) if elapsed < u64::from(control.warmup.slowstart_ms) => {
                let slowstart = u64::from(control.warmup.slowstart_ms);
                self.share
                    .throttle
                    .store((elapsed * 100 / slowstart).max(1) as u32, SeqCst);
                let part = (u64::from(whole) * elapsed / slowstart) as u32;
                if whole == 0 { 0 } else { part.max(1) }
            }
            _ => {
                control.warmup.since_ms = None;
                self.share.throttle.store(100, SeqCst);
                whole
            }
        }
    }
}
