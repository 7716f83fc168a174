//! Tests a replica with corrupted external input: frames and greetings of the other node, and the
//! cluster's record. Most inputs get valid checksums, so that they pass the first check.
//! `VOLUME_FUZZ_SEED=n` replays one seed, `VOLUME_FUZZ_SEEDS=n` runs that many. Debug builds also
//! detect overflows.

use super::admission::WriteAdmission;
use super::record::{ME, NodeNames, OTHER};
use super::{Data, boottime, wire};
use crate::disk::{Account, Pool};
use crate::link::Session as Link;
use crate::link::frame::{
    BlockContent, FrameHeader, FrameKind, HEAD_BYTES, Membership, checksum, with_value,
};
use crate::link::greeting::{Greeting, ReplicaProperties};
use crate::replica::{
    BLOCK_BYTES, Blocks, Boot, CopyId, CopyState, DiskResult, Durable, EXTENT_BLOCKS, Epoch,
    Extent, FollowerCommand, Generation, Geometry, HistoryFork, InSync, Incarnation, Input,
    Introduction, LOG_EXTENTS, Operation, Record, Replica, ReplicaAction, ReplicaLimits,
    ReplicaMessage, ReplicaOrder, Request, RequestId, Session, Settings, Time, VolumeId,
};
use lab::{Random, setting};
use part::role::SHORT_RECORD_BYTES_MAX;
use std::collections::VecDeque;
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::rc::Rc;

/// Number of seeds per test.
const SEEDS: u64 = 400;
/// Size of the volume, blocks.
const BLOCKS: u64 = 3000;
/// Limit of inputs that one input may cause.
const STEPS_MAX: usize = 20_000;

fn seeds() -> std::ops::Range<u64> {
    match setting("VOLUME_FUZZ_SEED") {
        Some(seed) => seed..seed + 1,
        None => {
            let first = setting("VOLUME_FUZZ_FIRST").unwrap_or(0);
            first..first + setting("VOLUME_FUZZ_SEEDS").unwrap_or(SEEDS)
        }
    }
}

/// Returns a number that is often a boundary value.
fn number(random: &mut Random) -> u64 {
    let edge = random.pick(&[0, 1, 2, 7, 64, 1024, BLOCKS, 1 << 32, 1 << 63, u64::MAX]);
    match random.below(4) {
        0 => random.next(),
        1 => edge.wrapping_sub(random.below(3)),
        2 => edge.wrapping_add(random.below(3)),
        _ => random.below(5),
    }
}

fn damage(random: &mut Random, bytes: &mut Vec<u8>) {
    for _ in 0..random.pick(&[0, 0, 0, 1, 1, 3]) {
        if bytes.is_empty() {
            return;
        }
        let at = random.index(bytes.len());
        match random.below(4) {
            0 => bytes[at] ^= 1 << random.below(8),
            1 => bytes[at] = random.pick(&[0, 1, 0x7f, 0x80, 0xff]),
            2 => bytes.truncate(at),
            _ => bytes.insert(at, random.next() as u8),
        }
    }
}

fn record(random: &mut Random) -> Record {
    Record {
        incarnation: Incarnation(number(random)),
        generation: Generation(number(random)),
        epoch: Epoch(number(random)),
        in_sync: random.pick(&[
            InSync::One(ME),
            InSync::One(OTHER),
            InSync::Both(ME, OTHER),
            InSync::Both(OTHER, ME),
        ]),
        copies: Vec::new(),
        forks: (0..random.below(20))
            .map(|_| HistoryFork {
                incarnation: Incarnation(number(random)),
                at: Generation(number(random)),
            })
            .collect(),
    }
}

fn introduction(random: &mut Random) -> Introduction {
    Introduction {
        volume: random.pick(&[None, Some(VolumeId([7; 16])), Some(VolumeId([1; 16]))]),
        blocks: number(random),
        room: number(random),
        incarnation: Incarnation(random.below(3)),
        state: if random.percent(70) {
            CopyState::Joined(Generation(number(random)))
        } else {
            CopyState::Syncing {
                base: Generation(number(random)),
            }
        },
        hot: (0..random.below(4))
            .map(|_| Extent(number(random) as u32))
            .collect(),
        lacks: random.percent(20),
        unclean: random.percent(50),
        copy: random.pick(&[None, Some(CopyId(1)), Some(CopyId(7))]),
        is_foreign: random.percent(10),
    }
}

