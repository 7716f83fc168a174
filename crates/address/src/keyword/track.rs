//! Parses `track` lines: interfaces, programs, pings and backends without which a machine does not
//! own the addresses.

use super::draft::AddressConfigDraft;
use super::node::checked_name;
use super::timing::time_within;
use super::virtual_ip::interface_name;
use super::{Row, codes};
use crate::config::Script;
use configuration::outside::SystemQuery;
use language::arguments::{Args, Built};
use language::{ConfigWord, Diagnostic, Spanned};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::Duration;

const TRACKED_MAX: usize = 32;

/// Range of the interval between two runs of a program.
const EVERY: std::ops::RangeInclusive<Duration> =
    Duration::from_millis(100)..=Duration::from_secs(3_600);

/// First words of the ping command, before the address and the milliseconds to wait: our own
/// binary, which sends one request and exits with 0 after a reply.
pub const PING: [&str; 3] = ["/proc/self/exe", "internal", "ping"];

/// Extra time that a ping has to end by itself.
const PING_GRACE: Duration = Duration::from_secs(1);

fn too_many(word: &ConfigWord) -> Diagnostic {
    let told = format!("a 'virtual-ip' tracks at most {TRACKED_MAX} of each kind");
    Diagnostic::error(&codes::TOO_MANY, word.span, told)
}

/// Message about a program of an accepted configuration version that cannot be run.
pub(super) const NOT_RUN: &str = "the program is not run, and nothing waits for it";

/// Returns the words of a program's line, after a check that this machine can run it.
pub(super) fn program(
    draft: &mut AddressConfigDraft,
    args: &Args<'_>,
    word: &ConfigWord,
) -> Result<Vec<String>, Diagnostic> {
    let words: Vec<String> = word.text().split_whitespace().map(str::to_owned).collect();
    let Some(path) = words.first() else {
        return Err(args.unexpected_value(word, "not a program"));
    };
    let refused = |why: &str, help: &str| {
        let told = format!("'{}': {path} {why}", args.keyword);
        Diagnostic::error(&codes::PROGRAM, word.span, told).help(help)
    };
    if !path.starts_with('/') {
        return Err(refused(
            "is not an absolute path",
            "write the absolute path, with its arguments, in one pair of quotes",
        ));
    }
    // Accepts any program: a file for another machine names programs of that machine.
    if draft.host.name.is_none() {
        return Ok(words);
    }
    let wrong = match std::fs::metadata(Path::new(path)) {
        Err(error) => refused(
            &format!("cannot be run: {error}"),
            "name a program that exists on every node, or create it",
        ),
        Ok(file) if !file.is_file() => refused("is not a file", "name a program"),
        Ok(file) if file.permissions().mode() & 0o111 == 0 => {
            refused("is not executable", &format!("run `chmod +x {path}`"))
        }
        Ok(_) => return Ok(words),
    };
    let wrong = wrong.with_earlier_behaviour(NOT_RUN);
    if !draft.host.is_accepted {
        return Err(wrong);
    }
    draft.leave_out(&words, SystemQuery::File(path.into()));
    draft.add_diagnostic(wrong);
    Ok(words)
}

fn schedule(args: &mut Args<'_>, script: &mut Script) -> Built {
    while let Some(word) = args.peek() {
        if args.take_if("every") {
            script.interval = time_within(args, EVERY)?.0;
        } else if args.take_if("timeout") {
            script.timeout = Some(time_within(args, EVERY)?.0);
        } else if args.take_if("rise") {
            script.rise = args.count("a number", 1..=1_000)?;
        } else if args.take_if("fall") {
            script.fall = args.count("a number", 1..=1_000)?;
        } else {
            let near =
                language::suggest::nearest(&word.text(), ["every", "timeout", "rise", "fall"]);
            let told = args.unexpected_value(word, "expected `every`, `timeout`, `rise` or `fall`");
            return Err(told.did_you_mean(word.span, near));
        }
    }
    Ok(())
}

