//! Channels of SPICE of a guest. QEMU is not safe from its clients: it ends with a signal at messages that it does not
//! expect, and when the client of the channel with the picture goes, or is silent for long, before QEMU has answered the
//! first message behind the ticket. So the relay passes only messages that a browser needs, sends that first one where
//! the client does not, and stays until QEMU has answered.

use crate::console::end;
use part::lock;
use protocol::spice::{
    DISPLAY, INIT_BYTES, LINK_BYTES, Reply, SHORT_HEADER_BYTES, TICKET_BYTES, bytes_behind,
    has_ticket, init, is_init, is_modern, passed_bytes,
};
use std::io::{self, BufReader, ErrorKind, Read, Write};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::sync::{Condvar, Mutex};
use std::thread;
use std::time::{Duration, Instant};

/// How long a client of the picture may take until it has sent its ticket, and then until its first message.
const LIMIT: Duration = Duration::from_secs(5);
/// Bytes that are passed at a time.
const PIECE_BYTES: usize = 64 << 10;

/// A channel.
struct Channel<'a> {
    number: u8,
    operator: &'a UnixStream,
    guest: &'a UnixStream,
    /// The guest has answered the first message, or is gone.
    has_answered: Mutex<bool>,
    answers: Condvar,
}

/// Passes bytes between an operator and the channel until one of them ends. `link`: how the operator began, which the
/// guest has got already.
pub fn pass(operator: &UnixStream, guest: &UnixStream, link: &[u8; LINK_BYTES]) {
    let [.., number] = *link;
    let channel = Channel {
        number,
        operator,
        guest,
        has_answered: Mutex::new(false),
        answers: Condvar::new(),
    };
    thread::scope(|scope| {
        scope.spawn(|| channel.to_guest(link));
        channel.to_operator();
    });
}

impl Channel<'_> {
    fn to_guest(&self, link: &[u8; LINK_BYTES]) {
        let has_ticket = self.passes_ticket(link).is_ok();
        let has_picture = self.number == DISPLAY;
        if has_ticket && (!has_picture || self.passes_first().is_ok()) {
            // How it ended, nobody has to know.
            let _ = self.passes_messages();
        }
        if has_ticket && has_picture {
            // The page of the operator ends at once.
            let _ = self.operator.shutdown(Shutdown::Both);
            let has_answered = lock(&self.has_answered);
            let waited = self.answers.wait_while(has_answered, |answered| !*answered);
            drop(waited);
        }
        end([self.operator, self.guest]);
    }

    fn to_operator(&self) {
        let (mut guest, mut operator) = (self.guest, self.operator);
        let mut piece = vec![0; PIECE_BYTES];
        let mut reply = Reply::default();
        while let Ok(read @ 1..) = guest.read(&mut piece) {
            let bytes = piece.get(..read).unwrap_or_default();
            if reply.take(bytes) {
                self.answered();
            }
            if operator.write_all(bytes).is_err() {
                // What reads from it notices that; the guest may have to answer yet.
                let _ = operator.shutdown(Shutdown::Both);
            }
        }
        self.answered();
        end([self.operator, self.guest]);
    }

    fn answered(&self) {
        *lock(&self.has_answered) = true;
        self.answers.notify_all();
    }

    /// The rest of the link, and the ticket.
    fn passes_ticket(&self, link: &[u8; LINK_BYTES]) -> io::Result<()> {
        let (operator, mut guest) = (self.operator, self.guest);
        let until = (self.number == DISPLAY).then(|| Instant::now() + LIMIT);
        let mut behind = vec![0; bytes_behind(link).ok_or(ErrorKind::InvalidData)?];
        read_until(operator, &mut behind, until)?;
        if !is_modern(link, &behind) {
            return Err(ErrorKind::Unsupported.into());
        }
        guest.write_all(&behind)?;
        let mut ticket = [0; TICKET_BYTES];
        read_until(operator, &mut ticket, until)?;
        if !has_ticket(&ticket) {
            return Err(ErrorKind::Unsupported.into());
        }
        guest.write_all(&ticket)
    }

    /// The first message, or one in its place.
    fn passes_first(&self) -> io::Result<()> {
        let mut first = [0; INIT_BYTES];
        let read = read_until(self.operator, &mut first, Some(Instant::now() + LIMIT));
        let read = read.and_then(|()| match is_init(&first) {
            true => Ok(first),
            false => Err(ErrorKind::InvalidData.into()),
        });
        { self.guest }.write_all(read.as_ref().unwrap_or(&init()))?;
        self.operator.set_read_timeout(None)?;
        read.map(drop)
    }

    /// The messages behind, until one of them is none that may be passed.
    fn passes_messages(&self) -> io::Result<()> {
        let mut operator = BufReader::new(self.operator);
        loop {
            let mut header = [0; SHORT_HEADER_BYTES];
            operator.read_exact(&mut header)?;
            let size = passed_bytes(self.number, &header).ok_or(ErrorKind::InvalidData)?;
            let mut message = vec![0; SHORT_HEADER_BYTES + size];
            let (head, body) = message.split_at_mut(SHORT_HEADER_BYTES);
            head.copy_from_slice(&header);
            operator.read_exact(body)?;
            { self.guest }.write_all(&message)?;
        }
    }
}

