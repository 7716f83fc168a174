//! Tests an export over TCP, served by a thread of the test, and its timeouts.

use crate::disk::open;
use crate::raw::{FLUSH, FUA, READ, Raw, WRITE, WRITE_ZEROES, head};
use crate::served::run;
use lab::{ScratchDirectory, skip_unless_installed};
use protocol::nbd;
use rustix::event::epoll::{self, CreateFlags, Event, EventData, EventFlags};
use rustix::time::Timespec;
use std::io::{Read, Write};
use std::net::TcpListener;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::{UnixListener, UnixStream};
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};
use volume::disk::{
    BUFFER_BYTES_MAX, BackingFile, Completion, Operation, OperationOutput, Pool, Preference, Token,
};
use volume::export::{CLIENTS_MAX, Export, ExportListener, HANDSHAKE_LEAST, HANDSHAKE_MAX, KEYS};
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
    let scratch = ScratchDirectory::new().unwrap();
    let source = scratch.write("source", vec![0x5a; SIZE as usize]).unwrap();
    let disk = scratch.write("disk", []).unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let (stop, stopped) = std::io::pipe().unwrap();
    let file = Arc::new(open(&disk));
    file.set_len(SIZE).unwrap();
    let server = std::thread::spawn(move || {
        let target = BackingFile {
            file,
            is_device: false,
            first: 0,
        };
        let listeners = vec![ExportListener::Tcp(listener)];
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
fn a_client_without_an_export_choice_is_closed_in_time() {
    let scratch = ScratchDirectory::new().unwrap();
    let socket = scratch.path().join("socket");
    let listeners = vec![ExportListener::Unix(UnixListener::bind(&socket).unwrap())];
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
    // The second client, with the events that epoll would report.
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

#[test]
fn silent_clients_do_not_block_others() {
    let scratch = ScratchDirectory::new().unwrap();
    let socket = scratch.path().join("socket");
    let listeners = vec![ExportListener::Unix(UnixListener::bind(&socket).unwrap())];
    let epoll = Rc::new(epoll::create(CreateFlags::CLOEXEC).unwrap());
    let mut export = Export::new(epoll, offered(), listeners, Pool::new().unwrap()).unwrap();
    let now = Instant::now();
    let connect = |_| UnixStream::connect(&socket).unwrap();
    let _silent: Vec<UnixStream> = (0..CLIENTS_MAX).map(connect).collect();
    while export.clients() < CLIENTS_MAX {
        export.handle_event(KEYS, EventFlags::IN, now);
    }
    let _other = connect(0);
    export.handle_event(KEYS, EventFlags::IN, now);
    assert_eq!(export.counters().accepted, CLIENTS_MAX as u64);
    let later = now + HANDSHAKE_LEAST;
    assert_eq!(export.deadline(), Some(later));
    export.handle_time(later);
    assert_eq!(export.settle().count(), 0);
    export.handle_event(KEYS, EventFlags::IN, later);
    let counters = export.counters();
    assert_eq!(
        (counters.accepted, counters.late),
        (CLIENTS_MAX as u64 + 1, 1)
    );
    assert_eq!(export.clients(), CLIENTS_MAX);
}

/// Processes events as an event loop would, until there are none. Returns the number of disk
/// operations.
fn drain(epoll: &OwnedFd, export: &mut Export) -> usize {
    operations(epoll, export).len()
}

/// Processes events like [`drain`]. Returns the disk operations.
fn operations(epoll: &OwnedFd, export: &mut Export) -> Vec<(Token, Operation)> {
    let mut operations = Vec::new();
    loop {
        let none = Event {
            flags: EventFlags::empty(),
            data: EventData::new_u64(0),
        };
        let mut events = [none; 8];
        let count = epoll::wait(epoll, &mut events, Some(&Timespec::default())).unwrap();
        for event in &events[..count] {
            export.handle_event(event.data.u64(), event.flags, Instant::now());
        }
        operations.extend(export.settle());
        if count == 0 {
            return operations;
        }
    }
}

#[test]
fn no_request_that_was_received_waits_for_the_next_one() {
    let scratch = ScratchDirectory::new().unwrap();
    let socket = scratch.path().join("socket");
    let listeners = vec![ExportListener::Unix(UnixListener::bind(&socket).unwrap())];
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
        // All requests arrive before the first one is processed.
        let mut requests = Vec::new();
        for cookie in 0..count as u64 {
            requests.extend(head(0, WRITE, cookie, cookie * 512, 512));
            requests.resize(requests.len() + 512, 1);
        }
        // The data ends with a header after a payload, so every receive call gets its full
        // length.
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

#[test]
fn a_stop_ends_requests_under_way_and_closes_clients_without_an_error() {
    let scratch = ScratchDirectory::new().unwrap();
    let socket = scratch.path().join("socket");
    let listeners = vec![ExportListener::Unix(UnixListener::bind(&socket).unwrap())];
    let epoll = Rc::new(epoll::create(CreateFlags::CLOEXEC).unwrap());
    let pool = Pool::new().unwrap();
    let mut export = Export::new(Rc::clone(&epoll), offered(), listeners, pool).unwrap();
    let mut clients = Vec::new();
    for _ in 0..2 {
        let stream = UnixStream::connect(&socket).unwrap();
        let client = std::thread::spawn(|| Raw::new(stream, false));
        assert!(lab::eventually(Duration::from_secs(10), || {
            drain(&epoll, &mut export);
            client.is_finished()
        }));
        clients.push(client.join().unwrap());
    }
    let [mut busy, mut idle] = <[Raw; 2]>::try_from(clients).ok().unwrap();
    // A complete write, and a half-received one.
    let whole = busy.request(0, WRITE, 0, 512);
    busy.stream.write_all(&[1; 512]).unwrap();
    busy.request(0, WRITE, 512, 8192);
    busy.stream.write_all(&[1; 4096]).unwrap();
    for place in 0..2 {
        export.handle_event((2 << 32) + place, EventFlags::IN, Instant::now());
    }
    let mut under_way: Vec<_> = export.settle().collect();
    assert_eq!(under_way.len(), 1, "{under_way:?}");
    export.stop();
    // Later requests get no reply, not even an error about the closed export.
    busy.stream.write_all(&[1; 4096]).unwrap();
    busy.request(0, FLUSH, 0, 0);
    idle.request(0, FLUSH, 0, 0);
    assert_eq!(drain(&epoll, &mut export), 0);
    assert!(export.is_busy());
    assert_eq!(export.clients(), 1, "the idle one is closed");
    let (token, operation) = under_way.remove(0);
    assert!(matches!(operation, Operation::Write { .. }));
    let result = Ok(OperationOutput::Done);
    export.handle_completion(Completion { token, result });
    drain(&epoll, &mut export);
    assert_eq!((export.is_busy(), export.clients()), (false, 0));
    assert_eq!(busy.simple(), (whole, 0));
    for mut client in [busy, idle] {
        // The kernel resets the connection if the export left input unread.
        let end = client.stream.read(&mut [0; 16]);
        assert!(end.as_ref().map_or(true, |count| *count == 0), "{end:?}");
    }
}

/// Export of 1 GiB without a disk, and `count` clients.
fn with_clients(count: usize) -> (ScratchDirectory, Rc<OwnedFd>, Export, Vec<Raw>) {
    with_memory(count, Pool::new().unwrap(), false)
}

fn with_memory(
    count: usize,
    pool: Pool,
    structured: bool,
) -> (ScratchDirectory, Rc<OwnedFd>, Export, Vec<Raw>) {
    let scratch = ScratchDirectory::new().unwrap();
    let socket = scratch.path().join("socket");
    let listeners = vec![ExportListener::Unix(UnixListener::bind(&socket).unwrap())];
    let epoll = Rc::new(epoll::create(CreateFlags::CLOEXEC).unwrap());
    let offered = nbd::Export {
        size: 1 << 30,
        ..offered()
    };
    let mut export = Export::new(Rc::clone(&epoll), offered, listeners, pool).unwrap();
    let clients = (0..count)
        .map(|_| {
            let stream = UnixStream::connect(&socket).unwrap();
            let client = std::thread::spawn(move || Raw::new(stream, structured));
            assert!(lab::eventually(Duration::from_secs(10), || {
                drain(&epoll, &mut export);
                client.is_finished()
            }));
            client.join().unwrap()
        })
        .collect();
    (scratch, epoll, export, clients)
}

#[test]
fn many_long_ranges_do_not_starve_other_clients() {
    const RANGE: u32 = 64 << 20;
    let (_scratch, epoll, mut export, mut clients) = with_clients(14);
    let [good, greedy @ ..] = &mut clients[..] else {
        unreachable!()
    };
    for client in &mut *greedy {
        for number in 0..16 {
            client.request(FUA, WRITE_ZEROES, number * u64::from(RANGE), RANGE);
        }
    }
    let mut at_disk = operations(&epoll, &mut export);
    assert_eq!(at_disk.len(), 13, "one of each client: {at_disk:?}");
    good.request(0, READ, 0, 4096);
    let wanted = operations(&epoll, &mut export);
    assert!(matches!(wanted[..], [(_, Operation::Read { .. })]));
    // The other clients continue in turn, each with a flush and the next range.
    for _ in 0..15 {
        for (token, _) in std::mem::take(&mut at_disk) {
            let result = Ok(OperationOutput::Done);
            export.handle_completion(Completion { token, result });
        }
        let (flushes, ranges): (Vec<_>, Vec<_>) = operations(&epoll, &mut export)
            .into_iter()
            .partition(|(_, one)| matches!(one, Operation::Flush));
        assert_eq!((flushes.len(), ranges.len()), (13, 13));
        for (token, _) in flushes {
            let result = Ok(OperationOutput::Done);
            export.handle_completion(Completion { token, result });
        }
        assert_eq!(drain(&epoll, &mut export), 0);
        at_disk = ranges;
    }
    for (place, client) in greedy.iter_mut().enumerate() {
        for _ in 0..15 {
            assert_eq!(client.simple().1, 0, "{place}");
        }
    }
}

#[test]
fn a_client_has_short_ranges_at_the_disk_together() {
    let (_scratch, epoll, mut export, mut clients) = with_clients(1);
    for number in 0..64 {
        clients[0].request(0, WRITE_ZEROES, number << 20, 1 << 20);
    }
    let mut at_disk = operations(&epoll, &mut export);
    assert_eq!(at_disk.len(), 32);
    let (token, _) = at_disk.remove(0);
    let result = Ok(OperationOutput::Done);
    export.handle_completion(Completion { token, result });
    assert_eq!(drain(&epoll, &mut export), 1);
    // The export keeps nothing of a disconnected client. A process that another test starts may
    // inherit the client's connection until it executes its program.
    clients.clear();
    let is_gone = || {
        drain(&epoll, &mut export);
        export.clients() == 0
    };
    assert!(lab::eventually(Duration::from_secs(60), is_gone));
    for (token, _) in at_disk {
        let result = Ok(OperationOutput::Done);
        export.handle_completion(Completion { token, result });
    }
    assert_eq!(drain(&epoll, &mut export), 0);
}

#[test]
fn a_client_waiting_for_memory_continues_when_some_is_free() {
    const WHOLE: u32 = 8 << 20;
    let pool = Pool::new().unwrap();
    let (_scratch, epoll, mut export, mut clients) = with_memory(1, pool.clone(), true);
    // Takes all shared memory, as data from the other node of a volume can.
    let other = pool.account();
    let mut held: Vec<_> = std::iter::from_fn(|| pool.take(&other, BUFFER_BYTES_MAX)).collect();
    clients[0].request(0, READ, 0, WHOLE);
    let at_disk = operations(&epoll, &mut export);
    assert!(!at_disk.is_empty(), "its own share");
    assert_eq!(export.deadline(), None, "nothing to be done");
    held.pop();
    assert!(export.deadline().is_some_and(|at| at <= Instant::now()));
    let more: Vec<_> = export.settle().collect();
    assert_eq!((more.len(), export.deadline()), (1, None));
}

#[test]
fn a_client_that_reads_at_any_pace_gets_all_replies() {
    const WHOLE: u32 = 512 << 10;
    const READS: usize = 20_000;
    let pool = Pool::new().unwrap();
    let (_scratch, epoll, mut export, mut clients) = with_memory(1, pool.clone(), true);
    let other = pool.account();
    let _held: Vec<_> = std::iter::from_fn(|| pool.take(&other, BUFFER_BYTES_MAX)).collect();
    let mut client = clients.remove(0);
    let reader = std::thread::spawn(move || {
        for _ in 0..READS {
            client.request(0, READ, 0, WHOLE);
            while !client.chunk().is_last {}
        }
    });
    while export.clients() > 0 {
        let mut events = [Event {
            flags: EventFlags::empty(),
            data: EventData::new_u64(0),
        }; 8];
        let at = export.deadline();
        let patience = Timespec {
            tv_sec: if at.is_some() { 0 } else { 60 },
            tv_nsec: 0,
        };
        let count = epoll::wait(&epoll, &mut events, Some(&patience)).unwrap();
        assert!(count > 0 || at.is_some(), "nothing lets it continue");
        for event in &events[..count] {
            export.handle_event(event.data.u64(), event.flags, Instant::now());
        }
        let mut asked: Vec<_> = export.settle().collect();
        while !asked.is_empty() {
            for (token, operation) in asked.drain(..) {
                let Operation::Read { mut buffer, .. } = operation else {
                    panic!("{operation:?}")
                };
                buffer.bytes_mut().fill(1);
                let result = Ok(OperationOutput::Data(buffer));
                export.handle_completion(Completion { token, result });
            }
            asked.extend(export.settle());
        }
    }
    reader.join().unwrap();
}
