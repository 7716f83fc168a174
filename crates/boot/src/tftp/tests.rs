//! Tests TFTP transfers in virtual time, with a client of RFC 7440 behind a link that loses,
//! duplicates and delays packets by a seed; and of single packets.

use super::packet::{Options, TftpPacket};
use super::transfer::{DuePackets, Transfer, TransferError, TransferResult, TransferTerms};
use lab::Random;
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// Retransmission timeout of the client.
const PATIENCE: Duration = Duration::from_millis(1500);

/// Behaviour of a link: percentages, and the delay of a packet, milliseconds.
#[derive(Clone, Copy, Debug, Default)]
struct LinkConditions {
    lost: u64,
    doubled: u64,
    late: u64,
    late_ms: u64,
}

#[derive(Clone, Debug)]
enum SimulatedPacket {
    Request,
    OptionAck,
    Data(u16, Vec<u8>),
    Ack(u16),
}

/// Client: the data that it has, and the packet that it sent last.
struct Client {
    got: Vec<u8>,
    block_bytes: usize,
    window: u64,
    /// Number of the block that the client expects next.
    expected: u64,
    /// Number of blocks received since the last ACK.
    since: u64,
    is_agreed: bool,
    is_done: bool,
    heard: Instant,
}

impl Client {
    fn last(&self) -> SimulatedPacket {
        if self.is_agreed || self.expected > 1 {
            SimulatedPacket::Ack(Transfer::number(self.expected - 1))
        } else {
            SimulatedPacket::Request
        }
    }

    fn handle(&mut self, packet: &SimulatedPacket, now: Instant) -> Option<SimulatedPacket> {
        self.heard = now;
        match packet {
            SimulatedPacket::OptionAck if self.expected == 1 => {
                self.is_agreed = true;
                Some(SimulatedPacket::Ack(0))
            }
            SimulatedPacket::Data(number, bytes) => {
                if *number != Transfer::number(self.expected) || self.is_done {
                    self.since = 0;
                    return Some(self.last());
                }
                self.got.extend_from_slice(bytes);
                self.expected += 1;
                self.since += 1;
                self.is_done = bytes.len() < self.block_bytes;
                let acknowledges = self.is_done || self.since >= self.window;
                acknowledges.then(|| {
                    self.since = 0;
                    self.last()
                })
            }
            _ => None,
        }
    }
}

struct TftpSimulation {
    link: LinkConditions,
    random: Random,
    now: Instant,
    flying: BTreeMap<(Instant, u64), (bool, SimulatedPacket)>,
    sent: u64,
    data: u64,
}

impl TftpSimulation {
    fn send(&mut self, to_client: bool, wire: &SimulatedPacket) {
        self.data += u64::from(matches!(wire, SimulatedPacket::Data(..)));
        let copies = 1 + u64::from(self.random.percent(self.link.doubled));
        for _ in 0..copies {
            if self.random.percent(self.link.lost) {
                continue;
            }
            let late = if self.random.percent(self.link.late) {
                self.random.below(self.link.late_ms)
            } else {
                0
            };
            self.sent += 1;
            let at = self.now + Duration::from_millis(1 + late);
            self.flying
                .insert((at, self.sent), (to_client, wire.clone()));
        }
    }
}

#[derive(Debug)]
struct SimulatedTransferResult {
    got: Vec<u8>,
    is_done: bool,
    end: Option<TransferResult>,
    /// Number of DATA packets that the server has sent.
    data: u64,
    blocks: u64,
    /// Number of times that the client was silent until the server sent again.
    silences: u64,
}

fn options(block_bytes: u64, window: u64) -> Options {
    Options {
        block_bytes: Some(block_bytes),
        window: Some(window),
        ..Options::default()
    }
}

