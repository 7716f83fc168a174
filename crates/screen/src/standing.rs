//! Explains why the connection of an open display or terminal has ended, from facts about the guest
//! before and after the end.

use std::time::Duration;

pub const ENDED: &str = "The connection to the guest has ended.";

/// Maximum time for which a migrating guest may be on no node.
pub const NOWHERE_MAX: Duration = Duration::from_secs(2);

/// Facts that are known at one time about the guest of an open view, and about the role that serves
/// the view.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct ScreenStatus {
    /// Node on which the guest runs; empty when unknown.
    pub on: String,
    pub is_away: bool,
    /// Process of the part that serves the view on this machine; empty when unknown.
    pub process: String,
    pub is_offered: bool,
}

impl ScreenStatus {
    /// Returns the reason why a connection that started with this status has ended, given the
    /// current status `now` and the time `after` the end; `None` when the reason is unknown.
    pub fn why_ended(&self, now: &ScreenStatus, after: Duration) -> Option<String> {
        let (on, process) = (&now.on, &now.process);
        if !self.process.is_empty() && *process != self.process {
            return Some(
                "The program was upgraded or restarted on that node: connect again.".to_owned(),
            );
        }
        if !self.on.is_empty() && !on.is_empty() && *on != self.on {
            return Some(format!("The guest has moved to {on}: connect again."));
        }
        if now.is_away {
            return Some(format!("The node {on} does not respond."));
        }
        let is_over = !now.is_offered && after >= NOWHERE_MAX;
        is_over.then(|| "The guest no longer runs.".to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(on: &str, process: &str, is_offered: bool) -> ScreenStatus {
        ScreenStatus {
            on: on.to_owned(),
            is_away: false,
            process: process.to_owned(),
            is_offered,
        }
    }

    #[test]
    fn the_reason_of_an_ended_connection_is_reported() {
        let before = at("beta", "7", true);
        let why = |now: &ScreenStatus| before.why_ended(now, NOWHERE_MAX).unwrap_or_default();
        assert_eq!(why(&at("beta", "7", true)), "");
        assert!(why(&at("beta", "8", true)).contains("upgraded or restarted"));
        assert!(why(&at("alpha", "7", true)).contains("moved to alpha"));
        assert!(why(&at("beta", "7", false)).contains("no longer runs"));
        // Gives no reason before `NOWHERE_MAX` has passed: until then the guest may be migrating to
        // another node.
        let moves = at("", "7", false);
        assert_eq!(before.why_ended(&moves, NOWHERE_MAX / 2), None);
        let away = ScreenStatus {
            is_away: true,
            ..at("beta", "7", true)
        };
        assert!(why(&away).contains("beta does not respond"));
        // An unknown process or node counts as unchanged.
        assert_eq!(
            at("", "", true).why_ended(&at("beta", "8", true), NOWHERE_MAX),
            None
        );
    }
}
