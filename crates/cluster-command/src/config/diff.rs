//! Implements `config diff`, which prints the difference between two versions, and `config blame`,
//! which prints the version and author of each line.

use super::mask::mask;
use super::{ConfigError, VERSIONS_MAX, accepted, print, records, set, time, version};
use clap::ArgMatches;
use cluster::command::VersionId;
use cluster::file_set::{FileSet, SetFile};
use cluster::history::{self, Blame, BlamedLine, MaskedFile};
use cluster::state::VersionRecord;
use command::json::OutputFormat;
use serde::Serialize;
use std::borrow::Cow;
use std::collections::BTreeMap;

const AUTHOR_MAX: usize = 16;

pub(super) fn main(matches: &ArgMatches) -> Result<(), ConfigError> {
    let all = records(VERSIONS_MAX)?;
    let served = accepted(&all).ok_or(ConfigError::NoVersion(None))?;
    let (from, to) = match (version(matches, "A"), version(matches, "B")) {
        (Some(from), Some(to)) => (Some(from), to),
        (Some(from), None) => (Some(from), served.id),
        _ => (served.parent(), served.id),
    };
    let old = match from {
        Some(from) => set(Some(from))?,
        None => FileSet::default(),
    };
    let differences = history::between(&old, &set(Some(to))?, &mask());
    if matches.get_flag("json") {
        let text = serde_json::to_string(&differences)?;
        print(&format!("{text}\n"));
        return Ok(());
    }
    let text = history::unified(&differences);
    match (text.is_empty(), from) {
        (true, Some(from)) => print(&format!("versions {to} and {from} are identical\n")),
        _ => print(&text),
    };
    Ok(())
}

pub(super) fn blame(matches: &ArgMatches) -> Result<(), ConfigError> {
    let all = records(VERSIONS_MAX)?;
    let wanted = version(matches, "version");
    let newest = match wanted {
        Some(wanted) => all.iter().find(|record| record.id == wanted),
        None => accepted(&all),
    };
    let newest = newest.ok_or(ConfigError::NoVersion(wanted))?;
    let newest_set = set(Some(newest.id))?;
    let file = find(&newest_set, matches.get_one::<String>("FILE"))?;
    let MaskedFile::Text(seen) = mask().of(&newest_set.files).seen(file) else {
        let path = file.path.clone();
        return Err(ConfigError::Refused(format!("'{path}' is not a text file")));
    };
    let mut blame = Blame::new(newest.id, &file.bytes);
    let mut oldest = newest;
    while let Some(parent) = oldest.parent().filter(|_| blame.is_open()) {
        let Some(record) = all.iter().find(|record| record.id == parent) else {
            break;
        };
        let older = set(Some(parent))?;
        let same = older.files.iter().find(|other| other.path == file.path);
        blame.older(parent, same.map(|file| &file.bytes[..]));
        oldest = record;
    }
    let lines = blame.lines(oldest.parent().is_some());
    let format = OutputFormat::of(matches);
    let text = format.render(
        told(&lines, &seen, &all),
        &BlamedFile::new(&file.path, &lines, &seen, &all),
    );
    print(&text.map_err(ConfigError::Collect)?);
    Ok(())
}

/// A file with the version that changed each line last, for `--json`.
#[derive(Serialize)]
struct BlamedFile<'f> {
    path: &'f str,
    lines: Vec<BlamedText<'f>>,
}

#[derive(Serialize)]
struct BlamedText<'f> {
    line: usize,
    version: VersionId,
    /// True if the line may be older, because no older version is kept.
    or_older: bool,
    author: Option<&'f str>,
    time_s: Option<i64>,
    text: Cow<'f, str>,
}

impl<'f> BlamedFile<'f> {
    fn new(
        path: &'f str,
        lines: &[BlamedLine],
        seen: &'f [u8],
        records: &'f [VersionRecord],
    ) -> BlamedFile<'f> {
        let texts = seen.split(|b| *b == b'\n');
        let blamed = |(line, text): (&BlamedLine, &'f [u8])| {
            let mut records = records.iter();
            let record = records.find(|record| record.id == line.version);
            let proposal = record.map(|record| &record.proposal);
            BlamedText {
                line: line.number,
                version: line.version,
                or_older: line.or_older,
                author: proposal.map(|proposal| &*proposal.author),
                time_s: proposal.map(|proposal| proposal.time_s),
                text: String::from_utf8_lossy(text),
            }
        };
        BlamedFile {
            path,
            lines: lines.iter().zip(texts).map(blamed).collect(),
        }
    }
}

fn find<'s>(set: &'s FileSet, name: Option<&String>) -> Result<&'s SetFile, ConfigError> {
    let found = match name {
        Some(name) => set.files.iter().find(|file| file.path == *name),
        None => {
            let mut mains = set.files.iter().filter(|file| file.main);
            let first = mains.next();
            if mains.next().is_some() {
                let words = "the version has several configuration files: name one; `evenkeel config show` lists them";
                return Err(ConfigError::Refused(words.to_owned()));
            }
            first
        }
    };
    let name = || name.cloned().unwrap_or_else(|| "haproxy.cfg".to_owned());
    found.ok_or_else(|| ConfigError::NoFile(name(), set.version))
}

fn told(lines: &[BlamedLine], seen: &[u8], records: &[VersionRecord]) -> String {
    let by_id: BTreeMap<VersionId, &VersionRecord> =
        records.iter().map(|record| (record.id, record)).collect();
    let authors: Vec<String> = lines
        .iter()
        .map(|line| {
            let record = by_id.get(&line.version);
            let author = record.map_or("", |record| &record.proposal.author);
            author.chars().take(AUTHOR_MAX).collect()
        })
        .collect();
    let width = authors.iter().map(|name| name.chars().count()).max();
    let width = width.unwrap_or(0);
    let digits = lines
        .iter()
        .map(|line| line.version.to_string().len())
        .max();
    let digits = digits.unwrap_or(1);
    let mut out = String::new();
    let texts = seen.split(|b| *b == b'\n');
    for ((line, text), author) in lines.iter().zip(texts).zip(authors) {
        let older = if line.or_older { '^' } else { ' ' };
        let record = by_id.get(&line.version);
        let when = record.map_or_else(String::new, |record| time(record.proposal.time_s));
        let day = when.get(..10).unwrap_or_default();
        let text = String::from_utf8_lossy(text);
        let text: Vec<_> = text.split('\t').map(language::render::visible).collect();
        out.push_str(&format!(
            "{:>digits$}{older} {author:<width$} {day} {:>4}  {}\n",
            line.version.to_string(),
            line.number,
            text.join("\t"),
        ));
    }
    out
}
