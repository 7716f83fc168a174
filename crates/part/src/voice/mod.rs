//! Messages to the caller of the process: in HAProxy's format under that name, in our own
//! otherwise. They go to standard error; a quiet process prints none. This module does
//! not decide what is reported.

pub mod keepalived;
mod limit;

pub use limit::{LogLimiter, left_out};

/// Whose way of reporting a process has.
pub use crate::role::Personality as Form;

use crate::identity;
use crate::lock;
use keepalived::{Level, Log, LogWish, Speaker};
use language::render::{self, HaproxyForm, Look};
use language::{Diagnostics, SourceMap};
use std::io::{IsTerminal, Write};
use std::os::fd::BorrowedFd;
use std::process::ExitCode;
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Instant;

/// How grave a message is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Gravity {
    /// The process ends.
    Alert,
    /// It goes on otherwise than asked.
    Warning,
    /// For information.
    Notice,
}

/// The voice of a process.
#[derive(Clone, Debug)]
pub struct Voice {
    form: Form,
    /// It says nothing.
    pub quiet: bool,
    /// The path of the executable, for HAProxy's form.
    pub executable: String,
    /// The process that HAProxy's form names.
    pub pid: u32,
    introduced: bool,
    /// The collected messages, if they are not for standard error.
    collected: Option<Collected>,
    /// Where keepalived's log goes.
    log: Option<Arc<Mutex<Log>>>,
}

/// The collected messages of a voice, for a later reader.
#[derive(Clone, Debug)]
pub struct Collected {
    /// For a log.
    pub plain: String,
    /// For who asked.
    pub shown: String,
    look: Look,
    /// The asker is a program: what is shown is a line of JSON each.
    as_json: bool,
}

/// Bytes of messages that are collected at most; what is behind is not told.
const COLLECTED_MAX: usize = 1 << 20;

impl Voice {
    /// A voice that has said nothing yet.
    pub fn new(form: Form, quiet: bool) -> Self {
        let executable = std::env::current_exe().map_or_else(
            |_| std::env::args().next().unwrap_or_default(),
            |path| path.to_string_lossy().into_owned(),
        );
        Voice {
            form,
            quiet,
            executable,
            pid: std::process::id(),
            introduced: false,
            collected: None,
            log: None,
        }
    }

    /// Under keepalived's name what it says goes to a log.
    pub fn log_to(&mut self, wish: LogWish) {
        if self.form == Form::Keepalived {
            let log = Log::open(wish, Speaker::Parent);
            self.log = Some(Arc::new(Mutex::new(log)));
        }
    }

    /// A line of keepalived's log, or of what stands for it before there is one.
    fn log(&mut self, gravity: Gravity, text: &str) {
        let level = match gravity {
            Gravity::Alert => Level::Error,
            Gravity::Warning => Level::Warning,
            Gravity::Notice => Level::Info,
        };
        let Some(log) = &self.log else {
            return self.write(&format!("{text}\n"));
        };
        // Nobody panics while a line is written.
        if let Ok(mut log) = log.lock() {
            log.line(level, text);
        }
    }

    /// From now on what it says is collected, and rendered with this look besides.
    pub fn collect(&mut self, look: Look) {
        self.collected = Some(Collected {
            plain: String::new(),
            shown: String::new(),
            look,
            as_json: false,
        });
    }

    /// The same for a program: what is shown is a [`crate::versions::Finding`] in JSON each.
    pub fn collect_findings(&mut self) {
        self.collect(plain(false));
        if let Some(collected) = &mut self.collected {
            collected.as_json = true;
        }
    }

    /// Returns the messages collected so far.
    pub fn said(&self) -> &str {
        self.collected.as_ref().map_or("", |notes| &notes.plain)
    }

    /// Takes the collected messages.
    pub fn collected(&mut self) -> Option<Collected> {
        self.collected.take()
    }

    fn write(&mut self, text: &str) {
        match &mut self.collected {
            None => write_error(text),
            Some(collected) => {
                push(&mut collected.plain, text);
                push(&mut collected.shown, text);
            }
        }
    }

    /// The start is over: from now on no message needs to say who speaks.
    pub fn started(&mut self) {
        self.introduced = true;
    }

    /// Returns the form of the messages.
    pub fn form(&self) -> Form {
        self.form
    }

    /// Returns whether a message is suppressed. Under HAProxy's name a quiet process does
    /// not even print why it ends; ours does, and prints everything that was requested.
    fn keeps_silent(&self, grave: bool) -> bool {
        let must = grave && self.form == Form::Own;
        // keepalived's has its log, and nobody asks it to be quiet; in the background
        // HAProxy's is.
        self.quiet && self.log.is_none() && self.collected.is_none() && !must
    }

