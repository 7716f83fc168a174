//! The channel of SPICE with the picture of a guest. QEMU ends with a signal when the client of this channel goes, or is
//! silent for long, before QEMU has answered the first message behind the ticket. So the relay sends that message where
//! the client does not, and stays until QEMU has answered.

use part::lock;
use protocol::spice::{
    INIT_BYTES, LINK_BYTES, Reply, TICKET_BYTES, bytes_behind, has_ticket, init, is_init, is_modern,
};
use std::io::{self, ErrorKind, Read, Write};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::sync::{Condvar, Mutex};
use std::thread;
use std::time::{Duration, Instant};

/// How long a client may take until it has sent its ticket, and then until its first message.
const LIMIT: Duration = Duration::from_secs(5);
/// Bytes that are passed at a time.
const PIECE_BYTES: usize = 64 << 10;

/// A display channel.
struct Channel<'a> {
    operator: &'a UnixStream,
    guest: &'a UnixStream,
    /// The guest has answered the first message, or is gone.
    has_answered: Mutex<bool>,
    answers: Condvar,
}

/// Passes bytes between an operator and the channel until one of them ends. `link`: how the operator began, which the
/// guest has got already.
pub fn pass(operator: &UnixStream, guest: &UnixStream, link: &[u8; LINK_BYTES]) {
    let channel = Channel {
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
        if has_ticket {
            if self.passes_first().is_ok() {
                // How it ended, nobody has to know.
                let _ = io::copy(&mut { self.operator }, &mut { self.guest });
            }
            // The page of the operator ends at once.
            let _ = self.operator.shutdown(Shutdown::Both);
            let mut has_answered = lock(&self.has_answered);
            while !*has_answered {
                let waited = self.answers.wait(has_answered);
                has_answered = waited.unwrap_or_else(std::sync::PoisonError::into_inner);
            }
        }
        self.end();
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
        self.end();
    }

    fn answered(&self) {
        *lock(&self.has_answered) = true;
        self.answers.notify_all();
    }

    fn end(&self) {
        for socket in [self.operator, self.guest] {
            // It has ended already.
            let _ = socket.shutdown(Shutdown::Both);
        }
    }

    /// The rest of the link, and the ticket.
    fn passes_ticket(&self, link: &[u8; LINK_BYTES]) -> io::Result<()> {
        let (operator, mut guest) = (self.operator, self.guest);
        let until = Instant::now() + LIMIT;
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
        let read = read_until(self.operator, &mut first, Instant::now() + LIMIT);
        let read = read.and_then(|()| match is_init(&first) {
            true => Ok(first),
            false => Err(ErrorKind::InvalidData.into()),
        });
        { self.guest }.write_all(read.as_ref().unwrap_or(&init()))?;
        self.operator.set_read_timeout(None)?;
        read.map(drop)
    }
}

/// Fills a buffer by then.
fn read_until(mut from: &UnixStream, mut buffer: &mut [u8], until: Instant) -> io::Result<()> {
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
    use std::thread;

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
}
