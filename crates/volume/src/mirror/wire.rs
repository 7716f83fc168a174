//! Converts the replica's messages to replication frames and back.

use super::Data;
use crate::disk::Buffer;
use crate::link::frame::{
    BLOCKS_MAX, BlockContent, FrameHeader, FrameKind, Membership, with_value,
};
use crate::link::{Incoming, Session};
use crate::overwrite::{MarkChange, OverwriteMark};
use crate::replica::{
    BLOCK_BYTES, Blocks, Epoch, FollowerCommand, Generation, ReplicaMessage, WriteContent,
};
use part::codec;
use std::rc::Rc;

pub(super) fn send(session: &mut Session, message: ReplicaMessage<Data>) {
    let plain = |kind| FrameHeader::new(kind);
    let head = match message {
        ReplicaMessage::Hello { epoch, number } => {
            plain(FrameKind::Hello).epoch(epoch).number(number)
        }
        ReplicaMessage::Welcome {
            number,
            introduction,
        } => {
            let head = plain(FrameKind::Welcome).number(number);
            let (head, value) = with_value(head, &introduction);
            return session.send_value(head, &value);
        }
        ReplicaMessage::Refused { number, promised } => {
            plain(FrameKind::Refused).epoch(promised).number(number)
        }
        ReplicaMessage::Begin {
            epoch,
            volume,
            incarnation,
            base,
            blocks,
        } => {
            let membership = Membership {
                volume,
                incarnation,
                base,
                blocks,
            };
            let head = plain(FrameKind::Begin).epoch(epoch);
            let (head, value) = with_value(head, &membership);
            return session.send_value(head, &value);
        }
        ReplicaMessage::Begun => plain(FrameKind::Begun),
        ReplicaMessage::Command {
            epoch,
            tag,
            command,
        } => return send_command(session, epoch, tag, command),
        ReplicaMessage::Done { tag } => plain(FrameKind::Done).tag(tag),
        ReplicaMessage::Differs { tag } => plain(FrameKind::Differs).tag(tag),
        ReplicaMessage::Unreadable { tag } => plain(FrameKind::Unreadable).tag(tag),
        ReplicaMessage::Damaged { tag } => plain(FrameKind::Damaged).tag(tag),
        ReplicaMessage::Content { tag, data } => return send_content(session, tag, data),
        ReplicaMessage::Failed { tag } => plain(FrameKind::Failed).tag(tag),
        ReplicaMessage::Finish { epoch, generation } => {
            plain(FrameKind::Finish).epoch(epoch).number(generation.0)
        }
        ReplicaMessage::Finished => plain(FrameKind::Finished),
        ReplicaMessage::Settle { epoch } => plain(FrameKind::Settle).epoch(epoch),
        ReplicaMessage::Settled => plain(FrameKind::Settled),
        ReplicaMessage::Room { blocks } => plain(FrameKind::Room).number(blocks),
        ReplicaMessage::Grow { epoch, blocks } => {
            plain(FrameKind::Grow).epoch(epoch).number(blocks)
        }
        ReplicaMessage::Grown => plain(FrameKind::Grown),
        ReplicaMessage::Resized { epoch, blocks } => {
            plain(FrameKind::Resized).epoch(epoch).number(blocks)
        }
    };
    session.send(&head);
}

fn send_command(session: &mut Session, epoch: Epoch, tag: u32, command: FollowerCommand<Data>) {
    let head = |kind| FrameHeader::new(kind).epoch(epoch).tag(tag);
    match command {
        FollowerCommand::Write { blocks, body, fua } => {
            let head = FrameHeader {
                fua,
                ..head(FrameKind::Write).blocks(blocks)
            };
            send_body(session, head, body);
        }
        FollowerCommand::Flush => session.send(&head(FrameKind::Flush)),
        FollowerCommand::Compare { blocks, checksum } => {
            session.send(&head(FrameKind::Compare).blocks(blocks).number(checksum));
        }
        FollowerCommand::Verify { blocks, checksum } => {
            session.send(&head(FrameKind::Verify).blocks(blocks).number(checksum));
        }
        FollowerCommand::Read { blocks } => session.send(&head(FrameKind::Read).blocks(blocks)),
    }
}

fn send_content(session: &mut Session, tag: u32, Data(buffer): Data) {
    let count = (buffer.len() as u64 / BLOCK_BYTES) as u32;
    let head = FrameHeader {
        content: BlockContent::Data,
        ..FrameHeader::new(FrameKind::Content)
            .tag(tag)
            .blocks(Blocks { first: 0, count })
    };
    session.send_data(head, buffer);
}

