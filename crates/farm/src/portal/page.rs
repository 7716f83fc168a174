//! The pages of the portal. Values in, markup out; maud escapes all texts.

use super::offer::Offer;
use crate::guests::Guest;
use crate::site::{How, Stay};
use access::page::{clean, head, hidden, mark};
use access::session::Visitor;
use maud::{DOCTYPE, Markup, html};
use part::report::{Grade, State};
use screen::kind::{KINDS, Kind};
use screen::page as screens;

/// The style sheet.
pub const STYLE: &str = concat!(
    include_str!("../../../access/src/page/base.css"),
    include_str!("style.css"),
    include_str!("../../../screen/src/screen.css")
);

/// What the list shows.
#[derive(Clone, Copy, Debug)]
pub struct List<'l> {
    /// What the pages are of.
    pub brand: &'l str,
    /// Who has signed in.
    pub visitor: &'l Visitor,
    /// What they may start.
    pub offers: &'l [Offer<'l>],
    /// The names of those that cannot be started now: no host takes users.
    pub closed: &'l [&'l str],
    /// The guests that they may open, or why those are not known; None: that is not theirs.
    pub guests: Option<&'l Result<Vec<Guest>, String>>,
    /// Their sessions.
    pub sessions: &'l [Stay],
    /// What users of their host have to know.
    pub notice: Option<&'l str>,
    /// The host of the portal in addresses.
    pub authority: &'l str,
    /// The gateway, as clients have it.
    pub gateway: Option<&'l str>,
}

/// What the page of a display or a terminal shows.
#[derive(Clone, Copy)]
pub struct Screen<'s> {
    /// What the pages are of.
    pub brand: &'s str,
    /// Who has signed in.
    pub visitor: &'s Visitor,
    /// A display or a terminal.
    pub kind: &'s Kind,
    /// The guest.
    pub guest: &'s str,
    /// The path of the script; None: the library that draws it is missing.
    pub script: Option<&'s str>,
}

/// A page with its top.
fn frame(
    (brand, visitor): (&str, &Visitor),
    (title, script): (&str, Option<&str>),
    content: &Markup,
) -> Markup {
    html! {
        (DOCTYPE)
        html lang="en" {
            (head(title, brand, script))
            body.portal.wide[script.is_some()] {
                header.top {
                    a.brand href="/" { (mark()) (brand) }
                    div.who {
                        span.viewer { (clean(&visitor.name)) }
                        form method="post" action="/sign-out" {
                            (hidden("csrf", &visitor.csrf))
                            button.quiet type="submit" { "Sign out" }
                        }
                    }
                }
                main { (content) }
            }
        }
    }
}

/// What a user may start, and the guests that they may open.
pub fn list(list: &List<'_>) -> Markup {
    let starts = !list.offers.is_empty();
    let content = html! {
        h1 { "Remote desktops" }
        @for stay in list.sessions { (session(stay, list.gateway)) }
        @if let Some(text) = list.notice {
            p.session role="status" { span.s.busy { "Notice" } span { (clean(text)) } }
        }
        @if starts || list.guests.is_none() { (tiles(list.offers, list.closed)) }
        @if let Some(known) = list.guests { (guests(known)) }
        @if starts || list.guests.is_none() { (help(list.authority)) }
    };
    frame(
        (list.brand, list.visitor),
        ("Remote desktops", None),
        &content,
    )
}

/// The page of a display or a terminal.
pub fn screen(page: &Screen<'_>) -> Markup {
    let title = format!("{} of {}", page.kind.title, page.guest);
    let path = format!("/{}/{}", page.kind.path, page.guest);
    let content = html! {
        h1.title { span { a.up href="/" { "Remote desktops" } span.sep { " / " } (title) } }
        @match page.script {
            Some(_) => { (screens::content(page.kind, &title, &path, &html! {})) }
            None => { (screens::missing(page.kind, "farm", &html! {})) }
        }
    };
    frame((page.brand, page.visitor), (&title, page.script), &content)
}

/// The guests that can be opened now.
fn guests(known: &Result<Vec<Guest>, String>) -> Markup {
    html! {
        section.guests {
            h2 { "Virtual machines" }
            @match known {
                Err(words) => { p.empty role="status" { (clean(words)) } }
                Ok(all) if all.is_empty() => { p.empty { "None of yours runs now." } }
                Ok(all) => { ul.tiles { @for one in all { li.tile { (guest(one)) } } } }
            }
        }
    }
}

