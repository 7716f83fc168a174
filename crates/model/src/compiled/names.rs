//! Keeps the header names of a message as received. Messages store names in lower case, but
//! patterns of HAProxy 1.x rules expect the spelling of browsers and servers.

use memchr::memchr;

/// Header names in the order received, each followed by a line feed.
#[derive(Clone, Debug, Default)]
pub struct HeaderNameList(Vec<u8>);

impl HeaderNameList {
    /// Stores the names of an HTTP/1 head that was parsed successfully.
    pub fn read(&mut self, head: &[u8]) {
        self.0.clear();
        for line in head.split(|byte| *byte == b'\n').skip(1) {
            let Some(colon) = memchr(b':', line) else {
                continue;
            };
            // Skips a folded line, which continues the header before it and has no name.
            if !line.starts_with(b" ") && !line.starts_with(b"\t") {
                self.add(line[..colon].trim_ascii_end());
            }
        }
    }

    pub fn add(&mut self, name: &[u8]) {
        self.0.extend_from_slice(name);
        self.0.push(b'\n');
    }

    /// Returns the original spelling of a name. The search begins at `from`, which advances past a
    /// name found there, which is fast if all headers are read in order.
    pub fn find(&self, name: &[u8], from: &mut usize) -> Option<&[u8]> {
        let behind = self.0.get(*from..).unwrap_or_default();
        if let Some((start, end)) = position(behind, name) {
            let found = *from + start..*from + end;
            *from = found.end + 1;
            return self.0.get(found);
        }
        // Restarts the search at the first name, without moving `from`: a rule added or moved this
        // header.
        let (start, end) = position(&self.0, name)?;
        self.0.get(start..end)
    }
}

fn position(names: &[u8], name: &[u8]) -> Option<(usize, usize)> {
    let mut start = 0;
    while let Some(length) = memchr(b'\n', &names[start..]) {
        let end = start + length;
        if names[start..end].eq_ignore_ascii_case(name) {
            return Some((start, end));
        }
        start = end + 1;
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_found_as_they_were_spelled_also_twice_and_out_of_order() {
        let mut names = HeaderNameList::default();
        names.read(
            b"GET / HTTP/1.1\r\nHost: a:b\r\nX-A:1\r\n x: folded\r\nx-a: 2\r\nACCEPT : *\r\n\r\n",
        );
        let mut from = 0;
        let mut find = |name: &[u8]| {
            names
                .find(name, &mut from)
                .map(|name| String::from_utf8_lossy(name).into_owned())
        };
        assert_eq!(find(b"host").as_deref(), Some("Host"));
        assert_eq!(find(b"x-a").as_deref(), Some("X-A"));
        assert_eq!(find(b"x-a").as_deref(), Some("x-a"));
        assert_eq!(find(b"x"), None);
        assert_eq!(find(b"accept").as_deref(), Some("ACCEPT"));
        assert_eq!(find(b"host").as_deref(), Some("Host"));
    }
}
