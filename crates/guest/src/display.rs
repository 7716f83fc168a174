//! The channel of SPICE with the picture of a guest. QEMU ends with a signal when the client of this channel goes, or is
//! silent for long, before it has sent the first message behind its ticket: then the relay sends that message.

use crate::console;
use protocol::spice::{
    INIT_BYTES, LINK_BYTES, TICKET_BYTES, bytes_behind, has_ticket, init, is_init, is_modern,
};
use std::io::{self, ErrorKind, Read, Write};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

/// How long a client may take until it has sent its ticket, and then until its first message.
const LIMIT: Duration = Duration::from_secs(5);

/// Passes bytes between an operator and the channel until one of them ends. `link`: how the operator began, which the
/// guest has got already.
pub fn pass(operator: &UnixStream, guest: &UnixStream, link: &[u8; LINK_BYTES]) {
    console::pass_after(operator, guest, || begin(operator, guest, link));
}

fn begin(operator: &UnixStream, mut guest: &UnixStream, link: &[u8; LINK_BYTES]) -> io::Result<()> {
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
    guest.write_all(&ticket)?;
    let mut first = [0; INIT_BYTES];
    let read = read_until(operator, &mut first, Instant::now() + LIMIT);
    let read = read.and_then(|()| match is_init(&first) {
        true => Ok(first),
        false => Err(ErrorKind::InvalidData.into()),
    });
    guest.write_all(read.as_ref().unwrap_or(&init()))?;
    operator.set_read_timeout(None)?;
    read.map(drop)
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

    /// What the guest gets of a client that sends this behind its link, and goes.
    fn came(parts: &[Vec<u8>; 4], sent: usize) -> Vec<u8> {
        let [link, rest @ ..] = parts;
        let (mut own, operator) = UnixStream::pair().unwrap();
        let (guest, mut end) = UnixStream::pair().unwrap();
        let link: &[u8; LINK_BYTES] = link.first_chunk().unwrap();
        thread::scope(|scope| {
            scope.spawn(|| pass(&operator, &guest, link));
            own.write_all(&rest.concat()[..sent]).unwrap();
            own.shutdown(std::net::Shutdown::Write).unwrap();
            let mut came = Vec::new();
            end.read_to_end(&mut came).unwrap();
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
