//! Decides with a seed what happens to frames on the way: which are lost, late, duplicated or out
//! of order. The module uses neither a clock nor a socket, so that it can be tested by itself.

use crate::Random;
use std::time::Duration;

/// Effect of a cable on frames. Each way has its own sequence of decisions, and the same frames in
/// the same order meet the same fate under the same seed.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Weather {
    /// Share of lost frames, 0 to 1.
    pub loss: f64,
    pub delay: Duration,
    /// Maximum additional random delay. Delayed frames keep their order.
    pub jitter: Duration,
    /// Share of duplicated frames, 0 to 1.
    pub duplicate: f64,
    /// Share of frames that later ones overtake: held back for the delay again, and at least 2 ms.
    pub reorder: f64,
    pub seed: u64,
}

impl Default for Weather {
    fn default() -> Self {
        Weather::FINE
    }
}

impl Weather {
    pub const FINE: Weather = Weather {
        loss: 0.0,
        delay: Duration::ZERO,
        jitter: Duration::ZERO,
        duplicate: 0.0,
        reorder: 0.0,
        seed: 1,
    };

    pub fn lossy(loss: f64, seed: u64) -> Self {
        Weather {
            loss,
            seed,
            ..Weather::FINE
        }
    }

    pub fn slow(delay: Duration) -> Self {
        Weather {
            delay,
            ..Weather::FINE
        }
    }
}

const HELD_MIN: Duration = Duration::from_millis(2);

/// Fate of a frame: the delay of each copy that arrives.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Fate {
    Lost,
    Comes {
        after: Duration,
        /// The frame does not overtake frames that were sent before.
        in_order: bool,
        copies: usize,
    },
}

/// Random decisions for the frames of one direction.
#[derive(Clone, Debug)]
pub(crate) struct Dice(Random);

impl Dice {
    pub(crate) fn new(seed: u64, way: u64) -> Self {
        Dice(Random::new(seed.wrapping_mul(2).wrapping_add(way)))
    }

    /// Decides the fate of the next frame. Every call draws the same number of random values, so
    /// that a setting of one effect does not change the decisions about others.
    pub(crate) fn fate(&mut self, weather: &Weather) -> Fate {
        let [lost, late, twice, overtaken] = [(); 4].map(|()| self.0.share());
        if lost < weather.loss {
            return Fate::Lost;
        }
        let mut after = weather.delay + weather.jitter.mul_f64(late);
        let in_order = overtaken >= weather.reorder;
        if !in_order {
            after += weather.delay.max(HELD_MIN);
        }
        Fate::Comes {
            after,
            in_order,
            copies: if twice < weather.duplicate { 2 } else { 1 },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fates(weather: &Weather, way: u64) -> Vec<Fate> {
        let mut dice = Dice::new(weather.seed, way);
        (0..10_000).map(|_| dice.fate(weather)).collect()
    }

    #[test]
    fn seed_replays_and_each_direction_has_its_sequence() {
        let weather = Weather::lossy(0.5, 7);
        assert_eq!(fates(&weather, 0), fates(&weather, 0));
        assert_ne!(fates(&weather, 0), fates(&weather, 1));
        assert_ne!(fates(&weather, 0), fates(&Weather::lossy(0.5, 8), 0));
    }

    #[test]
    fn shares_are_as_requested() {
        let weather = Weather {
            loss: 0.25,
            duplicate: 0.1,
            reorder: 0.2,
            delay: Duration::from_millis(10),
            jitter: Duration::from_millis(4),
            seed: 3,
        };
        let fates = fates(&weather, 0);
        let lost = fates.iter().filter(|fate| **fate == Fate::Lost).count();
        assert!((2_300..2_700).contains(&lost), "{lost}");
        let (mut twice, mut overtaken) = (0, 0);
        for fate in &fates {
            if let Fate::Comes {
                after,
                in_order,
                copies,
            } = fate
            {
                twice += usize::from(*copies == 2);
                overtaken += usize::from(!in_order);
                let extra = Duration::from_millis(if *in_order { 0 } else { 10 });
                let bounds = Duration::from_millis(10)..=Duration::from_millis(14);
                assert!(bounds.contains(&(*after - extra)), "{after:?}");
            }
        }
        assert!((600..900).contains(&twice), "{twice}");
        assert!((1_300..1_700).contains(&overtaken), "{overtaken}");
    }

    #[test]
    fn frames_arrive_at_once_without_impairment() {
        let fine = Fate::Comes {
            after: Duration::ZERO,
            in_order: true,
            copies: 1,
        };
        assert!(fates(&Weather::FINE, 0).iter().all(|fate| *fate == fine));
    }
}
