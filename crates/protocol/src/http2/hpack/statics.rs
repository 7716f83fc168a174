//! Holds the static table of HPACK (RFC 7541, appendix A), and finds a field in it for an
//! encoder.

use super::hash;

/// Number of entries. The indices of the dynamic table follow.
pub(super) const ENTRIES: usize = 61;

#[rustfmt::skip]
static TABLE: [(&[u8], &[u8]); ENTRIES] = ROWS;

/// The entries as a constant, from which the hash tables are computed at compile time.
#[rustfmt::skip]
const ROWS: [(&[u8], &[u8]); ENTRIES] = [
    (b":authority", b""),
    (b":method", b"GET"),
    (b":method", b"POST"),
    (b":path", b"/"),
    (b":path", b"/index.html"),
    (b":scheme", b"http"),
    (b":scheme", b"https"),
    (b":status", b"200"),
    (b":status", b"204"),
    (b":status", b"206"),
    (b":status", b"304"),
    (b":status", b"400"),
    (b":status", b"404"),
    (b":status", b"500"),
    (b"accept-charset", b""),
    (b"accept-encoding", b"gzip, deflate"),
    (b"accept-language", b""),
    (b"accept-ranges", b""),
    (b"accept", b""),
    (b"access-control-allow-origin", b""),
    (b"age", b""),
    (b"allow", b""),
    (b"authorization", b""),
    (b"cache-control", b""),
    (b"content-disposition", b""),
    (b"content-encoding", b""),
    (b"content-language", b""),
    (b"content-length", b""),
    (b"content-location", b""),
    (b"content-range", b""),
    (b"content-type", b""),
    (b"cookie", b""),
    (b"date", b""),
    (b"etag", b""),
    (b"expect", b""),
    (b"expires", b""),
    (b"from", b""),
    (b"host", b""),
    (b"if-match", b""),
    (b"if-modified-since", b""),
    (b"if-none-match", b""),
    (b"if-range", b""),
    (b"if-unmodified-since", b""),
    (b"last-modified", b""),
    (b"link", b""),
    (b"location", b""),
    (b"max-forwards", b""),
    (b"proxy-authenticate", b""),
    (b"proxy-authorization", b""),
    (b"range", b""),
    (b"referer", b""),
    (b"refresh", b""),
    (b"retry-after", b""),
    (b"server", b""),
    (b"set-cookie", b""),
    (b"strict-transport-security", b""),
    (b"transfer-encoding", b""),
    (b"user-agent", b""),
    (b"vary", b""),
    (b"via", b""),
    (b"www-authenticate", b""),
];

/// Returns the entry at an index from 1 on.
pub(super) fn get(index: usize) -> Option<(&'static [u8], &'static [u8])> {
    TABLE.get(index.checked_sub(1)?).copied()
}

/// Number of slots in the names' hash table: four times the number of names, so that nearly every
/// lookup ends in its first slot.
const SLOTS: usize = 256;

/// Hash table of names: the first index with the name, 0 in an empty slot.
static NAMES: [u8; SLOTS] = {
    let mut slots = [0; SLOTS];
    let mut at = 0;
    while at < ENTRIES {
        if at == 0 || !same(ROWS[at].0, ROWS[at - 1].0) {
            let mut slot = hash::of(ROWS[at].0) as usize % SLOTS;
            while slots[slot] != 0 {
                slot = (slot + 1) % SLOTS;
            }
            slots[slot] = at as u8 + 1;
        }
        at += 1;
    }
    slots
};

const fn same(a: &[u8], b: &[u8]) -> bool {
    if a.len() != b.len() {
        return false;
    }
    let mut at = 0;
    while at < a.len() {
        if a[at] != b[at] {
            return false;
        }
        at += 1;
    }
    true
}

/// Returns the first index of a name, whose hash is given.
pub(super) fn name_index(name: &[u8], hash: u32) -> Option<usize> {
    let mut slot = hash as usize % SLOTS;
    // The table has empty slots, so the loop ends.
    while NAMES[slot] != 0 {
        let index = usize::from(NAMES[slot]);
        if TABLE[index - 1].0 == name {
            return Some(index);
        }
        slot = (slot + 1) % SLOTS;
    }
    None
}

/// Returns the index of the entry with this value as well; `first` is the first index with the
/// name.
pub(super) fn value_index(first: usize, value: &[u8]) -> Option<usize> {
    /// Entries up to this index may share their name with a neighbour.
    const LAST_SHARED: usize = 14;
    if first > LAST_SHARED {
        return (TABLE[first - 1].1 == value).then_some(first);
    }
    let name = TABLE[first - 1].0;
    (first..=LAST_SHARED)
        .take_while(|index| TABLE[index - 1].0 == name)
        .find(|index| TABLE[index - 1].1 == value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_entry_is_found_by_its_name_and_by_its_value() {
        for index in 1..=ENTRIES {
            let (name, value) = get(index).unwrap();
            let first = name_index(name, hash::of(name)).unwrap();
            assert!(first <= index && get(first).unwrap().0 == name);
            assert!(first == 1 || get(first - 1).unwrap().0 != name);
            assert_eq!(value_index(first, value), Some(index));
            assert_eq!(value_index(first, b"another"), None);
        }
        assert_eq!(get(0), None);
        assert_eq!(get(ENTRIES + 1), None);
        for name in [&b""[..], b"x", b":protocol", b"hosts", b"x-forwarded-for"] {
            assert_eq!(name_index(name, hash::of(name)), None);
        }
    }

    #[test]
    fn well_known_static_entries_have_their_indexes() {
        let table: [(usize, &[u8]); 7] = [
            (2, b":method"),
            (8, b":status"),
            (15, b"accept-charset"),
            (28, b"content-length"),
            (38, b"host"),
            (54, b"server"),
            (61, b"www-authenticate"),
        ];
        for (index, name) in table {
            assert_eq!(get(index).unwrap().0, name);
        }
    }
}
