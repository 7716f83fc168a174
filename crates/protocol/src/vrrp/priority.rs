//! Computes the priority that a virtual router announces: the configured one with the weights of
//! tracked objects, or one in the [`OwnershipLimits`] that the driver decides; and whether the
//! router may preempt a live owner.

use super::Settings;

/// Priority of a router that owns the addresses (RFC 9568, 6.1).
pub(super) const OWNER: u8 = 255;

/// Limits on what a virtual router may announce and own, as decided by its driver. They
/// replace the configured priority and [`Settings::preempt`].
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct OwnershipLimits {
    /// Priority to announce in place of the configured one; None: the configured one.
    pub priority: Option<u8>,
    /// The router takes the addresses from a live owner that announces a priority below this, if
    /// that is also below the router's own priority.
    pub takes_below: u8,
    /// Priorities of owners from which the router takes the addresses as well, even after a
    /// hand-over to them.
    pub takes_also: Vec<u8>,
    /// A router with [`Settings::probing`] does not take the addresses while another machine
    /// responds for one of them. As master it releases all of them, even to a machine whose
    /// adverts it rejects.
    pub yields_to_users: bool,
}

/// Values that change the priority.
#[derive(Clone, Debug, Default)]
pub(super) struct PriorityInputs {
    /// Priority with all weights; None: as configured.
    pub effective: Option<u8>,
    /// Limits that the driver decided; None: as configured.
    pub standing: Option<OwnershipLimits>,
    /// Another machine also claims to be the address owner, so this router announces a lower
    /// priority.
    pub reduced: bool,
}

impl PriorityInputs {
    pub(super) fn priority(&self, settings: &Settings) -> u8 {
        if settings.priority == OWNER {
            return if self.reduced { OWNER - 1 } else { OWNER };
        }
        let tracked = self
            .effective
            .unwrap_or(settings.priority)
            .clamp(1, OWNER - 1);
        let standing = self.standing.as_ref();
        let Some(base) = standing.and_then(|standing| standing.priority) else {
            return tracked;
        };
        let sum = i32::from(base) + i32::from(tracked) - i32::from(settings.priority);
        u8::try_from(sum.clamp(1, i32::from(OWNER) - 1)).unwrap_or(1)
    }

    /// Returns whether the addresses may be taken from a live owner that announces this
    /// lower priority.
    pub(super) fn may_preempt(&self, settings: &Settings, owner: u8) -> bool {
        match &self.standing {
            None => settings.preempt,
            Some(standing) => owner < standing.takes_below || self.is_listed(owner),
        }
    }

    /// Returns whether all addresses are left to another machine that responds for one of them.
    pub(super) fn yields_to_users(&self) -> bool {
        let standing = self.standing.as_ref();
        standing.is_some_and(|standing| standing.yields_to_users)
    }

    pub(super) fn is_listed(&self, owner: u8) -> bool {
        let standing = self.standing.as_ref();
        standing.is_some_and(|standing| standing.takes_also.contains(&owner))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::vrrp::simulation::plain_settings;

    fn inputs(standing: OwnershipLimits) -> PriorityInputs {
        PriorityInputs {
            standing: Some(standing),
            ..PriorityInputs::default()
        }
    }

    #[test]
    fn standing_replaces_preempt_and_priority() {
        let settings = Settings {
            preempt: true,
            ..plain_settings()
        };
        assert!(PriorityInputs::default().may_preempt(&settings, 99));
        let standing = inputs(OwnershipLimits {
            priority: Some(220),
            takes_below: 80,
            takes_also: vec![210],
            yields_to_users: false,
        });
        assert_eq!(standing.priority(&settings), 220);
        for (owner, takes) in [
            (60, true),
            (79, true),
            (80, false),
            (140, false),
            (210, true),
        ] {
            assert_eq!(standing.may_preempt(&settings, owner), takes, "{owner}");
        }
        assert!(!inputs(OwnershipLimits::default()).may_preempt(&settings, 1));
        assert_eq!(inputs(OwnershipLimits::default()).priority(&settings), 100);
    }

    #[test]
    fn weights_move_a_standing_between_1_and_254() {
        let settings = Settings {
            priority: 220,
            ..plain_settings()
        };
        for (effective, base, announced) in [
            (200, 220, 200),
            (200, 60, 40),
            (1, 60, 1),
            (254, 220, 254),
            (0, 220, 1),
        ] {
            let inputs = PriorityInputs {
                effective: Some(effective),
                ..inputs(OwnershipLimits {
                    priority: Some(base),
                    ..OwnershipLimits::default()
                })
            };
            assert_eq!(inputs.priority(&settings), announced);
        }
    }
}
