//! Prints messages to the caller of the process: in HAProxy's or keepalived's format under those
//! names, otherwise in Evenkeel's own. They go to standard error, to keepalived's log, or are
//! collected; a quiet process prints none. This module does not decide what is reported.

pub mod keepalived;
mod limit;

pub use limit::{LogLimiter, left_out};

/// The message format of a process.
pub use crate::role::Personality as Form;

use crate::identity;
use crate::lock;
use crate::trace;
use keepalived::{Level, Log, LogWish, Speaker};
use language::render::{self, HaproxyForm, RenderOptions};
use language::{Diagnostics, SourceMap};
use std::collections::BTreeSet;
use std::io::{IsTerminal, Write};
use std::os::fd::BorrowedFd;
use std::process::ExitCode;
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Instant;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Gravity {
    /// An error, `[ALERT]` in the form of HAProxy. The caller decides whether the process ends.
    Alert,
    /// A warning: the process continues, but not as configured.
    Warning,
    Notice,
}

#[derive(Clone, Debug)]
pub struct MessagePrinter {
    form: Form,
    pub quiet: bool,
    /// Path of the executable, for HAProxy's format.
    pub executable: String,
    pub pid: u32,
    introduced: bool,
    /// The collected messages, if they do not go to standard error.
    collected: Option<Collected>,
    log: Option<Arc<Mutex<Log>>>,
    /// Short forms of the printed diagnostics, if they are recorded.
    recorded: Option<BTreeSet<String>>,
}

/// Collected messages, for a later reader. In this program's form the errors come first, because
/// readers show or keep only the beginning.
#[derive(Clone, Debug)]
pub struct Collected {
    /// Plain text, for a log.
    pub plain: String,
    pub shown: String,
    /// Ends of the errors in `plain` and in `shown`.
    errors_end: (usize, usize),
    look: RenderOptions,
    /// True if the requester is a program: `shown` then has one JSON object per line.
    as_json: bool,
}

/// Maximum size of collected messages, in bytes; later messages are dropped.
const COLLECTED_MAX: usize = 1 << 20;

impl MessagePrinter {
    pub fn new(form: Form, quiet: bool) -> Self {
        let executable = std::env::current_exe().map_or_else(
            |_| std::env::args().next().unwrap_or_default(),
            |path| path.to_string_lossy().into_owned(),
        );
        MessagePrinter {
            form,
            quiet,
            executable,
            pid: std::process::id(),
            introduced: false,
            collected: None,
            log: None,
            recorded: None,
        }
    }

    /// Records the diagnostics that are printed from now on.
    pub fn record_diagnostics(&mut self) {
        self.recorded = Some(BTreeSet::new());
    }

    /// Returns the short forms of the recorded diagnostics, as lines.
    pub fn recorded_diagnostics(&mut self) -> BTreeSet<String> {
        self.recorded.take().unwrap_or_default()
    }

    pub fn log_to(&mut self, wish: LogWish) {
        if self.form == Form::Keepalived {
            let log = Log::open(wish, Speaker::Parent);
            self.log = Some(Arc::new(Mutex::new(log)));
        }
    }

    /// Writes a line to keepalived's log, or to its substitute while there is no log.
    fn log(&mut self, gravity: Gravity, text: &str) {
        let level = match gravity {
            Gravity::Alert => Level::Error,
            Gravity::Warning => Level::Warning,
            Gravity::Notice => Level::Info,
        };
        let Some(log) = &self.log else {
            return self.write(&format!("{text}\n"), false);
        };
        // Ignores a poisoned lock, which does not occur: no code panics while it writes a line.
        if let Ok(mut log) = log.lock() {
            log.line(level, text);
        }
    }

    /// Collects messages from now on, and also renders them in this format.
    pub fn collect(&mut self, look: RenderOptions) {
        self.collected = Some(Collected {
            plain: String::new(),
            shown: String::new(),
            errors_end: (0, 0),
            look,
            as_json: false,
        });
    }

