//! Tests sockets on the event loop: edges of readiness, short reads, closes and reuse of
//! descriptors.

use super::{descriptors, on_loop, turn};
use crate::{Assumed, StreamSocket, now, sleep, spawn, with_deadline};
use rustix::fd::OwnedFd;
use rustix::net::{SendFlags, sockopt};
use std::io::{ErrorKind, IoSlice, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixStream;
use std::pin::pin;
use std::task::{Context, Poll, Waker};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

/// Returns a Unix socket on the event loop and its peer, which is not on it.
pub(super) fn pair(assumed: Assumed) -> (StreamSocket, UnixStream) {
    let (ours, theirs) = descriptors();
    (
        StreamSocket::from_nonblocking(ours, assumed).unwrap(),
        UnixStream::from(theirs),
    )
}

/// Returns a TCP socket on the event loop and its peer, which is not on it.
pub(super) fn tcp_pair(assumed: Assumed) -> (StreamSocket, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let theirs = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    theirs.set_nodelay(true).unwrap();
    let (ours, _) = listener.accept().unwrap();
    ours.set_nonblocking(true).unwrap();
    (
        StreamSocket::from_nonblocking(ours.into(), assumed).unwrap(),
        theirs,
    )
}

fn blocks<T: std::fmt::Debug>(result: std::io::Result<T>) -> bool {
    matches!(result, Err(error) if error.kind() == ErrorKind::WouldBlock)
}

async fn is_ready(socket: &StreamSocket) -> (bool, bool) {
    std::future::poll_fn(|context| {
        Poll::Ready((
            socket.poll_readable(context).is_ready(),
            socket.poll_writable(context).is_ready(),
        ))
    })
    .await
}

#[test]
fn bytes_before_the_registration_are_reported() {
    on_loop(|| async {
        let (ours, mut theirs) = descriptors_with_peer();
        theirs.write_all(b"early").unwrap();
        let socket = StreamSocket::from_nonblocking(ours, Assumed::Nothing).unwrap();
        let mut buffer = [0; 10];
        assert!(blocks(socket.try_read(&mut buffer)), "nothing is assumed");
        socket.readable().await;
        assert_eq!(socket.try_read(&mut buffer).unwrap(), 5);
    });
}

fn descriptors_with_peer() -> (OwnedFd, UnixStream) {
    let (ours, theirs) = descriptors();
    (ours, UnixStream::from(theirs))
}

#[test]
fn bytes_between_a_short_read_and_the_wait_are_reported() {
    on_loop(|| async {
        let (socket, mut theirs) = pair(Assumed::Both);
        let mut buffer = [0; 10];
        for _ in 0..100 {
            theirs.write_all(b"one").unwrap();
            socket.readable().await;
            assert_eq!(socket.try_read(&mut buffer).unwrap(), 3);
            theirs.write_all(b"two").unwrap();
            assert!(
                blocks(socket.try_read(&mut buffer)),
                "a short read is trusted"
            );
            socket.readable().await;
            assert_eq!(socket.try_read(&mut buffer).unwrap(), 3);
        }
    });
}

#[test]
fn wrong_readiness_costs_one_call() {
    on_loop(|| async {
        let (socket, mut theirs) = pair(Assumed::Both);
        let mut buffer = [0; 10];
        assert!(socket.is_readable());
        assert!(blocks(socket.try_read(&mut buffer)));
        assert!(!socket.is_readable());
        theirs.write_all(b"x").unwrap();
        socket.readable().await;
        assert_eq!(socket.try_read(&mut buffer).unwrap(), 1);
    });
}

#[test]
fn a_full_read_leaves_the_socket_readable() {
    on_loop(|| async {
        let (socket, mut theirs) = pair(Assumed::Writable);
        theirs.write_all(b"123456").unwrap();
        socket.readable().await;
        let mut buffer = [0; 3];
        assert_eq!(socket.try_read(&mut buffer).unwrap(), 3);
        assert_eq!(socket.try_read(&mut buffer).unwrap(), 3);
        assert!(blocks(socket.try_read(&mut buffer)));
        assert_eq!(
            socket.try_read(&mut []).unwrap(),
            0,
            "an empty buffer asks nothing"
        );
    });
}

#[test]
fn bytes_before_a_close_are_read_and_then_the_end() {
    on_loop(|| async {
        for tcp in [false, true] {
            let socket = if tcp {
                let (socket, mut theirs) = tcp_pair(Assumed::Writable);
                theirs.write_all(b"last words").unwrap();
                socket
            } else {
                let (socket, mut theirs) = pair(Assumed::Writable);
                theirs.write_all(b"last words").unwrap();
                socket
            };
            while !socket.is_peer_closed() {
                turn().await;
            }
            let mut buffer = [0; 100];
            assert_eq!(socket.try_read(&mut buffer).unwrap(), 10);
            // No further edge follows, so the short read must not be trusted.
            assert_eq!(socket.try_read(&mut buffer).unwrap(), 0);
            assert_eq!(socket.try_read(&mut buffer).unwrap(), 0, "and again");
        }
    });
}

#[test]
fn close_after_a_short_read_is_reported() {
    on_loop(|| async {
        let (socket, mut theirs) = tcp_pair(Assumed::Writable);
        theirs.write_all(b"a").unwrap();
        socket.readable().await;
        let mut buffer = [0; 10];
        assert_eq!(socket.try_read(&mut buffer).unwrap(), 1);
        assert!(!socket.is_peer_closed());
        drop(theirs);
        socket.readable().await;
        assert!(socket.is_peer_closed());
        assert_eq!(socket.try_read(&mut buffer).unwrap(), 0);
    });
}

#[test]
fn half_closed_peer_can_still_be_written_to() {
    on_loop(|| async {
        let (socket, mut theirs) = tcp_pair(Assumed::Writable);
        theirs.write_all(b"question").unwrap();
        theirs.shutdown(std::net::Shutdown::Write).unwrap();
        let mut buffer = [0; 100];
        let mut length = 0;
        loop {
            socket.readable().await;
            match socket.try_read(&mut buffer[length..]).unwrap() {
                0 => break,
                n => length += n,
            }
        }
        assert_eq!(&buffer[..length], b"question");
        assert_eq!(socket.try_write(b"answer").unwrap(), 6);
        socket.shutdown_write().unwrap();
        let mut answer = String::new();
        theirs.read_to_string(&mut answer).unwrap();
        assert_eq!(answer, "answer");
        socket.shutdown_write().unwrap();
    });
}

#[test]
fn a_full_socket_is_written_again_when_there_is_room() {
    on_loop(|| async {
        let (socket, mut theirs) = pair(Assumed::Writable);
        let chunk = [7; 10_000];
        let mut written = 0;
        loop {
            match socket.try_write_vectored(&[IoSlice::new(&chunk), IoSlice::new(&chunk)]) {
                Ok(n) => written += n,
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    if !is_ready(&socket).await.1 {
                        break;
                    }
                }
                Err(error) => panic!("{error}"),
            }
            turn().await;
        }
        theirs.set_nonblocking(true).unwrap();
        let mut read = 0;
        let mut buffer = [0; 50_000];
        while read < written {
            match theirs.read(&mut buffer) {
                Ok(n) => read += n,
                Err(error) => assert_eq!(error.kind(), ErrorKind::WouldBlock),
            }
        }
        socket.writable().await;
        assert_eq!(socket.try_write(b"more").unwrap(), 4);
    });
}

