//! Tests that clap accepts every `evenkeel` command that a document or a message mentions.

use super::definition;
use clap::error::ErrorKind;
use std::path::{Path, PathBuf};

const NOT_OURS: [&str; 4] = ["haproxy", "keepalived", "internal", "help"];

fn files(directory: &Path, ends: &str, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files(&path, ends, found);
        } else if path.to_string_lossy().ends_with(ends) {
            found.push(path);
        }
    }
}

/// Returns the commands of `evenkeel` in a text: those between backquotes, and in documents also
/// whole lines. Commands of other personalities are left out.
fn commands(text: &str, is_document: bool) -> Vec<String> {
    let between = |text: &str| -> Vec<String> {
        let parts = text.split('`').skip(1).step_by(2);
        parts.map(str::to_owned).collect()
    };
    let mut found = Vec::new();
    if is_document {
        for line in text.lines() {
            found.extend(between(line));
            let line = line.trim().trim_start_matches(['$', '#', ' ']);
            let line = line.trim_start_matches("sudo ");
            found.push(line.split(" #").next().unwrap_or(line).to_owned());
        }
    } else {
        // Joins the lines, because comments and long strings wrap commands.
        let lines = text.lines().map(str::trim);
        let lines = lines.map(|line| line.trim_start_matches(['/', '!']).trim_end_matches('\\'));
        found.extend(between(&lines.collect::<Vec<_>>().join(" ")));
    }
    let is_command = |one: &String| {
        let mut words = one.split_whitespace();
        let is_ours = words.next() == Some("evenkeel") && !one.contains('─');
        is_ours && !words.next().is_none_or(|word| NOT_OURS.contains(&word))
    };
    found.retain(is_command);
    found
}

fn words(command: &str) -> Vec<String> {
    let mut words = Vec::new();
    for (place, part) in command.split(['"', '\'']).enumerate() {
        match place % 2 {
            0 => words.extend(part.split_whitespace().map(str::to_owned)),
            _ => words.push(part.to_owned()),
        }
    }
    let ends = words
        .iter()
        .position(|word| ["|", ">", "&", "&&", "2>", "<"].contains(&&**word));
    words.truncate(ends.unwrap_or(words.len()));
    words.retain(|word| !["…", "..."].contains(&&**word));
    words
}

fn can_be_typed(command: &str) -> Result<(), String> {
    let Err(error) = definition().try_get_matches_from(words(command)) else {
        return Ok(());
    };
    match error.kind() {
        ErrorKind::UnknownArgument | ErrorKind::InvalidSubcommand | ErrorKind::ArgumentConflict => {
            Err(error.to_string())
        }
        // Accepts other errors: a placeholder such as `FILE` is no valid value.
        _ => Ok(()),
    }
}

#[test]
fn invalid_documented_command_is_found() {
    for wrong in [
        "evenkeel rehearse",
        "evenkeel volume resync mail --everything",
        "evenkeel status --jason",
    ] {
        assert!(can_be_typed(wrong).is_err(), "{wrong}");
    }
    let text = "```\n$ evenkeel reload --now   # soon\n```\nsee `evenkeel volume show NAME` and `evenkeel haproxy -x`";
    assert_eq!(
        commands(text, true),
        ["evenkeel reload --now  ", "evenkeel volume show NAME"]
    );
}

#[test]
fn every_documented_command_is_valid() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let mut documents = vec![root.join("README.md"), root.join("CHANGELOG.md")];
    files(&root.join("docs"), ".md", &mut documents);
    let mut sources = Vec::new();
    files(&root.join("crates"), ".rs", &mut sources);
    sources.retain(|path| !path.ends_with("command/documented.rs"));
    let (mut count, mut wrong) = (0, String::new());
    for (path, is_document) in documents
        .iter()
        .map(|path| (path, true))
        .chain(sources.iter().map(|path| (path, false)))
    {
        let text = std::fs::read_to_string(path).unwrap();
        for command in commands(&text, is_document) {
            count += 1;
            if let Err(why) = can_be_typed(&command) {
                wrong.push_str(&format!("{}: `{command}`: {why}\n", path.display()));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong}");
    assert!(count > 100, "{count} commands");
}
