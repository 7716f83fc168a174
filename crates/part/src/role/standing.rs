//! What the control role of a machine reports to the part with virtual addresses.

use super::PartMessage;
use super::bounded::List;
use serde::{Deserialize, Serialize};

/// Maximum number of nodes in [`MemberNews`].
pub const BEHIND_MAX: usize = 64;

/// Whether the version that this machine serves is the accepted one.
#[derive(Serialize, Deserialize, Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum VersionStanding {
    /// No majority has confirmed it since the start, or for too long.
    #[default]
    Unconfirmed,
    /// A majority has confirmed it.
    Current,
    /// A majority has confirmed that another version is the accepted one.
    Outdated,
    /// This machine was removed from the cluster.
    Removed,
}

/// What the control role knows about this machine as a member of its cluster. Sent after each
/// change and at least once a second while a majority answers. The part with virtual addresses
/// derives from it which addresses the machine may take. A part that receives none, because the
/// control role or the supervisor has ended, treats the last one as unconfirmed from
/// [`MemberNews::until_ns`] on.
#[derive(Serialize, Deserialize, Clone, PartialEq, Eq, Debug, Default)]
#[serde(default)]
pub struct MemberNews {
    /// The standing of the served version.
    pub version: VersionStanding,
    /// End of [`VersionStanding::Current`], nanoseconds of CLOCK_BOOTTIME.
    pub until_ns: u64,
    /// Names of the other nodes that do not serve the version that this machine serves, which
    /// was accepted without them.
    #[serde(with = "Behind")]
    pub behind: Vec<String>,
    /// Members were removed from the cluster. Their machines may still run without knowing it.
    pub has_removed: bool,
}

type Behind = List<BEHIND_MAX>;

/// Kind of the message, above all kinds of the parts themselves.
const MEMBER: u16 = 0x104;

impl MemberNews {
    /// Encodes the message for forwarding to this part.
    pub fn envelope(&self, part: &str) -> PartMessage {
        let message = PartMessage::new(part, MEMBER, self);
        let holds = true;
        PartMessage { holds, ..message }
    }

    /// Reads the message, if it is one.
    pub fn of(message: &PartMessage) -> Option<MemberNews> {
        (message.kind == MEMBER).then(|| message.read())?
    }
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
}
