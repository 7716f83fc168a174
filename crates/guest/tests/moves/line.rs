//! Tests a connection between two roles that carries the memory stream of a guest. QEMU may have
//! sent all of a small guest, and ended, before the other node has finished its handshake.

use super::trusted;
use guest::migration::{ConnectionPurpose, frame};
use guest::role::carrier::{NodeConnections, PORT};
use lab::eventually;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::net::sockopt::set_socket_recv_buffer_size;
use rustls::pki_types::ServerName;
use rustls::{ClientConnection, ServerConnection};
use std::io::{ErrorKind, Read, Write};
use std::net::{IpAddr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::os::unix::net::UnixStream;
use std::time::Duration;

const SOON: Duration = Duration::from_secs(20);
/// Length of the stream, which fits into the buffers of the sockets.
const STREAM_BYTES: usize = 150_000;
/// Limit of the bytes that arrive before anybody reads.
const ARRIVES_BYTES: usize = 30_000;

fn stream(bytes: usize) -> Vec<u8> {
    (0..bytes).map(|at| (at % 251) as u8).collect()
}

fn hello() -> ConnectionPurpose {
    ConnectionPurpose::Stream {
        guest: "mail".to_owned(),
        number: 1,
    }
}

#[test]
fn a_stream_that_ends_early_arrives_completely() {
    let [[alpha, beta], _] = trusted(61);
    let at = SocketAddr::new(beta.addresses["beta"][0], PORT);
    let listener = TcpListener::bind(at).unwrap();
    // Most of the stream does not arrive yet.
    set_socket_recv_buffer_size(&listener, 4096).unwrap();
    let mut carrier = NodeConnections::new().unwrap();
    carrier.trust(alpha);
    let (mut qemu, local) = UnixStream::pair().unwrap();
    qemu.write_all(&stream(STREAM_BYTES)).unwrap();
    qemu.shutdown(Shutdown::Write).unwrap();
    let _line = carrier.dial("beta", hello(), local);
    let (mut socket, _) = listener.accept().unwrap();
    let mut tls = ServerConnection::new(beta.server).unwrap();
    while !tls.wants_write() {
        tls.read_tls(&mut socket).unwrap();
        tls.process_new_packets().unwrap();
    }
    while tls.wants_write() {
        tls.write_tls(&mut socket).unwrap();
    }
    // The rest of the handshake is late: no side may have closed the connection in between.
    let mut watched = [PollFd::new(&qemu, PollFlags::empty())];
    let limit = Timespec {
        tv_sec: 1,
        tv_nsec: 0,
    };
    assert_eq!(poll(&mut watched, Some(&limit)), Ok(0));
    let mut came = Vec::new();
    loop {
        let mut piece = [0; 4096];
        match tls.reader().read(&mut piece) {
            Ok(0) => break,
            Ok(count) => came.extend_from_slice(&piece[..count]),
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                let done = tls.complete_io(&mut socket);
                done.unwrap_or_else(|error| panic!("{error}, after {} bytes", came.len()));
            }
            Err(error) => panic!("{error}, after {} bytes", came.len()),
        }
    }
    assert!(
        came.ends_with(&stream(STREAM_BYTES)),
        "{} bytes",
        came.len()
    );
    drop(socket);
    // Then the connection ends on this side, too.
    assert_eq!(qemu.read(&mut [0; 1]).unwrap(), 0);
}

#[test]
fn a_stream_before_a_reset_arrives_completely() {
    let [[alpha, beta], _] = trusted(62);
    let at = SocketAddr::new(beta.addresses["beta"][0], PORT);
    let mut carrier = NodeConnections::new().unwrap();
    carrier.trust(beta);
    let mut socket = None;
    assert!(eventually(SOON, || {
        socket = TcpStream::connect(at).ok();
        socket.is_some()
    }));
    let mut socket = socket.unwrap();
    let name = ServerName::IpAddress(IpAddr::from([0, 0, 0, 0]).into());
    let mut tls = ClientConnection::new(alpha.client, name).unwrap();
    tls.set_buffer_limit(None);
    tls.writer().write_all(&frame(&hello())).unwrap();
    tls.writer().write_all(&stream(ARRIVES_BYTES)).unwrap();
    while tls.is_handshaking() {
        tls.complete_io(&mut socket).unwrap();
    }
    tls.send_close_notify();
    while tls.wants_write() {
        tls.write_tls(&mut socket).unwrap();
    }
    // Closes while the last bytes of the other node's handshake are unread.
    drop(socket);
    let mut came = None;
    assert!(eventually(SOON, || {
        came = carrier.take_incoming();
        came.is_some()
    }));
    let came = came.unwrap();
    let (mut qemu, local) = UnixStream::pair().unwrap();
    came.give.send(local).unwrap();
    let mut bytes = Vec::new();
    qemu.read_to_end(&mut bytes).unwrap();
    assert!(bytes == stream(ARRIVES_BYTES), "{} bytes", bytes.len());
}
