//! Conversion between replica messages and frames.

use super::Data;
use crate::disk::Buffer;
use crate::link::frame::{BLOCKS_MAX, Content, Head, Kind, Membership, with_value};
use crate::link::{Incoming, Session};
use crate::replica::{BLOCK_BYTES, Blocks, Body, Command, Epoch, Generation, Message};
use part::codec;
use std::rc::Rc;

/// Sends a replica message.
pub(super) fn send(session: &mut Session, message: Message<Data>) {
    let plain = |kind| Head::new(kind);
    let head = match message {
        Message::Hello { epoch, number } => plain(Kind::Hello).epoch(epoch).number(number),
        Message::Welcome {
            number,
            introduction,
        } => {
            let head = plain(Kind::Welcome).number(number);
            return session.send_value(with_value(head, &introduction));
        }
        Message::Refused { number, promised } => {
            plain(Kind::Refused).epoch(promised).number(number)
        }
        Message::Begin {
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
            return session.send_value(with_value(plain(Kind::Begin).epoch(epoch), &membership));
        }
        Message::Begun => plain(Kind::Begun),
        Message::Command {
            epoch,
            tag,
            command,
        } => return send_command(session, epoch, tag, command),
        Message::Done { tag } => plain(Kind::Done).tag(tag),
        Message::Differs { tag } => plain(Kind::Differs).tag(tag),
        Message::Unreadable { tag } => plain(Kind::Unreadable).tag(tag),
        Message::Damaged { tag } => plain(Kind::Damaged).tag(tag),
        Message::Content { tag, data } => return send_content(session, tag, data),
        Message::Failed { tag } => plain(Kind::Failed).tag(tag),
        Message::Finish { epoch, generation } => {
            plain(Kind::Finish).epoch(epoch).number(generation.0)
        }
        Message::Finished => plain(Kind::Finished),
        Message::Settle { epoch } => plain(Kind::Settle).epoch(epoch),
        Message::Settled => plain(Kind::Settled),
        Message::Room { blocks } => plain(Kind::Room).number(blocks),
        Message::Grow { epoch, blocks } => plain(Kind::Grow).epoch(epoch).number(blocks),
        Message::Grown => plain(Kind::Grown),
        Message::Resized { epoch, blocks } => plain(Kind::Resized).epoch(epoch).number(blocks),
    };
    session.send(&head);
}

fn send_command(session: &mut Session, epoch: Epoch, tag: u32, command: Command<Data>) {
    let head = |kind| Head::new(kind).epoch(epoch).tag(tag);
    match command {
        Command::Write { blocks, body, fua } => {
            let head = Head {
                fua,
                ..head(Kind::Write).blocks(blocks)
            };
            send_body(session, head, body);
        }
        Command::Flush => session.send(&head(Kind::Flush)),
        Command::Compare { blocks, checksum } => {
            session.send(&head(Kind::Compare).blocks(blocks).number(checksum));
        }
        Command::Verify { blocks, checksum } => {
            session.send(&head(Kind::Verify).blocks(blocks).number(checksum));
        }
        Command::Read { blocks } => session.send(&head(Kind::Read).blocks(blocks)),
    }
}

fn send_content(session: &mut Session, tag: u32, Data(buffer): Data) {
    let count = (buffer.len() as u64 / BLOCK_BYTES) as u32;
    let head = Head {
        content: Content::Data,
        ..Head::new(Kind::Content)
            .tag(tag)
            .blocks(Blocks { first: 0, count })
    };
    session.send_data(head, buffer);
}

/// Sends a header with the body of a write.
pub(super) fn send_body(session: &mut Session, head: Head, body: Body<Data>) {
    let with = |content| Head { content, ..head };
    match body {
        Body::Data(Data(buffer)) => session.send_data(with(Content::Data), buffer),
        Body::Zero => session.send(&with(Content::Zero)),
        Body::Trim => session.send(&with(Content::Trim)),
    }
}

/// Body of a frame; None if it has none.
pub(super) fn body(head: &Head, data: Option<Buffer>) -> Option<Body<Data>> {
    match (head.content, data) {
        (Content::Data, Some(buffer)) => Some(Body::Data(Data(Rc::new(buffer)))),
        (Content::Zero, _) => Some(Body::Zero),
        (Content::Trim, _) => Some(Body::Trim),
        _ => None,
    }
}

