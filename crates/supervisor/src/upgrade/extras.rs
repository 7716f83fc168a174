//! Hands over the supervisor's state besides the roles from one program image to the next: the
//! carried state, the heartbeat memory, master sockets and sessions, counters, trace rings and
//! levels, and unsent notifications to the service manager.
//!
//! Unknown items are dropped; missing items start empty.

use crate::control::{Asker, RequestInterface};
use crate::handed::number;
use crate::master::Master;
use crate::resumed::Resumed;
use crate::state::{Changes, Supervisor};
use crate::trace_levels;
use part::role::{EXTRAS_MAX, HandedExtra};
use std::time::{Duration, Instant};

const STATE: &str = "state";
const VITALS: &str = "vitals";
const COUNTED: &str = "counted";

const UNSENT: &str = "unsent";

/// Counters of the supervisor. Later programs add fields at the end.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Counted {
    age_ms: u64,
    changes: Changes,
    told_ready: bool,
}

impl Counted {
    fn encode(self) -> Vec<u8> {
        let numbers = [
            self.age_ms,
            self.changes.asked,
            self.changes.failed,
            self.told_ready.into(),
        ];
        numbers.iter().flat_map(|one| one.to_le_bytes()).collect()
    }

    fn decode(bytes: &[u8]) -> Option<Counted> {
        let mut numbers = bytes.chunks_exact(size_of::<u64>());
        let mut next = || Some(u64::from_le_bytes(numbers.next()?.try_into().ok()?));
        Some(Counted {
            age_ms: next()?,
            changes: Changes {
                asked: next()?,
                failed: next()?,
            },
            told_ready: next()? != 0,
        })
    }
}

impl Supervisor {
    pub(super) fn extras(&self) -> Vec<HandedExtra> {
        let state = self.carried.state.iter().map(|fd| HandedExtra {
            name: STATE.to_owned(),
            descriptor: Some(number(&**fd)),
            bytes: Vec::new(),
        });
        let age = self.process.since.elapsed().as_millis();
        let counted = Counted {
            age_ms: u64::try_from(age).unwrap_or(u64::MAX),
            changes: self.changing.counts,
            told_ready: self.interfaces.notify.is_ready(),
        };
        let counted = HandedExtra {
            name: COUNTED.to_owned(),
            descriptor: None,
            bytes: counted.encode(),
        };
        let master = self.interfaces.master.iter().flat_map(Master::hand_over);
        let vitals = self.pulses.file().map(|fd| HandedExtra {
            name: VITALS.to_owned(),
            descriptor: Some(number(&**fd)),
            bytes: Vec::new(),
        });
        let unsent = HandedExtra {
            name: UNSENT.to_owned(),
            descriptor: None,
            bytes: self.interfaces.notify.hand_over(),
        };
        let all = state.chain([counted, unsent]).chain(vitals).chain(master);
        let all = all.chain(trace_levels::trace_extras());
        all.take(EXTRAS_MAX).collect()
    }

    pub(super) fn resume_extras(&mut self, extras: &[HandedExtra], left: &mut Resumed) {
        let mut master = Master::default();
        for extra in extras {
            let fd = extra.descriptor.and_then(|number| left.take(number).ok());
            match (&*extra.name, fd) {
                (COUNTED, _) => self.resume_counted(&extra.bytes),
                (trace_levels::LEVELS, _) => trace_levels::resume_levels(&extra.bytes),
                (trace_levels::RING, Some(fd)) => {
                    trace_levels::resume_ring(&extra.bytes, fd.into())
                }
                (UNSENT, _) => self.interfaces.notify.take_over(&extra.bytes),
                (STATE, Some(fd)) => self.carried.state = Some(fd.into()),
                (VITALS, Some(fd)) => self.pulses.resume(fd.into()),
                (_, Some(fd)) => {
                    if let Some(id) = master.resume(extra, fd) {
                        self.changing.requests.ask(Some(Asker {
                            id,
                            at: RequestInterface::Master,
                            look: None,
                            fresh: false,
                        }));
                    }
                }
                (_, None) => {}
            }
        }
        // Without sockets from the previous image, which may be of an older program, they are
        // opened again.
        self.interfaces.master = master.is_open().then_some(master);
    }

    fn resume_counted(&mut self, bytes: &[u8]) {
        let Some(counted) = Counted::decode(bytes) else {
            return;
        };
        let age = Duration::from_millis(counted.age_ms);
        self.process.since = Instant::now()
            .checked_sub(age)
            .unwrap_or(self.process.since);
        self.changing.counts = counted.changes;
        if counted.told_ready {
            self.interfaces.notify.resume();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counters_survive_an_upgrade_and_unknown_ones_are_ignored() {
        let counted = Counted {
            age_ms: 90_000,
            changes: Changes {
                asked: 7,
                failed: 2,
            },
            told_ready: true,
        };
        let mut bytes = counted.encode();
        assert_eq!(Counted::decode(&bytes), Some(counted));
        bytes.extend([1, 2, 3, 4, 5, 6, 7, 8, 9]);
        assert_eq!(Counted::decode(&bytes), Some(counted));
        assert_eq!(Counted::decode(&bytes[..31]), None);
    }
}
