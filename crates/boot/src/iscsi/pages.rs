//! Builds the data of SCSI responses that describe a disk: INQUIRY with its pages, MODE SENSE, READ
//! CAPACITY, REPORT LUNS and REQUEST SENSE (SPC-4, SBC-3). No I/O.

use super::command::{
    BLOCK_BYTES, SAME_BLOCKS_MAX, ScsiSense, TRANSFER_BLOCKS_MAX, UNMAP_BLOCKS_MAX,
    UNMAP_RANGES_MAX,
};
use part::fnv::fnv1a;

const VENDOR: &[u8; 8] = b"EVENKEEL";
const PRODUCT: &[u8; 16] = b"network disk    ";
/// Logical blocks per physical block of 4096 bytes, as an exponent of 2.
const PHYSICAL_EXPONENT: u8 = 3;
const PHYSICAL_BLOCKS: u32 = 1 << PHYSICAL_EXPONENT;

/// Properties of a disk that the responses describe.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct DiskProperties<'n> {
    pub name: &'n str,
    pub blocks: u64,
    pub is_read_only: bool,
    /// True if the disk releases the space of zeroes.
    pub releases: bool,
}

/// Returns the data of INQUIRY: the vital product data page `page`, or the standard data if None.
///
/// # Errors
///
/// The disk has no such page.
pub fn inquiry(page: Option<u8>, about: &DiskProperties<'_>) -> Result<Vec<u8>, ScsiSense> {
    let Some(page) = page else {
        return Ok(standard(0));
    };
    let body = match page {
        0x00 => vec![0x00, 0x80, 0x83, 0xb0, 0xb1, 0xb2],
        0x80 => format!("{:016x}", fnv1a(about.name.bytes())).into_bytes(),
        0x83 => designators(about.name),
        0xb0 => limits(about),
        0xb1 => {
            // Rotation rate 1: not a rotating medium.
            let mut body = vec![0; 60];
            body[1] = 1;
            body
        }
        0xb2 => {
            // For a disk that releases space: UNMAP and WRITE SAME release blocks, which then read
            // as zeroes.
            let provisions = if about.releases { 0xe4 } else { 0 };
            vec![0, provisions, if about.releases { 2 } else { 0 }, 0]
        }
        _ => return Err(ScsiSense::FIELD),
    };
    let length = u16::try_from(body.len()).unwrap_or(0).to_be_bytes();
    Ok([&[0, page, length[0], length[1]], &body[..]].concat())
}

pub fn no_unit() -> Vec<u8> {
    standard(0x7f)
}

fn standard(peripheral: u8) -> Vec<u8> {
    let mut data = vec![0; 96];
    // SPC-4; response data format 2, and hierarchical LUN addressing.
    (data[0], data[2], data[3], data[4]) = (peripheral, 6, 0x12, 91);
    // CMDQUE: commands may be queued.
    data[7] = 2;
    data[8..16].copy_from_slice(VENDOR);
    data[16..32].copy_from_slice(PRODUCT);
    data[32..36].copy_from_slice(b"0001");
    // Version descriptors of the standards: SAM-5, SPC-4, SBC-3 and iSCSI.
    for (at, version) in [0x00a0_u16, 0x0460, 0x04c0, 0x0960].into_iter().enumerate() {
        data[58 + 2 * at..][..2].copy_from_slice(&version.to_be_bytes());
    }
    data
}

/// Returns the designators of the disk, which are the same at every node that serves it.
fn designators(name: &str) -> Vec<u8> {
    let number =
        (fnv1a(name.bytes()) & 0x0fff_ffff_ffff_ffff | 0x3000_0000_0000_0000).to_be_bytes();
    let mut all = vec![0x01, 0x03, 0, 8];
    all.extend(number);
    // Cuts the name at 220 bytes, and pads it with at least one zero to a multiple of four bytes.
    let words: Vec<u8> = name.bytes().take(220).collect();
    let length = (words.len() + 1).next_multiple_of(4);
    all.extend([0x03, 0x08, 0, u8::try_from(length).unwrap_or(0)]);
    all.extend(&words);
    all.resize(all.len() + length - words.len(), 0);
    all
}

