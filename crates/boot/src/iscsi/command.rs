//! Parses SCSI command descriptor blocks of an initiator into [`ScsiRequest`], and refuses invalid
//! commands with [`ScsiSense`] (SPC-4, SBC-3). No I/O.

pub const COMMAND_BYTES: usize = 16;
pub const BLOCK_BYTES: u64 = 512;
pub const TRANSFER_BLOCKS_MAX: u32 = 8192;
pub const SAME_BLOCKS_MAX: u32 = TRANSFER_BLOCKS_MAX;
pub const UNMAP_BLOCKS_MAX: u32 = 1 << 20;
pub const UNMAP_RANGES_MAX: u32 = 256;

/// Sense data of a failed command: sense key, additional sense code and qualifier.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ScsiSense(pub u8, pub u8, pub u8);

impl ScsiSense {
    pub const READ: ScsiSense = ScsiSense(0x3, 0x11, 0x00);
    pub const WRITE: ScsiSense = ScsiSense(0x3, 0x0c, 0x00);
    pub const COMMAND: ScsiSense = ScsiSense(0x5, 0x20, 0x00);
    /// ILLEGAL REQUEST: the blocks are beyond the end of the disk.
    pub const RANGE: ScsiSense = ScsiSense(0x5, 0x21, 0x00);
    pub const FIELD: ScsiSense = ScsiSense(0x5, 0x24, 0x00);
    /// ILLEGAL REQUEST: there is no such logical unit.
    pub const UNIT: ScsiSense = ScsiSense(0x5, 0x25, 0x00);
    pub const PARAMETERS_SHORT: ScsiSense = ScsiSense(0x5, 0x1a, 0x00);
    pub const PARAMETERS: ScsiSense = ScsiSense(0x5, 0x26, 0x00);
    /// ILLEGAL REQUEST: saved mode parameters are not supported.
    pub const SAVED: ScsiSense = ScsiSense(0x5, 0x39, 0x00);
    pub const READ_ONLY: ScsiSense = ScsiSense(0x7, 0x27, 0x00);
    pub const FULL: ScsiSense = ScsiSense(0x7, 0x27, 0x07);
    pub const DIFFERS: ScsiSense = ScsiSense(0xe, 0x1d, 0x00);
    /// ABORTED COMMAND: data arrived out of order.
    pub const DATA: ScsiSense = ScsiSense(0xb, 0x4b, 0x00);

