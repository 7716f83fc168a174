//! Builds `stick on`, `stick match`, `stick store-request` and `stick store-response`: rules by
//! which clients stay with the server stored in a table.

use super::stick_table::named_or_own;
use super::{Args, Built, LineRow, places};
use crate::family::Loader;
use model::config::StickRule;
use model::rules::{Condition, Expression, Usage};

pub(super) static LINES: &[LineRow] = language::rows! {
    "stick on <pattern> [table <table>] [{ if | unless } <condition>]" places::BACK_ONLY,
        |loader, args| rule(loader, args, true, true, false),
        "stick-table type ip size 1m expire 30m\nstick on src",
        "Binds clients to servers with a stick table: a request uses the server stored for the value of the pattern, \
         if it is usable, and the server that it gets is stored. A persistence cookie takes precedence. Combines \
         `stick match` and `stick store-request`.";
    "stick match <pattern> [table <table>] [{ if | unless } <condition>]" places::BACK_ONLY,
        |loader, args| rule(loader, args, true, false, false),
        "stick-table type ip size 1m expire 30m\nstick match src",
        "Uses the server stored in the table for the value of the pattern, if it is usable. The first matching rule \
         applies.";
    "stick store-request <pattern> [table <table>] [{ if | unless } <condition>]" places::BACK_ONLY,
        |loader, args| rule(loader, args, false, true, false),
        "stick-table type ip size 1m expire 30m\nstick store-request src",
        "Stores the server of a request under the value of the pattern, once the server has responded. Another rule or \
         table can use it (`stick match`).";
    "stick store-response <pattern> [table <table>] [{ if | unless } <condition>]" places::BACK_ONLY,
        |loader, args| rule(loader, args, false, false, true),
        "stick-table type string len 32 size 1m expire 30m\nstick store-response res.cook(id)",
        "Stores the server of a response under a value from the response, such as a session id that the client sends \
         with later requests.";
};

fn rule(
    loader: &mut Loader,
    args: &mut Args<'_>,
    matches: bool,
    stores: bool,
    stores_of_answer: bool,
) -> Built {
    let span = args.keyword_span();
    let usage = if stores_of_answer {
        Usage::BACK_TCP_RESPONSE.and(Usage::BACK_HTTP_RESPONSE)
    } else {
        Usage::USE_SERVER
    };
    let word = args.required("<pattern>")?;
    let expression = Expression::parse(loader, word, usage)?;
    let table = named_or_own(loader, args, span)?;
    loader.key_of_table(&table.name, &expression);
    loader.sticky_tables.push(table.name.clone());
    let condition = Condition::parse(loader, args, usage)?;
    args.end()?;
    loader.proxy().stick.push(StickRule {
        span,
        matches,
        stores,
        stores_of_answer,
        expression,
        table,
        condition,
    });
    Ok(())
}
