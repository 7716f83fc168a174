//! Executes the command line of `evenkeel`: selects the subcommand, loads files for the input of a
//! role, and generates the completions and the man page from the definitions.

mod against;
mod check;
mod definition;
#[cfg(all(test, feature = "complete"))]
mod documented;
mod format;
#[cfg(feature = "demonstration")]
mod lab;
pub mod look_up;
mod manual;
mod privileges;
mod route;
mod run;
#[cfg(feature = "console")]
mod support;
mod upgrade;

use ::command::json::OutputFormat;
pub use ::command::status;
use ::command::{files, print, word, words};
pub use run::absolute;
#[cfg(feature = "cluster")]
pub use run::{WantedError, already_running, local_member};
pub use status::of_part as status_of_part;

use crate::features::{self, Subcommand};
use crate::loader::addresses;
use crate::parts::{self, Payloads};
use clap::ArgMatches;
use language::render;
use part::voice::refuse;
use serde::Serialize;
use std::ffi::OsString;
use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

pub use ::command::options::status_options;
pub use definition::definition;

static RUN: Subcommand = Subcommand::new("run", definition::run, |matches| {
    let sockets = matches.get_many::<String>("master");
    let sockets: Vec<String> = sockets.into_iter().flatten().cloned().collect();
    let state = matches.get_one::<PathBuf>("state");
    match run::wanted(files(matches), state.map(PathBuf::as_path)) {
        Ok(wanted) => run::main(&wanted, &sockets, run::before(matches)),
        Err(error) => refuse(error),
    }
});

#[cfg(feature = "console")]
static SUPPORT: Subcommand = Subcommand::new("support", support::definition, support::main);

static OTHERS: &[Subcommand] = &[
    #[cfg(feature = "demonstration")]
    Subcommand::new("lab", definition::lab, lab::main),
    Subcommand::new("check", definition::check, check::main),
    Subcommand::new("route", route::definition, route::main),
    Subcommand::new("fmt", definition::fmt, format::main),
    Subcommand::new("upgrade", definition::upgrade, upgrade::main),
    Subcommand::new("explain", definition::explain, look_up::explain),
    Subcommand::new("keyword", definition::keyword, look_up::keyword),
    Subcommand::new("manual", definition::manual, manual::main),
    Subcommand::new("demo", definition::demo, |matches| {
        if matches.get_flag("platform") {
            platform_demo()
        } else {
            demo::main(matches.get_flag("script"))
        }
    }),
    Subcommand::new("version", definition::version, |matches| {
        let version = ProgramVersion {
            version: crate::identity::VERSION,
            haproxy: crate::identity::HAPROXY_LEVEL,
            messages: part::role::VERSION.into(),
        };
        let text = format!(
            "evenkeel {}\ntested against HAProxy {}\n",
            version.version, version.haproxy
        );
        OutputFormat::of(matches).print_result(text, &version)
    }),
    Subcommand::new("completions", definition::completions, completions),
    Subcommand::new("man", definition::man, |_| man()),
];

/// Result of `evenkeel version`, for `--json`.
#[derive(Serialize)]
struct ProgramVersion {
    version: &'static str,
    /// HAProxy's version against which the program was tested.
    haproxy: &'static str,
    /// Version of the messages between its processes.
    messages: u32,
}

#[cfg(feature = "demonstration")]
fn platform_demo() -> ExitCode {
    demo::platform()
}

#[cfg(not(feature = "demonstration"))]
fn platform_demo() -> ExitCode {
    refuse(
        "this evenkeel was built without the part demonstration; `make demo-platform` builds and runs it, as root",
    )
}

fn all() -> impl Iterator<Item = &'static Subcommand> {
    let of_parts = features::all().iter().flat_map(|feature| feature.commands);
    let running = std::iter::once(&RUN).chain(&instance_command::COMMANDS);
    #[cfg(feature = "console")]
    let running = running.chain([&SUPPORT]);
    running.chain(of_parts).chain(OTHERS)
}

pub fn main(words: Vec<OsString>) -> ExitCode {
    let words = std::iter::once(OsString::from("evenkeel")).chain(words);
    let matches = match definition().try_get_matches_from(words) {
        Ok(matches) => matches,
        Err(error) => return ::command::print_clap_error(&error),
    };
    let Some((name, matches)) = matches.subcommand() else {
        return ExitCode::FAILURE;
    };
    let command = all().find(|command| command.name == name);
    command.map_or(ExitCode::FAILURE, |command| (command.run)(matches))
}