    /// Encodes the sense data in the fixed format, preceded by its length, as iSCSI sends it.
    pub fn bytes(self) -> [u8; 20] {
        let mut bytes = [0; 20];
        (bytes[1], bytes[2], bytes[4], bytes[9]) = (18, 0x70, self.0, 10);
        (bytes[14], bytes[15]) = (self.1, self.2);
        bytes
    }
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ScsiCommand {
    /// TEST UNIT READY, or a command without effect.
    Ready,
    /// INQUIRY: standard data, or the vital product data page with this code.
    Inquiry(Option<u8>),
    Capacity10,
    Capacity16,
    /// REPORT LUNS, with the SELECT REPORT field.
    Units(u8),
    Mode {
        /// Page code, and page control in the upper bits.
        page: u8,
        subpage: u8,
        /// True if the header is the short one of MODE SENSE(6).
        is_short: bool,
    },
    /// REQUEST SENSE. The response reports no error, since the response of each failed command
    /// already has its sense data. True: the initiator requests the format with descriptors.
    Sense(bool),
    Read(Blocks),
    Write(Blocks, Stable),
    /// VERIFY without data: the blocks are read, and nothing is returned.
    Verify(Blocks),
    /// VERIFY with data: the blocks are compared with those that are sent.
    Compare(Blocks),
    Flush(Blocks),
    Unmap,
    /// WRITE SAME: each of the blocks gets the same data. The UNMAP bit of the command is ignored.
    Same(Blocks),
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Blocks {
    pub first: u64,
    pub count: u32,
}

/// True if a write must be stable before its response (FUA).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Stable(pub bool);

impl Blocks {
    /// Returns the offset of the first byte.
    pub fn offset(self) -> u64 {
        self.first.saturating_mul(BLOCK_BYTES)
    }

    pub fn bytes(self) -> u64 {
        u64::from(self.count) * BLOCK_BYTES
    }

    pub fn are_within(self, blocks: u64) -> bool {
        self.first
            .checked_add(u64::from(self.count))
            .is_some_and(|end| end <= blocks)
    }
}

/// Command, and the length in its CDB of the data that is transferred.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ScsiRequest {
    pub command: ScsiCommand,
    /// Length of the parameters or of the returned data, bytes.
    pub length: u32,
}

fn number(bytes: &[u8]) -> u64 {
    bytes
        .iter()
        .fold(0, |all, byte| all << 8 | u64::from(*byte))
}

fn word(bytes: &[u8]) -> u32 {
    u32::try_from(number(bytes)).unwrap_or(u32::MAX)
}

/// Returns the blocks of a command with 6, 10, 12 or 16 bytes; its first byte determines the
/// length.
fn blocks(cdb: &[u8; COMMAND_BYTES]) -> Blocks {
    let (first, count) = match cdb[0] >> 5 {
        0 => {
            let count = if cdb[4] == 0 { 256 } else { u32::from(cdb[4]) };
            (number(&cdb[1..4]) & 0x1f_ffff, count)
        }
        1 | 2 => (number(&cdb[2..6]), word(&cdb[7..9])),
        5 => (number(&cdb[2..6]), word(&cdb[6..10])),
        _ => (number(&cdb[2..10]), word(&cdb[10..14])),
    };
    Blocks { first, count }
}

/// Parses a command descriptor block.
///
/// # Errors
///
/// The command is not one of a disk, has an invalid field, or is for too many blocks.
pub fn parse(cdb: &[u8; COMMAND_BYTES]) -> Result<ScsiRequest, ScsiSense> {
    let plain = |command| Ok(ScsiRequest { command, length: 0 });
    let with = |command, length| Ok(ScsiRequest { command, length });
    match cdb[0] {
        // START STOP UNIT and PREVENT ALLOW MEDIUM REMOVAL have no effect on a disk without a
        // medium.
        0x00 | 0x1b | 0x1e => plain(ScsiCommand::Ready),
        0x03 => with(ScsiCommand::Sense(cdb[1] & 1 != 0), u32::from(cdb[4])),
        0x12 => {
            let page = match (cdb[1] & 1 != 0, cdb[2]) {
                (true, page) => Some(page),
                (false, 0) => None,
                (false, _) => return Err(ScsiSense::FIELD),
            };
            with(ScsiCommand::Inquiry(page), word(&cdb[3..5]))
        }
        0x1a | 0x5a => {
            let is_short = cdb[0] == 0x1a;
            let length = if is_short {
                u32::from(cdb[4])
            } else {
                word(&cdb[7..9])
            };
            let (page, subpage) = (cdb[2], cdb[3]);
            with(
                ScsiCommand::Mode {
                    page,
                    subpage,
                    is_short,
                },
                length,
            )
        }
        0x25 => with(ScsiCommand::Capacity10, 8),
        0x9e if cdb[1] & 0x1f == 0x10 => with(ScsiCommand::Capacity16, word(&cdb[10..14])),
        0xa0 => match (cdb[2], word(&cdb[6..10])) {
            (0..=2, length @ 16..) => with(ScsiCommand::Units(cdb[2]), length),
            _ => Err(ScsiSense::FIELD),
        },
        0x35 | 0x91 => plain(ScsiCommand::Flush(blocks(cdb))),
        0x42 if cdb[1] & 1 != 0 => Err(ScsiSense::FIELD),
        0x42 => with(ScsiCommand::Unmap, word(&cdb[7..9])),
        0x08 | 0x28 | 0xa8 | 0x88 | 0x0a | 0x2a | 0xaa | 0x8a | 0x2f | 0xaf | 0x8f | 0x2e
        | 0xae | 0x8e | 0x41 | 0x93 => of_blocks(cdb),
        _ => Err(ScsiSense::COMMAND),
    }
}

fn of_blocks(cdb: &[u8; COMMAND_BYTES]) -> Result<ScsiRequest, ScsiSense> {
    let (blocks, flags) = (blocks(cdb), cdb[1]);
    let is_six = cdb[0] >> 5 == 0;
    // Refuses protection information, which is not supported.
    if !is_six && flags & 0xe0 != 0 {
        return Err(ScsiSense::FIELD);
    }
    let is_stable = !is_six && flags & 0x08 != 0;
    let max = match cdb[0] {
        0x41 | 0x93 => SAME_BLOCKS_MAX,
        0x2f | 0xaf | 0x8f if flags & 0x06 == 0 => SAME_BLOCKS_MAX,
        _ => TRANSFER_BLOCKS_MAX,
    };
    let command = match cdb[0] {
        0x08 | 0x28 | 0xa8 | 0x88 => ScsiCommand::Read(blocks),
        0x0a | 0x2a | 0xaa | 0x8a => ScsiCommand::Write(blocks, Stable(is_stable)),
        // WRITE AND VERIFY is a stable write: the written data is not read back and compared.
        0x2e | 0xae | 0x8e if flags & 0x04 == 0 => ScsiCommand::Write(blocks, Stable(true)),
        0x2f | 0xaf | 0x8f if flags & 0x06 == 0 => ScsiCommand::Verify(blocks),
        0x2f | 0xaf | 0x8f if flags & 0x06 == 2 => ScsiCommand::Compare(blocks),
        // Accepts WRITE SAME without ANCHOR and the obsolete flags. A count of zero is refused,
        // since that would mean all blocks up to the end of the disk.
        0x41 | 0x93 if flags & 0x16 == 0 && blocks.count > 0 => ScsiCommand::Same(blocks),
        _ => return Err(ScsiSense::FIELD),
    };
    if blocks.count > max {
        return Err(ScsiSense::FIELD);
    }
    let length = match command {
        ScsiCommand::Read(_) | ScsiCommand::Write(..) | ScsiCommand::Compare(_) => {
            blocks.count * BLOCK_BYTES as u32
        }
        // NDOB: the command has no data, and writes zeroes.
        ScsiCommand::Same(_) if cdb[0] == 0x93 && flags & 1 != 0 => 0,
        ScsiCommand::Same(_) => BLOCK_BYTES as u32,
        _ => 0,
    };
    Ok(ScsiRequest { command, length })
}

/// Parses the parameter list of UNMAP into ranges of blocks. An empty list has no range.
///
/// # Errors
///
/// The list is shorter than its header of 8 bytes, or has too many ranges or blocks.
pub fn ranges(parameters: &[u8]) -> Result<Vec<Blocks>, ScsiSense> {
    if parameters.is_empty() {
        return Ok(Vec::new());
    }
    let Some((head, rest)) = parameters.split_first_chunk::<8>() else {
        return Err(ScsiSense::PARAMETERS_SHORT);
    };
    let length = usize::try_from(number(&head[2..4])).unwrap_or(0);
    let rest = rest.get(..length).unwrap_or(rest);
    let all: Vec<Blocks> = rest
        .chunks_exact(16)
        .map(|one| Blocks {
            first: number(&one[..8]),
            count: word(&one[8..12]),
        })
        .collect();
    let blocks: u64 = all.iter().map(|one| u64::from(one.count)).sum();
    let is_too_much = all.len() > UNMAP_RANGES_MAX as usize || blocks > u64::from(UNMAP_BLOCKS_MAX);
    if is_too_much {
        Err(ScsiSense::PARAMETERS)
    } else {
        Ok(all)
    }
}
