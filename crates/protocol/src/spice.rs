//! SPICE, as far as a relay looks into it: how a client begins a connection. A session has a connection for each of
//! its channels, and the main channel comes first (spice-protocol, `spice/protocol.h`: `SpiceLinkHeader`,
//! `SpiceLinkMess`, `SpiceLinkAuthMechanism`, `SpiceLinkEncryptedTicket`).

/// Bytes of a connection up to its channel: the header of 16 bytes, the number of the session, and the type of the
/// channel.
pub const LINK_BYTES: usize = 21;
const MAGIC: &[u8] = b"REDQ";
/// The main channel: another client that opens one gets the session, and the client before it loses its own.
pub const MAIN: u8 = 1;
/// The channel with the picture.
pub const DISPLAY: u8 = 2;
/// Keyboard and mouse.
const INPUTS: u8 = 3;
const HEADER_BYTES: usize = 16;
const MESSAGE_BYTES: usize = 18;
/// The longest message of a connection that begins: few have more than two words of capabilities.
const MESSAGE_BYTES_MAX: usize = 1_024;
/// Capabilities: the client names how it authenticates, and headers of messages are short.
const NAMES_ITS_WAY: u32 = 1 << 0;
const SHORT_HEADERS: u32 = 1 << 3;
/// Bytes behind the message of a connection that begins: the way to authenticate, and a ticket of RSA with 1,024 bits.
pub const TICKET_BYTES: usize = 4 + 128;
/// Bytes that say how the authentication ended.
const RESULT_BYTES: u64 = 4;
/// Authentication by a ticket.
const BY_TICKET: [u8; 4] = [1, 0, 0, 0];
/// Bytes of the first message of a display channel, with its short header.
pub const INIT_BYTES: usize = 20;
/// `SPICE_MSGC_DISPLAY_INIT` of 14 bytes.
const INIT_HEADER: [u8; 6] = [101, 0, 14, 0, 0, 0];

/// The type of the channel of a connection that a client begins like this. `None`: it is no connection of SPICE.
pub fn channel(link: &[u8; LINK_BYTES]) -> Option<u8> {
    let [.., channel] = link;
    link.starts_with(MAGIC).then_some(*channel)
}

/// How many bytes of the message with which a connection begins come behind `link`. `None`: it is too short or too
/// long.
pub fn bytes_behind(link: &[u8; LINK_BYTES]) -> Option<usize> {
    let size = usize::try_from(word(link, 12)?).ok()?;
    let is_possible = (MESSAGE_BYTES..=MESSAGE_BYTES_MAX).contains(&size);
    is_possible.then_some(HEADER_BYTES + size - LINK_BYTES)
}

/// Whether a client that begins with `link` and what comes behind it names its way to authenticate, and sends messages
/// with short headers.
pub fn is_modern(link: &[u8; LINK_BYTES], behind: &[u8]) -> bool {
    let all = [&link[..], behind].concat();
    let common = || {
        let count = word(&all, HEADER_BYTES + 6)?;
        let offset = usize::try_from(word(&all, HEADER_BYTES + 14)?).ok()?;
        word(&all, HEADER_BYTES.checked_add(offset)?).filter(|_| count > 0)
    };
    let wanted = NAMES_ITS_WAY | SHORT_HEADERS;
    common().is_some_and(|common| common & wanted == wanted)
}

/// Whether a client authenticates by a ticket.
pub fn has_ticket(sent: &[u8; TICKET_BYTES]) -> bool {
    sent.starts_with(&BY_TICKET)
}

/// Bytes of a short header: the type of a message, and how many bytes come behind it.
pub const SHORT_HEADER_BYTES: usize = 6;
/// The longest message of a client that is passed: pieces of the agent's have 2 KiB.
const SIZE_MAX: u32 = 64 << 10;

/// How many bytes come behind a short header of a client, if its message may be passed on a channel. QEMU ends with a
/// signal at some that it does not expect (of migration, and a second `SPICE_MSGC_DISPLAY_INIT`): those that a browser
/// needs are known.
pub fn passed_bytes(channel: u8, header: &[u8; SHORT_HEADER_BYTES]) -> Option<usize> {
    let [low, high, ..] = header;
    let size = word(header, 2).filter(|size| *size <= SIZE_MAX)?;
    let may = match (channel, u16::from_le_bytes([*low, *high])) {
        // That it has received something, that it is there, and that it goes.
        (_, 1..=3 | 6) => true,
        // The other channels, the mouse, and the agent in the guest.
        (MAIN, 104..=108) => true,
        // How a stream of pictures goes, and how pictures are compressed.
        (DISPLAY, 102 | 103) => true,
        // Keys and the mouse.
        (INPUTS, 101..=104 | 111..=114) => true,
        _ => false,
    };
    usize::try_from(size).ok().filter(|_| may)
}

