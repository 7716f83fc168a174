//! `evenkeel why`: what was decided for a request that has ended, and why.

use super::definition::{option, process_id, serving_files};
use super::{operate, print, refuse, reload};
use clap::{Arg, ArgMatches, Command};
use std::process::ExitCode;
use std::time::Duration;

/// How long the proxy may take to look through what it keeps.
const LIMIT: Duration = Duration::from_secs(10);
/// Bytes of a line that are sent.
const LINE_MAX: usize = 8 * 1024;

/// The options.
pub fn definition(command: Command) -> Command {
    command
        .about("Show what was decided for a request that has ended, with times and reasons")
        .long_about(
            "Shows what a running `evenkeel run` or `haproxy -W` of the same user decided for a request or TCP session \
             that has ended: when it arrived, the rules that took effect with their lines, the backend and why, the \
             server and why, failed tries, and how it ended.\n\nThe request is named by its unique id (`unique-id-format`), \
             by the number of `show sess` and `evenkeel watch` (0x1f), or by a whole line of a log. A line without a \
             unique id needs the client with its port and the date, as in the formats `httplog`, `tcplog` and \
             `clf`.\n\nWith a line `request-history 1024` in `global`, each thread keeps so many of its newest requests; without one, none. \
             If the request is not among them, the command says how far back they go, and exits with 1. Only \
             requests of the process that serves now are found: after a restart or an upgrade, not those before it. \
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

/// The option that chooses the form of the output.
pub fn format() -> Arg {
    option("format", "FORMAT", "Form of the output")
        .value_parser(["text", "json"])
        .default_value("text")
}

/// Whether the output is for programs.
pub fn is_json(matches: &ArgMatches) -> bool {
    matches
        .get_one::<String>("format")
        .is_some_and(|format| format == "json")
}

/// The command for the runtime API: what is asked for is its payload, so no character of it
/// means anything else.
fn order(text: &str, is_json: bool) -> Option<String> {
    let end = (0..=LINE_MAX.min(text.len())).rev();
    let end = { end }.find(|at| text.is_char_boundary(*at));
    let kept = text.get(..end.unwrap_or_default()).unwrap_or_default();
    let line = kept.replace(|c: char| c.is_control(), " ");
    let line = line.trim();
    let json = if is_json { " json" } else { "" };
    (!line.is_empty()).then(|| format!("show request{json} <<\n{line}\n"))
}

/// Takes `--format` from behind what is asked for: a line of a log may have words with hyphens, so all
/// that stands there belongs to it otherwise.
fn format_behind<'w>(words: &mut Vec<&'w str>) -> Option<&'w str> {
    if let [_, .., "--format", format] = words[..] {
        words.truncate(words.len() - 2);
        return Some(format);
    }
    let format = words.last()?.strip_prefix("--format=")?;
    words.pop();
    Some(format)
}

/// Runs `evenkeel why`.
pub fn main(matches: &ArgMatches) -> ExitCode {
    let words = matches.get_many::<String>("REQUEST");
    let mut words: Vec<&str> = words.into_iter().flatten().map(String::as_str).collect();
    let is_json = match format_behind(&mut words) {
        Some("json") => true,
        Some("text") => false,
        Some(word) => return refuse(format!("--format is `text` or `json`, not `{word}`")),
        None => is_json(matches),
    };
    let Some(order) = order(&words.join(" "), is_json) else {
        return refuse("the id of a request is expected, or a line of a log");
    };
    let found =
        reload::selected(matches).and_then(|instance| operate::order(&instance, &order, LIMIT));
    match found {
        Ok(text) => print(&format!("{text}\n")),
        Err(error) => refuse(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_format_may_stand_behind_the_request() {
        let behind = |line: &'static str| {
            let mut words: Vec<&str> = line.split(' ').collect();
            let format = format_behind(&mut words);
            (format, words.join(" "))
        };
        assert_eq!(behind("0x1f --format json"), (Some("json"), "0x1f".into()));
        assert_eq!(behind("0x1f --format=text"), (Some("text"), "0x1f".into()));
        assert_eq!(behind("0x1f"), (None, "0x1f".into()));
        assert_eq!(behind("a - ---- 1/1"), (None, "a - ---- 1/1".into()));
        assert_eq!(behind("--format json"), (None, "--format json".into()));
    }

    #[test]
    fn what_is_asked_for_is_one_line_of_payload_whatever_it_contains() {
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
