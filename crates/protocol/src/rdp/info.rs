//! Reads the Client Info packet of RDP ([MS-RDPBCGR] 2.2.1.11), which names the user.

use super::reader::{Reader, utf16};
use super::{Pdu, RdpPacketError};

/// Maximum length of a name in bytes, without terminator: `TS_INFO_PACKET` of RDP 5 has 512 with
/// it.
pub const NAME_BYTES_MAX: usize = 510;
const SEC_INFO_PKT: u16 = 0x40;
/// Flag which says that texts are UTF-16.
const INFO_UNICODE: u32 = 0x10;

pub(super) fn names(mut reader: Reader<'_>) -> Result<(String, String), RdpPacketError> {
    let flags = reader.u16_le()?;
    if flags & SEC_INFO_PKT == 0 {
        return Err(reader.invalid("security header"));
    }
    reader.u16_le()?;
    let mut reader = reader.within(Pdu::ClientInfo);
    reader.u32_le()?;
    let is_unicode = reader.u32_le()? & INFO_UNICODE != 0;
    let mut lengths = [0; 5];
    for length in &mut lengths {
        *length = usize::from(reader.u16_le()?);
    }
    let [domain, user, ..] = lengths;
    let domain = name(&mut reader, domain, is_unicode, "Domain")?;
    let user = name(&mut reader, user, is_unicode, "UserName")?;
    Ok((domain, user))
}

fn name(
    reader: &mut Reader<'_>,
    bytes: usize,
    is_unicode: bool,
    field: &'static str,
) -> Result<String, RdpPacketError> {
    if bytes > NAME_BYTES_MAX {
        return Err(reader.invalid(field));
    }
    let text = reader.take(bytes)?;
    // The terminator is not counted in the length.
    let end = if is_unicode { 2 } else { 1 };
    reader.take(end)?;
    let text = if is_unicode {
        utf16(text)
    } else {
        // Refuses a name that is not ASCII, because only ASCII is the same in all code pages.
        text.is_ascii().then(|| {
            let end = text
                .iter()
                .position(|byte| *byte == 0)
                .unwrap_or(text.len());
            String::from_utf8_lossy(&text[..end]).into_owned()
        })
    };
    text.ok_or_else(|| reader.invalid(field))
}
