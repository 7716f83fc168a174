//! The pages of the portal. Values in, markup out; maud escapes all texts.

use super::offer::Offer;
use access::page::{clean, head, hidden, mark};
use access::session::Visitor;
use maud::{DOCTYPE, Markup, html};

/// The style sheet.
pub const STYLE: &str = concat!(
    include_str!("../../../access/src/page/base.css"),
    include_str!("style.css")
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
    /// Their session: the host, and for how long it has been without a connection, milliseconds.
    pub session: Option<&'l (String, Option<u64>)>,
    /// What users of their host have to know.
    pub notice: Option<&'l str>,
    /// The host of the portal in addresses.
    pub authority: &'l str,
}

/// What a user may start.
pub fn list(list: &List<'_>) -> Markup {
    html! {
        (DOCTYPE)
        html lang="en" {
            (head("Remote desktops", list.brand, None))
            body.portal {
                header.top {
                    a.brand href="/" { (mark()) (list.brand) }
                    div.who {
                        span.viewer { (clean(&list.visitor.name)) }
                        form method="post" action="/sign-out" {
                            (hidden("csrf", &list.visitor.csrf))
                            button.quiet type="submit" { "Sign out" }
                        }
                    }
                }
                main {
                    h1 { "Remote desktops" }
                    @if let Some((host, left_ms)) = list.session { (session(host, *left_ms)) }
                    @if let Some(text) = list.notice {
                        p.session role="status" { span.s.busy { "Notice" } span { (clean(text)) } }
                    }
                    (tiles(list.offers))
                    (help(list.authority))
                }
            }
        }
    }
}

fn session(host: &str, left_ms: Option<u64>) -> Markup {
    html! {
        p.session {
            @match left_ms {
                None => { span.s.good { "Connected" } span { "You have a session at " b { (host) } "." } }
                Some(ms) => {
                    span.s.standby { "Disconnected" }
                    span {
                        "Your session at " b { (host) } " has been without a connection for " (time(ms))
                        ". Start the same again to come back to it."
                    }
                }
            }
        }
    }
}

fn tiles(offers: &[Offer<'_>]) -> Markup {
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