/// Whether this is the first message of a display channel.
pub fn is_init(message: &[u8; INIT_BYTES]) -> bool {
    message.starts_with(&INIT_HEADER)
}

/// The first message of a display channel without caches.
pub fn init() -> [u8; INIT_BYTES] {
    let mut message = [0; INIT_BYTES];
    let bytes = INIT_HEADER.iter().zip(&mut message);
    bytes.for_each(|(byte, to)| *to = *byte);
    message
}

/// What a server sends on a channel, as far as a relay follows it: the reply to the link, how the authentication ended
/// (`SpiceLinkReply`, and the word behind it), and messages with short headers.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Sent {
    stage: Stage,
    /// The beginning of what the stage is about.
    header: [u8; HEADER_BYTES],
    /// Bytes of the stage that have come, and that are missing.
    came: usize,
    missing: u64,
    is_accepted: bool,
    has_begun: bool,
}

/// What comes next of a server.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Stage {
    ReplyHeader,
    Reply,
    Result,
    Header,
    Body,
}

impl Default for Sent {
    fn default() -> Sent {
        Sent {
            stage: Stage::ReplyHeader,
            header: [0; HEADER_BYTES],
            came: 0,
            missing: HEADER_BYTES as u64,
            is_accepted: false,
            has_begun: false,
        }
    }
}

impl Sent {
    /// Takes what the server has sent.
    pub fn take(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            self.has_begun |= self.stage == Stage::Header;
            let count =
                usize::try_from(self.missing).map_or(bytes.len(), |all| all.min(bytes.len()));
            let (piece, rest) = bytes.split_at(count);
            let header = self.header.iter_mut().skip(self.came);
            header.zip(piece).for_each(|(to, byte)| *to = *byte);
            self.came = self.came.saturating_add(count);
            self.missing -= count as u64;
            bytes = rest;
            // What is empty is over at once.
            while self.missing == 0 {
                self.advance();
            }
        }
    }

    fn advance(&mut self) {
        let size = |at| word(&self.header, at).map_or(0, u64::from);
        (self.stage, self.missing) = match self.stage {
            Stage::ReplyHeader => (Stage::Reply, size(12)),
            Stage::Reply => (Stage::Result, RESULT_BYTES),
            Stage::Result => {
                self.is_accepted = size(0) == 0;
                (Stage::Header, SHORT_HEADER_BYTES as u64)
            }
            Stage::Header => (Stage::Body, size(2)),
            Stage::Body => (Stage::Header, SHORT_HEADER_BYTES as u64),
        };
        self.came = 0;
    }

    /// Whether the server has accepted the channel.
    pub fn is_accepted(&self) -> bool {
        self.is_accepted
    }

    /// Whether its first message has begun.
    pub fn has_begun(&self) -> bool {
        self.has_begun
    }

    /// What a client shows as an error, in place of what comes next. `None`: a client could not read it there.
    pub fn notice(&self, words: &str) -> Option<Vec<u8>> {
        match self.stage {
            _ if self.came > 0 => None,
            Stage::Result => Some([&[0; 4], &*notice(words)].concat()),
            Stage::Header if self.is_accepted => Some(notice(words)),
            _ => None,
        }
    }
}

/// `SPICE_MSG_NOTIFY`: time, severity (an error), visibility (high), what it is about, and the words.
fn notice(words: &str) -> Vec<u8> {
    let length = u32::try_from(words.len()).unwrap_or_default();
    let fields = [0, 0, 2, 2, 0, length];
    let size = (fields.len() * 4 + words.len() + 1)
        .try_into()
        .unwrap_or_default();
    let mut bytes = vec![7, 0];
    bytes.extend(u32::to_le_bytes(size));
    bytes.extend(fields.into_iter().flat_map(u32::to_le_bytes));
    bytes.extend_from_slice(words.as_bytes());
    bytes.push(0);
    bytes
}

