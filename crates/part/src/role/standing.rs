//! Reports what the control role knows about the machine as a cluster member, to all roles, and
//! decides whether a role may act on its configuration version ([`Membership`]).

use super::PartMessage;
use super::bounded::List;
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// Time for which a role may act on an outdated configuration version that a majority had
/// confirmed: the time in which a node loads the version that was accepted after it.
const LOADS_WITHIN: Duration = Duration::from_secs(10);

pub const BEHIND_MAX: usize = 64;

/// Relation of the configuration version that this machine serves to the one that the cluster has
/// accepted.
#[derive(Serialize, Deserialize, Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum VersionStanding {
    /// No majority has confirmed the configuration version since the start, or the last
    /// confirmation has expired.
    #[default]
    Unconfirmed,
    /// A majority has confirmed the configuration version.
    Current,
    /// A majority has confirmed that another version is the accepted one.
    Outdated,
    Removed,
}

/// The control role's knowledge of this machine as a cluster member. The part with virtual
/// addresses gets it after each change, and at least once a second while a majority responds. That
/// part derives which addresses the machine may own. From [`MemberNews::until_ns`] on it treats the
/// last report as unconfirmed, because the control role or the supervisor may have ended. Other
/// parts get [`MemberNews::settled`] after each change of it, and decide by [`Membership`].
#[derive(Serialize, Deserialize, Clone, PartialEq, Eq, Debug, Default)]
#[serde(default)]
pub struct MemberNews {
    pub version: VersionStanding,
    /// End of [`VersionStanding::Current`], nanoseconds of CLOCK_BOOTTIME.
    pub until_ns: u64,
    /// Names of other nodes that do not serve this machine's version, which was accepted without
    /// them.
    #[serde(with = "Behind")]
    pub behind: Vec<String>,
    /// True if members were removed from the cluster. Their machines may still run without knowing
    /// it.
    pub has_removed: bool,
    /// True if a majority has confirmed the served version since the control role started, and none
    /// has accepted another version since.
    pub was_confirmed: bool,
    /// Time since which no other member is reachable, nanoseconds of CLOCK_BOOTTIME; zero if one is
    /// reachable.
    pub alone_since_ns: u64,
}

type Behind = List<BEHIND_MAX>;

/// Message kind, above all kinds of the parts themselves.
const MEMBER: u16 = 0x104;

impl MemberNews {
    pub fn envelope(&self, part: &str) -> PartMessage {
        let message = PartMessage::new(part, MEMBER, self);
        let holds = true;
        PartMessage { holds, ..message }
    }

    pub fn of(message: &PartMessage) -> Option<MemberNews> {
        (message.kind == MEMBER).then(|| message.read())?
    }

    /// Returns the report without the fields that change several times a second.
    pub fn settled(&self) -> MemberNews {
        MemberNews {
            until_ns: 0,
            behind: Vec::new(),
            ..self.clone()
        }
    }
}

/// Permission of a part to act on the version that this machine serves.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Admission {
    /// The part may act: the machine is not a member of a cluster, a majority has confirmed the
    /// version since the machine returned, or the machine has some seconds to load the version that
    /// replaced a confirmed one.
    #[default]
    Admitted,
    Unconfirmed,
    Outdated,
    Removed,
}

impl Admission {
    pub fn is_admitted(self) -> bool {
        self == Admission::Admitted
    }

    /// Returns why the part may not act; empty if the part may act.
    pub fn why(self) -> &'static str {
        match self {
            Admission::Admitted => "",
            Admission::Unconfirmed => {
                "no majority of the cluster has confirmed the version of this machine since it started"
            }
            Admission::Outdated => {
                "the cluster has accepted another version, which this machine does not serve"
            }
            Admission::Removed => "this machine was removed from the cluster",
        }
    }
}

