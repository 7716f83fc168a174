//! Collects reload requests. All requests that arrive during a reload are served by one more
//! reload, because the files may have changed since the running one read them.

use crate::control::{Asker, RequestInterface};

const ASKERS_MAX: usize = 256;

/// Reload requests: those of the reload in progress, and those that arrived since it began. A
/// reload is given up when none of its requesters waits any longer, unless one of them was a
/// signal, a file change or a master socket, which never wait.
#[derive(Debug, Default)]
pub struct Requests {
    running: Option<Request>,
    next: Option<Request>,
}

#[derive(Debug, Default)]
struct Request {
    askers: Vec<Asker>,
    /// True if a requester does not wait for the result, such as a signal or a file change.
    standing: bool,
}

impl Requests {
    /// Adds a reload request; `asker` is None for a request without a client, such as a signal.
    pub fn ask(&mut self, asker: Option<Asker>) {
        let next = self.next.get_or_insert_default();
        match asker {
            // A request on the master socket counts like a signal: scripts disconnect before the
            // reload is over, which must not abort it.
            None => next.standing = true,
            Some(asker) => {
                next.standing |= asker.at == RequestInterface::Master;
                if next.askers.len() < ASKERS_MAX {
                    next.askers.push(asker);
                } else {
                    next.standing = true;
                }
            }
        }
    }

    /// Removes disconnected clients. Returns whether the reload in progress has no requester left.
    /// A pending reload without requesters is dropped.
    pub fn forget(&mut self, waits: impl Fn(&Asker) -> bool) -> bool {
        for request in self.running.iter_mut().chain(&mut self.next) {
            request.askers.retain(&waits);
        }
        let unwanted = |request: &Request| !request.standing && request.askers.is_empty();
        drop(self.next.take_if(|next| unwanted(next)));
        self.running.as_ref().is_some_and(unwanted)
    }

    pub fn is_asked(&self) -> bool {
        self.next.is_some()
    }

    /// Starts the pending reload, if there is one and none is in progress. Returns its requesters.
    pub fn begin(&mut self) -> Option<&[Asker]> {
        if self.running.is_some() || self.next.is_none() {
            return None;
        }
        self.running = self.next.take();
        self.running.as_ref().map(|running| &*running.askers)
    }

    pub fn running(&self) -> &[Asker] {
        self.running.as_ref().map_or(&[], |running| &running.askers)
    }

    pub fn waiting(&self) -> &[Asker] {
        self.next.as_ref().map_or(&[], |next| &next.askers)
    }

    /// Ends the reload in progress. Returns the requesters that must get the result.
    pub fn finish(&mut self) -> Vec<Asker> {
        self.running.take().map_or_else(Vec::new, |one| one.askers)
    }

    /// Removes and returns all requesters, because there will be no further reload.
    pub fn give_up(&mut self) -> Vec<Asker> {
        let mut all = self.finish();
        all.extend(self.next.take().unwrap_or_default().askers);
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
    fn every_requester_gets_one_result() {
        let mut requests = Requests::default();
        let asker = |id| {
            Some(Asker {
                id,
                at: RequestInterface::Control,
                look: None,
                fresh: false,
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

    #[test]
    fn change_is_needed_while_a_client_waits_or_after_a_signal() {
        let asker = |id, at| {
            Some(Asker {
                id,
                at,
                look: None,
                fresh: false,
            })
        };
        for (asked, wanted) in [
            (vec![asker(1, RequestInterface::Control)], false),
            (
                vec![
                    asker(1, RequestInterface::Control),
                    asker(2, RequestInterface::Control),
                ],
                true,
            ),
            (vec![asker(1, RequestInterface::Control), None], true),
            (vec![asker(1, RequestInterface::Master)], true),
        ] {
            let mut requests = Requests::default();
            for asker in &asked {
                requests.ask(asker.clone());
            }
            requests.begin();
            let waits = |asker: &Asker| asker.id != 1;
            assert_eq!(requests.forget(waits), !wanted, "{asked:?}");
            for asker in asked.clone() {
                requests.ask(asker);
            }
            requests.finish();
            requests.forget(waits);
            assert_eq!(requests.begin().is_some(), wanted, "{asked:?}");
        }
    }

    #[test]
    fn pending_requests_are_bounded() {
        let mut requests = Requests::default();
        for id in 0..10 * ASKERS_MAX as u64 {
            requests.ask(Some(Asker {
                id,
                at: RequestInterface::Master,
                look: None,
                fresh: false,
            }));
        }
        requests.begin();
        assert_eq!(requests.finish().len(), ASKERS_MAX);
    }
}
