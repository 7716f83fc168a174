//! Parses the levels of the trace events that processes record, as in
//! `cluster=debug,volume=info`.

use std::collections::BTreeMap;
use std::fmt;

/// The crates that record events. The target of an event is the name of its crate.
pub const TARGETS: [&str; 24] = [
    "access",
    "address",
    "boot",
    "cluster",
    "configuration",
    "console",
    "evenkeel",
    "farm",
    "guest",
    "keyword",
    "language",
    "loader",
    "message",
    "model",
    "nodes",
    "part",
    "protocol",
    "proxy",
    "sample",
    "screen",
    "supervisor",
    "tls",
    "volume",
    "wire",
];

/// Maximum length of the text of levels, in bytes: every target with the longest level fits.
pub const LEVELS_BYTES_MAX: usize = 512;

/// A level; a target records the events of its level and of all levels before it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub enum LogLevel {
    Off,
    Error,
    Warn,
    #[default]
    Info,
    Debug,
    Trace,
}

/// All levels, from the one that records least.
pub const LEVELS: [LogLevel; 6] = [
    LogLevel::Off,
    LogLevel::Error,
    LogLevel::Warn,
    LogLevel::Info,
    LogLevel::Debug,
    LogLevel::Trace,
];

impl LogLevel {
    pub fn parse(name: &str) -> Option<LogLevel> {
        LEVELS.into_iter().find(|level| level.name() == name)
    }

    pub fn name(self) -> &'static str {
        match self {
            LogLevel::Off => "off",
            LogLevel::Error => "error",
            LogLevel::Warn => "warn",
            LogLevel::Info => "info",
            LogLevel::Debug => "debug",
            LogLevel::Trace => "trace",
        }
    }
}

impl fmt::Display for LogLevel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// The levels of all targets: one for those that are not named, and those of named targets.
///
/// The text is a list of items with commas between them. An item is a level, which applies to all
/// targets that are not named, or a target and its level: `warn,cluster=debug`.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct LogLevels {
    /// Level of the targets that are not named; None if the text has none, which means `info`.
    default: Option<LogLevel>,
    targets: BTreeMap<&'static str, LogLevel>,
}

/// The reason why a text is not a list of levels.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum LogLevelsError {
    #[error("no level: expected a list such as `cluster=debug,volume=info`")]
    Empty,
    #[error("more than {LEVELS_BYTES_MAX} bytes")]
    TooLong,
    #[error("item {item} is empty: expected LEVEL or TARGET=LEVEL")]
    EmptyItem {
        /// Number of the item, from 1.
        item: usize,
    },
    #[error("item {item}: unknown level '{word}'{}; levels are {}", similar(word, &level_names()), level_names().join(", "))]
    Level { item: usize, word: String },
    #[error("item {item}: unknown target '{word}'{}; targets are {}", similar(word, &TARGETS), TARGETS.join(", "))]
    Target { item: usize, word: String },
    #[error("item {item}: the level of {} is given twice", target.unwrap_or("all targets"))]
    Twice {
        item: usize,
        target: Option<&'static str>,
    },
}

fn level_names() -> [&'static str; 6] {
    LEVELS.map(LogLevel::name)
}