/// This machine as a cluster member, tracked by a part over time. Decides whether the part may act
/// on the version that the machine serves ([`Admission`]).
///
/// A machine that lost the majority continues with the version that a majority has confirmed. A
/// machine that returned waits until a majority confirms its version. Times are nanoseconds of
/// CLOCK_BOOTTIME.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Membership {
    is_member: bool,
    news: MemberNews,
    was_confirmed: bool,
    /// End of the time in which the machine loads the accepted version.
    loads_until_ns: u64,
}

impl Membership {
    /// Returns the membership before the first report. `is_member` is the configured membership.
    pub fn new(is_member: bool) -> Membership {
        Membership {
            is_member,
            ..Membership::default()
        }
    }

    pub fn apply_report(&mut self, news: &MemberNews, now_ns: u64) {
        self.is_member = true;
        match news.version {
            VersionStanding::Current => self.was_confirmed = true,
            VersionStanding::Unconfirmed => self.was_confirmed |= news.was_confirmed,
            VersionStanding::Outdated => {
                if self.was_confirmed {
                    self.loads_until_ns = now_ns.saturating_add(nanoseconds(LOADS_WITHIN));
                }
                self.was_confirmed = false;
            }
            VersionStanding::Removed => (self.was_confirmed, self.loads_until_ns) = (false, 0),
        }
        self.news = news.clone();
    }

    /// Forgets all reports if the membership changed. `is_member` is the membership in the
    /// configuration that is applied now.
    pub fn set_member(&mut self, is_member: bool) {
        if self.is_member != is_member {
            *self = Membership::new(is_member);
        }
    }

    pub fn admission(&self, now_ns: u64) -> Admission {
        let loads = now_ns < self.loads_until_ns;
        match self.news.version {
            _ if !self.is_member => Admission::Admitted,
            VersionStanding::Removed => Admission::Removed,
            VersionStanding::Current => Admission::Admitted,
            VersionStanding::Outdated if loads => Admission::Admitted,
            VersionStanding::Outdated => Admission::Outdated,
            VersionStanding::Unconfirmed if self.was_confirmed => Admission::Admitted,
            VersionStanding::Unconfirmed => Admission::Unconfirmed,
        }
    }

    /// Returns whether a part may act whose users have no alternative node. After no other member
    /// was reachable for `grace`, an unconfirmed machine may act too.
    pub fn admission_alone(&self, grace: Duration, now_ns: u64) -> Admission {
        let since_ns = self.news.alone_since_ns;
        let is_alone = since_ns > 0 && since_ns.saturating_add(nanoseconds(grace)) <= now_ns;
        match self.admission(now_ns) {
            Admission::Unconfirmed if is_alone => Admission::Admitted,
            admission => admission,
        }
    }
}

