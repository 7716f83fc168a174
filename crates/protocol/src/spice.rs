//! SPICE, as far as a relay looks into it: how a client begins a connection. A session has a connection for each of
//! its channels, and the main channel comes first (spice-protocol, `spice/protocol.h`: `SpiceLinkHeader`,
//! `SpiceLinkMess`).

/// Bytes of a connection up to its channel: the header of 16 bytes, the number of the session, and the type of the
/// channel.
pub const LINK_BYTES: usize = 21;
const MAGIC: &[u8] = b"REDQ";
/// The main channel: another client that opens one gets the session, and the client before it loses its own.
pub const MAIN: u8 = 1;

/// The type of the channel of a connection that a client begins like this. `None`: it is no connection of SPICE.
pub fn channel(link: &[u8; LINK_BYTES]) -> Option<u8> {
    let [.., channel] = link;
    link.starts_with(MAGIC).then_some(*channel)
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
}
