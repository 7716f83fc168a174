//! Tests the display relay with hand-written operators and guests over socket pairs: who gets a
//! display, which messages pass, and how all channels end.

use super::*;
use std::thread::ScopedJoinHandle;

/// Returns the first bytes of a client's stream: the link message up to the channel type, the rest
/// of the link message, the ticket, and the first message.
fn begins(capabilities: u8, way: u8, first: u8) -> [Vec<u8>; 4] {
    let link = b"REDQ\x02\0\0\0\x02\0\0\0\x16\0\0\0\x07\0\0\0\x02".to_vec();
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

/// Returns the link message of a channel, and the ticket.
fn channel_of(number: u8) -> [Vec<u8>; 2] {
    let [mut link, behind, ticket, _] = begins(0b1001, 1, 101);
    link[LINK_BYTES - 1] = number;
    [[link, behind].concat(), ticket]
}

/// Bytes that the guest sends before its first message, up to the result of the ticket.
const REPLY: &[u8] = b"REDQ\x02\0\0\0\x02\0\0\0\x03\0\0\0abc";
const ACCEPTED: &[u8] = &[0; 4];
/// An empty message of the guest.
const MESSAGE: &[u8] = &[103, 0, 0, 0, 0, 0];
const WHO: &str = "anna";

/// A channel that is relayed: the ends of the operator and of the guest.
struct OpenChannel<'s> {
    own: UnixStream,
    guest: UnixStream,
    _passes: ScopedJoinHandle<'s, ()>,
}

impl<'s> OpenChannel<'s> {
    fn new<'e>(
        scope: &'s thread::Scope<'s, 'e>,
        displays: &'e Displays,
        who: &'e str,
    ) -> OpenChannel<'s> {
        let (own, operator) = UnixStream::pair().unwrap();
        let (socket, guest) = UnixStream::pair().unwrap();
        for one in [&own, &guest] {
            one.set_read_timeout(Some(4 * LIMIT)).unwrap();
        }
        let passes = scope.spawn(move || displays.pass("mail", who, operator, &socket));
        OpenChannel {
            own,
            guest,
            _passes: passes,
        }
    }

    /// Returns a client that has sent its ticket and that the guest has accepted with its first
    /// message.
    fn accepted<'e>(
        scope: &'s thread::Scope<'s, 'e>,
        displays: &'e Displays,
        number: u8,
        who: &'e str,
    ) -> OpenChannel<'s> {
        let mut open = OpenChannel::linked(scope, displays, number, who);
        let [_, ticket] = channel_of(number);
        open.own.write_all(&ticket).unwrap();
        open.reads(&ticket);
        if number == DISPLAY {
            open.own.write_all(&init()).unwrap();
            open.reads(&init());
        }
        open.guest.write_all(&[ACCEPTED, MESSAGE].concat()).unwrap();
        open.shows(&[ACCEPTED, MESSAGE].concat());
        open
    }

    /// Returns a client that has received the reply of the guest.
    fn linked<'e>(
        scope: &'s thread::Scope<'s, 'e>,
        displays: &'e Displays,
        number: u8,
        who: &'e str,
    ) -> OpenChannel<'s> {
        let mut open = OpenChannel::new(scope, displays, who);
        let [link, _] = channel_of(number);
        open.own.write_all(&link).unwrap();
        open.reads(&link);
        open.guest.write_all(REPLY).unwrap();
        open.shows(REPLY);
        open
    }

    fn reads(&mut self, expected: &[u8]) {
        let mut came = vec![0; expected.len()];
        self.guest.read_exact(&mut came).unwrap();
        assert_eq!(came, expected);
    }

    fn shows(&mut self, expected: &[u8]) {
        let mut came = vec![0; expected.len()];
        self.own.read_exact(&mut came).unwrap();
        assert_eq!(came, expected);
    }

    /// The guest notices that the client is gone, and ends the channel.
    fn is_ended_by_the_guest(&mut self) {
        let mut rest = Vec::new();
        self.guest.read_to_end(&mut rest).unwrap();
        assert_eq!(rest, b"");
        self.guest.shutdown(Shutdown::Both).unwrap();
    }

    /// Reads the remaining bytes that the operator receives.
    fn rest(&mut self) -> String {
        let mut rest = Vec::new();
        self.own.read_to_end(&mut rest).unwrap();
        String::from_utf8_lossy(&rest).into_owned()
    }
}

