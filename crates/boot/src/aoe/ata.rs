//! The registers of a disk and what they ask (ATA/ATAPI-6; AoE revision 11, section 3.1).

use super::frame::SECTOR_BYTES;

/// Bytes of the registers in a frame.
pub const REGISTERS_BYTES: usize = 12;
/// The device is ready.
const READY: u8 = 0x40;
/// The command failed.
const FAILED: u8 = 0x01;
/// Addresses have 48 bits.
const EXTENDED: u8 = 0x40;
/// The frame has data for the disk.
const WRITES: u8 = 0x01;
const LBA28_MASK: u64 = 0x0fff_ffff;

/// Why a command of the disk fails: the error register.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub enum AtaError {
    /// The disk does not have the command, or refuses it.
    Aborted = 0x04,
    /// The sectors are behind the end.
    NotFound = 0x10,
    /// The sectors cannot be read.
    Uncorrectable = 0x40,
}

/// What a command is about.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Command {
    /// What the disk is.
    Identify,
    /// Sectors are read.
    Read,
    /// Sectors are written.
    Write,
    /// What was written reaches stable storage.
    Flush,
    /// Anything else.
    Unknown,
}

/// The registers of a request.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Registers {
    /// The command.
    pub command: Command,
    /// The first sector.
    pub sector: u64,
    /// How many sectors the frame is about.
    pub count: u8,
    /// Whether the frame has data for the disk, as its flags say.
    pub writes: bool,
    bytes: [u8; REGISTERS_BYTES],
}

impl Registers {
    /// Reads the registers, and returns them with the data behind them.
    pub fn parse(body: &[u8]) -> Option<(Registers, &[u8])> {
        let (bytes, data) = body.split_first_chunk::<REGISTERS_BYTES>()?;
        let [flags, _, count, command, a, b, c, d, e, f, ..] = *bytes;
        let is_extended = flags & EXTENDED != 0;
        let sector = u64::from_le_bytes([a, b, c, d, e, f, 0, 0]);
        let command = match command {
            0xec => Command::Identify,
            0x20 | 0x24 | 0xc8 | 0x25 => Command::Read,
            0x30 | 0x34 | 0xca | 0x35 => Command::Write,
            0xe7 | 0xea => Command::Flush,
            _ => Command::Unknown,
        };
        let registers = Registers {
            command,
            sector: match is_extended {
                true => sector,
                // The upper bits are those of the device register.
                false => sector & LBA28_MASK,
            },
            count,
            writes: flags & WRITES != 0,
            bytes: *bytes,
        };
        Some((registers, data))
    }

    /// The first byte and the length of its sectors.
    pub fn extent(&self) -> (u64, usize) {
        let sector = SECTOR_BYTES as u64;
        (self.sector * sector, usize::from(self.count) * SECTOR_BYTES)
    }

    /// The registers after the command.
    pub fn after(&self, error: Option<AtaError>) -> [u8; REGISTERS_BYTES] {
        let mut bytes = self.bytes;
        bytes[1] = error.map_or(0, |error| error as u8);
        // So many sectors are left.
        bytes[2] = if error.is_some() { self.count } else { 0 };
        bytes[3] = READY | if error.is_some() { FAILED } else { 0 };
        bytes
    }
}

/// What a disk says of itself (IDENTIFY DEVICE), for its size in sectors.
pub fn identity(name: &str, sectors: u64) -> [u8; SECTOR_BYTES] {
    let mut words = [0_u16; SECTOR_BYTES / 2];
    // A fixed disk, with the geometry that all large ones have.
    (words[0], words[1], words[3], words[6]) = (0x0040, 16_383, 16, 63);
    text(&mut words[10..20], name);
    text(&mut words[23..27], env!("CARGO_PKG_VERSION"));
    text(&mut words[27..47], "Evenkeel AoE");
    // One sector an interrupt; LBA and DMA.
    (words[47], words[49], words[50]) = (0x8000, 0x0300, 0x4000);
    let short = u32::try_from(sectors)
        .unwrap_or(u32::MAX)
        .min(LBA28_MASK as u32);
    (words[60], words[61]) = halves(short);
    // ATA-4 to ATA-6.
    words[80] = 0x0070;
    // A write cache, flushes, and addresses of 48 bits: which there are, and which are in use.
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

/// Writes a text as ATA has it: the first letter of each pair in the upper byte, filled with spaces.
fn text(words: &mut [u16], text: &str) {
    let mut letters = text.bytes().chain(std::iter::repeat(b' '));
    for word in words {
        let mut next = || letters.next().unwrap_or(b' ');
        *word = u16::from_be_bytes([next(), next()]);
    }
}