/// Encodes a frame, valid or corrupted.
fn frame(random: &mut Random) -> Vec<u8> {
    const KINDS: u64 = 31;
    let kind = random.below(KINDS) as u8;
    // The kind byte may be invalid.
    let head = FrameHeader {
        content: random.pick(&[
            BlockContent::None,
            BlockContent::Data,
            BlockContent::Zero,
            BlockContent::Trim,
        ]),
        fua: random.percent(50),
        tag: number(random) as u32,
        first: number(random),
        count: random.pick(&[0, 1, 1, 16, 64, 65, u32::MAX]),
        epoch: random.pick(&[0, 1, 2, 3, u64::MAX]),
        number: number(random),
        ..FrameHeader::new(FrameKind::Pulse)
    };
    let welcome = kind == FrameKind::Welcome as u8;
    let begin = kind == FrameKind::Begin as u8;
    let (head, mut behind) = if welcome {
        with_value(
            FrameHeader {
                content: BlockContent::None,
                ..head
            },
            &introduction(random),
        )
    } else if begin {
        let membership = Membership {
            volume: VolumeId([random.pick(&[1, 7]); 16]),
            incarnation: Incarnation(number(random)),
            base: Generation(number(random)),
            blocks: number(random),
        };
        with_value(
            FrameHeader {
                content: BlockContent::None,
                ..head
            },
            &membership,
        )
    } else {
        let bytes = vec![random.next() as u8; head.data_bytes().min(1 << 20)];
        (
            FrameHeader {
                checksum: checksum(&bytes),
                ..head
            },
            bytes,
        )
    };
    let mut bytes = head.encode().to_vec();
    bytes[4] = kind;
    if random.percent(20) {
        let at = random.index(HEAD_BYTES);
        bytes[at] = number(random) as u8;
        damage(random, &mut behind);
        bytes[48..56].copy_from_slice(&checksum(&behind).to_le_bytes());
    }
    if random.percent(97) {
        let sum = checksum(&bytes[..HEAD_BYTES - 8]);
        bytes[HEAD_BYTES - 8..].copy_from_slice(&sum.to_le_bytes());
    }
    bytes.extend(behind);
    bytes
}

/// Replica with a disk and a cluster that mostly succeed.
struct FuzzReplica {
    replica: Replica<Data>,
    pool: Pool,
    account: Account,
    now: Time,
    seed: u64,
}

impl FuzzReplica {
    fn new(random: &mut Random, seed: u64) -> FuzzReplica {
        let geometry = Geometry {
            blocks: BLOCKS,
            extent_blocks: EXTENT_BLOCKS,
            log_extents: LOG_EXTENTS,
        };
        let settings = Settings {
            me: ME,
            other: OTHER,
            boot: Boot(1),
            copy: CopyId(9),
            geometry,
            bounds: ReplicaLimits::default(),
        };
        let durable = if random.percent(70) {
            Durable::created(geometry, VolumeId([7; 16]))
        } else {
            Durable::blank(geometry)
        };
        let pool = Pool::new().unwrap();
        let account = pool.account();
        let now = boottime();
        FuzzReplica {
            replica: Replica::new(settings, &durable, now),
            pool,
            account,
            now,
            seed,
        }
    }

    /// Processes an input and everything that follows from it.
    fn feed(&mut self, random: &mut Random, input: Input<Data>) {
        let mut inputs = VecDeque::from([input]);
        for _ in 0..STEPS_MAX {
            let Some(input) = inputs.pop_front() else {
                return self.check();
            };
            let mut actions = Vec::new();
            self.now = self.now.after(random.below(2_000_000));
            self.replica.handle(self.now, input, &mut actions);
            inputs.extend(actions.into_iter().filter_map(|one| self.done(random, one)));
        }
        panic!("seed {}: it never comes to rest", self.seed);
    }

