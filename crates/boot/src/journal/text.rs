//! Parses the text files of earlier versions of Evenkeel, which are read once: the next write
//! replaces them.

use super::{LeaseFileContents, LeaseFileDamage};
use crate::dhcp::mirror::LeaseCopy;
use crate::dhcp::pool::{Holder, HolderChange};
use crate::dhcp::range::Address;
use std::str::FromStr;

const LEASE: &str = "lease ";
const GENERATION: &str = "generation ";
const STORE: &str = "store ";
const BEFORE: &str = "before";

/// Returns the complete lines of a file.
fn whole_lines(bytes: &[u8]) -> String {
    let end = bytes.iter().rposition(|byte| *byte == b'\n');
    String::from_utf8_lossy(&bytes[..end.map_or(0, |end| end + 1)]).into_owned()
}

/// Reads the leases of a file.
pub(super) fn read_leases<A: Address>(bytes: &[u8]) -> LeaseFileContents<A> {
    let mut contents = LeaseFileContents::default();
    for line in whole_lines(bytes).lines() {
        if let Some(seconds) = line.strip_prefix(LEASE).and_then(|word| word.parse().ok()) {
            contents.longest_s = seconds;
        } else if let Some(number) = line.strip_prefix(GENERATION)
            && let Ok(generation) = number.parse()
        {
            contents.generation = generation;
        } else if let Some(number) = line.strip_prefix(STORE) {
            contents.store = number.parse().ok().filter(|store| *store > 0);
        } else if let Some((address, holder)) = parse_line(line) {
            contents.apply(address, holder);
        } else {
            contents.damage = Some(LeaseFileDamage::Damaged);
        }
    }
    contents
}

/// Reads a copy, and its generation. None: the file is damaged.
pub(super) fn read_copy(bytes: &[u8]) -> Option<(LeaseCopy, u32)> {
    let text = whole_lines(bytes);
    let mut lines = text.lines();
    let (node, rest) = lines.next()?.split_once(' ')?;
    let (epoch, ranges) = rest.split_once(' ')?;
    let mut copy = LeaseCopy::new(node, epoch.parse().ok()?, ranges.parse().ok()?);
    let mut generation = 0;
    for line in lines {
        if let Some(number) = line.strip_prefix(GENERATION) {
            generation = number.parse().ok()?;
            continue;
        }
        let (address, holder) = parse_line(line)?;
        copy.change(&[HolderChange { address, holder }]);
    }
    Some((copy, generation))
}

/// Parses the line of a change.
fn parse_line<A: FromStr>(line: &str) -> Option<(A, Holder)> {
    let (address, who) = line.split_once(' ')?;
    let (who, user) = match who.split_once(' ') {
        Some((who, user)) => (who, Some(user.parse().ok()?)),
        None => (who, None),
    };
    let holder = match (who, user) {
        ("-", None) => Holder::Nobody,
        ("?", user) => Holder::Unclear(user),
        (BEFORE, user) => Holder::Before(user),
        (mac, None) => Holder::Client(mac.parse().ok()?),
        (_, Some(_)) => return None,
    };
    Some((address.parse().ok()?, holder))
}
