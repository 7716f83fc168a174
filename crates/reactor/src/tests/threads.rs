//! Tests wakes and jobs from one thread's event loop to another's.

use super::{ThreadIndex, on_loop, turn};
use crate::{
    Why, inject, load, run, set_end_condition, spawn, stop, tasks, thread, wake_some, yield_now,
};
use std::cell::Cell;
use std::future::poll_fn;
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::task::{Poll, Waker};

/// An event loop on its own thread, until dropped.
pub(super) struct EventLoopThread {
    pub(super) index: usize,
    thread: Option<std::thread::JoinHandle<()>>,
    _lease: ThreadIndex,
}

impl EventLoopThread {
    pub(super) fn new(init: impl FnOnce() + Send + 'static) -> EventLoopThread {
        let lease = ThreadIndex::default();
        let index = lease.0;
        let (ready, is_ready) = mpsc::channel();
        let thread = std::thread::spawn(move || {
            run(index, move || {
                init();
                ready.send(()).unwrap();
            })
            .unwrap();
        });
        is_ready.recv().unwrap();
        EventLoopThread {
            index,
            thread: Some(thread),
            _lease: lease,
        }
    }
}

impl Drop for EventLoopThread {
    fn drop(&mut self) {
        stop(self.index);
        if let Some(thread) = self.thread.take() {
            thread.join().unwrap();
        }
    }
}

/// A value and the task that waits for it.
#[derive(Default)]
struct Mailbox(Mutex<(u64, Option<Waker>)>);