/// Loads configuration files and returns the input of a part's role; None if the files configure
/// nothing for that part.
pub fn payload_of_files(from: &[PathBuf], part: &str) -> Result<Option<Vec<u8>>, String> {
    let mut files = configuration::files::read_some(from).map_err(|error| error.to_string())?;
    addresses::split(&mut files);
    let site = parts::load_files(files, None, crate::loader::load_options(), None);
    if site.proxy.config.is_none() {
        let loaded = &site.proxy;
        let text = render::concise(&loaded.sources, &loaded.diagnostics, false);
        return Err(format!("the files have errors:\n{}", text.trim_end()));
    }
    let mut running = site.running(&Payloads::new()).into_iter();
    let of_part = running.find(|one| one.part.name == part);
    Ok(of_part.map(|one| one.given.payload))
}

fn completions(matches: &ArgMatches) -> ExitCode {
    let Some(shell) = matches.get_one::<clap_complete::Shell>("SHELL") else {
        return ExitCode::FAILURE;
    };
    let mut text = Vec::new();
    clap_complete::generate(*shell, &mut with_names(definition()), "evenkeel", &mut text);
    let text = String::from_utf8_lossy(&text);
    #[cfg(feature = "volume")]
    let text = ::volume::cli::completion::with_volumes(*shell, &text);
    print(&text)
}

/// Returns the command with the possible values of its arguments, for completions only. In normal
/// use any value is accepted here, and an unknown one gets a more helpful message later.
fn with_names(command: clap::Command) -> clap::Command {
    use clap::builder::PossibleValuesParser;
    // Shells split words at spaces and interpret most punctuation.
    let plain = |name: &&str| {
        name.bytes()
            .all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b))
    };
    let documented = crate::parts::documented();
    let built = documented.iter().filter(|row| row.built);
    let firsts = built.filter_map(|row| row.name.split(' ').next());
    let words: std::collections::BTreeSet<&str> = firsts.filter(plain).collect();
    let codes: Vec<&str> = crate::parts::codes().iter().map(|code| code.id).collect();
    let chapters = manual::chapters();
    command
        .mut_subcommand("explain", |explain| {
            explain.mut_arg("CODE", |arg| {
                arg.value_parser(PossibleValuesParser::new(codes))
            })
        })
        .mut_subcommand("keyword", |keyword| {
            keyword.mut_arg("NAME", |arg| {
                arg.value_parser(PossibleValuesParser::new(words))
            })
        })
        .mut_subcommand("manual", |manual| {
            manual.mut_arg("TOPIC", |arg| {
                arg.value_parser(PossibleValuesParser::new(chapters))
            })
        })
}

/// Turns references to separate pages of subcommands in the man page into references to its own
/// sections, and appends the list of files and related pages.
fn with_own_sections(page: &str) -> String {
    let mut text = String::new();
    for line in page.lines() {
        match line
            .strip_prefix("evenkeel\\-")
            .and_then(|rest| rest.strip_suffix("(1)"))
        {
            Some(name) => text += &format!("\\fBevenkeel {name}\\fR\n"),
            None => text += &format!("{line}\n"),
        }
    }
    text + SEE_ALSO
}

const SEE_ALSO: &str = ".SH FILES
.TP
\\fI/usr/share/doc/evenkeel/index.html\\fR
The reference manual as searchable web pages; installed below another prefix if Evenkeel is.
.SH \"SEE ALSO\"
\\fBevenkeel manual\\fR, \\fBevenkeel keyword\\fR and \\fBevenkeel explain\\fR print the reference manual: keywords, termination states, \\
data types, log formats, runtime commands, and diagnostic codes.
";

/// Prints one man page that describes the command and then each subcommand.
fn man() -> ExitCode {
    let mut text = Vec::new();
    let mut command = definition();
    command.build();
    let subcommands: Vec<_> = command
        .get_subcommands()
        .filter(|c| c.get_name() != "help")
        .cloned()
        .collect();
    let pages = || -> std::io::Result<()> {
        clap_mangen::Man::new(command.clone()).render(&mut text)?;
        for subcommand in subcommands {
            let name = subcommand.get_name().to_uppercase();
            writeln!(text, ".SH \"EVENKEEL {name}\"")?;
            let page = clap_mangen::Man::new(subcommand);
            page.render_synopsis_section(&mut text)?;
            page.render_description_section(&mut text)?;
            page.render_options_section(&mut text)?;
        }
        Ok(())
    };
    match pages() {
        Ok(()) => print(&with_own_sections(&String::from_utf8_lossy(&text))),
        Err(error) => refuse(format_args!("cannot create the man page: {error}")),
    }
}
