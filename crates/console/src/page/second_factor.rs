//! The second page of signing in: the code of an app.

use super::actions::hidden;
use super::frame::{head, mark};
use super::words::clean;
use maud::{DOCTYPE, Markup, html};

/// The form for a code. `half` proves that the password was given; `next` is the path to go to then.
pub fn second_factor(wrong: Option<&str>, half: &str, next: &str) -> Markup {
    html! {
        (DOCTYPE)
        html lang="en" {
            (head("Sign in", None))
            body.alone {
                main.card {
                    h1 { (mark()) "Evenkeel" }
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
                }
            }
        }
    }
}