pub(super) fn send_body(session: &mut Session, head: FrameHeader, body: WriteContent<Data>) {
    let with = |content| FrameHeader { content, ..head };
    match body {
        WriteContent::Data(Data(buffer)) => session.send_data(with(BlockContent::Data), buffer),
        WriteContent::Zero => session.send(&with(BlockContent::Zero)),
        WriteContent::Trim => session.send(&with(BlockContent::Trim)),
    }
}

/// Adds the change of a mark that the sender requests to a heartbeat. Earlier releases ignore the
/// payload of a heartbeat.
pub(super) fn with_wanted_mark(head: FrameHeader, wanted: MarkChange) -> (FrameHeader, Vec<u8>) {
    let value = match wanted {
        MarkChange::Set(mark) => (true, mark.number()),
        MarkChange::Clear(mark) => (false, mark.number()),
    };
    with_value(head, &value)
}

pub(super) fn wanted_mark(value: &[u8]) -> Option<MarkChange> {
    let (sets, number): (bool, u64) = codec::decode(value).ok()?;
    let mark = OverwriteMark::from_number(number)?;
    Some(if sets {
        MarkChange::Set(mark)
    } else {
        MarkChange::Clear(mark)
    })
}

pub(super) fn body(head: &FrameHeader, data: Option<Buffer>) -> Option<WriteContent<Data>> {
    match (head.content, data) {
        (BlockContent::Data, Some(buffer)) => Some(WriteContent::Data(Data(Rc::new(buffer)))),
        (BlockContent::Zero, _) => Some(WriteContent::Zero),
        (BlockContent::Trim, _) => Some(WriteContent::Trim),
        _ => None,
    }
}

/// Decodes a replica message; None if the frame is not a valid one.
pub(super) fn message(incoming: Incoming) -> Option<ReplicaMessage<Data>> {
    let (head, data, value) = match incoming {
        Incoming::Head(head) => (head, None, Vec::new()),
        Incoming::Data(head, buffer) => (head, Some(buffer), Vec::new()),
        Incoming::Value(head, value) => (head, None, value),
    };
    let (epoch, tag, number) = (Epoch(head.epoch), head.tag, head.number);
    let command = |command| ReplicaMessage::Command {
        epoch,
        tag,
        command,
    };
    let blocks = head.range();
    Some(match head.kind {
        FrameKind::Hello => ReplicaMessage::Hello { epoch, number },
        FrameKind::Welcome => ReplicaMessage::Welcome {
            number,
            introduction: codec::decode(&value).ok()?,
        },
        FrameKind::Refused => ReplicaMessage::Refused {
            number,
            promised: epoch,
        },
        FrameKind::Begin => {
            let membership: Membership = codec::decode(&value).ok()?;
            ReplicaMessage::Begin {
                epoch,
                volume: membership.volume,
                incarnation: membership.incarnation,
                base: membership.base,
                blocks: membership.blocks,
            }
        }
        FrameKind::Begun => ReplicaMessage::Begun,
        FrameKind::Write => command(FollowerCommand::Write {
            blocks,
            body: body(&head, data)?,
            fua: head.fua,
        }),
        FrameKind::Flush => command(FollowerCommand::Flush),
        FrameKind::Compare | FrameKind::Verify | FrameKind::Read => command(of_blocks(&head)?),
        FrameKind::Done => ReplicaMessage::Done { tag },
        FrameKind::Differs => ReplicaMessage::Differs { tag },
        FrameKind::Unreadable => ReplicaMessage::Unreadable { tag },
        FrameKind::Damaged => ReplicaMessage::Damaged { tag },
        FrameKind::Content => ReplicaMessage::Content {
            tag,
            data: Data(Rc::new(data?)),
        },
        FrameKind::Failed => ReplicaMessage::Failed { tag },
        FrameKind::Finish => ReplicaMessage::Finish {
            epoch,
            generation: Generation(number),
        },
        FrameKind::Finished => ReplicaMessage::Finished,
        FrameKind::Settle => ReplicaMessage::Settle { epoch },
        FrameKind::Settled => ReplicaMessage::Settled,
        FrameKind::Room | FrameKind::Grow | FrameKind::Grown | FrameKind::Resized => of_size(&head),
        FrameKind::Pulse
        | FrameKind::AskRead
        | FrameKind::AskWrite
        | FrameKind::AskFlush
        | FrameKind::Answer => {
            return None;
        }
    })
}

