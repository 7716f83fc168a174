//! Decides how the statistics page shows states: the colour of a server, whether the server needs
//! attention, and the badge with the numbers of a backend's servers.

use model::config::{Proxy, Server};
use model::state::{AdminReport, HealthState, ServerReport};

/// Returns the colour class of a server.
pub fn class(server: &Server, report: &ServerReport) -> &'static str {
    let backup = server.options.backup;
    let pick = |active, spare| if backup { spare } else { active };
    match report.admin {
        AdminReport::Maintenance | AdminReport::Unresolved => return "maintain",
        AdminReport::Drain => return pick("active_draining", "backup_draining"),
        AdminReport::Ready => {}
    }
    match report.health {
        HealthState::Down if report.streak == 0 => "active_down",
        HealthState::Down => pick("active_going_up", "backup_going_up"),
        HealthState::Stopping => pick("active_nolb", "backup_nolb"),
        HealthState::Up if report.weight == 0 => pick("active_draining", "backup_draining"),
        HealthState::Up if !report.checked => "active_no_check",
        HealthState::Up if report.streak + 1 < report.rise + report.fall => {
            pick("active_going_down", "backup_going_down")
        }
        HealthState::Up => pick("active_up", "backup_up"),
    }
}

/// Reasons why an item needs attention; the most urgent comes first.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Concern {
    /// The server is down unintentionally.
    Down,
    Draining,
    /// An operator put the server into maintenance, or its name has no address.
    Maintenance,
}

impl Concern {
    pub const ALL: [Concern; 3] = [Concern::Down, Concern::Draining, Concern::Maintenance];

    /// Returns the reason why a server needs attention; None if it does not.
    pub fn of_server(report: &ServerReport) -> Option<Concern> {
        match (report.admin, report.health) {
            (AdminReport::Maintenance | AdminReport::Unresolved, _) => Some(Concern::Maintenance),
            _ if report.tracked_maintenance => Some(Concern::Maintenance),
            (_, HealthState::Down) => Some(Concern::Down),
            (AdminReport::Drain, _) | (_, HealthState::Stopping) => Some(Concern::Draining),
            (AdminReport::Ready, HealthState::Up) => {
                (report.weight == 0).then_some(Concern::Draining)
            }
        }
    }
}

/// Numbers of servers of a backend: all, and those in service. Backup servers are counted
/// separately, because they serve only when no other server does.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Census {
    active: usize,
    active_ready: usize,
    backup: usize,
    backup_ready: usize,
}

impl Census {
    /// Counts the servers of a proxy, including those that the page hides.
    pub fn of(proxy: &Proxy, now_ms: u64) -> Census {
        let mut census = Census::default();
        for server in &proxy.servers {
            let ready = Concern::of_server(&server.state.report(now_ms)).is_none();
            let (all, serving) = if server.state.backup() {
                (&mut census.backup, &mut census.backup_ready)
            } else {
                (&mut census.active, &mut census.active_ready)
            };
            *all += 1;
            *serving += usize::from(ready);
        }
        census
    }

    /// Returns the colour class and the text of the backend's badge; None for a backend without
    /// servers.
    pub fn badge(&self) -> Option<(&'static str, String)> {
        let (ready, all) = (self.active_ready, self.active);
        let spares = match (self.backup_ready, self.backup) {
            (0, 1) => "backup not ready".to_owned(),
            (1, 1) => "backup ready".to_owned(),
            (ready, all) => format!("{ready} of {all} backups ready"),
        };
        match (all, self.backup) {
            (0, 0) => None,
            _ if ready == 0 && self.backup_ready > 0 => {
                let what = if all == 0 { "" } else { "0 of " };
                let servers = if all == 0 {
                    String::new()
                } else {
                    format!("{all} serve, ")
                };
                Some(("active_going_up", format!("{what}{servers}backup in use")))
            }
            (_, 0) => Some((color(ready, all), format!("{ready} of {all} serve"))),
            _ => Some((
                color(ready, all),
                format!("{ready} of {all} serve, {spares}"),
            )),
        }
    }
}

fn color(ready: usize, all: usize) -> &'static str {
    match ready {
        0 => "active_down",
        n if n < all => "active_going_up",
        _ => "active_up",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_backup_that_waits_is_not_counted_among_those_that_serve() {
        let badge = |active, active_ready, backup, backup_ready| {
            let census = Census {
                active,
                active_ready,
                backup,
                backup_ready,
            };
            census.badge().map_or(String::new(), |(_, words)| words)
        };
        for (census, words) in [
            ((0, 0, 0, 0), ""),
            ((3, 2, 0, 0), "2 of 3 serve"),
            ((2, 2, 1, 1), "2 of 2 serve, backup ready"),
            ((2, 1, 1, 0), "1 of 2 serve, backup not ready"),
            ((2, 0, 1, 1), "0 of 2 serve, backup in use"),
            ((2, 0, 1, 0), "0 of 2 serve, backup not ready"),
            ((2, 2, 3, 2), "2 of 2 serve, 2 of 3 backups ready"),
            ((0, 0, 2, 2), "backup in use"),
        ] {
            let (active, active_ready, backup, backup_ready) = census;
            assert_eq!(badge(active, active_ready, backup, backup_ready), words);
        }
    }
}
