//! Implements `evenkeel console`: prints a link that signs in the administrator of this machine,
//! and creates second factors and API tokens for the configuration file.

mod credentials;

use crate::message::{LinkRequest, LinkResponse};
use clap::{ArgMatches, Command};
use command::json::{self, OutputFormat};
use command::options::{process_id, serving_files};
use command::status::ask_part;
use command::{Subcommand, end, instance};
use serde::Serialize;
use std::process::ExitCode;

pub static COMMANDS: [Subcommand; 1] = [Subcommand::new("console", definition, main)];

fn definition(command: Command) -> Command {
    command
        .about("Sign in to the web console; create second factors and tokens")
        .long_about(
            "The web console is a `console` section of the configuration: pages in a browser that show everything that \
             runs here, what needs attention, and why.",
        )
        .subcommand_required(true)
        .arg_required_else_help(true)
        .subcommand(
            Command::new("link")
                .about("Print a link that signs in the administrator of this machine, once")
                .long_about(
                    "Prints a link to the console of this machine. The first one to open it, within ten minutes, is signed in \
                     as the administrator for twelve hours. It needs no `userlist`. If the console created \
                     its own certificate, its fingerprint is printed, too: compare it before you accept the \
                     certificate in the browser.",
                )
                .after_help("Examples:\n  evenkeel console link")
                .arg(serving_files().num_args(1))
                .arg(process_id())
                .arg(json::option()),
        )
        .subcommand(credentials::of_second_factor(Command::new("second-factor")))
        .subcommand(credentials::of_token(Command::new("token")))
}

fn main(matches: &ArgMatches) -> ExitCode {
    let done = match matches.subcommand() {
        Some(("link", matches)) => link(matches),
        Some(("second-factor", matches)) => credentials::second_factor(matches),
        Some(("token", matches)) => credentials::token(matches),
        _ => return ExitCode::FAILURE,
    };
    end(done)
}

fn link(matches: &ArgMatches) -> Result<String, String> {
    let instance = instance::selected(matches)?;
    let link: LinkResponse = ask_part(&instance, LinkRequest::envelope())?;
    let link = link?;
    let mut text = format!("{}\n", link.url());
    if !link.fingerprint.is_empty() {
        text += &format!("certificate (SHA-256): {}\n", link.fingerprint);
    }
    text += "The link works once, within ten minutes.\n";
    let printed = PrintedLink {
        url: link.url(),
        certificate_sha256: Some(&*link.fingerprint).filter(|one| !one.is_empty()),
    };
    OutputFormat::of(matches).render(text, &printed)
}

/// Result of `evenkeel console link`, for `--json`.
#[derive(Serialize)]
struct PrintedLink<'l> {
    url: String,
    certificate_sha256: Option<&'l str>,
}