fn of_blocks(head: &FrameHeader) -> Option<FollowerCommand<Data>> {
    let (blocks, checksum) = (head.range(), head.number);
    Some(match head.kind {
        _ if blocks.count > BLOCKS_MAX => return None,
        FrameKind::Compare => FollowerCommand::Compare { blocks, checksum },
        FrameKind::Verify => FollowerCommand::Verify { blocks, checksum },
        _ => FollowerCommand::Read { blocks },
    })
}

fn of_size(head: &FrameHeader) -> ReplicaMessage<Data> {
    let (epoch, blocks) = (Epoch(head.epoch), head.number);
    match head.kind {
        FrameKind::Room => ReplicaMessage::Room { blocks },
        FrameKind::Grow => ReplicaMessage::Grow { epoch, blocks },
        FrameKind::Resized => ReplicaMessage::Resized { epoch, blocks },
        _ => ReplicaMessage::Grown,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disk::Pool;
    use crate::replica::{
        BLOCK_BYTES, Blocks, CopyId, CopyState, Extent, Incarnation, Introduction, VolumeId,
    };
    use std::collections::VecDeque;
    use std::os::unix::net::UnixStream;

    fn introduction() -> Introduction {
        Introduction {
            volume: Some(VolumeId([3; 16])),
            blocks: 10,
            room: 12,
            incarnation: Incarnation(2),
            state: CopyState::Syncing {
                base: Generation(8),
            },
            hot: (0..1024).map(Extent).collect(),
            lacks: true,
            unclean: false,
            copy: Some(CopyId(5)),
            is_foreign: true,
        }
    }

    /// Returns one message of each kind.
    fn all(pool: &Pool, account: &crate::disk::Account) -> Vec<ReplicaMessage<Data>> {
        let mut buffer = pool.take(account, 3 * BLOCK_BYTES as usize).unwrap();
        buffer.bytes_mut().fill(0x5a);
        let data = WriteContent::Data(Data(Rc::new(buffer)));
        let blocks = Blocks { first: 9, count: 3 };
        let write = |body, fua| FollowerCommand::Write { blocks, body, fua };
        let command = |command| ReplicaMessage::Command {
            epoch: Epoch(4),
            tag: 77,
            command,
        };
        let introduction = introduction();
        let (epoch, number) = (Epoch(4), 6);
        vec![
            ReplicaMessage::Hello { epoch, number },
            ReplicaMessage::Welcome {
                number,
                introduction,
            },
            ReplicaMessage::Refused {
                number,
                promised: epoch,
            },
            ReplicaMessage::Begin {
                epoch,
                volume: VolumeId([1; 16]),
                incarnation: Incarnation(1),
                base: Generation(3),
                blocks: 10,
            },
            ReplicaMessage::Begun,
            command(write(data, true)),
            command(write(WriteContent::Zero, false)),
            command(write(WriteContent::Trim, true)),
            command(FollowerCommand::Flush),
            command(FollowerCommand::Compare {
                blocks,
                checksum: u64::MAX,
            }),
            command(FollowerCommand::Verify {
                blocks,
                checksum: 5,
            }),
            ReplicaMessage::Unreadable { tag: 3 },
            ReplicaMessage::Done { tag: 1 },
            ReplicaMessage::Differs { tag: 2 },
            ReplicaMessage::Failed { tag: u32::MAX },
            ReplicaMessage::Finish {
                epoch,
                generation: Generation(5),
            },
            ReplicaMessage::Finished,
            ReplicaMessage::Settle { epoch },
            ReplicaMessage::Settled,
            ReplicaMessage::Room { blocks: 9 },
            ReplicaMessage::Grow { epoch, blocks: 11 },
            ReplicaMessage::Grown,
            ReplicaMessage::Resized { epoch, blocks: 11 },
        ]
    }

    #[test]
    fn every_message_comes_as_it_was_sent() {
        let pool = Pool::new().unwrap();
        let account = pool.account();
        let all = all(&pool, &account);
        let (here, there) = UnixStream::pair().unwrap();
        here.set_nonblocking(true).unwrap();
        there.set_nonblocking(true).unwrap();
        let (mut here, mut there) = (
            Session::new(std::os::fd::OwnedFd::from(here).into()),
            Session::new(std::os::fd::OwnedFd::from(there).into()),
        );
        for message in all.clone() {
            send(&mut here, message);
        }
        let mut came = VecDeque::new();
        while came.len() < all.len() {
            here.flush().unwrap();
            there.receive(&pool, &|_| &account, &mut came).unwrap();
        }
        let came: Vec<_> = came.into_iter().map(|one| message(one).unwrap()).collect();
        assert_eq!(came, all);
    }
}
