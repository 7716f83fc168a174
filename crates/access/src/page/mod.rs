//! Draws the pages for signing in, and the elements common to all pages: the head, the logo, the
//! style. The functions take values and return HTML.
//!
//! Escapes all texts by maud; nothing here is marked as already escaped.

use language::render::visible;
use maud::{DOCTYPE, Markup, html};
use std::borrow::Cow;

pub const STYLE: &str = include_str!("base.css");
/// The logo as the icon of the browser tab.
const ICON: &str = "data:image/svg+xml,%3Csvg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 16 16'%3E%3Cpath \
                    d='M1 8h14a7 7 0 0 1-14 0z' fill='%232f6fbf'/%3E%3Cpath d='M1 5h14' stroke='%232f6fbf' \
                    stroke-width='2'/%3E%3C/svg%3E";

const NAME_BYTES_MAX: usize = 256;

/// Removes control characters from a text, and characters that change the direction of writing.
pub fn clean(text: &str) -> Cow<'_, str> {
    visible(text)
}

pub fn hidden(name: &str, value: &str) -> Markup {
    html! { input type="hidden" name=(name) value=(value); }
}

/// Draws the head of a document. `brand` is the product name.
pub fn head(title: &str, brand: &str, script: Option<&str>) -> Markup {
    html! {
        head {
            meta charset="utf-8";
            meta name="viewport" content="width=device-width, initial-scale=1";
            meta name="color-scheme" content="light dark";
            meta name="referrer" content="same-origin";
            title { (title) " · " (brand) }
            link rel="stylesheet" href="/style.css";
            link rel="icon" href=(ICON);
            @if let Some(script) = script { script src=(script) defer {} }
        }
    }
}

pub fn mark() -> Markup {
    html! {
        svg.mark viewBox="0 0 16 16" aria-hidden="true" {
            path d="M1 8h14a7 7 0 0 1-14 0z" {}
            path d="M1 4.5h14v1.6H1z" {}
        }
    }
}

fn card(brand: &str, content: &Markup) -> Markup {
    html! {
        (DOCTYPE)
        html lang="en" {
            (head("Sign in", brand, None))
            body.alone {
                main.card {
                    h1 { (mark()) (brand) }
                    (content)
                }
            }
        }
    }
}

/// Draws the sign-in form. `next` is the path of the page to open after the sign-in.
pub fn sign_in(brand: &str, wrong: Option<&str>, next: &str) -> Markup {
    sign_in_as(brand, "", wrong, next)
}

/// Draws the sign-in form for another attempt, with the name that was typed.
pub fn sign_in_as(brand: &str, typed: &str, wrong: Option<&str>, next: &str) -> Markup {
    // Does not show the typed name again if it is too long to be a name.
    let known = Some(typed).filter(|name| !name.is_empty() && name.len() <= NAME_BYTES_MAX);
    let content = html! {
        @if let Some(wrong) = wrong { p.wrong role="alert" { (clean(wrong)) } }
        form method="post" action="/sign-in" {
            (hidden("next", next))
            label for="user" { "User" }
            input #user name="user" autocomplete="username" autocapitalize="none" spellcheck="false"
                value=[known] required autofocus[known.is_none()];
            label for="password" { "Password" }
            input #password type="password" name="password" autocomplete="current-password" required
                autofocus[known.is_some()];
            button.first type="submit" { "Sign in" }
        }
    };
    card(brand, &content)
}

/// Draws the form for a one-time code. `half` proves that the password was correct; `next` is the
/// path of the page to open after the sign-in.
pub fn second_factor(brand: &str, wrong: Option<&str>, half: &str, next: &str) -> Markup {
    let content = html! {
        @if let Some(wrong) = wrong { p.wrong role="alert" { (clean(wrong)) } }
        form method="post" action="/sign-in" {
            (hidden("half", half))
            (hidden("next", next))
            label for="code" { "Code of your authenticator app" }
            input #code name="code" inputmode="numeric" autocomplete="one-time-code" maxlength="16"
                spellcheck="false" required autofocus;
            button.first type="submit" { "Sign in" }
        }
        p { a href="/sign-in" { "Start again" } }
    };
    card(brand, &content)
}

/// Draws an error page. `back` is the text of the link to the first page.
pub fn failure(brand: &str, status: u16, words: &str, back: &str) -> Markup {
    let title = match status {
        400 => "The request is malformed",
        401 => "Sign in first",
        403 => "This is not allowed",
        404 => "There is no such page",
        405 => "This is not possible here",
        429 => "Too many attempts",
        503 => "Not available now",
        _ => "The request failed",
    };
    html! {
        (DOCTYPE)
        html lang="en" {
            (head(title, brand, None))
            body.alone {
                main.card {
                    p.kind { "Error " (status) }
                    h1 { (title) }
                    @if !words.is_empty() { p { (clean(words)) } }
                    p { a href="/" { (back) } }
                }
            }
        }
    }
}
