//! Tests listening sockets: shared by threads, paused, without free descriptors.

use super::threads::EventLoopThread;
use super::{on_loop, turn};
use crate::{Listener, inject, now, sleep, spawn, with_deadline};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

/// Runs a listener on another event loop that counts the accepted connections.
fn counting(socket: &TcpListener, count: &Arc<AtomicUsize>) -> EventLoopThread {
    let fd = socket.try_clone().unwrap();
    let count = Arc::clone(count);
    EventLoopThread::new(move || {
        spawn(async move {
            let listener = Listener::from_fd(fd.into()).unwrap();
            while listener.accept().await.is_ok() {
                count.fetch_add(1, Ordering::Relaxed);
            }
        });
    })
}

fn wait_until(mut done: impl FnMut() -> bool) {
    let begin = std::time::Instant::now();
    while !done() {
        assert!(
            begin.elapsed() < Duration::from_secs(10),
            "it does not happen"
        );
        std::thread::yield_now();
    }
}

#[test]
fn connections_from_before_the_registration_are_accepted() {
    on_loop(|| async {
        let socket = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = socket.local_addr().unwrap();
        let clients: Vec<_> = (0..5)
            .map(|_| TcpStream::connect(address).unwrap())
            .collect();
        let listener = Listener::from_fd(socket.into()).unwrap();
        for client in &clients {
            let (_, peer) = listener.accept().await.unwrap();
            let peer = std::net::SocketAddr::try_from(peer.unwrap()).unwrap();
            assert_eq!(peer, client.local_addr().unwrap());
        }
        let at = now() + Duration::from_millis(1);
        assert!(with_deadline(Some(at), listener.accept()).await.is_err());
    });
}

#[test]
fn several_loops_share_a_listening_socket_and_leave_nothing_in_its_backlog() {
    let socket = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = socket.local_addr().unwrap();
    let count = Arc::new(AtomicUsize::new(0));
    let loops: Vec<_> = (0..3).map(|_| counting(&socket, &count)).collect();
    let mut clients = Vec::new();
    for round in 0..40 {
        for _ in 0..=round % 7 {
            clients.push(TcpStream::connect(address).unwrap());
        }
        if round % 3 == 0 {
            wait_until(|| count.load(Ordering::Relaxed) == clients.len());
        }
    }
    wait_until(|| count.load(Ordering::Relaxed) == clients.len());
    drop(loops);
}

#[test]
fn paused_listener_steals_no_edge_and_resumes() {
    let socket = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = socket.local_addr().unwrap();
    on_loop(move || async move {
        let listener = Listener::from_fd(socket.try_clone().unwrap().into()).unwrap();
        listener.pause();
        let count = Arc::new(AtomicUsize::new(0));
        let other = counting(&socket, &count);
        let clients: Vec<_> = (0..20)
            .map(|_| TcpStream::connect(address).unwrap())
            .collect();
        wait_until(|| count.load(Ordering::Relaxed) == clients.len());
        drop(other);
        let _late = TcpStream::connect(address).unwrap();
        listener.accept().await.unwrap();
    });
}

#[test]
fn leaving_listener_passes_pending_connections_on() {
    let socket = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = socket.local_addr().unwrap();
    for _ in 0..20 {
        let socket = socket.try_clone().unwrap();
        on_loop(move || async move {
            let listener = Listener::from_fd(socket.try_clone().unwrap().into()).unwrap();
            let count = Arc::new(AtomicUsize::new(0));
            let _other = counting(&socket, &count);
            // The event loop of the test is awake, so either loop or both may have the edge.
            let _first = TcpStream::connect(address).unwrap();
            turn().await;
            let _second = TcpStream::connect(address).unwrap();
            turn().await;
            drop(listener);
            wait_until(|| count.load(Ordering::Relaxed) == 2);
        });
    }
}

#[test]
fn edge_taken_by_a_leaving_loop_reaches_another() {
    for _ in 0..10 {
        let socket = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = socket.local_addr().unwrap();
        let fd = socket.try_clone().unwrap();
        let (leave, mut left) = tokio::sync::mpsc::unbounded_channel::<()>();
        // The first listener in the kernel's list of waiters never accepts.
        let lazy = EventLoopThread::new(move || {
            spawn(async move {
                let listener = Listener::from_fd(fd.into()).unwrap();
                left.recv().await;
                drop(listener);
            });
        });
        inject(lazy.index, || ()).unwrap();
        let count = Arc::new(AtomicUsize::new(0));
        let other = counting(&socket, &count);
        std::thread::sleep(Duration::from_millis(1)); // both fall asleep
        let _client = TcpStream::connect(address).unwrap();
        leave.send(()).unwrap();
        wait_until(|| count.load(Ordering::Relaxed) == 1);
        drop((lazy, other));
    }
}

#[test]
fn pending_connections_are_inherited_while_paused() {
    on_loop(|| async {
        let socket = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = socket.local_addr().unwrap();
        let listener = Listener::from_fd(socket.into()).unwrap();
        let clients: Vec<_> = (0..3)
            .map(|_| TcpStream::connect(address).unwrap())
            .collect();
        turn().await;
        listener.pause();
        listener.pause();
        for _ in &clients {
            listener.try_accept().unwrap();
        }
        assert_eq!(
            listener.try_accept().unwrap_err().kind(),
            std::io::ErrorKind::WouldBlock
        );
    });
}

#[test]
fn descriptor_exhaustion_is_returned_to_the_caller() {
    const CHILD: &str = "EVENKEEL_TEST_EMFILE";
    // The limit applies to the process, so the test needs its own process.
    if std::env::var_os(CHILD).is_none() {
        let name = "tests::listeners::descriptor_exhaustion_is_returned_to_the_caller";
        let output = std::process::Command::new(std::env::current_exe().unwrap())
            .args(["--exact", name, "--nocapture"])
            .env(CHILD, "1")
            .output()
            .unwrap();
        assert!(
            output.status.success(),
            "{}",
            String::from_utf8_lossy(&output.stderr)
        );
        return;
    }
    on_loop(|| async {
        let socket = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = socket.local_addr().unwrap();
        let listener = Listener::from_fd(socket.into()).unwrap();
        let _client = TcpStream::connect(address).unwrap();
        let before = getrlimit(Resource::Nofile);
        let full = Rlimit {
            current: Some(3),
            maximum: before.maximum,
        };
        setrlimit(Resource::Nofile, full).unwrap();
        let error = listener.accept().await.unwrap_err();
        assert_eq!(
            error.raw_os_error(),
            Some(rustix::io::Errno::MFILE.raw_os_error())
        );
        listener.pause();
        sleep(Duration::from_millis(1)).await;
        setrlimit(Resource::Nofile, before).unwrap();
        listener.accept().await.unwrap();
    });
}
