//! Implements HAProxy's commands for developers: modes, threads, tasks, libraries, profiles and
//! traces. Evenkeel has no profiles and traces of this kind, and the commands report that.

use super::{CommandReply, Context, Session, Severity};
use keyword::load::one_variable;
use model::rules::{SampleValue, VariableName, process_variable};
use std::fmt::Write;

fn mode(name: &str, is: &mut bool, word: Option<&&str>) -> String {
    match word {
        Some(&"on") => *is = true,
        Some(&"off") => *is = false,
        Some(_) => return format!("'{name}' expects 'on' or 'off'.\n"),
        None => {
            let told = if *is { "ON" } else { "OFF" };
            return format!("{name} is {told}\n");
        }
    }
    String::new()
}

pub fn expert(_: &Context, session: &mut Session, words: &[&str]) -> String {
    mode("expert-mode", &mut session.expert, words.get(1))
}

pub fn experimental(_: &Context, session: &mut Session, words: &[&str]) -> String {
    mode("experimental-mode", &mut session.experimental, words.get(1))
}

/// `debug dev log [<word>]*`: writes a log message, to test whether logs arrive.
pub fn log(context: &Context, session: &mut Session, words: &[&str]) -> String {
    if !session.expert {
        return "This command is restricted to expert mode only.\n".into();
    }
    let text = words.get(3..).unwrap_or_default().join(" ");
    model::log::process_notice(&context.runtime.config(), model::log::Level::Info, &text);
    String::new()
}

pub fn threads(context: &Context, _: &mut Session, _: &[&str]) -> String {
    let mut out = String::new();
    for thread in 0..context.runtime.threads() {
        // Writing to a string cannot fail.
        let _ = writeln!(
            out,
            "  Thread {0} : id=proxy/{thread} act={1} tasks={2}",
            thread + 1,
            u8::from(!context.runtime.stopping()),
            reactor::load(thread),
        );
    }
    out
}

/// `show tasks`: the number of running tasks, without a profile of them.
pub fn tasks(context: &Context, _: &mut Session, _: &[&str]) -> String {
    let threads = context.runtime.threads();
    let tasks: usize = (0..threads).map(reactor::load).sum();
    format!(
        "Running tasks: {tasks} ({threads} threads)\n  \
         function                     places     %    lat_tot   lat_avg\n  \
         connections and listeners {tasks:9} 100.0          -         -\n"
    )
}

#[cfg(target_os = "linux")]
const LIBRARIES_MAX: usize = 1024;

/// `show libs`: address ranges and names of the loaded libraries.
#[cfg(target_os = "linux")]
pub fn libraries(_: &Context, _: &mut Session, _: &[&str]) -> String {
    use nix::libc::{PT_LOAD, c_int, c_void, dl_iterate_phdr, dl_phdr_info, size_t};
    use std::ffi::CStr;

    unsafe extern "C" fn one(info: *mut dl_phdr_info, _: size_t, found: *mut c_void) -> c_int {
        // SAFETY: the loader gives a valid object, whose headers and name live as long
        // as it is loaded; `found` is the list that `libraries` lends for the call.
        let (info, found) = unsafe { (&*info, &mut *found.cast::<Vec<(u64, u64, String)>>()) };
        if info.dlpi_phdr.is_null() || info.dlpi_name.is_null() || found.len() >= LIBRARIES_MAX {
            return 0;
        }
        // SAFETY: the loader gives a valid object, whose headers and name live as long as it is
        // loaded; neither pointer is null.
        let (headers, name) = unsafe {
            let count = usize::from(info.dlpi_phnum);
            let headers = std::slice::from_raw_parts(info.dlpi_phdr, count);
            (headers, CStr::from_ptr(info.dlpi_name))
        };
        let loaded = headers.iter().filter(|header| header.p_type == PT_LOAD);
        let ranges = loaded.map(|header| {
            let from = info.dlpi_addr.wrapping_add(header.p_vaddr);
            (from, from.wrapping_add(header.p_memsz))
        });
        let ends = ranges.reduce(|all, one| (all.0.min(one.0), all.1.max(one.1)));
        if let Some((from, to)) = ends {
            found.push((from, to, name.to_string_lossy().into_owned()));
        }
        0
    }

    let mut found: Vec<(u64, u64, String)> = Vec::new();
    // SAFETY: the function only reads what it is given, and the list outlives the call.
    unsafe { dl_iterate_phdr(Some(one), (&raw mut found).cast()) };
    let mut out = String::new();
    for (from, to, name) in found {
        let name = if name.is_empty() { "evenkeel" } else { &name };
        let last = to.saturating_sub(1);
        let _ = writeln!(out, "{from:#014x}-{last:#014x} ({:#09x}) {name}", to - from);
    }
    out
}