    /// Collects messages for a program: each one is rendered as a [`crate::versions::Finding`] in
    /// JSON.
    pub fn collect_findings(&mut self) {
        self.collect(plain(false));
        if let Some(collected) = &mut self.collected {
            collected.as_json = true;
        }
    }

    pub fn collected_messages(&self) -> &str {
        self.collected.as_ref().map_or("", |notes| &notes.plain)
    }

    pub fn collected(&mut self) -> Option<Collected> {
        self.collected.take()
    }

    fn write(&mut self, text: &str, is_error: bool) {
        let comes_first = is_error && self.form == Form::Own;
        match &mut self.collected {
            None => write_unrecorded(text),
            Some(collected) if comes_first => collected.push_error(text, text),
            Some(collected) => {
                push(&mut collected.plain, text);
                push(&mut collected.shown, text);
            }
        }
    }

    /// Ends the start phase: later messages do not need to introduce the program.
    pub fn started(&mut self) {
        self.introduced = true;
    }

    pub fn form(&self) -> Form {
        self.form
    }

    /// Returns whether a message is suppressed. Under HAProxy's name a quiet process does not even
    /// print why it ends. Under Evenkeel's own name it does, and also prints all requested output.
    fn keeps_silent(&self, grave: bool) -> bool {
        let must = grave && self.form == Form::Own;
        // Never silences keepalived's log. HAProxy's is silent when the process runs in the
        // background.
        self.quiet && self.log.is_none() && self.collected.is_none() && !must
    }

    pub fn log_message(&mut self, gravity: Gravity, message: impl std::fmt::Display) {
        let message = language::without_numbers(message.to_string());
        trace::record_message(
            match gravity {
                Gravity::Alert => tracing::Level::ERROR,
                Gravity::Warning => tracing::Level::WARN,
                Gravity::Notice => tracing::Level::INFO,
            },
            &message,
        );
        if self.keeps_silent(gravity == Gravity::Alert) {
            return;
        }
        if self.form == Form::Keepalived && self.collected.is_none() {
            for line in message.lines() {
                self.log(gravity, line);
            }
            return;
        }
        let text = self.text(gravity, &message);
        if let Some(collected) = self.collected.as_mut().filter(|one| one.as_json) {
            push(&mut collected.plain, &text);
            let severity = match gravity {
                Gravity::Alert => "error",
                Gravity::Warning => "warning",
                Gravity::Notice => "note",
            };
            let line = serde_json::json!({ "severity": severity, "message": message });
            return push(&mut collected.shown, &format!("{line}\n"));
        }
        self.write(&text, gravity == Gravity::Alert);
    }

    pub fn alert(&mut self, message: impl std::fmt::Display) {
        self.log_message(Gravity::Alert, message);
    }

    /// Prints the error that prevents the process from serving; HAProxy's format also names
    /// HAProxy's function.
    pub fn fatal(&mut self, error: impl std::fmt::Display) {
        match self.form {
            Form::Own | Form::Keepalived => self.alert(error),
            Form::Haproxy => self.alert(format_args!("[haproxy.main()] {error}")),
        }
    }

    pub fn warning(&mut self, message: impl std::fmt::Display) {
        self.log_message(Gravity::Warning, message);
    }

    pub fn notice(&mut self, message: impl std::fmt::Display) {
        self.log_message(Gravity::Notice, message);
    }

