//! Tests an echo server and its clients over TCP, used in the way the proxy uses sockets.

use super::on_loop;
use crate::{Buffer, Listener, StreamSocket, inject, load, spawn, stop, tasks, thread};
use rustix::net::{SocketAddrAny, getsockname};
use std::net::TcpListener;

/// Returns a listening socket on a port chosen by the kernel, and its address.
pub(super) fn listening() -> (Listener, SocketAddrAny) {
    let socket = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = getsockname(&socket).unwrap();
    (Listener::from_fd(socket.into()).unwrap(), address)
}

async fn echo(socket: StreamSocket) {
    loop {
        socket.readable().await;
        let mut buffer = Buffer::take();
        match buffer.read_from(&socket) {
            Ok(0) => return,
            Ok(_) => {}
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => continue,
            Err(_) => return,
        }
        while !buffer.is_empty() {
            match socket.try_write(buffer.filled()) {
                Ok(n) => buffer.consume(n),
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {
                    socket.writable().await;
                }
                Err(_) => return,
            }
        }
    }
}

async fn talk(address: SocketAddrAny, rounds: usize) {
    let socket = StreamSocket::connect(&address).unwrap();
    socket.connected().await.unwrap();
    for round in 0..rounds {
        let question = format!("question {round}");
        assert_eq!(
            socket.try_write(question.as_bytes()).unwrap(),
            question.len()
        );
        let mut answer = Vec::new();
        while answer.len() < question.len() {
            socket.readable().await;
            let mut part = [0; 100];
            match socket.try_read(&mut part) {
                Ok(n) => answer.extend_from_slice(&part[..n]),
                Err(error) => assert_eq!(error.kind(), std::io::ErrorKind::WouldBlock),
            }
        }
        assert_eq!(answer, question.as_bytes());
    }
}

#[test]
fn echo_server_serves_many_clients_on_one_thread() {
    on_loop(|| async {
        let (listener, address) = listening();
        spawn(async move {
            while let Ok((fd, peer)) = listener.accept().await {
                assert!(peer.is_some());
                spawn(echo(StreamSocket::from_fd(fd).unwrap()));
            }
        });
        let (done, mut finished) = tokio::sync::mpsc::unbounded_channel();
        for _ in 0..50 {
            let (address, done) = (address.clone(), done.clone());
            spawn(async move {
                talk(address, 20).await;
                done.send(()).unwrap();
            });
        }
        assert!(tasks() >= 51);
        for _ in 0..50 {
            finished.recv().await.unwrap();
        }
    });
}

#[test]
fn accepted_sockets_go_to_the_loop_of_another_thread() {
    let there = super::ThreadIndex::default();
    let other = there.0;
    let (ready, is_ready) = std::sync::mpsc::channel();
    let server = std::thread::spawn(move || {
        crate::run(other, || ready.send(()).unwrap()).unwrap();
    });
    is_ready.recv().unwrap();
    on_loop(move || async move {
        let (listener, address) = listening();
        spawn(async move {
            while let Ok((fd, _)) = listener.accept().await {
                inject(other, move || {
                    assert_eq!(thread(), other);
                    spawn(echo(StreamSocket::from_fd(fd).unwrap()));
                })
                .unwrap();
            }
        });
        for _ in 0..20 {
            talk(address.clone(), 5).await;
        }
        assert!(load(other) <= 20);
    });
    stop(other);
    server.join().unwrap();
}
