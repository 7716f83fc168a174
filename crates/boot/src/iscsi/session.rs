//! Handles the full feature phase of an iSCSI session on the target's side: PDUs of the initiator
//! and their responses (RFC 7143, sections 4 and 11).
//!
//! The session executes commands one after the other, in the order of their CmdSN; immediate
//! commands are executed on arrival. The data of a write may arrive between other commands. Read
//! and written data goes through in pieces; only the parameter list of UNMAP and the block of WRITE
//! SAME are kept until complete.

use super::command::{self, Blocks, COMMAND_BYTES, ScsiCommand, ScsiRequest, ScsiSense};
use super::login::{LoggedInSession, WINDOW};
use super::pages::{self, DiskProperties};
use super::pdu::{
    DATA_BYTES_MAX, FINAL, Header, IscsiError, IscsiResponseHeader, NO_TAG, Pdu, opcode,
};
use super::text::{self, Parameters};
use super::transfer::{DataOutPdu, Transfer, sense_of_write};
use crate::disk::{Disk, DiskError};
use std::io::Write;

const READS: u8 = 0x40;
const WRITES: u8 = 0x20;
const OVERFLOW: u8 = 0x04;
const UNDERFLOW: u8 = 0x02;
const STATUS: u8 = 0x01;
const GOOD: u8 = 0x00;
const CHECK_CONDITION: u8 = 0x02;
const TASK_SET_FULL: u8 = 0x28;
const TRANSFERS_MAX: usize = WINDOW as usize;
const VERIFY_BYTES: u64 = 256 << 10;

pub struct SessionTarget<'u> {
    /// Name of the target; empty in a discovery session.
    pub name: &'u str,
    /// Disk of the target; None in a discovery session.
    pub disk: Option<&'u dyn Disk>,
    /// Returns the targets that this initiator may use, and their addresses, for SendTargets.
    pub targets: &'u dyn Fn() -> Vec<(String, String)>,
}

/// Full feature phase of one session, without a socket. After an error of [`Session::handle`] the
/// caller closes the connection.
#[derive(Debug)]
pub struct Session {
    parameters: Parameters,
    numbers: SequenceNumbers,
    transfers: Vec<Transfer>,
    /// Rest of a text response, which the initiator requests with further PDUs.
    text: Vec<u8>,
    connection: u16,
    read: u64,
}

#[derive(Clone, Copy, Debug)]
struct SequenceNumbers {
    status: u32,
    command: u32,
    tag: u32,
}

/// Result of a command for which the initiator sends no data.
enum ScsiCommandResult {
    Data(Vec<u8>),
    Read(Blocks),
    Failed(ScsiSense),
}

impl Session {
    pub fn new(of: &LoggedInSession) -> Session {
        Session {
            parameters: of.parameters,
            numbers: SequenceNumbers {
                status: of.stat_sn,
                command: of.command_sn,
                tag: 1,
            },
            transfers: Vec::new(),
            text: Vec::new(),
            connection: of.connection,
            read: 0,
        }
    }

    pub fn sent_bytes(&self) -> u64 {
        self.read
    }

    /// Handles a PDU, and writes the responses.
    ///
    /// # Errors
    ///
    /// The initiator breaks the protocol or logs out, the disk is unreachable, or the connection
    /// fails. The caller closes the connection.
    pub fn handle(
        &mut self,
        pdu: &Pdu,
        unit: &SessionTarget<'_>,
        out: &mut dyn Write,
    ) -> Result<(), IscsiError> {
        let header = &pdu.header;
        let opcode = header.opcode();
        if opcode != opcode::DATA_OUT && !self.is_due(header) {
            // Ignores a PDU that is not immediate and does not have the next CmdSN (RFC 7143,
            // 4.2.2.1).
            return Ok(());
        }
        match (opcode, unit.disk) {
            (opcode::NOP_OUT, _) => self.nop(pdu, out),
            (opcode::TEXT, _) => self.text(pdu, unit, out),
            (opcode::LOGOUT, _) => self.logout(header, out),
            (opcode::COMMAND, Some(disk)) => self.command(pdu, unit.name, disk, out),
            (opcode::DATA_OUT, Some(disk)) => self.data(pdu, disk, out),
            (opcode::TASK, Some(_)) => self.task(header, out),
            (opcode::LOGIN, _) => Err(IscsiError::Protocol("a second login")),
            _ => self.reject(header, 0x05, out),
        }
    }

