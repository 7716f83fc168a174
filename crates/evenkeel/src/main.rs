//! Evenkeel: two ordinary servers and a small tie-breaker as one highly
//! available platform. This is the binary: it looks under which name it was
//! started and hands over to that personality.

mod address_role;
mod check_runner;
mod command;
mod confinement;
mod control_role;
mod demo;
mod haproxy;
mod identity;
mod keepalived;
mod loader;
mod parts;
mod personality;
mod ping;
mod process;
mod role;
mod roles;
mod supervisor;
mod voice;

use roles::spawn;
use std::ffi::OsString;
use std::path::Path;
use std::process::ExitCode;

fn main() -> ExitCode {
    let mut words = std::env::args_os();
    let program = words.next().unwrap_or_else(|| "evenkeel".into());
    let mut words: Vec<OsString> = words.collect();
    let name = Path::new(&program)
        .file_name()
        .unwrap_or_default()
        .to_string_lossy()
        .into_owned();
    match name.as_str() {
        "haproxy" => haproxy::main(words),
        "keepalived" => keepalived::main(words),
        // `evenkeel haproxy -f …`: the personality without a link.
        _ => match words.first().and_then(|word| word.to_str()) {
            Some("haproxy") => haproxy::main(words.drain(1..)),
            Some("keepalived") => keepalived::main(words.drain(1..)),
            Some(spawn::INTERNAL) => internal(&words[1..]),
            _ => command::main(words),
        },
    }
}

/// A process that a supervisor started.
fn internal(words: &[OsString]) -> ExitCode {
    if words == [spawn::SELF_TEST] {
        print!("{}", supervisor::self_test_words());
        return ExitCode::SUCCESS;
    }
    if let Some((first, rest)) = words.split_first()
        && first == ping::WORD
    {
        return ping::main(rest);
    }
    match spawn::enter(words) {
        Ok(entered) if entered.word == spawn::LOADER => {
            loader::main(entered.channel, personality::wishes)
        }
        Ok(entered) if entered.word == spawn::ADDRESS_ROLE => address_role::main(entered.channel),
        Ok(entered) if entered.word == spawn::CHECKS => check_runner::main(entered.channel),
        Ok(entered) if entered.word == spawn::CONTROL_ROLE => control_role::main(entered.channel),
        Ok(entered) => role::main(entered.channel),
        Err(error) => {
            voice::Voice::new(voice::Form::Own, false).alert(error);
            ExitCode::FAILURE
        }
    }
}
