//! Who asked for a change. Requests that come while a change runs become one
//! more change, however many they are: the files may have been written again
//! since the one that runs read them.

use super::control::{Asker, Door};
use protocol::role::Look;

/// Requests.
#[derive(Debug, Default)]
pub struct Requests {
    /// Those who asked for the change that runs.
    running: Option<Vec<Asker>>,
    /// Those who asked since.
    next: Option<Vec<Asker>>,
}

impl Requests {
    /// Somebody asks; a signal has no asker.
    pub fn ask(&mut self, asker: Option<Asker>) {
        self.next.get_or_insert_default().extend(asker);
    }

    /// Whether somebody asked for a change that has not begun.
    pub fn is_asked(&self) -> bool {
        self.next.is_some()
    }

    /// Begins the next change, if one was asked for and none runs; those who
    /// asked for it.
    pub fn begin(&mut self) -> Option<&[Asker]> {
        if self.running.is_some() || self.next.is_none() {
            return None;
        }
        self.running = self.next.take();
        self.running.as_deref()
    }

    /// Those who asked for the change that runs.
    pub fn running(&self) -> &[Asker] {
        self.running.as_deref().unwrap_or_default()
    }

    /// What somebody at the control socket who waits for the next change asked for.
    pub fn asked_by(&self, id: u64) -> Option<Look> {
        let next = self.next.iter().flatten();
        next.filter(|asker| asker.at == Door::Control && asker.id == id)
            .find_map(|asker| asker.look)
    }

    /// The change that ran is over; those who are to be told.
    pub fn finish(&mut self) -> Vec<Asker> {
        self.running.take().unwrap_or_default()
    }

    /// Everyone who still waits, when there will be no change any more.
    pub fn give_up(&mut self) -> Vec<Asker> {
        let mut all = self.finish();
        all.extend(self.next.take().unwrap_or_default());
        all
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_during_a_change_become_one_more() {
        let mut requests = Requests::default();
        assert!(requests.begin().is_none());
        requests.ask(None);
        assert!(requests.begin().is_some());
        for _ in 0..5 {
            requests.ask(None);
            assert!(requests.begin().is_none(), "one runs");
        }
        requests.finish();
        assert!(requests.begin().is_some());
        requests.finish();
        assert!(requests.begin().is_none());
    }

    #[test]
    fn every_asker_is_told_once() {
        let mut requests = Requests::default();
        let asker = |id| {
            Some(Asker {
                id,
                at: Door::Control,
                look: None,
            })
        };
        requests.ask(asker(1));
        requests.begin();
        requests.ask(asker(2));
        requests.ask(asker(3));
        let told: Vec<u64> = requests.finish().iter().map(|asker| asker.id).collect();
        assert_eq!(told, [1]);
        let told: Vec<u64> = requests.give_up().iter().map(|asker| asker.id).collect();
        assert_eq!(told, [2, 3]);
    }
}
