//! Builds the lines that name files with server states of an earlier process:
//! `load-server-state-from-file` and similar ones. The files are read at the end of loading, when
//! the whole file is known.

use super::places::{BACK, GLOBAL};
use super::value::parse_choice;
use super::{Args, Built, LineRow};
use crate::family::Loader;
use model::codes;
use model::config::StateSource;

fn place(loader: &mut Loader, args: &mut Args<'_>) -> Built {
    let word = args.required("a path")?;
    let path = Some(word.bytes.clone().into());
    let global = &mut loader.config.global;
    let field = if args.keyword == "server-state-base" {
        &mut global.server_state_base
    } else {
        &mut global.server_state_file
    };
    match field {
        Some(_) => super::global::warn_of_repetition(loader, args),
        None => *field = path,
    }
    args.warn_of_surplus()
}

fn source(loader: &mut Loader, args: &mut Args<'_>) -> Built {
    let sources = [
        ("global", StateSource::Global),
        ("local", StateSource::Local),
        ("none", StateSource::None),
    ];
    let source = parse_choice(args, "'global', 'local' or 'none'", &sources)?;
    loader.proxy().state_source = Some((source, args.line().span));
    args.end()
}

fn file_name(loader: &mut Loader, args: &mut Args<'_>) -> Built {
    let name = match args.next() {
        Some(word) if word.bytes.is_empty() => {
            return Err(args.word_error(&codes::BAD_VALUE, word, "the path is empty"));
        }
        Some(word) if !word.is("use-backend-name") => Some(word.bytes.clone().into()),
        _ => None,
    };
    loader.proxy().state_file_name = name;
    args.end()
}

pub static LINES: &[LineRow] = language::rows! {
    "server-state-base <directory>" GLOBAL, place, "server-state-base /var/lib/haproxy/states",
        "Base directory for relative names of state files. The default is the working directory of the process.";
    "server-state-file <file>" GLOBAL, place, "server-state-file /var/lib/haproxy/server-states",
        "File with the states of all servers, in the format of `show servers state`. Backends with \
         `load-server-state-from-file global` start with these states.";
    "load-server-state-from-file { global | local | none }" BACK, source,
        "load-server-state-from-file none",
        "Starts the servers with the states of an earlier process: up, down or drained, with their weights and \
         addresses. `global` reads them from `server-state-file`, `local` from a file of the backend. A reload and a \
         takeover need no file.";
    "server-state-file-name [ use-backend-name | <file> ]" BACK, file_name,
        "server-state-file-name use-backend-name",
        "File for `load-server-state-from-file local`. The default, and `use-backend-name`, is the name of the \
         backend. A relative name starts at `server-state-base`.";
};