    /// Returns whether the PDU is immediate or has the next CmdSN, and counts the CmdSN if so. PDUs
    /// of one connection arrive in order.
    fn is_due(&mut self, header: &Header) -> bool {
        let is_next = header.word(24) == self.numbers.command;
        if header.is_immediate() {
            return true;
        }
        if is_next {
            self.numbers.command = self.numbers.command.wrapping_add(1);
        }
        is_next
    }

    /// Sets the current sequence numbers of a response.
    fn numbered(&self, reply: IscsiResponseHeader) -> IscsiResponseHeader {
        let command = self.numbers.command;
        reply
            .word(24, self.numbers.status)
            .word(28, command)
            .word(32, command.wrapping_add(WINDOW - 1))
    }

    /// Sets the sequence numbers of a response that has its own StatSN.
    fn counted(&mut self, reply: IscsiResponseHeader) -> IscsiResponseHeader {
        let reply = self.numbered(reply);
        self.numbers.status = self.numbers.status.wrapping_add(1);
        reply
    }

    fn nop(&mut self, pdu: &Pdu, out: &mut dyn Write) -> Result<(), IscsiError> {
        if pdu.header.tag() == NO_TAG {
            // Writes no response: the PDU responds to a ping of the target. This target sends no
            // pings, because iPXE would end its session.
            return Ok(());
        }
        let reply = IscsiResponseHeader::new(opcode::NOP_IN, FINAL).same(&pdu.header, 8..20);
        let reply = self.counted(reply.word(20, NO_TAG));
        let data = &pdu.data[..pdu.data.len().min(self.parameters.receives)];
        Ok(reply.write(data, out)?)
    }

    fn reject(&mut self, header: &Header, why: u8, out: &mut dyn Write) -> Result<(), IscsiError> {
        let reply = IscsiResponseHeader::new(opcode::REJECT, FINAL).byte(2, why);
        let reply = self.counted(reply.word(16, NO_TAG));
        Ok(reply.write(&header.0, out)?)
    }

    fn logout(&mut self, header: &Header, out: &mut dyn Write) -> Result<(), IscsiError> {
        let own = u16::from_be_bytes([header.0[20], header.0[21]]) == self.connection;
        let response = match header.flags() & 0x7f {
            0 => 0,
            1 if own => 0,
            // Response 1: the CID is unknown. Response 2: connection recovery is not supported.
            1 => 1,
            _ => 2,
        };
        let reply = IscsiResponseHeader::new(opcode::LOGOUT_RESPONSE, FINAL).byte(2, response);
        let reply = self.counted(reply.same(header, 16..20));
        reply.write(&[], out)?;
        match response {
            0 => Err(IscsiError::Ended),
            _ => Ok(()),
        }
    }

    fn text(
        &mut self,
        pdu: &Pdu,
        unit: &SessionTarget<'_>,
        out: &mut dyn Write,
    ) -> Result<(), IscsiError> {
        let header = &pdu.header;
        if header.flags() & 0x40 != 0 {
            return self.reject(header, 0x04, out);
        }
        // Starts a new text. With a target transfer tag instead, the initiator requests the rest of
        // the last response.
        if header.word(20) == NO_TAG {
            let mut all = Vec::new();
            for (key, value) in text::parse(&pdu.data)? {
                match key {
                    "SendTargets" => send_targets(value, unit, &mut all),
                    _ => {
                        let replied = self.parameters.take(key, value)?;
                        if let Some(replied) = replied {
                            text::add(&mut all, key, &replied);
                        }
                    }
                }
            }
            self.text = all;
        }
        let count = self.text.len().min(self.parameters.receives);
        let part: Vec<u8> = self.text.drain(..count).collect();
        let is_all = self.text.is_empty();
        let (flags, tag) = if is_all { (FINAL, NO_TAG) } else { (0x40, 1) };
        let reply = IscsiResponseHeader::new(opcode::TEXT_RESPONSE, flags).same(header, 8..20);
        let reply = self.counted(reply.word(20, tag));
        Ok(reply.write(&part, out)?)
    }

