//! Follows a SPICE connection for a relay between a client and a virtual machine's display: its
//! start, the messages of the client that may be passed on, and the server's output. A session has
//! a connection for each of its channels, and the main channel comes first (spice-protocol,
//! `spice/protocol.h`: `SpiceLinkHeader`, `SpiceLinkMess`, `SpiceLinkAuthMechanism`,
//! `SpiceLinkEncryptedTicket`).

/// Number of bytes up to the channel type: the header of 16 bytes, the session number, and the type
/// of the channel.
pub const LINK_BYTES: usize = 21;
const MAGIC: &[u8] = b"REDQ";
/// Type of the main channel. The session belongs to the client that opened the main channel last.
pub const MAIN: u8 = 1;
pub const DISPLAY: u8 = 2;
/// Channel for keyboard and mouse.
const INPUTS: u8 = 3;
const HEADER_BYTES: usize = 16;
const MESSAGE_BYTES: usize = 18;
/// Maximum length of a link message in bytes: few clients have more than two words of capabilities.
const MESSAGE_BYTES_MAX: usize = 1_024;
/// Capability bit: the client selects its authentication method.
const NAMES_ITS_WAY: u32 = 1 << 0;
const SHORT_HEADERS: u32 = 1 << 3;
/// Number of bytes after the link message: the authentication method, and a ticket encrypted with
/// 1,024-bit RSA.
pub const TICKET_BYTES: usize = 4 + 128;
/// Number of bytes of the authentication result.
const RESULT_BYTES: u64 = 4;
/// Authentication method with a ticket.
const BY_TICKET: [u8; 4] = [1, 0, 0, 0];
/// Length of the first message of a display channel, with its short header.
pub const INIT_BYTES: usize = 20;
/// Header of `SPICE_MSGC_DISPLAY_INIT`, with a body of 14 bytes.
const INIT_HEADER: [u8; 6] = [101, 0, 14, 0, 0, 0];

/// Returns the channel type from a client's first bytes; `None` if they are not SPICE.
pub fn channel(link: &[u8; LINK_BYTES]) -> Option<u8> {
    let [.., channel] = link;
    link.starts_with(MAGIC).then_some(*channel)
}

/// Returns the number of bytes of the link message that follow `link`; `None` if that length is
/// too short or too long.
pub fn bytes_behind(link: &[u8; LINK_BYTES]) -> Option<usize> {
    let size = usize::try_from(word(link, 12)?).ok()?;
    let is_possible = (MESSAGE_BYTES..=MESSAGE_BYTES_MAX).contains(&size);
    is_possible.then_some(HEADER_BYTES + size - LINK_BYTES)
}

/// Returns whether the client selects its authentication method and uses short message headers.
/// `behind` is the part of the link message that follows `link`.
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

pub fn has_ticket(sent: &[u8; TICKET_BYTES]) -> bool {
    sent.starts_with(&BY_TICKET)
}

/// Length of a short header in bytes: the type of a message, and the number of bytes that follow.
pub const SHORT_HEADER_BYTES: usize = 6;
/// Maximum length of a client message that is passed on, in bytes: pieces of agent messages have 2
/// KiB.
const SIZE_MAX: u32 = 64 << 10;

/// Returns the number of bytes that follow a client's short header, if the message may be passed
/// on to QEMU. QEMU aborts on some unexpected messages (about migration, and a second
/// `SPICE_MSGC_DISPLAY_INIT`), so only those that a browser needs are passed on.
pub fn passed_bytes(channel: u8, header: &[u8; SHORT_HEADER_BYTES]) -> Option<usize> {
    let [low, high, ..] = header;
    let size = word(header, 2).filter(|size| *size <= SIZE_MAX)?;
    let may = match (channel, u16::from_le_bytes([*low, *high])) {
        // On every channel: acknowledgement, pong, and disconnection.
        (_, 1..=3 | 6) => true,
        // On the main channel: list of channels, mouse mode, and messages for the agent in the
        // guest.
        (MAIN, 104..=108) => true,
        // On the display channel: reports about video streams, and image compression.
        (DISPLAY, 102 | 103) => true,
        // On the input channel: keys and the mouse.
        (INPUTS, 101..=104 | 111..=114) => true,
        _ => false,
    };
    usize::try_from(size).ok().filter(|_| may)
}

pub fn is_init(message: &[u8; INIT_BYTES]) -> bool {
    message.starts_with(&INIT_HEADER)
}

/// Returns the first message of a display channel without caches.
pub fn init() -> [u8; INIT_BYTES] {
    let mut message = [0; INIT_BYTES];
    let bytes = INIT_HEADER.iter().zip(&mut message);
    bytes.for_each(|(byte, to)| *to = *byte);
    message
}

/// Position in a server's output on a channel, as far as a relay must follow it: the reply to the
/// link (`SpiceLinkReply`), the result of the authentication, and messages with short headers.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct SpiceOutputState {
    stage: SpiceOutputStage,
    /// First bytes of the part of the output that is arriving.
    header: [u8; HEADER_BYTES],
    /// Number of bytes of this part that have arrived.
    came: usize,
    missing: u64,
    is_accepted: bool,
    has_begun: bool,
}

/// Meaning of the server's next bytes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum SpiceOutputStage {
    ReplyHeader,
    Reply,
    Result,
    Header,
    Body,
}

impl Default for SpiceOutputState {
    fn default() -> SpiceOutputState {
        SpiceOutputState {
            stage: SpiceOutputStage::ReplyHeader,
            header: [0; HEADER_BYTES],
            came: 0,
            missing: HEADER_BYTES as u64,
            is_accepted: false,
            has_begun: false,
        }
    }
}

