//! Draws the screen of `evenkeel top`, a page of lines that can be scrolled and filtered, and
//! handles its keys and the results of polls.

use super::pages::{Measured, TopPage, ago, color, heading, lines, name_width};
use jiff::tz::TimeZone;
use overview::look::MachineReport;
use part::report::Grade;
use ratatui::Frame;
use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyModifiers};
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::Stylize;
use ratatui::text::{Line, Span};
use ratatui::widgets::{Clear, Paragraph, Wrap};
use std::time::Duration;

/// Number of polls whose rates are stored.
const RATES_MAX: usize = 40;
/// Delay of a poll, beyond the interval, after which the screen shows its age.
const LATE: Duration = Duration::from_secs(3);

const KEYS: [(&str, &str); 8] = [
    ("1 … 9", "a page"),
    ("Tab, ← →", "next page, previous page"),
    ("↑ ↓, PgUp PgDn", "scroll"),
    ("Home, End", "first line, last line"),
    ("/", "only lines with these words; Esc shows all"),
    ("p", "pause or continue"),
    ("?", "this help"),
    ("q, Ctrl-C", "quit"),
];

/// Displayed data, and the settings of the display.
#[derive(Debug, Default)]
pub struct Screen {
    look: Option<MachineReport>,
    trouble: Option<String>,
    measured: Measured,
    /// Title of the page; an index would change when pages appear or disappear.
    page: String,
    scrolled: usize,
    filter: String,
    types: bool,
    helps: bool,
    pub is_paused: bool,
    interval: Duration,
}

impl Screen {
    pub fn new(first: MachineReport, interval: Duration) -> Screen {
        let mut screen = Screen {
            interval,
            ..Screen::default()
        };
        screen.take(Ok(first));
        screen
    }

    pub fn take(&mut self, look: Result<MachineReport, String>) {
        match look {
            Ok(mut look) => {
                if let Some(before) = &self.look {
                    look.merge_changes(before);
                }
                self.measured.measure(self.look.as_ref(), &look);
                self.look = Some(look);
                self.trouble = None;
            }
            Err(words) => self.trouble = Some(words),
        }
    }

    fn pages(&self) -> Vec<TopPage> {
        self.look.as_ref().map(TopPage::all).unwrap_or_default()
    }

    fn at(&self, pages: &[TopPage]) -> usize {
        let at = pages.iter().position(|page| page.title() == self.page);
        at.unwrap_or_default()
    }

    fn turn_to(&mut self, at: usize) {
        if let Some(page) = self.pages().get(at) {
            self.page = page.title();
            self.scrolled = 0;
        }
    }

    /// Handles a key. Returns false if the key ends the display.
    pub fn key(&mut self, key: KeyEvent) -> bool {
        if key.modifiers.contains(KeyModifiers::CONTROL) {
            return key.code != KeyCode::Char('c');
        }
        if self.types {
            self.type_in(key.code);
            return true;
        }
        if self.helps {
            self.helps = false;
            return key.code != KeyCode::Char('q');
        }
        let pages = self.pages();
        let (at, count) = (self.at(&pages), pages.len().max(1));
        match key.code {
            KeyCode::Char('q') => return false,
            KeyCode::Char('?') | KeyCode::F(1) => self.helps = true,
            KeyCode::Char('p') => self.is_paused = !self.is_paused,
            KeyCode::Char('/') => self.types = true,
            KeyCode::Char(digit @ '1'..='9') => self.turn_to(digit as usize - '1' as usize),
            KeyCode::Tab | KeyCode::Right => self.turn_to((at + 1) % count),
            KeyCode::BackTab | KeyCode::Left => self.turn_to((at + count - 1) % count),
            KeyCode::Down => self.scrolled = self.scrolled.saturating_add(1),
            KeyCode::Up => self.scrolled = self.scrolled.saturating_sub(1),
            KeyCode::PageDown => self.scrolled = self.scrolled.saturating_add(10),
            KeyCode::PageUp => self.scrolled = self.scrolled.saturating_sub(10),
            KeyCode::Home => self.scrolled = 0,
            KeyCode::End => self.scrolled = usize::MAX,
            KeyCode::Esc => self.filter.clear(),
            _ => {}
        }
        true
    }

