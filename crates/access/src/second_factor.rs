//! Verifies the one-time codes of an app as a second factor (TOTP, RFC 6238), with SHA-1, 30
//! seconds and six digits, which all apps support.

use crate::random::random;
use aws_lc_rs::{constant_time, hmac};
use data_encoding::BASE32_NOPAD as BASE32;
use serde::{Deserialize, Serialize};

/// Duration of a time step, seconds.
pub const STEP_S: u64 = 30;
/// Number of time steps before and after the current one whose codes are accepted, because clocks
/// differ.
const WINDOW: u64 = 1;
const DIGITS: usize = 6;
/// Maximum length of an input, bytes. Apps show a code with a space in its middle.
const INPUT_MAX: usize = 16;
/// Minimum length of a secret (RFC 4226, section 4: at least 128 bits), bytes.
const SECRET_MIN: usize = 16;
const SECRET_MAX: usize = 64;
const SECRET_NEW: usize = 20;

#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub enum SecondFactor {
    #[default]
    None,
    /// The configuration requires a second factor and the user has none, so the user cannot sign
    /// in.
    Missing,
    /// App that shows codes derived from this secret.
    Codes(#[serde(with = "serde_bytes")] Vec<u8>),
}

/// Creates a random secret for a user.
///
/// # Errors
/// The system has no random numbers.
pub fn make() -> Result<Vec<u8>, String> {
    Ok(random::<SECRET_NEW>()?.to_vec())
}

/// Reads a secret of 16 to 64 bytes in Base32 (RFC 4648). None if it is invalid.
pub fn read(text: &str) -> Option<Vec<u8>> {
    let digits = text.trim_end_matches('=').to_ascii_uppercase();
    let secret = BASE32.decode(digits.as_bytes()).ok()?;
    (SECRET_MIN..=SECRET_MAX)
        .contains(&secret.len())
        .then_some(secret)
}

pub fn write(secret: &[u8]) -> String {
    BASE32.encode(secret)
}

/// Returns the URI that an app reads from a QR code: the secret of a user on a machine.
pub fn uri(secret: &[u8], user: &str, machine: &str) -> String {
    // Encodes a space as `%20`, because apps display a `+` literally.
    let encoded = |text: &str| {
        let bytes = text.bytes().map(|byte| match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
                char::from(byte).to_string()
            }
            _ => format!("%{byte:02X}"),
        });
        bytes.collect::<String>()
    };
    let (issuer, user) = (encoded(&format!("Evenkeel {machine}")), encoded(user));
    let secret = write(secret);
    format!("otpauth://totp/{issuer}:{user}?secret={secret}&issuer={issuer}")
}

/// Returns the time step of a time in seconds since 1970.
pub fn step(now_s: u64) -> u64 {
    now_s / STEP_S
}

pub fn code(secret: &[u8], step: u64) -> String {
    let key = hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, secret);
    let tag = hmac::sign(&key, &step.to_be_bytes());
    let tag = tag.as_ref();
    // Takes 31 bits of the hash at a position that its last four bits give (dynamic truncation: RFC
    // 4226, section 5.3).
    let at = usize::from(tag.last().copied().unwrap_or_default() & 0xf);
    let bytes = tag.get(at..at + 4).and_then(|bytes| bytes.try_into().ok());
    let number = u32::from_be_bytes(bytes.unwrap_or_default()) & 0x7fff_ffff;
    format!("{:0DIGITS$}", number % 10_u32.pow(DIGITS as u32))
}