    fn text(&mut self, gravity: Gravity, message: &str) -> String {
        match self.form {
            Form::Own => {
                let word = match gravity {
                    Gravity::Alert => "error: ",
                    Gravity::Warning => "warning: ",
                    Gravity::Notice => "",
                };
                format!("evenkeel: {word}{message}\n")
            }
            Form::Keepalived => format!("{message}\n"),
            Form::Haproxy => {
                let pid = self.pid;
                let mut text = String::new();
                if gravity != Gravity::Notice && !std::mem::replace(&mut self.introduced, true) {
                    let head = format!("{:<11}({pid}) : ", "[NOTICE]");
                    text += &format!("{head}haproxy version is {}\n", identity::HAPROXY_VERSION);
                    text += &format!("{head}path to executable is {}\n", self.executable);
                }
                let word = match gravity {
                    Gravity::Alert => "[ALERT]",
                    Gravity::Warning => "[WARNING]",
                    Gravity::Notice => "[NOTICE]",
                };
                text + &format!("{word:<11}({pid}) : {message}\n")
            }
        }
    }

    pub fn diagnostics(
        &mut self,
        sources: &SourceMap,
        diagnostics: &Diagnostics,
        diag: bool,
        zero_warning: bool,
    ) {
        if self.keeps_silent(diagnostics.errors() > 0) {
            return;
        }
        let text = match self.form {
            Form::Keepalived => {
                let text = keepalived::rendered(sources, diagnostics, diag);
                if self.log.is_some() && self.collected.is_none() {
                    return text
                        .lines()
                        .for_each(|line| self.log(Gravity::Notice, line));
                }
                text
            }
            Form::Own => {
                if let Some(collected) = &mut self.collected {
                    if collected.as_json {
                        for line in render::json_lines(sources, diagnostics, diag) {
                            push(&mut collected.shown, &format!("{line}\n"));
                        }
                        return;
                    }
                    if diagnostics.errors() == 0 && !zero_warning {
                        // Prints a short form: during a reload only the differences matter, and
                        // most warnings were logged at the start.
                        let short = render::concise(sources, diagnostics, diag);
                        push(&mut collected.plain, &short);
                        push(&mut collected.shown, &short);
                        return;
                    }
                    let has_errors = diagnostics.errors() > 0;
                    let diagnostics = &diagnostics.with_errors_first();
                    let for_log = render::full(sources, diagnostics, &plain(diag));
                    let for_asker = render::full(sources, diagnostics, &collected.look);
                    if has_errors {
                        return collected.push_error(&for_log, &for_asker);
                    }
                    push(&mut collected.plain, &for_log);
                    push(&mut collected.shown, &for_asker);
                    return;
                }
                if let Some(recorded) = &mut self.recorded {
                    let short = render::concise(sources, diagnostics, diag);
                    recorded.extend(short.lines().map(str::to_owned));
                }
                render::full(sources, diagnostics, &look(&std::io::stderr(), diag))
            }
            Form::Haproxy => {
                let form = HaproxyForm {
                    pid: self.pid,
                    version: identity::HAPROXY_VERSION,
                    executable: &self.executable,
                    diag,
                    zero_warning,
                };
                self.introduced |= diagnostics.errors() + diagnostics.warnings() > 0;
                render::haproxy(sources, diagnostics, &form)
            }
        };
        self.write(&text, false);
    }
}

impl Collected {
    fn push_error(&mut self, plain: &str, shown: &str) {
        insert(&mut self.plain, &mut self.errors_end.0, plain);
        insert(&mut self.shown, &mut self.errors_end.1, shown);
    }
}

/// Inserts a text at `end` and moves `end` behind it, if it fits there within the limit. What
/// follows is cut.
fn insert(to: &mut String, end: &mut usize, text: &str) {
    let Some(room) = COLLECTED_MAX.checked_sub(text.len()) else {
        return;
    };
    if room < *end {
        return;
    }
    to.truncate(language::truncated(to, room).len());
    to.insert_str(*end, text);
    *end += text.len();
}

/// Formats a number with its noun: `1 proxy`, `2 proxies`.
pub fn counted(number: usize, one: &str, many: &str) -> String {
    format!("{number} {}", if number == 1 { one } else { many })
}

fn push(to: &mut String, text: &str) {
    if to.len() + text.len() <= COLLECTED_MAX {
        to.push_str(text);
    }
}

