//! Draws the demo in a terminal: configuration, addresses, servers with their rates, and events.
//! Keys stop and start servers and change the configuration.

use super::load::{Counted, HANGS_AFTER};
use super::stage::{ADDED, BLOCKED, CONFIGURATION, RunningDemo, StageEvent};
use ratatui::Frame;
use ratatui::crossterm::event::{self, Event, KeyCode, KeyEventKind, KeyModifiers};
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::{Color, Style, Stylize};
use ratatui::text::{Line, Span};
use ratatui::widgets::{Block, Clear, Paragraph};
use std::io;
use std::net::SocketAddr;
use std::process::ExitCode;
use std::time::{Duration, Instant};

const FRAME: Duration = Duration::from_millis(100);
const WINDOW: Duration = Duration::from_secs(1);

pub fn show(stage: &RunningDemo) -> ExitCode {
    let mut terminal = match ratatui::try_init() {
        Ok(terminal) => terminal,
        // Prints lines instead if the terminal cannot be used.
        Err(_) => return super::plain::show(stage),
    };
    let mut rates = Rates::new(stage.seen.read());
    let mut helps = false;
    let result = (|| -> io::Result<()> {
        loop {
            rates.measure(stage.seen.read());
            let scene = DemoFrame::of(stage, &rates, helps);
            terminal.draw(|frame| draw(frame, &scene))?;
            if !event::poll(FRAME)? {
                continue;
            }
            match key(&event::read()?) {
                // Closes the help by any key, and executes the function of the key, if it has one.
                Some(Key::Quit) => return Ok(()),
                Some(Key::Help) => helps = !helps,
                Some(key) => {
                    helps = false;
                    obey(stage, key)?;
                }
                None => {}
            }
        }
    })();
    ratatui::restore();
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => part::voice::refuse(error),
    }
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Key {
    Toggle(usize),
    Change,
    Blocked,
    Help,
    Quit,
    /// Key without a function, which only closes the help.
    Other,
}

fn key(event: &Event) -> Option<Key> {
    let Event::Key(key) = event else { return None };
    if key.kind != KeyEventKind::Press {
        return None;
    }
    Some(match key.code {
        KeyCode::Char('1') => Key::Toggle(0),
        KeyCode::Char('2') => Key::Toggle(1),
        KeyCode::Char('b') => Key::Blocked,
        KeyCode::Char('?' | 'h') => Key::Help,
        KeyCode::Char('q') | KeyCode::Esc => Key::Quit,
        KeyCode::Char('c') if key.modifiers.contains(KeyModifiers::CONTROL) => Key::Quit,
        KeyCode::Char('c') => Key::Change,
        _ => Key::Other,
    })
}

fn obey(stage: &RunningDemo, key: Key) -> io::Result<()> {
    match key {
        Key::Toggle(server) => stage.toggle(server)?,
        Key::Change => stage.change().map_err(io::Error::other)?,
        Key::Blocked => stage.try_blocked(),
        Key::Help | Key::Quit | Key::Other => {}
    }
    Ok(())
}

/// Counters of requests since the start, and of the last whole window.
struct Rates {
    began: Instant,
    before: Counted,
    whole: Counted,
    second: Counted,
}

impl Rates {
    fn new(now: Counted) -> Self {
        Rates {
            began: Instant::now(),
            before: now,
            whole: now,
            second: Counted::default(),
        }
    }

    fn measure(&mut self, now: Counted) {
        self.whole = now;
        if self.began.elapsed() >= WINDOW {
            self.second = now.since(self.before);
            self.before = now;
            self.began = Instant::now();
        }
    }
}

struct DemoFrame {
    proxy: SocketAddr,
    servers: [SocketAddr; 2],
    states: Vec<(String, String)>,
    second: Counted,
    whole: Counted,
    hanging: usize,
    is_changed: bool,
    events: Vec<StageEvent>,
    helps: bool,
}

const EVENTS_MAX: usize = 100;

impl DemoFrame {
    fn of(stage: &RunningDemo, rates: &Rates, helps: bool) -> DemoFrame {
        let [one, two, _] = &stage.servers;
        DemoFrame {
            proxy: stage.address,
            servers: [one.address, two.address],
            states: stage.states(),
            second: rates.second,
            whole: rates.whole,
            hanging: stage.seen.hanging(Instant::now()),
            is_changed: stage.is_changed(),
            events: stage.events.last(EVENTS_MAX),
            helps,
        }
    }
}

