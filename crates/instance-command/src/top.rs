//! Implements `evenkeel top`: polls a running instance on a thread and shows traffic and reports in
//! a terminal until a key or a signal, or prints all pages once.

mod ask;
mod pages;
mod screen;

use clap::{ArgMatches, Command};
use command::options::{duration, flag, option, process_id, serving_files};
use command::{print, refuse};
use jiff::tz::TimeZone;
use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use overview::look::MachineReport;
use pages::{Measured, TopPage};
use ratatui::crossterm::event::{self, Event, KeyEventKind};
use rustix::event::{PollFd, PollFlags, poll};
use screen::Screen;
use std::io::IsTerminal;
use std::process::ExitCode;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::time::Duration;
use std::{io, thread};

const FRAME: Duration = Duration::from_millis(100);
const INTERVAL: Duration = Duration::from_secs(1);
const INTERVAL_MIN: Duration = Duration::from_millis(200);
/// Signals that end the program after the terminal was restored.
const ENDS: [Signal; 4] = [
    Signal::SIGTERM,
    Signal::SIGHUP,
    Signal::SIGINT,
    Signal::SIGQUIT,
];

pub fn definition(command: Command) -> Command {
    command
        .about("Show everything that runs here, live in the terminal")
        .long_about(
            "Shows a running `evenkeel run`, `haproxy -W` or `keepalived` of the same user, live: first what needs \
             attention and why, then the traffic of frontends, backends and servers, the report of each part \
             (addresses, cluster, volumes, guests), and what happened. It needs no `stats socket`. `?` shows the \
             keys. If the program is restarted, the view follows it.\n\n`--once` prints all pages once, as plain \
             text, and exits with 1 if nothing responds.",
        )
        .after_help("Examples:\n  evenkeel top\n  evenkeel top --interval 5s\n  evenkeel top --once | less")
        .arg(serving_files().num_args(1))
        .arg(process_id())
        .arg(
            option("interval", "TIME", "Time between two polls (500ms, 5s) [default: 1s]")
                .value_parser(interval),
        )
        .arg(flag("once", "Print all pages once, as plain text"))
}

fn interval(text: &str) -> Result<Duration, String> {
    let time = duration(text)?;
    if time < INTERVAL_MIN {
        Err("at least 200ms".to_owned())
    } else {
        Ok(time)
    }
}

pub fn main(matches: &ArgMatches) -> ExitCode {
    let first = match ask::look(matches) {
        Ok(look) => look,
        Err(words) => return refuse(words),
    };
    if matches.get_flag("once") {
        return print(&once(&first, &TimeZone::system()));
    }
    // Blocks the signals before any thread starts, so that no thread receives them.
    let ends: SigSet = ENDS.into_iter().collect();
    let ends = ends.thread_block().and_then(|()| {
        let flags = SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK;
        SignalFd::with_flags(&ends, flags)
    });
    let ends = match ends {
        Ok(ends) => ends,
        Err(error) => return refuse(format!("cannot wait for signals: {error}")),
    };
    let watch = thread::Builder::new().name("top/end".to_owned());
    let watch = watch.spawn(move || end(&ends));
    let interval = matches.get_one::<Duration>("interval").copied();
    let interval = interval.unwrap_or(INTERVAL);
    let (sender, looks) = sync_channel(1);
    let (stop, stopped) = sync_channel(1);
    let asked = matches.clone();
    let asks = thread::Builder::new().name("top/look".to_owned());
    let asks = asks.spawn(move || ask(&asked, interval, &sender, &stopped));
    if let Err(error) = asks.and(watch) {
        return refuse(format!("cannot start a thread: {error}"));
    }
    let shown = show(Screen::new(first, interval), &looks);
    drop(stop);
    match shown {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => refuse(format!("{error}; `--once` needs no terminal")),
    }
}

fn once(look: &MachineReport, zone: &TimeZone) -> String {
    let mut text = String::new();
    for page in TopPage::all(look) {
        let title = page.title();
        let width = pages::longest_name(look);
        let heading = pages::heading(&page, width);
        let lines = pages::lines(&page, look, &Measured::default(), width, zone);
        let lines = heading.into_iter().chain(lines);
        let lines: Vec<String> = lines.map(|line| line.to_string()).collect();
        let lines = lines.iter().map(|line| line.trim_end());
        text += &format!("== {title}\n");
        lines.for_each(|line| text += &format!("{line}\n"));
        text += "\n";
    }
    text.truncate(text.trim_end().len() + 1);
    text
}

fn ask(
    matches: &ArgMatches,
    interval: Duration,
    looks: &SyncSender<Result<MachineReport, String>>,
    stopped: &Receiver<()>,
) {
    while stopped.recv_timeout(interval) == Err(RecvTimeoutError::Timeout) {
        if looks.send(ask::look(matches)).is_err() {
            return;
        }
    }
}

/// Waits for a signal, or for the end of the terminal, and ends the process. The thread of the
/// display cannot do that: it may block in a terminal that no longer exists.
fn end(ends: &SignalFd) {
    let stdin = io::stdin();
    let mut watched = vec![PollFd::new(ends, PollFlags::IN)];
    if stdin.is_terminal() {
        // Registers no event: poll reports the end of the terminal nevertheless.
        watched.push(PollFd::new(&stdin, PollFlags::empty()));
    }
    while poll(&mut watched, None).is_err() {}
    let signal = ends.read_signal().ok().flatten();
    let number = signal.and_then(|signal| i32::try_from(signal.ssi_signo).ok());
    // Ignores a failure: a terminal that is gone cannot be restored.
    let _ = ratatui::try_restore();
    std::process::exit(128 + number.unwrap_or(Signal::SIGHUP as i32));
}

fn show(mut screen: Screen, looks: &Receiver<Result<MachineReport, String>>) -> io::Result<()> {
    let zone = TimeZone::system();
    let mut terminal = ratatui::try_init()?;
    let result = (|| {
        loop {
            terminal.draw(|frame| screen.draw(frame, &zone))?;
            let mut wait = FRAME;
            // Handles all pressed keys before the next drawing.
            while event::poll(wait)? {
                wait = Duration::ZERO;
                if let Event::Key(key) = event::read()?
                    && key.kind == KeyEventKind::Press
                    && !screen.key(key)
                {
                    return Ok(());
                }
            }
            if let Some(look) = looks.try_iter().last()
                && !screen.is_paused
            {
                screen.take(look);
            }
        }
    })();
    ratatui::restore();
    result
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn once_prints_every_page() {
        let text = once(&overview::sample::sample(), &TimeZone::UTC);
        let heads: Vec<&str> = text
            .lines()
            .filter(|line| line.starts_with("== "))
            .collect();
        let all = ["overview", "traffic", "address", "guest", "events"];
        assert_eq!(heads, all.map(|title| format!("== {title}")));
        assert!(text.ends_with("it was started\n"), "{text}");
        assert!(!text.contains('\u{1b}'), "{text}");
    }

    #[test]
    fn an_interval_has_a_unit_and_is_not_too_short() {
        assert_eq!(interval("5s"), Ok(Duration::from_secs(5)));
        assert!(interval("100ms").is_err());
        assert!(interval("soon").is_err());
    }
}