pub fn plain(diag: bool) -> RenderOptions {
    RenderOptions {
        color: false,
        unicode: false,
        width: WIDTH_WITHOUT_TERMINAL,
        diag,
    }
}

const WIDTH_WITHOUT_TERMINAL: usize = 100;

pub fn refuse(message: impl std::fmt::Display) -> ExitCode {
    MessagePrinter::new(Form::Own, false).alert(message);
    ExitCode::FAILURE
}

/// Rate limit of the log; None in a process that is not a role.
static LIMITER: OnceLock<Mutex<LogLimiter>> = OnceLock::new();

/// Limits the rate of [`write_error`] from now on: this process is a role, and its clients can
/// cause log lines.
pub fn limit_log() {
    LIMITER.get_or_init(Mutex::default);
}

/// Writes a message to standard error; in a role only what [`LogLimiter`] admits. The ring of the
/// process records the message, too.
pub fn write_error(text: &str) {
    let message = text.trim_end();
    let message = message.strip_prefix("evenkeel: ").unwrap_or(message);
    let level = match message {
        error if error.starts_with("error: ") => tracing::Level::ERROR,
        warning if warning.starts_with("warning: ") => tracing::Level::WARN,
        _ => tracing::Level::INFO,
    };
    trace::record_message(level, message);
    write_unrecorded(text);
}

/// Returns what prints the trace events of a process: programs that read the messages of HAProxy or
/// keepalived do not expect ours.
pub fn event_printer(form: Form) -> Option<fn(&str)> {
    (form == Form::Own).then_some(write_unrecorded as fn(&str))
}

/// As [`write_error`], without a record: for diagnostics, which quote lines of files.
pub fn write_unrecorded(text: &str) {
    let admitted = LIMITER
        .get()
        .map(|limiter| lock(limiter).admit(text, Instant::now()));
    match admitted {
        Some(None) => {}
        Some(Some(count)) if count > 0 => write(&format!("{text}evenkeel: {}\n", left_out(count))),
        Some(Some(_)) | None => write(text),
    }
}

fn write(text: &str) {
    // Ignores a failure: if standard error is closed, no channel for the error is left.
    let _ = std::io::stderr().write_all(text.as_bytes());
}

/// Returns the format of diagnostics on a stream: coloured on a terminal, unless `NO_COLOR` is set
/// and not empty.
pub fn look(stream: &impl IsTerminal, diag: bool) -> RenderOptions {
    let terminal = stream.is_terminal();
    let no_color = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    let dumb = std::env::var_os("TERM").is_some_and(|term| term == "dumb");
    RenderOptions {
        color: terminal && !no_color && !dumb,
        unicode: terminal && utf8_locale(),
        width: terminal_width(),
        diag,
    }
}

fn utf8_locale() -> bool {
    let locale = ["LC_ALL", "LC_CTYPE", "LANG"]
        .iter()
        .find_map(|name| std::env::var(name).ok().filter(|value| !value.is_empty()));
    locale.is_some_and(|value| {
        let value = value.to_ascii_lowercase();
        value.contains("utf-8") || value.contains("utf8")
    })
}

pub fn terminal_width() -> usize {
    let columns = std::env::var("COLUMNS")
        .ok()
        .and_then(|text| text.parse().ok());
    columns
        .or_else(|| {
            // Queries the descriptors only. Libraries with more ways start a program (`tput`) found
            // by PATH, which a loader must not do.
            let width = |fd: BorrowedFd<'_>| rustix::termios::tcgetwinsize(fd).ok();
            let size = width(rustix::stdio::stderr())
                .or_else(|| width(rustix::stdio::stdout()))
                .or_else(|| width(rustix::stdio::stdin()))?;
            Some(usize::from(size.ws_col))
        })
        .filter(|width| (20..=1000).contains(width))
        .unwrap_or(WIDTH_WITHOUT_TERMINAL)
}

#[cfg(test)]
mod tests {
    use super::*;
    use language::{Diagnostic, Severity};