impl SpiceOutputState {
    /// Follows bytes that the server has sent to the client.
    pub fn take(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            self.has_begun |= self.stage == SpiceOutputStage::Header;
            let count =
                usize::try_from(self.missing).map_or(bytes.len(), |all| all.min(bytes.len()));
            let (piece, rest) = bytes.split_at(count);
            let header = self.header.iter_mut().skip(self.came);
            header.zip(piece).for_each(|(to, byte)| *to = *byte);
            self.came = self.came.saturating_add(count);
            self.missing -= count as u64;
            bytes = rest;
            // A part without bytes is complete at once.
            while self.missing == 0 {
                self.advance();
            }
        }
    }

    fn advance(&mut self) {
        let size = |at| word(&self.header, at).map_or(0, u64::from);
        (self.stage, self.missing) = match self.stage {
            SpiceOutputStage::ReplyHeader => (SpiceOutputStage::Reply, size(12)),
            SpiceOutputStage::Reply => (SpiceOutputStage::Result, RESULT_BYTES),
            SpiceOutputStage::Result => {
                self.is_accepted = size(0) == 0;
                (SpiceOutputStage::Header, SHORT_HEADER_BYTES as u64)
            }
            SpiceOutputStage::Header => (SpiceOutputStage::Body, size(2)),
            SpiceOutputStage::Body => (SpiceOutputStage::Header, SHORT_HEADER_BYTES as u64),
        };
        self.came = 0;
    }

    pub fn is_accepted(&self) -> bool {
        self.is_accepted
    }

    pub fn has_begun(&self) -> bool {
        self.has_begun
    }

    /// Returns a message that makes a client display an error, to be sent in place of the server's
    /// next bytes. `None`: the client could not interpret a message at this point.
    pub fn error_notification(&self, words: &str) -> Option<Vec<u8>> {
        match self.stage {
            _ if self.came > 0 => None,
            SpiceOutputStage::Result => Some([&[0; 4], &*notice(words)].concat()),
            SpiceOutputStage::Header if self.is_accepted => Some(notice(words)),
            _ => None,
        }
    }
}

/// Builds `SPICE_MSG_NOTIFY`: time, severity (an error), visibility (high), topic, and the text.
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

fn word(bytes: &[u8], at: usize) -> Option<u32> {
    let word = bytes.get(at..)?.first_chunk()?;
    Some(u32::from_le_bytes(*word))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns the first bytes of spice-html5, up to the channel type.
    fn link(session: u32, channel: u8) -> [u8; LINK_BYTES] {
        let [a, b, c, d] = session.to_le_bytes();
        let head = [b'R', b'E', b'D', b'Q', 2, 0, 0, 0, 2, 0, 0, 0, 26, 0, 0, 0];
        let mut link = [0; LINK_BYTES];
        let bytes = head.into_iter().chain([a, b, c, d, channel]);
        link.iter_mut().zip(bytes).for_each(|(to, byte)| *to = byte);
        link
    }

    #[test]
    fn channel_type_is_read_for_any_session() {
        // A migrated client sends its session number in the main channel, too.
        for (session, number) in [(0, MAIN), (7, MAIN), (7, 2), (7, 4), (0, 0), (0, 255)] {
            assert_eq!(channel(&link(session, number)), Some(number));
        }
    }

    #[test]
    fn invalid_spice_header_has_no_channel() {
        let mut other = link(0, 1);
        other[0] = b'r';
        assert_eq!(channel(&other), None);
        assert_eq!(channel(&[0; LINK_BYTES]), None);
    }

    #[test]
    fn link_message_is_bounded_and_has_the_capabilities() {
        let with = |size: u32, behind: &[u8]| {
            let mut link = link(7, DISPLAY);
            link[12..16].copy_from_slice(&size.to_le_bytes());
            (bytes_behind(&link), is_modern(&link, behind))
        };
        // The number of the channel, one word of common capabilities, none of the channel, and
        // their offset.
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

    /// Reply of a server, the result, an empty message and one with three bytes.
    const SENT: &[u8] =
        b"REDQ\x02\0\0\0\x02\0\0\0\x03\0\0\0abc\0\0\0\0\x67\0\0\0\0\0\x68\0\x03\0\0\0def";

    #[test]
    fn what_a_server_sends_is_followed_in_pieces_of_any_size() {
        for pieces in 1..=SENT.len() {
            let mut sent = SpiceOutputState::default();
            let mut seen = 0;
            for piece in SENT.chunks(pieces) {
                seen += piece.len();
                sent.take(piece);
                assert_eq!(sent.is_accepted(), seen >= 23, "{pieces} {seen}");
                assert_eq!(sent.has_begun(), seen > 23, "{pieces} {seen}");
                // A message is possible before the result and between two messages.
                let may = [19, 23, 29, 38].contains(&seen);
                assert_eq!(
                    sent.error_notification("no").is_some(),
                    may,
                    "{pieces} {seen}"
                );
            }
        }
    }

    #[test]
    fn notice_is_a_message_after_a_result() {
        let mut sent = SpiceOutputState::default();
        sent.take(&SENT[..19]);
        let notice = sent.error_notification("no").unwrap();
        let words = [27, 0, 0, 2, 2, 0, 2].map(u32::to_le_bytes).concat();
        let head = [&[7, 0], &*words].concat();
        assert_eq!(notice, [&[0; 4], &head[..], b"no\0"].concat());
        sent.take(&notice);
        assert!(sent.is_accepted() && sent.error_notification("no").is_some());
        // A refused channel gets no error message.
        let mut sent = SpiceOutputState::default();
        sent.take(&[&SENT[..19], &[7, 0, 0, 0]].concat());
        assert!(!sent.is_accepted() && sent.error_notification("no").is_none());
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
