//! Reads the packages of a lock file of cargo.

/// A package of a lock file. A value that the entry does not have is empty.
#[derive(Clone, Copy, Debug)]
pub(super) struct LockedPackage<'a> {
    /// Line of the name, from 1.
    pub line: usize,
    pub name: &'a str,
    pub version: &'a str,
    /// Registry of the package; empty for a package of the repository.
    pub source: &'a str,
    pub checksum: &'a str,
}

/// Returns the packages in their order.
pub(super) fn packages(lock: &str) -> Vec<LockedPackage<'_>> {
    let mut found: Vec<LockedPackage<'_>> = Vec::new();
    for (at, text) in lock.lines().enumerate() {
        let Some((key, value)) = text.split_once(" = ") else {
            continue;
        };
        let value = value.trim_matches('"');
        if key == "name" {
            found.push(LockedPackage {
                line: at + 1,
                name: value,
                version: "",
                source: "",
                checksum: "",
            });
        } else if let Some(last) = found.last_mut() {
            match key {
                "version" => last.version = value,
                "source" => last.source = value,
                "checksum" => last.checksum = value,
                _ => {}
            }
        }
    }
    found
}