fn nanoseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::role::LeaseNews;

    #[test]
    fn member_news_survives_its_envelope() {
        let news = MemberNews {
            version: VersionStanding::Current,
            until_ns: 7,
            behind: vec!["alpha".to_owned()],
            has_removed: true,
            was_confirmed: true,
            alone_since_ns: 9,
        };
        let message = news.envelope("address");
        assert!(message.holds, "a role that starts later receives it, too");
        assert_eq!(MemberNews::of(&message), Some(news));
        assert_eq!(LeaseNews::of(&message), None);
        let many = MemberNews {
            behind: vec![String::new(); BEHIND_MAX + 1],
            ..MemberNews::default()
        };
        let read = MemberNews::of(&many.envelope("address")).expect("truncated");
        assert_eq!(read.behind.len(), BEHIND_MAX);
    }

    fn news(version: VersionStanding) -> MemberNews {
        MemberNews {
            version,
            ..MemberNews::default()
        }
    }

    #[test]
    fn machine_without_a_cluster_is_admitted() {
        assert!(Membership::new(false).admission(1).is_admitted());
        assert_eq!(Membership::new(true).admission(1), Admission::Unconfirmed);
    }

    #[test]
    fn returned_member_waits_for_a_majority_and_keeps_its_confirmation() {
        let mut membership = Membership::default();
        membership.apply_report(&news(VersionStanding::Unconfirmed), 1);
        assert_eq!(membership.admission(1), Admission::Unconfirmed);
        membership.apply_report(&news(VersionStanding::Current), 2);
        assert_eq!(membership.admission(2), Admission::Admitted);
        // After the loss of the majority, a confirmed version may be served for any time.
        membership.apply_report(&news(VersionStanding::Unconfirmed), 3);
        assert_eq!(membership.admission(u64::MAX), Admission::Admitted);
        // A role that restarts after the loss of the majority is admitted by the last report alone,
        // in which the version was confirmed.
        let mut later = Membership::new(true);
        let lost = MemberNews {
            was_confirmed: true,
            ..news(VersionStanding::Unconfirmed)
        };
        later.apply_report(&lost, 4);
        assert_eq!(later.admission(4), Admission::Admitted);
    }

    #[test]
    fn outdated_member_has_time_to_load_only_after_a_confirmation() {
        let loads_ns = nanoseconds(LOADS_WITHIN);
        let mut returned = Membership::new(true);
        returned.apply_report(&news(VersionStanding::Outdated), 1);
        assert_eq!(returned.admission(1), Admission::Outdated);
        let mut running = Membership::new(true);
        running.apply_report(&news(VersionStanding::Current), 1);
        running.apply_report(&news(VersionStanding::Outdated), 2);
        assert_eq!(running.admission(1 + loads_ns), Admission::Admitted);
        // A second report `Outdated` does not extend the time to load.
        running.apply_report(&news(VersionStanding::Outdated), 1 + loads_ns);
        assert_eq!(running.admission(2 + loads_ns), Admission::Outdated);
        // After the loss of the majority, the version that was reported as replaced is not
        // admitted: it counts as unconfirmed.
        running.apply_report(&news(VersionStanding::Unconfirmed), 3 + loads_ns);
        assert_eq!(running.admission(3 + loads_ns), Admission::Unconfirmed);
    }

    #[test]
    fn removed_member_is_never_admitted() {
        let mut membership = Membership::new(true);
        membership.apply_report(&news(VersionStanding::Current), 1);
        let removed = MemberNews {
            alone_since_ns: 1,
            was_confirmed: true,
            ..news(VersionStanding::Removed)
        };
        membership.apply_report(&removed, 2);
        assert_eq!(membership.admission(2), Admission::Removed);
        let grace = Duration::ZERO;
        assert_eq!(
            membership.admission_alone(grace, u64::MAX),
            Admission::Removed
        );
        // A machine that has left the cluster is admitted again.
        membership.set_member(false);
        assert_eq!(membership.admission(3), Admission::Admitted);
    }

    #[test]
    fn lone_member_is_admitted_after_the_grace() {
        let grace = Duration::from_nanos(60);
        let mut membership = Membership::new(true);
        let alone = |since_ns| MemberNews {
            alone_since_ns: since_ns,
            ..news(VersionStanding::Unconfirmed)
        };
        membership.apply_report(&alone(100), 100);
        assert_eq!(
            membership.admission_alone(grace, 159),
            Admission::Unconfirmed
        );
        assert_eq!(membership.admission_alone(grace, 160), Admission::Admitted);
        assert_eq!(membership.admission(160), Admission::Unconfirmed);
        // The grace ends when another member is reachable again.
        membership.apply_report(&alone(0), 170);
        assert_eq!(
            membership.admission_alone(grace, 900),
            Admission::Unconfirmed
        );
        // The grace does not admit a version that is known to be replaced.
        membership.apply_report(
            &MemberNews {
                alone_since_ns: 1,
                ..news(VersionStanding::Outdated)
            },
            900,
        );
        assert_eq!(membership.admission_alone(grace, 999), Admission::Outdated);
    }
}