#[test]
fn a_short_write_is_trusted() {
    on_loop(|| async {
        let (socket, mut theirs) = pair(Assumed::Writable);
        let data = vec![7; 10_000_000];
        let written = socket.try_write(&data).unwrap();
        assert!(written < data.len());
        theirs.set_nonblocking(false).unwrap();
        theirs.read_exact(&mut vec![0; written]).unwrap();
        // The socket has space now, but epoll has not reported it yet.
        assert!(blocks(socket.try_write(b"x")));
        socket.writable().await;
        assert_eq!(socket.try_write(b"x").unwrap(), 1);
    });
}

#[test]
fn an_event_of_a_former_descriptor_does_not_reach_its_successor() {
    on_loop(|| async {
        let (ours, mut theirs) = descriptors_with_peer();
        // The duplicate keeps the old socket open, and therefore in epoll.
        let duplicate = ours.try_clone().unwrap();
        let number = ours.as_raw_fd();
        drop(StreamSocket::from_nonblocking(ours, Assumed::Nothing).unwrap());
        // The new socket has the same slot, and the same descriptor number unless a parallel test
        // took it first.
        let (other, _peer) = descriptors();
        let same_number = other.as_raw_fd() == number;
        let socket = StreamSocket::from_nonblocking(other, Assumed::Nothing).unwrap();
        socket.writable().await;
        theirs.write_all(b"for the former").unwrap();
        for _ in 0..3 {
            turn().await;
            assert!(
                !socket.is_readable(),
                "the number was the same: {same_number}"
            );
        }
        drop(theirs);
        turn().await;
        assert!(!socket.is_peer_closed());
        drop(duplicate);
    });
}