/// Returns the bytes that the guest receives from a client that sends these bytes after its link
/// message and leaves. The guest's stream ends when the guest has answered.
fn came(parts: &[Vec<u8>; 4], sent: usize) -> Vec<u8> {
    let displays = Displays::default();
    let whole = parts.concat();
    thread::scope(|scope| {
        let main = OpenChannel::accepted(scope, &displays, MAIN, WHO);
        let OpenChannel {
            mut own,
            guest: mut end,
            ..
        } = OpenChannel::new(scope, &displays, WHO);
        own.write_all(&whole[..sent]).unwrap();
        own.shutdown(Shutdown::Write).unwrap();
        // The relay may have closed the channel.
        let _ = end.write_all(&[REPLY, ACCEPTED].concat());
        let mut came = vec![0; whole.len()];
        let mut length = 0;
        while length < whole.len() {
            match end.read(&mut came[length..]) {
                // The relay has closed the channel early.
                Ok(0) | Err(_) => break,
                Ok(read) => length += read,
            }
        }
        came.truncate(length);
        if length == whole.len() {
            end.set_nonblocking(true).unwrap();
            let more = end.read(&mut [0]).map_err(|error| error.kind());
            assert_eq!(more, Err(ErrorKind::WouldBlock), "it has not answered yet");
            end.set_nonblocking(false).unwrap();
            end.write_all(MESSAGE).unwrap();
            assert_eq!(end.read(&mut [0]).unwrap(), 0);
            drop(end);
        }
        drop(main);
        came
    })
}

#[test]
fn the_guest_gets_a_first_message_even_if_the_client_leaves() {
    let parts = begins(0b1001, 1, 101);
    let [link, behind, ticket, message] = &parts;
    let link = [&link[..], behind].concat();
    let before = link.len() + ticket.len();
    let whole = [&link[..], ticket, message].concat();
    for sent in 0..=whole.len() {
        let came = came(&parts, sent);
        match sent {
            _ if sent < link.len() => assert_eq!(came, b"", "{sent}"),
            _ if sent < before => assert_eq!(came, link, "{sent}"),
            _ if sent < whole.len() => {
                assert_eq!(came, [&link[..], ticket, &init()].concat(), "{sent}");
            }
            _ => assert_eq!(came, whole),
        }
    }
}

#[test]
fn a_client_with_a_wrong_first_message_is_closed() {
    let parts = begins(0b1001, 1, 102);
    let [link, behind, ticket, _] = &parts;
    let expected = [&link[..], behind, ticket, &init()].concat();
    assert_eq!(came(&parts, parts.concat().len()), expected);
}

#[test]
fn a_client_with_unsupported_encoding_gets_no_channel() {
    for capabilities in [0, 0b0001, 0b1000] {
        let parts = begins(capabilities, 1, 101);
        assert_eq!(came(&parts, parts.concat().len()), b"", "{capabilities}");
    }
    let parts = begins(0b1001, 2, 101);
    let [link, behind, ..] = &parts;
    assert_eq!(
        came(&parts, parts.concat().len()),
        [&link[..], behind].concat()
    );
}

#[test]
fn non_spice_clients_are_refused_before_the_guest() {
    let displays = Displays::default();
    for other in [&b"RFB 003.008\n         "[..], b"REDQ", b""] {
        thread::scope(|scope| {
            let mut open = OpenChannel::new(scope, &displays, WHO);
            open.own.write_all(other).unwrap();
            open.own.shutdown(Shutdown::Write).unwrap();
            let is_whole = other.len() >= LINK_BYTES;
            assert_eq!(
                open.rest()
                    .contains("did not start with the SPICE protocol"),
                is_whole
            );
            open.is_ended_by_the_guest();
        });
    }
}

#[test]
fn a_forbidden_message_ends_all_channels_with_the_reason() {
    let displays = Displays::default();
    thread::scope(|scope| {
        let [mut main, mut picture, mut inputs] =
            [MAIN, DISPLAY, 3].map(|number| OpenChannel::accepted(scope, &displays, number, WHO));
        let key = [101, 0, 4, 0, 0, 0, 30, 0, 0, 0];
        inputs.own.write_all(&[key, key].concat()).unwrap();
        inputs.reads(&[key, key].concat());
        inputs.own.write_all(&[4, 0, 0, 0, 0, 0]).unwrap();
        // The operator receives the guest's bytes before the reason.
        inputs.guest.write_all(MESSAGE).unwrap();
        inputs.is_ended_by_the_guest();
        inputs.shows(MESSAGE);
        let words = inputs.rest();
        assert!(words.starts_with("\u{7}\0"), "{words:?}");
        assert!(
            words.contains("sent a message that is not forwarded to guests (type 4, channel 3)"),
            "{words:?}"
        );
        for other in [&mut main, &mut picture] {
            assert_eq!(other.rest(), "");
            other.is_ended_by_the_guest();
        }
    });
    assert!(displays.is_free("mail") && lock(&displays.all).is_empty());
}

