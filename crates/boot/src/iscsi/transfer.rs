//! Receives the data that the initiator sends for a SCSI command (immediate, unsolicited, or after
//! an R2T), and carries out the command on the disk.

use super::command::{
    BLOCK_BYTES, Blocks, ScsiCommand, ScsiSense, Stable, UNMAP_RANGES_MAX, ranges,
};
use super::pdu::{IscsiError, NO_TAG};
use crate::disk::{Disk, DiskError};

const PARAMETER_BYTES_MAX: u32 = 8 + 16 * UNMAP_RANGES_MAX;
const SAME_AT_ONCE: u32 = 128;

/// Running command for which the initiator sends data. Data of a write goes to the disk as it
/// arrives; the list of UNMAP and the block of WRITE SAME are kept until they are complete.
#[derive(Debug)]
pub struct Transfer {
    pub tag: u32,
    /// Expected data transfer length that the initiator announced, bytes.
    pub expected: u32,
    /// Length that the command requests, bytes.
    asks: u32,
    /// Length of the data that the command can use, bytes.
    length: u32,
    kind: TransferKind,
    came: u32,
    sequence: Sequence,
    failed: Option<ScsiSense>,
}

#[derive(Debug)]
enum TransferKind {
    Write {
        offset: u64,
        stable: Stable,
    },
    Compare(u64),
    Same(Blocks, Vec<u8>),
    Unmap(Vec<u8>),
    /// The data is discarded, because the command has failed.
    Nothing,
}

#[derive(Clone, Copy, Debug)]
struct Sequence {
    /// Target transfer tag, which the PDUs with data repeat; the reserved tag for unsolicited data.
    tag: u32,
    number: u32,
    end: u32,
    r2t: u32,
    is_open: bool,
}

#[derive(Clone, Copy, Debug)]
pub struct DataOutPdu<'d> {
    pub tag: u32,
    /// DataSN: number of the PDU in the sequence.
    pub number: u32,
    pub offset: u32,
    pub is_last: bool,
    pub data: &'d [u8],
}

/// Data to request with an R2T.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ReadyToTransfer {
    pub tag: u32,
    /// R2TSN: number of the R2T within the command.
    pub number: u32,
    pub offset: u32,
    pub length: u32,
}

impl Transfer {
    /// Starts a command that takes `length` bytes, of which the initiator announces `expected`.
    /// Returns None for a command without data from the initiator.
    pub fn new(command: ScsiCommand, length: u32, tag: u32, expected: u32) -> Option<Transfer> {
        let kind = match command {
            ScsiCommand::Write(blocks, stable) => TransferKind::Write {
                offset: blocks.offset(),
                stable,
            },
            ScsiCommand::Compare(blocks) => TransferKind::Compare(blocks.offset()),
            ScsiCommand::Same(blocks) => TransferKind::Same(blocks, Vec::new()),
            ScsiCommand::Unmap => TransferKind::Unmap(Vec::new()),
            _ => return None,
        };
        // Fails WRITE SAME and UNMAP with fewer bytes than needed: a truncated list has another
        // meaning.
        let failed = match kind {
            TransferKind::Same(..) if length != expected => Some(ScsiSense::FIELD),
            TransferKind::Unmap(_) if length > PARAMETER_BYTES_MAX || length > expected => {
                Some(ScsiSense::PARAMETERS_SHORT)
            }
            _ => None,
        };
        Some(Transfer::of(kind, length, tag, expected, failed))
    }

    /// Starts a command that failed before its data arrived; the data is received and discarded.
    pub fn failed(sense: ScsiSense, tag: u32, expected: u32) -> Transfer {
        Transfer::of(TransferKind::Nothing, 0, tag, expected, Some(sense))
    }

    fn of(
        kind: TransferKind,
        length: u32,
        tag: u32,
        expected: u32,
        failed: Option<ScsiSense>,
    ) -> Transfer {
        let asks = length;
        // Writes and compares whole blocks only. Bytes of an incomplete block are discarded.
        let length = length.min(expected);
        let length = match kind {
            TransferKind::Write { .. } | TransferKind::Compare(_) => {
                length - length % BLOCK_BYTES as u32
            }
            _ => length,
        };
        Transfer {
            tag,
            expected,
            asks,
            length,
            kind,
            came: 0,
            sequence: Sequence {
                tag: NO_TAG,
                number: 0,
                end: 0,
                r2t: 0,
                is_open: false,
            },
            failed,
        }
    }

    /// Takes the immediate data of the command. `goes_on`: true if more unsolicited data follows.
    /// `end`: maximum of all unsolicited data, bytes.
    ///
    /// # Errors
    ///
    /// The disk is unreachable, or the data is longer than `end` or the announced length.
    pub fn begin(
        &mut self,
        data: &[u8],
        goes_on: bool,
        end: u32,
        disk: &dyn Disk,
    ) -> Result<(), IscsiError> {
        let end = end.min(self.expected);
        self.sequence.end = end;
        self.sequence.is_open = goes_on;
        if data.len() > end as usize {
            return Err(IscsiError::Protocol(
                "more immediate data than was agreed on",
            ));
        }
        self.take(data, disk)
    }