    fn task(&mut self, header: &Header, out: &mut dyn Write) -> Result<(), IscsiError> {
        let before = self.transfers.len();
        let is_unit = header.lun() == 0;
        let response = match header.flags() & 0x7f {
            1 => {
                let aborted = header.word(20);
                self.transfers.retain(|one| one.tag != aborted);
                u8::from(self.transfers.len() == before)
            }
            // Refuses ABORT TASK SET, CLEAR TASK SET and LOGICAL UNIT RESET for an unknown logical
            // unit.
            2 | 4 | 5 if !is_unit => 2,
            2 | 4 | 5 | 6 | 7 => {
                self.transfers.clear();
                0
            }
            8 => 4,
            _ => 5,
        };
        let reply = IscsiResponseHeader::new(opcode::TASK_RESPONSE, FINAL).byte(2, response);
        let reply = self.counted(reply.same(header, 16..20));
        Ok(reply.write(&[], out)?)
    }

    fn command(
        &mut self,
        pdu: &Pdu,
        name: &str,
        disk: &dyn Disk,
        out: &mut dyn Write,
    ) -> Result<(), IscsiError> {
        let header = &pdu.header;
        let size = disk.size().map_err(|_| IscsiError::Away)?;
        let about = DiskProperties {
            name,
            blocks: size / command::BLOCK_BYTES,
            is_read_only: disk.is_read_only(),
            releases: disk.releases() && !disk.is_read_only(),
        };
        let mut cdb = [0; COMMAND_BYTES];
        cdb.copy_from_slice(&header.0[32..48]);
        let parsed = command::parse(&cdb).and_then(|asked| check(header, asked, &about));
        if header.flags() & WRITES != 0 {
            return self.begin(pdu, parsed, about.blocks, disk, out);
        }
        if let Ok(ScsiRequest { command, length }) = parsed
            && let Some(transfer) = Transfer::new(command, length, header.tag(), 0)
        {
            // The command needs no data, or the initiator announced none.
            let ended = transfer.finish(about.blocks, disk)?;
            return self.end(header.tag(), header.word(20), ended, out);
        }
        let done = match parsed {
            Ok(asked) => carry_out(header, asked, &about, disk)?,
            Err(sense) => ScsiCommandResult::Failed(sense),
        };
        match done {
            ScsiCommandResult::Data(data) => self.send(header, &data, out),
            ScsiCommandResult::Read(blocks) => self.read(header, blocks, disk, out),
            ScsiCommandResult::Failed(sense) => self.fail(header, sense, out),
        }
    }

    fn begin(
        &mut self,
        pdu: &Pdu,
        parsed: Result<ScsiRequest, ScsiSense>,
        blocks: u64,
        disk: &dyn Disk,
        out: &mut dyn Write,
    ) -> Result<(), IscsiError> {
        let header = &pdu.header;
        let (tag, expected, goes_on) = (header.tag(), header.word(20), !header.is_final());
        if self.transfers.len() >= TRANSFERS_MAX {
            return if goes_on {
                Err(IscsiError::Protocol("too many commands under way"))
            } else {
                self.status(header, TASK_SET_FULL, out)
            };
        }
        let is_early = goes_on && self.parameters.initial_r2t;
        let is_known = self.transfers.iter().any(|one| one.tag == tag);
        if is_early || is_known || (!pdu.data.is_empty() && !self.parameters.immediate) {
            return Err(IscsiError::Protocol("data that was not asked for"));
        }
        let failed = |sense| Transfer::failed(sense, tag, expected);
        let mut transfer = match parsed {
            Ok(asked) => Transfer::new(asked.command, asked.length, tag, expected)
                .unwrap_or_else(|| failed(ScsiSense::FIELD)),
            Err(sense) => failed(sense),
        };
        let first = u32::try_from(self.parameters.first_burst).unwrap_or(u32::MAX);
        transfer.begin(&pdu.data, goes_on, first, disk)?;
        self.go_on(transfer, blocks, disk, out)
    }

