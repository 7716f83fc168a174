//! Defines the messages between the roles that use volumes and the role that serves them.

use super::PartMessage;
use super::bounded::{Name, Part, UsedOnes, VolumeName, VolumeWhy};
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};

pub const USED_VOLUMES_MAX: usize = 256;
pub const VOLUME_NAME_BYTES_MAX: usize = 64;
/// Maximum length of the reason why a volume is not ready, in bytes; a longer one is cut.
pub const VOLUME_WHY_BYTES_MAX: usize = 384;

/// Name of a volume's socket in its directory ([`volume_directory`]).
pub const VOLUME_SOCKET: &str = "socket";

/// Returns the directory of a volume's socket, in the runtime directory. The directory stays when
/// the socket is removed and created again.
pub fn volume_directory(runtime: &Path, name: &str) -> PathBuf {
    runtime.join(format!("volume-{name}"))
}

/// All volumes that a part of this machine uses. Holds until the next message of this kind.
#[derive(Serialize, Deserialize, Clone, PartialEq, Eq, Debug, Default)]
#[serde(default)]
pub struct UsedVolumes {
    /// The part that uses the volumes and gets [`VolumeNews`].
    #[serde(with = "Part")]
    pub part: String,
    #[serde(with = "UsedOnes")]
    pub volumes: Vec<UsedVolume>,
}

#[derive(Serialize, Deserialize, Clone, PartialEq, Eq, Debug, Default)]
#[serde(default)]
pub struct UsedVolume {
    #[serde(with = "VolumeName")]
    pub name: String,
    pub r#use: VolumeUse,
    /// The user for whom the volume is opened, as its clients name it, such as `guest/mail`. Empty
    /// in messages of an earlier version.
    #[serde(with = "Name")]
    pub user: String,
    /// True if the user has the volume open or is about to open it. No other user may open it then,
    /// also while it is disconnected for a moment.
    pub is_open: bool,
    /// True if the clients of this user do not name it, because an earlier version started them.
    pub is_unnamed: bool,
}

#[derive(Serialize, Deserialize, Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum VolumeUse {
    #[default]
    Reads,
    /// Only clients of this node may write, and this node must own the volume.
    Alone,
    /// The local node was the only user and the volume moves to the other node: only clients of
    /// that node may write, and the ownership is handed over at once.
    HandsOver,
}

/// The states of the volumes in [`UsedVolumes`], for the part that sent it. Holds until the next
/// message of this kind.
#[derive(Serialize, Deserialize, Clone, PartialEq, Eq, Debug, Default)]
#[serde(default)]
pub struct VolumeNews {
    /// State of each volume of the [`UsedVolumes`], in the same order.
    #[serde(with = "UsedOnes")]
    pub volumes: Vec<VolumeState>,
}

/// State of a volume for the user that wants to open it.
#[derive(Serialize, Deserialize, Clone, PartialEq, Eq, Debug, Default)]
#[serde(default)]
pub struct VolumeState {
    #[serde(with = "VolumeName")]
    pub name: String,
    /// The use that this state is for; a state for an earlier use says nothing about a later one.
    pub r#use: VolumeUse,
    pub ready: bool,
    /// True if the volume is ready for [`VolumeUse::Alone`] and could not be handed over now.
    pub stays: bool,
    /// True if this node's copy is unusable or lacks data, while the other node serves the volume.
    pub gone: bool,
    /// True if another user has had the volume at the other node while this one had it open: the
    /// user's present process must end, because what it has in memory is of an older state of the
    /// volume.
    #[serde(rename = "superseded")]
    pub is_superseded: bool,
    /// Reason why the volume is not ready, or why it does not move; otherwise empty.
    #[serde(with = "VolumeWhy")]
    pub why: String,
}

/// Kind of [`UsedVolumes`], above all kinds of the parts themselves.
const USED: u16 = 0x102;
const NEWS: u16 = 0x103;

impl UsedVolumes {
    pub fn envelope(&self, part: &str) -> PartMessage {
        let message = PartMessage::new(part, USED, self);
        let holds = true;
        PartMessage { holds, ..message }
    }

