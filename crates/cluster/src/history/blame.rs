//! Finds the version that wrote each line: it compares the newest text with each older
//! version in turn, until every line has a version.

use super::difference::{lines, origins};
use crate::command::VersionId;

/// A line, and the version that introduced it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct BlamedLine {
    /// Line number, from 1.
    pub number: usize,
    pub version: VersionId,
    /// True if the line may come from an older version that is no longer kept.
    pub or_older: bool,
}

/// A file whose lines are traced to versions.
#[derive(Debug)]
pub struct Blame {
    /// For each line of the newest text: the oldest version that was seen to have it.
    versions: Vec<VersionId>,
    /// Positions of the lines in the version that was seen last; None where that lacks
    /// the line.
    open: Vec<Option<usize>>,
    text: Vec<u8>,
}

impl Blame {
    pub fn new(version: VersionId, text: &[u8]) -> Blame {
        let count = lines(text).len();
        Blame {
            versions: vec![version; count],
            open: (0..count).map(Some).collect(),
            text: text.to_vec(),
        }
    }

    /// Returns whether older versions can still change the result.
    pub fn is_open(&self) -> bool {
        self.open.iter().any(Option::is_some)
    }

    /// Compares with the next older version: its text, or None if that version lacks the file.
    pub fn older(&mut self, version: VersionId, text: Option<&[u8]>) {
        let Some(text) = text else {
            self.open.fill(None);
            return;
        };
        let (old, new) = (lines(text), lines(&self.text));
        let stood = origins(&old, &new);
        for (open, known) in self.open.iter_mut().zip(&mut self.versions) {
            *open = open.and_then(|at| stood.get(at).copied().flatten());
            if open.is_some() {
                *known = version;
            }
        }
        self.text = text.to_vec();
    }

    /// Returns the result. Lines that even the oldest compared version has are attributed to it;
    /// with `has_parent` (a still older version existed and is no longer kept), they are marked as
    /// possibly older.
    pub fn lines(&self, has_parent: bool) -> Vec<BlamedLine> {
        let all = self.versions.iter().zip(&self.open).enumerate();
        all.map(|(at, (version, open))| BlamedLine {
            number: at + 1,
            version: *version,
            or_older: has_parent && open.is_some(),
        })
        .collect()
    }
}