#[test]
fn all_channels_end_when_one_client_leaves() {
    for goes in [MAIN, DISPLAY, 3, 4] {
        let displays = Displays::default();
        thread::scope(|scope| {
            let open = |number| OpenChannel::accepted(scope, &displays, number, WHO);
            let mut all = [MAIN, DISPLAY, 3, 4].map(|number| (number, open(number)));
            let began = Instant::now();
            for (_, one) in all.iter().filter(|(number, _)| *number == goes) {
                one.own.shutdown(Shutdown::Both).unwrap();
            }
            for (number, one) in &mut all {
                assert_eq!(one.rest(), "", "{goes} {number}");
                one.is_ended_by_the_guest();
            }
            assert!(began.elapsed() < LIMIT / 2, "{goes}");
        });
    }
}

#[test]
fn a_channel_that_the_guest_refuses_ends_no_other() {
    let displays = Displays::default();
    thread::scope(|scope| {
        let mut main = OpenChannel::accepted(scope, &displays, MAIN, WHO);
        let mut other = OpenChannel::linked(scope, &displays, 3, "bert");
        let [_, ticket] = channel_of(3);
        other.own.write_all(&ticket).unwrap();
        other.reads(&ticket);
        // The guest's message names another session.
        other.guest.write_all(&[7, 0, 0, 0]).unwrap();
        other.guest.shutdown(Shutdown::Both).unwrap();
        assert_eq!(other.rest(), "\u{7}\0\0\0");
        main.guest.write_all(MESSAGE).unwrap();
        main.shows(MESSAGE);
    });
}

#[test]
fn a_second_operator_learns_who_has_the_display() {
    let displays = Displays::default();
    let expected = "its display is in use by anna: end that one first";
    thread::scope(|scope| {
        let mut main = OpenChannel::accepted(scope, &displays, MAIN, WHO);
        let [link, ticket] = channel_of(MAIN);
        let mut second = OpenChannel::new(scope, &displays, "bert");
        second.own.write_all(&link).unwrap();
        assert_eq!(second.rest(), format!("{expected}\r\n"));
        // Two channels of a type can crash QEMU.
        let inputs = OpenChannel::accepted(scope, &displays, 3, WHO);
        let mut second = OpenChannel::linked(scope, &displays, 3, WHO);
        second.own.write_all(&ticket).unwrap();
        second.is_ended_by_the_guest();
        assert!(second.rest().contains(expected));
        main.own.shutdown(Shutdown::Both).unwrap();
        main.is_ended_by_the_guest();
        drop(inputs);
        // The next client waits until this one's channel has ended.
        drop(OpenChannel::accepted(scope, &displays, MAIN, "bert"));
    });
}

#[test]
fn a_main_channel_without_a_ticket_blocks_no_other() {
    let displays = Displays::default();
    thread::scope(|scope| {
        let mut idle = OpenChannel::linked(scope, &displays, MAIN, "bert");
        drop(OpenChannel::new(scope, &displays, "bert"));
        let main = OpenChannel::accepted(scope, &displays, MAIN, WHO);
        // The ticket is too late, and is not passed to the guest.
        let [_, ticket] = channel_of(MAIN);
        idle.own.write_all(&ticket).unwrap();
        idle.is_ended_by_the_guest();
        let words = idle.rest();
        assert!(words.starts_with("\0\0\0\0\u{7}\0"), "{words:?}");
        assert!(words.contains("its display is in use by anna"), "{words:?}");
        drop(main);
    });
}

#[test]
fn a_channel_without_a_display_is_refused() {
    let displays = Displays::default();
    thread::scope(|scope| {
        let mut inputs = OpenChannel::linked(scope, &displays, 3, WHO);
        let [_, ticket] = channel_of(3);
        inputs.own.write_all(&ticket).unwrap();
        inputs.is_ended_by_the_guest();
        assert!(inputs.rest().contains(ENDED));
    });
}