#[test]
fn a_socket_leaves_its_loop_with_its_descriptor() {
    on_loop(|| async {
        let (socket, mut theirs) = pair(Assumed::Writable);
        theirs.write_all(b"moved").unwrap();
        let fd = socket.into_fd().unwrap();
        let again = StreamSocket::from_fd(fd).unwrap();
        again.readable().await;
        let mut buffer = [0; 10];
        assert_eq!(again.try_read(&mut buffer).unwrap(), 5);
    });
}

#[test]
fn weak_socket_queries_only_its_socket() {
    on_loop(|| async {
        let (socket, _theirs) = tcp_pair(Assumed::Writable);
        let weak = socket.downgrade();
        let number = socket.fd().as_raw_fd();
        assert_eq!(weak.with_fd(|fd| fd.as_raw_fd()), Some(number));
        assert!(weak.packets().is_some());
        drop(socket);
        assert_eq!(weak.with_fd(|fd| fd.as_raw_fd()), None);
        // The number and the slot may be in use again, by another socket.
        let (_again, _peer) = tcp_pair(Assumed::Writable);
        assert_eq!(weak.with_fd(|fd| fd.as_raw_fd()), None);
        assert!(weak.packets().is_none());
    });
}

#[test]
fn weak_socket_detects_a_moved_descriptor() {
    on_loop(|| async {
        let (socket, _theirs) = pair(Assumed::Writable);
        let weak = socket.downgrade();
        assert!(weak.with_fd(|_| ()).is_some());
        assert!(weak.packets().is_none(), "it is not TCP");
        let _fd = socket.into_fd().unwrap();
        assert!(weak.with_fd(|_| ()).is_none());
    });
}

#[test]
fn a_blocking_descriptor_becomes_nonblocking() {
    on_loop(|| async {
        let (ours, _theirs) = UnixStream::pair().unwrap();
        let socket = StreamSocket::from_fd(ours.into()).unwrap();
        let flags = rustix::fs::fcntl_getfl(socket.fd()).unwrap();
        assert!(flags.contains(rustix::fs::OFlags::NONBLOCK));
    });
}

#[test]
fn a_socket_that_outlives_its_loop_refuses_everything() {
    let (socket, mut theirs) = on_loop(|| async { pair(Assumed::Both) });
    theirs.write_all(b"late").unwrap();
    let refused = socket.try_read(&mut [0; 10]).unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::NotConnected);
    let mut context = Context::from_waker(Waker::noop());
    let connected = pin!(socket.connected()).poll(&mut context);
    let Poll::Ready(Err(refused)) = connected else {
        panic!("{connected:?}");
    };
    assert_eq!(refused.kind(), ErrorKind::NotConnected);
    // Another event loop on this thread does not accept the socket as its own either.
    on_loop(move || async move {
        let (_fresh, _peer) = pair(Assumed::Both);
        let refused = socket.try_write(b"x").unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::NotConnected);
        assert!(!socket.is_readable());
    });
}

#[test]
fn a_close_with_linger_zero_is_a_reset() {
    on_loop(|| async {
        let (socket, mut theirs) = tcp_pair(Assumed::Writable);
        socket.set_linger_zero().unwrap();
        drop(socket);
        let error = theirs.read(&mut [0; 1]).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::ConnectionReset);
    });
}

#[test]
fn reset_ends_a_wait_and_is_reported_once() {
    on_loop(|| async {
        let (socket, theirs) = tcp_pair(Assumed::Writable);
        sockopt::set_socket_linger(&theirs, Some(Duration::ZERO)).unwrap();
        drop(theirs);
        socket.readable().await;
        assert!(socket.is_peer_closed());
        let error = socket.try_read(&mut [0; 1]).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::ConnectionReset);
        assert!(socket.take_error().unwrap().is_none());
    });
}

#[test]
fn a_refused_connection_is_an_error() {
    on_loop(|| async {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = rustix::net::getsockname(&listener).unwrap();
        drop(listener);
        let result = match StreamSocket::connect(&address) {
            Ok(socket) => socket.connected().await,
            Err(error) => Err(error),
        };
        assert_eq!(result.unwrap_err().kind(), ErrorKind::ConnectionRefused);
    });
}

