//! Implements `config show`: prints the files of a version with masked secrets, as text or JSON, or
//! exports them unmasked into a new directory.

use super::mask::mask;
use super::{ConfigError, named, print, set, version, write_own};
use clap::ArgMatches;
use cluster::file_set::{FileSet, SetFile};
use cluster::history::{FileMask, MaskedFile};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

pub(super) fn main(matches: &ArgMatches) -> Result<(), ConfigError> {
    let set = set(version(matches, "version"))?;
    if let Some(directory) = matches.get_one::<PathBuf>("export") {
        return export(&set, directory);
    }
    let names = named(matches, &set)?;
    let mask = mask().of(&set.files);
    let wanted = |file: &&SetFile| names.is_empty() || names.contains(&&*file.path);
    if matches.get_flag("json") {
        let files: Vec<_> = set
            .files
            .iter()
            .filter(wanted)
            .map(|file| json(file, &mask))
            .collect();
        let value =
            serde_json::json!({ "version": set.version.0, "label": set.label, "files": files });
        print(&format!("{value}\n"));
        return Ok(());
    }
    if names.is_empty() {
        print(&whole(&set, &mask))
    } else {
        print(
            &set.files
                .iter()
                .filter(wanted)
                .map(|file| text(file, &mask))
                .collect::<String>(),
        )
    };
    Ok(())
}

fn json(file: &SetFile, mask: &FileMask<'_>) -> serde_json::Value {
    let (text, told) = match mask.seen(file) {
        MaskedFile::Text(text) => (Some(String::from_utf8_lossy(&text).into_owned()), None),
        MaskedFile::Description(words) => (None, Some(words)),
    };
    serde_json::json!({
        "path": file.path,
        "main": file.main,
        "mode": format!("{:04o}", file.mode),
        "bytes": file.bytes.len(),
        "text": text,
        "told": told,
    })
}

fn text(file: &SetFile, mask: &FileMask<'_>) -> String {
    match mask.seen(file) {
        MaskedFile::Text(text) => {
            let mut text = String::from_utf8_lossy(&text).into_owned();
            if !text.ends_with('\n') {
                text.push('\n');
            }
            text
        }
        MaskedFile::Description(words) => format!("{}: {words}\n", file.path),
    }
}

fn whole(set: &FileSet, mask: &FileMask<'_>) -> String {
    let mut out = if set.label.is_empty() {
        format!("# version {}\n", set.version)
    } else {
        format!("# {}\n", set.label)
    };
    for file in set.files.iter().filter(|file| file.main) {
        out.push_str(&format!("\n# {}\n{}", file.path, text(file, mask)));
    }
    let others: Vec<&SetFile> = set.files.iter().filter(|file| !file.main).collect();
    if !others.is_empty() {
        out.push_str("\n# files named by these:\n");
    }
    for file in others {
        let words = match mask.seen(file) {
            MaskedFile::Text(text) => {
                let lines = String::from_utf8_lossy(&text).lines().count();
                part::voice::counted(lines, "line", "lines")
            }
            MaskedFile::Description(words) => words,
        };
        out.push_str(&format!("#   {}: {words}\n", file.path));
    }
    out
}

/// Writes the unmasked files below a new directory, each with its whole path. A file whose path
/// contains `.` or `..` is left out.
fn export(set: &FileSet, directory: &Path) -> Result<(), ConfigError> {
    let failed = |error| ConfigError::Io(directory.display().to_string(), error);
    let mut builder = std::fs::DirBuilder::new();
    builder.mode(0o700);
    builder.create(directory).map_err(failed)?;
    builder.recursive(true);
    let written = write_below(set, directory, &builder).inspect_err(|_| {
        // Ignores an error: the first one is reported.
        let _ = std::fs::remove_dir_all(directory);
    })?;
    print(&format!(
        "{written} {} of version {} below {}, passwords and keys included\n",
        if written == 1 { "file" } else { "files" },
        set.version,
        directory.display()
    ));
    Ok(())
}

fn write_below(
    set: &FileSet,
    directory: &Path,
    builder: &std::fs::DirBuilder,
) -> Result<usize, ConfigError> {
    let failed = |path: &Path| {
        let path = path.display().to_string();
        move |error| ConfigError::Io(path, error)
    };
    let mut written = 0;
    for file in &set.files {
        let straight = file.path.split('/').filter(|part| !part.is_empty());
        if straight.clone().any(|part| part == ".." || part == ".") {
            continue;
        }
        let path = straight.fold(directory.to_owned(), |path, part| path.join(part));
        if let Some(parent) = path.parent() {
            builder.create(parent).map_err(failed(parent))?;
        }
        write_own(&path, &file.bytes)?;
        written += 1;
    }
    Ok(written)
}

#[cfg(test)]
mod tests {
    use super::*;
    use cluster::command::VersionId;
    use std::os::unix::fs::PermissionsExt;

    fn example() -> FileSet {
        let file = |path: &str, main, secret, text: &str| SetFile {
            path: path.to_owned(),
            main,
            secret,
            mode: 0o640,
            bytes: text.as_bytes().to_vec(),
        };
        FileSet {
            version: VersionId(7),
            label: "version 7 by anna: \"more servers\"".to_owned(),
            files: vec![
                file(
                    "/etc/haproxy/haproxy.cfg",
                    true,
                    false,
                    "listen a\n    stats auth b:SECRET",
                ),
                file("/etc/haproxy/a.map", false, false, "a b\nc d\n"),
                file("/etc/haproxy/a.pem", false, true, "SECRET"),
            ],
            ..FileSet::default()
        }
    }

    #[test]
    fn a_version_is_shown_without_its_secrets() {
        language::difference::set_vocabulary(super::super::tests::vocabulary);
        let set = example();
        let mask = mask().of(&set.files);
        let shown = whole(&set, &mask);
        assert!(!shown.contains("SECRET"), "{shown}");
        insta::assert_snapshot!(shown);
        let json: Vec<_> = set.files.iter().map(|file| json(file, &mask)).collect();
        assert!(!serde_json::to_string(&json).unwrap().contains("SECRET"));
    }

    #[test]
    fn an_export_has_all_bytes_and_nobody_else_may_read_it() {
        let mut set = example();
        set.files[1].path = "/etc/../../escaped".to_owned();
        let name = format!("evenkeel-export-{}", std::process::id());
        let directory = std::env::temp_dir().join(name);
        let _ = std::fs::remove_dir_all(&directory);
        export(&set, &directory).unwrap();
        let read = |name: &str| std::fs::read_to_string(directory.join(name)).unwrap();
        assert_eq!(read("etc/haproxy/a.pem"), "SECRET");
        let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode(&directory), 0o700);
        assert_eq!(mode(&directory.join("etc/haproxy/a.pem")), 0o600);
        // An incomplete export is removed.
        let other = directory.with_extension("other");
        let mut clash = example();
        let mut below = clash.files[0].clone();
        below.path += "/below";
        clash.files.push(below);
        assert!(export(&clash, &other).is_err());
        assert!(!other.exists());
        // An existing directory is not overwritten.
        assert!(export(&set, &directory).is_err());
        std::fs::remove_dir_all(&directory).unwrap();
    }
}
