//! Keeps the result of the running or last verify of a volume, and adds it to the report for
//! operators.

use crate::replica::{BLOCK_BYTES, BlockFault, Blocks, Verify};
use part::report::{Moment, NumberRow, Subject, Unit};
use part::status::FoundFaults;

pub const VERIFY: &str = "verify";
/// Fact with the differing ranges, one per line.
pub const DIFFERENCES: &str = "differences";
pub const RUNNING: &str = "verify running";
/// Number with the start time of the last verify, milliseconds since 1970.
pub const BEGAN: &str = "verify begin";
pub const DONE: &str = "verified bytes";
/// Number of differing or unreadable bytes.
pub const FOUND: &str = "verify differing bytes";
/// Number that is 1 if the last verify compared the whole volume.
pub const COMPLETE: &str = "verify complete";

const ENDED: &str = "verify end";
pub const REPAIRED: &str = "verify repaired bytes";

#[derive(Clone, PartialEq, Eq, Debug)]
pub struct VerifyRecord {
    pub verify: Verify,
    pub began: Moment,
    pub ended: Option<Moment>,
    /// True if the thread that ran the verify has ended; a new thread counts verifies from the
    /// beginning.
    is_closed: bool,
}

pub(crate) fn learn(known: &mut Option<VerifyRecord>, shown: Option<&Verify>, at: Moment) {
    let Some(verify) = shown else {
        return;
    };
    let same = |one: &&mut VerifyRecord| !one.is_closed && one.verify.number == verify.number;
    let ended = verify.ended.is_some().then_some(at);
    match known.as_mut().filter(same) {
        Some(one) => {
            one.ended = one.ended.or(ended);
            one.verify.clone_from(verify);
        }
        None => {
            *known = Some(VerifyRecord {
                verify: verify.clone(),
                began: at,
                ended,
                is_closed: false,
            });
        }
    }
}

pub(crate) fn close(known: &mut Option<VerifyRecord>, at: Moment) {
    if let Some(one) = known {
        one.is_closed = true;
        one.ended.get_or_insert(at);
    }
}

pub(crate) fn rows() -> [NumberRow; 7] {
    let row = |name, metric, words: &str| NumberRow::new(name, metric, words);
    [
        row(
            RUNNING,
            "evenkeel_volume_verify_running",
            "1 while a verify is running.",
        )
        .flag(),
        row(
            BEGAN,
            "evenkeel_volume_verify_begin_timestamp_seconds",
            "When the last verify began, seconds since 1970.",
        )
        .unit(Unit::Milliseconds),
        row(
            ENDED,
            "evenkeel_volume_verify_end_timestamp_seconds",
            "When the last verify ended, seconds since 1970.",
        )
        .unit(Unit::Milliseconds),
        row(
            COMPLETE,
            "evenkeel_volume_verify_complete",
            "1 if the last verify covered the whole volume.",
        )
        .flag(),
        row(
            DONE,
            "evenkeel_volume_verified_bytes",
            "Bytes that the last verify covered.",
        ),
        row(
            FOUND,
            "evenkeel_volume_verify_differing_bytes",
            "Bytes that the last verify found different, unreadable or damaged.",
        ),
        row(
            REPAIRED,
            "evenkeel_volume_verify_repaired_bytes",
            "Bytes that the last verify repaired.",
        ),
    ]
}

pub(crate) fn add(subject: Subject, known: &VerifyRecord) -> Subject {
    let verify = &known.verify;
    let is_running = known.ended.is_none();
    let is_complete = verify.ended == Some(Ok(()));
    let words = match (is_running, verify.ended) {
        (true, _) => format!("running, {verify}"),
        (false, None) => format!("ended when the volume was closed, {verify}"),
        (false, Some(_)) => verify.to_string(),
    };
    let bytes = |blocks: u64| blocks * BLOCK_BYTES;
    let subject = subject
        .fact(VERIFY, words)
        .lines(DIFFERENCES, lines(verify))
        .number(RUNNING, u64::from(is_running))
        .number(BEGAN, known.began.unix_ms);
    let subject = match known.ended {
        Some(at) => subject.number(ENDED, at.unix_ms),
        None => subject,
    };
    subject
        .number(COMPLETE, u64::from(is_complete))
        .number(DONE, bytes(verify.done))
        .number(FOUND, bytes(verify.faults()))
        .number(REPAIRED, bytes(verify.repaired))
}

