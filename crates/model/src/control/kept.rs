//! Restores the state of a server that a previous process recorded.

use crate::config::Server;
use crate::queue;
use crate::state::{AGE_MAX_MS, Adoption, COUNT_MAX, HealthState, Kept, ServerState, WEIGHT_MAX};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

impl ServerState {
    /// Applies the state of this server that another process recorded. A setting that differs
    /// between the configuration files of the two processes is taken from this process's file;
    /// everything else stays as recorded. The server must already be configured from the file.
    pub fn resume(self: &Arc<Self>, kept: Kept, server: &Server, now_ms: u64) {
        let ago = |age_ms: u64| now_ms.saturating_sub(age_ms.min(AGE_MAX_MS));
        let switchable = server.options.tls.connector.is_some();
        if let Some(on) = kept.tls.filter(|_| switchable) {
            self.set_tls(on);
        }
        {
            let mut control = self.control();
            control.admin = kept.admin;
            control.file.disabled = kept.file_disabled;
            control.checks.health = kept.health;
            if (kept.rise, kept.fall) == (control.checks.rise, control.checks.fall) {
                let (rise, top) = (kept.rise, kept.rise.saturating_add(kept.fall) - 1);
                control.checks.streak = match kept.health {
                    HealthState::Down => kept.streak.min(rise - 1),
                    HealthState::Up | HealthState::Stopping => kept.streak.clamp(rise, top),
                };
            } else {
                // Sets a rise and fall that no configuration file has, so that `configure` below
                // restarts the streak: it was counted under another rise and fall.
                (control.checks.rise, control.checks.fall) = (u32::MAX, u32::MAX);
            }
            control.checks.enabled = kept.checked;
            control.weight = kept.weight.min(WEIGHT_MAX);
            control.file.weight = kept.file_weight;
            control.file.maxconn = kept.file_maxconn;
            self.limits.maxconn.store(kept.maxconn, Relaxed);
            control.warmup.since_ms = kept.warming_for_ms.map(ago);
            control.outages.over_ms = kept.downtime_ms.min(AGE_MAX_MS);
            control.checks.failures = kept.check_failures.min(COUNT_MAX);
            if let Some((result, age_ms)) = kept.last_check {
                control.checks.last = result;
                control.checks.last_ms = Some(ago(age_ms));
            }
            control.location.address = kept.address;
            control.outages.last_change_ms = ago(kept.last_change_ago_ms);
            control.outages.since_ms = kept.down_for_ms.map(ago);
            // Stores the flags as the current ones, so that the restored state is no change:
            // nothing is counted twice, and the server keeps its recorded times unless the new
            // configuration file differs.
            let flags = control.flags(self.backup());
            self.availability.flags.store(flags, Relaxed);
        }
        let adoption = self.configure(server, now_ms);
        debug_assert_eq!(adoption, Adoption::Adopted);
        // Notifies load balancing and queues, because the restored flags were stored without a
        // report.
        self.changed();
        queue::flow(self);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Balance, Config, ServerOptions};
    use crate::queue::testing::tree;
    use crate::state::{AdminState, CheckResult, CheckStatus, Tally};

    fn checked() -> ServerOptions {
        ServerOptions {
            check: true,
            weight: 10,
            maxconn: 20,
            ..Default::default()
        }
    }

    /// Prepares the state of a server with `before`, and transfers it to a process whose file has
    /// `options`.
    fn moved(options: ServerOptions, before: impl Fn(&Arc<ServerState>)) -> Arc<Config> {
        let old = tree(Balance::RoundRobin, &[checked()]);
        before(&old.proxies[0].servers[0].state);
        let kept = old.proxies[0].servers[0].state.keep(1_000);
        let new = tree(Balance::RoundRobin, &[options]);
        let server = &new.proxies[0].servers[0];
        server.state.resume(kept, server, 500_000);
        new
    }

    fn state(config: &Config) -> &Arc<ServerState> {
        &config.proxies[0].servers[0].state
    }

