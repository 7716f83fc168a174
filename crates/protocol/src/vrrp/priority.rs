//! The announced priority: the configured priority, tracked objects and the health band;
//! and whether the machine may preempt a live owner.

use super::Settings;
use std::cmp::Ordering;

/// The priority of an owner of the addresses.
pub(super) const OWNER: u8 = 255;
/// Priorities of one band of health: nodes at all places of `prefer` announce
/// 180 to 220 (healthy), 100 to 140 (some frontends cannot be served) or 20 to 60.
const BAND_WIDTH: u8 = 80;
/// The worst band.
const WORST_BAND: usize = 2;

/// The values that change the priority.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct PriorityInputs {
    /// With all weights; none: as configured.
    pub effective: Option<u8>,
    /// The band of health.
    pub band: usize,
    /// Another machine says that it owns the addresses, too.
    pub reduced: bool,
    /// Whether it must not preempt a live owner, however unhealthy that one is.
    pub held_back: bool,
}

impl PriorityInputs {
    /// The priority that is announced.
    pub(super) fn priority(&self, settings: &Settings) -> u8 {
        if settings.priority == OWNER {
            return if self.reduced { OWNER - 1 } else { OWNER };
        }
        let tracked = self
            .effective
            .unwrap_or(settings.priority)
            .clamp(1, OWNER - 1);
        let Some(bands) = settings.bands else {
            return tracked;
        };
        let base = bands.get(self.band.min(WORST_BAND)).copied();
        let base = i32::from(base.unwrap_or(tracked));
        let sum = base + i32::from(tracked) - i32::from(settings.priority);
        u8::try_from(sum.clamp(1, i32::from(OWNER) - 1)).unwrap_or(1)
    }

    /// Whether its health and `nopreempt` let it take the addresses from an owner
    /// that announces this lower priority. When both are equally ill, the owner keeps.
    pub(super) fn may_preempt(&self, settings: &Settings, owner: u8) -> bool {
        if self.held_back {
            return false;
        }
        if settings.bands.is_none() {
            return settings.preempt;
        }
        match self.band.cmp(&band_of(owner)) {
            Ordering::Less => true,
            Ordering::Equal => self.band == 0 && settings.preempt,
            Ordering::Greater => false,
        }
    }
}

/// The band that a priority lies in, whatever the place of its node.
fn band_of(priority: u8) -> usize {
    match priority / BAND_WIDTH {
        0 => 2,
        1 => 1,
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::vrrp::simulation::plain_settings;

    fn node(place: u8) -> Settings {
        let bands = [220 - 10 * place, 140 - 10 * place, 60 - 10 * place];
        Settings {
            priority: bands[0],
            bands: Some(bands),
            ..plain_settings()
        }
    }

    #[test]
    fn every_place_of_prefer_announces_its_band_of_health() {
        for place in 0..5 {
            for band in 0..3 {
                let standing = PriorityInputs {
                    band,
                    ..PriorityInputs::default()
                };
                let announced = standing.priority(&node(place));
                assert_eq!(
                    band_of(announced),
                    band,
                    "place {place} announces {announced}"
                );
            }
        }
    }

    #[test]
    fn the_ill_never_take_from_the_equally_ill_and_always_from_the_worse() {
        let cases = [
            // Ours, the owner's priority, whether we take it.
            (0, 210, true),
            (0, 130, true),
            (1, 130, false),
            (1, 210, false),
            (1, 60, true),
            (2, 50, false),
            (2, 140, false),
        ];
        for (band, owner, takes) in cases {
            let standing = PriorityInputs {
                band,
                ..PriorityInputs::default()
            };
            assert_eq!(
                standing.may_preempt(&node(0), owner),
                takes,
                "{band} {owner}"
            );
        }
    }

    #[test]
    fn a_node_that_is_held_back_takes_from_nobody_who_lives() {
        let standing = PriorityInputs {
            held_back: true,
            ..PriorityInputs::default()
        };
        for owner in [20, 60, 130, 210] {
            assert!(!standing.may_preempt(&node(0), owner), "{owner}");
        }
    }

    #[test]
    fn a_node_that_does_not_preempt_takes_from_the_ill_only() {
        let settings = Settings {
            preempt: false,
            ..node(0)
        };
        let standing = PriorityInputs::default();
        assert!(!standing.may_preempt(&settings, 210));
        assert!(standing.may_preempt(&settings, 130));
    }

    #[test]
    fn weights_move_a_band_and_stay_between_1_and_254() {
        let settings = node(0);
        for (effective, band, announced) in [
            (200, 0, 200),
            (200, 2, 40),
            (1, 2, 1),
            (254, 0, 254),
            (0, 0, 1),
        ] {
            let standing = PriorityInputs {
                effective: Some(effective),
                band,
                reduced: false,
                ..PriorityInputs::default()
            };
            assert_eq!(standing.priority(&settings), announced);
        }
    }
}
