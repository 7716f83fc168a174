//! Tests transfers between sockets through kernel pipes.

use super::on_loop;
use super::sockets::{pair, tcp_pair};
use crate::{Assumed, PIPES_MAX, Pipe, StreamSocket, pipes};
use std::io::{ErrorKind, Read, Write};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;

/// Serialises the tests, because pipes are counted for the whole process.
fn alone() -> MutexGuard<'static, ()> {
    static ONE: Mutex<()> = Mutex::new(());
    ONE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Returns a pattern whose period is a prime, so that a lost, duplicated or moved block is
/// detected.
fn pattern(length: usize) -> Vec<u8> {
    (0..length).map(|at| (at % 251) as u8).collect()
}

/// Forwards all data until the end of the stream.
async fn pass(from: &StreamSocket, to: &StreamSocket) -> usize {
    let mut passed = 0;
    loop {
        from.readable().await;
        let mut pipe = Pipe::take().expect("a pipe is free");
        match pipe.fill_from(from, 256 * 1024) {
            Ok(0) => return passed,
            Ok(n) => passed += n,
            Err(error) if error.kind() == ErrorKind::WouldBlock => continue,
            Err(error) => panic!("{error}"),
        }
        while !pipe.is_empty() {
            match pipe.drain_to(to, false) {
                Ok(_) => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => to.writable().await,
                Err(error) => panic!("{error}"),
            }
        }
    }
}

#[test]
fn every_byte_passes_once_and_in_order_though_the_receiver_stalls() {
    let _alone = alone();
    for tcp in [true, false] {
        let received = on_loop(move || async move {
            let bytes = pattern(6_000_000);
            let (from, to, sender, receiver) = if tcp {
                let ((from, mut peer), (to, mut other)) =
                    (tcp_pair(Assumed::Writable), tcp_pair(Assumed::Writable));
                let sender = thread::spawn(move || peer.write_all(&bytes).unwrap());
                let receiver = thread::spawn(move || received(&mut other));
                (from, to, sender, receiver)
            } else {
                let ((from, mut peer), (to, mut other)) =
                    (pair(Assumed::Writable), pair(Assumed::Writable));
                for end in [&peer, &other] {
                    end.set_nonblocking(false).unwrap();
                }
                let sender = thread::spawn(move || peer.write_all(&bytes).unwrap());
                let receiver = thread::spawn(move || received(&mut other));
                (from, to, sender, receiver)
            };
            assert_eq!(pass(&from, &to).await, 6_000_000);
            drop(to);
            sender.join().unwrap();
            receiver.join().unwrap()
        });
        assert!(received == pattern(6_000_000), "other bytes came");
    }
}

/// Reads to the end, starting slowly, so that later data accumulates.
fn received(from: &mut impl Read) -> Vec<u8> {
    let mut all = vec![0; 1];
    from.read_exact(&mut all).unwrap();
    for _ in 0..1000 {
        thread::yield_now();
    }
    from.read_to_end(&mut all).unwrap();
    all
}

#[test]
fn pipe_of_a_broken_transfer_is_not_reused() {
    let _alone = alone();
    on_loop(|| async {
        let (one, mut secret) = pair(Assumed::Both);
        let (other, mut sender) = pair(Assumed::Both);
        let (to, mut receiver) = pair(Assumed::Both);
        secret.write_all(b"secret").unwrap();
        sender.write_all(b"public").unwrap();
        let mut broken = Pipe::take().unwrap();
        assert_eq!(broken.fill_from(&one, 100).unwrap(), 6);
        assert!(broken.fill_from(&other, 100).is_err(), "it is not empty");
        drop(broken);
        let mut next = Pipe::take().unwrap();
        assert!(next.drain_to(&to, false).is_err(), "it is empty");
        assert_eq!(next.fill_from(&other, 100).unwrap(), 6);
        assert_eq!(next.drain_to(&to, false).unwrap(), 6);
        let mut read = [0; 20];
        assert_eq!(receiver.read(&mut read).unwrap(), 6);
        assert_eq!(&read[..6], b"public");
    });
}

#[test]
fn empty_socket_blocks_and_failed_one_returns_an_error() {
    let _alone = alone();
    on_loop(|| async {
        let (socket, mut peer) = tcp_pair(Assumed::Both);
        let mut pipe = Pipe::take().unwrap();
        let nothing = pipe.fill_from(&socket, 100).unwrap_err();
        assert_eq!(nothing.kind(), ErrorKind::WouldBlock);
        assert!(!socket.is_readable(), "it is known to be empty");
        peer.write_all(b"x").unwrap();
        socket.readable().await;
        socket.check_readable();
        assert!(socket.is_readable(), "a look takes nothing");
        assert_eq!(pipe.fill_from(&socket, 100).unwrap(), 1);
        assert!(socket.is_readable(), "a short piece says nothing");
        socket.check_readable();
        assert!(!socket.is_readable());
        // Unread bytes turn the close into a reset.
        let (to, other) = tcp_pair(Assumed::Both);
        assert_eq!(to.try_write(b"unread").unwrap(), 6);
        drop(other);
        let failure = loop {
            match pipe.drain_to(&to, false) {
                Err(error) if error.kind() != ErrorKind::WouldBlock => break error,
                Err(_) => to.writable().await,
                // The write succeeded before the reset arrived.
                Ok(_) => {
                    peer.write_all(b"x").unwrap();
                    socket.readable().await;
                    assert_eq!(pipe.fill_from(&socket, 100).unwrap(), 1);
                }
            }
        };
        let kinds = [ErrorKind::BrokenPipe, ErrorKind::ConnectionReset];
        assert!(kinds.contains(&failure.kind()), "{failure}");
    });
}

#[test]
fn the_process_has_a_bounded_number_of_pipes() {
    let _alone = alone();
    on_loop(|| async {
        let before = pipes();
        assert_eq!((before.used, before.max_pipes), (0, PIPES_MAX));
        let held: Vec<Pipe> = std::iter::from_fn(Pipe::take).collect();
        assert!(held.len() <= PIPES_MAX as usize && held.len() > 8);
        assert_eq!(pipes().used, held.len() as u32);
        drop(held);
        let after = pipes();
        assert_eq!(after.used, 0);
        assert!(after.free_pipes < 8, "few are kept: {after:?}");
        crate::release_pools();
    });
}
