//! Parses the command line of `cargo xtask changes`.

use std::ffi::OsString;
use std::path::PathBuf;

use lexopt::prelude::{Long, Short, ValueExt};

use crate::bench::options::evenkeel;

use super::error::ChangesError;

pub const HELP: &str = "\
Changes the configuration of haproxy and evenkeel under load, again and again,
and prints what clients saw.

usage: cargo xtask changes [OPTION...]

  --case NAME       only this case; may be repeated:
                      reload   many changes with differing files
                      servers  a file of 10,000 servers is changed
                      upgrade  a new process takes over by -sf and -x
                      kill     SIGKILL of each process in turn
                      soak     a change or a fault a second, by a seed; only where
                               it is asked for
  --rounds N        changes (500), windows (8), upgrades (20), seconds (300), by case
  --seed N          what happens in a soak
  --peer-rounds N   the same of the left side (6, 4, 6)
  --rate N          requests per second of the load (2000)
  --left COMMAND    what is compared with (/usr/sbin/haproxy)
  --right COMMAND   what is judged (target/release/evenkeel)
  --only SIDE       left or right
  --signal NAME     what asks the right side for a change: USR2 or HUP
  --pair PAIR       of `upgrade`: same (each to itself), mixed (left to right and
                    back), binary (the right side's file is replaced, then a
                    change asked for), or all
  --quick           few and short rounds
  --no-user         the file names neither user nor chroot, also as root

A COMMAND is a program and what comes before `-f FILE`: `evenkeel run` is told
apart by its `run`; without words it is started under the name haproxy with -W.
The exit code is 1 when the right side falls short of what is claimed of it.
";

const ROUNDS_MAX: u64 = 100_000;
/// Maximum number of requests per second, which one thread of clients must send.
const RATE_MAX: u32 = 20_000;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Case {
    Reload,
    Servers,
    Upgrade,
    Kill,
    /// A long run, only if selected explicitly.
    Soak,
}

impl Case {
    /// Cases that run by default, in their order.
    pub const ALL: [Self; 4] = [Self::Reload, Self::Servers, Self::Upgrade, Self::Kill];

    /// Returns the name for `--case` and the tables.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Reload => "reload",
            Self::Servers => "servers",
            Self::Upgrade => "upgrade",
            Self::Kill => "kill",
            Self::Soak => "soak",
        }
    }

    /// Returns the default numbers of rounds of the right and of the left side.
    const fn rounds(self, quick: bool) -> (u64, u64) {
        match (self, quick) {
            (Self::Reload, false) => (500, 6),
            (Self::Reload, true) => (25, 3),
            (Self::Servers, false) => (8, 4),
            (Self::Servers, true) => (2, 1),
            (Self::Upgrade, false) => (20, 6),
            (Self::Upgrade, true) => (3, 2),
            (Self::Kill, _) => (1, 1),
            (Self::Soak, false) => (300, 300),
            (Self::Soak, true) => (30, 30),
        }
    }
}

/// The programs between which a takeover happens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pair {
    /// Each program replaces another process of the same program.
    Same,
    /// The left program replaces the right one, and the reverse.
    Mixed,
    /// The right side's binary is replaced before the change.
    Binary,
}

/// Signal that requests a change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ask {
    Usr2,
    Hup,
}

/// A program and the words before `-f FILE`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CommandLine {
    pub program: PathBuf,
    pub words: Vec<String>,
}

impl CommandLine {
    fn parse(option: &'static str, text: &str) -> Result<Self, ChangesError> {
        let mut words = text.split_whitespace().map(str::to_owned);
        let program = words
            .next()
            .ok_or(ChangesError::NoProgram { option })?
            .into();
        let mut words: Vec<String> = words.collect();
        if words.is_empty() {
            words.push("-W".to_owned());
        }
        Ok(Self { program, words })
    }

    /// Returns whether the program runs under its own name, not under that of HAProxy.
    pub fn is_evenkeel(&self) -> bool {
        self.words.first().is_some_and(|word| word == "run")
    }
}

#[derive(Debug)]
pub struct Options {
    pub cases: Vec<Case>,
    rounds: Option<u64>,
    peer_rounds: Option<u64>,
    pub rate: u32,
    pub left: CommandLine,
    pub right: CommandLine,
    pub run_left: bool,
    pub run_right: bool,
    pub signal: Option<Ask>,
    pub pairs: Vec<Pair>,
    pub quick: bool,
    /// Seed of the actions in a soak.
    pub seed: u64,
    /// The file names a user and a root directory, if this process may use them.
    pub confined: bool,
}

impl Options {
    /// Returns the number of rounds of a case for the right side, or for the left one.
    pub fn rounds(&self, case: Case, right: bool) -> u64 {
        let (ours, theirs) = case.rounds(self.quick);
        if right {
            self.rounds.unwrap_or(ours)
        } else {
            self.peer_rounds.unwrap_or(theirs)
        }
    }
}

