//! Tests of deadlines on a running event loop; the wheel itself is tested in `timer.rs`.

use super::{on_loop, turn};
use crate::{Elapsed, now, sleep, sleep_until, spawn, with_deadline, yield_now};
use std::cell::Cell;
use std::future::pending;
use std::rc::Rc;
use std::time::Duration;

const fn ms(n: u64) -> Duration {
    Duration::from_millis(n)
}

#[test]
fn a_sleep_lasts_at_least_its_time() {
    on_loop(|| async {
        for duration in [Duration::ZERO, Duration::from_micros(300), ms(1), ms(3)] {
            let begin = now();
            sleep(duration).await;
            assert!(now() - begin >= duration);
        }
        let begin = now();
        sleep_until(begin).await;
        assert_eq!(now(), begin, "the past is ready at once");
    });
}

#[test]
fn the_inner_or_the_outer_deadline_comes_first() {
    on_loop(|| async {
        let begin = now();
        let inner = with_deadline(Some(begin + ms(500)), pending::<()>());
        assert_eq!(
            with_deadline(Some(begin + ms(2)), inner).await,
            Err(Elapsed)
        );
        assert!(now() - begin < ms(400));
        let begin = now();
        let inner = with_deadline(Some(begin + ms(2)), pending::<()>());
        assert_eq!(
            with_deadline(Some(begin + ms(500)), inner).await,
            Ok(Err(Elapsed))
        );
        assert!(now() - begin < ms(400));
    });
}

#[test]
fn the_outer_deadline_stands_after_the_inner_one_has_ended() {
    on_loop(|| async {
        let begin = now();
        let result = with_deadline(Some(begin + ms(4)), async {
            assert_eq!(
                with_deadline(Some(begin + ms(1)), pending::<()>()).await,
                Err(Elapsed)
            );
            assert_eq!(with_deadline(None, async { 7 }).await, Ok(7));
            pending::<()>().await;
        })
        .await;
        assert_eq!(result, Err(Elapsed));
        assert!(now() - begin >= ms(4));
    });
}

#[test]
fn a_deadline_moved_later_or_cleared_does_not_wake() {
    on_loop(|| async {
        let polls = Rc::new(Cell::new(0));
        let count = Rc::clone(&polls);
        let begin = now();
        spawn(async move {
            // Short deadlines that are all met, then a distant one, then none.
            for _ in 0..5 {
                with_deadline(Some(now() + ms(1)), yield_now())
                    .await
                    .unwrap();
            }
            std::future::poll_fn(|context| {
                count.set(count.get() + 1);
                let far = with_deadline(Some(begin + ms(3_600_000)), pending::<()>());
                std::pin::pin!(far).as_mut().poll(context)
            })
            .await
            .unwrap();
        });
        sleep(ms(6)).await;
        assert_eq!(polls.get(), 1);
    });
}

#[test]
fn a_deadline_moved_earlier_fires_earlier() {
    on_loop(|| async {
        let begin = now();
        let mut at = begin + ms(3_600_000);
        let place = Rc::new(Cell::new(false));
        let fired = Rc::clone(&place);
        let waker = Rc::new(Cell::new(None));
        let copy = Rc::clone(&waker);
        spawn(async move {
            let mut first = true;
            std::future::poll_fn(|context| {
                copy.set(Some(context.waker().clone()));
                if !std::mem::replace(&mut first, false) {
                    at = at.min(now() + ms(2));
                }
                let sleep = sleep_until(at);
                std::pin::pin!(sleep).as_mut().poll(context)
            })
            .await;
            fired.set(true);
        });
        turn().await;
        waker.take().unwrap().wake();
        while !place.get() {
            sleep(ms(1)).await;
        }
        assert!(now() - begin < Duration::from_secs(100));
    });
}

#[test]
fn ready_future_wins_over_a_deadline_in_the_same_poll() {
    on_loop(|| async {
        let past = now() - ms(10);
        assert_eq!(with_deadline(Some(past), async { 1 }).await, Ok(1));
        assert_eq!(
            with_deadline(Some(past), pending::<()>()).await,
            Err(Elapsed)
        );
    });
}

#[test]
fn a_thousand_sleepers_wake_in_their_order() {
    on_loop(|| async {
        let last = Rc::new(Cell::new(0));
        let left = Rc::new(Cell::new(1000_u64));
        let begin = now();
        for n in 0..1000_u64 {
            let (last, left) = (Rc::clone(&last), Rc::clone(&left));
            let tick = n * 7919 % 10;
            spawn(async move {
                sleep_until(begin + ms(tick)).await;
                assert!(now() >= begin + ms(tick));
                assert!(tick >= last.get() || now() >= begin + ms(last.get()));
                last.set(tick);
                left.set(left.get() - 1);
            });
        }
        while left.get() > 0 {
            sleep(ms(1)).await;
        }
    });
}
