//! Checks the data that the guest of [`crate::guest::site::GuestSite::recording`] left on its
//! volume: each number in its own sector, with the start of the guest that wrote it. Both copies
//! thus show which instance wrote what, independent of the reports of Evenkeel and QEMU.

use std::collections::BTreeMap;

const SECTOR: usize = 512;
/// Offset of record 0 in bytes. Before it is the number that was written last.
const FIRST: usize = 4096;
/// Length of the word that identifies a start of the guest, in characters.
const BOOT: usize = 8;
/// Number of records that may be written while the copies are read.
const COMING_MAX: usize = 500;

/// Numbers that a guest showed as flushed, each with its start.
pub type Shown = BTreeMap<u64, String>;

/// Adds what a guest showed on a console.
///
/// # Errors
/// A number was shown by two starts, or the guest met an error.
pub fn hear(shown: &mut Shown, console: &str) -> Result<(), String> {
    // The last line may be incomplete.
    let whole = console.rsplit_once('\n').map_or("", |(whole, _)| whole);
    let mut ends = false;
    for line in whole.lines() {
        // A guest that shuts down detaches its disk while a program may still write.
        ends = (ends || line.contains("guest: power button")) && !line.contains("guest: begins");
        if line.contains("guest: cannot write") && !ends {
            return Err(format!("the guest met an error: {line}"));
        }
        // If a guest was paused in the middle of a line, the end of the line is at the other node.
        let Some((number, boot)) = line.strip_prefix("guest: record ").and_then(record) else {
            continue;
        };
        match shown.insert(number, boot.to_owned()) {
            Some(before) if before != boot => {
                return Err(format!("{before} and {boot} both showed {number}"));
            }
            _ => {}
        }
    }
    Ok(())
}

fn record(words: &str) -> Option<(u64, &str)> {
    let (number, boot) = words.trim_end().split_once(' ')?;
    let is_boot = boot.len() == BOOT && boot.bytes().all(|byte| byte.is_ascii_hexdigit());
    Some((number.parse().ok()?, boot)).filter(|_| is_boot)
}

/// Returns the text of a sector; empty if nothing was written there.
fn text(bytes: &[u8]) -> &str {
    let end = bytes.iter().position(|byte| *byte == 0);
    let text = bytes.get(..end.unwrap_or(bytes.len())).unwrap_or_default();
    str::from_utf8(text).unwrap_or("(no text)").trim_end()
}

/// Checks a copy: it has the records of all numbers up to the last one that was shown, one start
/// after the other, each by the start that showed it, and nothing far behind them. Returns the
/// starts, in their order.
///
/// # Errors
/// The first violation, as a message.
pub fn check<'a>(copy: &'a [u8], shown: &Shown) -> Result<Vec<&'a str>, String> {
    let last = shown.keys().next_back().copied().unwrap_or_default();
    let mut sectors = copy.get(FIRST..).unwrap_or_default().chunks(SECTOR).skip(1);
    let mut starts: Vec<&str> = Vec::new();
    for number in 1..=last {
        let sector = sectors.next().map(text).unwrap_or_default();
        let (found, boot) =
            record(sector).ok_or_else(|| format!("record {number} of {last} is '{sector}'"))?;
        if found != number {
            return Err(format!("record {number} of {last} is '{sector}'"));
        }
        if let Some(by) = shown.get(&number).filter(|by| *by != boot) {
            return Err(format!("{by} showed {number}, and {boot} wrote over it"));
        }
        if starts.last() != Some(&boot) {
            if starts.contains(&boot) {
                return Err(format!(
                    "{boot} wrote {number}, after {starts:?}: two wrote at once"
                ));
            }
            starts.push(boot);
        }
    }
    let mut behind = sectors.skip(COMING_MAX);
    if let Some(sector) = behind.find(|sector| sector.iter().any(|byte| *byte != 0)) {
        return Err(format!("'{}' is behind {last}", text(sector)));
    }
    let number = text(copy.get(..FIRST).unwrap_or_default());
    let is_known = number.parse().is_ok_and(|number: u64| number >= last);
    if is_known || last == 0 {
        Ok(starts)
    } else {
        Err(format!("{last} was shown, and the volume is at '{number}'"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: &str = "aaaaaaaa";
    const B: &str = "bbbbbbbb";

    fn copy(records: &[(u64, &str)]) -> Vec<u8> {
        let mut bytes = vec![0; 1 << 20];
        let last = records.len().to_string();
        bytes[..last.len()].copy_from_slice(last.as_bytes());
        for (at, (number, boot)) in records.iter().enumerate() {
            let words = format!("{number} {boot}\n");
            let from = FIRST + (at + 1) * SECTOR;
            bytes[from..from + words.len()].copy_from_slice(words.as_bytes());
        }
        bytes
    }

    fn shown(console: &str) -> Shown {
        let mut shown = Shown::new();
        hear(&mut shown, console).unwrap();
        shown
    }

    #[test]
    fn records_of_one_start_after_the_other_are_well() {
        let bytes = copy(&[(1, A), (2, A), (3, B), (4, B)]);
        // A line that was cut in the middle does not count.
        let console = "guest: record 1 aaaaaaaa\nguest: record 2 aaguest: begins with 2\nguest: record 3 bbbbbbbb\nguest: record 4 bb";
        let shown = shown(console);
        assert_eq!(shown.len(), 2);
        assert_eq!(check(&bytes, &shown), Ok(vec![A, B]));
    }

    #[test]
    fn a_lost_record_one_written_over_and_two_writers_are_found() {
        let three = "guest: record 1 aaaaaaaa\nguest: record 3 bbbbbbbb\n";
        let shown = shown(three);
        let wrong = |records: &[(u64, &str)], words: &str| {
            let found = check(&copy(records), &shown).unwrap_err();
            assert!(found.contains(words), "{found}");
        };
        wrong(&[(1, A), (2, A)], "record 3 of 3 is ''");
        wrong(&[(1, A), (1, A), (3, B)], "record 2 of 3 is '1 aaaaaaaa'");
        wrong(&[(1, B), (2, B), (3, B)], "aaaaaaaa showed 1");
        let mixed = "guest: record 1 aaaaaaaa\nguest: record 4 bbbbbbbb\n";
        let mixed = self::shown(mixed);
        let turns = copy(&[(1, A), (2, B), (3, A), (4, B)]);
        let two = check(&turns, &mixed);
        assert!(two.unwrap_err().contains("two wrote at once"));
        let mut stale = copy(&[(1, A), (2, B), (3, B)]);
        *stale.last_mut().unwrap() = b'x';
        assert!(check(&stale, &shown).unwrap_err().contains("is behind 3"));
    }

    #[test]
    fn two_starts_that_show_one_number_and_an_error_of_the_guest_are_found() {
        let mut shown = shown("guest: record 1 aaaaaaaa\n");
        assert!(hear(&mut shown, "guest: record 1 bbbbbbbb\n").is_err());
        assert!(hear(&mut shown, "guest: cannot write 7\n").is_err());
        let ends = "guest: power button\nguest: cannot write 7\n";
        assert!(hear(&mut shown, ends).is_ok());
        let again = format!("{ends}guest: begins with 6\nguest: cannot write 7\n");
        assert!(hear(&mut shown, &again).is_err());
    }
}
