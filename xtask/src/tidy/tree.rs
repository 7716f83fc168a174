//! Reads the files of the tree: those that git tracks, and new ones that it would track.

use super::TidyError;
use super::scan;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Directory of modified sources of other projects. The module `consensus` checks those of
/// openraft.
pub(super) const THIRD_PARTY: &str = "third-party/";

#[derive(Debug)]
pub(super) struct TextFile {
    /// Path relative to the root of the repository.
    pub(super) path: String,
    pub(super) text: String,
    /// Rust only: the text with comments and literals blanked, same length.
    pub(super) code: Option<String>,
}

impl TextFile {
    pub(super) fn new(path: &str, text: String) -> Self {
        let code = path.ends_with(".rs").then(|| scan::blank(&text));
        TextFile {
            path: path.to_owned(),
            text,
            code,
        }
    }

    /// Returns the number, from 1, of the line with a position in the text.
    pub(super) fn line_of(&self, position: usize) -> usize {
        let before = self.text.as_bytes().get(..position).unwrap_or_default();
        1 + before.iter().filter(|b| **b == b'\n').count()
    }
}

#[derive(Debug)]
pub(super) struct Tree {
    root: PathBuf,
    pub(super) files: Vec<TextFile>,
}

impl Tree {
    pub(super) fn read() -> Result<Self, TidyError> {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
        let listed = listed(&root, ".")?;
        let files = listed
            .iter()
            .map(String::as_str)
            // Skips the sources of other projects, which keep their style so that patches apply.
            .filter(|path| !path.starts_with(THIRD_PARTY))
            // Skips deleted files, which are still listed, and files that are not text.
            .filter_map(|path| Some((path, std::fs::read_to_string(root.join(path)).ok()?)))
            .map(|(path, text)| TextFile::new(path, text))
            .collect();
        Ok(Tree { root, files })
    }

    #[cfg(test)]
    pub(super) fn of(files: &[(&str, &str)]) -> Self {
        let files = files.iter();
        Tree {
            root: PathBuf::new(),
            files: files
                .map(|(path, text)| TextFile::new(path, (*text).to_owned()))
                .collect(),
        }
    }

    pub(super) fn root(&self) -> &Path {
        &self.root
    }

    /// Returns the text of a file; empty if it does not exist.
    pub(super) fn text_of(&self, path: &str) -> &str {
        let file = self.files.iter().find(|file| file.path == path);
        file.map_or("", |file| &file.text)
    }

    /// Returns the Rust files with their code.
    pub(super) fn rust(&self) -> impl Iterator<Item = (&TextFile, &str)> {
        self.files
            .iter()
            .filter_map(|file| Some((file, file.code.as_deref()?)))
    }
}

/// Returns the paths of the files below a folder of the repository, without ignored ones.
pub(super) fn listed(root: &Path, folder: &str) -> Result<Vec<String>, TidyError> {
    let mut command = Command::new("git");
    command.arg("-C").arg(root).args([
        "ls-files",
        "-z",
        "--cached",
        "--others",
        "--exclude-standard",
        folder,
    ]);
    let listed = output("git ls-files", command)?;
    let listed = String::from_utf8_lossy(&listed);
    Ok(listed.split('\0').map(str::to_owned).collect())
}

/// Returns the standard output of a program.
pub(super) fn output(program: &'static str, mut command: Command) -> Result<Vec<u8>, TidyError> {
    let output = command
        .output()
        .map_err(|source| TidyError::Run { program, source })?;
    if !output.status.success() {
        return Err(TidyError::Failed {
            program,
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        });
    }
    Ok(output.stdout)
}
