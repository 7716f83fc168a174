//! Draws a picture of the machines as boxes with the links between them. There are two drawings,
//! for a wide and for a narrow window; the style sheet shows one of them.

mod boxes;

use super::machine::explain_stale_data;
use super::words::{clean, counted};
use crate::platform::{MemberKind, Platform, PlatformMember};
use boxes::{HEAD, MachineBox, content};
use maud::{Markup, html};
use part::report::Grade;
use part::status::{MEMBER, MemberReach, MemberReport};

const MACHINES_MAX: usize = 8;

struct PlacedBox<'p> {
    member: &'p PlatformMember,
    content: MachineBox,
    x: usize,
    y: usize,
    width: usize,
    height: usize,
}

impl PlacedBox<'_> {
    fn middle(&self) -> usize {
        self.x + self.width / 2
    }

    fn right(&self) -> usize {
        self.x + self.width
    }

    fn bottom(&self) -> usize {
        self.y + self.height
    }

    fn dock(&self) -> usize {
        self.y + HEAD / 2
    }
}

/// A link between two machines, as far as its state is known.
struct MachineLink {
    grade: Grade,
    words: String,
}

pub(super) fn of(platform: &Platform) -> Markup {
    let mut members: Vec<&PlatformMember> = platform.members.iter().collect();
    // Sorts the machines in the same order on every machine: nodes by name, then arbiters.
    members.sort_by_key(|one| (one.kind == MemberKind::Arbiter, &one.name));
    let more = members.len().saturating_sub(MACHINES_MAX);
    members.truncate(MACHINES_MAX);
    let heading = match members.len() {
        1 => "The machine",
        _ => "The machines",
    };
    html! {
        @if !members.is_empty() {
            h2 { (heading) }
            @if members.len() == 1 { (single(members[0])) }
            @else { (wide(&members)) (narrow(&members)) }
            @if more > 0 { p.more { "… and " (counted(more, "machine")) " more." } }
        }
    }
}

fn svg(class: &str, width: usize, height: usize, inner: &Markup) -> Markup {
    html! {
        svg class={ "picture " (class) } viewBox={ "0 0 " (width) " " (height) } role="group"
            aria-label="The machines and what runs on them" { (inner) }
    }
}

fn single(member: &PlatformMember) -> Markup {
    const WIDTH: usize = 420;
    let content = content(member);
    let height = content.height();
    let placed = PlacedBox {
        member,
        content,
        x: 1,
        y: 1,
        width: WIDTH - 2,
        height,
    };
    svg("single", WIDTH, height + 2, &boxes::draw(&placed))
}

/// Draws two columns. The third of three machines is centred below the others.
fn wide(members: &[&PlatformMember]) -> Markup {
    const WIDTH: usize = 960;
    const BOX: usize = 370;
    const BELOW: usize = 48;
    let mut placed: Vec<PlacedBox<'_>> = Vec::new();
    let mut y = 1;
    for pair in members.chunks(2) {
        let contents: Vec<MachineBox> = pair.iter().map(|member| content(member)).collect();
        let height = contents
            .iter()
            .map(MachineBox::height)
            .max()
            .unwrap_or_default();
        let is_middle = pair.len() == 1;
        for (column, (member, content)) in pair.iter().zip(contents).enumerate() {
            let x = match (is_middle, column) {
                (true, _) => (WIDTH - BOX) / 2,
                (false, 0) => 1,
                (false, _) => WIDTH - BOX - 1,
            };
            placed.push(PlacedBox {
                member,
                content,
                x,
                y,
                width: BOX,
                height,
            });
        }
        y += height + BELOW;
    }
    let inner = html! {
        @match placed.as_slice() {
            [a, b] => (across(a, b)),
            [a, b, c] => { (across(a, b)) (down(a, c)) (down(b, c)) },
            all => (behind(all)),
        }
        @for one in &placed { (boxes::draw(one)) }
    };
    svg("wide", WIDTH, y - BELOW + 1, &inner)
}

/// Draws one column. Links connect neighbours; the link between the first and the third machine
/// runs beside the boxes.
fn narrow(members: &[&PlatformMember]) -> Markup {
    const WIDTH: usize = 360;
    const BELOW: usize = 40;
    let rail = if members.len() == 3 { 20 } else { 1 };
    let mut placed: Vec<PlacedBox<'_>> = Vec::new();
    let mut y = 1;
    for member in members {
        let content = content(member);
        let height = content.height();
        placed.push(PlacedBox {
            member,
            content,
            x: rail,
            y,
            width: WIDTH - rail - 1,
            height,
        });
        y += height + BELOW;
    }
    let inner = html! {
        @if members.len() <= 3 {
            @for two in placed.windows(2) { (below(&two[0], &two[1])) }
        }
        @if let [a, _, c] = placed.as_slice() { (beside(a, c)) }
        @for one in &placed { (boxes::draw(one)) }
    };
    svg("narrow", WIDTH, y - BELOW + 1, &inner)
}

