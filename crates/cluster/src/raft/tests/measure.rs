//! Times, to be read by people: `cargo test --release -p evenkeel-cluster --lib
//! raft::tests::measure -- --ignored --nocapture`. What they say is of the machine.

use super::bed::{Hub, event, found, until};
use super::tempdir;
use crate::member::Kind;
use crate::store::Store;
use std::time::{Duration, Instant};

fn report(what: &str, mut times: Vec<Duration>) {
    times.sort();
    let at = |share: usize| times[(times.len() - 1) * share / 1000];
    println!(
        "{what}: p50 {:?}, p90 {:?}, p99 {:?}, most {:?}",
        at(500),
        at(900),
        at(990),
        at(1000)
    );
}

#[tokio::test]
#[ignore = "measures, and asserts nothing"]
async fn writes_on_three_disks() {
    let hub = Hub::default();
    let directory = tempdir();
    let open = |id: u64| Store::open(&directory.join(format!("{id}"))).unwrap();
    let a = hub.start(1, Kind::Node, open(1)).await;
    let b = hub.start(2, Kind::Node, open(2)).await;
    let c = hub.start(3, Kind::Arbiter, open(3)).await;
    found(&[
        (1, Kind::Node, a.clone()),
        (2, Kind::Node, b.clone()),
        (3, Kind::Arbiter, c),
    ])
    .await;
    for (who, engine) in [("the leader", &a), ("a follower", &b)] {
        let mut times = Vec::new();
        for number in 0..1000 {
            let began = Instant::now();
            engine
                .propose(event(format!("{number:0>200}")))
                .await
                .unwrap();
            times.push(began.elapsed());
        }
        report(&format!("one after the other, at {who}"), times);
    }
    let began = Instant::now();
    let mut all = Vec::new();
    for task in 0..32 {
        let engine = a.clone();
        all.push(tokio::spawn(async move {
            let mut times = Vec::new();
            for number in 0..100 {
                let began = Instant::now();
                let words = format!("{task} {number:0>200}");
                engine.propose(event(words)).await.unwrap();
                times.push(began.elapsed());
            }
            times
        }));
    }
    let mut times = Vec::new();
    for task in all {
        times.extend(task.await.unwrap());
    }
    let rate = 3200.0 / began.elapsed().as_secs_f64();
    report(&format!("32 at once ({rate:.0} a second)"), times);
    let mut times = Vec::new();
    for _ in 0..200 {
        let began = Instant::now();
        b.confirm().await.unwrap();
        times.push(began.elapsed());
    }
    report("confirmed at a follower", times);
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    for line in status.lines().filter(|line| line.starts_with("RssAnon")) {
        println!("three members: {line}");
    }
    std::fs::remove_dir_all(&directory).unwrap();
}

#[tokio::test]
#[ignore = "measures, and asserts nothing"]
async fn leaders_after_a_kill_and_after_silence() {
    for silent in [false, true] {
        let mut times = Vec::new();
        for _ in 0..11 {
            let hub = Hub::default();
            let directory = tempdir();
            let open = |id: u64| Store::open(&directory.join(format!("{id}"))).unwrap();
            let a = hub.start(1, Kind::Node, open(1)).await;
            let b = hub.start(2, Kind::Node, open(2)).await;
            let c = hub.start(3, Kind::Arbiter, open(3)).await;
            found(&[
                (1, Kind::Node, a),
                (2, Kind::Node, b.clone()),
                (3, Kind::Arbiter, c),
            ])
            .await;
            let began = Instant::now();
            if silent {
                hub.cut(1, 2);
                hub.cut(1, 3);
            } else {
                hub.kill(1).await;
            }
            until("another leader", || b.standing().leading).await;
            b.propose(event("it works")).await.unwrap();
            times.push(began.elapsed());
            for id in 1..=3 {
                hub.kill(id).await;
            }
            std::fs::remove_dir_all(&directory).unwrap();
        }
        report(
            if silent {
                "a write after silence"
            } else {
                "a write after a kill"
            },
            times,
        );
    }
}

#[test]
#[ignore = "measures, and asserts nothing"]
fn one_disk() {
    use std::io::{Seek, Write};
    let directory = tempdir();
    let mut file = std::fs::File::create(directory.join("file")).unwrap();
    file.write_all(&vec![0; 1 << 20]).unwrap();
    file.sync_all().unwrap();
    let mut times = Vec::new();
    for _ in 0..500 {
        let began = Instant::now();
        file.rewind().unwrap();
        file.write_all(&[1; 4096]).unwrap();
        file.sync_data().unwrap();
        times.push(began.elapsed());
    }
    report("a page, written and synced", times);
    let store = Store::open(&directory.join("store")).unwrap();
    let mut times = Vec::new();
    for number in 0..500 {
        let (tell, told) = std::sync::mpsc::channel();
        let began = Instant::now();
        let done = Box::new(move |result| tell.send(result).unwrap());
        store.save_vote(
            crate::raft::Vote::new(number, crate::member::MemberId(1)),
            done,
        );
        told.recv().unwrap().unwrap();
        times.push(began.elapsed());
    }
    report("a vote", times);
    drop(store);
    std::fs::remove_dir_all(&directory).unwrap();
}

#[tokio::test]
#[ignore = "measures, and asserts nothing"]
async fn writes_in_memory() {
    let hub = Hub::default();
    let [a, b, _c] = super::pair(&hub).await;
    for (who, engine) in [("the leader", &a), ("a follower", &b)] {
        let mut times = Vec::new();
        for number in 0..1000 {
            let began = Instant::now();
            engine
                .propose(event(format!("{number:0>200}")))
                .await
                .unwrap();
            times.push(began.elapsed());
        }
        report(&format!("in memory, at {who}"), times);
    }
}

fn memory_now(what: &str) {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    for line in status.lines().filter(|line| line.starts_with("RssAnon")) {
        println!("{what}: {line}");
    }
}

#[tokio::test]
#[ignore = "measures, and asserts nothing"]
async fn memory_of_one() {
    memory_now("nothing");
    let directory = tempdir();
    let hub = Hub::default();
    let store = Store::open(&directory.join("store")).unwrap();
    memory_now("a store");
    let a = hub.start(1, Kind::Node, store).await;
    found(&[(1, Kind::Node, a.clone())]).await;
    memory_now("an engine");
    for number in 0..5000 {
        a.propose(event(format!("{number:0>200}"))).await.unwrap();
    }
    memory_now("after 5000 events");
    for byte in 0..200u8 {
        let bytes = vec![byte; 256 << 10];
        let digest = crate::store::digest(&bytes);
        a.propose(crate::command::Body::Chunk { digest, bytes })
            .await
            .unwrap();
    }
    memory_now("after 50 MiB of pieces");
    tokio::time::sleep(Duration::from_secs(2)).await;
    memory_now("a little later");
    std::fs::remove_dir_all(&directory).unwrap();
}
