//! Tests a real cable that is cut between real hosts.

use super::super::PathKind;
use super::super::call::ATTEMPTS_MAX;
use super::*;
use lab::{Lab, LabHost};
use std::sync::Barrier;
use std::sync::atomic::AtomicBool;
use std::thread;

const CALLS: u64 = 100;
const BEAT: Duration = Duration::from_millis(40);

fn answer_on(host: &LabHost, paper: &Paper, id: u64, echo: &Echo, over: &AtomicBool) {
    host.enter(|| {
        on_one_thread(async {
            let _wire = serving(paper, id, echo).await;
            until("it is over", || over.load(Ordering::Relaxed)).await;
        });
    });
}

#[test]
fn a_cable_that_is_silently_cut_costs_some_repetitions_and_no_call() {
    lab::skip_unless_root!();
    let lab = Lab::new("wirecut").unwrap();
    let lan = lab.switch("lan").unwrap();
    let hosts = ["one", "two", "three"].map(|name| lab.host(name).unwrap());
    for (at, host) in hosts.iter().enumerate() {
        let address = format!("10.0.0.{}/24", at + 1);
        lan.attach(host).unwrap().address(&address).unwrap();
    }
    let addresses = [1, 2, 3].map(|host| SocketAddr::from(([10, 0, 0, host], 7443)));
    let paper = Paper::new(&addresses);
    let [one, two, three] = &hosts;
    let (echo, over) = (Echo::default(), AtomicBool::new(false));
    let (ready, cut) = (Barrier::new(2), Barrier::new(2));
    thread::scope(|scope| {
        scope.spawn(|| answer_on(two, &paper, 2, &echo, &over));
        scope.spawn(|| answer_on(three, &paper, 3, &echo, &over));
        let beating = scope.spawn(|| {
            one.enter(|| {
                on_one_thread(async {
                    let wire = serving(&paper, 1, &echo).await;
                    until("all ways stand", || connections(&wire, 2) == 4).await;
                    ready.wait();
                    cut.wait();
                    let asked = echo.asked.load(Ordering::Relaxed);
                    for call in 0..CALLS {
                        let answer = wire
                            .call(MemberId(2), Service::Control, vec![1], PATIENCE)
                            .await;
                        assert!(answer.is_ok(), "call {call}: {answer:?}");
                        tokio::time::sleep(BEAT).await;
                    }
                    assert_eq!(echo.asked.load(Ordering::Relaxed) - asked, CALLS);
                    let again = wire.counted(|c| &c.sent_again);
                    assert!(
                        again > 0 && again <= CALLS * (ATTEMPTS_MAX as u64 - 1),
                        "{again}"
                    );
                    let path = wire.paths().remove(0);
                    assert_eq!(path.way, Some(PathKind::Through(MemberId(3))), "{path:?}");
                });
            });
        });
        ready.wait();
        let _cut = lab.partition(&[&[one], &[two]]).unwrap();
        cut.wait();
        let ended = beating.join();
        over.store(true, Ordering::Relaxed);
        assert!(ended.is_ok(), "the calls did not go on");
    });
}