/// Runs one file over a link until both sides are silent.
fn run(file: &[u8], options: Options, link: LinkConditions, seed: u64) -> SimulatedTransferResult {
    let begin = Instant::now();
    let terms = TransferTerms::agree(&options, file.len() as u64, 1468);
    let mut client = Client {
        got: Vec::new(),
        block_bytes: terms.block_bytes().into(),
        window: options.window.unwrap_or(1).min(64),
        expected: 1,
        since: 0,
        is_agreed: false,
        is_done: false,
        heard: begin,
    };
    let mut world = TftpSimulation {
        link,
        random: Random::new(seed),
        now: begin,
        flying: BTreeMap::new(),
        sent: 0,
        data: 0,
    };
    let mut server: Option<Transfer> = None;
    world.send(false, &SimulatedPacket::Request);
    let (mut steps, mut silences) = (0_u64, 0);
    loop {
        steps += 1;
        assert!(steps < 3_000_000, "endless with seed {seed}: {link:?}");
        // The next event: a packet, or a timeout of either side.
        let running = server.as_ref().filter(|transfer| transfer.end().is_none());
        let times = [
            world.flying.keys().next().map(|(at, _)| *at),
            running.map(Transfer::deadline),
            (!client.is_done).then_some(client.heard + PATIENCE),
        ];
        let Some(next) = times.into_iter().flatten().min() else {
            break;
        };
        if next > begin + Duration::from_secs(7200) {
            break;
        }
        world.now = world.now.max(next);
        let now = world.now;
        let size = file.len() as u64;
        silences += happen(&mut world, &mut client, &mut server, || {
            Transfer::new(terms.clone(), size, now)
        });
        pump(&mut server, file, &mut world);
        let is_over = server.as_ref().is_some_and(|server| server.end().is_some());
        if is_over && world.flying.is_empty() && (client.is_done || client.is_agreed) {
            break;
        }
    }
    SimulatedTransferResult {
        got: client.got,
        is_done: client.is_done,
        end: server.and_then(|server| server.end().cloned()),
        data: world.data,
        blocks: file.len() as u64 / u64::from(terms.block_bytes()) + 1,
        silences,
    }
}

/// Processes the next event. Returns how many times the server was silent for too long.
fn happen(
    world: &mut TftpSimulation,
    client: &mut Client,
    server: &mut Option<Transfer>,
    begin: impl Fn() -> Transfer,
) -> u64 {
    let now = world.now;
    let mut silent = 0;
    let arrives = world.flying.first_entry().filter(|one| one.key().0 <= now);
    match arrives.map(|one| one.remove()) {
        Some((true, packet)) => {
            if let Some(answer) = client.handle(&packet, now) {
                world.send(false, &answer);
            }
        }
        Some((false, SimulatedPacket::Request)) => {
            let is_again = server.as_mut().is_some_and(Transfer::handle_again);
            if !is_again && client.expected == 1 && !client.is_agreed {
                *server = Some(begin());
            }
        }
        Some((false, packet)) => {
            if let (SimulatedPacket::Ack(block), Some(server)) = (packet, server) {
                server.handle(&TftpPacket::Ack(block), now);
            }
        }
        None => {
            if !client.is_done && client.heard + PATIENCE <= now {
                client.heard = now;
                let last = client.last();
                world.send(false, &last);
            }
            if let Some(server) = server {
                silent = u64::from(server.deadline() <= now);
                server.handle_time(now);
            }
        }
    }
    silent
}

fn pump(server: &mut Option<Transfer>, file: &[u8], world: &mut TftpSimulation) {
    let Some(server) = server else {
        return;
    };
    while let Some(due) = server.due() {
        match due {
            DuePackets::Options => {
                world.send(true, &SimulatedPacket::OptionAck);
                server.sent(1, world.now);
            }
            DuePackets::Blocks(blocks) => {
                // The system accepts only a part of the packets at times.
                let most = 1 + world.random.below(blocks.end - blocks.start);
                for block in blocks.start..blocks.start + most {
                    let bytes = server.bytes_of(&(block..block + 1));
                    let bytes = bytes.start as usize..bytes.end as usize;
                    let wire = SimulatedPacket::Data(Transfer::number(block), file[bytes].to_vec());
                    world.send(true, &wire);
                }
                server.sent(most, world.now);
            }
        }
    }
}

fn noise(length: usize) -> Vec<u8> {
    let mut file = vec![0; length];
    Random::new(length as u64).fill(&mut file);
    file
}

#[test]
fn a_file_of_any_length_arrives_in_as_many_packets_as_it_has_blocks() {
    for length in [0, 1, 511, 512, 513, 1024, 5_000] {
        for options in [Options::default(), options(512, 4), options(8, 64)] {
            let file = noise(length);
            let run = run(&file, options, LinkConditions::default(), 1);
            assert!(run.is_done && run.got == file, "{length} {options:?}");
            assert_eq!(run.end, Some(TransferResult::Whole));
            let block = options.block_bytes.unwrap_or(512);
            assert_eq!(run.data, length as u64 / block + 1, "{length} {options:?}");
        }
    }
}

#[test]
fn the_numbers_of_blocks_begin_again_behind_65535() {
    let file = noise(8 * 140_000);
    for (window, lost) in [(1, 0), (64, 0), (16, 1)] {
        let link = LinkConditions {
            lost,
            ..LinkConditions::default()
        };
        let run = run(&file, options(8, window), link, 7);
        assert!(run.is_done && run.got == file, "{window} {lost}");
        assert_eq!(run.end, Some(TransferResult::Whole));
    }
}

