//! Tests the AoE server: frames as bytes, disks, and the order of requests.

use super::bay::{AoeTarget, AoeTargetConfig, FrameSender};
use super::frame::{AoeAddress, Header, sectors_max};
use super::queue::{AoeClientRequest, Queue};
use super::request::{Request, announcement};
use crate::disk::{BootCounts, Disk, DiskError, FileDisk, NbdDisk, ServedDisk};
use crate::mac::Mac;
use lab::{ScratchDirectory, eventually};
use protocol::nbd::{
    Export, GREETING, Gate, Handshake, NbdCommand, NbdHandshakeStep, NbdTransport, REQUEST_BYTES,
    Session,
};
use protocol::nbd::{NbdRequestHeader, reply};
use std::cell::Cell;
use std::io::{self, Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::time::Duration;

const E0_1: AoeAddress = AoeAddress { shelf: 0, slot: 1 };
const MTU: usize = 1500;
const PATIENCE: Duration = Duration::from_secs(60);

struct AoeMemoryDisk {
    bytes: Mutex<Vec<u8>>,
    flushes: Mutex<u32>,
}

impl AoeMemoryDisk {
    fn new(bytes: usize) -> AoeMemoryDisk {
        AoeMemoryDisk {
            bytes: Mutex::new((0..bytes).map(|at| (at / 512) as u8).collect()),
            flushes: Mutex::new(0),
        }
    }
}

impl Disk for AoeMemoryDisk {
    fn reach(&self) -> Result<(), DiskError> {
        Ok(())
    }

    fn size(&self) -> Result<u64, DiskError> {
        Ok(self.bytes.lock().unwrap().len() as u64)
    }

    fn read(&self, offset: u64, bytes: &mut [u8]) -> Result<(), DiskError> {
        let at = offset as usize;
        bytes.copy_from_slice(&self.bytes.lock().unwrap()[at..at + bytes.len()]);
        Ok(())
    }

    fn write(&self, offset: u64, bytes: &[u8]) -> Result<(), DiskError> {
        let at = offset as usize;
        self.bytes.lock().unwrap()[at..at + bytes.len()].copy_from_slice(bytes);
        Ok(())
    }

    fn flush(&self) -> Result<(), DiskError> {
        *self.flushes.lock().unwrap() += 1;
        Ok(())
    }

    fn close(&self) {}
}

/// Disk that always fails with one error.
struct FailingDisk(fn() -> DiskError);

impl Disk for FailingDisk {
    fn reach(&self) -> Result<(), DiskError> {
        Ok(())
    }

    fn size(&self) -> Result<u64, DiskError> {
        match (self.0)() {
            DiskError::Away(error) => Err(DiskError::Away(error)),
            _ => Ok(1 << 20),
        }
    }

    fn read(&self, _: u64, _: &mut [u8]) -> Result<(), DiskError> {
        Err((self.0)())
    }

    fn write(&self, _: u64, _: &[u8]) -> Result<(), DiskError> {
        Err((self.0)())
    }

    fn flush(&self) -> Result<(), DiskError> {
        Err((self.0)())
    }

    fn close(&self) {}
}

/// Builds a request to e0.1 with the tag 1, 2, 3, 4.
fn frame(command: u8, body: &[&[u8]]) -> Vec<u8> {
    [&[0x10, 0, 0, 0, 1, command, 1, 2, 3, 4][..], &body.concat()].concat()
}

/// Builds an ATA command: flags, count, command and address.
fn ata(flags: u8, count: u8, command: u8, lba: [u8; 6], data: &[u8]) -> Vec<u8> {
    let [a, b, c, d, e, f] = lba;
    frame(
        0,
        &[&[flags, 0, count, command, a, b, c, d, e, f, 0, 0], data],
    )
}

fn served(frame: &[u8], disk: &dyn Disk) -> Option<Vec<u8>> {
    Request::parse(frame, MTU)?
        .serve(E0_1, "root", MTU, disk)
        .unwrap()
}

/// Returns the registers of a reply: error, count, status.
fn registers(reply: &[u8]) -> (u8, u8, u8) {
    assert_eq!(reply[..10], [0x18, 0, 0, 0, 1, 0, 1, 2, 3, 4]);
    (reply[11], reply[12], reply[13])
}

#[test]
fn a_query_is_answered_with_the_window_the_sectors_and_the_name() {
    let disk = AoeMemoryDisk::new(4096);
    let all = [
        0x10, 0, 0xff, 0xff, 0xff, 1, 9, 8, 7, 6, 0, 0, 0, 0, 0, 0, 0, 0,
    ];
    let mut expected = vec![0x18, 0, 0, 0, 1, 1, 9, 8, 7, 6, 0, 64, 0, 1, 2, 0x10, 0, 4];
    expected.extend(b"root");
    expected.resize(46, 0);
    assert_eq!(served(&all, &disk), Some(expected.clone()));
    let announced = announcement(E0_1, "root", MTU);
    assert_eq!(
        (&announced[..6], &announced[10..]),
        (&expected[..6], &expected[10..])
    );
    assert!(E0_1.is_asked(AoeAddress {
        shelf: 0xffff,
        slot: 1
    }));
    assert!(!E0_1.is_asked(AoeAddress {
        shelf: 0xffff,
        slot: 2
    }));
    assert!(!E0_1.is_asked(AoeAddress {
        shelf: 1,
        slot: 0xff
    }));
    // Tests of the config string: exact match, and match of a prefix.
    let test = |command: u8, string: &[u8]| {
        let length = [0, 0, 0, 0, 0, 0x10 | command, 0, string.len() as u8];
        served(&frame(1, &[&length, string]), &disk).map(|reply| (reply[0], reply[1]))
    };
    assert_eq!(test(1, b"root"), Some((0x18, 0)));
    assert_eq!(test(1, b"roo"), None);
    assert_eq!(test(2, b"roo"), Some((0x18, 0)));
    assert_eq!(test(2, b"x"), None);
    assert_eq!(test(3, b"mine"), Some((0x1c, 4)));
    assert_eq!(test(4, b"mine"), Some((0x1c, 2)));
    // A config string that is longer than the frame.
    let cut = frame(1, &[&[0, 0, 0, 0, 0, 0x10, 4, 0]]);
    assert_eq!(served(&cut, &disk).map(|reply| reply[1]), Some(2));
}

#[test]
fn what_no_target_can_do_is_refused_or_has_no_reply() {
    let disk = AoeMemoryDisk::new(4096);
    let error = |frame: &[u8]| served(frame, &disk).map(|reply| (reply[0], reply[1]));
    assert_eq!(error(&frame(2, &[&[0; 8]])), Some((0x1c, 1)), "mask list");
    assert_eq!(error(&frame(3, &[&[0; 8]])), Some((0x1c, 1)), "reserve");
    let mut old = frame(1, &[&[0; 8]]);
    old[0] = 0x20;
    assert_eq!(error(&old), Some((0x1c, 5)), "version");
    old[0] = 0x18;
    assert_eq!(error(&old), None, "a reply");
    let whole = ata(0, 1, 0x20, [0; 6], &[]);
    for length in 0..whole.len() {
        assert_eq!(error(&whole[..length]), None, "{length}");
    }
    for count in [0, 3, 255] {
        let read = ata(0, count, 0x20, [0; 6], &[]);
        assert_eq!(error(&read), Some((0x1c, 2)), "{count} sectors");
    }
    let short = ata(1, 2, 0x30, [0; 6], &[0; 1023]);
    assert_eq!(error(&short), Some((0x1c, 2)));
    assert_eq!(
        (sectors_max(1500), sectors_max(9000), sectors_max(20)),
        (2, 17, 0)
    );
    assert_eq!(sectors_max(1 << 20), 255);
    assert!(Header::parse(&[0x10; 9]).is_none());
}

#[test]
fn sectors_are_read_and_written_by_both_kinds_of_addresses() {
    let disk = AoeMemoryDisk::new(8 * 512);
    for (flags, command) in [(0, 0x20), (0x40, 0x24), (0, 0xc8), (0x40, 0x25)] {
        let reply = served(&ata(flags, 2, command, [5, 0, 0, 0, 0, 0], &[]), &disk).unwrap();
        assert_eq!(registers(&reply), (0, 0, 0x40));
        assert_eq!(reply.len(), 22 + 1024);
        assert!(reply[22..534].iter().all(|byte| *byte == 5));
        assert!(reply[534..].iter().all(|byte| *byte == 6));
    }
    // Without the LBA48 flag, the upper half of the fourth byte is not part of the address.
    let reply = served(&ata(0, 1, 0x20, [5, 0, 0, 0xe0, 9, 9], &[]), &disk).unwrap();
    assert_eq!((registers(&reply).0, reply[22]), (0, 5));
    for (at, (flags, command)) in [(1, 0x30), (0x41, 0x34), (1, 0xca), (0x41, 0x35)]
        .iter()
        .enumerate()
    {
        let data = [0xa0 | at as u8; 512];
        let reply = served(
            &ata(*flags, 1, *command, [at as u8, 0, 0, 0, 0, 0], &data),
            &disk,
        );
        assert_eq!(registers(&reply.unwrap()), (0, 0, 0x40));
        assert_eq!(disk.bytes.lock().unwrap()[at * 512..][..512], data);
    }
    // Beyond the end of the disk, also with the largest address.
    for lba in [[7, 0, 0, 0, 0, 0], [0xff; 6]] {
        let reply = served(&ata(0x40, 2, 0x24, lba, &[]), &disk).unwrap();
        assert_eq!((registers(&reply), reply.len()), ((0x10, 2, 0x41), 46));
    }
    for (times, command) in [(1, 0xe7), (2, 0xea)] {
        let reply = served(&ata(0, 0, command, [0; 6], &[]), &disk).unwrap();
        assert_eq!(registers(&reply), (0, 0, 0x40));
        assert_eq!(*disk.flushes.lock().unwrap(), times);
    }
    let reply = served(&ata(0, 1, 0xb0, [0; 6], &[]), &disk).unwrap();
    assert_eq!(registers(&reply), (4, 1, 0x41), "SMART");
}

#[test]
fn a_disk_says_what_it_is() {
    let disk = AoeMemoryDisk::new(8 * 512);
    let reply = served(&ata(0, 1, 0xec, [0; 6], &[]), &disk).unwrap();
    assert_eq!((registers(&reply), reply.len()), ((0, 0, 0x40), 22 + 512));
    let word = |at: usize| u16::from_le_bytes([reply[22 + 2 * at], reply[23 + 2 * at]]);
    assert_eq!((word(49) & 0x200, word(60), word(61)), (0x200, 8, 0));
    assert_eq!((word(83), word(86)), (0x7400, 0x3400));
    assert_eq!([100, 101, 102, 103].map(word), [8, 0, 0, 0]);
    // Serial number and model, with the letters of each pair exchanged.
    assert_eq!(&reply[22 + 20..22 + 26], b"orto  ");
    assert_eq!(&reply[22 + 54..22 + 66], b"vEneekleA Eo");
}

#[test]
fn a_disk_that_fails_has_an_error_and_one_out_of_reach_no_reply() {
    let failed: fn() -> DiskError = || DiskError::Failed(io::ErrorKind::Other.into());
    let read_only: fn() -> DiskError = || DiskError::ReadOnly;
    let read = ata(0, 1, 0x20, [0; 6], &[]);
    let write = ata(1, 1, 0x30, [0; 6], &[0; 512]);
    let flush = ata(0, 0, 0xe7, [0; 6], &[]);
    let error = |frame: &[u8], error| {
        let (error, _, status) = registers(&served(frame, &FailingDisk(error)).unwrap());
        (error, status)
    };
    assert_eq!(error(&read, failed), (0x40, 0x41));
    assert_eq!(error(&write, failed), (0x04, 0x41));
    assert_eq!(error(&flush, failed), (0x04, 0x41));
    assert_eq!(error(&write, read_only), (0x04, 0x41));
    let away = FailingDisk(|| DiskError::Away(io::ErrorKind::NotConnected.into()));
    for frame in [read, frame(1, &[&[0; 8]]), frame(9, &[])] {
        let request = Request::parse(&frame, MTU).unwrap();
        assert!(request.serve(E0_1, "root", MTU, &away).is_err());
    }
}

#[test]
fn a_file_is_a_disk_and_a_read_only_one_stays_as_it_is() {
    let scratch = ScratchDirectory::new().unwrap();
    let path = scratch.write("disk", [7; 1536]).unwrap();
    let disk = FileDisk::new(path.clone(), false, "lan.a".to_owned());
    assert!(matches!(disk.size(), Err(DiskError::Away(_))));
    disk.reach().unwrap();
    assert_eq!(disk.size().unwrap(), 1536);
    disk.write(512, &[8; 512]).unwrap();
    disk.flush().unwrap();
    let mut bytes = [0; 1536];
    disk.read(0, &mut bytes).unwrap();
    assert_eq!(
        (bytes[511], bytes[512], bytes[1023], bytes[1024]),
        (7, 8, 8, 7)
    );
    drop(disk);
    let disk = FileDisk::new(path.clone(), true, "lan.a".to_owned());
    disk.reach().unwrap();
    assert!(matches!(disk.write(0, &[9; 512]), Err(DiskError::ReadOnly)));
    assert_eq!(std::fs::read(&path).unwrap()[0], 7);
    for path in [
        scratch.path().join("none"),
        scratch.path().to_owned(),
        "/dev/null".into(),
    ] {
        assert!(
            FileDisk::new(path, true, "lan.a".to_owned())
                .reach()
                .is_err()
        );
    }
}

fn job(client: u8, tag: u8, frame: &[u8]) -> AoeClientRequest {
    let mut frame = frame.to_vec();
    frame[9] = tag;
    AoeClientRequest {
        from: Mac([2, 0, 0, 0, 0, client]),
        request: Request::parse(&frame, MTU).unwrap(),
    }
}

#[test]
fn requests_for_the_same_bytes_keep_their_order_if_one_writes() {
    let write = |sector: u8, byte: u8| ata(1, 1, 0x30, [sector, 0, 0, 0, 0, 0], &[byte; 512]);
    let read = |sector: u8| ata(0, 1, 0x20, [sector, 0, 0, 0, 0, 0], &[]);
    let mut queue = Queue::default();
    // A block has eight sectors.
    let first = job(1, 1, &write(0, 1));
    let (same, reads, apart) = (
        job(1, 2, &write(7, 2)),
        job(2, 3, &read(0)),
        job(1, 4, &write(8, 3)),
    );
    for one in [&first, &same, &reads, &apart] {
        assert!(queue.add(one.clone()));
        assert!(!queue.add(one.clone()), "a repeated request");
    }
    assert_eq!(queue.begin().as_ref(), Some(&first));
    assert!(!queue.add(first.clone()), "it is under way");
    assert_eq!(queue.begin().as_ref(), Some(&apart));
    assert_eq!(queue.begin(), None);
    queue.end(&first);
    assert_eq!(queue.begin().as_ref(), Some(&same));
    assert_eq!(queue.begin(), None);
    queue.end(&same);
    assert_eq!(queue.begin().as_ref(), Some(&reads));
    let also = job(3, 5, &read(0));
    assert!(queue.add(also.clone()));
    assert_eq!(queue.begin(), Some(also), "two that read");
    let count = (0..=255)
        .filter(|tag| queue.add(job(4, *tag, &write(9, 0))))
        .count();
    assert_eq!(count, 128);
}

/// Records the frames that are sent.
struct SentFrames(Mutex<Vec<(Mac, Vec<u8>)>>);

impl FrameSender for SentFrames {
    fn mtu(&self) -> usize {
        MTU
    }

    fn send(&self, to: Mac, frame: &[u8]) -> io::Result<()> {
        self.0.lock().unwrap().push((to, frame.to_vec()));
        Ok(())
    }
}

/// Disk in memory whose writes wait for a signal.
struct Slow(AoeMemoryDisk, Mutex<Receiver<()>>);

impl Disk for Slow {
    fn reach(&self) -> Result<(), DiskError> {
        Ok(())
    }

    fn size(&self) -> Result<u64, DiskError> {
        self.0.size()
    }

    fn read(&self, offset: u64, bytes: &mut [u8]) -> Result<(), DiskError> {
        self.0.read(offset, bytes)
    }

    fn write(&self, offset: u64, bytes: &[u8]) -> Result<(), DiskError> {
        let _ = self.1.lock().unwrap().recv();
        self.0.write(offset, bytes)
    }

    fn flush(&self) -> Result<(), DiskError> {
        self.0.flush()
    }

    fn close(&self) {}
}

fn served_disk(disk: impl Disk + 'static) -> ServedDisk {
    let disk: Arc<dyn Disk> = Arc::new(disk);
    ServedDisk::by(move || Arc::clone(&disk), BootCounts::default())
}

#[test]
fn a_slow_write_holds_up_nobody_else() {
    let sent = Arc::new(SentFrames(Mutex::default()));
    let port = Arc::new(Mutex::new(Some(Arc::clone(&sent) as Arc<dyn FrameSender>)));
    let (go, waits): (Sender<()>, _) = channel();
    let plan = AoeTargetConfig {
        name: "root".to_owned(),
        target: E0_1,
        overlays: None,
        disk: served_disk(Slow(AoeMemoryDisk::new(64 * 512), Mutex::new(waits))),
        is_file: false,
    };
    let bay = AoeTarget::start(plan, port, || Ok(())).unwrap();
    let tags = || -> Vec<(Mac, u8)> {
        let sent = sent.0.lock().unwrap();
        sent.iter().map(|(to, frame)| (*to, frame[9])).collect()
    };
    // A target announces its disk to all when the disk becomes reachable.
    assert!(
        eventually(PATIENCE, || tags() == [(Mac([0xff; 6]), 0)]),
        "{:?}",
        tags()
    );
    let (writer, reader) = (Mac([2, 0, 0, 0, 0, 1]), Mac([2, 0, 0, 0, 0, 2]));
    bay.queue_request(job(1, 1, &ata(1, 1, 0x30, [0; 6], &[1; 512])));
    bay.queue_request(job(2, 2, &ata(0, 1, 0x20, [32, 0, 0, 0, 0, 0], &[])));
    assert!(
        eventually(PATIENCE, || tags().last() == Some(&(reader, 2))),
        "{:?}",
        tags()
    );
    go.send(()).unwrap();
    assert!(
        eventually(PATIENCE, || tags().last() == Some(&(writer, 1))),
        "{:?}",
        tags()
    );
    assert_eq!(bay.trouble(), None);
    drop(go);
}

/// Volume of 64 KiB with blocks of 4096 bytes.
fn mail() -> Export {
    Export {
        name: "mail".to_owned(),
        description: String::new(),
        size: 64 << 10,
        read_only: false,
        multi_conn: false,
        block_min: 4096,
        block_preferred: 4096,
    }
}

/// Serves a connection to a volume of 64 KiB with blocks of 4096 bytes.
fn accept(listener: &UnixListener) -> (UnixStream, Session) {
    let (mut stream, _) = listener.accept().unwrap();
    stream.write_all(&GREETING).unwrap();
    let exports = [mail()];
    let mut handshake = Handshake::new(NbdTransport::Plain);
    let (mut input, mut out) = (Vec::new(), Vec::new());
    loop {
        let mut bytes = [0; 4096];
        let read = stream.read(&mut bytes).unwrap();
        input.extend_from_slice(&bytes[..read]);
        let mut rest = input.as_slice();
        let gate = Gate {
            names_users: true,
            admit: &|_| Ok(()),
        };
        let step = handshake.handle_gated(&mut rest, &exports, Some(gate), &mut out);
        let step = step.unwrap();
        let left = rest.len();
        input.drain(..input.len() - left);
        stream.write_all(&std::mem::take(&mut out)).unwrap();
        if let NbdHandshakeStep::Transmit(session) = step {
            return (stream, session);
        }
    }
}

fn next(stream: &mut UnixStream, session: &Session) -> (NbdRequestHeader, NbdCommand, Vec<u8>) {
    let mut head = [0; REQUEST_BYTES];
    stream.read_exact(&mut head).unwrap();
    let request = NbdRequestHeader::decode(&head).unwrap();
    let mut payload = vec![0; request.payload_bytes() as usize];
    stream.read_exact(&mut payload).unwrap();
    let command = session.command(&request).unwrap();
    (request, command, payload)
}

#[test]
fn a_volume_is_a_disk_whose_blocks_are_changed_as_a_whole() {
    let scratch = ScratchDirectory::new().unwrap();
    let socket = scratch.path().join("socket");
    let disk = NbdDisk::new(socket.clone(), "mail".to_owned());
    assert!(disk.reach().is_err(), "nobody serves it");
    let listener = UnixListener::bind(&socket).unwrap();
    std::thread::scope(|scope| {
        scope.spawn(|| disk.reach().unwrap());
        let (mut stream, session) = accept(&listener);
        assert!(eventually(PATIENCE, || disk.size().is_ok()));
        assert_eq!(disk.size().unwrap(), 64 << 10);
        // A sector of the second block: the block is read, changed and written.
        scope.spawn(|| disk.write(4096 + 512, &[9; 512]).unwrap());
        let (read, _, _) = next(&mut stream, &session);
        assert_eq!((read.offset, read.length), (4096, 4096));
        let mut out = Vec::new();
        reply::done(&session, read.cookie, &mut out);
        stream.write_all(&out).unwrap();
        stream.write_all(&[1; 4096]).unwrap();
        let (write, _, payload) = next(&mut stream, &session);
        assert_eq!((write.offset, payload.len()), (4096, 4096));
        assert!(payload[512..1024].iter().all(|byte| *byte == 9));
        assert_eq!((payload[511], payload[1024]), (1, 1));
        let mut out = Vec::new();
        reply::done(&session, write.cookie, &mut out);
        stream.write_all(&out).unwrap();
        // Two concurrent requests, whose replies arrive in reverse order.
        let first = scope.spawn(|| disk.flush());
        let (flush, command, _) = next(&mut stream, &session);
        assert_eq!(command, NbdCommand::Flush);
        let second = scope.spawn(|| disk.write(8192, &[2; 4096]));
        let (write, _, payload) = next(&mut stream, &session);
        assert_eq!((write.offset, payload), (8192, vec![2; 4096]));
        let mut out = Vec::new();
        reply::done(&session, write.cookie, &mut out);
        stream.write_all(&out).unwrap();
        second.join().unwrap().unwrap();
        let mut out = Vec::new();
        reply::failed(&session, flush.cookie, protocol::nbd::Errno::Io, &mut out);
        stream.write_all(&out).unwrap();
        assert!(matches!(first.join().unwrap(), Err(DiskError::Failed(_))));
    });
}

/// Refuses the user of a connection. Returns the name that the client has sent.
fn refuse(listener: &UnixListener) -> String {
    let (mut stream, _) = listener.accept().unwrap();
    stream.write_all(&GREETING).unwrap();
    let exports = [mail()];
    let name = Cell::new(String::new());
    let admit = |user: Option<&str>| {
        name.set(user.unwrap_or_default().to_owned());
        Err("another user has had the volume".to_owned())
    };
    let gate = Gate {
        names_users: true,
        admit: &admit,
    };
    let mut handshake = Handshake::new(NbdTransport::Plain);
    let (mut input, mut out) = (Vec::new(), Vec::new());
    let mut bytes = [0; 4096];
    loop {
        let read = stream.read(&mut bytes).unwrap_or(0);
        if read == 0 {
            return name.into_inner();
        }
        input.extend_from_slice(&bytes[..read]);
        let mut rest = input.as_slice();
        // The client may end the handshake.
        let _ = handshake.handle_gated(&mut rest, &exports, Some(gate), &mut out);
        let left = rest.len();
        input.drain(..input.len() - left);
        let _ = stream.write_all(&std::mem::take(&mut out));
    }
}

#[test]
fn volume_that_had_another_user_is_superseded() {
    let scratch = ScratchDirectory::new().unwrap();
    let socket = scratch.path().join("socket");
    let listener = UnixListener::bind(&socket).unwrap();
    let disk = NbdDisk::new(socket, "mail/boot/machines".to_owned());
    std::thread::scope(|scope| {
        // The first connection waits for the volume.
        let reached = scope.spawn(|| disk.reach());
        assert_eq!(refuse(&listener), "boot/machines");
        assert!(matches!(reached.join().unwrap(), Err(DiskError::Away(_))));
        assert!(!disk.is_superseded());
        scope.spawn(|| disk.reach().unwrap());
        let (stream, _) = accept(&listener);
        assert!(eventually(PATIENCE, || disk.size().is_ok()));
        drop(stream);
        assert!(eventually(PATIENCE, || disk.size().is_err()));
        // The connection was lost: the volume may be away, and is not superseded by that.
        let reached = scope.spawn(|| disk.reach());
        drop(listener.accept().unwrap());
        assert!(matches!(reached.join().unwrap(), Err(DiskError::Away(_))));
        assert!(!disk.is_superseded());
        let reached = scope.spawn(|| disk.reach());
        assert_eq!(refuse(&listener), "boot/machines/again");
        assert!(matches!(reached.join().unwrap(), Err(DiskError::Failed(_))));
        assert!(disk.is_superseded());
        // Machines that used the superseded disk get errors, and the disk never connects again.
        assert_eq!(disk.size().unwrap(), 64 << 10);
        assert!(matches!(disk.reach(), Err(DiskError::Failed(_))));
        assert!(matches!(
            disk.write(0, &[1; 4096]),
            Err(DiskError::Failed(_))
        ));
        assert!(matches!(disk.flush(), Err(DiskError::Failed(_))));
    });
}

#[test]
fn a_volume_that_goes_has_no_reply_and_is_found_again() {
    let scratch = ScratchDirectory::new().unwrap();
    let socket = scratch.path().join("socket");
    let listener = UnixListener::bind(&socket).unwrap();
    let disk = NbdDisk::new(socket, "mail".to_owned());
    std::thread::scope(|scope| {
        scope.spawn(|| disk.reach().unwrap());
        let (mut stream, session) = accept(&listener);
        assert!(eventually(PATIENCE, || disk.size().is_ok()));
        let write = scope.spawn(|| disk.write(0, &[1; 4096]));
        next(&mut stream, &session);
        drop(stream);
        assert!(matches!(write.join().unwrap(), Err(DiskError::Away(_))));
        assert!(matches!(disk.size(), Err(DiskError::Away(_))));
        scope.spawn(|| disk.reach().unwrap());
        let (mut stream, _) = accept(&listener);
        assert!(eventually(PATIENCE, || disk.size().is_ok()));
        // An unexpected reply ends the connection.
        stream
            .write_all(&[0x67, 0x44, 0x66, 0x98, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 9])
            .unwrap();
        assert!(eventually(PATIENCE, || disk.size().is_err()));
        disk.close();
        assert!(disk.reach().is_err());
    });
}