    #[test]
    fn what_checks_found_goes_on_without_being_counted_again() {
        let new = moved(checked(), |server| {
            server.take_check(CheckResult::new(CheckStatus::Layer4Error, 3), 400);
            server.take_check(CheckResult::new(CheckStatus::Layer4Ok, 3), 600);
        });
        let report = state(&new).report(500_000);
        assert_eq!(report.status_text(), "DOWN 1/2");
        assert_eq!(report.last_change_ms, 500_000 - 600);
        assert_eq!(report.downtime_ms, 600);
        assert_eq!(report.last_check_ms, Some(500_000 - 400));
        assert_eq!(report.last_check.status, CheckStatus::Layer4Ok);
        assert_eq!(report.check_failures, 1);
        assert_eq!(state(&new).traffic.counters.read(Tally::WentDown), 0);
        assert_eq!(new.proxies[0].state.active_usable(), 0);
        state(&new).take_check(CheckResult::new(CheckStatus::Layer4Ok, 3), 500_100);
        assert!(state(&new).usable());
        assert_eq!(state(&new).report(500_100).downtime_ms, 700);
    }

    #[test]
    fn what_an_operator_set_goes_on_unless_the_new_file_says_otherwise() {
        let operator = |server: &Arc<ServerState>| {
            server.set_admin(AdminState::Drain, 100);
            server.set_weight(3, 100);
            server.set_maxconn(7);
            server.set_address("192.0.2.7:80".parse().ok(), 100);
        };
        let new = moved(checked(), operator);
        assert_eq!(state(&new).report(500_000).status_text(), "DRAIN 1/3");
        assert_eq!(state(&new).user_weight(), (3, 10));
        assert_eq!(state(&new).maxconn(), 7);
        assert!(state(&new).address_override().is_some());
        let options = ServerOptions {
            weight: 11,
            maxconn: 21,
            disabled: true,
            ..checked()
        };
        let new = moved(options, operator);
        assert_eq!(state(&new).report(500_000).status_text(), "MAINT");
        assert_eq!(state(&new).user_weight(), (11, 11));
        assert_eq!(state(&new).maxconn(), 21);
    }

    #[test]
    fn with_other_checks_in_the_file_the_streak_begins_anew() {
        let down = |server: &Arc<ServerState>| {
            server.take_check(CheckResult::new(CheckStatus::Layer4Error, 3), 400);
        };
        let options = ServerOptions {
            rise: 5,
            ..checked()
        };
        let new = moved(options, down);
        assert_eq!(state(&new).report(500_000).status_text(), "DOWN");
        let unchecked = ServerOptions {
            check: false,
            ..checked()
        };
        let new = moved(unchecked, down);
        assert_eq!(state(&new).report(500_000).status_text(), "no check");
        assert!(state(&new).usable());
    }

    #[test]
    fn values_that_no_process_tells_are_bounded() {
        let new = tree(Balance::RoundRobin, &[checked()]);
        let server = &new.proxies[0].servers[0];
        let kept = Kept {
            streak: u32::MAX,
            rise: 2,
            fall: 3,
            checked: true,
            weight: u32::MAX,
            file_weight: 10,
            last_change_ago_ms: u64::MAX,
            downtime_ms: u64::MAX,
            down_for_ms: Some(u64::MAX),
            warming_for_ms: Some(u64::MAX),
            check_failures: u32::MAX,
            ..Kept::default()
        };
        server.state.resume(kept, server, 7);
        let report = server.state.report(9);
        assert_eq!((report.weight, report.status_text()), (256, "UP".into()));
        server
            .state
            .take_check(CheckResult::new(CheckStatus::Layer4Error, 3), 10);
        server.state.set_admin(AdminState::Maintenance, 12);
        server.state.set_admin(AdminState::Ready, 14);
        assert!(server.state.report(20).downtime_ms >= AGE_MAX_MS);
    }
}
