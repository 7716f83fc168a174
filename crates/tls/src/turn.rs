//! Limits how many TLS handshakes continue in one turn of the event loop, because each computes
//! for half a millisecond or more. The others wait in a queue; established connections are not
//! delayed. Only the first in the queue checks in each turn, so thousands of waiting handshakes
//! cost nothing.

use reactor::{self, Instant};
use std::cell::RefCell;
use std::collections::VecDeque;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

/// Maximum number of handshakes that continue in one turn of the event loop, each after one read
/// from its peer.
const STEPS_MAX: u32 = 4;

struct Queue {
    /// Start time of the current turn of the event loop.
    turn: Instant,
    steps: u32,
    next: u64,
    /// Waiting handshakes, each with its position number. The first one has always been woken.
    waiting: VecDeque<(u64, Waker)>,
}

thread_local! {
    static QUEUE: RefCell<Queue> = const {
        RefCell::new(Queue {
            turn: Instant::from_nanos(0),
            steps: 0,
            next: 0,
            waiting: VecDeque::new(),
        })
    };
}

/// Waits until a handshake may continue. Called before memory for the handshake is allocated, so
/// that waiting handshakes use none.
pub(super) fn wait() -> impl Future<Output = ()> {
    Wait { number: None }
}

pub(super) fn return_slot() {
    QUEUE.with_borrow_mut(|queue| queue.steps = queue.steps.saturating_sub(1));
}

struct Wait {
    /// Position number, while the handshake is in the queue.
    number: Option<u64>,
}

impl Future for Wait {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        QUEUE.with_borrow_mut(|queue| match self.number {
            None if queue.waiting.is_empty() && queue.step() => Poll::Ready(()),
            None => {
                self.number = Some(queue.enter(context.waker()));
                Poll::Pending
            }
            Some(number) => {
                let is_first = queue.waiting.front().is_some_and(|(at, _)| *at == number);
                if is_first && queue.step() {
                    self.number = None;
                    queue.leave(number);
                    return Poll::Ready(());
                }
                queue.stay(number, context.waker());
                Poll::Pending
            }
        })
    }
}

impl Drop for Wait {
    fn drop(&mut self) {
        if let Some(number) = self.number {
            // Ignores the error: the thread is ending if there is no queue.
            let _ = QUEUE.try_with(|queue| queue.borrow_mut().leave(number));
        }
    }
}

impl Queue {
    /// Returns whether another handshake may continue in this turn, and counts it.
    fn step(&mut self) -> bool {
        let now = reactor::now();
        if self.turn != now {
            (self.turn, self.steps) = (now, 0);
        }
        let may = self.steps < STEPS_MAX;
        self.steps += u32::from(may);
        may
    }

    fn place(&self, number: u64) -> Option<usize> {
        self.waiting
            .binary_search_by_key(&number, |(at, _)| *at)
            .ok()
    }

    fn wake_first(&self) {
        if let Some((_, waker)) = self.waiting.front() {
            waker.wake_by_ref();
        }
    }

    fn enter(&mut self, waker: &Waker) -> u64 {
        let number = self.next;
        self.next += 1;
        self.waiting.push_back((number, waker.clone()));
        if self.waiting.len() == 1 {
            self.wake_first();
        }
        number
    }

    /// Keeps a handshake in the queue. The first one checks again in the next turn.
    fn stay(&mut self, number: u64, waker: &Waker) {
        let Some(place) = self.place(number) else {
            return;
        };
        if !self.waiting[place].1.will_wake(waker) {
            self.waiting[place].1 = waker.clone();
        }
        if place == 0 {
            self.wake_first();
        }
    }

    /// Removes a handshake from the queue, and wakes the new first one.
    fn leave(&mut self, number: u64) {
        let Some(place) = self.place(number) else {
            return;
        };
        self.waiting.remove(place);
        if place == 0 {
            self.wake_first();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use reactor::testing::{on_loop, turn};
    use std::future::poll_fn;
    use std::pin::pin;
    use std::rc::Rc;

    async fn begin(wait: &mut (impl Future<Output = ()> + Unpin)) {
        poll_fn(|context| {
            assert!(Pin::new(&mut *wait).poll(context).is_pending());
            Poll::Ready(())
        })
        .await;
    }

    #[test]
    fn waiters_continue_in_order_a_few_per_turn() {
        const ALL: u32 = 50;
        let went = on_loop(|| async {
            let went = Rc::new(RefCell::new(Vec::new()));
            for number in 0..ALL {
                let went = Rc::clone(&went);
                reactor::spawn(async move {
                    wait().await;
                    went.borrow_mut().push((number, reactor::now()));
                });
            }
            while went.borrow().len() < ALL as usize {
                turn().await;
            }
            went.take()
        });
        assert!(went.iter().map(|(number, _)| *number).eq(0..ALL));
        let most = STEPS_MAX as usize;
        assert!(went.windows(most + 1).all(|few| few[0].1 < few[most].1));
    }

    #[test]
    fn cancelled_waiter_delays_nobody() {
        on_loop(|| async {
            turn().await;
            for _ in 0..STEPS_MAX {
                wait().await;
            }
            let (mut first, mut second) = (Box::pin(wait()), Box::pin(wait()));
            begin(&mut first).await;
            begin(&mut second).await;
            let last = pin!(wait());
            drop(second);
            drop(first);
            last.await;
            QUEUE.with_borrow(|queue| assert!(queue.waiting.is_empty()));
        });
    }

    #[test]
    fn unused_step_passes_to_the_next_waiter() {
        on_loop(|| async {
            turn().await;
            let began = reactor::now();
            for _ in 0..10 * STEPS_MAX {
                wait().await;
                return_slot();
            }
            assert_eq!(reactor::now(), began);
        });
    }
}