    #[test]
    fn haproxy_format_prints_its_header_once_before_errors() {
        let mut voice = MessagePrinter::new(Form::Haproxy, false);
        assert!(!voice.text(Gravity::Notice, "x").contains("version is"));
        let first = voice.text(Gravity::Alert, "Cannot do it.");
        assert!(
            first.contains("haproxy version is 3.4.0-evenkeel-"),
            "{first}"
        );
        let last = first.lines().last().unwrap_or_default();
        assert_eq!(
            last,
            format!("[ALERT]    ({}) : Cannot do it.", std::process::id())
        );
        assert_eq!(voice.text(Gravity::Warning, "x").lines().count(), 1);
    }

    #[test]
    fn keepalived_log_continues_in_the_background() {
        let mut voice = MessagePrinter::new(Form::Keepalived, false);
        let name = format!("evenkeel-voice-{}.log", std::process::id());
        let file = std::env::temp_dir().join(name);
        voice.log_to(LogWish {
            console: false,
            facility: None,
            file: Some(file.as_os_str().as_encoded_bytes().to_vec()),
            flush: false,
            detail: false,
        });
        voice.quiet = true;
        voice.notice("Reloading ...");
        let text = std::fs::read_to_string(&file).unwrap();
        std::fs::remove_file(&file).unwrap();
        assert!(text.ends_with(": Reloading ...\n"), "{text}");
        let mut voice = MessagePrinter::new(Form::Haproxy, false);
        voice.quiet = true;
        assert!(voice.keeps_silent(true));
    }

    #[test]
    fn single_repetition_is_singular() {
        let told = |number| counted(number, "proxy", "proxies");
        assert_eq!(
            [told(0), told(1), told(2)],
            ["0 proxies", "1 proxy", "2 proxies"]
        );
    }

    #[test]
    fn collected_errors_come_before_warnings() {
        static CODE: language::Code = language::Code {
            id: "E0000",
            title: "",
            explanation: "",
        };
        let sources = SourceMap::default();
        let mut diagnostics = Diagnostics::default();
        for (severity, message) in [
            (Severity::Warning, "no reason"),
            (Severity::Error, "the reason"),
        ] {
            diagnostics.push(&sources, Diagnostic::global(&CODE, severity, message));
        }
        let collected = |form| {
            let mut voice = MessagePrinter::new(form, false);
            voice.collect(plain(false));
            voice.warning("no reason");
            voice.alert("the reason");
            let alone = voice.collected().unwrap();
            voice.collect(plain(false));
            voice.warning("no reason");
            voice.diagnostics(&sources, &diagnostics, false, false);
            [alone, voice.collected().unwrap()]
        };
        for own in collected(Form::Own) {
            for text in [own.plain, own.shown] {
                let first = text.lines().next().unwrap();
                assert!(first.ends_with("the reason"), "{text}");
                assert!(text.contains("no reason"), "{text}");
            }
        }
        let [haproxy, _] = collected(Form::Haproxy);
        assert!(haproxy.plain.find("no reason") < haproxy.plain.find("the reason"));
    }

    #[test]
    fn collected_errors_replace_warnings_at_the_limit() {
        let (mut text, mut end) = (String::new(), 0);
        insert(&mut text, &mut end, "first\n");
        push(&mut text, &"é".repeat(COLLECTED_MAX / 2 - 3));
        insert(&mut text, &mut end, "second\n");
        assert!(text.starts_with("first\nsecond\né") && text.len() <= COLLECTED_MAX);
        insert(&mut text, &mut end, &"x".repeat(COLLECTED_MAX));
        assert_eq!(end, "first\nsecond\n".len());
    }

    #[test]
    fn own_format_begins_with_the_program_name() {
        let mut voice = MessagePrinter::new(Form::Own, false);
        assert_eq!(voice.text(Gravity::Alert, "no"), "evenkeel: error: no\n");
    }
}
