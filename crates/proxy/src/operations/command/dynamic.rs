//! Implements `add server` and `del server` with HAProxy's wording and conditions.

use super::{CommandReply, Context, Session, Severity, find_backend};
use crate::dynamic::{self, OrderRefusal};

const NO_SERVER: &str = "Require 'backend/server'.\n";

fn name<'w>(words: &[&'w str]) -> Option<(&'w str, &'w str)> {
    let (backend, server) = words.get(2)?.split_once('/')?;
    (!server.is_empty()).then_some((backend, server))
}

fn told(result: Result<&'static str, OrderRefusal>) -> CommandReply {
    match result {
        Ok(done) => CommandReply::message(Severity::Info, format!("{done}\n")),
        Err(OrderRefusal(why)) => CommandReply::error(why),
    }
}

pub fn add(context: &Context, _: &Session, words: &[&str]) -> CommandReply {
    let Some((backend, server)) = name(words) else {
        return CommandReply::error(NO_SERVER);
    };
    let mut line: Vec<Box<str>> = vec![server.into()];
    line.extend(words.iter().skip(3).map(|word| Box::from(*word)));
    let added = context.runtime.edit(|config| {
        let Some(proxy) = find_backend(config, backend) else {
            return Err(OrderRefusal("No such backend.\n".into()));
        };
        let index = dynamic::index(config, proxy);
        dynamic::add(config, index, line.into())?;
        Ok(Some(index))
    });
    told(added.map(|()| "New server registered."))
}

pub fn delete(context: &Context, _: &Session, words: &[&str]) -> CommandReply {
    let Some((backend, server)) = name(words) else {
        return CommandReply::error(NO_SERVER);
    };
    let deleted = context.runtime.edit(|config| {
        let Some(proxy) = find_backend(config, backend) else {
            return Err(OrderRefusal("No such backend.\n".into()));
        };
        let index = dynamic::index(config, proxy);
        let at = dynamic::removable(config, index, server)?;
        dynamic::remove(config, index, at);
        Ok(Some(index))
    });
    told(deleted.map(|()| "Server deleted."))
}
