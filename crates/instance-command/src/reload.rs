//! Implements `evenkeel reload`: requests that a supervisor applies the current content of its
//! files, waits for the result, and prints the changes or the errors.

use clap::{ArgMatches, Command};
use command::instance::selected;
use command::json::{self, OutputFormat};
use command::options::{flag, process_id, serving_files};
use command::status::{self, Reloaded};
use command::{print, refuse};
use serde::Serialize;
use std::io::Write;
use std::process::ExitCode;
use supervisor::directory::Instance;

pub fn definition(command: Command) -> Command {
    command
        .about("Reload the files of a running `evenkeel run` or `haproxy -W`")
        .long_about(
            "Reloads the files of a running `evenkeel run` or `haproxy -W` of the same user, waits, and prints what \
             changed. Listeners that stay are never closed, and connections continue. Maps and ACLs keep the changes \
             of the runtime API; lists that differ from their files are reported. If a file has an error, prints it, \
             changes nothing and exits with 1. After an upgrade of the binary it also switches to the new program, \
             after testing it for some seconds.\n\nRunning instances are listed in /run/evenkeel (root), \
             $XDG_RUNTIME_DIR/evenkeel or /tmp/evenkeel-UID. EVENKEEL_RUNTIME_DIRECTORY sets another directory.",
        )
        .after_help("Examples:\n  evenkeel reload\n  evenkeel reload -f haproxy.cfg\n  evenkeel reload --pid 4711\n  evenkeel reload --reset-runtime\n  evenkeel reload --json | jq -r .messages[]")
        .arg(serving_files().num_args(1..))
        .arg(process_id())
        .arg(json::option())
        .arg(
            flag("reset-runtime", "Load maps and ACL files as they are, and drop all changes made at run time"),
        )
}

/// Requests the reload from the supervisor of these files, of this process ID, or from the only
/// one.
pub fn main(matches: &ArgMatches) -> ExitCode {
    match selected(matches).and_then(|instance| reload(&instance, matches)) {
        Ok(exit) => exit,
        Err(words) => refuse(words),
    }
}

fn reload(instance: &Instance, matches: &ArgMatches) -> Result<ExitCode, String> {
    let Reloaded { exit, text } = status::reload(instance, matches.get_flag("reset-runtime"))?;
    if exit == 0 && OutputFormat::of(matches) == OutputFormat::Json {
        let result = ReloadResult {
            process: instance.pid,
            messages: text.lines().collect(),
        };
        return Ok(print(&json::line(&result)?));
    }
    // An error means that standard error is closed.
    let _ = std::io::stderr().write_all(text.as_bytes());
    Ok(ExitCode::from(exit))
}

/// Result of a reload that was applied, for `--json`.
#[derive(Serialize)]
struct ReloadResult<'t> {
    /// Process id of the supervisor.
    process: u32,
    /// Changes and warnings.
    messages: Vec<&'t str>,
}
