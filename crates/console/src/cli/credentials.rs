//! Implements `evenkeel console second-factor` and `evenkeel console token`, which generate secrets
//! and print the lines for the configuration file. The commands change nothing themselves.

use crate::access::token;
use crate::keyword;
use crate::shared::now_s;
use crate::user::Scope;
use ::access::second_factor;
use clap::{Arg, ArgMatches, Command};
use command::json::{self, OutputFormat};
use part::identity;
use qrcode::{Color, EcLevel, QrCode};
use serde::Serialize;
use std::io::IsTerminal;

/// Modules of light around a QR code (ISO/IEC 18004).
const QUIET: usize = 4;
/// Black on white, whatever the colours of the terminal, and the reset of both.
const COLOURS: [&str; 2] = ["\x1b[38;5;16;48;5;231m", "\x1b[0m"];
const ADD: &str = "Add this line to the section `console` of the configuration, and reload:";

pub(super) fn of_second_factor(command: Command) -> Command {
    command
        .about("Create the second factor of a user: a QR code for an app, and the line for the file")
        .long_about(
            "Creates a secret for an authenticator app (TOTP), and prints it as a QR code and as a URI, with \
             the line for the section `console` of the configuration. After the next reload, the user's \
             sign-in requires a code after the password. The command itself changes nothing.",
        )
        .after_help("Examples:\n  evenkeel console second-factor anna")
        .arg(user().value_name("NAME"))
        .arg(json::option())
}

pub(super) fn of_token(command: Command) -> Command {
    command
        .about("Create a token for programs, and the line for the file")
        .long_about(
            "Creates a token with which programs use the API and the metrics of the console for a user, and \
             prints it with the line for the section `console` of the configuration. The file contains only \
             the SHA-256 of the token, so the token is shown only once. It is valid from the next reload \
             until the line is removed. The command itself changes nothing.",
        )
        .after_help(
            "Examples:\n  evenkeel console token prometheus --user vera --scope read\n  \
             evenkeel console token ci --user anna --scope operate --expires 2030-12-31",
        )
        .arg(
            Arg::new("TOKEN")
                .value_name("NAME")
                .required(true)
                .value_parser(token_name)
                .help("Name of the token, as events show it"),
        )
        .arg(user().long("user").value_name("USER"))
        .arg(
            Arg::new("SCOPE")
                .long("scope")
                .required(true)
                .value_parser(Scope::ALL.map(Scope::word))
                .help("Maximum rights of the token"),
        )
        .arg(
            Arg::new("DATE")
                .long("expires")
                .value_parser(date)
                .help("Last day on which the token is valid, in UTC: 2030-12-31"),
        )
        .arg(json::option())
}

fn user() -> Arg {
    Arg::new("USER")
        .required(true)
        .value_parser(user_name)
        .help("Name of the user in the `userlist`")
}

/// Checks that a user name needs no quotes in a line of the configuration file.
fn user_name(name: &str) -> Result<String, String> {
    let fits = |c: char| c.is_alphanumeric() || "._-:@+".contains(c);
    if !name.is_empty() && name.chars().all(fits) {
        Ok(name.to_owned())
    } else {
        Err("letters, digits, `.`, `_`, `-`, `:`, `@` and `+` are permitted".to_owned())
    }
}

fn token_name(name: &str) -> Result<String, String> {
    let fits = |c: char| c.is_ascii_alphanumeric() || "._-:".contains(c);
    if !name.is_empty() && name.chars().all(fits) {
        Ok(name.to_owned())
    } else {
        Err("letters, digits, `.`, `_`, `-` and `:` are permitted".to_owned())
    }
}

fn date(text: &str) -> Result<String, String> {
    match keyword::end_of(text) {
        None => Err("not a date such as 2030-12-31".to_owned()),
        Some(end) if end <= now_s() => Err("this day is in the past".to_owned()),
        Some(_) => Ok(text.to_owned()),
    }
}

fn word<'m>(matches: &'m ArgMatches, name: &str) -> &'m str {
    let word = matches.get_one::<String>(name);
    word.map(String::as_str).unwrap_or_default()
}

pub(super) fn second_factor(matches: &ArgMatches) -> Result<String, String> {
    let secret = second_factor::make()?;
    let terminal = std::io::stdout().is_terminal();
    let machine = identity::host_name();
    let user = word(matches, "USER");
    let credential = Credential {
        secret: second_factor::uri(&secret, user, &machine),
        line: line_of_secret(&secret, user),
    };
    let text = of_secret(&secret, user, &machine, terminal);
    OutputFormat::of(matches).render(text, &credential)
}

/// A new secret and the line for the file, for `--json`.
#[derive(Serialize)]
struct Credential {
    /// The token, or the URI of the second factor.
    secret: String,
    line: String,
}

fn line_of_secret(secret: &[u8], user: &str) -> String {
    let secret = second_factor::write(secret);
    format!("second-factor user {user} secret {secret}")
}

/// Returns the text about a secret. A QR code is included only on a terminal, where its colours can
/// be chosen.
fn of_secret(secret: &[u8], user: &str, machine: &str, terminal: bool) -> String {
    let uri = second_factor::uri(secret, user, machine);
    let code = Some(&uri).filter(|_| terminal).and_then(|uri| picture(uri));
    let code = code.unwrap_or_default();
    let line = line_of_secret(secret, user);
    format!("{code}{uri}\n{ADD}\n    {line}\n")
}

