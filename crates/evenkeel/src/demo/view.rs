//! The demo in a terminal: the configuration, the addresses, who serves, and
//! what happened; keys stop and return servers and change the configuration.

use super::load::Counted;
use super::stage::{BLOCKED, Stage};
use ratatui::Frame;
use ratatui::crossterm::event::{self, Event, KeyCode, KeyEventKind, KeyModifiers};
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::{Color, Style, Stylize};
use ratatui::text::{Line, Span};
use ratatui::widgets::{Block, Gauge, Paragraph};
use std::io;
use std::process::ExitCode;
use std::time::{Duration, Instant};

/// How often the view is drawn.
const FRAME: Duration = Duration::from_millis(100);
/// Over how long rates are measured.
const WINDOW: Duration = Duration::from_secs(1);

/// Shows the demo until a key ends it.
pub fn show(stage: &Stage) -> ExitCode {
    let mut terminal = match ratatui::try_init() {
        Ok(terminal) => terminal,
        // Standard streams that call themselves a terminal and are none.
        Err(_) => return super::plain::show(stage),
    };
    let mut rates = Rates::new(stage.seen.read());
    let result = (|| -> io::Result<()> {
        loop {
            rates.measure(stage.seen.read());
            terminal.draw(|frame| draw(frame, stage, &rates))?;
            if event::poll(FRAME)? && key(stage, &event::read()?)? {
                return Ok(());
            }
        }
    })();
    ratatui::restore();
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => part::voice::refuse(error),
    }
}

/// Obeys a key; true at the end.
fn key(stage: &Stage, event: &Event) -> io::Result<bool> {
    let Event::Key(key) = event else {
        return Ok(false);
    };
    if key.kind != KeyEventKind::Press {
        return Ok(false);
    }
    match key.code {
        KeyCode::Char('1') => stage.toggle(0)?,
        KeyCode::Char('2') => stage.toggle(1)?,
        KeyCode::Char('b') => stage.try_blocked(),
        KeyCode::Char('q') | KeyCode::Esc => return Ok(true),
        KeyCode::Char('c') if key.modifiers.contains(KeyModifiers::CONTROL) => return Ok(true),
        KeyCode::Char('c') => stage.change().map_err(io::Error::other)?,
        _ => {}
    }
    Ok(false)
}

/// Requests a second, measured over a window.
struct Rates {
    began: Instant,
    before: Counted,
    /// All since the start.
    whole: Counted,
    /// In the last whole window.
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

fn draw(frame: &mut Frame<'_>, stage: &Stage, rates: &Rates) {
    let rows = Layout::vertical([
        Constraint::Length(7),
        Constraint::Length(10),
        Constraint::Min(5),
        Constraint::Length(1),
    ]);
    let [top, middle, bottom, foot] = rows.areas(frame.area());
    addresses(frame, top, stage);
    servers(frame, middle, stage, rates);
    let [left, right] =
        Layout::horizontal([Constraint::Percentage(50), Constraint::Percentage(50)]).areas(bottom);
    events(frame, left, stage);
    let text = stage.text();
    let text = Paragraph::new(excerpt(&text)).block(Block::bordered().title(" examples/demo.cfg "));
    frame.render_widget(text, right);
    let keys = " 1 stop/start server one   2 stop/start server two   c reload: third server   b request a blocked path   q quit ";
    frame.render_widget(Paragraph::new(keys.reversed()), foot);
}

fn addresses(frame: &mut Frame<'_>, area: Rect, stage: &Stage) {
    let [one, two, _] = &stage.servers;
    let lines = vec![
        Line::from(vec![
            "proxy              ".into(),
            format!("http://{}/", stage.address).bold(),
        ]),
        Line::from(vec![
            "statistics         ".into(),
            format!("http://{}/stats", stage.address).bold(),
            "  (servers can be drained there)".into(),
        ]),
        Line::from(vec![
            "blocked by a rule  ".into(),
            format!("http://{}{BLOCKED}", stage.address).bold(),
        ]),
        Line::from(format!(
            "servers            http://{}/  http://{}/",
            one.address, two.address
        )),
        Line::from("load generator      a few clients inside the demo, through the proxy".dim()),
    ];
    frame.render_widget(
        Paragraph::new(lines).block(Block::bordered().title(" evenkeel demo ")),
        area,
    );
}

fn servers(frame: &mut Frame<'_>, area: Rect, stage: &Stage, rates: &Rates) {
    let title = format!(" {} requests per second ", rates.second.requests());
    let block = Block::bordered().title(title);
    let inside = block.inner(area);
    frame.render_widget(block, area);
    let rows = Layout::vertical([
        Constraint::Length(2),
        Constraint::Length(2),
        Constraint::Length(2),
        Constraint::Length(2),
    ]);
    let [first, second, third, last] = rows.areas(inside);
    let all = rates.second.requests().max(1);
    for (at, ((name, state), row)) in stage
        .states()
        .into_iter()
        .zip([first, second, third])
        .enumerate()
    {
        let served = rates.second.served.get(at).copied().unwrap_or(0);
        let up = state.starts_with("UP");
        let color = match (up, at) {
            (false, _) => Color::Red,
            (true, 0) => Color::Blue,
            (true, 1) => Color::Yellow,
            (true, _) => Color::Magenta,
        };
        let [label, bar] =
            Layout::horizontal([Constraint::Length(22), Constraint::Min(10)]).areas(row);
        let label_text = Line::from(vec![
            Span::from(format!("{name:<6}")).bold(),
            Span::styled(state, Style::new().fg(color)),
        ]);
        frame.render_widget(Paragraph::new(label_text), label);
        let ratio = (served as f64 / all as f64).clamp(0.0, 1.0);
        let gauge = Gauge::default()
            .gauge_style(Style::new().fg(color))
            .ratio(ratio)
            .label(format!("{served}/s"));
        frame.render_widget(
            gauge,
            Rect {
                height: row.height.min(1),
                ..bar
            },
        );
    }
    let failed = rates.whole.failed;
    let text = format!(
        "failed requests seen by clients: {failed} of {}",
        rates.whole.requests()
    );
    let text = if failed == 0 {
        text.green()
    } else {
        text.red().bold()
    };
    frame.render_widget(Paragraph::new(text), last);
}

fn events(frame: &mut Frame<'_>, area: Rect, stage: &Stage) {
    let room = usize::from(area.height.saturating_sub(2));
    let columns = usize::from(area.width.saturating_sub(2)).max(1);
    let lines: Vec<Line<'_>> = stage
        .events
        .last(room)
        .into_iter()
        .flat_map(|event| event_lines(event.at, &event.text, columns))
        .map(Line::from)
        .collect();
    // The newest are the ones that are looked at.
    let hidden = lines.len().saturating_sub(room);
    let shown: Vec<Line<'_>> = lines.into_iter().skip(hidden).collect();
    frame.render_widget(
        Paragraph::new(shown).block(Block::bordered().title(" events ")),
        area,
    );
}

/// Wraps an event to lines of at most `columns` columns (a longer word is cut by the
/// frame). Durations of checks and counts of remaining servers are left out.
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

/// The configuration without its opening comment.
fn excerpt(text: &str) -> &str {
    text.find("\nfrontend")
        .and_then(|at| text.get(at + 1..))
        .unwrap_or(text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::demo::stage::CONFIGURATION;

    #[test]
    fn an_event_is_broken_at_words_and_told_without_its_details() {
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
