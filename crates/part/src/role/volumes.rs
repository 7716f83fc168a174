//! Messages between the parts that use volumes and the part that serves them.

use super::PartMessage;
use super::bounded::{Name, Part, UsedOnes, VolumeName, VolumeWhy};
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};

/// Maximum number of volumes in one message.
pub const USED_VOLUMES_MAX: usize = 256;
/// Bytes of a volume's name.
pub const VOLUME_NAME_BYTES_MAX: usize = 64;
/// Bytes of the reason why a volume is not ready; a longer one is cut.
pub const VOLUME_WHY_BYTES_MAX: usize = 384;

/// The socket of a volume in its directory ([`volume_directory`]).
pub const VOLUME_SOCKET: &str = "socket";

/// Returns the directory with the socket of a volume, in the runtime directory. It stays while the
/// socket comes and goes.
pub fn volume_directory(runtime: &Path, name: &str) -> PathBuf {
    runtime.join(format!("volume-{name}"))
}

/// All volumes that a part of this machine uses. Holds until the next one.
#[derive(Serialize, Deserialize, Clone, PartialEq, Eq, Debug, Default)]
#[serde(default)]
pub struct UsedVolumes {
    /// The part, which [`VolumeNews`] is for.
    #[serde(with = "Part")]
    pub part: String,
    /// The volumes.
    #[serde(with = "UsedOnes")]
    pub volumes: Vec<UsedVolume>,
}

/// A volume that a part uses.
#[derive(Serialize, Deserialize, Clone, PartialEq, Eq, Debug, Default)]
#[serde(default)]
pub struct UsedVolume {
    /// Its name.
    #[serde(with = "VolumeName")]
    pub name: String,
    /// How it is used.
    pub r#use: VolumeUse,
    /// The user for whom it is to be opened, as its clients name it, such as `guest/mail`. Empty: of
    /// an earlier version.
    #[serde(with = "Name")]
    pub user: String,
    /// It has the volume open, or is about to: nobody else may open it, also while it is not
    /// connected for a moment.
    pub is_open: bool,
    /// The clients of this user do not name it: an earlier version has started them.
    pub is_unnamed: bool,
}

/// How a volume is used on this node.
#[derive(Serialize, Deserialize, Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum VolumeUse {
    /// Clients here only read.
    #[default]
    Reads,
    /// Only clients of this node are to write, and this node is to own it.
    Alone,
    /// It was used here alone and moves to the other node now: only clients of that node are to
    /// write, and it is handed over at once.
    HandsOver,
}

/// How the volumes are that a part named in [`UsedVolumes`], for that part. Holds until the
/// next one.
#[derive(Serialize, Deserialize, Clone, PartialEq, Eq, Debug, Default)]
#[serde(default)]
pub struct VolumeNews {
    /// Each of those volumes, in the same order.
    #[serde(with = "UsedOnes")]
    pub volumes: Vec<VolumeState>,
}

/// Whether a volume is as its use needs it.
#[derive(Serialize, Deserialize, Clone, PartialEq, Eq, Debug, Default)]
#[serde(default)]
pub struct VolumeState {
    /// Its name.
    #[serde(with = "VolumeName")]
    pub name: String,
    /// The use as which it was named: a state of an earlier use says nothing of a later one.
    pub r#use: VolumeUse,
    /// It is as that use needs it.
    pub ready: bool,
    /// It is ready for [`VolumeUse::Alone`], and could not be handed over now.
    pub stays: bool,
    /// Its copy on this node cannot be used, or lacks data, and the other node serves it.
    pub gone: bool,
    /// Another user has had the volume at the other node while this one had it open: the present
    /// process must end, because what it has in memory is of an older volume.
    pub is_superseded: bool,
    /// Why it is not ready, or why it stays, in words; otherwise empty.
    #[serde(with = "VolumeWhy")]
    pub why: String,
}

/// Kinds of these messages, above all kinds of the parts themselves.
const USED: u16 = 0x102;
const NEWS: u16 = 0x103;

impl UsedVolumes {
    /// Encodes the message for forwarding to this part.
    pub fn envelope(&self, part: &str) -> PartMessage {
        let message = PartMessage::new(part, USED, self);
        let holds = true;
        PartMessage { holds, ..message }
    }

    /// Reads the message, if it is one.
    pub fn of(message: &PartMessage) -> Option<UsedVolumes> {
        (message.kind == USED).then(|| message.read())?
    }
}

impl VolumeNews {
    /// Encodes the message for forwarding to this part.
    pub fn envelope(&self, part: &str) -> PartMessage {
        let message = PartMessage::new(part, NEWS, self);
        let holds = true;
        PartMessage { holds, ..message }
    }

    /// Reads the message, if it is one.
    pub fn of(message: &PartMessage) -> Option<VolumeNews> {
        (message.kind == NEWS).then(|| message.read())?
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::role::{LeaseNews, Message, PACKET_BYTES_MAX};

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
    fn each_message_comes_back_and_is_no_other() {
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
            let packet = Message::Part(Box::new(message)).encode(0, 0);
            assert!(packet.len() <= PACKET_BYTES_MAX, "{}", packet.len());
        }
    }

    #[test]
    fn what_a_process_without_rights_wrote_is_bounded_and_printable() {
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
