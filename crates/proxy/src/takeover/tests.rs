//! Tests both sides of the transfer of listening sockets against each other, and each against a
//! process that violates the protocol.

use super::client::{fetch_over, send_with};
use super::wire::{self, SocketRecord, WireError};
use super::{TakeoverError, TakeoverSource, fetch, hand_over};
use rustix::net::{AddressFamily, SocketFlags, SocketType};
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::net::{UnixListener, UnixStream};
use std::sync::Arc;
use std::time::{Duration, Instant};

const SOON: Duration = Duration::from_secs(60);

fn sockets(number: usize) -> Vec<Arc<OwnedFd>> {
    let open = || rustix::net::socket(AddressFamily::UNIX, SocketType::STREAM, None).unwrap();
    (0..number).map(|_| Arc::new(open())).collect()
}

fn inode(fd: impl AsFd) -> u64 {
    rustix::fs::fstat(fd).unwrap().st_ino
}

/// Returns the result of a takeover from a peer with this behaviour.
fn taken_from(peer: impl FnOnce(UnixStream) + Send + 'static) -> Result<usize, TakeoverError> {
    taken_within(SOON, peer)
}

fn taken_within(
    limit: Duration,
    peer: impl FnOnce(UnixStream) + Send + 'static,
) -> Result<usize, TakeoverError> {
    let (ours, theirs) = UnixStream::pair().unwrap();
    let thread = std::thread::spawn(move || peer(theirs));
    let result = fetch_over(&ours.into(), Instant::now() + limit);
    thread.join().unwrap();
    result.map(|sockets| sockets.len())
}

#[test]
fn any_number_of_sockets_arrives_in_order() {
    for number in [0, 1, 252, 253, 600] {
        let sockets = sockets(number);
        let given = sockets.clone();
        let (ours, theirs) = UnixStream::pair().unwrap();
        theirs.set_nonblocking(true).unwrap();
        let thread = std::thread::spawn(move || {
            let theirs: OwnedFd = theirs.into();
            hand_over(&theirs, &given)
        });
        let taken = fetch_over(&ours.into(), Instant::now() + SOON).unwrap();
        thread.join().unwrap().unwrap();
        let came: Vec<u64> = taken.iter().map(|socket| inode(&socket.fd)).collect();
        let sent: Vec<u64> = sockets.iter().map(inode).collect();
        assert_eq!(came, sent);
        assert!(
            taken
                .iter()
                .all(|socket| socket.description == SocketRecord::default())
        );
        let flags = |fd: &OwnedFd| rustix::io::fcntl_getfd(fd).unwrap();
        assert!(
            taken
                .iter()
                .all(|socket| flags(&socket.fd).contains(rustix::io::FdFlags::CLOEXEC))
        );
    }
}

#[test]
fn interface_of_a_socket_is_transferred() {
    if !rustix::process::geteuid().is_root() {
        return;
    }
    let socket = rustix::net::socket(AddressFamily::INET, SocketType::STREAM, None).unwrap();
    nix::sys::socket::setsockopt(
        &socket,
        nix::sys::socket::sockopt::BindToDevice,
        &"lo".into(),
    )
    .unwrap();
    let sockets = [Arc::new(socket)];
    let (ours, theirs) = UnixStream::pair().unwrap();
    hand_over(&theirs.into(), &sockets).unwrap();
    let taken = fetch_over(&ours.into(), Instant::now() + SOON).unwrap();
    assert_eq!(&*taken[0].description.interface, b"lo");
}

#[test]
fn protocol_violation_is_reported_and_sockets_closed() {
    let read = |stream: &mut UnixStream| {
        let mut request = [0; wire::REQUEST.len()];
        stream.read_exact(&mut request).unwrap();
        assert_eq!(request, wire::REQUEST);
    };
    let result = taken_from(move |mut stream| read(&mut stream));
    assert!(matches!(result, Err(TakeoverError::Refused)), "{result:?}");
    // A peer that closes without reading.
    let result = taken_from(drop);
    assert!(
        matches!(
            result,
            Err(TakeoverError::Refused | TakeoverError::Failed(_))
        ),
        "{result:?}"
    );
    let result = taken_from(move |mut stream| {
        read(&mut stream);
        stream.write_all(&wire::number(3)).unwrap();
    });
    assert!(matches!(result, Err(TakeoverError::Ended)), "{result:?}");
    let result = taken_from(move |mut stream| {
        read(&mut stream);
        stream.write_all(b"Unknown command\n").unwrap();
    });
    let too_many = WireError::TooMany(u32::from_ne_bytes(*b"Unkn"));
    assert!(
        matches!(&result, Err(TakeoverError::Wire(error)) if *error == too_many),
        "{result:?}"
    );
    let result = taken_within(Duration::from_millis(500), move |mut stream| {
        let mut request = [0; wire::REQUEST.len()];
        // If the time is already over, there is no request to read.
        let _ = stream.read_exact(&mut request);
        let _ = stream.write_all(&wire::number(3));
        // The peer neither continues nor closes.
        let _ = stream.read(&mut [0]);
    });
    assert!(matches!(result, Err(TakeoverError::Timeout)), "{result:?}");
    // The peer sends more descriptors than it announced. All received descriptors are closed.
    let (listener, address) = {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        (listener, address)
    };
    let result = taken_from(move |mut stream| {
        read(&mut stream);
        stream.write_all(&wire::number(1)).unwrap();
        let both = [listener.as_fd(), listener.as_fd()];
        send_with(stream.as_fd(), &[0; 12], &both).unwrap();
    });
    assert!(
        matches!(result, Err(TakeoverError::Wire(WireError::MoreDescriptors))),
        "{result:?}"
    );
    assert!(TcpStream::connect(address).is_err());
}

