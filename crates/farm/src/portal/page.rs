//! Draws the pages of the portal as markup, in which maud escapes all texts.

use super::offer::PublishedResource;
use crate::guests::Guest;
use crate::site::{How, Stay};
use access::page::{clean, head, hidden, mark};
use access::session::Visitor;
use maud::{DOCTYPE, Markup, html};
use part::report::{Grade, SubjectState};
use screen::kind::{KINDS, ScreenKind};
use screen::page as screens;

pub const STYLE: &str = concat!(
    include_str!("../../../access/src/page/base.css"),
    include_str!("style.css"),
    include_str!("../../../screen/src/screen.css")
);

/// Contents of the list page.
#[derive(Clone, Copy, Debug)]
pub struct List<'l> {
    pub brand: &'l str,
    pub visitor: &'l Visitor,
    pub offers: &'l [PublishedResource<'l>],
    /// Names of the programs that cannot be started now, because no host accepts users.
    pub closed: &'l [&'l str],
    /// Guests that the user may open, or why they are not known; None if the user may open none.
    pub guests: Option<&'l Result<Vec<Guest>, String>>,
    pub sessions: &'l [Stay],
    pub notice: Option<&'l str>,
    pub authority: &'l str,
    pub gateway: Option<&'l str>,
}

/// Contents of the page of a display or a terminal.
#[derive(Clone, Copy)]
pub struct Screen<'s> {
    pub brand: &'s str,
    pub visitor: &'s Visitor,
    pub kind: &'s ScreenKind,
    pub guest: &'s str,
    /// Path of the script; None if the library that draws the screen is missing.
    pub script: Option<&'s str>,
}

fn frame(
    brand: &str,
    visitor: &Visitor,
    title: &str,
    script: Option<&str>,
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
    frame(list.brand, list.visitor, "Remote desktops", None, &content)
}

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
    frame(page.brand, page.visitor, &title, page.script, &content)
}

fn guests(known: &Result<Vec<Guest>, String>) -> Markup {
    html! {
        section.guests {
            h2 { "Virtual machines" }
            @match known {
                Err(words) => { p.empty role="status" { (clean(words)) } }
                Ok(all) if all.is_empty() => { p.empty { "None of your virtual machines is running." } }
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

fn state(state: Option<&SubjectState>, on: &str) -> Markup {
    let class = |state: &SubjectState| match state.grade {
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
            (true, _) => { ". Start the same entry again to return to it." }
            (false, Some(gateway)) => {
                ". No entry below leads there: connect to " b { (host) } " through the gateway " b { (gateway) }
                " to return to it."
            }
            (false, None) => {
                ". No entry below leads there: connect to " b { (host) } " as before to return to it."
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
                        "Your session host " b { (host) } " is reserved for " (time(ms)) (back)
                    }
                }
            }
        }
    }
}

fn tiles(offers: &[PublishedResource<'_>], closed: &[&str]) -> Markup {
    html! {
        @if offers.is_empty() {
            p.empty { "You have no permission to start anything here. An administrator grants it to groups." }
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
                                    span.kind { "Its hosts accept no new users now. Try again later." }
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
                "To add all entries to the Windows start menu, add this address under “RemoteApp and Desktop \
                Connections”: " code { "https://" (authority) "/rdweb/feed/webfeed.aspx" }
            }
        }
    }
}

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