fn draw(frame: &mut Frame<'_>, scene: &DemoFrame) {
    let rows = Layout::vertical([
        Constraint::Length(7),
        Constraint::Length(10),
        Constraint::Min(5),
        Constraint::Length(1),
    ]);
    let [top, middle, bottom, foot] = rows.areas(frame.area());
    addresses(frame, top, scene);
    servers(frame, middle, scene);
    let [left, right] =
        Layout::horizontal([Constraint::Percentage(50), Constraint::Percentage(50)]).areas(bottom);
    events(frame, left, scene);
    let lines = file_lines(
        scene.is_changed,
        usize::from(right.height.saturating_sub(2)),
    );
    let file = Paragraph::new(lines).block(Block::bordered().title(" examples/demo.cfg "));
    frame.render_widget(file, right);
    frame.render_widget(Paragraph::new(keys(foot.width).reversed()), foot);
    if scene.helps {
        help(frame);
    }
}

fn keys(columns: u16) -> &'static str {
    const ALL: [&str; 3] = [
        " 1 stop/start server one   2 stop/start server two   c reload: third server   b blocked path   ? help   q quit ",
        " 1 server one   2 server two   c third server   b blocked path   ? help   q quit",
        " 1 2 servers   c reload   b blocked   ? help   q quit",
    ];
    let fits = |keys: &&str| keys.len() <= usize::from(columns);
    ALL.into_iter().find(fits).unwrap_or(ALL[2])
}

fn addresses(frame: &mut Frame<'_>, area: Rect, scene: &DemoFrame) {
    let [one, two] = &scene.servers;
    let proxy = scene.proxy;
    let lines = vec![
        Line::from(vec![
            "proxy              ".into(),
            format!("http://{proxy}/").bold(),
        ]),
        Line::from(vec![
            "statistics         ".into(),
            format!("http://{proxy}/stats").bold(),
            "  (servers can be drained there)".into(),
        ]),
        Line::from(vec![
            "blocked by a rule  ".into(),
            format!("http://{proxy}{BLOCKED}").bold(),
        ]),
        Line::from(format!("servers            http://{one}/  http://{two}/")),
        Line::from("load generator      a few clients inside the demo, through the proxy".dim()),
    ];
    frame.render_widget(
        Paragraph::new(lines).block(Block::bordered().title(" evenkeel demo ")),
        area,
    );
}

fn servers(frame: &mut Frame<'_>, area: Rect, scene: &DemoFrame) {
    let title = format!(" {} requests per second ", scene.second.requests());
    let block = Block::bordered().title(title);
    let inside = block.inner(area);
    frame.render_widget(block, area);
    let [first, second, third, last] = Layout::vertical([Constraint::Length(2); 4]).areas(inside);
    let all = scene.second.requests().max(1);
    let rows = scene.states.iter().zip([first, second, third]);
    for (at, ((name, state), row)) in rows.enumerate() {
        let served = scene.second.served.get(at).copied().unwrap_or(0);
        let color = match (state.starts_with("UP"), at) {
            (false, _) => Color::Red,
            (true, 0) => Color::Blue,
            (true, 1) => Color::Yellow,
            (true, _) => Color::Magenta,
        };
        // Draws the number beside the bar, since on the bar it would have the bar's colour.
        let columns = [
            Constraint::Length(22),
            Constraint::Length(8),
            Constraint::Min(10),
        ];
        let [label, rate, bar] = Layout::horizontal(columns).areas(Rect {
            height: row.height.min(1),
            ..row
        });
        let words = Line::from(vec![
            Span::from(format!("{name:<6}")).bold(),
            Span::styled(state.as_str(), Style::new().fg(color)),
        ]);
        frame.render_widget(Paragraph::new(words), label);
        frame.render_widget(Paragraph::new(format!("{served:>5}/s")), rate);
        let length = u64::from(bar.width) * served.min(all) / all;
        let blocks = "█".repeat(usize::try_from(length).unwrap_or_default());
        frame.render_widget(
            Paragraph::new(Span::styled(blocks, Style::new().fg(color))),
            bar,
        );
    }
    let (text, is_bad) = verdict(scene.whole, scene.hanging);
    let text = if is_bad {
        text.red().bold()
    } else {
        text.green()
    };
    frame.render_widget(Paragraph::new(text), last);
}

/// Returns the summary of failed requests, and true if some failed or hang. A hanging request has
/// not failed yet, but is no success either.
fn verdict(whole: Counted, hanging: usize) -> (String, bool) {
    let (failed, all) = (whole.failed, whole.requests());
    let mut text = format!("failed requests seen by clients: {failed} of {all}");
    if hanging > 0 {
        let seconds = HANGS_AFTER.as_secs();
        text += &format!(", and {hanging} without a response for more than {seconds} s");
    }
    (text, failed > 0 || hanging > 0)
}

