//! Builds `setenv` and similar lines. The lines change the variables seen by the rest of the file,
//! and nothing outside of the loader.

use super::places::GLOBAL;
use super::{Args, Built, LineRow};
use crate::family::Loader;

fn set(loader: &mut Loader, args: &mut Args<'_>) -> Built {
    let name = args.required("a name and a value")?.text().into_owned();
    let value = args.required("a value")?.bytes.clone();
    args.warn_of_surplus()?;
    if args.keyword == "setenv" {
        loader.context.environment.set(name, value);
    } else {
        loader.context.environment.set_if_absent(name, value);
    }
    Ok(())
}

fn unset(loader: &mut Loader, args: &mut Args<'_>) -> Built {
    for name in args.rest() {
        loader.context.environment.unset(name.str());
    }
    Ok(())
}

fn reset(loader: &mut Loader, args: &mut Args<'_>) -> Built {
    let keep: Vec<&str> = args.rest().iter().map(|word| word.str()).collect();
    loader.context.environment.reset_except(&keep);
    Ok(())
}

pub static LINES: &[LineRow] = language::rows! {
    "setenv <name> <value>" GLOBAL, set, "setenv SITE www.example.com",
        "Sets an environment variable for the lines that follow, and replaces any earlier value.";
    "presetenv <name> <value>" GLOBAL, set, "presetenv PORT 8080",
        "Sets an environment variable for the lines that follow, unless it already has a value: a default that the \
         environment of the start can override.";
    "unsetenv [<name> …]" GLOBAL, unset, "unsetenv SECRET",
        "Removes environment variables for the lines that follow. Undefined ones are ignored.";
    "resetenv [<name> …]" GLOBAL, reset, "resetenv PATH",
        "Removes all environment variables except the named ones, for the lines that follow.";
};