pub(crate) fn found(verify: &Verify) -> FoundFaults {
    FoundFaults {
        has_differences: verify.differing > 0,
        has_unreadable: verify.unreadable != [0, 0],
        has_damage: verify.damaged > 0 || verify.damaged_there > 0,
    }
}

fn lines(verify: &Verify) -> Vec<String> {
    let line = |(fault, Blocks { first, count }): &(BlockFault, Blocks)| {
        let (first, end) = (
            first * BLOCK_BYTES,
            (first + u64::from(*count)) * BLOCK_BYTES,
        );
        let what = match fault {
            BlockFault::Differs => "differ",
            BlockFault::UnreadableHere => "cannot be read at the owner",
            BlockFault::UnreadableThere => "cannot be read at the other node",
            BlockFault::Damaged if verify.is_check => "do not match their checksums",
            BlockFault::Damaged => "do not match their checksums at the owner",
            BlockFault::DamagedThere => "do not match their checksums at the other node",
        };
        format!("bytes {first}-{} {what}", end - 1)
    };
    let mut lines: Vec<String> = verify.found.iter().map(line).collect();
    if verify.more > 0 {
        lines.push(format!("{} more ranges", verify.more));
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    fn verify(number: u64, done: u64) -> Verify {
        Verify {
            number,
            done,
            total: 8,
            ..Verify::default()
        }
    }

    #[test]
    fn a_verify_has_its_times_until_the_next_one() {
        let mut known = None;
        learn(&mut known, None, Moment::now());
        assert_eq!(known, None);
        learn(&mut known, Some(&verify(1, 2)), Moment::now());
        let began = known.as_ref().unwrap().began;
        let mut last = verify(1, 8);
        last.ended = Some(Ok(()));
        learn(&mut known, Some(&last), Moment::now());
        let one = known.clone().unwrap();
        assert_eq!((one.began, one.verify.done), (began, 8));
        let ended = one.ended.unwrap();
        learn(&mut known, Some(&last), Moment::now());
        assert_eq!(known.as_ref().unwrap().ended, Some(ended));
        learn(&mut known, Some(&verify(2, 0)), Moment::now());
        assert_eq!(known.as_ref().unwrap().ended, None);
    }

    #[test]
    fn a_lost_thread_ends_its_verify() {
        let mut known = None;
        learn(&mut known, Some(&verify(1, 2)), Moment::now());
        close(&mut known, Moment::now());
        let subject = add(Subject::new("volume", "mail"), known.as_ref().unwrap());
        assert_eq!(subject.value(RUNNING), Some(0));
        let words = subject.words(VERIFY).unwrap();
        assert!(
            words.starts_with("ended when the volume was closed"),
            "{words}"
        );
        learn(&mut known, Some(&verify(1, 1)), Moment::now());
        assert_eq!(known.as_ref().unwrap().ended, None);
        assert_eq!(known.unwrap().verify.done, 1);
    }

    #[test]
    fn differences_are_ranges_of_bytes() {
        let mut found = verify(1, 8);
        found.found = vec![
            (BlockFault::Differs, Blocks { first: 2, count: 3 }),
            (BlockFault::UnreadableThere, Blocks { first: 9, count: 1 }),
        ];
        found.more = 4;
        assert_eq!(
            lines(&found),
            [
                "bytes 8192-20479 differ",
                "bytes 36864-40959 cannot be read at the other node",
                "4 more ranges"
            ]
        );
    }
}
