//! Tests tasks of the event loop: spawning, wakes, panics and starvation.

use super::{ThreadIndex, on_loop, turn};
use crate::{
    Assumed, charge_budget, has_budget, inject, now, panics, refused_tasks, run, sleep, spawn,
    stop, tasks, thread, yield_now,
};
use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::io::{ErrorKind, Write};
use std::rc::Rc;
use std::task::{Poll, Waker};
use std::time::Duration;

use super::sockets::pair;

#[test]
fn an_index_runs_one_loop_and_a_thread_too() {
    let lease = ThreadIndex::default();
    let index = lease.0;
    run(index, || {
        assert_eq!(thread(), index);
        assert_eq!(
            run(index, || ()).unwrap_err().kind(),
            ErrorKind::AlreadyExists
        );
        let same = std::thread::spawn(move || run(index, || ()).unwrap_err().kind());
        assert_eq!(same.join().unwrap(), ErrorKind::AlreadyExists);
        stop(index);
    })
    .unwrap();
    run(index, || stop(index)).unwrap();
    assert_eq!(run(64, || ()).unwrap_err().kind(), ErrorKind::InvalidInput);
    assert!(inject(64, || ()).is_err());
    assert!(inject(index, || ()).is_err(), "no loop runs there");
}

#[test]
fn a_panic_ends_its_own_task_only() {
    on_loop(|| async {
        let before = panics();
        let witness = Rc::new(());
        let copy = Rc::clone(&witness);
        spawn(async move {
            let _copy = copy;
            std::panic::resume_unwind(Box::new("on purpose"));
        });
        inject(thread(), || std::panic::resume_unwind(Box::new("in a job"))).unwrap();
        turn().await;
        turn().await;
        assert!(panics() >= before + 2);
        assert_eq!(Rc::strong_count(&witness), 1, "the task was dropped");
        assert_eq!(tasks(), 1);
    });
}

#[test]
fn a_panic_of_init_leaves_the_index_free() {
    let lease = ThreadIndex::default();
    let index = lease.0;
    let begin = || run(index, || std::panic::resume_unwind(Box::new(())));
    assert!(std::panic::catch_unwind(begin).is_err());
    run(index, || stop(index)).unwrap();
}

#[test]
fn tasks_that_are_left_are_dropped_with_their_loop_and_cannot_spawn() {
    struct Spawner(Rc<Cell<bool>>);
    impl Drop for Spawner {
        fn drop(&mut self) {
            let copy = Rc::clone(&self.0);
            spawn(async move { copy.set(true) });
        }
    }
    let ran = Rc::new(Cell::new(false));
    let copy = Rc::clone(&ran);
    let before = refused_tasks();
    on_loop(|| async move {
        let spawner = Spawner(copy);
        spawn(async move {
            let _spawner = spawner;
            std::future::pending().await
        });
        turn().await;
    });
    assert!(!ran.get());
    assert_eq!(Rc::strong_count(&ran), 1);
    assert!(refused_tasks() > before);
}

#[test]
fn a_wake_after_the_end_does_not_reach_the_next_task_of_the_slot() {
    on_loop(|| async {
        let waker = Rc::new(RefCell::new(None::<Waker>));
        let copy = Rc::clone(&waker);
        spawn(poll_fn(move |context| {
            *copy.borrow_mut() = Some(context.waker().clone());
            Poll::Ready(())
        }));
        turn().await;
        let waker = waker.take().unwrap();
        let polls = Rc::new(Cell::new(0));
        let copy = Rc::clone(&polls);
        spawn(poll_fn(move |_| {
            copy.set(copy.get() + 1);
            Poll::Pending
        }));
        turn().await;
        assert_eq!(polls.get(), 1);
        waker.wake_by_ref();
        std::thread::spawn(move || waker.wake()).join().unwrap();
        turn().await;
        turn().await;
        assert_eq!(polls.get(), 1);
    });
}

#[test]
fn a_task_that_wakes_itself_and_ends_does_no_harm() {
    on_loop(|| async {
        for _ in 0..10 {
            spawn(poll_fn(|context| {
                context.waker().wake_by_ref();
                Poll::Ready(())
            }));
            let ran = Rc::new(Cell::new(false));
            let copy = Rc::clone(&ran);
            spawn(async move { copy.set(true) });
            turn().await;
            assert!(ran.get());
        }
    });
}

#[test]
fn many_wakes_before_a_poll_are_one() {
    on_loop(|| async {
        let place = Rc::new(RefCell::new(None::<Waker>));
        let polls = Rc::new(Cell::new(0));
        let (copy, count) = (Rc::clone(&place), Rc::clone(&polls));
        spawn(poll_fn(move |context| {
            count.set(count.get() + 1);
            *copy.borrow_mut() = Some(context.waker().clone());
            Poll::<()>::Pending
        }));
        turn().await;
        let waker = place.take().unwrap();
        for _ in 0..1000 {
            waker.wake_by_ref();
        }
        turn().await;
        assert_eq!(polls.get(), 2);
    });
}

#[test]
fn a_task_that_never_waits_stops_neither_sockets_nor_timers_nor_others() {
    on_loop(|| async {
        let done = Rc::new(Cell::new(false));
        let copy = Rc::clone(&done);
        spawn(async move {
            while !copy.get() {
                yield_now().await;
            }
        });
        let (socket, mut theirs) = pair(Assumed::Writable);
        theirs.write_all(b"x").unwrap();
        socket.readable().await;
        sleep(Duration::from_millis(2)).await;
        done.set(true);
    });
}