fn guest(guest: &Guest) -> Markup {
    let kinds = KINDS.iter().filter(|kind| guest.opens(kind.opens));
    html! {
        span.what {
            span.name { (clean(&guest.name)) }
            (state(guest.state.as_ref(), &guest.on))
        }
        span.opens {
            @for kind in kinds {
                a.button href={ "/" (kind.path) "/" (guest.name) }
                    aria-label={ (kind.title) " of " (clean(&guest.name)) } { (kind.title) }
            }
        }
    }
}

/// How a guest is, and where.
fn state(state: Option<&State>, on: &str) -> Markup {
    let class = |state: &State| match state.grade {
        Grade::Unknown => "unknown",
        Grade::Good => "good",
        Grade::Standby => "standby",
        Grade::Busy => "busy",
        Grade::Bad => "bad",
    };
    html! {
        span.kind {
            @if let Some(state) = state { span.s.(class(state)) { (clean(&state.word)) } " " }
            @if !on.is_empty() { "on " (clean(on)) }
        }
    }
}

fn session(stay: &Stay, gateway: Option<&str>) -> Markup {
    let host = &stay.host;
    let back = html! {
        @match (stay.is_led, gateway) {
            (true, _) => { ". Start the same again to come back to it." }
            (false, Some(gateway)) => {
                ". Nothing below leads there: connect to " b { (host) } " through the gateway " b { (gateway) }
                " to come back to it."
            }
            (false, None) => {
                ". Nothing below leads there: connect to " b { (host) } " as before to come back to it."
            }
        }
    };
    html! {
        p.session {
            @match stay.is {
                How::Connected => {
                    span.s.good { "Connected" } span { "You have a session at " b { (host) } "." }
                }
                How::Left(ms) => {
                    span.s.standby { "Disconnected" }
                    span {
                        "Your session at " b { (host) } " has been without a connection for " (time(ms)) (back)
                    }
                }
                How::Kept(ms) => {
                    span.s.standby { "No session seen" }
                    span {
                        "Your place at " b { (host) } " is kept for " (time(ms)) (back)
                    }
                }
            }
        }
    }
}

fn tiles(offers: &[Offer<'_>], closed: &[&str]) -> Markup {
    html! {
        @if offers.is_empty() {
            p.empty { "There is nothing here for you to start. An administrator decides it by groups." }
        } @else {
            ul.tiles {
                @for offer in offers {
                    li {
                        a.tile href={ "/start/" (offer.name()) ".rdp" } {
                            img src={ "/icon/" (offer.name()) ".png" } alt="" width="40" height="40";
                            span.what {
                                span.name { (clean(offer.title())) }
                                span.kind { @if offer.app().is_some() { "App" } @else { "Desktop" } }
                                @if closed.contains(&offer.name()) {
                                    span.kind { "Its hosts take no new users now. Try again later." }
                                }
                            }
                        }
                    }
                }
            }
        }
    }
}

fn help(authority: &str) -> Markup {
    html! {
        section.help {
            h2 { "How to start" }
            p {
                "A click downloads a file that ends in " code { ".rdp" } ". Open it with Remote Desktop Connection \
                on Windows, Windows App on macOS and phones, or Remmina or FreeRDP on Linux."
            }
            p {
                "To have all of it in the start menu of Windows, add this address under “RemoteApp and Desktop \
                Connections”: " code { "https://" (authority) "/rdweb/feed/webfeed.aspx" }
            }
        }
    }
}

/// A time in the largest unit that it has.
fn time(ms: u64) -> String {
    let minutes = ms / 60_000;
    match minutes {
        0 => "less than a minute".to_owned(),
        1 => "1 minute".to_owned(),
        2..=119 => format!("{minutes} minutes"),
        120..=2_879 => format!("{} hours", minutes / 60),
        _ => format!("{} days", minutes / 1_440),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_have_the_largest_unit() {
        for (ms, words) in [
            (0, "less than a minute"),
            (60_000, "1 minute"),
            (119 * 60_000, "119 minutes"),
            (120 * 60_000, "2 hours"),
            (49 * 3_600_000, "2 days"),
        ] {
            assert_eq!(time(ms), words);
        }
    }
}