/// The word in little endian at an offset.
fn word(bytes: &[u8], at: usize) -> Option<u32> {
    let word = bytes.get(at..)?.first_chunk()?;
    Some(u32::from_le_bytes(*word))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What spice-html5 sends first, up to the type of the channel.
    fn link(session: u32, channel: u8) -> [u8; LINK_BYTES] {
        let [a, b, c, d] = session.to_le_bytes();
        let head = [b'R', b'E', b'D', b'Q', 2, 0, 0, 0, 2, 0, 0, 0, 26, 0, 0, 0];
        let mut link = [0; LINK_BYTES];
        let bytes = head.into_iter().chain([a, b, c, d, channel]);
        link.iter_mut().zip(bytes).for_each(|(to, byte)| *to = byte);
        link
    }

    #[test]
    fn the_channel_of_a_connection_is_read_whichever_session_it_is_of() {
        // A client that was migrated names its session in the main channel, too.
        for (session, number) in [(0, MAIN), (7, MAIN), (7, 2), (7, 4), (0, 0), (0, 255)] {
            assert_eq!(channel(&link(session, number)), Some(number));
        }
    }

    #[test]
    fn what_is_no_spice_is_no_channel() {
        let mut other = link(0, 1);
        other[0] = b'r';
        assert_eq!(channel(&other), None);
        assert_eq!(channel(&[0; LINK_BYTES]), None);
    }

    #[test]
    fn the_message_of_a_connection_has_bounds_and_says_what_the_client_can() {
        let with = |size: u32, behind: &[u8]| {
            let mut link = link(7, DISPLAY);
            link[12..16].copy_from_slice(&size.to_le_bytes());
            (bytes_behind(&link), is_modern(&link, behind))
        };
        // The channel's number, one word of common capabilities, none of the channel, and where they are.
        let behind = |capabilities: u8| {
            let head = [0, 1, 0, 0, 0, 0, 0, 0, 0, 18, 0, 0, 0];
            [&head[..], &[capabilities, 0, 0, 0]].concat()
        };
        assert_eq!(with(22, &behind(0b1001)), (Some(17), true));
        assert_eq!(with(22, &behind(0b1000)), (Some(17), false));
        assert_eq!(with(22, &behind(0b0001)), (Some(17), false));
        assert_eq!(with(18, &behind(0b1001)[..13]), (Some(13), false));
        assert_eq!(with(17, &[]), (None, false));
        assert_eq!(with(1_025, &[]).0, None);
        assert_eq!(with(u32::MAX, &[]).0, None);
        let far = [0, 1, 0, 0, 0, 0, 0, 0, 0, 255, 255, 255, 255, 9, 0, 0, 0];
        assert!(!with(22, &far).1);
    }

    #[test]
    fn the_first_message_of_a_display_is_known() {
        assert!(is_init(&init()));
        let mut other = init();
        other[0] = 1;
        assert!(!is_init(&other));
    }

    /// The reply of a server, the result, an empty message and one with three bytes.
    const SENT: &[u8] =
        b"REDQ\x02\0\0\0\x02\0\0\0\x03\0\0\0abc\0\0\0\0\x67\0\0\0\0\0\x68\0\x03\0\0\0def";

    #[test]
    fn what_a_server_sends_is_followed_in_pieces_of_any_size() {
        for pieces in 1..=SENT.len() {
            let mut sent = Sent::default();
            let mut seen = 0;
            for piece in SENT.chunks(pieces) {
                seen += piece.len();
                sent.take(piece);
                assert_eq!(sent.is_accepted(), seen >= 23, "{pieces} {seen}");
                assert_eq!(sent.has_begun(), seen > 23, "{pieces} {seen}");
                // Before the result, and between two messages.
                let may = [19, 23, 29, 38].contains(&seen);
                assert_eq!(sent.notice("no").is_some(), may, "{pieces} {seen}");
            }
        }
    }

    #[test]
    fn a_notice_is_a_message_and_comes_behind_a_result() {
        let mut sent = Sent::default();
        sent.take(&SENT[..19]);
        let notice = sent.notice("no").unwrap();
        let words = [27, 0, 0, 2, 2, 0, 2].map(u32::to_le_bytes).concat();
        let head = [&[7, 0], &*words].concat();
        assert_eq!(notice, [&[0; 4], &head[..], b"no\0"].concat());
        sent.take(&notice);
        assert!(sent.is_accepted() && sent.notice("no").is_some());
        // A channel that was refused gets none.
        let mut sent = Sent::default();
        sent.take(&[&SENT[..19], &[7, 0, 0, 0]].concat());
        assert!(!sent.is_accepted() && sent.notice("no").is_none());
    }

    #[test]
    fn only_messages_that_a_browser_needs_are_passed() {
        let passed = |channel, kind: u8, size: [u8; 4]| {
            let [a, b, c, d] = size;
            passed_bytes(channel, &[kind, 0, a, b, c, d])
        };
        for channel in 0..=9 {
            for kind in 0..=255 {
                let may = match (channel, kind) {
                    (_, 1 | 2 | 3 | 6) => true,
                    (1, _) => (104..=108).contains(&kind),
                    (2, _) => kind == 102 || kind == 103,
                    (3, _) => [101, 102, 103, 104, 111, 112, 113, 114].contains(&kind),
                    _ => false,
                };
                let expected = may.then_some(7);
                assert_eq!(
                    passed(channel, kind, [7, 0, 0, 0]),
                    expected,
                    "{channel} {kind}"
                );
            }
        }
        assert_eq!(passed(3, 101, [0, 0, 1, 0]), Some(65_536));
        assert_eq!(passed(3, 101, [1, 0, 1, 0]), None);
        assert_eq!(passed_bytes(3, &[101, 1, 0, 0, 0, 0]), None);
    }
}
