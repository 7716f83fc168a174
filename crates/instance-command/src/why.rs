//! Implements `evenkeel why`: finds a completed request by its number, unique id or log line, and
//! prints the proxy's explanation of the decisions about it.

use crate::operate;
use clap::{Arg, ArgMatches, Command};
use command::options::{option, process_id, serving_files};
use command::{instance, print, refuse};
use std::ffi::OsString;
use std::process::ExitCode;
use std::time::Duration;

const LIMIT: Duration = Duration::from_secs(10);
const NAME: &str = "why";
const HELP: [&str; 2] = ["--help", "-h"];
const LINE_MAX: usize = 8 * 1024;

pub fn definition(command: Command) -> Command {
    command
        .about("Show what was decided for a request that has ended, with times and reasons")
        .long_about(
            "Shows what a running `evenkeel run` or `haproxy -W` of the same user decided for a request or TCP session \
             that has ended: when it arrived, the rules that took effect with their lines, the backend and why, the \
             server and why, failed tries, and how it ended.\n\nThe request is named by its unique id (`unique-id-format`), \
             by the number of `show sess` and `evenkeel watch` (0x1f), or by a whole line of a log. A line without a \
             unique id needs the client with its port and the date, as in the formats `httplog`, `tcplog` and \
             `clf`.\n\nEach thread keeps its newest 256 requests: bursts of 128, then 10 per second, and \
             more of those that failed. With a line `request-history 1024` in `global` it keeps that many of \
             all requests. If the request is not among them, the command prints when the oldest one ended, \
             and exits with 1. Only requests of the current process are found, not those before a restart or \
             an upgrade. \
             Query strings are not kept.",
        )
        .after_help(
            "Examples:\n  evenkeel why 7F000001:8296_7F00001E:1F90_4F7B0A69_0003:790E\n  evenkeel why 0x1f\n  \
             evenkeel why \"$(tail -n 1 /var/log/haproxy.log)\"\n  evenkeel why --format json 0x1f | jq .rules",
        )
        .arg(serving_files().num_args(1))
        .arg(process_id())
        .arg(format())
        .arg(
            Arg::new("REQUEST")
                .help("The unique id, the number, or a line of a log")
                .required(true)
                .num_args(1..)
                .trailing_var_arg(true)
                .allow_hyphen_values(true),
        )
}

pub fn format() -> Arg {
    option("format", "FORMAT", "Form of the output")
        .value_parser(["text", "json"])
        .default_value("text")
}

pub fn is_json(matches: &ArgMatches) -> bool {
    matches
        .get_one::<String>("format")
        .is_some_and(|format| format == "json")
}

/// Builds the command of the runtime API. The search text is its payload, so no character of it has
/// a special meaning.
fn order(text: &str, is_json: bool) -> Option<String> {
    let kept = language::truncated(text, LINE_MAX);
    let line = kept.replace(|c: char| c.is_control(), " ");
    let line = line.trim();
    let json = if is_json { " json" } else { "" };
    (!line.is_empty()).then(|| format!("show request{json} <<\n{line}\n"))
}

/// Removes the options after the search text and returns them. A log line may contain words with
/// hyphens, so clap takes everything there as a part of the text.
fn options_behind<'w>(words: &mut Vec<&'w str>) -> Vec<&'w str> {
    let command = definition(Command::new(NAME));
    let valued = command.get_arguments();
    let valued = valued.filter(|one| one.get_action().takes_values());
    let names = valued.flat_map(|one| {
        let long = one.get_long().map(|name| format!("--{name}"));
        long.into_iter()
            .chain(one.get_short().map(|name| format!("-{name}")))
    });
    let names: Vec<String> = names.collect();
    let is_whole = |word: &str| {
        let name = word.split_once('=').map(|(name, _)| name);
        HELP.contains(&word) || names.iter().any(|one| Some(one.as_str()) == name)
    };
    let mut options = Vec::new();
    loop {
        let number = match words[..] {
            [_, .., last] if is_whole(last) => 1,
            [_, .., name, _] if names.iter().any(|one| one == name) => 2,
            _ => return options,
        };
        options.splice(0..0, words.drain(words.len() - number..));
    }
}