    fn data(&mut self, pdu: &Pdu, disk: &dyn Disk, out: &mut dyn Write) -> Result<(), IscsiError> {
        let header = &pdu.header;
        let mut all = self.transfers.iter();
        let Some(at) = all.position(|one| one.tag == header.tag()) else {
            // Ignores the data of a command that was aborted.
            return Ok(());
        };
        let mut transfer = self.transfers.swap_remove(at);
        let part = DataOutPdu {
            tag: header.word(20),
            number: header.word(36),
            offset: header.word(40),
            is_last: header.is_final(),
            data: &pdu.data,
        };
        transfer.data(&part, disk)?;
        let size = disk.size().map_err(|_| IscsiError::Away)?;
        self.go_on(transfer, size / command::BLOCK_BYTES, disk, out)
    }

    /// Waits for the data that the initiator has announced, requests more with an R2T, or ends the
    /// command.
    fn go_on(
        &mut self,
        mut transfer: Transfer,
        blocks: u64,
        disk: &dyn Disk,
        out: &mut dyn Write,
    ) -> Result<(), IscsiError> {
        if transfer.is_coming() {
            self.transfers.push(transfer);
            return Ok(());
        }
        let burst = u32::try_from(self.parameters.burst).unwrap_or(u32::MAX);
        let Some(wanted) = transfer.wanted(self.numbers.tag, burst) else {
            let (tag, expected) = (transfer.tag, transfer.expected);
            let took = transfer.finish(blocks, disk)?;
            return self.end(tag, expected, took, out);
        };
        // The mask excludes the reserved tag 0xffffffff.
        self.numbers.tag = self.numbers.tag.wrapping_add(1) & 0x7fff_ffff;
        let reply = IscsiResponseHeader::new(opcode::R2T, FINAL).word(16, transfer.tag);
        let reply = self.numbered(reply.word(20, wanted.tag));
        let reply = reply.word(36, wanted.number).word(40, wanted.offset);
        self.transfers.push(transfer);
        Ok(reply.word(44, wanted.length).write(&[], out)?)
    }

    fn end(
        &mut self,
        tag: u32,
        expected: u32,
        took: Result<u32, ScsiSense>,
        out: &mut dyn Write,
    ) -> Result<(), IscsiError> {
        let (status, took, sense) = match took {
            Ok(took) => (GOOD, took, Vec::new()),
            Err(sense) => (CHECK_CONDITION, 0, sense.bytes().to_vec()),
        };
        let (flags, left) = residual(expected, took);
        let reply = IscsiResponseHeader::new(opcode::RESPONSE, FINAL | flags).byte(3, status);
        let reply = self.counted(reply.word(16, tag).word(44, left));
        Ok(reply.write(&sense, out)?)
    }

    fn status(
        &mut self,
        header: &Header,
        status: u8,
        out: &mut dyn Write,
    ) -> Result<(), IscsiError> {
        let reply = IscsiResponseHeader::new(opcode::RESPONSE, FINAL).byte(3, status);
        let reply = self.counted(reply.same(header, 16..20));
        Ok(reply.write(&[], out)?)
    }

    fn fail(
        &mut self,
        header: &Header,
        sense: ScsiSense,
        out: &mut dyn Write,
    ) -> Result<(), IscsiError> {
        self.end(header.tag(), header.word(20), Err(sense), out)
    }

