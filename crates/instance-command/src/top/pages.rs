//! Formats the pages of `evenkeel top` as lines: overview, traffic, one page per report, and
//! events. All texts come from files, unprivileged processes or the network, so they are escaped
//! before they reach the terminal.

use jiff::Timestamp;
use jiff::tz::TimeZone;
use language::render::visible;
use overview::look::{MachineProblem, MachineReport, grade};
use overview::traffic::{Traffic, TrafficRow, TrafficRowKind};
use part::report::{Event, Grade, StatusReport, span};
use ratatui::style::{Color, Style, Stylize};
use ratatui::text::{Line, Span};
use std::collections::VecDeque;

#[derive(Clone, PartialEq, Eq, Debug)]
pub enum TopPage {
    Overview,
    Traffic,
    Part(String),
    Events,
}

impl TopPage {
    pub fn all(look: &MachineReport) -> Vec<TopPage> {
        let traffic = look.traffic.as_ref().map(|_| TopPage::Traffic);
        let parts = look
            .reports
            .iter()
            .map(|one| TopPage::Part(one.part.clone()));
        let first = [TopPage::Overview].into_iter().chain(traffic);
        first.chain(parts).chain([TopPage::Events]).collect()
    }

    pub fn title(&self) -> String {
        let name = match self {
            TopPage::Overview => "overview",
            TopPage::Traffic => "traffic",
            TopPage::Part(part) => part,
            TopPage::Events => "events",
        };
        visible(name).into_owned()
    }
}

#[derive(Clone, Debug, Default)]
pub struct Measured {
    /// Bytes per second from clients and to clients; None before the second poll or without a
    /// proxy.
    pub bytes: Option<[u64; 2]>,
    /// Requests per second at each poll, oldest first.
    pub rates: VecDeque<u64>,
}

/// Returns the heading of the traffic page, which is not scrolled; None for other pages.
pub fn heading(page: &TopPage, name_width: usize) -> Option<Line<'static>> {
    (*page == TopPage::Traffic).then(|| rows_heading(name_width))
}

pub fn name_width(columns: usize) -> usize {
    columns.saturating_sub(ROW_WIDTH).max(NAME_MIN)
}

pub fn longest_name(look: &MachineReport) -> usize {
    let rows = look.traffic.iter().flat_map(|traffic| &traffic.rows);
    let longest = rows.map(|row| name_of(row).chars().count()).max();
    longest.unwrap_or_default().max(NAME_MIN)
}

pub fn lines(
    page: &TopPage,
    look: &MachineReport,
    measured: &Measured,
    name_width: usize,
    zone: &TimeZone,
) -> Vec<Line<'static>> {
    match page {
        TopPage::Overview => overview(look, measured),
        TopPage::Traffic => {
            let traffic = look.traffic.iter();
            traffic.flat_map(|one| rows(one, name_width)).collect()
        }
        TopPage::Part(part) => {
            let mut reports = look.reports.iter();
            let report = reports.find(|report| report.part == *part);
            report.map(of_report).unwrap_or_default()
        }
        TopPage::Events => events(&look.events(), zone),
    }
}

fn overview(look: &MachineReport, measured: &Measured) -> Vec<Line<'static>> {
    let problems = look.problems();
    let mut lines = vec![match problems.len() {
        0 => Line::from("nothing needs attention".green()),
        1 => Line::from("1 thing needs attention".bold()),
        number => Line::from(format!("{number} things need attention").bold()),
    }];
    for problem in &problems {
        lines.extend(problem_lines(problem));
    }
    match look.taken_out() {
        0 => {}
        number => {
            let words = format!("  {number} in maintenance, draining or paused");
            lines.push(Line::styled(words, color(Grade::Busy)));
        }
    }
    lines.push(Line::default());
    if let Some(traffic) = &look.traffic {
        lines.extend(summary(traffic, measured));
        lines.push(Line::default());
    }
    let width = look.reports.iter().map(|one| one.part.chars().count());
    let width = width.max().unwrap_or_default();
    for report in &look.reports {
        let summary = report.summary();
        lines.push(Line::from(vec![
            Span::from(format!("{:width$}  ", visible(&report.part))).bold(),
            Span::styled(visible(&summary.words).into_owned(), color(summary.grade)),
        ]));
    }
    lines
}

fn problem_lines(problem: &MachineProblem) -> Vec<Line<'static>> {
    let mut lines = vec![Line::from(vec![
        Span::styled("  ! ", color(Grade::Bad)),
        Span::from(visible(&problem.what).into_owned()).bold(),
        " ".into(),
        Span::styled(visible(&problem.state).into_owned(), color(Grade::Bad)),
    ])];
    if !problem.why.is_empty() {
        lines.push(Line::from(format!("      {}", visible(&problem.why))));
    }
    if !problem.next.is_empty() {
        lines.push(Line::from(format!("      see: {}", problem.next).dim()));
    }
    lines
}

