//! Implements various `show` commands: version, backends, access level, sockets, environment,
//! statistics, startup logs.

use super::{CommandReply, Context, LongReply, Session, find_proxy};
use crate::stats::export::{self, Format, RowsOutput};
use crate::stats::piece::{Piece, PieceSource};
use crate::stats::process;
use crate::stats::row::{Moment, Selection};
use model::config::product::VERSION;
use model::config::{Config, StatsLevel};
use std::fmt::Write;
use std::sync::Arc;

pub fn version(_: &Context, _: &mut Session, _: &[&str]) -> String {
    format!("{VERSION}\n")
}

pub fn backends(context: &Context, _: &mut Session, _: &[&str]) -> String {
    let config = context.runtime.config();
    let mut text = String::from("# name\n");
    for proxy in config
        .proxies
        .iter()
        .filter(|p| p.kind.is_backend() && !p.disabled)
    {
        text.push_str(&proxy.name);
        text.push('\n');
    }
    text
}

fn level_name(level: StatsLevel) -> &'static str {
    match level {
        StatsLevel::User => "user",
        StatsLevel::Operator => "operator",
        StatsLevel::Admin => "admin",
    }
}

pub fn level(_: &Context, session: &mut Session, _: &[&str]) -> String {
    format!("{}\n", level_name(session.level))
}

pub fn sockets(context: &Context, _: &mut Session, _: &[&str]) -> String {
    let mut text = String::from("# socket lvl processes\n");
    for socket in context.shared.sockets().iter() {
        // Writing to a string cannot fail.
        let _ = writeln!(
            text,
            "{} {} all",
            socket.text,
            level_name(socket.rights.level)
        );
    }
    text
}

/// `show env`: the variables of the configuration. In a process that a supervisor started, these
/// are only the ones that the files name.
pub fn environment(context: &Context, session: &mut Session, words: &[&str]) -> CommandReply {
    let config = context.runtime.config();
    let line = |(name, value): (&str, &[u8])| {
        let value = String::from_utf8_lossy(value);
        let is_secret = || config.rule_texts.uses().are_in_environment(name);
        format!("{name}={}\n", session.visible(name, &value, is_secret))
    };
    match words.get(2) {
        None => CommandReply::report(config.environment.iter().map(line).collect::<String>()),
        Some(name) => match config.environment.get(name) {
            Some(value) => CommandReply::report(line((name, value))),
            None => CommandReply::error("Variable not found\n"),
        },
    }
}

pub fn schema(_: &Context, _: &mut Session, _: &[&str]) -> String {
    export::SCHEMA.to_owned()
}

/// Rows that `show stat` selects: `<iid|name> <type> <sid>`.
struct Bound {
    proxy_id: Option<u32>,
    kinds: u32,
    object_id: Option<u32>,
}

/// Parses the three words. None if there are fewer, or the type or id is not a number.
fn bound(config: &Config, words: &[&str]) -> Result<Option<Bound>, String> {
    let &[proxy, kinds, object, ..] = words else {
        return Ok(None);
    };
    let (Ok(kinds), Ok(object)) = (kinds.parse::<i64>(), object.parse::<i64>()) else {
        return Ok(None);
    };
    let id = |n: i64| u32::try_from(n).ok();
    let proxy_id = match proxy.parse::<i64>() {
        Ok(n) => id(n),
        Err(_) => {
            let found = find_proxy(config, proxy, |_| true).map(|proxy| proxy.id);
            Some(found.ok_or("No such proxy.\n")?)
        }
    };
    // -1 has every bit set: all types.
    Ok(Some(Bound {
        proxy_id,
        kinds: (kinds & 15) as u32,
        object_id: id(object),
    }))
}

struct StatisticsReply {
    config: Arc<Config>,
    selection: Selection<'static>,
    moment: Moment,
    output: RowsOutput,
}

impl PieceSource for StatisticsReply {
    fn write(&mut self, piece: &mut Piece<'_>) -> bool {
        self.output
            .write(piece, &self.config, &self.selection, &self.moment)
    }
}

pub fn statistics(context: &Context, session: &Session, words: &[&str]) -> LongReply {
    let mut words = words.get(2..).unwrap_or_default();
    if words.first() == Some(&"domain") {
        if words.get(1) != Some(&"proxy") {
            return Err(CommandReply::error("Invalid statistics domain.\n"));
        }
        words = &words[2..];
    }
    let config = context.runtime.config();
    let bound = bound(&config, words).map_err(CommandReply::error)?;
    let mut selection = Selection::default();
    if let Some(bound) = bound {
        selection.proxy_id = bound.proxy_id;
        selection.kinds = bound.kinds;
        selection.object_id = bound.object_id;
        words = &words[3..];
    }
    let (mut format, mut meaning) = (Format::Csv, false);
    for word in words {
        match *word {
            "typed" => format = Format::Typed,
            "json" => format = Format::Json,
            "desc" => meaning = true,
            "up" => selection.hide_down = true,
            "no-maint" => selection.hide_maintenance = true,
            _ => {}
        }
    }
    if meaning && format == Format::Typed {
        format = Format::TypedMeaning;
    }
    let legends = session.level >= StatsLevel::Operator;
    Ok(Box::new(StatisticsReply {
        config,
        selection,
        moment: process::moment(context.runtime, legends),
        output: RowsOutput::new(format),
    }))
}

pub fn startup_logs(context: &Context, _: &mut Session, _: &[&str]) -> String {
    context.runtime.config().reported.to_string()
}