    /// Sends the data of a command and its status in one PDU. Data beyond what the initiator
    /// expects, or accepts in one PDU, is dropped. Without data, only the status is sent.
    fn send(
        &mut self,
        header: &Header,
        data: &[u8],
        out: &mut dyn Write,
    ) -> Result<(), IscsiError> {
        let expected = if header.flags() & READS != 0 {
            header.word(20)
        } else {
            0
        };
        let sent = data
            .len()
            .min(expected as usize)
            .min(self.parameters.receives);
        let length = u32::try_from(data.len()).unwrap_or(u32::MAX);
        let (flags, left) = residual(expected, length);
        if sent == 0 {
            let reply =
                IscsiResponseHeader::new(opcode::RESPONSE, FINAL | flags).same(header, 16..20);
            let reply = self.counted(reply.word(44, left));
            return Ok(reply.write(&[], out)?);
        }
        let reply =
            IscsiResponseHeader::new(opcode::DATA_IN, FINAL | STATUS | flags).same(header, 16..20);
        let reply = self.counted(reply.word(20, NO_TAG).word(44, left));
        Ok(reply.write(&data[..sent], out)?)
    }

    fn read(
        &mut self,
        header: &Header,
        blocks: Blocks,
        disk: &dyn Disk,
        out: &mut dyn Write,
    ) -> Result<(), IscsiError> {
        let expected = if header.flags() & READS != 0 {
            header.word(20)
        } else {
            0
        };
        let length = u32::try_from(blocks.bytes()).unwrap_or(u32::MAX);
        let (flags, left) = residual(expected, length);
        let total = length.min(expected) as usize;
        if total == 0 {
            return self.end(header.tag(), expected, Ok(length), out);
        }
        let mut buffer = vec![0; total.min(self.parameters.receives).min(DATA_BYTES_MAX)];
        let (mut at, mut number, mut in_burst) = (0, 0_u32, 0);
        while at < total {
            let count = buffer
                .len()
                .min(total - at)
                .min(self.parameters.burst - in_burst);
            let bytes = &mut buffer[..count];
            if let Err(error) = disk.read(blocks.offset() + at as u64, bytes) {
                return match error {
                    DiskError::Away(_) => Err(IscsiError::Away),
                    _ => self.fail(header, ScsiSense::READ, out),
                };
            }
            let (is_last, offset) = (at + count == total, u32::try_from(at).unwrap_or(u32::MAX));
            at += count;
            in_burst = (in_burst + count) % self.parameters.burst;
            let mut reply = match is_last {
                true => {
                    IscsiResponseHeader::new(opcode::DATA_IN, FINAL | STATUS | flags).word(44, left)
                }
                false if in_burst == 0 => IscsiResponseHeader::new(opcode::DATA_IN, FINAL),
                false => IscsiResponseHeader::new(opcode::DATA_IN, 0),
            };
            reply = if is_last {
                self.counted(reply)
            } else {
                self.numbered(reply).word(24, 0)
            };
            let reply = reply.same(header, 16..20).word(20, NO_TAG);
            let reply = reply.word(36, number).word(40, offset);
            reply.write(&buffer[..count], out)?;
            number += 1;
            self.read += count as u64;
        }
        Ok(())
    }
}

/// Returns the residual flags and count: the difference between the available data and the length
/// that the initiator expects.
fn residual(expected: u32, length: u32) -> (u8, u32) {
    match expected {
        expected if expected < length => (OVERFLOW, length - expected),
        expected if expected > length => (UNDERFLOW, expected - length),
        _ => (0, 0),
    }
}

fn send_targets(value: &str, unit: &SessionTarget<'_>, out: &mut Vec<u8>) {
    let is_asked = |name: &str| match value {
        "All" => true,
        // In a session with a target, the empty value means that target.
        "" => name == unit.name,
        value => name == value,
    };
    for (name, address) in (unit.targets)()
        .into_iter()
        .filter(|(name, _)| is_asked(name))
    {
        text::add(out, "TargetName", &name);
        let group = super::login::GROUP;
        text::add(out, "TargetAddress", &format!("{address},{group}"));
    }
}

