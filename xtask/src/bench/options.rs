//! Parses the command line of `cargo xtask bench`.

use std::ffi::OsString;
use std::fmt::Write;
use std::path::{Path, PathBuf};

use lexopt::prelude::{Long, Short, ValueExt};

use super::case::Case;
use super::cases::CASES;
use super::error::BenchError;

pub const HELP: &str = "\
Compares the CPU time per request and the memory of haproxy and evenkeel.

usage: cargo xtask bench [OPTION...]

  --case NAME      only this case; may be repeated (--list shows them)
  --rounds N       rounds of each case (9)
  --quick          few rounds of few requests: shows that it works, not how fast
  --left COMMAND   what is compared with (/usr/sbin/haproxy)
  --right COMMAND  what is compared (target/release/evenkeel)
  --nginx COMMAND  what else the cases with TLS are compared with (/usr/sbin/nginx)
  --markdown       prints the table as Markdown
  --write          write the table to docs/benchmarks.md
  --strict         a missed target is a failure
  --list           shows the cases and their targets

Left and right get exactly haproxy's arguments. The lower quartile of the ratios
is what counts for a target; with nginx, the ratio is that to the better of the
two. Without nginx, these cases are compared with haproxy only.
";

const ROUNDS: usize = 9;
const ROUNDS_QUICK: usize = 3;
/// Maximum number of rounds: in more of them, the machine would change meanwhile.
const ROUNDS_MAX: usize = 1000;

#[derive(Debug)]
pub struct Options {
    pub cases: Vec<&'static Case>,
    pub rounds: usize,
    pub quick: bool,
    pub left: PathBuf,
    pub right: PathBuf,
    pub nginx: PathBuf,
    pub markdown: bool,
    pub document: Option<PathBuf>,
    pub strict: bool,
}

/// Request of the command line.
#[derive(Debug)]
pub enum Asked {
    Help,
    List,
    Run(Box<Options>),
}

impl Options {
    /// Returns the names of the two sides for the table.
    pub fn labels(&self) -> (String, String) {
        let name = |path: &Path| {
            path.file_name()
                .unwrap_or(path.as_os_str())
                .to_string_lossy()
                .into_owned()
        };
        let (left, right) = (name(&self.left), name(&self.right));
        if left == right {
            return (format!("{left}, left"), format!("{right}, right"));
        }
        (left, right)
    }
}

/// Returns the root directory of the repository.
pub fn workspace() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.parent().unwrap_or(here).to_owned()
}

/// Returns the path of the release build.
pub fn evenkeel() -> PathBuf {
    let target = std::env::var_os("CARGO_TARGET_DIR")
        .map_or_else(|| workspace().join("target"), PathBuf::from);
    target.join("release/evenkeel")
}

/// Parses the arguments after `bench`.
pub fn parse(arguments: impl Iterator<Item = OsString>) -> Result<Asked, BenchError> {
    let mut cases: Vec<&'static Case> = Vec::new();
    let mut rounds = None;
    let mut write = false;
    let mut options = Options {
        cases: Vec::new(),
        rounds: ROUNDS,
        quick: false,
        left: PathBuf::from("/usr/sbin/haproxy"),
        right: evenkeel(),
        nginx: PathBuf::from("/usr/sbin/nginx"),
        markdown: false,
        document: None,
        strict: false,
    };
    let mut parser = lexopt::Parser::from_args(arguments);
    while let Some(argument) = parser.next()? {
        match argument {
            Long("case") => {
                let name = parser.value()?.string()?;
                let case = CASES.iter().find(|case| case.name == name);
                cases.push(case.ok_or(BenchError::NoSuchCase { name })?);
            }
            Long("rounds") => rounds = Some(parser.value()?.parse_with(rounds_of)?),
            Long("quick") => options.quick = true,
            Long("left") => options.left = parser.value()?.into(),
            Long("right") => options.right = parser.value()?.into(),
            Long("nginx") => options.nginx = parser.value()?.into(),
            Long("markdown") => options.markdown = true,
            Long("write") => write = true,
            Long("strict") => options.strict = true,
            Long("list") => return Ok(Asked::List),
            Long("help") | Short('h') => return Ok(Asked::Help),
            other => return Err(other.unexpected().into()),
        }
    }
    options.rounds = rounds.unwrap_or(if options.quick { ROUNDS_QUICK } else { ROUNDS });
    if write {
        // Refuses `--write` with `--quick` or `--case`: published numbers are complete.
        for (given, first) in [(options.quick, "--quick"), (!cases.is_empty(), "--case")] {
            if given {
                return Err(BenchError::Conflict {
                    first,
                    second: "--write",
                });
            }
        }
        options.document = Some(workspace().join("docs/benchmarks.md"));
    }
    options.cases = if cases.is_empty() {
        CASES.iter().collect()
    } else {
        cases
    };
    Ok(Asked::Run(Box::new(options)))
}

fn rounds_of(text: &str) -> Result<usize, std::num::ParseIntError> {
    Ok(text
        .parse::<std::num::NonZeroUsize>()?
        .get()
        .min(ROUNDS_MAX))
}

pub fn list() -> String {
    let mut text = String::new();
    for case in &CASES {
        for metric in case.metrics {
            // Writing to a String cannot fail.
            let _ = writeln!(
                text,
                "{:15} {:45} {}",
                case.name, metric.about, metric.target
            );
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(arguments: &[&str]) -> Result<Asked, BenchError> {
        parse(arguments.iter().map(OsString::from))
    }

    #[test]
    fn without_options_all_cases_run_nine_rounds() {
        let Ok(Asked::Run(options)) = parsed(&[]) else {
            panic!("not a run")
        };
        assert_eq!((options.cases.len(), options.rounds), (CASES.len(), ROUNDS));
    }

    #[test]
    fn rounds_given_win_over_those_of_quick() {
        let Ok(Asked::Run(options)) = parsed(&["--rounds=5", "--quick", "--case", "tcp"]) else {
            panic!("not a run")
        };
        assert_eq!(
            (options.cases.len(), options.rounds, options.quick),
            (1, 5, true)
        );
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        assert!(matches!(
            parsed(&["--case", "nothing"]),
            Err(BenchError::NoSuchCase { .. })
        ));
        assert!(matches!(
            parsed(&["--rounds", "0"]),
            Err(BenchError::Arguments(_))
        ));
        assert!(matches!(
            parsed(&["--quick", "--write"]),
            Err(BenchError::Conflict { .. })
        ));
        assert!(matches!(parsed(&["more"]), Err(BenchError::Arguments(_))));
    }

    #[test]
    fn two_sides_of_the_same_name_are_told_apart() {
        let Ok(Asked::Run(options)) = parsed(&["--left=/a/haproxy", "--right=/b/haproxy"]) else {
            panic!("not a run")
        };
        let (left, right) = options.labels();
        assert_ne!(left, right);
    }
}
