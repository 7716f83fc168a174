//! Draws the box of a machine in the picture, with the volumes and guests on it.

use super::PlacedBox;
use crate::look::grade;
use crate::page::ConsolePage;
use crate::page::machine::{explain_stale_data, kind};
use crate::page::state::class;
use crate::page::words::{clean, count, counted};
use crate::platform::{MemberKind, PlatformMember};
use crate::traffic::TrafficRowKind;
use maud::{Markup, html};
use part::report::{Grade, Subject};
use part::status::{GUEST, GuestReport, GuestState};

pub(super) const HEAD: usize = 44;
const LINE: usize = 21;
const THINGS_MAX: usize = 6;
/// Width of a character of ordinary size, a generous average, in tenths of a unit.
const CHAR_TENTHS: usize = 75;

struct BoxLine {
    /// State of the object in the line. None for the heading of the lines that follow.
    grade: Option<Grade>,
    page: Option<ConsolePage>,
    name: String,
    /// Text after the name, dropped when it does not fit.
    detail: String,
    word: String,
}

pub(super) struct MachineBox {
    lines: Vec<BoxLine>,
}

impl MachineBox {
    pub(super) fn height(&self) -> usize {
        HEAD + self.lines.len() * LINE + 12
    }
}

fn heading(page: ConsolePage) -> BoxLine {
    BoxLine {
        grade: None,
        name: page.title(),
        page: Some(page),
        detail: String::new(),
        word: String::new(),
    }
}

fn note(grade: Grade, words: &str) -> BoxLine {
    BoxLine {
        grade: Some(grade),
        page: None,
        name: words.to_owned(),
        detail: String::new(),
        word: String::new(),
    }
}

pub(super) fn content(member: &PlatformMember) -> MachineBox {
    let mut lines = Vec::new();
    if member.state.grade == Grade::Bad && !member.why.is_empty() {
        lines.push(note(Grade::Bad, &member.why));
    }
    match (&member.look, explain_stale_data(member)) {
        (None, None) => {}
        (None, Some(_)) => lines.push(note(Grade::Unknown, "what runs here is not known")),
        (_, Some(_)) => {
            let age = part::report::span(member.age_ms);
            lines.push(note(Grade::Busy, &format!("as it was {age} ago")));
        }
        (_, None) => {}
    }
    if member.kind == MemberKind::Arbiter {
        lines.push(note(Grade::Unknown, "breaks ties, holds no data"));
    }
    let notes = lines.len();
    lines.extend(traffic(member));
    for (part, kind) in [
        ("address", "virtual-ip"),
        ("volume", "volume"),
        ("guest", "guest"),
    ] {
        add_subject_lines(member, part, kind, &mut lines);
    }
    if explain_stale_data(member).is_some() {
        // Removes the colour of the last known state, which may not be the current one.
        let below = lines.iter_mut().skip(notes);
        below
            .filter(|line| line.grade.is_some())
            .for_each(|line| line.grade = Some(Grade::Unknown));
    }
    MachineBox { lines }
}

fn traffic(member: &PlatformMember) -> Vec<BoxLine> {
    let look = member.look.as_ref();
    let Some(traffic) = look.and_then(|look| look.traffic.as_ref()) else {
        let silent = look.is_some_and(|look| look.silent.is_some());
        let line = silent.then(|| note(Grade::Bad, "the proxy does not respond"));
        return line.into_iter().collect();
    };
    let servers = traffic
        .rows
        .iter()
        .filter(|row| row.kind == TrafficRowKind::Server);
    let grades: Vec<Grade> = servers.map(|row| grade(&row.status)).collect();
    let up = grades.iter().filter(|grade| **grade == Grade::Good).count();
    let frontends = traffic.frontends().count();
    let of_servers = BoxLine {
        grade: Some(match (up == grades.len(), grades.contains(&Grade::Bad)) {
            (_, true) => Grade::Bad,
            (true, false) => Grade::Good,
            (false, false) => Grade::Busy,
        }),
        page: None,
        name: "servers".to_owned(),
        detail: String::new(),
        word: format!("{up} of {} up", grades.len()),
    };
    let of_frontends = BoxLine {
        grade: Some(Grade::Unknown),
        page: None,
        name: counted(frontends, "frontend"),
        detail: String::new(),
        word: format!("{}/s", count(traffic.rate())),
    };
    vec![heading(ConsolePage::Traffic), of_frontends, of_servers]
}

