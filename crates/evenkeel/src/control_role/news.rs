//! Queues the unrequested messages for the control role ([`News`]) in their order.
//!
//! A message that makes a queued one obsolete replaces it in its position. Requests and states have
//! separate limits; a message beyond its limit is returned to the caller, who refuses requests with
//! a response.

use cluster::machine::News;
use part::lock;
use std::collections::VecDeque;
use std::sync::Mutex;
use tokio::sync::Notify;

const REQUESTS_MAX: usize = 192;
const STATES_MAX: usize = 64;

#[derive(Default)]
pub struct NewsQueue {
    pending: Mutex<VecDeque<News>>,
    is_ready: Notify,
}

impl NewsQueue {
    /// Adds a message, or replaces the queued message that it makes obsolete.
    ///
    /// # Errors
    /// Returns the message if its kind, requests or states, has reached its limit.
    pub fn push(&self, news: News) -> Result<(), News> {
        {
            let pending = &mut *lock(&self.pending);
            if let News::WantsLeases { part, leases } = &news
                && leases.is_empty()
            {
                // Removes queued heartbeats of a part that has ended: its next process may be a
                // program version that sends none.
                pending.retain(|one| !matches!(one, News::Heartbeat { part: of } if of == part));
            }
            if let Some(old) = pending.iter_mut().find(|old| replaces(&news, old)) {
                *old = news;
            } else {
                let alike = pending
                    .iter()
                    .filter(|one| is_request(one) == is_request(&news));
                let most = if is_request(&news) {
                    REQUESTS_MAX
                } else {
                    STATES_MAX
                };
                if alike.count() >= most {
                    return Err(news);
                }
                pending.push_back(news);
            }
        }
        self.is_ready.notify_one();
        Ok(())
    }

    /// Waits for the next message and removes it from the queue. Only one task at a time may wait.
    pub async fn next(&self) -> News {
        loop {
            if let Some(news) = lock(&self.pending).pop_front() {
                return news;
            }
            self.is_ready.notified().await;
        }
    }
}

fn is_request(news: &News) -> bool {
    matches!(
        news,
        News::Records { .. } | News::Reports { .. } | News::Versions { .. }
    )
}

fn replaces(new: &News, old: &News) -> bool {
    match (new, old) {
        (News::WantsLeases { part: new, .. }, News::WantsLeases { part: old, .. })
        | (News::Heartbeat { part: new }, News::Heartbeat { part: old }) => new == old,
        (News::WentBack { .. }, News::WentBack { .. })
        | (News::Connected, News::Connected)
        | (News::Stop, News::Stop) => true,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use part::role::WantedLease;

    fn wants(part: &str, rank: u32) -> News {
        let lease = WantedLease {
            name: format!("{part}/www"),
            rank,
            ..WantedLease::default()
        };
        News::WantsLeases {
            part: part.to_owned(),
            leases: vec![lease],
        }
    }

    fn waiting(queue: &NewsQueue) -> Vec<String> {
        let pending = lock(&queue.pending);
        let shown = |news: &News| match news {
            News::WantsLeases { part, leases } => {
                let ranks: Vec<u32> = leases.iter().map(|lease| lease.rank).collect();
                format!("{part} wants {ranks:?}")
            }
            News::Heartbeat { part } => format!("{part} lives"),
            other => format!("{other:?}"),
        };
        pending.iter().map(shown).collect()
    }

    #[test]
    fn only_the_newest_state_of_a_part_is_queued() {
        let queue = NewsQueue::default();
        for rank in 0..10_000 {
            queue.push(wants("address", rank)).unwrap();
            let part = "address".to_owned();
            queue.push(News::Heartbeat { part }).unwrap();
            queue.push(News::Connected).unwrap();
        }
        queue.push(wants("volume", 7)).unwrap();
        queue.push(News::Stop).unwrap();
        let expected = [
            "address wants [9999]",
            "address lives",
            "Connected",
            "volume wants [7]",
            "Stop",
        ];
        assert_eq!(waiting(&queue), expected);
        // A part that wants no leases has no queued heartbeats either.
        let (part, leases) = ("address".to_owned(), Vec::new());
        queue.push(News::WantsLeases { part, leases }).unwrap();
        assert_eq!(waiting(&queue)[..2], ["address wants []", "Connected"]);
    }

    #[test]
    fn requests_are_refused_and_leave_room_for_states() {
        let queue = NewsQueue::default();
        let accepted = (0..1_000).filter(|ask| queue.push(News::Reports { ask: *ask }).is_ok());
        assert_eq!(accepted.count(), REQUESTS_MAX);
        queue.push(wants("address", 1)).unwrap();
        queue.push(News::Stop).unwrap();
        let accepted = (0..1_000).filter(|at| queue.push(wants(&at.to_string(), 1)).is_ok());
        assert_eq!(accepted.count(), STATES_MAX - 2);
    }

    #[tokio::test]
    async fn messages_are_received_in_their_order() {
        let queue = NewsQueue::default();
        queue.push(wants("address", 1)).unwrap();
        queue.push(News::Stop).unwrap();
        assert!(matches!(queue.next().await, News::WantsLeases { .. }));
        assert!(matches!(queue.next().await, News::Stop));
    }
}
