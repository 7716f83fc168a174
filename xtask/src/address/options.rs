//! The command line of the comparison.

use super::case::Case;
use super::error::Error;
use lexopt::prelude::{Long, Short, ValueExt};
use std::ffi::OsString;
use std::path::{Path, PathBuf};

/// What `--help` prints.
pub const HELP: &str = "\
Virtual addresses: keepalived and evenkeel in turn, in namespaces (as root).

usage: cargo xtask bench-address [OPTION...]

  --case NAME         only this case; may be repeated:
                        death      the master is killed with its link
                        stop       the master is stopped
                        slow-stop  the same with adverts of one second
                        hand-over  the address is handed to the other machine
                        load       eight busy processes for eight seconds
                        sigkill    the program is killed, the link stays
                        failover   death with proxies, `virtual-ip` and `failover 50ms`
                        drain      hand-over with proxies and requests of one second
  --repetitions N     of each case (10)
  --left COMMAND      what is compared with (/usr/sbin/keepalived)
  --right COMMAND     what is compared (target/release/evenkeel)
  --markdown          prints the table as Markdown
  --write-readme      puts the table between the bench-address markers of README.md
";

const REPETITIONS: usize = 10;
const REPETITIONS_MAX: usize = 1000;

/// What a run is to do.
#[derive(Debug)]
pub struct Options {
    pub cases: Vec<Case>,
    pub repetitions: usize,
    pub left: PathBuf,
    pub right: PathBuf,
    pub markdown: bool,
    pub readme: Option<PathBuf>,
}

/// The top of the tree.
fn root() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.parent().unwrap_or(here).to_owned()
}

/// Reads the arguments. None: help is wanted.
pub fn parse(arguments: impl Iterator<Item = OsString>) -> Result<Option<Options>, Error> {
    let mut options = Options {
        cases: Vec::new(),
        repetitions: REPETITIONS,
        left: "/usr/sbin/keepalived".into(),
        right: root().join("target/release/evenkeel"),
        markdown: false,
        readme: None,
    };
    let mut parser = lexopt::Parser::from_args(arguments);
    while let Some(argument) = parser.next().map_err(Error::Arguments)? {
        match argument {
            Long("case") => {
                let name = parser
                    .value()
                    .map_err(Error::Arguments)?
                    .string()
                    .map_err(Error::Arguments)?;
                let case = Case::ALL.into_iter().find(|case| case.name() == name);
                options.cases.push(case.ok_or(Error::NoSuchCase(name))?);
            }
            Long("repetitions") => {
                options.repetitions = parser
                    .value()
                    .map_err(Error::Arguments)?
                    .parse()
                    .map_err(Error::Arguments)?;
            }
            Long("left") => options.left = parser.value().map_err(Error::Arguments)?.into(),
            Long("right") => options.right = parser.value().map_err(Error::Arguments)?.into(),
            Long("markdown") => options.markdown = true,
            Long("write-readme") => options.readme = Some(root().join("README.md")),
            Long("help") | Short('h') => return Ok(None),
            other => return Err(Error::Arguments(other.unexpected())),
        }
    }
    if options.cases.is_empty() {
        options.cases = Case::ALL.into();
    }
    if options.repetitions == 0 || options.repetitions > REPETITIONS_MAX {
        return Err(Error::Repetitions {
            most: REPETITIONS_MAX,
        });
    }
    Ok(Some(options))
}