#[test]
fn a_task_with_endless_data_is_interrupted() {
    on_loop(|| async {
        let (socket, mut theirs) = pair(Assumed::Both);
        let (done, polls) = (Rc::new(Cell::new(false)), Rc::new(Cell::new(0)));
        let (stop, count) = (Rc::clone(&done), Rc::clone(&polls));
        spawn(async move {
            let mut buffer = [0; 1];
            // Data is always available: the task sends a byte before each read.
            while !stop.get() {
                match socket.try_read(&mut buffer) {
                    Ok(_) => theirs.write_all(b"x").unwrap(),
                    Err(error) => {
                        assert_eq!(error.kind(), ErrorKind::WouldBlock);
                        theirs.write_all(b"x").unwrap();
                        count.set(count.get() + 1);
                        socket.readable().await;
                    }
                }
            }
        });
        sleep(Duration::from_millis(3)).await;
        for _ in 0..5 {
            yield_now().await;
        }
        assert!(polls.get() > 1);
        done.set(true);
        turn().await;
        assert_eq!(tasks(), 1);
    });
}

#[test]
fn a_task_that_was_refused_an_operation_is_polled_again_whatever_it_waits_for() {
    on_loop(|| async {
        let (socket, mut theirs) = pair(Assumed::Both);
        theirs.write_all(&[b'x'; 100]).unwrap();
        let read = Rc::new(Cell::new(0));
        let count = Rc::clone(&read);
        spawn(poll_fn(move |_| {
            let mut buffer = [0; 1];
            while socket.try_read(&mut buffer).is_ok() {
                count.set(count.get() + 1);
            }
            Poll::Pending
        }));
        for _ in 0..4 {
            turn().await;
        }
        assert_eq!(read.get(), 100);
    });
}

#[test]
fn the_clock_stands_during_a_turn_and_moves_between_turns() {
    on_loop(|| async {
        let before = now();
        std::thread::sleep(Duration::from_millis(1));
        assert_eq!(now(), before);
        turn().await;
        assert!(now() - before >= Duration::from_millis(1));
    });
}

#[test]
fn slots_are_reused() {
    on_loop(|| async {
        for round in 0..1000 {
            for _ in 0..10 {
                spawn(async move {
                    if round % 2 == 0 {
                        yield_now().await;
                    }
                });
            }
            while tasks() > 1 {
                yield_now().await;
            }
        }
    });
}

#[test]
fn busy_task_is_interrupted_for_others() {
    on_loop(|| async {
        // Work of 64 units each, in tasks that would never pause by themselves.
        let done = Rc::new(RefCell::new(Vec::new()));
        for name in 0..3usize {
            let done = Rc::clone(&done);
            let mut left = 100;
            spawn(poll_fn(move |_| {
                let mut now = 0;
                while left > 0 && has_budget() {
                    charge_budget(64);
                    (left, now) = (left - 1, now + 1);
                }
                done.borrow_mut().push((name, now));
                match left {
                    0 => Poll::Ready(()),
                    _ => Poll::Pending,
                }
            }));
        }
        while done.borrow().len() < 12 {
            yield_now().await;
        }
        let round = |pieces: usize| (0..3).map(move |name| (name, pieces));
        let expected: Vec<_> = [32, 32, 32, 4].into_iter().flat_map(round).collect();
        assert_eq!(*done.borrow(), expected);
    });
}

#[test]
fn spent_budget_delays_a_socket_to_the_next_poll() {
    on_loop(|| async {
        let (near, mut far) = pair(Assumed::Both);
        far.write_all(b"x").unwrap();
        near.readable().await;
        yield_now().await;
        charge_budget(usize::MAX);
        let refused = near.try_read(&mut [0; 8]);
        assert_eq!(refused.unwrap_err().kind(), ErrorKind::WouldBlock);
        yield_now().await;
        assert_eq!(near.try_read(&mut [0; 8]).unwrap(), 1);
    });
}

#[test]
fn event_waits_for_few_polls_of_busy_tasks() {
    on_loop(|| async {
        // Many tasks that always have more work, as connections that are flooded with frames.
        let polls = Rc::new(Cell::new(0u32));
        let stop = Rc::new(Cell::new(false));
        for _ in 0..20 {
            let (polls, stop) = (Rc::clone(&polls), Rc::clone(&stop));
            spawn(poll_fn(move |_| {
                polls.set(polls.get() + 1);
                while has_budget() {
                    charge_budget(64);
                }
                if stop.get() {
                    Poll::Ready(())
                } else {
                    Poll::Pending
                }
            }));
        }
        turn().await;
        let (near, mut far) = pair(Assumed::Nothing);
        for _ in 0..50 {
            far.write_all(b"x").unwrap();
            let before = polls.get();
            near.readable().await;
            assert_eq!(near.try_read(&mut [0; 8]).unwrap(), 1);
            let meanwhile = polls.get() - before;
            assert!(meanwhile <= 4, "{meanwhile} polls before the event");
            // Busy tasks are not starved by the others.
            turn().await;
            assert!(polls.get() > before);
        }
        stop.set(true);
    });
}