fn summary(traffic: &Traffic, measured: &Measured) -> Vec<Line<'static>> {
    let of = |what: &str, max: &str| {
        let (what, max) = (traffic.fact(what), traffic.fact(max));
        visible(&format!("{what} of {max}")).into_owned()
    };
    let bytes = match measured.bytes {
        Some([from, to]) => format!("{}/s in, {}/s out", scaled(from), scaled(to)),
        None => {
            let [from, to] = traffic.bytes();
            format!("{} in, {} out since the start", scaled(from), scaled(to))
        }
    };
    let name = |name: &str| Span::from(format!("{name:13}")).bold();
    let mut lines = vec![
        Line::from(vec![
            name("requests"),
            format!("{}/s  {}", traffic.rate(), bars(&measured.rates)).into(),
        ]),
        Line::from(vec![name("connections"), of("CurrConns", "Maxconn").into()]),
        Line::from(vec![name("data"), bytes.into()]),
    ];
    let uptime = visible(traffic.fact("Uptime")).into_owned();
    lines.push(Line::from(vec![name("up for"), uptime.into()]));
    lines
}

/// Draws numbers as bars of eight heights; the maximum has the full height.
fn bars(numbers: &VecDeque<u64>) -> String {
    const BARS: [char; 9] = [' ', '▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
    let most = numbers.iter().copied().max().unwrap_or_default().max(1);
    let bar = |number: &u64| {
        let height = (u128::from(*number) * 8).div_ceil(u128::from(most));
        BARS[usize::try_from(height).unwrap_or(0).min(8)]
    };
    numbers.iter().map(bar).collect()
}

fn scaled(bytes: u64) -> String {
    const UNITS: [&str; 6] = ["k", "M", "G", "T", "P", "E"];
    if bytes < 1000 {
        return format!("{bytes} B");
    }
    let (mut rest, mut unit) = (bytes as f64, "");
    for one in UNITS {
        if rest < 999.5 {
            break;
        }
        (rest, unit) = (rest / 1000.0, one);
    }
    if rest < 9.95 {
        format!("{rest:.1} {unit}B")
    } else {
        format!("{rest:.0} {unit}B")
    }
}

const COLUMNS: [(&str, usize); 8] = [
    ("STATUS", 12),
    ("SESS", 5),
    ("QUEUE", 5),
    ("RATE/S", 7),
    ("OUT", 7),
    ("ERRORS", 6),
    ("5XX", 5),
    ("TIME", 7),
];
const ROW_WIDTH: usize = 12 + 1 + 5 + 1 + 5 + 1 + 7 + 1 + 7 + 1 + 6 + 1 + 5 + 1 + 7 + 1;
const NAME_MIN: usize = 18;

fn rows_heading(name_width: usize) -> Line<'static> {
    let [(status, wide), numbers @ ..] = COLUMNS;
    let mut head = format!("{:name_width$} {status:wide$}", "NAME");
    for (column, width) in numbers {
        head += &format!(" {column:>width$}");
    }
    Line::from(head.reversed())
}

fn rows(traffic: &Traffic, name_width: usize) -> Vec<Line<'static>> {
    let mut lines = Vec::new();
    for row in &traffic.rows {
        lines.push(of_row(row, name_width));
        if grade(&row.status) == Grade::Bad && !row.check.is_empty() {
            let why = format!("{:name_width$} {}", "", visible(&row.check));
            lines.push(Line::from(why.dim()));
        }
    }
    lines
}

fn name_of(row: &TrafficRow) -> String {
    match row.kind {
        TrafficRowKind::Frontend => format!("{} (frontend)", row.proxy),
        TrafficRowKind::Backend => format!("{} (backend)", row.proxy),
        TrafficRowKind::Server => format!("  {}", row.name),
    }
}

fn of_row(row: &TrafficRow, name_width: usize) -> Line<'static> {
    let some = |number: Option<u64>| number.map_or_else(String::new, |number| number.to_string());
    let takes = row
        .takes_ms
        .map_or_else(String::new, |ms| format!("{ms} ms"));
    let numbers = [
        row.sessions.to_string(),
        some(row.queued),
        row.rate.to_string(),
        scaled(row.bytes[1]),
        row.errors.to_string(),
        some(row.failed),
        takes,
    ];
    let [(_, wide), widths @ ..] = COLUMNS;
    let mut rest = String::new();
    for (number, (_, width)) in numbers.into_iter().zip(widths) {
        rest += &format!(" {number:>width$}");
    }
    let name = format!("{} ", fit(&name_of(row), name_width));
    let name = match row.kind {
        TrafficRowKind::Server => Span::from(name),
        _ => Span::from(name).bold(),
    };
    let status = fit(&row.status, wide);
    let status = Span::styled(status, color(grade(&row.status)));
    Line::from(vec![name, status, rest.into()])
}

fn fit(text: &str, columns: usize) -> String {
    let text = visible(text);
    let mut fitted: String = text.chars().take(columns).collect();
    if text.chars().count() > columns {
        fitted.pop();
        fitted.push('…');
    }
    format!("{fitted:columns$}")
}

