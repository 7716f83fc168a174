//! Tests NBD clients that violate the protocol or abuse it.

use crate::raw::{FLUSH, FUA, READ, Raw, WRITE, head};
use crate::served::VolumeServer;
use lab::{Random, eventually};
use std::io::{Read, Write};
use std::time::{Duration, Instant};

const SIZE: u64 = 64 << 20;
/// Memory limit of the server, KiB: the binary, its threads, 8 MiB of buffers, and headers.
const MEMORY_KIB_MAX: u64 = 40 << 10;

#[test]
fn a_client_that_reads_no_reply_waits_for_itself() {
    for structured in [false, true] {
        let served = VolumeServer::start("ring", SIZE);
        let mut good = Raw::new(served.connect(), false);
        // Nonzero data, so that replies have a payload.
        good.write(0, 0, &vec![7; 1 << 20]);
        // More clients than the shared memory has buffers for, each with more requests than
        // allowed.
        let stalled: Vec<Raw> = (0..6)
            .map(|_| {
                let mut one = Raw::new(served.connect(), structured);
                one.stream.set_nonblocking(true).expect("set");
                for cookie in 0..5000 {
                    let request = head(0, READ, cookie, 0, 1 << 20);
                    if one.stream.write_all(&request).is_err() {
                        break;
                    }
                }
                one
            })
            .collect();
        let begun = Instant::now();
        for round in 0..200_u64 {
            let bytes = vec![round as u8 + 1; 8192];
            good.write(0, (round + 300) * 8192, &bytes);
            good.flush();
            assert!(good.read((round + 300) * 8192, 8192) == bytes);
        }
        assert!(begun.elapsed() < Duration::from_secs(50));
        assert!(served.memory_kib() < MEMORY_KIB_MAX);
        drop(stalled);
        assert!(good.read(0, 4 << 20)[..1 << 20] == vec![7; 1 << 20]);
    }
}

#[test]
fn replies_without_data_are_bounded_too() {
    let served = VolumeServer::start("ring", SIZE);
    let mut stalled = Raw::new(served.connect(), true);
    stalled.stream.set_nonblocking(true).expect("set");
    // Refused requests and block status have replies that take no buffer.
    let mut sent = 0_u64;
    let end = Instant::now() + Duration::from_secs(3);
    while Instant::now() < end && sent < 2_000_000 {
        let requests: Vec<u8> = (0..64).flat_map(|_| head(0, READ, 1, SIZE, 4096)).collect();
        match stalled.stream.write(&requests) {
            Ok(count) => sent += count as u64 / 28,
            Err(_) => break,
        }
    }
    assert!(served.memory_kib() < MEMORY_KIB_MAX);
    let mut good = Raw::new(served.connect(), false);
    assert_eq!(good.read(0, 512), vec![0; 512]);
}

#[test]
fn an_incomplete_write_does_not_delay_others() {
    let served = VolumeServer::start("ring", SIZE);
    let halves: Vec<Raw> = (0..10)
        .map(|_| {
            let mut one = Raw::new(served.connect(), false);
            one.request(0, WRITE, 0, 32 << 20);
            one.stream.write_all(&vec![1; 100_000]).expect("sent");
            one
        })
        .collect();
    let mut good = Raw::new(served.connect(), false);
    let bytes: Vec<u8> = (0..1 << 20).map(|at| at as u8).collect();
    good.write(FUA, 32 << 20, &bytes);
    assert!(good.read(32 << 20, 1 << 20) == bytes);
    drop(halves);
    good.flush();
}

#[test]
fn long_requests_are_answered_in_pieces_or_in_order() {
    for engine in ["ring", "threads"] {
        let served = VolumeServer::start(engine, SIZE);
        let mut plain = Raw::new(served.connect(), false);
        let mut random = Random::new(3);
        let mut bytes = vec![0; 32 << 20];
        random.fill(&mut bytes);
        plain.write(FUA, 4096, &bytes);
        assert!(plain.read(4096, 32 << 20) == bytes);

        let mut structured = Raw::new(served.connect(), true);
        // With the flag DF the reply is a single chunk.
        let cookie = structured.request(1 << 2, READ, 4096, 4 << 20);
        let chunk = structured.chunk();
        assert_eq!((chunk.is_last, chunk.cookie), (true, cookie));
        assert!(chunk.content[8..] == bytes[..4 << 20]);
        // A reply in several chunks, with other replies in between.
        let long = structured.request(0, READ, 4096, 32 << 20);
        let short = structured.request(0, READ, 4096, 4096);
        let mut read = vec![0; 32 << 20];
        let mut last = 0;
        while last < 2 {
            let chunk = structured.chunk();
            assert_eq!(chunk.kind, 1);
            let at = u64::from_be_bytes(chunk.content[..8].try_into().unwrap()) as usize - 4096;
            let data = &chunk.content[8..];
            if chunk.cookie == long {
                read[at..at + data.len()].copy_from_slice(data);
            } else {
                assert!((chunk.cookie, data) == (short, &bytes[..4096]));
            }
            last += u32::from(chunk.is_last);
        }
        assert!(read == bytes);
    }
}