fn events(frame: &mut Frame<'_>, area: Rect, scene: &DemoFrame) {
    let room = usize::from(area.height.saturating_sub(2));
    let columns = usize::from(area.width.saturating_sub(2)).max(1);
    let lines: Vec<Line<'_>> = scene
        .events
        .iter()
        .flat_map(|event| event_lines(event.at, &event.text, columns))
        .map(Line::from)
        .collect();
    // Shows the newest events if not all of them fit.
    let hidden = lines.len().saturating_sub(room);
    let shown: Vec<Line<'_>> = lines.into_iter().skip(hidden).collect();
    frame.render_widget(
        Paragraph::new(shown).block(Block::bordered().title(" events ")),
        area,
    );
}

/// Wraps the text of an event to lines of at most `columns` columns, of which the first begins with
/// the time. A longer word gets a line of its own. Durations of checks and the text after them are
/// left out.
fn event_lines(at: Duration, text: &str, columns: usize) -> Vec<String> {
    const INDENT: &str = "          ";
    let short = text.split(", check duration").next().unwrap_or(text);
    let mut lines = Vec::new();
    let mut line = format!("{:6.1} s ", at.as_secs_f64());
    for word in short.split_whitespace() {
        if line.len() > INDENT.len() && line.chars().count() + 1 + word.chars().count() > columns {
            lines.push(std::mem::replace(&mut line, INDENT[1..].to_owned()));
        }
        line.push(' ');
        line.push_str(word);
    }
    lines.push(line);
    lines
}

fn excerpt(text: &str) -> &str {
    text.find("\nfrontend")
        .and_then(|at| text.get(at + 1..))
        .unwrap_or(text)
}

/// Returns the last lines of the file for this number of rows, and below them the line that the key
/// `c` adds: as added, or as a hint while it is missing.
fn file_lines(is_changed: bool, room: usize) -> Vec<Line<'static>> {
    let added = ADDED.trim();
    let last = if is_changed {
        Line::from(format!("+   {added}").green().bold())
    } else {
        Line::from(format!("    # c adds: {added}").dim())
    };
    let lines = excerpt(CONFIGURATION).trim_end().lines().map(Line::from);
    let lines: Vec<Line<'_>> = lines.chain([last]).collect();
    let hidden = lines.len().saturating_sub(room);
    lines.into_iter().skip(hidden).collect()
}

const HELP: &[&str] = &[
    "",
    " 1, 2   stop or start a server: the other one gets its requests",
    " c      load the file with the third server, or without it,",
    "        in the running proxy: no connection is closed",
    " b      request a path that a rule of the file denies",
    " ?      close this help",
    " q      quit; Esc and Ctrl-C do the same",
    "",
    " A bar is a server's share of the requests of the last second.",
    " Failed requests stay at 0 as long as one server runs.",
    " Without any, clients get 503 from the proxy, which counts as",
    " failed; what has no response for a second is named beside it.",
    "",
];

fn help(frame: &mut Frame<'_>) {
    let area = frame.area();
    let widest = HELP.iter().map(|line| line.len()).max().unwrap_or(0);
    let width = area.width.min(widest as u16 + 4);
    let height = area.height.min(HELP.len() as u16 + 2);
    let area = Rect {
        x: (area.width - width) / 2,
        y: (area.height - height) / 2,
        width,
        height,
    };
    let lines: Vec<Line<'_>> = HELP.iter().copied().map(Line::from).collect();
    frame.render_widget(Clear, area);
    frame.render_widget(
        Paragraph::new(lines).block(Block::bordered().title(" help ")),
        area,
    );
}

#[cfg(test)]
mod tests {
    use super::*;
    use ratatui::Terminal;
    use ratatui::backend::TestBackend;
    use ratatui::crossterm::event::KeyEvent;

    fn scene() -> DemoFrame {
        let events = ["you stopped server two", "Server samples/two is DOWN"];
        let happened = |text: &&str| StageEvent {
            at: Duration::from_secs(3),
            text: (*text).to_owned(),
        };
        let states = [("one", "UP"), ("two", "DOWN")];
        DemoFrame {
            proxy: SocketAddr::from(([127, 0, 0, 1], 8080)),
            servers: [8180, 8181].map(|port| SocketAddr::from(([127, 0, 0, 1], port))),
            states: states.map(|(a, b)| (a.to_owned(), b.to_owned())).to_vec(),
            second: Counted {
                served: [300, 0, 0],
                failed: 0,
            },
            whole: Counted {
                served: [900, 600, 0],
                failed: 0,
            },
            hanging: 0,
            is_changed: true,
            events: events.iter().map(happened).collect(),
            helps: false,
        }
    }