/// Fills a buffer by then, if there is a limit.
fn read_until(
    mut from: &UnixStream,
    mut buffer: &mut [u8],
    until: Option<Instant>,
) -> io::Result<()> {
    let Some(until) = until else {
        return from.read_exact(buffer);
    };
    while !buffer.is_empty() {
        let left = until.saturating_duration_since(Instant::now());
        // Zero would be no limit.
        from.set_read_timeout(Some(left.max(Duration::from_millis(1))))?;
        match from.read(buffer) {
            _ if left.is_zero() => return Err(ErrorKind::TimedOut.into()),
            Ok(0) => return Err(ErrorKind::UnexpectedEof.into()),
            Ok(read) => buffer = buffer.get_mut(read..).unwrap_or_default(),
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// How a client begins: up to its channel, behind that, its ticket, and its first message.
    fn begins(capabilities: u8, way: u8, first: u8) -> [Vec<u8>; 4] {
        let mut link = b"REDQ\x02\0\0\0\x02\0\0\0\x16\0\0\0\x07\0\0\0\x02".to_vec();
        link.truncate(LINK_BYTES);
        let behind = [
            0,
            1,
            0,
            0,
            0,
            0,
            0,
            0,
            0,
            18,
            0,
            0,
            0,
            capabilities,
            0,
            0,
            0,
        ];
        let mut ticket = vec![0xaa; TICKET_BYTES];
        ticket[..4].copy_from_slice(&[way, 0, 0, 0]);
        let mut message = init().to_vec();
        (message[0], message[6]) = (first, 1);
        [link, behind.to_vec(), ticket, message]
    }

    /// What the guest sends before its first message, and that.
    fn answers() -> (Vec<u8>, Vec<u8>) {
        let mut reply = b"REDQ\x02\0\0\0\x02\0\0\0\x03\0\0\0abc".to_vec();
        reply.extend([0; 4]);
        (reply, vec![3])
    }

    /// What the guest gets of a client that sends this behind its link, and goes. The end comes when the guest has
    /// answered.
    fn came(parts: &[Vec<u8>; 4], sent: usize) -> Vec<u8> {
        let [link, rest @ ..] = parts;
        let (mut own, operator) = UnixStream::pair().unwrap();
        let (guest, mut end) = UnixStream::pair().unwrap();
        let link: &[u8; LINK_BYTES] = link.first_chunk().unwrap();
        thread::scope(|scope| {
            scope.spawn(|| pass(&operator, &guest, link));
            own.write_all(&rest.concat()[..sent]).unwrap();
            own.shutdown(std::net::Shutdown::Write).unwrap();
            let (reply, message) = answers();
            // It may be gone.
            let _ = end.write_all(&reply);
            let whole = parts[1..].concat().len();
            let mut came = vec![0; whole];
            let mut length = 0;
            while length < whole {
                match end.read(&mut came[length..]).unwrap() {
                    0 => break,
                    read => length += read,
                }
            }
            came.truncate(length);
            if length == whole {
                end.set_nonblocking(true).unwrap();
                let more = end.read(&mut [0]).map_err(|error| error.kind());
                assert_eq!(more, Err(ErrorKind::WouldBlock), "it has not answered yet");
                end.set_nonblocking(false).unwrap();
                end.write_all(&message).unwrap();
            }
            assert_eq!(end.read(&mut [0]).unwrap(), 0);
            came
        })
    }

    #[test]
    fn the_guest_gets_a_first_message_wherever_the_client_goes() {
        let parts = begins(0b1001, 1, 101);
        let [_, behind, ticket, message] = &parts;
        let before = behind.len() + ticket.len();
        let whole = [&behind[..], ticket, message].concat();
        for sent in 0..=whole.len() {
            let came = came(&parts, sent);
            match sent {
                _ if sent < behind.len() => assert_eq!(came, b"", "{sent}"),
                _ if sent < before => assert_eq!(&came, behind, "{sent}"),
                _ if sent < whole.len() => {
                    assert_eq!(came, [&behind[..], ticket, &init()].concat(), "{sent}");
                }
                _ => assert_eq!(came, whole),
            }
        }
    }

    #[test]
    fn a_client_that_begins_with_another_message_is_ended_with_the_right_one() {
        let parts = begins(0b1001, 1, 102);
        let [_, behind, ticket, _] = &parts;
        let all = parts[1..].concat().len();
        assert_eq!(came(&parts, all), [&behind[..], ticket, &init()].concat());
    }

    #[test]
    fn a_client_whose_bytes_nobody_could_follow_gets_no_channel() {
        for capabilities in [0, 0b0001, 0b1000] {
            let parts = begins(capabilities, 1, 101);
            let all = parts[1..].concat().len();
            assert_eq!(came(&parts, all), b"", "{capabilities}");
        }
        let parts = begins(0b1001, 2, 101);
        assert_eq!(came(&parts, parts[1..].concat().len()), parts[1]);
    }

    #[test]
    fn messages_are_passed_until_one_that_could_end_the_guest() {
        let [mut link, behind, ticket, _] = begins(0b1001, 1, 101);
        link[LINK_BYTES - 1] = 3;
        let key = [101, 0, 4, 0, 0, 0, 30, 0, 0, 0];
        let mark = [4, 0, 0, 0, 0, 0];
        let sent = [&behind[..], &ticket, &key, &key, &mark, &key].concat();
        let (mut own, operator) = UnixStream::pair().unwrap();
        let (guest, mut end) = UnixStream::pair().unwrap();
        let came = thread::scope(|scope| {
            scope.spawn(|| pass(&operator, &guest, link.first_chunk().unwrap()));
            own.write_all(&sent).unwrap();
            let mut came = Vec::new();
            end.read_to_end(&mut came).unwrap();
            came
        });
        assert_eq!(came, [&behind[..], &ticket, &key, &key].concat());
    }
}
