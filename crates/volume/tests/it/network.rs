//! An export over TCP, served by a thread of the test; and timeouts.

use crate::disk::open;
use crate::raw::{FLUSH, Raw, WRITE, head};
use crate::served::run;
use lab::{Scratch, skip_unless_installed};
use protocol::nbd;
use rustix::event::epoll::{self, CreateFlags, Event, EventData, EventFlags};
use rustix::time::Timespec;
use std::io::Write;
use std::net::TcpListener;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::{UnixListener, UnixStream};
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};
use volume::disk::{Pool, Preference, Target};
use volume::export::{Export, HANDSHAKE_MAX, KEYS, Listener};
use volume::single::Single;

const SIZE: u64 = 16 << 20;

fn offered() -> nbd::Export {
    nbd::Export {
        name: "mail".to_owned(),
        description: String::new(),
        size: SIZE,
        read_only: false,
        multi_conn: false,
        block_min: 512,
        block_preferred: 4096,
    }
}

#[test]
fn a_volume_is_served_over_tcp_until_it_is_stopped() {
    skip_unless_installed!("nbdcopy");
    let scratch = Scratch::new().unwrap();
    let source = scratch.write("source", vec![0x5a; SIZE as usize]).unwrap();
    let disk = scratch.write("disk", []).unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let (stop, stopped) = std::io::pipe().unwrap();
    let file = Arc::new(open(&disk));
    file.set_len(SIZE).unwrap();
    let server = std::thread::spawn(move || {
        let target = Target {
            file,
            is_device: false,
            first: 0,
        };
        let listeners = vec![Listener::Tcp(listener)];
        let single = Single::new(&target, offered(), listeners, Preference::Best).unwrap();
        single.run(stop.as_fd()).unwrap();
    });
    let uri = format!("nbd://127.0.0.1:{port}/mail");
    run("nbdcopy", &[source.to_str().unwrap(), &uri]);
    drop(stopped);
    server.join().unwrap();
    assert!(std::fs::read(disk).unwrap() == std::fs::read(source).unwrap());
}

#[test]
fn a_client_that_chooses_no_export_in_time_is_closed() {
    let scratch = Scratch::new().unwrap();
    let socket = scratch.path().join("socket");
    let listeners = vec![Listener::Unix(UnixListener::bind(&socket).unwrap())];
    let epoll = Rc::new(epoll::create(CreateFlags::CLOEXEC).unwrap());
    let mut export = Export::new(epoll, offered(), listeners, Pool::new().unwrap()).unwrap();
    let now = Instant::now();
    assert_eq!(export.deadline(), None);
    let _slow = UnixStream::connect(&socket).unwrap();
    let quick = UnixStream::connect(&socket).unwrap();
    export.handle_event(KEYS, EventFlags::IN, now);
    assert_eq!(
        (export.clients(), export.deadline()),
        (2, Some(now + HANDSHAKE_MAX))
    );
    let client = std::thread::spawn(|| Raw::new(quick, true));
    // The second of the two: its events, as epoll would report them.
    let chosen = lab::eventually(Duration::from_secs(10), || {
        for place in 0..2 {
            export.handle_event((2 << 32) + place, EventFlags::IN, now);
        }
        assert_eq!(export.settle().count(), 0);
        client.is_finished()
    });
    assert!(chosen);
    export.handle_time(now + HANDSHAKE_MAX);
    assert_eq!((export.clients(), export.deadline()), (1, None));
    assert_eq!(export.counters().late, 1);
    drop(client.join());
}

/// Takes events as a loop would, until there is none. Returns the operations for the disk.
fn drain(epoll: &OwnedFd, export: &mut Export) -> usize {
    let mut operations = 0;
    loop {
        let none = Event {
            flags: EventFlags::empty(),
            data: EventData::new_u64(0),
        };
        let mut events = [none; 8];
        let count = epoll::wait(epoll, &mut events, Some(&Timespec::default())).unwrap();
        for event in &events[..count] {
            export.handle_event({ event.data }.u64(), event.flags, Instant::now());
        }
        operations += export.settle().count();
        if count == 0 {
            return operations;
        }
    }
}

#[test]
fn no_request_that_was_received_waits_for_the_next_one() {
    let scratch = Scratch::new().unwrap();
    let socket = scratch.path().join("socket");
    let listeners = vec![Listener::Unix(UnixListener::bind(&socket).unwrap())];
    let epoll = Rc::new(epoll::create(CreateFlags::CLOEXEC).unwrap());
    let pool = Pool::new().unwrap();
    let mut export = Export::new(Rc::clone(&epoll), offered(), listeners, pool).unwrap();
    for count in 1..=60_usize {
        let stream = UnixStream::connect(&socket).unwrap();
        let client = std::thread::spawn(|| Raw::new(stream, false));
        assert!(lab::eventually(Duration::from_secs(10), || {
            drain(&epoll, &mut export);
            client.is_finished()
        }));
        let mut client = client.join().unwrap();
        // All of them are there before the first is looked at.
        let mut requests = Vec::new();
        for cookie in 0..count as u64 {
            requests.extend(head(0, WRITE, cookie, cookie * 512, 512));
            requests.resize(requests.len() + 512, 1);
        }
        // The last bytes are a head behind a payload, so every receive gets all it asks for.
        requests.extend(head(0, FLUSH, 1000, 0, 0));
        client.stream.write_all(&requests).unwrap();
        assert_eq!(
            drain(&epoll, &mut export),
            count + 1,
            "{count} writes and a flush"
        );
        drop(client);
        drain(&epoll, &mut export);
    }
}
