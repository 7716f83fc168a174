//! Starts Evenkeel as the entry point of its image, which takes the place of HAProxy's official one and
//! has no shell: words that begin with a hyphen are flags of haproxy, and other programs are executed.

use crate::{command, haproxy};
use part::voice::refuse;
use std::ffi::OsString;
use std::os::unix::process::CommandExt;
use std::process::{Command, ExitCode};

/// Name of the entry point in HAProxy's image, which users of the image also call.
pub const NAME: &str = "docker-entrypoint.sh";
/// Exit code of a shell if it cannot execute a program.
const NOT_EXECUTED: u8 = 126;
const NOT_FOUND: u8 = 127;

pub fn main(mut words: Vec<OsString>) -> ExitCode {
    let is_flag = |word: &OsString| word.as_encoded_bytes().starts_with(b"-");
    match words.first() {
        Some(first) if is_flag(first) => haproxy::main(in_foreground(words)),
        Some(first) if first == "haproxy" => {
            words.remove(0);
            haproxy::main(in_foreground(words))
        }
        Some(first) if first == "evenkeel" => {
            words.remove(0);
            command::main(words)
        }
        Some(program) => {
            let error = Command::new(program).args(&words[1..]).exec();
            let code = match error.kind() {
                std::io::ErrorKind::NotFound => NOT_FOUND,
                _ => NOT_EXECUTED,
            };
            refuse(format_args!("cannot run {}: {error}", program.display()));
            ExitCode::from(code)
        }
        None => command::main(words),
    }
}

/// Adds the flags with which the image runs haproxy: a master that stays in the foreground.
fn in_foreground(words: Vec<OsString>) -> impl Iterator<Item = OsString> {
    ["-W", "-db"].map(OsString::from).into_iter().chain(words)
}
