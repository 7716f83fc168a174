//! What the proxy role asks of the process that runs the programs of external checks, and
//! what that process is told first. Requests and results are frames over a stream: a
//! length of four bytes, and so many bytes.
//!
//! A request names a program; only the supervisor says which ones there are.

use super::codec::{DecodeError, Reader, Writer};
use super::plan::{CheckProgram, Rights};
use super::{PATH_BYTES_MAX, PROGRAMS_MAX};

/// The longest frame.
pub const EXTERNAL_FRAME_MAX: usize = 64 * 1024;
/// Arguments of a program.
pub const EXTERNAL_ARGUMENTS_MAX: usize = 4;
/// Programs that run at one time.
pub const EXTERNAL_RUNNING_MAX: usize = 128;
/// Bytes of the length before a frame.
const LENGTH_BYTES: usize = 4;
const WORD_MAX: usize = 4 * 1024;
/// Variables of a program's environment.
const VARIABLES_MAX: usize = 32;

/// What the process that runs programs is told first.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct RunPrograms {
    /// As whom, and in which root directory.
    pub rights: Rights,
    /// Open files that a program may have: what the start allowed.
    pub files_soft: u64,
    /// Which programs; nothing else is run.
    pub programs: Vec<CheckProgram>,
}

impl RunPrograms {
    pub(super) fn write(&self, to: &mut Writer) {
        self.rights.write(to);
        to.u64(self.files_soft);
        to.list(&self.programs, PROGRAMS_MAX, |to, one| one.write(to));
    }

    pub(super) fn read(from: &mut Reader<'_>) -> Result<RunPrograms, DecodeError> {
        Ok(RunPrograms {
            rights: Rights::read(from)?,
            files_soft: from.u64()?,
            programs: from.list("programs", PROGRAMS_MAX, CheckProgram::read)?,
        })
    }
}

/// A request: run this program.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct ExternalCheck {
    /// Given back with the result.
    pub id: u64,
    /// How long the program may run.
    pub timeout_ms: u32,
    /// The program.
    pub program: CheckProgram,
    /// Its arguments.
    pub arguments: Vec<Vec<u8>>,
    /// Its environment, without PATH.
    pub variables: Vec<(Vec<u8>, Vec<u8>)>,
}

/// How a program ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ExternalEnd {
    /// It exited with this status.
    Exited(i32),
    /// A signal ended it.
    Killed(i32),
    /// Its time was over; it was asked to end, and is killed.
    TimedOut,
    /// It could not be started: the system's error number.
    NotStarted(i32),
    /// Too many run.
    Busy,
    /// It is not among [`RunPrograms`]'.
    NotAllowed,
}

/// The result of a request.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ExternalResult {
    /// Of which request.
    pub id: u64,
    /// How its program ended.
    pub end: ExternalEnd,
}

fn framed(body: &[u8]) -> Option<Vec<u8>> {
    let length = u32::try_from(body.len()).ok()?;
    if body.len() > EXTERNAL_FRAME_MAX {
        return None;
    }
    let mut frame = length.to_le_bytes().to_vec();
    frame.extend(body);
    Some(frame)
}

impl ExternalCheck {
    /// Its frame; None where a word of it is too long.
    pub fn frame(&self) -> Option<Vec<u8>> {
        let fits = |word: &Vec<u8>| word.len() <= WORD_MAX;
        let pairs = self.variables.iter();
        let fit = self.program.command.len() <= PATH_BYTES_MAX
            && self.program.path.len() <= PATH_BYTES_MAX
            && self.arguments.len() <= EXTERNAL_ARGUMENTS_MAX
            && self.variables.len() <= VARIABLES_MAX
            && self.arguments.iter().all(fits)
            && pairs.clone().all(|(name, value)| fits(name) && fits(value));
        if !fit {
            return None;
        }
        let mut to = Writer::default();
        to.u64(self.id);
        to.u32(self.timeout_ms);
        self.program.write(&mut to);
        to.list(&self.arguments, EXTERNAL_ARGUMENTS_MAX, |to, word| {
            to.slice(word, WORD_MAX);
        });
        to.list(&self.variables, VARIABLES_MAX, |to, (name, value)| {
            to.slice(name, WORD_MAX);
            to.slice(value, WORD_MAX);
        });
        framed(&to.bytes)
    }