/// Returns the words that identify the request. If options follow them, returns the matches of the
/// options on both sides, too.
fn reread(matches: &ArgMatches) -> Result<(String, Option<ArgMatches>), clap::Error> {
    let words = matches.get_many::<String>("REQUEST");
    let mut words: Vec<&str> = words.into_iter().flatten().map(String::as_str).collect();
    let options = options_behind(&mut words);
    let asked = words.join(" ");
    if options.is_empty() {
        return Ok((asked, None));
    }
    let mut line = vec![NAME.to_owned()];
    let pid = matches.get_one::<u32>("pid");
    line.extend(pid.map(|pid| format!("--pid={pid}")));
    line.extend(is_json(matches).then(|| "--format=json".to_owned()));
    let mut line: Vec<OsString> = line.into_iter().map(OsString::from).collect();
    for file in command::files(matches) {
        line.extend(["--file".into(), file.into_os_string()]);
    }
    line.extend(options.into_iter().map(OsString::from));
    line.extend(["--".into(), OsString::from(&asked)]);
    let command = definition(Command::new(NAME).bin_name("evenkeel why"));
    // An option on both sides has the value of the later one.
    let command = command.args_override_self(true);
    command
        .try_get_matches_from(line)
        .map(|matches| (asked, Some(matches)))
}

pub fn main(matches: &ArgMatches) -> ExitCode {
    let (asked, reread) = match reread(matches) {
        Ok(read) => read,
        Err(error) => return command::print_clap_error(&error),
    };
    let matches = reread.as_ref().unwrap_or(matches);
    let Some(order) = order(&asked, is_json(matches)) else {
        return refuse("the id of a request is expected, or a line of a log");
    };
    let found =
        instance::selected(matches).and_then(|instance| operate::order(&instance, &order, LIMIT));
    match found {
        Ok(text) => print(&format!("{text}\n")),
        Err(error) => refuse(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_may_follow_the_request() {
        let behind = |line: &'static str| {
            let mut words: Vec<&str> = line.split(' ').collect();
            let options = options_behind(&mut words);
            (words.join(" "), options.join(" "))
        };
        for (line, words, options) in [
            ("0x1f --format json", "0x1f", "--format json"),
            ("0x1f --format=text", "0x1f", "--format=text"),
            (
                "0x1f --pid 7 -f a.cfg --format json",
                "0x1f",
                "--pid 7 -f a.cfg --format json",
            ),
            ("0x1f --help", "0x1f", "--help"),
            ("0x1f --pid", "0x1f --pid", ""),
            ("0x1f", "0x1f", ""),
            ("a - ---- 1/1", "a - ---- 1/1", ""),
            ("--format json", "--format json", ""),
        ] {
            assert_eq!(behind(line), (words.into(), options.into()), "{line}");
        }
    }

    #[test]
    fn options_before_and_after_the_request_apply() {
        let read = |line: &str| {
            let command = definition(Command::new(NAME));
            let matches = command.try_get_matches_from(line.split(' ')).unwrap();
            let (asked, again) = reread(&matches).map_err(|error| error.to_string())?;
            let matches = again.unwrap_or(matches);
            let files = command::files(&matches);
            Ok::<_, String>((asked, matches.get_one::<u32>("pid").copied(), files.len()))
        };
        assert_eq!(
            read("why -f a.cfg 0x1 --pid 4462"),
            Ok(("0x1".into(), Some(4462), 1))
        );
        assert_eq!(
            read("why --pid 3 0x1 x --pid=4"),
            Ok(("0x1 x".into(), Some(4), 0))
        );
        assert!(read("why 0x1 --pid many").unwrap_err().contains("many"));
        assert!(
            read("why 0x1 --format xml")
                .unwrap_err()
                .contains("possible values")
        );
        assert!(
            read("why 0x1 --help")
                .unwrap_err()
                .contains("Usage: evenkeel why")
        );
    }

    #[test]
    fn request_is_always_one_payload_line() {
        let order = |text: &str| order(text, false);
        let wanted = "show request <<\na; show env <<  disable server\n";
        assert_eq!(
            order("a; show env <<\n\ndisable server"),
            Some(wanted.to_owned())
        );
        assert_eq!(order(" \n\t"), None);
        assert!(order(&"\u{e4}".repeat(9000)).is_some_and(|order| order.len() < 9000));
        assert!(
            super::order("0x1", true)
                .is_some_and(|order| order.starts_with("show request json <<\n"))
        );
    }
}
