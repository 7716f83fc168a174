//! Lists the senders of dropped VRRP packets, with the reason, for the status output.

use super::Time;
use super::hearing::Dropped;
use std::net::IpAddr;

/// Maximum number of remembered senders. Beyond it, the one whose last packet is oldest is
/// dropped.
const SENDERS_MAX: usize = 8;

/// Dropped packets of one sender.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Rejected {
    pub from: IpAddr,
    pub count: u64,
    pub last_at: Time,
    pub why: String,
}

#[derive(Clone, Debug, Default)]
pub(super) struct Rejections(Vec<(IpAddr, u64, Time, Dropped)>);

impl Rejections {
    pub(super) fn add(&mut self, now: Time, from: IpAddr, why: Dropped) {
        let count = match self.0.iter().position(|(known, ..)| *known == from) {
            Some(at) => self.0.remove(at).1,
            None => 0,
        };
        if self.0.len() >= SENDERS_MAX {
            self.0.remove(0);
        }
        self.0.push((from, count.saturating_add(1), now, why));
    }

    pub(super) fn list(&self) -> Vec<Rejected> {
        let told = |(from, count, last_at, why): &(IpAddr, u64, Time, Dropped)| Rejected {
            from: *from,
            count: *count,
            last_at: *last_at,
            why: why.to_string(),
        };
        self.0.iter().map(told).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_sender_is_counted_and_the_oldest_is_forgotten() {
        let mut all = Rejections::default();
        let from = |n: u8| IpAddr::from([192, 0, 2, n]);
        all.add(Time(1), from(1), Dropped::Ttl(64));
        all.add(Time(2), from(1), Dropped::Stranger);
        let told = all.list();
        assert_eq!(told.len(), 1);
        assert_eq!((told[0].count, told[0].last_at), (2, Time(2)));
        assert_eq!(told[0].why, "the sender is not a configured peer");
        for n in 2..=SENDERS_MAX as u8 {
            all.add(Time(3), from(n), Dropped::Ttl(1));
        }
        assert_eq!(all.list().len(), SENDERS_MAX);
        all.add(Time(4), from(1), Dropped::Ttl(1));
        all.add(Time(5), from(100), Dropped::Ttl(1));
        let told = all.list();
        assert_eq!(told.len(), SENDERS_MAX);
        assert!(told.iter().all(|one| one.from != from(2)));
        assert_eq!(told[SENDERS_MAX - 2].count, 3);
    }
}