    /// Takes the data of a Data-Out PDU. Data out of order or beyond the sequence fails the
    /// command.
    ///
    /// # Errors
    ///
    /// The disk is unreachable, or no open sequence has the tag of the PDU.
    pub fn data(&mut self, part: &DataOutPdu<'_>, disk: &dyn Disk) -> Result<(), IscsiError> {
        let sequence = &mut self.sequence;
        if !sequence.is_open || part.tag != sequence.tag {
            return Err(IscsiError::Protocol("data that was not asked for"));
        }
        let end = u64::from(part.offset) + part.data.len() as u64;
        let is_next = part.number == sequence.number && part.offset == self.came;
        sequence.number = sequence.number.wrapping_add(1);
        sequence.is_open = !part.is_last;
        if self.failed.is_none() && (!is_next || end > u64::from(sequence.end)) {
            self.failed = Some(ScsiSense::DATA);
        }
        self.take(part.data, disk)
    }

    fn take(&mut self, data: &[u8], disk: &dyn Disk) -> Result<(), IscsiError> {
        let (came, left) = (self.came, self.length.saturating_sub(self.came));
        // Data beyond what the command needs is discarded.
        let used = &data[..data.len().min(left as usize)];
        let more = u32::try_from(data.len()).unwrap_or(u32::MAX);
        self.came = self.came.saturating_add(more);
        if self.failed.is_some() || used.is_empty() {
            return Ok(());
        }
        let written = match &mut self.kind {
            TransferKind::Write { offset, .. } => disk.write(*offset + u64::from(came), used),
            TransferKind::Same(_, all) | TransferKind::Unmap(all) => {
                all.extend_from_slice(used);
                Ok(())
            }
            TransferKind::Compare(offset) => {
                let mut own = vec![0; used.len()];
                let read = disk.read(*offset + u64::from(came), &mut own);
                if read.is_ok() && own != used {
                    self.failed = Some(ScsiSense::DIFFERS);
                }
                read
            }
            TransferKind::Nothing => Ok(()),
        };
        self.note(written)
    }

    fn note(&mut self, written: Result<(), DiskError>) -> Result<(), IscsiError> {
        match written.map_err(sense_of_write) {
            Ok(()) => Ok(()),
            Err(None) => Err(IscsiError::Away),
            Err(Some(sense)) => {
                self.failed = self.failed.or(Some(sense));
                Ok(())
            }
        }
    }

    pub fn is_coming(&self) -> bool {
        self.sequence.is_open
    }

    /// Returns the data to request next by an R2T, at most `burst` bytes. None: all data has
    /// arrived, or the command has failed.
    pub fn wanted(&mut self, tag: u32, burst: u32) -> Option<ReadyToTransfer> {
        if self.failed.is_some() || self.came >= self.length {
            return None;
        }
        let length = (self.length - self.came).min(burst);
        let number = self.sequence.r2t;
        self.sequence = Sequence {
            tag,
            number: 0,
            end: self.came + length,
            r2t: number + 1,
            is_open: true,
        };
        Some(ReadyToTransfer {
            tag,
            number,
            offset: self.came,
            length,
        })
    }

    /// Completes the command. Returns the number of bytes that the command takes, or the sense data
    /// of a failed command.
    ///
    /// # Errors
    ///
    /// The disk is unreachable.
    pub fn finish(
        mut self,
        blocks: u64,
        disk: &dyn Disk,
    ) -> Result<Result<u32, ScsiSense>, IscsiError> {
        if let Some(sense) = self.failed {
            return Ok(Err(sense));
        }
        let done = match &self.kind {
            TransferKind::Write { stable, .. } => {
                if stable.0 {
                    disk.flush()
                } else {
                    Ok(())
                }
            }
            TransferKind::Same(range, block) => same(*range, block, disk),
            TransferKind::Unmap(parameters) => match unmap(parameters, blocks) {
                Ok(ranges) => release(&ranges, disk),
                Err(sense) => return Ok(Err(sense)),
            },
            TransferKind::Compare(_) | TransferKind::Nothing => Ok(()),
        };
        self.note(done)?;
        Ok(self.failed.map_or(Ok(self.asks), Err))
    }
}

/// Returns the sense data of a failed write. None: the disk is unreachable, so the connection must
/// be closed.
pub fn sense_of_write(error: DiskError) -> Option<ScsiSense> {
    match error {
        DiskError::Away(_) => None,
        DiskError::ReadOnly => Some(ScsiSense::READ_ONLY),
        DiskError::End => Some(ScsiSense::RANGE),
        DiskError::Full => Some(ScsiSense::FULL),
        DiskError::Failed(_) | DiskError::Unsupported => Some(ScsiSense::WRITE),
    }
}

fn unmap(parameters: &[u8], blocks: u64) -> Result<Vec<Blocks>, ScsiSense> {
    let ranges = ranges(parameters)?;
    if ranges.iter().all(|range| range.are_within(blocks)) {
        Ok(ranges)
    } else {
        Err(ScsiSense::RANGE)
    }
}

fn release(ranges: &[Blocks], disk: &dyn Disk) -> Result<(), DiskError> {
    let mut some = ranges.iter().filter(|range| range.count > 0);
    some.try_for_each(|range| disk.zero(range.offset(), range.bytes()))
}

fn same(range: Blocks, block: &[u8], disk: &dyn Disk) -> Result<(), DiskError> {
    if block.iter().all(|byte| *byte == 0) {
        return disk.zero(range.offset(), range.bytes());
    }
    let (mut first, mut left) = (range.first, range.count);
    while left > 0 {
        let count = left.min(SAME_AT_ONCE);
        let blocks = Blocks { first, count };
        disk.write(blocks.offset(), &block.repeat(count as usize))?;
        first += u64::from(count);
        left -= count;
    }
    Ok(())
}