fn limits(about: &DiskProperties<'_>) -> Vec<u8> {
    let mut body = vec![0; 60];
    let mut put = |at: usize, value: u32| body[at..at + 4].copy_from_slice(&value.to_be_bytes());
    put(4, TRANSFER_BLOCKS_MAX);
    put(8, TRANSFER_BLOCKS_MAX / 4);
    if about.releases {
        put(16, UNMAP_BLOCKS_MAX);
        put(20, UNMAP_RANGES_MAX);
        put(24, PHYSICAL_BLOCKS);
        // Unmap granularity alignment: ranges start at a multiple of the granularity.
        put(28, 0x8000_0000);
        put(36, SAME_BLOCKS_MAX);
    }
    // WSNZ: WRITE SAME of no blocks is refused.
    body[0] = 1;
    body[2..4].copy_from_slice(&(PHYSICAL_BLOCKS as u16).to_be_bytes());
    body
}

/// Returns the data of READ CAPACITY(10): number of the last block (0xffffffff if it does not fit)
/// and block size.
pub fn capacity10(about: &DiskProperties<'_>) -> Vec<u8> {
    let last = u32::try_from(about.blocks.saturating_sub(1)).unwrap_or(u32::MAX);
    [last.to_be_bytes(), (BLOCK_BYTES as u32).to_be_bytes()].concat()
}

pub fn capacity16(about: &DiskProperties<'_>) -> Vec<u8> {
    let mut data = vec![0; 32];
    let last = about.blocks.saturating_sub(1);
    data[..8].copy_from_slice(&last.to_be_bytes());
    data[8..12].copy_from_slice(&(BLOCK_BYTES as u32).to_be_bytes());
    data[13] = PHYSICAL_EXPONENT;
    if about.releases {
        // LBPME and LBPRZ: blocks can be released, and then read as zeroes.
        data[14] = 0xc0;
    }
    data
}

/// Returns the data of REPORT LUNS: unit 0, or no unit if `which` is 1, the request for well-known
/// logical units only.
pub fn units(which: u8) -> Vec<u8> {
    match which {
        1 => vec![0; 8],
        _ => {
            let mut data = vec![0; 16];
            data[3] = 8;
            data
        }
    }
}

pub fn no_sense(with_descriptors: bool) -> Vec<u8> {
    if with_descriptors {
        vec![0x72, 0, 0, 0, 0, 0, 0, 0]
    } else {
        ScsiSense(0, 0, 0).bytes()[2..].to_vec()
    }
}

/// Returns the data of MODE SENSE: the header, then the requested page or all pages.
///
/// # Errors
///
/// There is no such page or subpage, or saved values are requested.
pub fn mode(
    page: u8,
    subpage: u8,
    is_short: bool,
    about: &DiskProperties<'_>,
) -> Result<Vec<u8>, ScsiSense> {
    let (control, page) = (page >> 6, page & 0x3f);
    if control == 3 {
        return Err(ScsiSense::SAVED);
    }
    if !(subpage == 0 || (subpage == 0xff && page == 0x3f)) {
        return Err(ScsiSense::FIELD);
    }
    let mut body = Vec::new();
    for (number, length, cached) in [(0x08, 18, 0x04), (0x0a, 10, 0x00), (0x1c, 10, 0x00)] {
        if page != number && page != 0x3f {
            continue;
        }
        let start = body.len();
        body.resize(start + 2 + length, 0);
        (body[start], body[start + 1]) = (number, u8::try_from(length).unwrap_or(0));
        // Sets WCE (write cache enabled). In the mask of changeable values (page control 1) no bit
        // is set.
        if control != 1 {
            body[start + 2] = cached;
        }
    }
    if body.is_empty() {
        return Err(ScsiSense::FIELD);
    }
    // DPOFUA: writes may be forced to be stable before their response.
    let device = 0x10 | if about.is_read_only { 0x80 } else { 0 };
    let length = body.len();
    let head = if is_short {
        vec![u8::try_from(length + 3).unwrap_or(u8::MAX), 0, device, 0]
    } else {
        let [high, low] = u16::try_from(length + 6).unwrap_or(u16::MAX).to_be_bytes();
        vec![high, low, 0, device, 0, 0, 0, 0]
    };
    Ok([head, body].concat())
}