    fn type_in(&mut self, code: KeyCode) {
        match code {
            KeyCode::Enter => self.types = false,
            KeyCode::Esc => {
                self.types = false;
                self.filter.clear();
            }
            KeyCode::Backspace => {
                self.filter.pop();
            }
            KeyCode::Char(c) if self.filter.len() < 64 => self.filter.push(c),
            _ => {}
        }
        self.scrolled = 0;
    }

    pub fn draw(&mut self, frame: &mut Frame<'_>, zone: &TimeZone) {
        let trouble = self.trouble_line();
        let (columns, rows) = (frame.area().width, frame.area().height);
        let room = usize::from(columns).max(1);
        let high = trouble
            .as_ref()
            .map_or(0, |line| line.width().div_ceil(room));
        let areas = Layout::vertical([
            Constraint::Length(1),
            Constraint::Length(1),
            Constraint::Length(u16::try_from(high).unwrap_or(rows).min(rows / 4)),
            Constraint::Min(1),
            Constraint::Length(1),
        ]);
        let [head, tabs, says, body, foot] = areas.areas(frame.area());
        let pages = self.pages();
        let at = self.at(&pages);
        frame.render_widget(Paragraph::new(self.head()), head);
        frame.render_widget(Paragraph::new(titles(&pages, at)), tabs);
        let trouble = Paragraph::new(trouble.unwrap_or_default());
        frame.render_widget(trouble.wrap(Wrap { trim: true }), says);
        let mut place = String::new();
        if let (Some(look), Some(page)) = (&self.look, pages.get(at)) {
            let width = name_width(usize::from(columns));
            let heading = heading(page, width);
            let mut lines = lines(page, look, &self.measured, width, zone);
            if !self.filter.is_empty() {
                let filter = self.filter.to_lowercase();
                lines.retain(|line| line.to_string().to_lowercase().contains(&filter));
                if lines.is_empty() {
                    lines.push(Line::from("no line has these words".dim()));
                }
            }
            let height = usize::from(body.height).saturating_sub(usize::from(heading.is_some()));
            self.scrolled = self.scrolled.min(lines.len().saturating_sub(height));
            if lines.len() > height {
                let last = (self.scrolled + height).min(lines.len());
                place = format!(" {}–{last} of {} ", self.scrolled + 1, lines.len());
            }
            let shown = lines.into_iter().skip(self.scrolled);
            let shown: Vec<Line<'_>> = heading.into_iter().chain(shown).collect();
            frame.render_widget(Paragraph::new(shown), body);
        }
        frame.render_widget(Paragraph::new(self.foot()), foot);
        let place = Line::from(place.reversed());
        frame.render_widget(Paragraph::new(place.right_aligned()), foot);
        if self.helps {
            help(frame, body);
        }
    }

    fn head(&self) -> Line<'static> {
        let mut head = vec![" evenkeel top ".bold().reversed()];
        if let Some(look) = &self.look {
            let host = language::render::visible(&look.host);
            head.push(format!(" {host}, process {}", look.pid).into());
            if look.at.elapsed() > self.interval.saturating_add(LATE) {
                let ms = u64::try_from(look.at.elapsed().as_millis()).unwrap_or(u64::MAX);
                head.push(Span::styled(format!("  {}", ago(ms)), color(Grade::Bad)));
            }
        }
        if self.is_paused {
            head.push("  paused".yellow());
        }
        Line::from(head)
    }

    fn trouble_line(&self) -> Option<Line<'static>> {
        let words = self.trouble.as_ref()?.replace('\n', " ");
        let words = language::render::visible(&words).into_owned();
        Some(Line::styled(words, color(Grade::Bad)))
    }

    fn foot(&self) -> Line<'static> {
        match (self.types, self.filter.is_empty()) {
            (true, _) => Line::from(format!("/{}▏", self.filter)),
            (false, false) => Line::from(format!(
                " only lines with \"{}\"   Esc show all   q quit",
                self.filter
            )),
            (false, true) => {
                Line::from(" Tab page   ↑↓ scroll   / filter   p pause   ? help   q quit".dim())
            }
        }
    }
}

