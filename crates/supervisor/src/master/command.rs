//! Parses the commands of the master socket, and renders the help and the errors about them. The
//! module executes nothing.

use super::processes::View;
use language::suggest;
use part::role::Level;

#[derive(Clone, PartialEq, Eq, Debug)]
pub enum MasterCommand {
    Text(String),
    Reload,
    Sockets,
    Level,
}

/// Commands that the session handles itself, whichever process is selected.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum SessionCommand {
    Quit,
    Prompt,
    Lower(Level),
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum CommandTarget {
    Master,
    Worker(i32),
}

/// A command without its prefix.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Prefixed<'c> {
    pub word: &'c str,
    /// The selected process; None if there is no such process.
    pub target: Option<CommandTarget>,
    pub rest: &'c str,
}

const LOWER: [(&str, Level); 2] = [("operator", Level::Operator), ("user", Level::User)];

struct Row {
    syntax: &'static str,
    doc: &'static str,
}

const fn row(syntax: &'static str, doc: &'static str) -> Row {
    Row { syntax, doc }
}

#[rustfmt::skip]
const ROWS: [Row; 10] = [
    row("@!<pid>", "send a command to the <pid> process"),
    row("@<relative pid>", "send a command to the <relative pid> process"),
    row("@master", "send a command to the master process"),
    row("operator", "lower the level of the current CLI session to operator"),
    row("reload", "reload haproxy"),
    row("show cli level", "display the level of the current CLI session"),
    row("show cli sockets", "dump list of cli sockets"),
    row("show proc", "show processes status"),
    row("show version", "show version of the current process"),
    row("user", "lower the level of the current CLI session to user"),
];
/// Commands that the help shows at the end of every list.
#[rustfmt::skip]
const ALWAYS: [Row; 3] = [
    row("help [<command>]", "list matching or all commands"),
    row("prompt", "toggle interactive mode with prompt"),
    row("quit", "disconnect"),
];

/// Splits a line into commands at every `;` without a backslash before it. The commands are not
/// changed otherwise.
pub fn split(line: &str) -> Vec<&str> {
    let (mut commands, mut begin, mut escaped) = (Vec::new(), 0, false);
    for (at, byte) in line.bytes().enumerate() {
        if byte == b';' && !escaped {
            commands.push(&line[begin..at]);
            begin = at + 1;
        }
        escaped = byte == b'\\' && !escaped;
    }
    commands.push(&line[begin..]);
    commands
}

/// Parses the prefix `@…` of a command, if there is one.
pub fn prefixed<'c>(command: &'c str, view: &View) -> Option<Prefixed<'c>> {
    let command = command.trim_start();
    let name = command.strip_prefix('@')?;
    let end = name.find(char::is_whitespace).unwrap_or(name.len());
    let (name, rest) = name.split_at(end);
    let target = match name {
        "" | "0" | "master" => Some(CommandTarget::Master),
        // `@1` is the current worker; previous ones are selected by their process id.
        "1" => view.current().map(CommandTarget::Worker),
        other => other
            .strip_prefix('!')
            .and_then(|pid| pid.parse().ok())
            .filter(|pid| view.knows(*pid))
            .map(CommandTarget::Worker),
    };
    Some(Prefixed {
        word: &command[..end + 1],
        target,
        rest: rest.trim(),
    })
}

pub fn own(command: &str) -> Option<SessionCommand> {
    match command.split_whitespace().next()? {
        "quit" => Some(SessionCommand::Quit),
        "prompt" => Some(SessionCommand::Prompt),
        word => LOWER
            .iter()
            .find(|(name, _)| *name == word)
            .map(|(_, level)| SessionCommand::Lower(*level)),
    }
}

/// Parses a command of the master socket. Words after it are ignored.
pub fn asked(command: &str, view: &View) -> MasterCommand {
    let words: Vec<&str> = command.split_whitespace().take(WORDS_MAX).collect();
    match words[..] {
        ["reload", ..] => MasterCommand::Reload,
        ["show", "proc", ..] => MasterCommand::Text(view.table() + "\n"),
        ["show", "version", ..] => MasterCommand::Text(format!("{}\n\n", view.version)),
        ["show", "cli", "level", ..] => MasterCommand::Level,
        ["show", "cli", "sockets", ..] => MasterCommand::Sockets,
        ["help", ref rest @ ..] => MasterCommand::Text(help(rest)),
        ref words => MasterCommand::Text(unknown(words)),
    }
}

const WORDS_MAX: usize = 8;

pub fn no_such_process(word: &str) -> String {
    format!("Can't find the target PID matching the prefix '{word}'\n")
}

