//! Tests the cost of a mirrored write in the state machine: exactly one disk operation, one message
//! and one reply.

use super::*;
use std::time::Instant;

const GEOMETRY: Geometry = Geometry {
    blocks: 1 << 20,
    extent_blocks: EXTENT_BLOCKS,
    log_extents: LOG_EXTENTS,
};
const VOLUME: VolumeId = VolumeId([1; 16]);

#[derive(Clone, Debug)]
pub(super) struct Handle;

impl Payload for Handle {
    fn checksum(&self) -> u64 {
        0
    }
}

/// Returns the node of a volume with both copies in sync, and the inputs that give it the lease.
pub(super) fn granted() -> (Replica<Handle>, [Input<Handle>; 2]) {
    let settings = Settings {
        me: NodeId(0),
        other: NodeId(1),
        boot: Boot(1),
        copy: CopyId(9),
        geometry: GEOMETRY,
        bounds: ReplicaLimits::default(),
    };
    let durable = Durable::created(GEOMETRY, VOLUME);
    let record = Record {
        incarnation: Incarnation(1),
        generation: Generation(1),
        epoch: Epoch(0),
        in_sync: InSync::Both(NodeId(0), NodeId(1)),
        copies: Vec::new(),
        forks: Vec::new(),
    };
    let granted = Input::Granted {
        epoch: Epoch(1),
        until: Time(u64::MAX),
        record,
    };
    let replica = Replica::new(settings, &durable, Time(1));
    (replica, [granted, Input::Stored(1)])
}

pub(super) fn mirrored() -> Replica<Handle> {
    let (mut replica, [granted, stored]) = granted();
    let head = Durable::created(GEOMETRY, VOLUME).head;
    let introduction = Introduction {
        volume: head.volume,
        blocks: GEOMETRY.blocks,
        room: GEOMETRY.blocks,
        incarnation: head.incarnation,
        state: head.state,
        hot: Vec::new(),
        lacks: false,
        unclean: false,
        copy: None,
        is_foreign: false,
    };
    let welcome = ReplicaMessage::Welcome {
        number: 1,
        introduction,
    };
    let inputs = [
        Input::Connected(Session(1)),
        granted,
        stored,
        Input::Message(Session(1), welcome),
    ];
    for input in inputs {
        replica.handle(Time(1), input, &mut Vec::new());
    }
    assert!(replica.is_mirrored());
    replica
}

fn write(replica: &mut Replica<Handle>, block: u64, actions: &mut Vec<ReplicaAction<Handle>>) {
    let blocks = Blocks {
        first: block,
        count: 1,
    };
    let body = WriteContent::Data(Handle);
    let request = Request::Write {
        blocks,
        body,
        fua: false,
    };
    actions.clear();
    replica.handle(Time(2), Input::Request(RequestId(block), request), actions);
    if let Some(ReplicaAction::Store(number, _)) = actions.first() {
        let stored = Input::Stored(*number);
        actions.clear();
        replica.handle(Time(2), stored, actions);
    }
    let [
        ReplicaAction::Disk(id, _),
        ReplicaAction::Send(session, ReplicaMessage::Command { tag, .. }),
    ] = &actions[..]
    else {
        panic!("{actions:?}");
    };
    let (id, session, tag) = (*id, *session, *tag);
    actions.clear();
    replica.handle(Time(3), Input::Disk(id, DiskResult::Done), actions);
    assert!(actions.is_empty(), "the other copy has not replied");
    let done = Input::Message(session, ReplicaMessage::Done { tag });
    replica.handle(Time(4), done, actions);
    assert!(matches!(
        actions[..],
        [ReplicaAction::Reply(_, RequestOutcome::Done)]
    ));
}

#[test]
fn a_mirrored_write_is_one_operation_one_message_and_one_reply() {
    let mut replica = mirrored();
    let mut actions = Vec::new();
    for block in 0..1000 {
        write(&mut replica, block * 7, &mut actions);
    }
    let begin = Instant::now();
    let rounds = 100_000;
    for block in 0..rounds {
        write(&mut replica, block % 7000, &mut actions);
    }
    let each = begin.elapsed().as_nanos() / u128::from(rounds);
    println!("a mirrored write costs {each} ns in the value");
}
