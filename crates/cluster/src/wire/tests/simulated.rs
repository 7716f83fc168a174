//! Tests all kinds of partitions on a simulated network, whose time is exact.

use super::super::simulated::Simulated;
use super::super::{Event, Loss, PORT, PathKind};
use super::*;
use std::cell::RefCell;
use std::rc::Rc;
use tokio::sync::broadcast::Receiver;
use tokio::sync::broadcast::error::TryRecvError;
use tokio::time::{Instant, sleep};
use turmoil::{Builder, Sim};

const HOSTS: [&str; 3] = ["one", "two", "three"];
const BEAT: Duration = Duration::from_millis(40);
/// Deadline of a call, shorter than an election timeout.
const LIMIT: Duration = Duration::from_millis(140);

/// Simulates members 2 and 3, which respond; the test is member 1.
fn simulate<F>(seed: u64, test: impl FnOnce(MemberWire<Simulated>, Echo) -> F + 'static)
where
    F: Future<Output = ()> + 'static,
{
    let mut sim: Sim<'_> = Builder::new()
        .rng_seed(seed)
        .simulation_duration(Duration::from_secs(120))
        .tick_duration(Duration::from_millis(1))
        .min_message_latency(Duration::from_micros(100))
        .max_message_latency(Duration::from_millis(2))
        .tcp_capacity(4096)
        .build();
    let addresses = HOSTS.map(|host| SocketAddr::new(sim.lookup(host), PORT));
    let paper = Rc::new(Paper::new(&addresses));
    let echo = Echo::default();
    for (id, host) in [(2, "two"), (3, "three")] {
        let (paper, echo) = (Rc::clone(&paper), echo.clone());
        sim.host(host, move || {
            let (paper, echo) = (Rc::clone(&paper), echo.clone());
            async move {
                let wire = paper.wire(id, Simulated);
                wire.serve(&paper.members[&MemberId(id)].addresses, echo)
                    .await?;
                std::future::pending().await
            }
        });
    }
    let test = RefCell::new(Some(test));
    sim.client("one", async move {
        let wire = paper.wire(1, Simulated);
        wire.serve(&paper.members[&MemberId(1)].addresses, echo.clone())
            .await?;
        until("all ways stand", || {
            connections(&wire, 2) == 4 && connections(&wire, 3) == 4
        })
        .await;
        let test = test.borrow_mut().take().unwrap();
        test(wire, echo).await;
        Ok(())
    });
    sim.run().unwrap();
}

/// Sends this many requests within the deadline each. Returns the time of the slowest.
async fn beat(wire: &MemberWire<Simulated>, times: u32) -> Duration {
    let mut slowest = Duration::ZERO;
    for time in 0..times {
        let before = Instant::now();
        let answer = wire.call(MemberId(2), Service::Raft, vec![1], LIMIT).await;
        assert!(answer.is_ok(), "call {time}: {answer:?}");
        slowest = slowest.max(before.elapsed());
        sleep(BEAT).await;
    }
    slowest
}

fn way(wire: &MemberWire<Simulated>) -> Option<PathKind> {
    wire.paths()
        .iter()
        .find(|path| path.member == MemberId(2))
        .unwrap()
        .way
}

fn nothing_was_lost(events: &mut Receiver<Event>) {
    loop {
        match events.try_recv() {
            Ok(Event::Down { member, why }) => panic!("member {member} is down: {why:?}"),
            Ok(_) => {}
            Err(TryRecvError::Empty | TryRecvError::Closed) => return,
            Err(TryRecvError::Lagged(_)) => panic!("too many events"),
        }
    }
}

#[test]
fn a_direct_link_that_is_silently_cut_costs_no_call_and_no_member() {
    for seed in 0..4 {
        simulate(seed, |wire, echo| async move {
            let mut events = wire.events();
            beat(&wire, 10).await;
            turmoil::partition("one", "two");
            let asked = echo.asked.load(Ordering::Relaxed);
            let slowest = beat(&wire, 200).await;
            assert!(slowest < Duration::from_millis(60), "{slowest:?}");
            // Each request is handled once, on whatever route it arrived.
            assert_eq!(echo.asked.load(Ordering::Relaxed) - asked, 200);
            assert_eq!(way(&wire), Some(PathKind::Through(MemberId(3))));
            // After the first requests the route is known, and nothing is sent twice.
            let again = wire.counted(|c| &c.sent_again);
            assert!(again <= 10, "{again}");
            let path = wire.paths().remove(0);
            assert!(
                path.up
                    && path
                        .broken
                        .iter()
                        .any(|words| words.contains("direct path"))
            );
            turmoil::repair("one", "two");
            until("it is direct again", || {
                way(&wire) == Some(PathKind::Direct)
            })
            .await;
            beat(&wire, 10).await;
            nothing_was_lost(&mut events);
        });
    }
}

#[test]
fn one_way_cut_loses_no_request() {
    for (from, to) in [("one", "two"), ("two", "one")] {
        simulate(1, move |wire, _| async move {
            let mut events = wire.events();
            turmoil::partition_oneway(from, to);
            let slowest = beat(&wire, 200).await;
            assert!(slowest < Duration::from_millis(60), "{slowest:?}");
            assert_eq!(way(&wire), Some(PathKind::Through(MemberId(3))));
            turmoil::repair_oneway(from, to);
            until("it is direct again", || {
                way(&wire) == Some(PathKind::Direct)
            })
            .await;
            nothing_was_lost(&mut events);
        });
    }
}

#[test]
fn the_loss_of_the_member_in_between_costs_nothing() {
    simulate(2, |wire, _| async move {
        let mut events = wire.events();
        turmoil::partition("one", "three");
        turmoil::partition("two", "three");
        let slowest = beat(&wire, 100).await;
        assert!(slowest < Duration::from_millis(25), "{slowest:?}");
        assert_eq!(way(&wire), Some(PathKind::Direct));
        // Member 3 is down because of silence, and only that one.
        loop {
            if let Event::Down { member, why } = events.recv().await.unwrap() {
                assert_eq!((member, why), (MemberId(3), Loss::Silent));
                break;
            }
        }
        nothing_was_lost(&mut events);
    });
}

#[test]
fn isolated_member_times_out_and_returns() {
    simulate(3, |wire, _| async move {
        let mut events = wire.events();
        let before = Instant::now();
        turmoil::partition("one", "two");
        turmoil::partition("three", "two");
        let down = loop {
            if let Event::Down { member, why } = events.recv().await.unwrap() {
                break (member, why, before.elapsed());
            }
        };
        assert_eq!((down.0, down.1), (MemberId(2), Loss::Silent));
        let silent = Timing::default().silent;
        assert!(
            down.2 >= silent - Timing::default().ping && down.2 < silent * 2,
            "{:?}",
            down.2
        );
        let call = wire.call(MemberId(2), Service::Raft, Vec::new(), LIMIT);
        assert!(call.await.is_err());
        sleep(Duration::from_secs(10)).await;
        turmoil::repair("one", "two");
        turmoil::repair("three", "two");
        loop {
            if let Event::Up(member) = events.recv().await.unwrap() {
                assert_eq!(member, MemberId(2));
                break;
            }
        }
        until("all ways stand again", || connections(&wire, 2) == 4).await;
        beat(&wire, 10).await;
    });
}

#[test]
fn a_cut_in_the_middle_of_everything_heals_whatever_the_seed() {
    for seed in 100..104 {
        simulate(seed, move |wire, _| async move {
            let pairs = [("one", "two"), ("one", "three"), ("two", "three")];
            for round in 0..6 {
                let (a, b) = pairs[(seed as usize + round) % 3];
                turmoil::partition(a, b);
                // A single cut never makes a member unreachable.
                beat(&wire, 30).await;
                turmoil::repair(a, b);
                sleep(Duration::from_millis(seed * 7 % 900)).await;
                until("all is well", || {
                    wire.paths().iter().all(|path| {
                        path.way == Some(PathKind::Direct)
                            && path.connections.len() == 4
                            && path.connections.iter().all(|one| !one.suspect)
                    })
                })
                .await;
            }
        });
    }
}
