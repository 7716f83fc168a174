//! Builds the packet that ends licensing in RDP ([MS-RDPBCGR] 2.2.1.12): a server without
//! licences sends it once.

use super::{gcc, mcs};

/// `SEC_LICENSE_PKT` of the security header; then a message of 16 bytes, `ERROR_ALERT` of version 3
/// with `STATUS_VALID_CLIENT`, `ST_NO_TRANSITION` and no further information.
const VALID_CLIENT: &[u8] = b"\x80\0\0\0\xff\x03\x10\0\x07\0\0\0\x02\0\0\0\x04\0\0\0";

/// Returns the packet by which a client learns that it needs no licence. FreeRDP 2 follows a
/// redirection only after this packet.
pub fn valid_client() -> Vec<u8> {
    let mut packet = Vec::new();
    mcs::push_send_data(&mut packet, gcc::IO_CHANNEL, VALID_CLIENT);
    packet
}