    fn done(&self, random: &mut Random, action: ReplicaAction<Data>) -> Option<Input<Data>> {
        let fails = random.once_in(50);
        Some(match action {
            ReplicaAction::Disk(id, _) if fails => Input::Disk(id, DiskResult::Failed),
            ReplicaAction::Disk(id, Operation::Read(blocks)) => {
                assert!(blocks.end() <= BLOCKS, "seed {}: {blocks:?}", self.seed);
                if random.once_in(20) {
                    let wrong = blocks.iter().filter(|_| random.percent(50)).collect();
                    return Some(Input::Disk(id, DiskResult::Damaged(wrong)));
                }
                let length = blocks.count as usize * BLOCK_BYTES as usize;
                let buffer = self.pool.take(&self.account, length)?;
                Input::Disk(id, DiskResult::Data(Data(Rc::new(buffer))))
            }
            ReplicaAction::Disk(id, operation) => {
                if let Operation::Write { blocks, .. } | Operation::Repair { blocks, .. } =
                    operation
                {
                    assert!(blocks.end() <= BLOCKS, "seed {}: {blocks:?}", self.seed);
                }
                Input::Disk(id, DiskResult::Done)
            }
            ReplicaAction::Store(number, change) => {
                let blocks = change.head.blocks;
                assert!(
                    blocks > 0 && blocks <= BLOCKS,
                    "seed {}: {blocks}",
                    self.seed
                );
                if fails {
                    Input::StoreFailed(number)
                } else {
                    Input::Stored(number)
                }
            }
            ReplicaAction::Propose(_, record) if !fails => Input::Recorded(record),
            _ => return None,
        })
    }

    fn check(&self) {
        let report = self.replica.report(self.now);
        assert!(report.blocks > 0, "seed {}", self.seed);
    }

    /// Tries to become the owner.
    fn begin(&mut self, random: &mut Random, record: Record) {
        self.feed(random, Input::Connected(Session(1)));
        if random.percent(60) {
            let granted = Input::Granted {
                epoch: Epoch(2),
                until: self.now.after(1 << 50),
                record,
            };
            self.feed(random, granted);
        } else {
            let (epoch, number) = (Epoch(2), 1);
            let hello = ReplicaMessage::Hello { epoch, number };
            self.feed(random, Input::Message(Session(1), hello));
        }
        for id in 0..random.below(4) {
            let blocks = Blocks {
                first: id,
                count: 1,
            };
            let request = Input::Request(RequestId(id), Request::Read(blocks));
            self.feed(random, request);
        }
        if random.percent(50) {
            let repairs = random.percent(50);
            self.feed(random, Input::Order(ReplicaOrder::Verify { repairs }));
        }
    }
}

/// Returns the record of a new volume.
fn first_record(random: &mut Random) -> Record {
    Record {
        incarnation: Incarnation(1),
        generation: Generation(1),
        epoch: Epoch(0),
        in_sync: random.pick(&[InSync::One(ME), InSync::Both(ME, OTHER)]),
        copies: Vec::new(),
        forks: Vec::new(),
    }
}

#[test]
fn random_frames_never_panic_or_exceed_the_volume() {
    for seed in seeds() {
        let mut random = Random::new(seed);
        let mut node = FuzzReplica::new(&mut random, seed);
        let first = first_record(&mut random);
        node.begin(&mut random, first);
        let mut sent = Vec::new();
        for _ in 0..random.between(1, 40) {
            sent.extend(frame(&mut random));
        }
        let connect = || {
            let (here, there) = UnixStream::pair().unwrap();
            here.set_nonblocking(true).unwrap();
            there.set_nonblocking(true).unwrap();
            (Link::new(std::os::fd::OwnedFd::from(here).into()), there)
        };
        let (mut link, mut there) = connect();
        let (mut came, mut rest, mut session) = (VecDeque::new(), &sent[..], 1);
        while !rest.is_empty() {
            let count = (random.index(9000) + 1).min(rest.len());
            let written = there.write(&rest[..count]).unwrap_or(0);
            rest = &rest[written..];
            let (pool, account) = (node.pool.clone(), node.pool.account());
            let received = link.receive(&pool, &|_| &account, &mut came);
            for incoming in came.drain(..) {
                if let Some(message) = wire::message(incoming) {
                    let input = Input::Message(Session(session), message);
                    node.feed(&mut random, input);
                }
            }
            if received.is_err() {
                node.feed(&mut random, Input::Lost(Session(session)));
                session += 1;
                node.feed(&mut random, Input::Connected(Session(session)));
                (link, there) = connect();
                // Valid frames may follow a corrupted one.
                let skipped = random.index(200).min(rest.len());
                rest = &rest[skipped..];
            }
            if random.once_in(5) {
                node.feed(&mut random, Input::Tick);
            }
        }
    }
}