#[test]
fn silent_receiver_is_given_up() {
    let sockets = sockets(253);
    let (ours, theirs) = UnixStream::pair().unwrap();
    drop(ours.shutdown(std::net::Shutdown::Write));
    let result = hand_over(&theirs.into(), &sockets);
    assert!(matches!(result, Err(TakeoverError::Ended)), "{result:?}");
}

#[test]
fn sockets_go_over_unix_sockets_only() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let result = hand_over(&client.into(), &[]);
    assert!(matches!(result, Err(TakeoverError::NotUnix)), "{result:?}");
}

#[test]
fn sources_are_paths_abstract_names_and_ends_of_pairs() {
    let padded = |name: &str| {
        let mut name = name.as_bytes().to_vec();
        name.resize(107, 0);
        TakeoverSource::Abstract(name)
    };
    for (text, source) in [
        ("/run/a.sock", TakeoverSource::Path("/run/a.sock".into())),
        (
            "unix@/run/a.sock",
            TakeoverSource::Path("/run/a.sock".into()),
        ),
        ("a.sock", TakeoverSource::Path("a.sock".into())),
        ("abns@x", padded("x")),
        ("sockpair@5", TakeoverSource::Pair(5)),
    ] {
        assert_eq!(text.parse(), Ok(source), "{text}");
    }
    for text in [
        "",
        "unix@",
        "abns@",
        "sockpair@",
        "sockpair@x",
        "sockpair@-1",
    ] {
        assert!(text.parse::<TakeoverSource>().is_err(), "{text}");
    }
}

#[test]
fn missing_source_is_reported() {
    let source = TakeoverSource::Path("/nonexistent/x.sock".into());
    let result = fetch(&source, SOON);
    assert!(matches!(result, Err(TakeoverError::Connect(_))));
    let result = fetch(&TakeoverSource::Pair(i32::MAX), SOON);
    assert!(matches!(result, Err(TakeoverError::Connect(_))));
}

#[test]
fn a_full_queue_ends_by_the_limit() {
    let name = format!("evenkeel-takeover-{}", std::process::id());
    let path = std::env::temp_dir().join(name);
    let listener = UnixListener::bind(&path).unwrap();
    rustix::net::listen(&listener, 0).unwrap();
    let _first = UnixStream::connect(&path).unwrap();
    let limit = Duration::from_millis(100);
    let result = fetch(&TakeoverSource::Path(path.clone()), limit);
    std::fs::remove_file(&path).unwrap();
    assert!(matches!(result, Err(TakeoverError::Timeout)), "{result:?}");
}

#[test]
fn a_connection_may_be_made_through_a_pair() {
    let flags = SocketFlags::CLOEXEC;
    let (theirs, ours) =
        rustix::net::socketpair(AddressFamily::UNIX, SocketType::STREAM, flags, None).unwrap();
    let sockets = sockets(3);
    let thread = std::thread::spawn(move || {
        let mut bytes = [0; 2];
        let mut space = [std::mem::MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut control = rustix::net::RecvAncillaryBuffer::new(&mut space);
        let mut into = [rustix::io::IoSliceMut::new(&mut bytes)];
        let flags = rustix::net::RecvFlags::CMSG_CLOEXEC;
        rustix::net::recvmsg(&theirs, &mut into, &mut control, flags).unwrap();
        let mut came: Vec<OwnedFd> = control
            .drain()
            .filter_map(|one| match one {
                rustix::net::RecvAncillaryMessage::ScmRights(fds) => Some(fds),
                _ => None,
            })
            .flatten()
            .collect();
        hand_over(&came.remove(0), &sockets).unwrap();
    });
    let taken = fetch(&TakeoverSource::Pair(ours.as_raw_fd()), SOON).unwrap();
    thread.join().unwrap();
    assert_eq!(taken.len(), 3);
}