impl Measured {
    /// Adds the request rate of this poll, and computes the byte rates since the previous poll.
    /// These are None if a counter is lower than before.
    fn measure(&mut self, before: Option<&MachineReport>, now: &MachineReport) {
        let Some(traffic) = &now.traffic else {
            self.bytes = None;
            return;
        };
        if self.rates.len() == RATES_MAX {
            self.rates.pop_front();
        }
        self.rates.push_back(traffic.rate());
        self.bytes = before.and_then(|before| {
            let ms = now.at.duration_since(before.at).as_millis().max(1);
            let [old, new] = [before.traffic.as_ref()?.bytes(), traffic.bytes()];
            let rate = |way: usize| {
                let more = new[way].checked_sub(old[way])?;
                u64::try_from(u128::from(more) * 1_000 / ms).ok()
            };
            Some([rate(0)?, rate(1)?])
        });
    }
}

fn titles(pages: &[TopPage], at: usize) -> Line<'static> {
    let mut line = Vec::new();
    for (number, page) in pages.iter().enumerate() {
        let words = format!(" {} {} ", number + 1, page.title());
        line.push(if number == at {
            Span::from(words).reversed()
        } else {
            Span::from(words)
        });
    }
    Line::from(line)
}

fn help(frame: &mut Frame<'_>, body: Rect) {
    let line = |(keys, what): &(&str, &str)| Line::from(format!("  {keys:16} {what}"));
    let mut lines = vec![Line::from("  Keys".bold())];
    lines.extend(KEYS.iter().map(line));
    lines.push(Line::from("  Any key closes this help.".dim()));
    let height = u16::try_from(lines.len()).unwrap_or(u16::MAX);
    let area = Rect {
        height: height.min(body.height),
        ..body
    };
    frame.render_widget(Clear, area);
    frame.render_widget(Paragraph::new(lines), area);
}

#[cfg(test)]
mod tests {
    use super::*;
    use ratatui::Terminal;
    use ratatui::backend::TestBackend;
    use std::collections::VecDeque;

    fn shown(screen: &mut Screen, columns: u16, rows: u16) -> String {
        let mut terminal = Terminal::new(TestBackend::new(columns, rows)).unwrap();
        let draw = |frame: &mut Frame<'_>| screen.draw(frame, &TimeZone::UTC);
        terminal.draw(draw).unwrap();
        terminal.backend().to_string()
    }

    fn press(screen: &mut Screen, keys: &str) {
        for c in keys.chars() {
            let code = match c {
                '\n' => KeyCode::Enter,
                '\t' => KeyCode::Tab,
                '<' => KeyCode::Left,
                '$' => KeyCode::End,
                c => KeyCode::Char(c),
            };
            assert!(screen.key(code.into()), "{c:?}");
        }
    }

    #[test]
    fn a_terminal_of_80_columns_and_24_lines_is_enough() {
        let mut screen = Screen::default();
        screen.take(Ok(overview::sample::sample()));
        let overview = shown(&mut screen, 80, 24);
        press(&mut screen, "2");
        let traffic = shown(&mut screen, 80, 12);
        press(&mut screen, "?");
        let help = shown(&mut screen, 80, 14);
        insta::assert_snapshot!(format!("{overview}\n{traffic}\n{help}"));
    }

