//! What a version has of virtual addresses.

use serde::{Deserialize, Serialize};

/// What a version has of virtual addresses.
#[derive(Serialize, Deserialize, Clone, PartialEq, Eq, Debug, Default)]
#[serde(default)]
pub struct AddressPlan {
    /// There is nothing besides: no proxy is started.
    pub alone: bool,
    /// How many instances (`virtual-ip`, `vrrp_instance`).
    pub instances: u32,
    /// How many addresses they have.
    pub addresses: u32,
    /// Capabilities that the role keeps, as the kernel counts them.
    pub capabilities: u64,
    /// It starts programs as the user of the start, which are to have all of that
    /// user's rights.
    pub programs: bool,
    /// How long a planned stop takes at most, milliseconds.
    pub stop_ms: u64,
    /// The network namespace of the files (`net_namespace`), by its name.
    pub namespace: Option<String>,
    /// What machines must agree on among themselves (router ids, priorities, timers) is
    /// not as in the version before: they change at once or quarrel.
    pub together: bool,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::role::{Decoded, Load, Message, Plan, Take};

    fn plan() -> AddressPlan {
        AddressPlan {
            alone: true,
            instances: 3,
            addresses: 9,
            capabilities: 1 << 12,
            programs: true,
            stop_ms: 2_000,
            namespace: Some("blue".to_owned()),
            together: true,
        }
    }

    #[test]
    fn a_plan_takes_its_addresses_along_in_whatever_it_is() {
        let with = Plan {
            addresses: Some(plan()),
            ..Plan::default()
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
            Message::Loaded(Box::new(with.clone())),
            Message::Take(Box::new(take.clone())),
            Message::Load(Box::new(load)),
        ] {
            let read = Message::decode(&message.encode(0, 0));
            assert_eq!(read, Ok(Decoded::Message(message)));
        }
        let kept = crate::role::Kept {
            take: take.clone(),
            ..crate::role::Kept::default()
        };
        assert_eq!(
            crate::role::Kept::decode(&kept.encode()).map(|one| one.0),
            Ok(kept)
        );
        let handed = crate::role::HandOver {
            take,
            ..crate::role::HandOver::default()
        };
        assert_eq!(crate::role::HandOver::decode(&handed.encode()), Ok(handed));
    }
}