#[test]
fn doubled_packets_do_not_multiply() {
    for window in [1, 16] {
        for seed in 0..20 {
            let link = LinkConditions {
                doubled: 100,
                ..LinkConditions::default()
            };
            let file = noise(512 * 300);
            let run = run(&file, options(512, window), link, seed);
            assert!(run.is_done && run.got == file);
            let most = if window == 1 {
                301
            } else {
                2 * 301 + 4 * window
            };
            assert!(run.data <= most, "{} packets, window {window}", run.data);
        }
    }
}

#[test]
fn a_file_arrives_whole_over_any_link_and_with_bounded_packets() {
    let mut whole = 0;
    let seeds: u64 = lab::setting("TFTP_SEEDS").unwrap_or(400);
    for seed in 0..seeds {
        let mut random = Random::new(seed);
        let link = LinkConditions {
            lost: random.below(15),
            doubled: random.below(30),
            late: random.below(50),
            late_ms: 1 + random.below(3_000),
        };
        let window = [1, 2, 16, 64][random.index(4)];
        let file = noise(random.index(40_000));
        let run = run(&file, options(64 + random.below(1_400), window), link, seed);
        assert!(file.starts_with(&run.got), "seed {seed}: other bytes");
        if run.end == Some(TransferResult::Whole) {
            assert!(run.is_done && run.got == file, "seed {seed}");
            whole += 1;
        }
        // Each block may be sent twice, and a window at each silence of the client.
        let most = 2 * run.blocks + window * (run.silences + 5);
        assert!(run.data <= most, "seed {seed}: {} packets", run.data);
    }
    // The other runs ended because the same packet was lost every time, or the last ACK was.
    assert!(whole * 10 >= seeds * 9, "{whole} of {seeds}");
}

const NONE: [u64; 0] = [];

fn begun(size: u64, options: Options) -> (Transfer, Instant) {
    let now = Instant::now();
    let terms = TransferTerms::agree(&options, size, 1468);
    (Transfer::new(terms, size, now), now)
}

/// Sends all packets that are due, and returns the numbers of their blocks.
fn sent(transfer: &mut Transfer, now: Instant) -> Vec<u64> {
    let mut all = Vec::new();
    while let Some(due) = transfer.due() {
        match due {
            DuePackets::Options => {
                all.push(0);
                transfer.sent(1, now);
            }
            DuePackets::Blocks(blocks) => {
                transfer.sent(blocks.end - blocks.start, now);
                all.extend(blocks);
            }
        }
    }
    all
}

#[test]
fn an_ack_within_a_window_resumes_there_and_a_repeated_one_once() {
    let (mut transfer, now) = begun(100 * 512, options(512, 4));
    assert_eq!(sent(&mut transfer, now), [0]);
    let mut ack = |block| {
        transfer.handle(&TftpPacket::Ack(block), now);
        sent(&mut transfer, now)
    };
    assert_eq!(ack(0), [1, 2, 3, 4]);
    assert_eq!(ack(2), [3, 4, 5, 6]);
    assert_eq!(ack(6), [7, 8, 9, 10]);
    // The seventh block was lost once.
    assert_eq!(ack(6), [7, 8, 9, 10]);
    assert_eq!(ack(6), NONE);
    assert_eq!(ack(10), [11, 12, 13, 14]);
    assert_eq!(ack(10), NONE);
    // ACKs of blocks long ago, and of blocks that were never sent.
    for block in [9, 6, 0, 15, 16, 65_535] {
        assert_eq!(ack(block), NONE, "{block}");
    }
    assert_eq!(ack(14), [15, 16, 17, 18]);
    assert_eq!(ack(14), [15, 16, 17, 18]);
}

#[test]
fn a_late_ack_of_what_is_being_sent_again_counts() {
    let (mut transfer, now) = begun(100 * 512, options(512, 4));
    sent(&mut transfer, now);
    transfer.handle(&TftpPacket::Ack(0), now);
    sent(&mut transfer, now);
    let late = transfer.deadline();
    transfer.handle_time(late);
    // The blocks are not sent again yet.
    transfer.handle(&TftpPacket::Ack(4), late);
    assert_eq!(sent(&mut transfer, late), [5, 6, 7, 8]);
}

/// Returns how often a client that falls silent gets a packet, and for how long.
fn silence(mut transfer: Transfer, mut now: Instant) -> (usize, Duration) {
    let begin = now;
    let mut packets = 0;
    while transfer.end().is_none() {
        packets += sent(&mut transfer, now).len();
        now = transfer.deadline();
        transfer.handle_time(now);
    }
    assert_eq!(
        transfer.end(),
        Some(&TransferResult::Broken(TransferError::Silent))
    );
    (packets, now - begin)
}