    /// Draws a scene on a terminal of 120 columns and 35 rows.
    fn drawn(scene: &DemoFrame) -> Terminal<TestBackend> {
        let mut terminal = Terminal::new(TestBackend::new(120, 35)).unwrap();
        terminal.draw(|frame| draw(frame, scene)).unwrap();
        terminal
    }

    #[test]
    fn the_file_shows_the_line_that_a_change_adds() {
        insta::assert_snapshot!(drawn(&scene()).backend());
        let without = DemoFrame {
            is_changed: false,
            ..scene()
        };
        let text = drawn(&without).backend().to_string();
        assert!(text.contains("# c adds: server three") && !text.contains("+   server three"));
    }

    #[test]
    fn all_keys_and_the_help_fit_into_80_columns() {
        let mut scene = scene();
        for helps in [false, true] {
            scene.helps = helps;
            let mut terminal = Terminal::new(TestBackend::new(80, 24)).unwrap();
            terminal.draw(|frame| draw(frame, &scene)).unwrap();
            let text = terminal.backend().to_string();
            assert!(text.contains("q quit"), "{text}");
            let shown = HELP.iter().all(|line| text.contains(line.trim()));
            assert_eq!(shown, helps, "{text}");
        }
        for columns in [80, 100, 120, 200] {
            assert!(keys(columns).len() <= usize::from(columns));
        }
    }

    #[test]
    fn the_number_beside_a_full_bar_is_not_on_it() {
        let terminal = drawn(&scene());
        let buffer = terminal.backend().buffer();
        let row = (0..buffer.area.height).find(|y| {
            let cells = (0..buffer.area.width).map(|x| buffer[(x, *y)].symbol());
            cells.collect::<String>().contains("300/s")
        });
        let row = row.expect("it is shown");
        let is_text = |x: &u16| "300/s".contains(buffer[(*x, row)].symbol());
        for x in (0..buffer.area.width).filter(is_text) {
            let cell = &buffer[(x, row)];
            assert_eq!(
                (cell.fg, cell.bg),
                (Color::Reset, Color::Reset),
                "column {x}"
            );
        }
    }

    #[test]
    fn hanging_requests_are_not_successful() {
        let whole = scene().whole;
        assert_eq!(
            verdict(whole, 0),
            (
                "failed requests seen by clients: 0 of 1500".to_owned(),
                false
            )
        );
        let (text, is_bad) = verdict(whole, 4);
        assert!(is_bad);
        assert!(
            text.ends_with(", and 4 without a response for more than 1 s"),
            "{text}"
        );
    }

    #[test]
    fn question_mark_opens_the_help() {
        let pressed = |c| {
            key(&Event::Key(KeyEvent::new(
                KeyCode::Char(c),
                KeyModifiers::NONE,
            )))
        };
        assert_eq!(
            (pressed('?'), pressed('x')),
            (Some(Key::Help), Some(Key::Other))
        );
        let helped = DemoFrame {
            helps: true,
            ..scene()
        };
        let text = drawn(&helped).backend().to_string();
        for line in HELP {
            assert!(text.contains(line.trim_end()), "{line}");
        }
    }

    #[test]
    fn event_is_wrapped_at_words_without_details() {
        let text = "Server samples/one is DOWN, reason: none, check duration: 0ms. 1 left.";
        let lines = event_lines(Duration::from_millis(1500), text, 36);
        assert_eq!(
            lines,
            [
                "   1.5 s  Server samples/one is",
                "          DOWN, reason: none"
            ]
        );
        assert_eq!(event_lines(Duration::ZERO, "a", 1), ["   0.0 s  a"]);
    }

    #[test]
    fn the_excerpt_begins_where_the_file_becomes_interesting() {
        assert!(excerpt(CONFIGURATION).starts_with("frontend web"));
    }

    #[test]
    fn rates_are_those_of_the_last_whole_window() {
        let mut rates = Rates::new(Counted::default());
        rates.measure(Counted {
            served: [5, 5, 0],
            failed: 0,
        });
        assert_eq!(rates.second.requests(), 0);
        rates.began = Instant::now().checked_sub(WINDOW).unwrap();
        rates.measure(Counted {
            served: [50, 60, 0],
            failed: 1,
        });
        assert_eq!((rates.second.requests(), rates.whole.failed), (111, 1));
    }
}