fn link(a: &PlatformMember, b: &PlatformMember) -> MachineLink {
    let seen = [seen(a, b), seen(b, a)].into_iter().flatten();
    let worst = seen.max_by_key(|link| link.grade);
    worst.unwrap_or_else(|| MachineLink {
        grade: Grade::Unknown,
        words: "not known".to_owned(),
    })
}

fn seen(from: &PlatformMember, to: &PlatformMember) -> Option<MachineLink> {
    // Ignores a machine that no longer responds, because its last report does not describe the
    // current link.
    let look = from
        .look
        .as_ref()
        .filter(|_| explain_stale_data(from).is_none())?;
    let report = look
        .reports
        .iter()
        .find(|report| report.part == "cluster")?;
    let member = MemberReport::of(report.find(MEMBER, &to.name)?);
    // Omits the round-trip time, which changes with each poll.
    let (grade, words) = match member.reach {
        MemberReach::Away => (Grade::Bad, "no link".to_owned()),
        MemberReach::Direct => (Grade::Good, "direct link".to_owned()),
        MemberReach::Relayed => (Grade::Good, format!("through {}", member.relay)),
        MemberReach::Local | MemberReach::Unknown => (Grade::Good, "linked".to_owned()),
    };
    Some(MachineLink { grade, words })
}

fn path(link: &MachineLink, d: &str) -> Markup {
    html! { path class={ "link l-" (super::state::class(link.grade)) } d=(d) {} }
}

fn label(link: &MachineLink, x: usize, y: usize, anchor: &str) -> Markup {
    let words = boxes::fit(&clean(&link.words), 20);
    html! {
        text class={ "label l-" (super::state::class(link.grade)) } x=(x) y=(y) text-anchor=(anchor) { (words) }
    }
}

fn across(a: &PlacedBox<'_>, b: &PlacedBox<'_>) -> Markup {
    let link = link(a.member, b.member);
    let y = a.dock();
    html! {
        (path(&link, &format!("M{} {y}H{}", a.right(), b.x)))
        (label(&link, (a.right() + b.x) / 2, y - 9, "middle"))
    }
}

fn down(a: &PlacedBox<'_>, c: &PlacedBox<'_>) -> Markup {
    let link = link(a.member, c.member);
    let is_left = a.middle() < c.middle();
    let from = if is_left {
        a.middle() - 60
    } else {
        a.middle() + 60
    };
    let to = if is_left { c.x } else { c.right() };
    let y = c.dock();
    html! {
        (path(&link, &format!("M{from} {}V{y}H{to}", a.bottom())))
        (label(&link, (from + to) / 2, y - 9, "middle"))
    }
}

fn below(a: &PlacedBox<'_>, b: &PlacedBox<'_>) -> Markup {
    let link = link(a.member, b.member);
    let (x, from, to) = (a.middle(), a.bottom(), b.y);
    html! {
        (path(&link, &format!("M{x} {from}V{to}")))
        (label(&link, x + 12, (from + to) / 2 + 4, "start"))
    }
}

fn beside(a: &PlacedBox<'_>, c: &PlacedBox<'_>) -> Markup {
    let link = link(a.member, c.member);
    html! { (path(&link, &format!("M{} {}H6V{}H{}", a.x, a.dock(), c.dock(), c.x))) }
}

/// Draws the links between more than three machines, under their boxes.
fn behind(all: &[PlacedBox<'_>]) -> Markup {
    let pairs = all.iter().enumerate();
    let pairs = pairs.flat_map(|(at, a)| all[at + 1..].iter().map(move |b| (a, b)));
    html! {
        @for (a, b) in pairs {
            (path(&link(a.member, b.member), &format!("M{} {}L{} {}", a.middle(), a.dock(), b.middle(), b.dock())))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sample;

    #[test]
    fn links_are_the_same_with_noise_for_texts() {
        let links = |platform: &Platform| {
            let pairs = platform.members.windows(2);
            let links = pairs.map(|pair| link(&pair[0], &pair[1]));
            links
                .map(|link| (link.grade, link.words))
                .collect::<Vec<_>>()
        };
        for make in [sample::platform, sample::broken] {
            let plain = links(&make());
            assert_eq!(links(&sample::with_noise(make())), plain);
        }
        let plain = links(&sample::platform());
        assert_eq!(plain[0], (Grade::Good, "direct link".to_owned()));
    }
}