pub fn level(level: Level) -> &'static str {
    match level {
        Level::User => "user",
        Level::Operator => "operator",
        Level::Admin => "admin",
    }
}

fn listed(heading: &str, rows: &[&Row]) -> String {
    let mut text = format!("{heading}\n");
    for row in rows.iter().copied().chain(&ALWAYS) {
        text += &format!("  {:<40}: {}\n", row.syntax, row.doc);
    }
    text + "\n"
}

fn help(words: &[&str]) -> String {
    let near = near(words);
    let rows = if near.is_empty() {
        ROWS.iter().collect()
    } else {
        near
    };
    listed("The following commands are valid at this level:", &rows)
}

fn unknown(words: &[&str]) -> String {
    match near(words)[..] {
        [] => listed(
            "Unknown command. Please enter one of the following commands only:",
            &ROWS.iter().collect::<Vec<_>>(),
        ),
        ref rows => listed(
            "Unknown command, but maybe one of the following ones is a better match:",
            rows,
        ),
    }
}

fn near(words: &[&str]) -> Vec<&'static Row> {
    let fits = |row: &&Row| {
        let mut known = row.syntax.split(' ');
        let same = |word: &&str| {
            known.next().is_some_and(|known| {
                known.starts_with(*word) || suggest::nearest(word, [known]).is_some()
            })
        };
        !words.is_empty() && words.iter().all(same)
    };
    ROWS.iter().filter(fits).collect()
}

#[cfg(test)]
mod tests {
    use super::super::processes::view;
    use super::*;
    use std::time::Instant;

    fn said(command: &str) -> String {
        match asked(command, &view(Instant::now())) {
            MasterCommand::Text(text) => text,
            other => format!("{other:?}"),
        }
    }

    #[test]
    fn help_is_byte_for_byte_that_of_haproxy() {
        let text = said("help");
        assert!(text.starts_with("The following commands are valid at this level:\n"));
        assert_eq!(text.lines().count(), 15);
        let line =
            "  show cli sockets                        : dump list of cli sockets\n  show proc ";
        assert!(text.contains(line), "{text}");
        assert!(text.ends_with("  quit                                    : disconnect\n\n"));
        let text = said("help show pro");
        assert_eq!(text.lines().count(), 6, "{text}");
        assert!(text.contains("  show proc  "));
    }

    #[test]
    fn unknown_command_gets_a_suggestion() {
        for (line, rows, heading) in [
            ("", 10, "Unknown command. Please enter"),
            ("show", 4, "Unknown command, but maybe"),
            ("sho proc", 1, "Unknown command, but maybe"),
            ("reloaad", 1, "Unknown command, but maybe"),
            ("qwertz", 10, "Unknown command. Please enter"),
        ] {
            let text = said(line);
            assert!(text.starts_with(heading), "{line}: {text}");
            assert_eq!(text.lines().count(), 1 + rows + 3 + 1, "{line}: {text}");
        }
    }

    #[test]
    fn trailing_words_are_ignored() {
        assert_eq!(said(" show\tversion extra"), "2.6.12-1+deb12u4\n\n");
        assert_eq!(
            asked("reload now", &view(Instant::now())),
            MasterCommand::Reload
        );
        assert!(said("show proc debug").ends_with("# programs\n\n"));
    }

    #[test]
    fn line_is_split_except_after_a_backslash() {
        assert_eq!(split("a;b"), ["a", "b"]);
        assert_eq!(split(r"a\;b"), [r"a\;b"]);
        assert_eq!(split(r"a\\;b"), [r"a\\", "b"]);
        assert_eq!(split(";"), ["", ""]);
    }

    #[test]
    fn prefix_selects_the_process_of_a_command() {
        let view = view(Instant::now());
        let target = |text| prefixed(text, &view).map(|found| (found.target, found.rest));
        assert_eq!(target("show proc"), None);
        let worker = Some(CommandTarget::Worker(12838));
        for (text, wanted) in [
            ("@1 show info", (worker, "show info")),
            (" @!12838  show info ", (worker, "show info")),
            ("@1", (worker, "")),
            ("@", (Some(CommandTarget::Master), "")),
            ("@0 x", (Some(CommandTarget::Master), "x")),
            ("@master x", (Some(CommandTarget::Master), "x")),
            ("@2 x", (None, "x")),
            ("@!12573", (None, "")),
            ("@Master", (None, "")),
            ("@-1", (None, "")),
            ("@1show", (None, "")),
        ] {
            assert_eq!(target(text), Some(wanted), "{text}");
        }
        assert_eq!(prefixed("@é x", &view).unwrap().word, "@é");
    }
}