#[test]
fn an_owner_with_too_many_requests_is_disconnected() {
    let mut random = Random::new(1);
    let mut node = FuzzReplica::new(&mut random, 1);
    node.feed(&mut random, Input::Connected(Session(1)));
    let (epoch, number) = (Epoch(2), 1);
    let hello = ReplicaMessage::Hello { epoch, number };
    node.feed(&mut random, Input::Message(Session(1), hello));
    let mut operations = 0;
    for tag in 0..100_000 {
        let command = FollowerCommand::Flush;
        let flush = ReplicaMessage::Command {
            epoch,
            tag,
            command,
        };
        let mut actions = Vec::new();
        let input = Input::Message(Session(1), flush);
        node.replica.handle(node.now, input, &mut actions);
        operations += actions.len();
    }
    assert!((64..1000).contains(&operations), "{operations}");
}

struct Counted<'b>(&'b [u8], usize);

impl Read for Counted<'_> {
    fn read(&mut self, bytes: &mut [u8]) -> std::io::Result<usize> {
        let count = self.0.read(bytes)?;
        self.1 += count;
        Ok(count)
    }
}

#[test]
fn random_greetings_never_panic_or_read_unboundedly() {
    let ours = Greeting {
        volume: "mail".to_owned(),
        from: "alpha".to_owned(),
        to: "beta".to_owned(),
        facts: ReplicaProperties::default(),
    };
    for seed in seeds() {
        let mut random = Random::new(seed);
        for _ in 0..50 {
            let theirs = Greeting {
                volume: "m".repeat(random.index(80)),
                from: random.pick(&["beta", "", "älpha"]).to_owned(),
                to: "alpha".to_owned(),
                facts: ReplicaProperties {
                    volume: Some(VolumeId([2; 16])),
                    size_bytes: number(&mut random),
                },
            };
            let mut bytes = Vec::new();
            theirs.write(&mut bytes).unwrap();
            let mut content = bytes.split_off(20);
            damage(&mut random, &mut content);
            let length = if random.percent(90) {
                content.len() as u32
            } else {
                number(&mut random) as u32
            };
            bytes[8..12].copy_from_slice(&length.to_le_bytes());
            bytes[12..20].copy_from_slice(&checksum(&content).to_le_bytes());
            bytes.extend(content);
            if random.percent(20) {
                damage(&mut random, &mut bytes);
            }
            bytes.extend([0; 4096]);
            let mut from = Counted(&bytes, 0);
            if let Ok(read) = Greeting::read(&mut from) {
                let _ = ours.fits(&read).map_err(|error| error.to_string());
            }
            assert!(from.1 <= 20 + 1024, "seed {seed}: {} bytes", from.1);
        }
    }
}

#[test]
fn random_records_never_panic() {
    let names = NodeNames {
        me: "alpha".to_owned(),
        other: "beta".to_owned(),
    };
    for seed in seeds() {
        let mut random = Random::new(seed);
        let mut bytes = names.encode(&record(&mut random), &WriteAdmission::default());
        assert!(bytes.len() <= SHORT_RECORD_BYTES_MAX, "seed {seed}");
        damage(&mut random, &mut bytes);
        let Some((decoded, clients)) = names.decode(&bytes) else {
            continue;
        };
        assert!(
            names.encode(&decoded, &clients).len() <= SHORT_RECORD_BYTES_MAX,
            "seed {seed}"
        );
        let mut node = FuzzReplica::new(&mut random, seed);
        node.begin(&mut random, decoded);
        for _ in 0..random.below(10) {
            let next =
                names.decode(&names.encode(&record(&mut random), &WriteAdmission::default()));
            node.feed(&mut random, Input::Recorded(next.unwrap().0));
            let at = node.replica.deadline();
            node.now = node.now.max(at.unwrap_or_default());
            node.feed(&mut random, Input::Tick);
        }
    }
}