/// Parses the arguments after `changes`; None for help.
pub fn parse(arguments: impl Iterator<Item = OsString>) -> Result<Option<Options>, ChangesError> {
    let default = |program: PathBuf| CommandLine {
        program,
        words: vec!["-W".to_owned()],
    };
    let mut options = Options {
        cases: Vec::new(),
        rounds: None,
        peer_rounds: None,
        rate: 2000,
        left: default(PathBuf::from("/usr/sbin/haproxy")),
        right: default(evenkeel()),
        run_left: true,
        run_right: true,
        signal: None,
        pairs: vec![Pair::Same],
        quick: false,
        seed: 1,
        confined: rustix::process::geteuid().is_root(),
    };
    let mut parser = lexopt::Parser::from_args(arguments);
    while let Some(argument) = parser.next()? {
        match argument {
            Long("case") => options.cases.push(case(parser.value()?.string()?)?),
            Long("rounds") => options.rounds = Some(rounds(parser.value()?)?),
            Long("peer-rounds") => options.peer_rounds = Some(rounds(parser.value()?)?),
            Long("rate") => {
                let rate: u32 = parser.value()?.parse()?;
                options.rate = rate.clamp(1, RATE_MAX);
            }
            Long("left") => {
                options.left = CommandLine::parse("--left", &parser.value()?.string()?)?;
            }
            Long("right") => {
                options.right = CommandLine::parse("--right", &parser.value()?.string()?)?;
            }
            Long("only") => {
                let word = parser.value()?.string()?;
                (options.run_left, options.run_right) = only(word)?;
            }
            Long("signal") => options.signal = Some(signal(parser.value()?.string()?)?),
            Long("pair") => options.pairs = pairs(parser.value()?.string()?)?,
            Long("seed") => options.seed = rounds(parser.value()?)?,
            Long("quick") => options.quick = true,
            Long("no-user") => options.confined = false,
            Long("help") | Short('h') => return Ok(None),
            other => return Err(other.unexpected().into()),
        }
    }
    if options.cases.is_empty() {
        options.cases.extend(Case::ALL);
    }
    Ok(Some(options))
}

fn case(name: String) -> Result<Case, ChangesError> {
    let mut all = Case::ALL.into_iter().chain([Case::Soak]);
    let found = all.find(|case| case.name() == name);
    found.ok_or(ChangesError::NoSuchCase { name })
}

fn rounds(value: OsString) -> Result<u64, ChangesError> {
    let number: std::num::NonZeroU64 = value.parse()?;
    Ok(number.get().min(ROUNDS_MAX))
}

fn only(word: String) -> Result<(bool, bool), ChangesError> {
    match word.as_str() {
        "left" => Ok((true, false)),
        "right" => Ok((false, true)),
        _ => Err(ChangesError::NoSuchChoice {
            option: "--only",
            word,
        }),
    }
}

fn signal(word: String) -> Result<Ask, ChangesError> {
    match word.to_ascii_uppercase().trim_start_matches("SIG") {
        "USR2" => Ok(Ask::Usr2),
        "HUP" => Ok(Ask::Hup),
        _ => Err(ChangesError::NoSuchChoice {
            option: "--signal",
            word,
        }),
    }
}

fn pairs(word: String) -> Result<Vec<Pair>, ChangesError> {
    match word.as_str() {
        "same" => Ok(vec![Pair::Same]),
        "mixed" => Ok(vec![Pair::Mixed]),
        "binary" => Ok(vec![Pair::Binary]),
        "all" => Ok(vec![Pair::Same, Pair::Mixed, Pair::Binary]),
        _ => Err(ChangesError::NoSuchChoice {
            option: "--pair",
            word,
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(arguments: &[&str]) -> Result<Options, ChangesError> {
        parse(arguments.iter().map(OsString::from)).map(|options| options.expect("not help"))
    }

    #[test]
    fn without_options_all_cases_run_with_the_numbers_of_the_claim() {
        let options = parsed(&[]).expect("options");
        assert_eq!(options.cases, Case::ALL);
        assert_eq!(options.rounds(Case::Reload, true), 500);
        assert_eq!(options.rounds(Case::Upgrade, true), 20);
        assert_eq!(options.rounds(Case::Reload, false), 6);
    }

    #[test]
    fn a_command_is_a_program_and_its_words() {
        let options = parsed(&["--right", "/x/evenkeel run", "--left", "/x/haproxy"]);
        let options = options.expect("options");
        assert!(options.right.is_evenkeel() && !options.left.is_evenkeel());
        assert_eq!(options.left.words, ["-W"]);
        assert!(matches!(
            parsed(&["--left", " "]),
            Err(ChangesError::NoProgram { .. })
        ));
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        assert!(matches!(
            parsed(&["--case", "x"]),
            Err(ChangesError::NoSuchCase { .. })
        ));
        for (option, word) in [("--only", "both"), ("--signal", "TERM"), ("--pair", "x")] {
            assert!(
                matches!(
                    parsed(&[option, word]),
                    Err(ChangesError::NoSuchChoice { .. })
                ),
                "{option}"
            );
        }
        assert!(matches!(
            parsed(&["--rounds", "0"]),
            Err(ChangesError::Arguments(_))
        ));
    }
}
