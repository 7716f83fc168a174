//! Describes a sidecar role of a configuration version to the supervisor.

use super::bounded::{Part, text};
use serde::{Deserialize, Serialize};

const NOUN_BYTES_MAX: usize = 128;

/// Data that the supervisor needs about one part of a configuration version. The payload for the
/// part's role travels next to it, undecoded.
#[derive(Serialize, Deserialize, Clone, PartialEq, Eq, Debug, Default)]
#[serde(default)]
pub struct PartPlan {
    #[serde(with = "Part")]
    pub part: String,
    /// Number of configured objects.
    pub objects: u64,
    /// The noun for the objects, in the form that fits their number: `virtual addresses`.
    #[serde(serialize_with = "text::<NOUN_BYTES_MAX, _>")]
    pub noun: String,
    /// Maximum duration of a planned stop, milliseconds.
    pub stop_ms: u64,
    /// True if values that all machines must agree on (router ids, priorities, timers) differ from
    /// the previous version. All nodes change at the same time then.
    pub together: bool,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::role::{Decoded, Load, SupervisorMessage, Take, VersionPlan};

    fn plan() -> PartPlan {
        PartPlan {
            part: "address".to_owned(),
            objects: 9,
            noun: "virtual addresses".to_owned(),
            stop_ms: 2_000,
            together: true,
        }
    }

    #[test]
    fn plan_has_its_parts_in_every_message() {
        let with = VersionPlan {
            without_proxy: true,
            parts: vec![plan()],
            ..VersionPlan::default()
        };
        let take = Take {
            plan: with.clone(),
            state: true,
            ..Take::default()
        };
        let load = Load {
            previous: Some(with.clone()),
            ..Load::default()
        };
        for message in [
            SupervisorMessage::Loaded(Box::new(with.clone())),
            SupervisorMessage::Take(Box::new(take.clone())),
            SupervisorMessage::Load(Box::new(load)),
        ] {
            let read = SupervisorMessage::decode(&message.encode(0, 0));
            assert_eq!(read, Ok(Decoded::Message(message)));
        }
        let kept = crate::role::SavedVersion {
            take: take.clone(),
            ..crate::role::SavedVersion::default()
        };
        assert_eq!(
            crate::role::SavedVersion::decode(&kept.encode()).map(|one| one.0),
            Ok(kept)
        );
        let handed = crate::role::HandOver {
            take,
            ..crate::role::HandOver::default()
        };
        assert_eq!(crate::role::HandOver::decode(&handed.encode()), Ok(handed));
    }
}