#[test]
fn refused_writes_are_skipped_and_the_connection_continues() {
    let served = VolumeServer::start("ring", SIZE);
    let mut client = Raw::new(served.connect(), false);
    for (offset, error) in [(SIZE, 28), (1, 22), (u64::MAX - 1, 28)] {
        let cookie = client.request(0, WRITE, offset, 200_000);
        client.stream.write_all(&[0xff; 200_000]).expect("sent");
        assert_eq!(client.simple(), (cookie, error));
    }
    let cookie = client.request(0, READ, SIZE, 512);
    assert_eq!(client.simple(), (cookie, 22));
    let cookie = client.request(0, 99, 0, 512);
    assert_eq!(client.simple(), (cookie, 22));
    assert!(client.read(0, 1 << 20) == vec![0; 1 << 20]);
}

#[test]
fn random_bytes_close_their_own_connection_only() {
    let served = VolumeServer::start("ring", SIZE);
    let mut good = Raw::new(served.connect(), false);
    let mut random = Random::new(11);
    for round in 0..300 {
        let mut bad = served.connect();
        let handshake = round % 2 == 0;
        let mut bytes = vec![0; random.index(2000)];
        random.fill(&mut bytes);
        if handshake {
            let mut raw = Raw::new(bad, round % 4 == 0);
            // Valid headers with random content.
            for _ in 0..random.below(8) {
                let command = random.below(10) as u16;
                let (offset, length) = (random.below(1 << 27), random.below(1 << 20) as u32);
                let flags = random.below(64) as u16;
                bytes.splice(0..0, head(flags, command, 1, offset & !511, length & !511));
            }
            let _ = raw.stream.write_all(&bytes);
        } else {
            let _ = bad.write_all(&bytes);
            let _ = bad.set_read_timeout(Some(Duration::from_millis(20)));
            let _ = bad.read(&mut [0; 64]);
        }
        let cookie = good.request(0, FLUSH, 0, 0);
        assert_eq!(good.simple(), (cookie, 0));
    }
    assert!(served.memory_kib() < MEMORY_KIB_MAX);
}

#[test]
fn requests_that_are_pipelined_are_all_answered() {
    let served = VolumeServer::start("ring", SIZE);
    let mut client = Raw::new(served.connect(), false);
    let mut writer = client.stream.try_clone().expect("a clone");
    let sender = std::thread::spawn(move || {
        for cookie in 0..2000_u64 {
            let mut request = head(0, WRITE, cookie, cookie * 4096, 4096);
            request.resize(28 + 4096, cookie as u8);
            if cookie % 7 == 0 {
                request.extend(head(0, FLUSH, 10_000 + cookie, 0, 0));
            }
            writer.write_all(&request).expect("sent");
        }
    });
    let mut seen = std::collections::BTreeSet::new();
    for _ in 0..2000 + 286 {
        let (cookie, error) = client.simple();
        assert!(error == 0 && seen.insert(cookie), "{cookie} {error}");
    }
    sender.join().expect("sent");
    for cookie in [0_u64, 1, 999, 1999] {
        assert!(client.read(cookie * 4096, 4096) == vec![cookie as u8; 4096]);
    }
}

#[test]
fn a_failed_read_is_reported_or_closes_its_connection() {
    for engine in ["ring", "threads"] {
        let served = VolumeServer::start(engine, SIZE);
        let mut plain = Raw::new(served.connect(), false);
        let mut structured = Raw::new(served.connect(), true);
        plain.write(0, 0, &vec![5; 1 << 20]);
        let disk = std::fs::File::options().write(true).open(served.disk());
        disk.and_then(|disk| disk.set_len(1 << 20))
            .expect("shorter");
        let cookie = plain.request(0, READ, 8 << 20, 4096);
        assert_eq!(plain.simple(), (cookie, 5));
        // The first pieces of the structured reply arrive before the error.
        let cookie = structured.request(0, READ, 0, 4 << 20);
        let last = loop {
            let chunk = structured.chunk();
            assert_eq!(chunk.cookie, cookie);
            if chunk.is_last {
                break chunk;
            }
        };
        assert_eq!(
            (last.kind, &last.content[..4]),
            (1 << 15 | 1, &[0, 0, 0, 5][..])
        );
        // A simple reply that has begun cannot report an error.
        let cookie = plain.request(0, READ, 0, 4 << 20);
        assert_eq!(plain.simple(), (cookie, 0));
        let mut rest = Vec::new();
        let _ = plain.stream.read_to_end(&mut rest);
        assert!(rest.len() <= 1 << 20 && rest.iter().all(|byte| *byte == 5));
        let cookie = structured.request(0, FLUSH, 0, 0);
        assert_eq!(structured.chunk().cookie, cookie);
    }
}

#[test]
fn clients_beyond_the_limit_are_closed_until_one_leaves() {
    let served = VolumeServer::start("ring", SIZE);
    let mut clients: Vec<Raw> = (0..volume::export::CLIENTS_MAX)
        .map(|_| Raw::new(served.connect(), false))
        .collect();
    for _ in 0..3 {
        assert_eq!(served.connect().read(&mut [0; 1]).expect("an end"), 0);
    }
    clients.pop();
    // The slot becomes free when the server has read the end of that connection.
    let greeting = || {
        served
            .connect()
            .read(&mut [0; 1])
            .is_ok_and(|bytes| bytes == 1)
    };
    assert!(eventually(Duration::from_secs(60), greeting));
    assert!(clients.iter_mut().all(|one| one.read(0, 512) == [0; 512]));
}
