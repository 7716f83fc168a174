//! Checks rules that a reviewer would also enforce: dependencies between crates, heads and names of
//! modules, words that must not be in the tree, links of pages. `cargo xtask tidy` reports all
//! findings, and so does a test. The checks change no file.

mod consensus;
mod cycles;
mod dependencies;
mod house;
mod keywords;
mod links;
mod lock;
mod modules;
mod names;
mod phrases;
mod rows;
mod scan;
mod seams;
mod sleeps;
mod tree;
mod undeclared;
mod unfinished;
mod unsafety;
mod words;

use std::fmt;
use std::process::ExitCode;
use tree::Tree;

/// A violation of a rule, with its position.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
struct Finding {
    file: String,
    line: usize,
    wrong: Wrong,
}

#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
enum Wrong {
    Unfinished {
        macro_name: &'static str,
    },
    Undeclared,
    NoHead,
    ModuleName {
        name: String,
    },
    OwnPath {
        path: String,
    },
    Registry {
        source: String,
    },
    NoRoom {
        krate: String,
    },
    Arrow {
        from: String,
        to: String,
        dev: bool,
    },
    KeywordTwice {
        name: String,
        first: String,
    },
    Circle {
        modules: String,
    },
    LongSleep {
        ms: u64,
    },
    Seam {
        name: String,
    },
    SeamFeature,
    BrokenLink {
        link: String,
    },
    UnlistedUnsafe {
        uses: usize,
    },
    NoUnsafe {
        path: String,
    },
    UnlistedDependency {
        package: String,
    },
    NoDependency {
        package: String,
    },
    Unreviewed {
        digest: String,
    },
    Phrase {
        phrase: &'static str,
        instead: &'static str,
    },
    PhrasesLeft {
        area: String,
        count: usize,
        left: usize,
    },
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {}", self.file, self.line, self.wrong)
    }
}

impl fmt::Display for Wrong {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Wrong::Unfinished { macro_name } => write!(f, "{macro_name}! left in the code"),
            Wrong::Undeclared => f.write_str(
                "no module declares this file, so nothing in it is compiled: add `mod` to its parent",
            ),
            Wrong::NoHead => f.write_str(
                "no module head: begin with //! and say what it is for and what it never does",
            ),
            Wrong::ModuleName { name } => {
                write!(f, "a module named {name} says nothing: name the concept")
            }
            Wrong::OwnPath { path } => write!(f, "{path} exists on one machine only"),
            Wrong::Registry { source } => write!(f, "{source} is not crates.io's index"),
            Wrong::NoRoom { krate } => write!(
                f,
                "the crate {krate} has no row of allowed dependencies in xtask/src/tidy/house.rs"
            ),
            Wrong::Arrow { from, to, dev } => {
                let of = if *dev { "tests of " } else { "" };
                write!(f, "{of}{from} must not depend on {to}")
            }
            Wrong::KeywordTwice { name, first } => {
                write!(f, "the keyword \"{name}\" is defined in {first} already")
            }
            Wrong::Circle { modules } => {
                write!(f, "modules import each other in a circle: {modules}")
            }
            Wrong::LongSleep { ms } => write!(
                f,
                "a test sleeps {ms} ms: use lab::eventually, or lab::let_pass with a reason"
            ),
            Wrong::Seam { name } => write!(
                f,
                "{name} is neither in docs/operations.md nor behind the feature `test-seams`"
            ),
            Wrong::SeamFeature => f.write_str("only tests may enable the feature `test-seams`"),
            Wrong::BrokenLink { link } => {
                write!(f, "the link {link} leads to no file or heading")
            }
            Wrong::UnlistedUnsafe { uses } => write!(
                f,
                "docs/unsafe.md must list this file with {uses} uses of `unsafe` and their reason"
            ),
            Wrong::NoUnsafe { path } => {
                write!(f, "{path} has no unsafe code: remove its row")
            }
            Wrong::UnlistedDependency { package } => write!(
                f,
                "docs/dependencies.md must list {package}: the page says what to look at"
            ),
            Wrong::NoDependency { package } => {
                write!(f, "Cargo.lock does not contain {package}: remove its row")
            }
            Wrong::Unreviewed { digest } => write!(
                f,
                "third-party/openraft or its packages in Cargo.lock have changed: review them as the \
                 chapter \"Update\" says, and record the digest {digest}"
            ),
            Wrong::Phrase { phrase, instead } => {
                write!(f, "\"{phrase}\" is banned, write \"{instead}\"")
            }
            Wrong::PhrasesLeft { area, count, left } => write!(
                f,
                "comments of {area} have {count} banned phrases, the limit is {left}: \
                 rewrite the new ones, or lower the limit where there are fewer"
            ),
        }
    }
}

/// Reason why the tree could not be checked.
#[derive(Debug)]
enum TidyError {
    /// A program could not be run.
    Run {
        program: &'static str,
        source: std::io::Error,
    },
    /// A program ended with an error.
    Failed {
        program: &'static str,
        stderr: String,
    },
    /// Unexpected output of `cargo metadata`.
    Metadata(serde_json::Error),
}

impl fmt::Display for TidyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            TidyError::Run { program, source } => write!(f, "cannot run {program}: {source}"),
            TidyError::Failed { program, stderr } => write!(f, "{program}: {}", stderr.trim()),
            TidyError::Metadata(error) => write!(f, "cargo metadata: {error}"),
        }
    }
}

/// Runs all checks, prints the findings, and fails if there are any.
pub fn main() -> ExitCode {
    match findings() {
        Ok(found) if found.is_empty() => ExitCode::SUCCESS,
        Ok(found) => {
            for finding in &found {
                eprintln!("{finding}");
            }
            eprintln!("tidy: {} to put right", found.len());
            ExitCode::FAILURE
        }
        Err(error) => {
            eprintln!("tidy: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Prints the dependencies between crates and modules.
pub fn print_house() -> ExitCode {
    match Tree::read() {
        Ok(tree) => {
            cycles::print(&modules::floors(&tree));
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("house: {error}");
            ExitCode::FAILURE
        }
    }
}

fn findings() -> Result<Vec<Finding>, TidyError> {
    let tree = Tree::read()?;
    let mut found = unfinished::check(&tree);
    found.extend(undeclared::check(&tree));
    found.extend(names::check(&tree));
    found.extend(words::check(&tree));
    found.extend(sleeps::check(&tree));
    found.extend(phrases::check(&tree));
    found.extend(keywords::check(&tree));
    found.extend(links::check(&tree)?);
    let crates = house::arrows(tree.root())?;
    found.extend(house::check(&crates));
    found.extend(unsafety::check(&tree));
    found.extend(dependencies::check(&tree));
    found.extend(seams::check(&tree, &crates));
    found.extend(consensus::check(&tree)?);
    found.extend(cycles::check(&modules::floors(&tree)));
    found.sort();
    Ok(found)
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_tree_is_tidy() {
        let found = super::findings().unwrap_or_else(|error| panic!("{error}"));
        let lines: Vec<String> = found.iter().map(ToString::to_string).collect();
        assert!(lines.is_empty(), "\n{}", lines.join("\n"));
    }
}