/// Returns the time step of a typed code. The step has to be near the current time, and after
/// `last`, the last one that was used. None if the code is wrong, too old, or used.
pub fn step_of(secret: &[u8], typed: &str, now_s: u64, last: Option<u64>) -> Option<u64> {
    let typed: Vec<u8> = typed
        .bytes()
        .take(INPUT_MAX + 1)
        .filter(|byte| *byte != b' ')
        .collect();
    let now = step(now_s);
    let mut found = None;
    // Compares all codes, so that the duration does not reveal which one matched.
    for step in now.saturating_sub(WINDOW)..=now.saturating_add(WINDOW) {
        let right = code(secret, step);
        let same = constant_time::verify_slices_are_equal(right.as_bytes(), &typed).is_ok();
        if same && last.is_none_or(|last| step > last) {
            found = found.or(Some(step));
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Secret of the test vectors in RFC 6238, appendix B.
    const SECRET: &[u8] = b"12345678901234567890";

    #[test]
    fn codes_are_those_of_the_rfc() {
        // Expects the last six of the eight digits of the test vectors in RFC 6238.
        for (now, expected) in [
            (59, "287082"),
            (1_111_111_109, "081804"),
            (1_111_111_111, "050471"),
            (1_234_567_890, "005924"),
            (2_000_000_000, "279037"),
            (20_000_000_000, "353130"),
        ] {
            assert_eq!(code(SECRET, step(now)), expected, "{now}");
            assert_eq!(step_of(SECRET, expected, now, None), Some(step(now)));
        }
    }

    #[test]
    fn a_clock_may_differ_by_one_step() {
        let now = 1_000 * STEP_S;
        for (ahead, accepted) in [
            (998, false),
            (999, true),
            (1_000, true),
            (1_001, true),
            (1_002, false),
        ] {
            let typed = code(SECRET, ahead);
            let step = step_of(SECRET, &typed, now, None);
            assert_eq!(step, accepted.then_some(ahead), "{ahead}");
        }
        // A clock at or before 1970 counts as the first step. Also tests a clock at the end of the
        // time range.
        assert_eq!(step_of(SECRET, &code(SECRET, 0), 0, None), Some(0));
        assert_eq!(step_of(SECRET, "000000", u64::MAX, None), None);
    }

    #[test]
    fn used_and_earlier_time_steps_are_refused() {
        let now = 1_000 * STEP_S;
        let last = Some(1_000);
        assert_eq!(step_of(SECRET, &code(SECRET, 999), now, last), None);
        assert_eq!(step_of(SECRET, &code(SECRET, 1_000), now, last), None);
        let next = code(SECRET, 1_001);
        assert_eq!(step_of(SECRET, &next, now, last), Some(1_001));
    }

    #[test]
    fn malformed_codes_are_refused() {
        let now = 1_111_111_109;
        assert!(step_of(SECRET, "081 804", now, None).is_some());
        let huge = "0".repeat(1 << 20);
        let behind = format!("081804{}", " ".repeat(64));
        for typed in [
            "",
            " ",
            "81804",
            "0081804",
            "+81804",
            "٠٨١٨٠٤",
            "08180\u{fffd}",
            &huge,
        ] {
            assert_eq!(step_of(SECRET, typed, now, None), None, "{typed:.20}");
        }
        assert!(step_of(SECRET, &behind, now, None).is_some());
    }

    #[test]
    fn a_secret_is_base32_of_128_bits_and_more() {
        let secret = make().unwrap();
        assert_eq!(read(&write(&secret)), Some(secret.clone()));
        assert_eq!(read(&write(&secret).to_lowercase()), Some(secret));
        assert_eq!(
            read("GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ").as_deref(),
            Some(SECRET)
        );
        let padded = format!("{}======", write(&[7; 16]));
        assert_eq!(read(&padded), Some(vec![7; 16]));
        for text in ["", "=", "abc", &write(&[1; 15]), &write(&[1; 65])] {
            assert_eq!(read(text), None, "{text}");
        }
        assert_eq!(read("GEZDGNBVGY3TQOJQ GEZDGNBVGY3TQOJQ"), None);
        assert_eq!(read(&"A".repeat(1 << 20)), None);
    }

    #[test]
    fn the_uri_has_the_format_of_authenticator_apps() {
        assert_eq!(
            uri(SECRET, "anna o'x", "alpha"),
            "otpauth://totp/Evenkeel%20alpha:anna%20o%27x\
             ?secret=GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ&issuer=Evenkeel%20alpha"
        );
    }
}
