//! Queues announcements to neighbours: gratuitous ARPs and unsolicited neighbour advertisements.
//! Does no I/O; the event loop sends the frames that [`Announcer::due`] returns.
//!
//! Announcements with a common rate limit (`garp_group`, `vrrp_garp_interval`) share a queue.
//! However many addresses there are, at most [`BURST`] frames are sent per turn.

use protocol::vrrp::Time;
use std::collections::{BTreeMap, VecDeque};
use std::net::IpAddr;
use std::time::Duration;

/// Maximum number of frames sent in one turn of the loop.
const BURST: usize = 128;

/// Pause before the next burst.
const BREATH: Duration = Duration::from_millis(1);

/// Maximum number of waiting frames per queue; further ones are dropped and counted.
const MAX_WAITING: usize = 8192;

#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Announcement {
    pub instance: usize,
    pub interface: u32,
    pub address: IpAddr,
    pub frame: Vec<u8>,
}

/// Queue of announcements that share a rate limit.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum AnnounceQueue {
    /// Interfaces of a `garp_group`, by the index of the group.
    Group(usize),
    /// A single interface, by its index.
    Interface(u32),
}

#[derive(Debug, Default)]
struct AnnouncementQueue {
    queue: VecDeque<Announcement>,
    arp_interval: Duration,
    na_interval: Duration,
    next_at: Time,
}

/// Announcements that wait to be sent. Each queue has its own rate limit and a bound, beyond which
/// frames are dropped and counted. The caller sends the frames of [`Announcer::due`] at
/// [`Announcer::deadline`].
#[derive(Debug, Default)]
pub struct Announcer {
    lines: BTreeMap<AnnounceQueue, AnnouncementQueue>,
    dropped: u64,
}

impl Announcer {
    pub fn push(
        &mut self,
        line: AnnounceQueue,
        intervals: (Duration, Duration),
        what: Announcement,
    ) {
        let waiting = self.lines.entry(line).or_default();
        (waiting.arp_interval, waiting.na_interval) = intervals;
        if waiting.queue.len() >= MAX_WAITING {
            self.dropped += 1;
            return;
        }
        waiting.queue.push_back(what);
    }

    /// Returns the number of frames dropped since the last call.
    pub fn dropped(&mut self) -> u64 {
        std::mem::take(&mut self.dropped)
    }

    /// Removes the announcements of an instance that released its addresses.
    pub fn cancel(&mut self, instance: usize) {
        for waiting in self.lines.values_mut() {
            waiting.queue.retain(|a| a.instance != instance);
        }
    }

    pub fn clear(&mut self) {
        self.lines.clear();
    }

    pub fn deadline(&self) -> Option<Time> {
        let waits = |w: &&AnnouncementQueue| !w.queue.is_empty();
        self.lines.values().filter(waits).map(|w| w.next_at).min()
    }

    pub fn due(&mut self, now: Time) -> Vec<Announcement> {
        let mut due = Vec::new();
        for waiting in self.lines.values_mut() {
            while waiting.next_at <= now {
                let Some(next) = waiting.queue.pop_front() else {
                    break;
                };
                let interval = if next.address.is_ipv6() {
                    waiting.na_interval
                } else {
                    waiting.arp_interval
                };
                due.push(next);
                if !interval.is_zero() {
                    waiting.next_at = now.after(interval);
                } else if due.len() >= BURST {
                    waiting.next_at = now.after(BREATH);
                }
            }
        }
        self.lines
            .retain(|_, w| !w.queue.is_empty() || w.next_at > now);
        due
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(instance: usize, last: u8) -> Announcement {
        Announcement {
            instance,
            interface: 2,
            address: IpAddr::from([10, 0, 0, last]),
            frame: vec![last],
        }
    }

    fn at(ms: u64) -> Time {
        Time(ms * 1_000_000)
    }

    const NONE: (Duration, Duration) = (Duration::ZERO, Duration::ZERO);

    #[test]
    fn without_an_interval_they_leave_at_once_but_never_as_a_flood() {
        let mut announcer = Announcer::default();
        for n in 0..300 {
            announcer.push(AnnounceQueue::Interface(2), NONE, of(0, n as u8));
        }
        assert_eq!(announcer.due(at(0)).len(), BURST);
        assert_eq!(announcer.due(at(0)), []);
        assert_eq!(announcer.deadline(), Some(at(1)));
        assert_eq!(announcer.due(at(1)).len(), BURST);
        assert_eq!(announcer.due(at(2)).len(), 300 - 2 * BURST);
        assert_eq!(announcer.deadline(), None);
    }

    #[test]
    fn interfaces_of_a_group_wait_for_each_other_and_others_do_not() {
        let mut announcer = Announcer::default();
        let paced = (Duration::from_millis(10), Duration::ZERO);
        announcer.push(AnnounceQueue::Group(0), paced, of(0, 1));
        announcer.push(AnnounceQueue::Group(0), paced, of(0, 2));
        announcer.push(AnnounceQueue::Interface(9), NONE, of(1, 3));
        let lasts = |due: Vec<Announcement>| due.iter().map(|a| a.frame[0]).collect::<Vec<_>>();
        assert_eq!(lasts(announcer.due(at(0))), [1, 3]);
        assert_eq!(lasts(announcer.due(at(9))), [0u8; 0]);
        assert_eq!(lasts(announcer.due(at(10))), [2]);
    }

    #[test]
    fn what_was_given_away_is_not_announced_and_too_many_are_counted() {
        let mut announcer = Announcer::default();
        for _ in 0..=MAX_WAITING {
            announcer.push(AnnounceQueue::Interface(2), NONE, of(0, 1));
        }
        assert_eq!(announcer.dropped(), 1);
        announcer.cancel(0);
        assert_eq!(announcer.due(at(0)), []);
        assert_eq!(announcer.deadline(), None);
    }
}