#[cfg(not(target_os = "linux"))]
pub fn libraries(_: &Context, _: &mut Session, _: &[&str]) -> String {
    "Not available on this system.\n".into()
}

pub fn profiling(_: &Context, _: &mut Session, _: &[&str]) -> String {
    "Per-task CPU profiling              : off           # not available\n\
     Memory usage profiling              : off           # not available\n"
        .into()
}

/// `set profiling <what> {auto|on|off}`: profiling can never be enabled.
pub fn set_profiling(_: &Context, _: &mut Session, words: &[&str]) -> String {
    let what = match words.get(2) {
        Some(&"tasks") => "Task",
        Some(&"memory") => "Memory",
        _ => return "Expects either 'tasks' or 'memory'.\n".into(),
    };
    match words.get(3) {
        Some(&"off" | &"auto") => String::new(),
        Some(&"on") => format!("{what} profiling is not available: use 'perf' on the process.\n"),
        _ => "Expects 'on', 'auto', or 'off'.\n".into(),
    }
}

const NO_SOURCES: &str = "No trace sources are available: use 'strace' or 'perf' on the process.\n";

/// Executes `show trace [<source>]` and `trace`.
pub fn trace(_: &Context, _: &mut Session, words: &[&str]) -> String {
    let source = match words {
        ["show", "trace", source, ..] | ["trace", source, ..] => *source,
        _ => return NO_SOURCES.into(),
    };
    match source {
        // `trace 0` stops all traces, of which there are none.
        "0" if words.first() == Some(&"trace") => String::new(),
        _ => format!("No such trace source '{source}'.\n"),
    }
}

pub fn get_variable(context: &Context, session: &mut Session, words: &[&str]) -> CommandReply {
    let Some(name) = words.get(2).filter(|name| !name.is_empty()) else {
        return CommandReply::error("Missing process-wide variable identifier.\n");
    };
    let value = VariableName::known(name)
        .filter(|found| found.scope() == model::rules::Scope::Process)
        .and_then(process_variable);
    let Some(value) = value else {
        return CommandReply::error("Variable not found.\n");
    };
    let printed = |bytes: &[u8]| bytes.escape_ascii().to_string();
    let (kind, text) = match &value {
        SampleValue::Bool(is) => ("bool", u8::from(*is).to_string()),
        SampleValue::Int(n) => ("sint", n.to_string()),
        SampleValue::Ipv4(ip) => ("ipv4", ip.to_string()),
        SampleValue::Ipv6(ip) => ("ipv6", ip.to_string()),
        SampleValue::Str(bytes) => ("str", printed(bytes)),
        SampleValue::Bin(bytes) => ("bin", printed(bytes)),
        SampleValue::Method(bytes) => ("meth", printed(bytes)),
    };
    let config = context.runtime.config();
    let is_secret = || config.rule_texts.uses().are_in_variable(name);
    CommandReply::message(
        Severity::Info,
        format!(
            "{name}: type={kind} value=<{}>",
            session.visible(name, &text, is_secret)
        ),
    )
}

/// `set var <name> [expr] <expression>`, `set var <name> fmt <format>`
pub fn set_variable(context: &Context, session: &Session, words: &[&str]) -> String {
    if !session.experimental {
        return "This command is restricted to experimental mode only.\n".into();
    }
    let Some(name) = words.get(2).filter(|name| !name.is_empty()) else {
        return "Missing process-wide variable identifier.\n".into();
    };
    let (keyword, from) = match words.get(3) {
        Some(&"fmt") => ("set-var-fmt", 4),
        Some(&"expr") => ("set-var", 4),
        _ => ("set-var", 3),
    };
    // Joins the remaining words, because an expression or a format is a single word in the
    // configuration.
    let rest = words.get(from..).unwrap_or_default().join(" ");
    if rest.is_empty() {
        return "An expression or a format is expected.\n".into();
    }
    let words = [Box::from(*name), rest.into()];
    match one_variable::set(&context.runtime.config(), keyword, &words) {
        Ok(()) => String::new(),
        Err(why) => format!("{why}\n"),
    }
}