fn check(
    header: &Header,
    asked: ScsiRequest,
    about: &DiskProperties<'_>,
) -> Result<ScsiRequest, ScsiSense> {
    let command = asked.command;
    let is_of_all = matches!(
        command,
        ScsiCommand::Inquiry(_) | ScsiCommand::Units(_) | ScsiCommand::Sense(_)
    );
    if header.lun() != 0 && !is_of_all {
        return Err(ScsiSense::UNIT);
    }
    let (blocks, changes) = match command {
        ScsiCommand::Read(blocks)
        | ScsiCommand::Verify(blocks)
        | ScsiCommand::Compare(blocks)
        | ScsiCommand::Flush(blocks) => (Some(blocks), false),
        ScsiCommand::Write(blocks, _) | ScsiCommand::Same(blocks) => (Some(blocks), true),
        ScsiCommand::Unmap => (None, true),
        _ => (None, false),
    };
    if command == ScsiCommand::Unmap && !about.releases && !about.is_read_only {
        return Err(ScsiSense::COMMAND);
    }
    if blocks.is_some_and(|blocks| !blocks.are_within(about.blocks)) {
        return Err(ScsiSense::RANGE);
    }
    if changes && about.is_read_only {
        Err(ScsiSense::READ_ONLY)
    } else {
        Ok(asked)
    }
}

fn carry_out(
    header: &Header,
    asked: ScsiRequest,
    about: &DiskProperties<'_>,
    disk: &dyn Disk,
) -> Result<ScsiCommandResult, IscsiError> {
    let data = match asked.command {
        ScsiCommand::Ready => Ok(Vec::new()),
        ScsiCommand::Inquiry(None) if header.lun() != 0 => Ok(pages::no_unit()),
        ScsiCommand::Inquiry(Some(_)) if header.lun() != 0 => Err(ScsiSense::UNIT),
        ScsiCommand::Inquiry(page) => pages::inquiry(page, about),
        ScsiCommand::Capacity10 => Ok(pages::capacity10(about)),
        ScsiCommand::Capacity16 => Ok(pages::capacity16(about)),
        ScsiCommand::Units(which) => Ok(pages::units(which)),
        ScsiCommand::Mode {
            page,
            subpage,
            is_short,
        } => pages::mode(page, subpage, is_short, about),
        ScsiCommand::Sense(with_descriptors) => Ok(pages::no_sense(with_descriptors)),
        ScsiCommand::Read(blocks) => return Ok(ScsiCommandResult::Read(blocks)),
        ScsiCommand::Verify(blocks) => return verify(blocks, disk),
        ScsiCommand::Flush(_) => match disk.flush().map_err(sense_of_write) {
            Ok(()) => Ok(Vec::new()),
            Err(None) => return Err(IscsiError::Away),
            Err(Some(sense)) => Err(sense),
        },
        ScsiCommand::Write(..)
        | ScsiCommand::Compare(_)
        | ScsiCommand::Same(_)
        | ScsiCommand::Unmap => Err(ScsiSense::FIELD),
    };
    Ok(match data {
        Ok(mut data) => {
            data.truncate(asked.length as usize);
            ScsiCommandResult::Data(data)
        }
        Err(sense) => ScsiCommandResult::Failed(sense),
    })
}

fn verify(blocks: Blocks, disk: &dyn Disk) -> Result<ScsiCommandResult, IscsiError> {
    let mut buffer = Vec::new();
    let (mut at, end) = (blocks.offset(), blocks.offset() + blocks.bytes());
    while at < end {
        let count = (end - at).min(VERIFY_BYTES);
        buffer.resize(usize::try_from(count).unwrap_or(0), 0);
        match disk.read(at, &mut buffer) {
            Ok(()) => at += count,
            Err(DiskError::Away(_)) => return Err(IscsiError::Away),
            Err(_) => return Ok(ScsiCommandResult::Failed(ScsiSense::READ)),
        }
    }
    Ok(ScsiCommandResult::Data(Vec::new()))
}