/// Draws a text as a QR code, two rows of it in a line. None: it is too long.
fn picture(text: &str) -> Option<String> {
    let code = QrCode::with_error_correction_level(text, EcLevel::L).ok()?;
    let (width, colors) = (code.width(), code.to_colors());
    let is_dark = |x: usize, y: usize| {
        let inside = |at: usize| at.checked_sub(QUIET).filter(|at| *at < width);
        let at = inside(x).zip(inside(y)).map(|(x, y)| y * width + x);
        at.and_then(|at| colors.get(at)) == Some(&Color::Dark)
    };
    let mut drawn = String::new();
    for y in (0..width + 2 * QUIET).step_by(2) {
        drawn += COLOURS[0];
        for x in 0..width + 2 * QUIET {
            drawn.push(match (is_dark(x, y), is_dark(x, y + 1)) {
                (true, true) => '█',
                (true, false) => '▀',
                (false, true) => '▄',
                (false, false) => ' ',
            });
        }
        drawn += COLOURS[1];
        drawn.push('\n');
    }
    Some(drawn)
}

pub(super) fn token(matches: &ArgMatches) -> Result<String, String> {
    let text = token::make()?;
    let (name, user, scope) = ("TOKEN", "USER", "SCOPE");
    let [name, user, scope] = [name, user, scope].map(|one| word(matches, one));
    let expires = matches.get_one::<String>("DATE");
    let expires = expires.map(|date| format!(" expires {date}"));
    let expires = expires.unwrap_or_default();
    let hash = token::write(&token::hash(&text));
    let line = format!("token {name} user {user} scope {scope}{expires} hash {hash}");
    let shown = format!("{text}\nThe token is shown only now. {ADD}\n    {line}\n");
    let credential = Credential { secret: text, line };
    OutputFormat::of(matches).render(shown, &credential)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Config, SecondFactor};

    fn matches(words: &[&str]) -> Result<ArgMatches, clap::Error> {
        let words = ["console"].iter().chain(words);
        let command = super::super::definition(Command::new("console"));
        let matches = command.try_get_matches_from(words)?;
        Ok(matches.subcommand().unwrap().1.clone())
    }

    fn config(printed: &str) -> Config {
        let line = printed.lines().last().unwrap_or_default();
        let text = format!("console\n    users operators\n    role admin user anna\n{line}\n");
        let (config, told) = keyword::tests::load(&text);
        config.unwrap_or_else(|| panic!("{told}"))
    }

    #[test]
    fn the_line_of_a_token_has_its_hash_and_never_the_token() {
        let words = ["token", "ci", "--user", "anna", "--scope", "operate"];
        let printed = token(&matches(&words).unwrap()).unwrap();
        let text = printed.lines().next().unwrap_or_default();
        assert_eq!(printed.matches(text).count(), 1, "{printed}");
        let made = config(&printed).tokens;
        assert_eq!(made.len(), 1);
        assert_eq!((&*made[0].name, &*made[0].user), ("ci", "anna"));
        assert_eq!((made[0].scope, made[0].until_s), (Scope::Operate, None));
        assert_eq!(made[0].hash, token::hash(text));
        let lasting = [&words[..], &["--expires", "2999-12-31"]].concat();
        let printed = token(&matches(&lasting).unwrap()).unwrap();
        assert_eq!(
            config(&printed).tokens[0].until_s,
            keyword::end_of("2999-12-31")
        );
    }

    #[test]
    fn the_line_of_a_second_factor_has_the_secret_of_its_uri() {
        let printed = second_factor(&matches(&["second-factor", "anna"]).unwrap()).unwrap();
        let SecondFactor::Codes(secret) = config(&printed).users[0].second_factor.clone() else {
            panic!("{printed}");
        };
        let of_uri = format!("secret={}&", second_factor::write(&secret));
        assert!(printed.contains(&of_uri), "{printed}");
    }

    #[test]
    fn values_that_break_the_line_are_refused() {
        for words in [
            &["second-factor", ""][..],
            &["second-factor", "an na"],
            &["second-factor", "anna\nrole"],
            &["second-factor"],
            &["token", "c/i", "--user", "anna", "--scope", "read"],
            &["token", "ci", "--user", "a b", "--scope", "read"],
            &["token", "ci", "--user", "anna", "--scope", "all"],
            &["token", "ci", "--user", "anna"],
            &[
                "token",
                "ci",
                "--user",
                "anna",
                "--scope",
                "read",
                "--expires",
                "soon",
            ],
            &[
                "token",
                "ci",
                "--user",
                "anna",
                "--scope",
                "read",
                "--expires",
                "2020-01-01",
            ],
        ] {
            assert!(matches(words).is_err(), "{words:?}");
        }
    }

    #[test]
    fn the_code_of_a_secret_is_drawn_black_on_white_with_its_quiet_zone() {
        let printed = of_secret(&[7; 20], "anna", "alpha", true);
        let rows: Vec<&str> = printed
            .lines()
            .filter_map(|line| line.strip_prefix(COLOURS[0])?.strip_suffix(COLOURS[1]))
            .collect();
        let widths: Vec<usize> = rows.iter().map(|row| row.chars().count()).collect();
        let width = widths[0];
        assert!((21 + 2 * QUIET..=80).contains(&width), "{width}");
        assert!(widths.iter().all(|one| *one == width));
        assert_eq!(rows.len(), width.div_ceil(2));
        let light = " ".repeat(width);
        assert!(rows[..QUIET / 2].iter().all(|row| **row == light));
        assert!(
            rows.iter()
                .all(|row| row.starts_with("    ") && row.ends_with("    "))
        );
        // The finder pattern at the top left.
        assert_eq!(
            &rows[2].chars().skip(QUIET).take(7).collect::<String>(),
            "█▀▀▀▀▀█"
        );
        // No QR code where the colours of the output are not known.
        let plain = of_secret(&[7; 20], "anna", "alpha", false);
        assert!(plain.starts_with("otpauth://totp/Evenkeel%20alpha:anna?secret="));
        assert!(printed.ends_with(&plain));
    }
}