    #[test]
    fn keys_turn_pages_scroll_and_filter() {
        let mut screen = Screen::default();
        // Before anything was seen.
        press(&mut screen, "\t<2$");
        screen.take(Ok(overview::sample::sample()));
        press(&mut screen, "\t");
        assert_eq!(screen.page, "traffic");
        press(&mut screen, "<<");
        assert_eq!(screen.page, "events");
        press(&mut screen, "9");
        assert_eq!(screen.page, "events");
        press(&mut screen, "2/one\n");
        let one = shown(&mut screen, 80, 8);
        assert!(one.contains("  one ") && !one.contains("two"), "{one}");
        screen.key(KeyCode::Esc.into());
        press(&mut screen, "$");
        let end = shown(&mut screen, 80, 6);
        assert!(end.contains("s1") && end.contains("NAME"), "{end}");
        assert!(!end.contains("mail"), "{end}");
        press(&mut screen, "p");
        assert!(screen.is_paused);
        assert!(!screen.key(KeyCode::Char('q').into()));
        let end = KeyEvent::new(KeyCode::Char('c'), KeyModifiers::CONTROL);
        assert!(!screen.key(end));
    }

    #[test]
    fn lost_program_leaves_the_last_data() {
        let mut screen = Screen::default();
        screen.take(Err("no running \u{1b}[31m".to_owned()));
        let nothing = shown(&mut screen, 80, 5);
        assert!(nothing.contains("no running"), "{nothing}");
        assert!(!nothing.contains('\u{1b}'));
        screen.take(Ok(overview::sample::sample()));
        screen.take(Err("process 4711: gone".to_owned()));
        let left = shown(&mut screen, 100, 24);
        assert!(left.contains("\"process 4711: gone "), "{left}");
        assert!(left.contains("guest mail"), "{left}");
    }

    #[test]
    fn old_data_shows_its_age() {
        let mut screen = Screen::default();
        let mut look = overview::sample::sample();
        look.at = look.at.checked_sub(Duration::from_secs(90)).unwrap();
        screen.take(Ok(look));
        let old = shown(&mut screen, 80, 24);
        assert!(old.contains("as it was 9"), "{old}");
    }

    #[test]
    fn a_server_that_changes_is_an_event() {
        let mut screen = Screen::default();
        screen.take(Ok(overview::sample::sample()));
        let mut down = overview::sample::sample();
        let rows = &mut down.traffic.as_mut().unwrap().rows;
        rows[2].status = "DOWN 1/3".to_owned();
        rows[2].check = "L4CON".to_owned();
        screen.take(Ok(down));
        screen.take(Ok(overview::sample::sample()));
        let seen = screen.look.as_ref().unwrap().changes.iter();
        let seen: Vec<String> = seen
            .map(|(of, event)| format!("{of} {} {}", event.from, event.to))
            .collect();
        assert_eq!(seen, ["server app/one UP DOWN", "server app/one DOWN UP"]);
        press(&mut screen, "<");
        let events = shown(&mut screen, 80, 12);
        assert!(
            events.contains("server app/one  UP → DOWN: L4CON"),
            "{events}"
        );
    }

    #[test]
    fn restarted_counters_give_no_rate() {
        let mut screen = Screen::default();
        let mut first = overview::sample::sample();
        first.at = first
            .at
            .checked_sub(std::time::Duration::from_secs(2))
            .unwrap();
        screen.take(Ok(first));
        assert_eq!(screen.measured.bytes, None);
        let mut more = overview::sample::sample();
        let rows = &mut more.traffic.as_mut().unwrap().rows;
        rows[0].bytes[1] += 2_000_000;
        screen.take(Ok(more));
        let [from, to] = screen.measured.bytes.unwrap();
        assert_eq!(from, 0);
        assert!((900_000..=1_000_000).contains(&to), "{to}");
        screen.take(Ok(overview::sample::sample()));
        assert_eq!(screen.measured.bytes, None);
        assert_eq!(screen.measured.rates, VecDeque::from([341, 341, 341]));
    }
}