impl Mailbox {
    fn put(&self, value: u64) {
        let waker = {
            let mut inner = self.0.lock().unwrap();
            inner.0 = value;
            inner.1.take()
        };
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    async fn wait_for(&self, value: u64) {
        poll_fn(|context| {
            let mut inner = self.0.lock().unwrap();
            if inner.0 >= value {
                return Poll::Ready(());
            }
            inner.1 = Some(context.waker().clone());
            Poll::Pending
        })
        .await;
    }
}

#[test]
fn no_wake_between_two_loops_is_lost() {
    const ROUNDS: u64 = 20_000;
    let (ping, pong) = (Arc::new(Mailbox::default()), Arc::new(Mailbox::default()));
    let (there, back) = (Arc::clone(&ping), Arc::clone(&pong));
    let other = EventLoopThread::new(move || {
        spawn(async move {
            for round in 1..=ROUNDS {
                there.wait_for(round).await;
                back.put(round);
            }
        });
    });
    on_loop(move || async move {
        for round in 1..=ROUNDS {
            ping.put(round);
            pong.wait_for(round).await;
        }
    });
    drop(other);
}

#[test]
fn wakes_from_a_plain_thread_race_with_falling_asleep() {
    let mailbox = Arc::new(Mailbox::default());
    let seen = Arc::new(Mailbox::default());
    let (copy, answer) = (Arc::clone(&mailbox), Arc::clone(&seen));
    let sender = std::thread::spawn(move || {
        for round in 1..=20_000 {
            copy.put(round);
            // Occasionally the event loop gets time to fall asleep; usually it does not.
            if round % 64 == 0 {
                while answer.0.lock().unwrap().0 < round {
                    std::thread::yield_now();
                }
            }
        }
    });
    on_loop(move || async move {
        for round in 1..=20_000 {
            mailbox.wait_for(round).await;
            seen.put(round);
        }
    });
    sender.join().unwrap();
}

#[test]
fn a_flood_of_wakes_reaches_every_task_in_bounded_memory() {
    const TASKS: usize = 6000; // more than the inbox holds
    let wakers = Arc::new(Mutex::new(Vec::<Waker>::new()));
    let open = Arc::new(AtomicBool::new(false));
    on_loop(move || async move {
        let left = Rc::new(Cell::new(TASKS));
        for _ in 0..TASKS {
            let (wakers, open, left) = (Arc::clone(&wakers), Arc::clone(&open), Rc::clone(&left));
            spawn(async move {
                let mut first = true;
                poll_fn(|context| {
                    if std::mem::replace(&mut first, false) {
                        wakers.lock().unwrap().push(context.waker().clone());
                        return Poll::Pending;
                    }
                    if open.load(Ordering::Relaxed) {
                        Poll::Ready(())
                    } else {
                        Poll::Pending
                    }
                })
                .await;
                left.set(left.get() - 1);
            });
        }
        while wakers.lock().unwrap().len() < TASKS {
            turn().await;
        }
        open.store(true, Ordering::Relaxed);
        // While this task waits for the thread, the event loop does not empty its inbox.
        let all = std::mem::take(&mut *wakers.lock().unwrap());
        std::thread::spawn(move || {
            for _ in 0..3 {
                all.iter().for_each(Waker::wake_by_ref);
            }
        })
        .join()
        .unwrap();
        while left.get() > 0 {
            turn().await;
        }
    });
}

#[test]
fn jobs_beyond_the_bound_are_given_back() {
    let ran = Arc::new(AtomicUsize::new(0));
    on_loop(move || async move {
        let here = thread();
        let mut taken = 0;
        let refused = loop {
            let count = Arc::clone(&ran);
            match inject(here, move || {
                count.fetch_add(1, Ordering::Relaxed);
            }) {
                Ok(()) => taken += 1,
                Err(refused) => break refused,
            }
        };
        assert_eq!(refused.why, Why::Full);
        assert!(load(here) >= taken);
        (refused.job)();
        turn().await;
        assert_eq!(ran.load(Ordering::Relaxed), taken + 1);
        assert_eq!(load(here), tasks());
    });
}

#[test]
fn jobs_that_a_loop_leaves_are_dropped_without_a_lock() {
    let other = EventLoopThread::new(|| ());
    let index = other.index;
    struct Talkative(usize, Waker);
    impl Drop for Talkative {
        fn drop(&mut self) {
            // The call would hang if the inbox were locked.
            assert!(inject(self.0, || ()).is_err());
            self.1.wake_by_ref();
        }
    }
    let (sender, receiver) = mpsc::channel();
    inject(index, move || {
        spawn(poll_fn(move |context| {
            let talkative = Talkative(index, context.waker().clone());
            stop(index);
            let _ = sender.send(());
            let _ = inject(index, move || {
                // Injected after this job, in the next round of the inbox.
                let _ = inject(index, move || drop(talkative));
            });
            Poll::Ready(())
        }));
    })
    .unwrap();
    receiver.recv().unwrap();
    drop(other);
}

#[test]
fn tasks_start_and_end_under_fire_of_stale_wakes() {
    let wakers = Arc::new(Mutex::new(Vec::<Waker>::new()));
    let done = Arc::new(AtomicBool::new(false));
    let (copy, end) = (Arc::clone(&wakers), Arc::clone(&done));
    let firing = std::thread::spawn(move || {
        while !end.load(Ordering::Relaxed) {
            let wakers = copy.lock().unwrap().clone();
            wakers.iter().for_each(Waker::wake_by_ref);
            std::thread::yield_now();
        }
    });
    on_loop(move || async move {
        for round in 0..2000 {
            let place = Arc::clone(&wakers);
            spawn(async move {
                let mut left = round % 4;
                poll_fn(|context| {
                    let mut wakers = place.lock().unwrap();
                    if wakers.len() >= 64 {
                        wakers.clear();
                    }
                    wakers.push(context.waker().clone());
                    if left == 0 {
                        return Poll::Ready(());
                    }
                    left -= 1;
                    context.waker().wake_by_ref();
                    Poll::Pending
                })
                .await;
            });
            if round % 16 == 0 {
                turn().await;
            }
        }
        while tasks() > 1 {
            turn().await;
        }
        done.store(true, Ordering::Relaxed);
    });
    firing.join().unwrap();
}

#[test]
fn ending_loop_runs_every_accepted_job() {
    static DONE: AtomicBool = AtomicBool::new(false);
    for _ in 0..50 {
        DONE.store(false, Ordering::SeqCst);
        let other = EventLoopThread::new(|| set_end_condition(|| DONE.load(Ordering::SeqCst)));
        let ran = Arc::new(AtomicUsize::new(0));
        let mut taken = 0;
        loop {
            let counted = Arc::clone(&ran);
            let job = move || {
                counted.fetch_add(1, Ordering::SeqCst);
            };
            match inject(other.index, job) {
                Ok(()) => taken += 1,
                Err(refused) if refused.why == Why::NoLoop => break,
                Err(_) => {}
            }
            DONE.store(taken >= 100, Ordering::SeqCst);
        }
        drop(other);
        assert_eq!(ran.load(Ordering::SeqCst), taken);
    }
}

#[test]
fn tasks_are_woken_a_few_at_a_time_and_each_once() {
    let polls: Rc<Vec<Cell<u32>>> = Rc::new(vec![Cell::new(0); 100]);
    let seen = Rc::clone(&polls);
    let steps = on_loop(move || async move {
        for n in 0..100 {
            let polls = Rc::clone(&polls);
            spawn(poll_fn(move |_| {
                polls[n].set(polls[n].get() + 1);
                Poll::Pending
            }));
        }
        yield_now().await;
        let (mut next, mut steps) = (Some(0), 0);
        while let Some(at) = next {
            next = wake_some(at, 16);
            steps += 1;
            yield_now().await;
        }
        steps
    });
    assert_eq!(steps, 7);
    assert!(seen.iter().all(|polls| polls.get() == 2));
}