#[test]
fn urgent_data_does_not_hide_the_bytes_behind_it() {
    on_loop(|| async {
        let (socket, mut theirs) = tcp_pair(Assumed::Writable);
        theirs.write_all(b"before").unwrap();
        rustix::net::send(&theirs, b"!", SendFlags::OOB).unwrap();
        theirs.write_all(b"behind").unwrap();
        drop(theirs.try_clone());
        let mut all = Vec::new();
        let mut buffer = [0; 100];
        while all.len() < 12 {
            with_deadline(Some(now() + Duration::from_secs(2)), socket.readable())
                .await
                .expect("what is behind the mark is told");
            match socket.try_read(&mut buffer) {
                Ok(n) => all.extend_from_slice(&buffer[..n]),
                Err(error) => assert_eq!(error.kind(), ErrorKind::WouldBlock),
            }
        }
        assert_eq!(all, b"beforebehind");
    });
}

#[test]
fn a_write_to_a_closed_peer_is_an_error_and_no_signal() {
    on_loop(|| async {
        let (socket, theirs) = pair(Assumed::Writable);
        drop(theirs);
        assert_eq!(
            socket.try_write(b"x").unwrap_err().kind(),
            ErrorKind::BrokenPipe
        );
        let pieces = [IoSlice::new(b"x")];
        assert_eq!(
            socket.try_write_vectored(&pieces).unwrap_err().kind(),
            ErrorKind::BrokenPipe
        );
    });
}

#[test]
fn a_task_dropped_in_the_middle_of_a_write_leaves_a_prefix() {
    on_loop(|| async {
        let (mut socket, mut theirs) = pair(Assumed::Writable);
        let data: Vec<u8> = (0..4_000_000_u32).map(|n| n as u8).collect();
        let sent = data.clone();
        let writer = async move { socket.write_all(&data).await };
        let at = now() + Duration::from_millis(2);
        assert!(with_deadline(Some(at), writer).await.is_err());
        // The future and its socket no longer exist; its waker may still be in use.
        let mut read = Vec::new();
        theirs.set_nonblocking(false).unwrap();
        theirs.read_to_end(&mut read).unwrap();
        assert!(!read.is_empty() && read.len() < sent.len());
        assert_eq!(read, sent[..read.len()]);
        turn().await;
    });
}

#[test]
fn tokio_s_traits_carry_a_megabyte_both_ways() {
    on_loop(|| async {
        let (ours, theirs) = descriptors();
        let mut near = StreamSocket::from_fd(ours).unwrap();
        let mut far = StreamSocket::from_fd(theirs).unwrap();
        spawn(async move {
            let (mut read, mut write) = tokio::io::split(&mut far);
            tokio::io::copy(&mut read, &mut write).await.unwrap();
            write.shutdown().await.unwrap();
        });
        let sent: Vec<u8> = (0..1_000_000_u32).map(|n| (n * 7) as u8).collect();
        let copy = sent.clone();
        let (mut read, mut write) = tokio::io::split(&mut near);
        let mut received = Vec::new();
        let writer = async {
            write.write_all(&copy).await.unwrap();
            write.shutdown().await.unwrap();
        };
        let reader = read.read_to_end(&mut received);
        let mut writer = std::pin::pin!(writer);
        let mut reader = std::pin::pin!(reader);
        let (mut written, mut done) = (false, false);
        std::future::poll_fn(|context| {
            written = written || writer.as_mut().poll(context).is_ready();
            done = done || reader.as_mut().poll(context).is_ready();
            if written && done {
                Poll::Ready(())
            } else {
                Poll::Pending
            }
        })
        .await;
        assert!(received == sent);
    });
}

#[test]
fn an_idle_socket_without_a_waiting_task_notices_its_close() {
    on_loop(|| async {
        let (socket, theirs) = pair(Assumed::Writable);
        turn().await;
        assert!(!socket.is_peer_closed());
        drop(theirs);
        sleep(Duration::from_millis(1)).await;
        assert!(socket.is_peer_closed());
    });
}

#[test]
fn a_silent_close_without_permission_resets_no_further_than_the_next_hop() {
    on_loop(|| async {
        for address in ["127.0.0.1:0", "[::1]:0"] {
            let listener = TcpListener::bind(address).unwrap();
            let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
            client.set_nonblocking(true).unwrap();
            let socket =
                StreamSocket::from_nonblocking(OwnedFd::from(client), Assumed::Both).unwrap();
            socket.reset_within_one_hop();
            let hops = if listener.local_addr().unwrap().is_ipv4() {
                u8::try_from(sockopt::ip_ttl(socket.fd()).unwrap()).unwrap()
            } else {
                sockopt::ipv6_unicast_hops(socket.fd()).unwrap()
            };
            assert_eq!(hops, 1, "{address}");
        }
    });
}
