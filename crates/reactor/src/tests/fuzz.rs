//! Tests random schedules of socket operations against a model. `REACTOR_SEED=n` replays one
//! schedule, `REACTOR_SEEDS=n` runs that many.

use super::descriptors;
use super::sockets::{pair, tcp_pair};
use super::threads::EventLoopThread;
use super::{on_loop, turn};
use crate::{Assumed, Buffer, StreamSocket, now, sleep, spawn, with_deadline, yield_now};
use lab::{Random, setting};
use rustix::fd::OwnedFd;
use rustix::net::sockopt;
use std::io::{ErrorKind, Read, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::Poll;
use std::time::Duration;

/// Returns a size from one of several orders of magnitude, never 0.
fn size<const N: usize>(random: &mut Random, most: [usize; N]) -> usize {
    let n = random.pick(&most);
    1 + random.index(n)
}

fn seeds(count: u64) -> Vec<u64> {
    match setting("REACTOR_SEED") {
        Some(seed) => vec![seed],
        None => (0..setting("REACTOR_SEEDS").unwrap_or(count)).collect(),
    }
}

/// Returns the byte at this position of the stream of this seed.
fn byte(seed: u64, place: usize) -> u8 {
    (place as u64)
        .wrapping_mul(31)
        .wrapping_add(seed)
        .wrapping_add(place as u64 >> 8) as u8
}

async fn ready(socket: &StreamSocket) -> (bool, bool) {
    std::future::poll_fn(|context| {
        Poll::Ready((
            socket.poll_readable(context).is_ready(),
            socket.poll_writable(context).is_ready(),
        ))
    })
    .await
}

/// Tests one socket on the event loop whose peer the test controls: after each turn, the reactor
/// must have reported all data in the kernel. Between Unix sockets that is exact (`strict`); TCP
/// may need a moment to transfer the data.
async fn one_step_at_a_time<P: Read + Write + std::os::fd::AsFd>(
    seed: u64,
    socket: StreamSocket,
    mut peer: P,
    strict: bool,
) {
    let mut random = Random::new(seed);
    let mut scratch = vec![0; 300_000];
    // In transit: bytes to the socket, the end of the stream, bytes to the peer.
    let (mut incoming, mut ended, mut outgoing) = (0_usize, false, 0_usize);
    // True once the event loop has run since the last change by the peer.
    let mut told = true;
    for step in 0..200 {
        let place = format!("seed {seed} step {step}");
        match random.index(8) {
            0 | 1 if !ended => {
                let n = size(&mut random, [1, 100, 5000, 50_000]);
                if let Ok(n) = peer.write(&scratch[..n]) {
                    incoming += n;
                    told = false;
                }
            }
            2 => {
                let n = size(&mut random, [10, 5000, 300_000]);
                if let Ok(n) = peer.read(&mut scratch[..n]) {
                    outgoing -= n;
                    told = false;
                }
            }
            3 | 4 => {
                let n = size(&mut random, [1, 100, 5000, 100_000]);
                match socket.try_read(&mut scratch[..n]) {
                    Ok(0) => assert!(ended && incoming == 0, "{place}: an end that is none"),
                    Ok(n) => {
                        assert!(n <= incoming, "{place}: bytes from nowhere");
                        incoming -= n;
                    }
                    Err(error) => {
                        assert_eq!(error.kind(), ErrorKind::WouldBlock, "{place}");
                        assert!(
                            !(told && strict) || incoming == 0 && !ended,
                            "{place}: bytes are hidden"
                        );
                    }
                }
            }
            5 => {
                let n = size(&mut random, [10, 5000, 300_000]);
                match socket.try_write(&scratch[..n]) {
                    Ok(n) => outgoing += n,
                    Err(error) => {
                        assert_eq!(error.kind(), ErrorKind::WouldBlock, "{place}");
                        assert!(!(told && strict) || outgoing > 0, "{place}: room is hidden");
                    }
                }
            }
            6 if random.index(30) == 0 => {
                rustix::net::shutdown(&peer, rustix::net::Shutdown::Write).unwrap();
                ended = true;
                told = false;
            }
            _ => {
                turn().await;
                told = true;
                let bytes = incoming > 0 || ended;
                must_be_told(&socket, bytes, outgoing == 0, ended, strict, &place).await;
            }
        }
    }
}

/// Checks that the socket is readable when bytes or the end are available, writable when it has
/// space, and closed when the peer has ended.
async fn must_be_told(
    socket: &StreamSocket,
    bytes: bool,
    room: bool,
    end: bool,
    strict: bool,
    place: &str,
) {
    let limit = now() + Duration::from_secs(if strict { 0 } else { 5 });
    loop {
        let (readable, writable) = ready(socket).await;
        // The end follows the bytes, which TCP may hold back.
        let end_told = !end || socket.is_peer_closed() || !strict && readable;
        if (readable || !bytes) && (writable || !room) && end_told {
            return;
        }
        assert!(
            now() < limit,
            "{place}: not told, {readable} {writable} {end_told}"
        );
        turn().await;
    }
}

#[test]
fn socket_state_is_known_after_a_turn() {
    on_loop(|| async {
        for seed in seeds(300) {
            let assumed = [Assumed::Nothing, Assumed::Writable, Assumed::Both];
            let assumed = assumed[seed as usize % 3];
            if seed % 2 == 0 {
                let (socket, peer) = pair(assumed);
                // Before the first event, the readiness may be unknown.
                turn().await;
                one_step_at_a_time(seed, socket, peer, true).await;
            } else {
                let (socket, peer) = tcp_pair(assumed);
                peer.set_nonblocking(true).unwrap();
                turn().await;
                one_step_at_a_time(seed, socket, peer, false).await;
            }
        }
    });
}

/// The parameters that both ends of a stream share.
struct TransferPlan {
    seed: u64,
    /// Number of bytes in this direction, after which the stream ends.
    total: usize,
}

/// Moves random slices, with waits of all kinds, until both directions have ended.
async fn end(
    socket: StreamSocket,
    mut random: Random,
    outgoing: TransferPlan,
    incoming: TransferPlan,
) {
    let (mut sent, mut received) = (0, 0);
    let (mut closed, mut finished) = (false, false);
    let mut buffer = Buffer::take();
    while !(closed && finished) {
        let write = !closed && (finished || random.index(2) == 0);
        if write {
            if sent == outgoing.total {
                socket.shutdown_write().unwrap();
                closed = true;
                continue;
            }
            let n = size(&mut random, [1, 700, 90_000]).min(outgoing.total - sent);
            let piece: Vec<u8> = (sent..sent + n).map(|at| byte(outgoing.seed, at)).collect();
            match socket.try_write(&piece) {
                Ok(n) => sent += n,
                Err(error) => assert_eq!(error.kind(), ErrorKind::WouldBlock),
            }
        } else if !finished {
            match buffer.read_from(&socket) {
                Ok(0) => {
                    assert_eq!(received, incoming.total, "seed {}", incoming.seed);
                    finished = true;
                }
                Ok(_) => {
                    for &got in buffer.filled() {
                        assert_eq!(got, byte(incoming.seed, received), "seed {}", incoming.seed);
                        received += 1;
                    }
                    buffer.clear();
                }
                Err(error) => assert_eq!(error.kind(), ErrorKind::WouldBlock),
            }
        }
        rest(&socket, &mut random, closed, finished).await;
    }
}

/// Waits in a random way, never for something that cannot happen.
async fn rest(socket: &StreamSocket, random: &mut Random, closed: bool, finished: bool) {
    let soon = now() + Duration::from_micros(random.index(1500) as u64);
    match random.index(12) {
        0 => sleep(Duration::from_micros(random.index(900) as u64)).await,
        1 => yield_now().await,
        2 if !finished => drop(with_deadline(Some(soon), socket.readable()).await),
        3 if !closed => drop(with_deadline(Some(soon), socket.writable()).await),
        4 | 5 => {
            std::future::poll_fn(|context| {
                let readable = !finished && socket.poll_readable(context).is_ready();
                let writable = !closed && socket.poll_writable(context).is_ready();
                let over = finished && closed;
                if readable || writable || over {
                    Poll::Ready(())
                } else {
                    Poll::Pending
                }
            })
            .await;
        }
        6 => turn().await,
        _ => {}
    }
}

fn both_ends(tcp: bool) -> (OwnedFd, OwnedFd) {
    if tcp {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let near = std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (far, _) = listener.accept().unwrap();
        (near.into(), far.into())
    } else {
        descriptors()
    }
}

#[test]
fn streams_between_random_ends_arrive_whole() {
    let other = EventLoopThread::new(|| ());
    let elsewhere = other.index;
    on_loop(move || async move {
        for seed in seeds(60) {
            let mut random = Random::new(seed ^ 0x5eed);
            let left = Arc::new(AtomicUsize::new(0));
            for _ in 0..1 + random.index(12) {
                let tcp = random.index(2) == 0;
                let (near, far) = both_ends(tcp);
                // Small buffers fill more often; with TCP they would wait for its timers.
                if !tcp && random.index(2) == 0 {
                    sockopt::set_socket_send_buffer_size(&near, 4096).unwrap();
                    sockopt::set_socket_recv_buffer_size(&far, 4096).unwrap();
                }
                let most = [10, 2000, 400_000][random.index(3)];
                let totals = (random.index(most), random.index(most));
                let plan = move |total| TransferPlan { seed, total };
                let (mine, theirs) = (Random::new(random.next()), Random::new(random.next()));
                left.fetch_add(2, Ordering::Relaxed);
                let done = Arc::clone(&left);
                spawn(async move {
                    let socket = StreamSocket::from_fd(near).unwrap();
                    end(socket, mine, plan(totals.0), plan(totals.1)).await;
                    done.fetch_sub(1, Ordering::Relaxed);
                });
                let done = Arc::clone(&left);
                let begin = move || {
                    spawn(async move {
                        let socket = StreamSocket::from_fd(far).unwrap();
                        end(socket, theirs, plan(totals.1), plan(totals.0)).await;
                        done.fetch_sub(1, Ordering::Relaxed);
                    });
                };
                if random.index(2) == 0 {
                    crate::inject(elsewhere, begin).unwrap();
                } else {
                    begin();
                }
            }
            let limit = now() + Duration::from_secs(20);
            while left.load(Ordering::Relaxed) > 0 {
                assert!(now() < limit, "seed {seed} is stuck");
                sleep(Duration::from_millis(1)).await;
            }
        }
    });
    drop(other);
}