    /// Logs a message.
    pub fn say(&mut self, gravity: Gravity, message: impl std::fmt::Display) {
        if self.keeps_silent(gravity == Gravity::Alert) {
            return;
        }
        let message = language::without_numbers(message.to_string());
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
        self.write(&text);
    }

    /// Logs why the process ends.
    pub fn alert(&mut self, message: impl std::fmt::Display) {
        self.say(Gravity::Alert, message);
    }

    /// Logs why nothing is served; HAProxy names its function there, too.
    pub fn fatal(&mut self, error: impl std::fmt::Display) {
        match self.form {
            Form::Own | Form::Keepalived => self.alert(error),
            Form::Haproxy => self.alert(format_args!("[haproxy.main()] {error}")),
        }
    }

    /// Logs a warning.
    pub fn warning(&mut self, message: impl std::fmt::Display) {
        self.say(Gravity::Warning, message);
    }

    /// Logs an informational message.
    pub fn notice(&mut self, message: impl std::fmt::Display) {
        self.say(Gravity::Notice, message);
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

    /// Logs diagnostics.
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
                        // A change that goes in: what changed is what counts,
                        // and most of the warnings were told at the start.
                        let short = render::concise(sources, diagnostics, diag);
                        push(&mut collected.plain, &short);
                        push(&mut collected.shown, &short);
                        return;
                    }
                    let for_log = render::full(sources, diagnostics, &plain(diag));
                    let for_asker = render::full(sources, diagnostics, &collected.look);
                    push(&mut collected.plain, &for_log);
                    push(&mut collected.shown, &for_asker);
                    return;
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
        self.write(&text);
    }
}

/// A number and its noun: `1 proxy`, `2 proxies`.
pub fn counted(number: usize, one: &str, many: &str) -> String {
    format!("{number} {}", if number == 1 { one } else { many })
}

/// Adds as much as there is room for.
fn push(to: &mut String, text: &str) {
    if to.len() + text.len() <= COLLECTED_MAX {
        to.push_str(text);
    }
}

/// How diagnostics look in a log.
pub fn plain(diag: bool) -> Look {
    Look {
        color: false,
        unicode: false,
        width: WIDTH_WITHOUT_TERMINAL,
        diag,
    }
}

/// Columns where nothing says how many there are.
const WIDTH_WITHOUT_TERMINAL: usize = 100;

/// Prints an error, and returns exit code 1.
pub fn refuse(message: impl std::fmt::Display) -> ExitCode {
    Voice::new(Form::Own, false).alert(message);
    ExitCode::FAILURE
}

/// The bound of the log; None in a process that is no role.
static LIMITER: OnceLock<Mutex<LogLimiter>> = OnceLock::new();

/// Bounds what [`write_error`] writes from now on: this process is a role, and strangers may cause its lines.
pub fn limit_log() {
    LIMITER.get_or_init(Mutex::default);
}

/// Writes to standard error; in a role, as far as [`LogLimiter`] admits it.
pub fn write_error(text: &str) {
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
    // Nobody is left to be told that standard error is closed.
    let _ = std::io::stderr().write_all(text.as_bytes());
}

/// How diagnostics look on a stream: colour on a terminal, unless `NO_COLOR`
/// is set to anything.
pub fn look(stream: &impl IsTerminal, diag: bool) -> Look {
    let terminal = stream.is_terminal();
    let no_color = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    let dumb = std::env::var_os("TERM").is_some_and(|term| term == "dumb");
    Look {
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

/// The width of the terminal, or a fitting one where there is none.
pub fn terminal_width() -> usize {
    let columns = std::env::var("COLUMNS")
        .ok()
        .and_then(|text| text.parse().ok());
    columns
        .or_else(|| {
            // Asked of the descriptors alone: libraries that know more ways start a
            // program (`tput`) by PATH, which a loader has neither reason nor right to.
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

    #[test]
    fn haproxys_form_introduces_itself_once_and_before_what_is_grave() {
        let mut voice = Voice::new(Form::Haproxy, false);
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
    fn in_the_background_keepalived_s_log_goes_on() {
        let mut voice = Voice::new(Form::Keepalived, false);
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
        let mut voice = Voice::new(Form::Haproxy, false);
        voice.quiet = true;
        assert!(voice.keeps_silent(true));
    }

    #[test]
    fn one_is_told_in_the_singular() {
        let told = |number| counted(number, "proxy", "proxies");
        assert_eq!(
            [told(0), told(1), told(2)],
            ["0 proxies", "1 proxy", "2 proxies"]
        );
    }

    #[test]
    fn our_form_begins_with_our_name() {
        let mut voice = Voice::new(Form::Own, false);
        assert_eq!(voice.text(Gravity::Alert, "no"), "evenkeel: error: no\n");
    }
}
