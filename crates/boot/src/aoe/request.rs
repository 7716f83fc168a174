//! Decodes a request to an AoE target, executes the request on the target's disk, and builds the
//! reply. Also builds the frame by which a target announces itself. No network I/O.

use super::ata::{AtaCommand, AtaError, Registers, identity};
use super::frame::{AoeAddress, AoeErrorCode, Header, SECTOR_BYTES, sectors_max};
use crate::disk::{Disk, DiskError};
use std::ops::Range;

/// Buffer count that a target advertises: the number of requests that a client may have
/// outstanding.
pub const WINDOW: u16 = 64;
const FIRMWARE: u16 = 1;
const QUERY_BYTES: usize = 8;

#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Request {
    pub header: Header,
    pub asked: AoeRequestCommand,
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub enum AoeRequestCommand {
    Query {
        /// Config command: 0 read, 1 test, 2 test prefix, 3 set, 4 force set.
        command: u8,
        string: Vec<u8>,
    },
    /// ATA command (command 0), with the data of a write.
    Ata(Registers, Vec<u8>),
    Refused(AoeErrorCode),
}

impl Request {
    pub fn parse(frame: &[u8], mtu: usize) -> Option<Request> {
        let (header, body) = Header::parse(frame)?;
        let asked = match (header.refusal(), header.command) {
            (Some(refusal), _) => AoeRequestCommand::Refused(refusal),
            (None, 0) => ata(body, mtu)?,
            (None, 1) => query(body)?,
            // Refuses MAC mask lists and reservations: two nodes that serve the disk could not
            // agree on them.
            (None, _) => AoeRequestCommand::Refused(AoeErrorCode::UnknownCommand),
        };
        Some(Request { header, asked })
    }

    /// Returns the range of the disk that the request reads or writes, bytes, and whether it
    /// writes. None: the request does neither.
    pub fn extent(&self) -> Option<(Range<u64>, bool)> {
        let AoeRequestCommand::Ata(registers, _) = &self.asked else {
            return None;
        };
        let writes = match registers.command {
            AtaCommand::Read => false,
            AtaCommand::Write => true,
            AtaCommand::Identify | AtaCommand::Flush | AtaCommand::Unknown => return None,
        };
        let (start, length) = registers.extent();
        Some((start..start.saturating_add(length as u64), writes))
    }

    /// Executes the request, and returns the reply of the target. None: the request gets no
    /// reply.
    ///
    /// # Errors
    ///
    /// The disk is unreachable: the client has to repeat the request, here or at another node.
    pub fn serve(
        &self,
        target: AoeAddress,
        name: &str,
        mtu: usize,
        disk: &dyn Disk,
    ) -> Result<Option<Vec<u8>>, DiskError> {
        // Fails every request if the disk is unreachable, so that the target sends no reply.
        let size = disk.size()?;
        match &self.asked {
            AoeRequestCommand::Refused(refusal) => Ok(Some(self.refused(target, *refusal))),
            AoeRequestCommand::Query { command, string } => {
                Ok(self.config(*command, string, target, name, mtu))
            }
            AoeRequestCommand::Ata(registers, data) => {
                let (error, read) = match carry_out(registers, data, name, size, disk) {
                    Ok(read) => (None, read),
                    Err(DiskError::Away(error)) => return Err(DiskError::Away(error)),
                    Err(DiskError::ReadOnly) => (Some(AtaError::Aborted), Vec::new()),
                    Err(DiskError::End) => (Some(AtaError::NotFound), Vec::new()),
                    Err(DiskError::Unsupported | DiskError::Full) => {
                        (Some(AtaError::Aborted), Vec::new())
                    }
                    Err(DiskError::Failed(_)) => match registers.command {
                        AtaCommand::Read => (Some(AtaError::Uncorrectable), Vec::new()),
                        _ => (Some(AtaError::Aborted), Vec::new()),
                    },
                };
                let body: [&[u8]; 2] = [&registers.after(error), &read];
                Ok(Some(self.header.reply(target, None, &body)))
            }
        }
    }

    fn refused(&self, target: AoeAddress, refusal: AoeErrorCode) -> Vec<u8> {
        self.header.reply(target, Some(refusal), &[])
    }