/// Decodes a replica message; None if the frame is not a valid one.
pub(super) fn message(incoming: Incoming) -> Option<Message<Data>> {
    let (head, data, value) = match incoming {
        Incoming::Head(head) => (head, None, Vec::new()),
        Incoming::Data(head, buffer) => (head, Some(buffer), Vec::new()),
        Incoming::Value(head, value) => (head, None, value),
    };
    let (epoch, tag, number) = (Epoch(head.epoch), head.tag, head.number);
    let command = |command| Message::Command {
        epoch,
        tag,
        command,
    };
    let blocks = head.range();
    Some(match head.kind {
        Kind::Hello => Message::Hello { epoch, number },
        Kind::Welcome => Message::Welcome {
            number,
            introduction: codec::decode(&value).ok()?,
        },
        Kind::Refused => Message::Refused {
            number,
            promised: epoch,
        },
        Kind::Begin => {
            let membership: Membership = codec::decode(&value).ok()?;
            Message::Begin {
                epoch,
                volume: membership.volume,
                incarnation: membership.incarnation,
                base: membership.base,
                blocks: membership.blocks,
            }
        }
        Kind::Begun => Message::Begun,
        Kind::Write => command(Command::Write {
            blocks,
            body: body(&head, data)?,
            fua: head.fua,
        }),
        Kind::Flush => command(Command::Flush),
        Kind::Compare | Kind::Verify | Kind::Read => command(of_blocks(&head)?),
        Kind::Done => Message::Done { tag },
        Kind::Differs => Message::Differs { tag },
        Kind::Unreadable => Message::Unreadable { tag },
        Kind::Damaged => Message::Damaged { tag },
        Kind::Content => Message::Content {
            tag,
            data: Data(Rc::new(data?)),
        },
        Kind::Failed => Message::Failed { tag },
        Kind::Finish => Message::Finish {
            epoch,
            generation: Generation(number),
        },
        Kind::Finished => Message::Finished,
        Kind::Settle => Message::Settle { epoch },
        Kind::Settled => Message::Settled,
        Kind::Room | Kind::Grow | Kind::Grown | Kind::Resized => of_size(&head),
        Kind::Pulse | Kind::AskRead | Kind::AskWrite | Kind::AskFlush | Kind::Answer => {
            return None;
        }
    })
}

/// Decodes a command that reads blocks; None if there are more than fit into a buffer.
fn of_blocks(head: &Head) -> Option<Command<Data>> {
    let (blocks, checksum) = (head.range(), head.number);
    Some(match head.kind {
        _ if blocks.count > BLOCKS_MAX => return None,
        Kind::Compare => Command::Compare { blocks, checksum },
        Kind::Verify => Command::Verify { blocks, checksum },
        _ => Command::Read { blocks },
    })
}

/// Decodes a message about the size of the volume.
fn of_size(head: &Head) -> Message<Data> {
    let (epoch, blocks) = (Epoch(head.epoch), head.number);
    match head.kind {
        Kind::Room => Message::Room { blocks },
        Kind::Grow => Message::Grow { epoch, blocks },
        Kind::Resized => Message::Resized { epoch, blocks },
        _ => Message::Grown,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disk::Pool;
    use crate::replica::{
        BLOCK_BYTES, Blocks, CopyState, Extent, Incarnation, Introduction, VolumeId,
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
        }
    }

    /// One message of each kind.
    fn all(pool: &Pool, account: &crate::disk::Account) -> Vec<Message<Data>> {
        let mut buffer = pool.take(account, 3 * BLOCK_BYTES as usize).unwrap();
        buffer.bytes_mut().fill(0x5a);
        let data = Body::Data(Data(Rc::new(buffer)));
        let blocks = Blocks { first: 9, count: 3 };
        let write = |body, fua| Command::Write { blocks, body, fua };
        let command = |command| Message::Command {
            epoch: Epoch(4),
            tag: 77,
            command,
        };
        let introduction = introduction();
        let (epoch, number) = (Epoch(4), 6);
        vec![
            Message::Hello { epoch, number },
            Message::Welcome {
                number,
                introduction,
            },
            Message::Refused {
                number,
                promised: epoch,
            },
            Message::Begin {
                epoch,
                volume: VolumeId([1; 16]),
                incarnation: Incarnation(1),
                base: Generation(3),
                blocks: 10,
            },
            Message::Begun,
            command(write(data, true)),
            command(write(Body::Zero, false)),
            command(write(Body::Trim, true)),
            command(Command::Flush),
            command(Command::Compare {
                blocks,
                checksum: u64::MAX,
            }),
            command(Command::Verify {
                blocks,
                checksum: 5,
            }),
            Message::Unreadable { tag: 3 },
            Message::Done { tag: 1 },
            Message::Differs { tag: 2 },
            Message::Failed { tag: u32::MAX },
            Message::Finish {
                epoch,
                generation: Generation(5),
            },
            Message::Finished,
            Message::Settle { epoch },
            Message::Settled,
            Message::Room { blocks: 9 },
            Message::Grow { epoch, blocks: 11 },
            Message::Grown,
            Message::Resized { epoch, blocks: 11 },
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