#[test]
fn a_client_that_never_answers_gets_one_packet_three_times() {
    for options in [Options::default(), options(1468, 64)] {
        let (transfer, now) = begun(1 << 30, options);
        assert_eq!(silence(transfer, now), (3, Duration::from_secs(7)));
        // Repeated requests under the client's address cause no more packets.
        let (mut transfer, now) = begun(1 << 30, options);
        let mut packets = 0;
        for _ in 0..100 {
            packets += sent(&mut transfer, now).len();
            assert!(transfer.handle_again());
        }
        assert_eq!(packets, 3);
    }
}

#[test]
fn a_client_that_falls_silent_gets_a_packet_six_times() {
    let (mut transfer, now) = begun(1 << 30, Options::default());
    sent(&mut transfer, now);
    transfer.handle(&TftpPacket::Ack(1), now);
    assert!(!transfer.handle_again());
    assert_eq!(silence(transfer, now), (6, Duration::from_secs(31)));
}

#[test]
fn a_client_that_needs_longer_than_an_hour_is_too_slow() {
    let (mut transfer, begin) = begun(1 << 30, Options::default());
    let mut now = begin;
    let mut block = 0;
    while transfer.end().is_none() {
        sent(&mut transfer, now);
        now += Duration::from_millis(900);
        block += 1;
        transfer.handle_time(now);
        transfer.handle(&TftpPacket::Ack(block), now);
    }
    assert_eq!(
        transfer.end(),
        Some(&TransferResult::Broken(TransferError::Slow))
    );
    assert!(now - begin <= Duration::from_secs(3601));
}

#[test]
fn an_error_of_the_client_ends_it() {
    let error = TftpPacket::Error {
        code: 0,
        words: "TFTP Aborted".to_owned(),
    };
    // Some firmware requests only the length.
    let size = Options {
        size: true,
        ..Options::default()
    };
    let (mut transfer, now) = begun(9, size);
    sent(&mut transfer, now);
    transfer.handle(&error, now);
    assert_eq!(transfer.end(), Some(&TransferResult::Declined));
    assert_eq!(sent(&mut transfer, now), NONE);
    let (mut transfer, now) = begun(9, Options::default());
    sent(&mut transfer, now);
    transfer.handle(&error, now);
    let Some(TransferResult::Broken(broken)) = transfer.end() else {
        panic!("broken");
    };
    let words = "the client ended it with error 0: TFTP Aborted";
    assert_eq!(broken.to_string(), words);
}

#[test]
fn options_are_agreed_on_within_their_ranges() {
    let agree = |options: &[u8], block_max| {
        let request = [b"\0\x01a\0octet\0", options].concat();
        let Ok(TftpPacket::Read(request)) = TftpPacket::parse(&request) else {
            panic!("a request");
        };
        let terms = TransferTerms::agree(&request.options, 70_000, block_max);
        let packet = terms.option_ack().unwrap_or_default();
        let packet = packet.escape_ascii().to_string();
        packet.replace("\\x00", " ").trim().to_owned()
    };
    for (options, block_max, expected) in [
        (&b""[..], 1468, ""),
        (b"blksize\x0065464\0", 1468, "\\x06blksize 1468"),
        (b"blksize\x0065464\0", 65_508, "\\x06blksize 65464"),
        (b"blksize\x0099999\0", 65_508, "\\x06blksize 65464"),
        (b"blksize\x001024\0", 1468, "\\x06blksize 1024"),
        // Less than the size that every network must carry.
        (b"blksize\x001468\0", 40, "\\x06blksize 512"),
        (b"blksize\x008\0", 1468, "\\x06blksize 8"),
        (b"blksize\x007\0", 1468, ""),
        (b"blksize\x000\0", 1468, ""),
        (b"timeout\x005\0", 1468, "\\x06timeout 5"),
        (b"timeout\x000\0", 1468, ""),
        (b"timeout\x0031\0", 1468, ""),
        (b"tsize\x000\0", 1468, "\\x06tsize 70000"),
        (b"windowsize\x000\0", 1468, ""),
        (b"windowsize\x0016\0", 1468, "\\x06windowsize 16"),
        (b"windowsize\x0065535\0", 1468, "\\x06windowsize 64"),
        (b"multicast\0\0", 1468, ""),
        (
            b"tsize\x000\0blksize\x001432\0",
            1468,
            "\\x06blksize 1432 tsize 70000",
        ),
    ] {
        assert_eq!(agree(options, block_max), expected);
    }
}