/// Formats a report like `evenkeel status`, with each object in the colour of its state.
fn of_report(report: &StatusReport) -> Vec<Line<'static>> {
    let mut grades = report.subjects.iter().map(|one| one.state.grade);
    let line = |line: &str| {
        let words = visible(line).into_owned();
        if line.starts_with(' ') {
            Line::from(words)
        } else {
            Line::styled(words, color(grades.next().unwrap_or_default()).bold())
        }
    };
    let lines: Vec<_> = report.text().lines().map(line).collect();
    if lines.is_empty() {
        vec![Line::from("nothing is configured".dim())]
    } else {
        lines
    }
}

fn events(events: &[(String, &Event)], zone: &TimeZone) -> Vec<Line<'static>> {
    if events.is_empty() {
        let nothing = "no changes recorded; the log of the program has reloads and restarts";
        return vec![Line::from(nothing.dim())];
    }
    let line = |(of, event): &(String, &Event)| {
        let Event { from, to, why, .. } = event;
        let change = if from.is_empty() {
            to.clone()
        } else {
            format!("{from} → {to}")
        };
        let why = if why.is_empty() {
            String::new()
        } else {
            format!(": {why}")
        };
        Line::from(vec![
            Span::from(format!("{}  ", time(event.at.unix_ms, zone))).dim(),
            Span::from(visible(of).into_owned()).bold(),
            visible(&format!("  {change}{why}")).into_owned().into(),
        ])
    };
    events.iter().map(line).collect()
}

fn time(unix_ms: u64, zone: &TimeZone) -> String {
    let ms = i64::try_from(unix_ms).unwrap_or(i64::MAX);
    let at = Timestamp::from_millisecond(ms).unwrap_or(Timestamp::UNIX_EPOCH);
    let at = at.to_zoned(zone.clone());
    at.strftime("%Y-%m-%d %H:%M:%S").to_string()
}

pub fn color(grade: Grade) -> Style {
    let style = Style::new();
    match grade {
        Grade::Good => style.fg(Color::Green),
        Grade::Standby => style.fg(Color::Cyan),
        Grade::Busy => style.fg(Color::Yellow),
        Grade::Bad => style.fg(Color::Red).bold(),
        Grade::Unknown => style,
    }
}

pub fn ago(ms: u64) -> String {
    format!("as it was {} ago", span(ms))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(page: &TopPage, look: &MachineReport) -> String {
        let measured = Measured {
            bytes: Some([1_234_567, 999_600]),
            rates: [0, 1, 50, 341].into(),
        };
        let heading = heading(page, 18);
        let lines = lines(page, look, &measured, 18, &TimeZone::UTC);
        let lines: Vec<Line<'_>> = heading.into_iter().chain(lines).collect();
        let lines: Vec<String> = lines.iter().map(Line::to_string).collect();
        lines.join("\n")
    }

    #[test]
    fn every_page_shows_its_content() {
        let look = overview::sample::sample();
        let pages = TopPage::all(&look);
        let titles: Vec<String> = pages.iter().map(TopPage::title).collect();
        assert_eq!(
            titles,
            ["overview", "traffic", "address", "guest", "events"]
        );
        let all: Vec<String> = pages
            .iter()
            .map(|page| format!("== {}\n{}", page.title(), text(page, &look)))
            .collect();
        insta::assert_snapshot!(all.join("\n\n"));
    }

    #[test]
    fn empty_program_is_reported() {
        let mut look = overview::sample::sample();
        look.traffic = None;
        look.reports.truncate(1);
        look.reports[0].subjects.clear();
        let pages = TopPage::all(&look);
        let all: Vec<String> = pages.iter().map(|page| text(page, &look)).collect();
        assert_eq!(
            all,
            [
                "nothing needs attention\n\naddress  ",
                "nothing is configured",
                "no changes recorded; the log of the program has reloads and restarts"
            ]
        );
    }

    #[test]
    fn bytes_have_three_digits_at_most() {
        for (bytes, words) in [
            (0, "0 B"),
            (999, "999 B"),
            (1_000, "1.0 kB"),
            (9_949, "9.9 kB"),
            (9_950, "10 kB"),
            (999_499, "999 kB"),
            (999_500, "1.0 MB"),
            (u64::MAX, "18 EB"),
        ] {
            assert_eq!(scaled(bytes), words);
        }
    }

    #[test]
    fn bars_are_as_high_as_their_numbers() {
        assert_eq!(bars(&[0, 1, 4, 8].into()), " ▁▄█");
        assert_eq!(bars(&[0, 0].into()), "  ");
        assert_eq!(bars(&[u64::MAX, 1].into()), "█▁");
    }

    #[test]
    fn what_does_not_fit_is_cut() {
        assert_eq!(fit("abc", 5), "abc  ");
        assert_eq!(fit("abcdef", 5), "abcd…");
    }
}
