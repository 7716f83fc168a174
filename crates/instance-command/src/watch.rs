//! Implements `evenkeel watch`: polls the proxy's request history and prints requests when they
//! end, one per line.

use crate::{operate, why};
use clap::{ArgMatches, Command};
use command::options::{flag, option, process_id, serving_files};
use command::{instance, refuse};
use serde_json::Value;
use std::io::{self, Write};
use std::process::ExitCode;
use std::thread;
use std::time::Duration;
use supervisor::directory::Instance;

const INTERVAL: Duration = Duration::from_millis(250);
const LIMIT: Duration = Duration::from_secs(10);
/// Number of consecutive failed polls after which the command ends: a restart of the proxy takes
/// less.
const FAILURES_MAX: u32 = 20;
const LOOK_MAX: &str = "10000";
const ONCE_MAX: &str = "100";
const FILTERS: [(&str, &str, &str); 7] = [
    (
        "host",
        "HOST",
        "Only requests for this host, with or without its port",
    ),
    (
        "path",
        "PREFIX",
        "Only requests whose path begins with this",
    ),
    (
        "status",
        "STATUS",
        "Only responses with this status: 404, or 4xx",
    ),
    (
        "client",
        "ADDRESS",
        "Only this client: an address, with or without its port",
    ),
    (
        "server",
        "BACKEND[/SERVER]",
        "Only requests to this backend or server",
    ),
    ("frontend", "NAME", "Only requests to this frontend"),
    (
        "outcome",
        "OUTCOME",
        "Only failed requests (failed: status 5xx, or ended early), or only the others (ok)",
    ),
];

pub fn definition(command: Command) -> Command {
    let command = command
        .about("Show requests as they end, line by line, filtered")
        .long_about(
            "Prints each request and TCP session of a running `evenkeel run` or `haproxy -W` of the same user when it \
             ends, until it is interrupted: its number, the date, the client, the frontend, the backend and server, \
             the timers, the status, the bytes to the client and the termination state as in `option httplog`, then \
             the method, the host, the path without its query, and the unique id. `evenkeel why NUMBER` shows why a \
             request ended so.\n\nIt needs no log and no `stats socket`. If more requests end between two \
             polls than the proxy keeps (`request-history`), the number of missing ones is printed to \
             standard error.",
        )
        .after_help(
            "Examples:\n  evenkeel watch\n  evenkeel watch --status 5xx --server app/one\n  \
             evenkeel watch --host shop.example.org --path /cart --format json\n  evenkeel watch --once --status 4xx",
        )
        .arg(serving_files().num_args(1))
        .arg(process_id());
    let filters = FILTERS.map(|(name, value, help)| option(name, value, help));
    command
        .args(filters)
        .arg(flag(
            "once",
            "Print the newest 100 that are kept, oldest first, and exit",
        ))
        .arg(why::format())
}

fn filters(matches: &ArgMatches) -> String {
    let given = FILTERS.iter().filter_map(|(name, ..)| {
        let value = matches.get_one::<String>(name)?;
        Some(format!(" {name} {}", operate::word(value)))
    });
    given.collect()
}

#[derive(Debug, PartialEq, Eq)]
struct RequestLogBatch {
    since: String,
    /// Requests that ended since the previous poll, and that the history no longer contained.
    missed: u64,
    lines: Vec<String>,
}

fn read(reply: &str, is_json: bool) -> Option<RequestLogBatch> {
    if is_json {
        let all: Value = serde_json::from_str(reply).ok()?;
        let requests = all.get("requests")?.as_array()?;
        return Some(RequestLogBatch {
            since: all.get("since")?.as_str()?.to_owned(),
            missed: all.get("missed")?.as_u64()?,
            lines: requests.iter().rev().map(Value::to_string).collect(),
        });
    }
    let (head, rest) = reply.split_once('\n').unwrap_or((reply, ""));
    let words: Vec<&str> = head.split(' ').collect();
    let ["#", "since", since, "missed", missed] = words[..] else {
        return None;
    };
    Some(RequestLogBatch {
        since: since.to_owned(),
        missed: missed.parse().ok()?,
        lines: rest.lines().rev().map(str::to_owned).collect(),
    })
}