fn similar(word: &str, known: &[&'static str]) -> String {
    crate::suggest::nearest(word, known.iter().copied())
        .map_or_else(String::new, |name| format!(" (did you mean '{name}'?)"))
}

impl LogLevels {
    /// The levels without a configuration: `info` for all targets.
    pub const INFO: LogLevels = LogLevels {
        default: None,
        targets: BTreeMap::new(),
    };

    /// Parses a list of levels.
    ///
    /// # Errors
    /// The text is empty or too long, or an item is invalid: the error has the number of the first
    /// one.
    pub fn parse(text: &str) -> Result<LogLevels, LogLevelsError> {
        if text.len() > LEVELS_BYTES_MAX {
            return Err(LogLevelsError::TooLong);
        }
        if text.trim().is_empty() {
            return Err(LogLevelsError::Empty);
        }
        let mut levels = LogLevels::default();
        for (index, written) in text.split(',').enumerate() {
            levels.add(index + 1, written.trim())?;
        }
        Ok(levels)
    }

    /// Parses the levels that another release of Evenkeel has sent. Items that are not known here
    /// have no effect.
    pub fn parse_known(text: &str) -> LogLevels {
        let mut levels = LogLevels::default();
        for written in crate::truncated(text, LEVELS_BYTES_MAX).split(',') {
            // Ignores an item that this release of Evenkeel does not know.
            let _ = levels.add(0, written.trim());
        }
        levels
    }

    fn add(&mut self, item: usize, written: &str) -> Result<(), LogLevelsError> {
        if written.is_empty() {
            return Err(LogLevelsError::EmptyItem { item });
        }
        let level_of = |word: &str| {
            LogLevel::parse(word).ok_or_else(|| LogLevelsError::Level {
                item,
                word: word.to_owned(),
            })
        };
        let Some((target, level)) = written.split_once('=') else {
            let level = level_of(written)?;
            return match self.default.replace(level) {
                Some(_) => Err(LogLevelsError::Twice { item, target: None }),
                None => Ok(()),
            };
        };
        let (target, level) = (target.trim(), level.trim());
        let known = TARGETS.into_iter().find(|known| *known == target);
        let target = known.ok_or_else(|| LogLevelsError::Target {
            item,
            word: target.to_owned(),
        })?;
        match self.targets.insert(target, level_of(level)?) {
            Some(_) => Err(LogLevelsError::Twice {
                item,
                target: Some(target),
            }),
            None => Ok(()),
        }
    }

    /// Returns the level of a target: the name of a crate, or a path that begins with it. Targets
    /// that do not belong to Evenkeel are off.
    pub fn level_of(&self, target: &str) -> LogLevel {
        let name = target.split("::").next().unwrap_or_default();
        match self.targets.get(name) {
            Some(level) => *level,
            None if TARGETS.contains(&name) => self.default.unwrap_or_default(),
            None => LogLevel::Off,
        }
    }

    pub fn highest(&self) -> LogLevel {
        let named = self.targets.values().copied();
        let others = self.default.unwrap_or_default();
        named.fold(others, LogLevel::max)
    }

    /// Returns these levels with those of `over` instead, as far as `over` has them. A level of
    /// `over` for all targets replaces the levels of named targets, too.
    pub fn overlaid(&self, over: &LogLevels) -> LogLevels {
        let mut levels = match over.default {
            Some(_) => over.clone(),
            None => self.clone(),
        };
        levels.targets.extend(&over.targets);
        levels
    }
}

impl fmt::Display for LogLevels {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let named = self.targets.iter();
        let named = named.map(|(target, level)| format!("{target}={level}"));
        let default = match (self.default, self.targets.is_empty()) {
            (Some(level), _) => Some(level),
            (None, true) => Some(LogLevel::default()),
            (None, false) => None,
        };
        let items: Vec<String> = default
            .map(|level| level.to_string())
            .into_iter()
            .chain(named)
            .collect();
        f.write_str(&items.join(","))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels_are_parsed_and_printed() {
        for (text, printed) in [
            ("debug", "debug"),
            ("cluster=debug,volume=info", "cluster=debug,volume=info"),
            ("volume=off, cluster = trace", "cluster=trace,volume=off"),
            ("warn,guest=debug", "warn,guest=debug"),
            ("guest=debug,warn", "warn,guest=debug"),
        ] {
            let levels = LogLevels::parse(text).expect(text);
            assert_eq!(levels.to_string(), printed, "{text}");
            assert_eq!(LogLevels::parse(printed).as_ref(), Ok(&levels), "{text}");
            assert_eq!(LogLevels::parse_known(printed), levels, "{text}");
        }
        assert_eq!(LogLevels::default().to_string(), "info");
    }

    #[test]
    fn errors_name_the_item_and_the_known_words() {
        for (text, wanted) in [
            ("", "no level"),
            (" ", "no level"),
            ("cluster=debug,,info", "item 2 is empty"),
            ("loud", "item 1: unknown level 'loud'"),
            ("cluster=debg", "did you mean 'debug'?"),
            (
                "info,clutser=debug",
                "item 2: unknown target 'clutser' (did you mean 'cluster'?)",
            ),
            ("openraft=debug", "targets are access, address"),
            (
                "cluster=",
                "item 1: unknown level ''; levels are off, error",
            ),
            (
                "info,debug",
                "item 2: the level of all targets is given twice",
            ),
            (
                "guest=info,guest=info",
                "item 2: the level of guest is given twice",
            ),
            ("cluster=debug=x", "item 1: unknown level 'debug=x'"),
        ] {
            let error = LogLevels::parse(text).expect_err(text).to_string();
            assert!(error.contains(wanted), "{text}: {error}");
        }
        let long = format!("info{}", " ".repeat(LEVELS_BYTES_MAX));
        assert_eq!(LogLevels::parse(&long), Err(LogLevelsError::TooLong));
        let longest: Vec<String> = TARGETS.iter().map(|name| format!("{name}=error")).collect();
        assert!(LogLevels::parse(&format!("error,{}", longest.join(","))).is_ok());
    }

    #[test]
    fn target_has_its_level_or_the_default() {
        let levels = LogLevels::parse("warn,cluster=debug").expect("valid");
        for (target, level) in [
            ("cluster", LogLevel::Debug),
            ("cluster::raft::engine", LogLevel::Debug),
            ("volume::mirror", LogLevel::Warn),
            ("openraft::engine", LogLevel::Off),
            ("clusters", LogLevel::Off),
            ("", LogLevel::Off),
        ] {
            assert_eq!(levels.level_of(target), level, "{target}");
        }
        assert_eq!(levels.highest(), LogLevel::Debug);
        assert_eq!(LogLevels::default().level_of("boot"), LogLevel::Info);
    }

    #[test]
    fn temporary_levels_replace_those_that_they_name() {
        let parse = |text| LogLevels::parse(text).expect("valid");
        let kept = parse("warn,cluster=info");
        for (over, wanted) in [
            ("volume=debug", "warn,cluster=info,volume=debug"),
            ("cluster=trace", "warn,cluster=trace"),
            ("debug", "debug"),
            ("debug,guest=off", "debug,guest=off"),
        ] {
            assert_eq!(kept.overlaid(&parse(over)).to_string(), wanted, "{over}");
        }
    }

    #[test]
    fn levels_of_a_newer_program_are_read_as_far_as_known() {
        let levels = LogLevels::parse_known("debug,hologram=trace,cluster=verbose,volume=warn");
        assert_eq!(levels.to_string(), "debug,volume=warn");
        assert_eq!(
            LogLevels::parse_known(&"\u{e4}".repeat(9000)),
            LogLevels::default()
        );
    }
}