fn add_subject_lines(member: &PlatformMember, part: &str, kind: &str, lines: &mut Vec<BoxLine>) {
    let reports = member.look.iter().flat_map(|look| &look.reports);
    let subjects: Vec<&Subject> = reports
        .filter(|report| report.part == part)
        .flat_map(|report| report.of_kind(kind))
        // Skips a guest that is on another machine, in whose box it is shown.
        .filter(|one| one.kind != GUEST || GuestReport::of(one).state != GuestState::Elsewhere)
        .collect();
    if subjects.is_empty() {
        return;
    }
    lines.push(heading(ConsolePage::Part(part.to_owned())));
    for one in subjects.iter().take(THINGS_MAX) {
        let addresses = one.of_kind("address").map(|address| address.name.as_str());
        lines.push(BoxLine {
            grade: Some(one.state.grade),
            page: None,
            name: one.name.clone(),
            detail: addresses.take(1).collect(),
            word: one.state.word.clone(),
        });
    }
    if subjects.len() > THINGS_MAX {
        let more = subjects.len() - THINGS_MAX;
        lines.push(note(Grade::Unknown, &format!("and {more} more")));
    }
}

/// Shortens a text to a number of columns. Wide characters take two.
pub(super) fn fit(text: &str, columns: usize) -> String {
    let width = |c: char| if c >= '\u{1100}' { 2 } else { 1 };
    if text.chars().map(width).sum::<usize>() <= columns {
        return text.to_owned();
    }
    let (mut fitted, mut used) = (String::new(), 1);
    for c in text.chars() {
        used += width(c);
        if used > columns {
            break;
        }
        fitted.push(c);
    }
    fitted + "…"
}

/// Draws the shape of a grade at a point: circle, ring, diamond, triangle or dash.
fn shape(grade: Grade, x: usize, y: usize) -> Markup {
    let class = format!("g {}", class(grade));
    html! {
        @match grade {
            Grade::Good => circle class=(class) cx=(x) cy=(y) r="4.5" {},
            Grade::Standby => circle class={ (class) " ring" } cx=(x) cy=(y) r="3.7" {},
            Grade::Busy => path class=(class) d={ "M" (x) " " (y - 5) "l5 5l-5 5l-5-5z" } {},
            Grade::Bad => path class=(class) d={ "M" (x) " " (y - 5) "l5.5 9.5h-11z" } {},
            Grade::Unknown => rect class=(class) x=(x - 4) y=(y - 1) width="8" height="2" {},
        }
    }
}

pub(super) fn draw(placed: &PlacedBox<'_>) -> Markup {
    let PlacedBox {
        member,
        x,
        y,
        width,
        height,
        ..
    } = *placed;
    let state = &member.state;
    let columns = columns(width);
    let word = fit(&clean(&state.word), 18);
    let name = clean(&member.name);
    // Reserves more width for the name, which has a larger, bold font.
    let room = columns.saturating_sub(word.chars().count() + kind(member).len() + 3) * 4 / 5;
    let title = html! {
        tspan.name { (fit(&name, room)) } tspan.kind dx="7" { (kind(member)) }
    };
    html! {
        g class={ "box b-" (class(state.grade)) } {
            rect.frame x=(x) y=(y) width=(width) height=(height) rx="8" {}
            path.rule d={ "M" (x) " " (y + HEAD - 6) "h" (width) } {}
            (shape(state.grade, x + 20, y + 20))
            text x=(x + 34) y=(y + 25) { (title) title { (name) } }
            text class={ "word t-" (class(state.grade)) } x=(x + width - 14) y=(y + 25) text-anchor="end" { (word) }
            @for (at, line) in placed.content.lines.iter().enumerate() {
                (draw_line(line, x, y + HEAD + at * LINE + 14, width))
            }
        }
    }
}

fn columns(width: usize) -> usize {
    (width - 48) * 10 / CHAR_TENTHS
}

fn draw_line(line: &BoxLine, x: usize, y: usize, width: usize) -> Markup {
    let columns = columns(width);
    let Some(grade) = line.grade else {
        let text = html! { text.group x=(x + 14) y=(y) { (line.name) } };
        return html! {
            @match &line.page {
                Some(page) => a href=(page.path()) { (text) },
                None => (text),
            }
        };
    };
    let word = fit(&clean(&line.word), 20);
    let name = clean(&line.name);
    let room = columns.saturating_sub(word.chars().count() + 1);
    let fitted = fit(&name, room);
    let left = room.saturating_sub(fitted.chars().count() + 1);
    let detail = clean(&line.detail);
    // Shows an address only if it fits, because a truncated address would look like another one.
    let has_room = !detail.is_empty() && detail.chars().count() <= left;
    html! {
        (shape(grade, x + 20, y - 4))
        text x=(x + 34) y=(y) {
            (fitted)
            @if has_room { tspan.detail dx="7" { (detail) } }
            @if fitted != name { title { (name) } }
        }
        text class={ "word t-" (class(grade)) } x=(x + width - 14) y=(y) text-anchor="end" { (word) }
    }
}