    /// Reads the body of a frame.
    pub fn decode(body: &[u8]) -> Result<ExternalCheck, DecodeError> {
        let from = &mut Reader::new(body);
        Ok(ExternalCheck {
            id: from.u64()?,
            timeout_ms: from.u32()?,
            program: CheckProgram::read(from)?,
            arguments: from.list("arguments", EXTERNAL_ARGUMENTS_MAX, |from| {
                from.bytes("argument", WORD_MAX)
            })?,
            variables: from.list("variables", VARIABLES_MAX, |from| {
                Ok((
                    from.bytes("name", WORD_MAX)?,
                    from.bytes("value", WORD_MAX)?,
                ))
            })?,
        })
    }
}

impl ExternalResult {
    /// Its frame.
    pub fn frame(&self) -> Vec<u8> {
        let (kind, number) = match self.end {
            ExternalEnd::Exited(status) => (0, status),
            ExternalEnd::Killed(signal) => (1, signal),
            ExternalEnd::TimedOut => (2, 0),
            ExternalEnd::NotStarted(errno) => (3, errno),
            ExternalEnd::Busy => (4, 0),
            ExternalEnd::NotAllowed => (5, 0),
        };
        let mut to = Writer::default();
        to.u64(self.id);
        to.u8(kind);
        to.u32(number.cast_unsigned());
        framed(&to.bytes).unwrap_or_default()
    }

    /// Reads the body of a frame.
    pub fn decode(body: &[u8]) -> Result<ExternalResult, DecodeError> {
        let from = &mut Reader::new(body);
        let (id, kind, number) = (from.u64()?, from.u8()?, from.u32()?.cast_signed());
        let end = match kind {
            0 => ExternalEnd::Exited(number),
            1 => ExternalEnd::Killed(number),
            2 => ExternalEnd::TimedOut,
            3 => ExternalEnd::NotStarted(number),
            4 => ExternalEnd::Busy,
            5 => ExternalEnd::NotAllowed,
            _ => return Err(DecodeError::Value("end")),
        };
        Ok(ExternalResult { id, end })
    }
}

/// The body of the first frame of these bytes, and the length of the whole frame; None
/// while more has to come.
pub fn external_frame(bytes: &[u8]) -> Result<Option<(&[u8], usize)>, DecodeError> {
    let Some((length, rest)) = bytes.split_first_chunk::<LENGTH_BYTES>() else {
        return Ok(None);
    };
    let length = u32::from_le_bytes(*length) as usize;
    if length > EXTERNAL_FRAME_MAX {
        let field = "frame";
        return Err(DecodeError::TooLong { field, length });
    }
    Ok(rest.get(..length).map(|body| (body, LENGTH_BYTES + length)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check() -> ExternalCheck {
        ExternalCheck {
            id: 7,
            timeout_ms: 2_000,
            program: CheckProgram {
                command: b"/usr/local/bin/check".to_vec(),
                path: b"/bin".to_vec(),
            },
            arguments: vec![b"NOT_USED".to_vec(), b"".to_vec()],
            variables: vec![(b"HAPROXY_PROXY_NAME".to_vec(), b"b".to_vec())],
        }
    }

    #[test]
    fn a_request_comes_back_as_it_was_in_any_pieces() {
        let check = check();
        let frame = check.frame().expect("short");
        for end in 0..frame.len() {
            assert_eq!(external_frame(&frame[..end]), Ok(None));
        }
        let (body, taken) = external_frame(&frame).expect("right").expect("whole");
        assert_eq!(taken, frame.len());
        assert_eq!(ExternalCheck::decode(body), Ok(check));
        for end in 0..body.len() {
            assert!(ExternalCheck::decode(&body[..end]).is_err());
        }
    }

    #[test]
    fn results_come_back_as_they_were_and_others_are_refused() {
        for end in [
            ExternalEnd::Exited(3),
            ExternalEnd::Killed(9),
            ExternalEnd::TimedOut,
            ExternalEnd::NotStarted(2),
            ExternalEnd::Busy,
            ExternalEnd::NotAllowed,
        ] {
            let result = ExternalResult { id: 9, end };
            let frame = result.frame();
            let (body, _) = external_frame(&frame).expect("right").expect("whole");
            assert_eq!(ExternalResult::decode(body), Ok(result));
        }
        assert!(ExternalResult::decode(&[0, 0, 0, 0, 0, 0, 0, 0, 6, 0, 0, 0, 0]).is_err());
        assert!(external_frame(&[0xff; 8]).is_err());
    }

    #[test]
    fn a_request_with_a_word_that_is_too_long_is_not_made() {
        let mut check = check();
        check.arguments = vec![vec![b'x'; WORD_MAX + 1]];
        assert_eq!(check.frame(), None);
    }
}
