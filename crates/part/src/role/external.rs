//! Defines the messages between the proxy role and the process that runs external checks, and the
//! setup of that process. Requests and results are frames over a stream: a length of four bytes,
//! then that many bytes.
//!
//! A request names a program; only the supervisor determines which programs exist.

use super::plan::{CheckProgram, Rights};
use super::{DecodeError, PATH_BYTES_MAX};
use crate::codec;
use serde::{Deserialize, Serialize};

pub const EXTERNAL_FRAME_MAX: usize = 64 * 1024;
pub const EXTERNAL_ARGUMENTS_MAX: usize = 4;
pub const EXTERNAL_RUNNING_MAX: usize = 128;
const LENGTH_BYTES: usize = 4;
const WORD_MAX: usize = 4 * 1024;
const VARIABLES_MAX: usize = 32;

/// Setup of the process that runs external checks.
#[derive(Serialize, Deserialize, Clone, PartialEq, Eq, Debug, Default)]
pub struct RunPrograms {
    pub rights: Rights,
    /// Soft limit of open files for a program: that of the start.
    pub files_soft: u64,
    /// The allowed programs; no other program is run.
    pub programs: Vec<CheckProgram>,
}

#[derive(Serialize, Deserialize, Clone, PartialEq, Eq, Debug, Default)]
pub struct ExternalCheck {
    /// Request id; the result repeats it.
    pub id: u64,
    pub timeout_ms: u32,
    pub program: CheckProgram,
    /// Arguments, without the program's name.
    pub arguments: Vec<Vec<u8>>,
    pub variables: Vec<(Vec<u8>, Vec<u8>)>,
}

#[derive(Serialize, Deserialize, Clone, Copy, PartialEq, Eq, Debug)]
pub enum ExternalEnd {
    Exited(i32),
    Killed(i32),
    /// The timeout expired: the program was asked to end, and is killed if it does not.
    TimedOut,
    /// The program could not be started; error number of the system.
    NotStarted(i32),
    Busy,
    NotAllowed,
}

/// Result of a request to run a program: how the program ended.
#[derive(Serialize, Deserialize, Clone, Copy, PartialEq, Eq, Debug)]
pub struct ExternalResult {
    pub id: u64,
    pub end: ExternalEnd,
}

fn framed<T: Serialize>(value: &T) -> Option<Vec<u8>> {
    let body = codec::encode(value);
    let length = u32::try_from(body.len()).ok()?;
    if body.len() > EXTERNAL_FRAME_MAX {
        return None;
    }
    let mut frame = length.to_le_bytes().to_vec();
    frame.extend(body);
    Some(frame)
}

impl ExternalCheck {
    fn fits(&self) -> bool {
        let fits = |word: &Vec<u8>| word.len() <= WORD_MAX;
        let mut pairs = self.variables.iter();
        self.program.command.len() <= PATH_BYTES_MAX
            && self.program.path.len() <= PATH_BYTES_MAX
            && self.arguments.len() <= EXTERNAL_ARGUMENTS_MAX
            && self.variables.len() <= VARIABLES_MAX
            && self.arguments.iter().all(fits)
            && pairs.all(|(name, value)| fits(name) && fits(value))
    }

    /// Encodes the frame; None if a limit is exceeded.
    pub fn frame(&self) -> Option<Vec<u8>> {
        self.fits().then(|| framed(self)).flatten()
    }

    /// Decodes the body of a frame.
    ///
    /// # Errors
    /// The frame is invalid.
    pub fn decode(body: &[u8]) -> Result<ExternalCheck, DecodeError> {
        let check: ExternalCheck = codec::decode(body)?;
        if check.fits() {
            Ok(check)
        } else {
            Err(DecodeError::Malformed)
        }
    }
}

impl ExternalResult {
    pub fn frame(&self) -> Vec<u8> {
        framed(self).unwrap_or_default()
    }

    /// Decodes the body of a frame.
    ///
    /// # Errors
    /// The frame is invalid.
    pub fn decode(body: &[u8]) -> Result<ExternalResult, DecodeError> {
        Ok(codec::decode(body)?)
    }
}

/// Returns the body of the first frame, and the length of the whole frame in bytes. None
/// if the frame is incomplete.
///
/// # Errors
/// The length exceeds the limit.
pub fn external_frame(bytes: &[u8]) -> Result<Option<(&[u8], usize)>, DecodeError> {
    let Some((length, rest)) = bytes.split_first_chunk::<LENGTH_BYTES>() else {
        return Ok(None);
    };
    let length = u32::from_le_bytes(*length) as usize;
    if length > EXTERNAL_FRAME_MAX {
        return Err(DecodeError::Malformed);
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
    fn request_is_decoded_from_any_pieces() {
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
    fn results_are_decoded_as_encoded_and_others_refused() {
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
        assert!(ExternalResult::decode(&codec::encode(&(9, "Vanished"))).is_err());
        assert!(external_frame(&[0xff; 8]).is_err());
    }

    #[test]
    fn request_with_an_oversized_word_is_refused() {
        let mut check = check();
        check.arguments = vec![vec![b'x'; WORD_MAX + 1]];
        assert_eq!(check.frame(), None);
    }
}