pub fn main(matches: &ArgMatches) -> ExitCode {
    let (filters, is_json) = (filters(matches), why::is_json(matches));
    let json = if is_json { " json" } else { "" };
    let look = |instance: &Instance, more: &str| {
        let command = format!("show requests{filters}{json}{more}");
        let reply = operate::order(instance, &command, LIMIT)?;
        let unknown = || "this version does not understand the reply of the proxy".to_owned();
        read(&reply, is_json).ok_or_else(unknown)
    };
    let once = matches.get_flag("once");
    let first = instance::selected(matches).and_then(|instance| {
        let max = if once { ONCE_MAX } else { "1" };
        look(&instance, &format!(" max {max}"))
    });
    let first = match first {
        Ok(first) => first,
        Err(error) => return refuse(error),
    };
    if once {
        return printed(show(&first)).unwrap_or(ExitCode::SUCCESS);
    }
    let (mut since, mut failures) = (first.since, 0);
    loop {
        thread::sleep(INTERVAL);
        let found = instance::selected(matches)
            .and_then(|instance| look(&instance, &format!(" since {since} max {LOOK_MAX}")));
        match found {
            Ok(found) => {
                failures = 0;
                if let Some(exit) = printed(show(&found)) {
                    return exit;
                }
                since = found.since;
            }
            Err(_) if failures < FAILURES_MAX => failures += 1,
            Err(error) => return refuse(error),
        }
    }
}

/// Returns the exit code to end with after failed output, or None after successful output. A closed
/// pipe ends the command with success.
fn printed(shown: io::Result<()>) -> Option<ExitCode> {
    let error = shown.err()?;
    Some(match error.kind() {
        io::ErrorKind::BrokenPipe => ExitCode::SUCCESS,
        _ => refuse(format!("cannot write to standard output: {error}")),
    })
}

fn show(look: &RequestLogBatch) -> io::Result<()> {
    if look.missed > 0 {
        let missed = look.missed;
        // A closed output is no error here.
        let _ = writeln!(
            io::stderr(),
            "{missed} requests are missing: see `request-history`"
        );
    }
    let mut stdout = io::stdout().lock();
    for line in &look.lines {
        writeln!(stdout, "{line}")?;
    }
    stdout.flush()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn replies_are_read_oldest_first_in_both_forms() {
        let wanted = |lines: [&str; 2]| {
            Some(RequestLogBatch {
                since: "3.0.9".to_owned(),
                missed: 2,
                lines: lines.map(str::to_owned).to_vec(),
            })
        };
        assert_eq!(
            read("# since 3.0.9 missed 2\nnew\nold", false),
            wanted(["old", "new"])
        );
        let json = r#"{"since":"3.0.9","missed":2,"oldest":null,"requests":[{"id":2},{"id":1}]}"#;
        assert_eq!(read(json, true), wanted([r#"{"id":1}"#, r#"{"id":2}"#]));
        for wrong in ["", "x", "# since", "{}", "# since 1 missed x"] {
            assert_eq!(read(wrong, false), None, "{wrong}");
            assert_eq!(read(wrong, true), None, "{wrong}");
        }
    }

    #[test]
    fn failed_output_is_an_error_except_for_a_closed_pipe() {
        let end = |kind: io::ErrorKind| printed(Err(kind.into()));
        assert_eq!(end(io::ErrorKind::StorageFull), Some(ExitCode::FAILURE));
        assert_eq!(end(io::ErrorKind::BrokenPipe), Some(ExitCode::SUCCESS));
        assert_eq!(printed(Ok(())), None);
    }

    #[test]
    fn filters_are_words_that_hold_nothing_else() {
        let command = definition(Command::new("watch"));
        let matches = command.get_matches_from(["watch", "--path", "/a;b c", "--status", "5xx"]);
        assert_eq!(filters(&matches), r" path /a\;b\ c status 5xx");
    }
}
