//! SPICE, as far as a relay looks into it: how a client begins a connection. A session has a connection for each of
//! its channels, and the main channel comes first (spice-protocol, `spice/protocol.h`: `SpiceLinkHeader`,
//! `SpiceLinkMess`).

/// Bytes of a connection up to its channel: the header of 16 bytes, the number of the session, and the type of the
/// channel.
pub const LINK_BYTES: usize = 21;
const MAGIC: &[u8] = b"REDQ";
const MAIN: u8 = 1;

/// Whether a connection that a client begins like this is the main channel: another client that opens one gets the
/// session, and the client before it loses its own. `None`: it is no connection of SPICE.
pub fn is_main(link: &[u8; LINK_BYTES]) -> Option<bool> {
    let [.., channel] = link;
    link.starts_with(MAGIC).then_some(*channel == MAIN)
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
    fn only_the_main_channel_gets_the_session() {
        assert_eq!(is_main(&link(0, 1)), Some(true));
        // A client that was migrated names its session.
        assert_eq!(is_main(&link(7, 1)), Some(true));
        for channel in [0, 2, 3, 4, 5, 6, 255] {
            assert_eq!(is_main(&link(7, channel)), Some(false), "{channel}");
        }
    }

    #[test]
    fn what_is_no_spice_is_no_channel() {
        let mut other = link(0, 1);
        other[0] = b'r';
        assert_eq!(is_main(&other), None);
        assert_eq!(is_main(&[0; LINK_BYTES]), None);
    }
}