    pub fn of(message: &PartMessage) -> Option<UsedVolumes> {
        (message.kind == USED).then(|| message.read())?
    }
}

impl VolumeNews {
    pub fn envelope(&self, part: &str) -> PartMessage {
        let message = PartMessage::new(part, NEWS, self);
        let holds = true;
        PartMessage { holds, ..message }
    }

    pub fn of(message: &PartMessage) -> Option<VolumeNews> {
        (message.kind == NEWS).then(|| message.read())?
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::role::{LeaseNews, PACKET_BYTES_MAX, SupervisorMessage};

    fn used(count: usize) -> UsedVolumes {
        let volume = |number| UsedVolume {
            name: format!("{number:0>64}"),
            r#use: VolumeUse::HandsOver,
            user: format!("guest/{number:0>122}"),
            is_open: true,
            is_unnamed: true,
        };
        UsedVolumes {
            part: "guest".to_owned(),
            volumes: (0..count).map(volume).collect(),
        }
    }

    fn news(count: usize, why: &str) -> VolumeNews {
        let state = |number| VolumeState {
            name: format!("{number:0>64}"),
            r#use: VolumeUse::HandsOver,
            ready: false,
            stays: true,
            gone: true,
            is_superseded: true,
            why: why.to_owned(),
        };
        let volumes = (0..count).map(state).collect();
        VolumeNews { volumes }
    }

    #[test]
    fn messages_are_decoded_as_encoded_and_distinct() {
        let (used, news) = (used(2), news(2, "it is being filled"));
        let (there, back) = (used.envelope("volume"), news.envelope("guest"));
        assert!(there.holds && back.holds);
        assert_eq!((&*there.part, &*back.part), ("volume", "guest"));
        assert_eq!(UsedVolumes::of(&there), Some(used));
        assert_eq!(VolumeNews::of(&back), Some(news));
        assert_eq!(VolumeNews::of(&there), None);
        assert_eq!(UsedVolumes::of(&back), None);
        assert_eq!(LeaseNews::of(&there), None);
        assert_eq!(LeaseNews::of(&back), None);
    }

    #[test]
    fn the_largest_messages_fit_into_a_packet() {
        let why = "é".repeat(VOLUME_WHY_BYTES_MAX);
        let (used, news) = (used(USED_VOLUMES_MAX + 1), news(USED_VOLUMES_MAX + 1, &why));
        let (there, back) = (used.envelope("volume"), news.envelope("guest"));
        let used = UsedVolumes::of(&there).unwrap();
        assert_eq!(used.volumes.len(), USED_VOLUMES_MAX);
        let news = VolumeNews::of(&back).unwrap();
        assert_eq!(news.volumes.len(), USED_VOLUMES_MAX);
        assert_eq!(
            news.volumes[0].why,
            "é".repeat(VOLUME_WHY_BYTES_MAX / "é".len())
        );
        for message in [there, back] {
            let packet = SupervisorMessage::Part(Box::new(message)).encode(0, 0);
            assert!(packet.len() <= PACKET_BYTES_MAX, "{}", packet.len());
        }
    }

    #[test]
    fn text_of_unprivileged_processes_is_bounded_and_printable() {
        #[derive(Serialize)]
        struct Raw {
            part: String,
            volumes: Vec<(String, VolumeUse)>,
        }
        let raw = |part: &str, name: &str, count: usize| {
            let volumes = vec![(name.to_owned(), VolumeUse::Alone); count];
            let part = part.to_owned();
            UsedVolumes::of(&PartMessage::new("volume", USED, &Raw { part, volumes }))
        };
        let cleaned = raw("guest", "ma\x1bil", 1).unwrap();
        assert_eq!(cleaned.volumes[0].name, "ma?il");
        assert_eq!(cleaned.volumes[0].r#use, VolumeUse::Alone);
        assert!(raw("guest", "mail", USED_VOLUMES_MAX).is_some());
        assert_eq!(raw("guest", "mail", USED_VOLUMES_MAX + 1), None);
        assert_eq!(raw("guest", &"m".repeat(65), 1), None);
        assert_eq!(raw(&"g".repeat(17), "mail", 1), None);
    }
}