    /// Responds to a query of the config string, which is the disk's name from the configuration,
    /// and which no client can change.
    fn config(
        &self,
        command: u8,
        string: &[u8],
        target: AoeAddress,
        name: &str,
        mtu: usize,
    ) -> Option<Vec<u8>> {
        let name = name.as_bytes();
        match command {
            0 => {}
            1 if string == name => {}
            2 if name.starts_with(string) => {}
            // Sends no reply if the test of the config string fails: only targets that pass the
            // test reply.
            1 | 2 => return None,
            3 => return Some(self.refused(target, AoeErrorCode::ConfigString)),
            _ => return Some(self.refused(target, AoeErrorCode::BadArgument)),
        }
        Some(configuration(&self.header, command, target, name, mtu))
    }
}

/// Returns the frame by which a target announces itself to all clients when its disk becomes
/// reachable.
pub fn announcement(target: AoeAddress, name: &str, mtu: usize) -> Vec<u8> {
    let header = Header {
        version: 1,
        asked: target,
        command: 1,
        tag: [0; 4],
    };
    configuration(&header, 0, target, name.as_bytes(), mtu)
}

fn configuration(
    header: &Header,
    command: u8,
    target: AoeAddress,
    name: &[u8],
    mtu: usize,
) -> Vec<u8> {
    let mut fields = [0; QUERY_BYTES];
    fields[..2].copy_from_slice(&WINDOW.to_be_bytes());
    fields[2..4].copy_from_slice(&FIRMWARE.to_be_bytes());
    fields[4] = u8::try_from(sectors_max(mtu)).unwrap_or(u8::MAX);
    fields[5] = 1 << 4 | command & 0x0f;
    // Sends an empty name if its length does not fit 16 bits, which the bound on names excludes.
    let length = u16::try_from(name.len()).unwrap_or(0);
    fields[6..].copy_from_slice(&length.to_be_bytes());
    header.reply(target, None, &[&fields, &name[..usize::from(length)]])
}

fn query(body: &[u8]) -> Option<AoeRequestCommand> {
    let (fields, string) = body.split_first_chunk::<QUERY_BYTES>()?;
    let length = u16::from_be_bytes([fields[6], fields[7]]);
    Some(match string.get(..usize::from(length)) {
        Some(string) => AoeRequestCommand::Query {
            command: fields[5] & 0x0f,
            string: string.to_vec(),
        },
        None => AoeRequestCommand::Refused(AoeErrorCode::BadArgument),
    })
}

fn ata(body: &[u8], mtu: usize) -> Option<AoeRequestCommand> {
    let (registers, data) = Registers::parse(body)?;
    let (_, length) = registers.extent();
    let fits = (1..=sectors_max(mtu)).contains(&usize::from(registers.count));
    let data = match registers.command {
        AtaCommand::Read if fits && !registers.writes => &[],
        AtaCommand::Write if fits && registers.writes => match data.get(..length) {
            Some(data) => data,
            None => return Some(AoeRequestCommand::Refused(AoeErrorCode::BadArgument)),
        },
        AtaCommand::Read | AtaCommand::Write => {
            return Some(AoeRequestCommand::Refused(AoeErrorCode::BadArgument));
        }
        AtaCommand::Identify | AtaCommand::Flush | AtaCommand::Unknown => &[],
    };
    Some(AoeRequestCommand::Ata(registers, data.to_vec()))
}

fn carry_out(
    registers: &Registers,
    data: &[u8],
    name: &str,
    size: u64,
    disk: &dyn Disk,
) -> Result<Vec<u8>, DiskError> {
    let sectors = size / SECTOR_BYTES as u64;
    let (offset, length) = registers.extent();
    let is_within = registers.sector + u64::from(registers.count) <= sectors;
    match registers.command {
        AtaCommand::Identify => Ok(identity(name, sectors).to_vec()),
        AtaCommand::Flush => disk.flush().map(|()| Vec::new()),
        AtaCommand::Unknown => Err(DiskError::Unsupported),
        AtaCommand::Read | AtaCommand::Write if !is_within => Err(DiskError::End),
        AtaCommand::Read => {
            let mut bytes = vec![0; length];
            disk.read(offset, &mut bytes)?;
            Ok(bytes)
        }
        AtaCommand::Write => disk.write(offset, data).map(|()| Vec::new()),
    }
}
