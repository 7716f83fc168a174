//! Decodes ATA commands of a disk from AoE frames, and encodes its registers (ATA/ATAPI-6; AoE
//! revision 11, section 3.1).

use super::frame::SECTOR_BYTES;

pub const REGISTERS_BYTES: usize = 12;
/// Status bit DRDY: the device is ready.
const READY: u8 = 0x40;
const FAILED: u8 = 0x01;
/// AoE flag E: addresses have 48 bits (LBA48).
const EXTENDED: u8 = 0x40;
const WRITES: u8 = 0x01;
const LBA28_MASK: u64 = 0x0fff_ffff;

/// Value of the error register after a failed command.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub enum AtaError {
    /// ABRT: the disk does not support the command, or refuses it.
    Aborted = 0x04,
    /// IDNF: the sectors are beyond the end of the disk.
    NotFound = 0x10,
    Uncorrectable = 0x40,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum AtaCommand {
    Identify,
    Read,
    Write,
    Flush,
    Unknown,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Registers {
    pub command: AtaCommand,
    pub sector: u64,
    pub count: u8,
    pub writes: bool,
    bytes: [u8; REGISTERS_BYTES],
}

impl Registers {
    pub fn parse(body: &[u8]) -> Option<(Registers, &[u8])> {
        let (bytes, data) = body.split_first_chunk::<REGISTERS_BYTES>()?;
        let [flags, _, count, command, a, b, c, d, e, f, ..] = *bytes;
        let is_extended = flags & EXTENDED != 0;
        let sector = u64::from_le_bytes([a, b, c, d, e, f, 0, 0]);
        let command = match command {
            0xec => AtaCommand::Identify,
            0x20 | 0x24 | 0xc8 | 0x25 => AtaCommand::Read,
            0x30 | 0x34 | 0xca | 0x35 => AtaCommand::Write,
            0xe7 | 0xea => AtaCommand::Flush,
            _ => AtaCommand::Unknown,
        };
        let registers = Registers {
            command,
            sector: if is_extended {
                sector
            } else {
                // Keeps 28 bits of the sector: the upper four bits of the last byte belong to the
                // device register.
                sector & LBA28_MASK
            },
            count,
            writes: flags & WRITES != 0,
            bytes: *bytes,
        };
        Some((registers, data))
    }

    /// Returns the offset and the length on the disk of the sectors of the command, in bytes.
    pub fn extent(&self) -> (u64, usize) {
        let sector = SECTOR_BYTES as u64;
        (self.sector * sector, usize::from(self.count) * SECTOR_BYTES)
    }

    pub fn after(&self, error: Option<AtaError>) -> [u8; REGISTERS_BYTES] {
        let mut bytes = self.bytes;
        bytes[1] = error.map_or(0, |error| error as u8);
        // After an error, all sectors of the command count as not transferred.
        bytes[2] = if error.is_some() { self.count } else { 0 };
        bytes[3] = READY | if error.is_some() { FAILED } else { 0 };
        bytes
    }
}

pub fn identity(name: &str, sectors: u64) -> [u8; SECTOR_BYTES] {
    let mut words = [0_u16; SECTOR_BYTES / 2];
    // A fixed disk, with the geometry that all large disks report.
    (words[0], words[1], words[3], words[6]) = (0x0040, 16_383, 16, 63);
    text(&mut words[10..20], name);
    text(&mut words[23..27], env!("CARGO_PKG_VERSION"));
    text(&mut words[27..47], "Evenkeel AoE");
    // Words 47, 49 and 50 of the identification: one sector per interrupt, LBA and DMA.
    (words[47], words[49], words[50]) = (0x8000, 0x0300, 0x4000);
    let short = u32::try_from(sectors)
        .unwrap_or(u32::MAX)
        .min(LBA28_MASK as u32);
    (words[60], words[61]) = halves(short);
    // Versions of the standard: ATA-4 to ATA-6.
    words[80] = 0x0070;
    // Words of the identification: write cache, flush commands and 48-bit addresses; first as
    // supported, then as enabled.
    (words[82], words[83], words[84]) = (0x0020, 0x7400, 0x4000);
    (words[85], words[86], words[87]) = (0x0020, 0x3400, 0x4000);
    let sectors = sectors.min((1 << 48) - 1).to_le_bytes();
    for (word, pair) in words[100..104].iter_mut().zip(sectors.chunks_exact(2)) {
        *word = u16::from_le_bytes([pair[0], pair[1]]);
    }
    let mut bytes = [0; SECTOR_BYTES];
    for (pair, word) in bytes.chunks_exact_mut(2).zip(words) {
        pair.copy_from_slice(&word.to_le_bytes());
    }
    bytes
}

fn halves(value: u32) -> (u16, u16) {
    let [a, b, c, d] = value.to_le_bytes();
    (u16::from_le_bytes([a, b]), u16::from_le_bytes([c, d]))
}

/// Writes a text into words: the first letter of each pair is in the upper byte, and spaces fill
/// the rest.
fn text(words: &mut [u16], text: &str) {
    let mut letters = text.bytes().chain(std::iter::repeat(b' '));
    for word in words {
        let mut next = || letters.next().unwrap_or(b' ');
        *word = u16::from_be_bytes([next(), next()]);
    }
}