fn add(draft: &mut AddressConfigDraft, word: &ConfigWord, mut script: Script) -> Built {
    let virtual_ip = draft.virtual_ip();
    if virtual_ip.programs.scripts.len() >= TRACKED_MAX {
        return Err(too_many(word));
    }
    // Includes the name of the section, because the script's name is part of log lines and must be
    // unique in the file.
    script.name = format!("{}: {}", virtual_ip.name, script.name);
    let alike = |other: &&Script| {
        other.name == script.name || other.name.starts_with(&format!("{} #", script.name))
    };
    let before = virtual_ip.programs.scripts.iter().filter(alike).count();
    if before > 0 {
        script.name = format!("{} #{}", script.name, before + 1);
    }
    virtual_ip.programs.scripts.push(script);
    Ok(())
}

fn script(draft: &mut AddressConfigDraft, args: &mut Args<'_>) -> Built {
    let word = args.required("a program")?;
    let words = program(draft, args, word)?;
    let mut script = Script {
        // Omits the program's arguments, which may be secret, because logs, reports and metrics
        // show the name.
        name: words.first().cloned().unwrap_or_default(),
        words: words.clone(),
        interval: Duration::from_secs(2),
        rise: 1,
        fall: 1,
        ..Script::default()
    };
    schedule(args, &mut script)?;
    draft
        .virtual_ip()
        .programs
        .commands
        .push(Spanned::new(words, word.span));
    add(draft, word, script)
}

fn ping(draft: &mut AddressConfigDraft, args: &mut Args<'_>) -> Built {
    let Some(word) = args.peek() else {
        return args.required("an address").map(|_| ());
    };
    let (address, _) = args.address()?;
    let mut script = Script {
        name: format!("ping {address}"),
        interval: Duration::from_secs(1),
        rise: 2,
        fall: 3,
        ..Script::default()
    };
    schedule(args, &mut script)?;
    let wait = script.timeout.unwrap_or(script.interval);
    script.words = PING
        .map(str::to_owned)
        .into_iter()
        .chain([address.to_string(), wait.as_millis().to_string()])
        .collect();
    // Sets a timeout a moment after the end of the ping, which ends by itself.
    script.timeout = Some(wait + PING_GRACE);
    add(draft, word, script)
}

fn interface(draft: &mut AddressConfigDraft, args: &mut Args<'_>) -> Built {
    let Some(word) = args.peek() else {
        return interface_name(args).map(|_| ());
    };
    let name = interface_name(args)?;
    args.end()?;
    let tracked = &mut draft.virtual_ip().tracked_interfaces;
    if tracked.len() >= TRACKED_MAX {
        return Err(too_many(word));
    }
    if tracked.iter().all(|other| other.value != name.value) {
        tracked.push(name);
    }
    Ok(())
}

fn backend(draft: &mut AddressConfigDraft, args: &mut Args<'_>) -> Built {
    let word = args.required("the name of a backend")?;
    let value = checked_name("backend", word)?.to_owned();
    args.end()?;
    let span = word.span;
    let backends = &mut draft.virtual_ip().backends;
    if backends.len() >= TRACKED_MAX {
        return Err(too_many(word));
    }
    if backends.iter().all(|other| other.value != value) {
        backends.push(Spanned { value, span });
    }
    Ok(())
}

pub(super) static LINES: &[Row] = language::rows! {
    "track interface <interface>" &["virtual-ip"], interface, "track interface eth1",
        "Releases the addresses while this interface is down, and does not take them: a router without its uplink is \
         useless. The interface of the addresses themselves is always tracked.";
    "track script <program> [every <time>] [timeout <time>] [rise <n>] [fall <n>]" &["virtual-ip"],
        script,
        "track script \"/bin/true --quick\" every 5s fall 2",
        "Releases the addresses while this program fails: it exits with another code than 0, or does not end in time. \
         It runs every 2s, without a shell; quote the program with its arguments. `fall` and `rise` set how many \
         consecutive results change the state, by default one.";
    "track ping <address> [every <time>] [timeout <time>] [rise <n>] [fall <n>]" &["virtual-ip"],
        ping,
        "track ping 10.0.0.254 every 500ms",
        "Releases the addresses while this address, for example a gateway, does not reply: by default after three \
         unanswered pings in a row, one per second. If no machine of the file reaches it, none has the addresses, so \
         choose a reliable target.";
    "track backend <backend>" &["virtual-ip"], backend, "track backend app",
        "A machine whose proxy has no usable server in this backend yields to one that has. By default, the backends \
         of the frontends that are bound to the addresses count.";
};
