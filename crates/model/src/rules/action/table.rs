//! Implements the actions on stick tables: they track entries and change counters.

use super::{ActionResult, ActionRow, Build, BuiltAction, RuleAction, RuleSet, places};
use crate::compiled::action::table::{Amount, TableAction};
use crate::rules::Expression;
use crate::rules::draft::ConfigDraft;
use crate::tables::{DataType, Level, codes};
use crate::tracking;
use crate::transaction::ProxyStream;
use language::Diagnostic;

const TRACKING: &[&str] = &[
    places::CONNECTION,
    places::SESSION,
    places::CONTENT,
    places::REQUEST,
    places::RESPONSE,
];

macro_rules! track {
    ($before:literal, $doc:literal; $($name:literal = $counter:literal;)*) => {
        &[$(ActionRow {
            places: TRACKING,
            syntax: concat!($name, " <key> [table <table>]"),
            doc: $doc,
            example: concat!($before, "stick-table type ip size 1m expire 30s store conn_cur\n", $name, " src"),
            build: |loader, build| track(loader, build, $counter),
        },)*]
    };
}

pub(super) static TRACK: &[ActionRow] = track! {
    "",
    "Tracks the entry of a key in a table with this counter, for the connection (`tcp-request connection` and \
     `session`) or for the stream. Events are counted in the entry from then on, and rules can read it \
     (`sc_http_req_rate(0)`). A counter that already tracks an entry keeps it.";
    "track-sc0" = 0;
    "track-sc1" = 1;
    "track-sc2" = 2;
};

pub(super) static TRACK_MORE: &[ActionRow] = track! {
    "global\ntune.stick-counters 12\nlisten more\nmode http\n",
    "Tracks the entry of a key in a table with this counter, like `track-sc0`. For more than three counters, first \
     set `tune.stick-counters` in `global`.";
    "track-sc3" = 3;
    "track-sc4" = 4;
    "track-sc5" = 5;
    "track-sc6" = 6;
    "track-sc7" = 7;
    "track-sc8" = 8;
    "track-sc9" = 9;
    "track-sc10" = 10;
    "track-sc11" = 11;
};

pub(super) static CHANGE: &[ActionRow] = language::rows! {
    "sc-inc-gpc0(<ctr>)" places::ALL,
        |loader, build| increment(loader, build, DataType::Gpc0, DataType::Gpc0Rate),
        "sc-inc-gpc0(0)",
        "Increments the first general purpose counter of the tracked entry, and its rate. No effect if the counter \
         tracks no entry, or the table does not store it.";
    "sc-inc-gpc1(<ctr>)" places::ALL,
        |loader, build| increment(loader, build, DataType::Gpc1, DataType::Gpc1Rate),
        "sc-inc-gpc1(0)",
        "Increments the second general purpose counter of the tracked entry, and its rate. No effect if the counter \
         tracks no entry, or the table does not store it.";
    "sc-inc-gpc(<idx>,<ctr>)" places::ALL,
        |loader, build| {
            let (element, counter) = element(loader, build)?;
            let (kind, rate) = (DataType::Gpc, Some(DataType::GpcRate));
            Ok(change(counter, kind, rate, element, Amount::Fixed(1)))
        },
        "sc-inc-gpc(1,0)",
        "Increments a general purpose counter (`gpc(<n>)` of the table, numbered from 0) of the tracked entry, and its \
         rate.";
    "sc-add-gpc(<idx>,<ctr>) { <int> | <expr> }" places::ALL,
        |loader, build| {
            let (element, counter) = element(loader, build)?;
            let amount = amount(loader, build)?;
            let (kind, rate) = (DataType::Gpc, Some(DataType::GpcRate));
            Ok(change(counter, kind, rate, element, amount))
        },
        "sc-add-gpc(1,0) src_port",
        "Adds a number or the value of an expression to a general purpose counter (`gpc(<n>)` of the table, numbered \
         from 0) of the tracked entry, and to its rate.";
    "sc-set-gpt0(<ctr>) { <int> | <expr> }" places::ALL,
        |loader, build| {
            let counter = counter(loader, build)?;
            let amount = amount(loader, build)?;
            Ok(change(counter, DataType::Gpt0, None, 0, amount))
        },
        "sc-set-gpt0(0) 1337",
        "Sets the first general purpose tag of the tracked entry to a number or to the value of an expression.";
    "sc-set-gpt(<idx>,<ctr>) { <int> | <expr> }" places::ALL,
        |loader, build| {
            let (element, counter) = element(loader, build)?;
            let amount = amount(loader, build)?;
            Ok(change(counter, DataType::Gpt, None, element, amount))
        },
        "sc-set-gpt(2,0) 1337",
        "Sets a general purpose tag (`gpt(<n>)` of the table, numbered from 0) of the tracked entry to a number or to \
         the value of an expression.";
};

fn change(
    counter: u32,
    kind: DataType,
    rate: Option<DataType>,
    element: u32,
    amount: Amount,
) -> RuleAction {
    RuleAction::Table(Box::new(TableAction::Change {
        counter,
        kind,
        rate,
        element,
        amount,
    }))
}

fn increment(
    loader: &mut ConfigDraft,
    build: &mut Build<'_, '_>,
    kind: DataType,
    rate: DataType,
) -> BuiltAction {
    let counter = counter(loader, build)?;
    Ok(change(counter, kind, Some(rate), 0, Amount::Fixed(1)))
}

/// Checks that the counter exists.
fn checked(loader: &ConfigDraft, build: &Build<'_, '_>, counter: u32) -> Result<u32, Diagnostic> {
    let count = loader.config.global.tune.stick_counters;
    if counter < count {
        return Ok(counter);
    }
    let told = format!(
        "'{}': there are {count} counters, numbered from 0",
        build.word.text()
    );
    Err(
        Diagnostic::error(&codes::BAD_COUNTER, build.word.span, told)
            .label("no such counter")
            .help("`tune.stick-counters` in `global` sets their number, up to 12"),
    )
}

fn numbers(build: &Build<'_, '_>, count: usize) -> Result<Vec<u32>, Diagnostic> {
    let parts = build.list.unwrap_or_default().split(',');
    let numbers: Vec<u32> = parts.filter_map(|part| part.trim().parse().ok()).collect();
    if numbers.len() == count
        && build
            .list
            .is_some_and(|list| list.split(',').count() == count)
    {
        return Ok(numbers);
    }
    let wanted = if count == 1 {
        "a counter"
    } else {
        "an index and a counter"
    };
    Err(build.wrong(
        &codes::BAD_COUNTER,
        build.word,
        format!("'{}' expects {wanted} in parentheses", build.word.text()),
        format!("expected {wanted}"),
    ))
}

fn counter(loader: &ConfigDraft, build: &Build<'_, '_>) -> Result<u32, Diagnostic> {
    let numbers = numbers(build, 1)?;
    checked(loader, build, numbers[0])
}

fn element(loader: &ConfigDraft, build: &Build<'_, '_>) -> Result<(u32, u32), Diagnostic> {
    let numbers = numbers(build, 2)?;
    Ok((numbers[0], checked(loader, build, numbers[1])?))
}

fn amount(loader: &mut ConfigDraft, build: &mut Build<'_, '_>) -> Result<Amount, Diagnostic> {
    let word = build.args.required("a number or an expression")?;
    if let Ok(number) = word.str().parse() {
        return Ok(Amount::Fixed(number));
    }
    Expression::parse(loader, word, build.usage).map(Amount::Of)
}

fn track(loader: &mut ConfigDraft, build: &mut Build<'_, '_>, counter: u32) -> BuiltAction {
    let counter = checked(loader, build, counter)?;
    let key = build.expression(loader)?;
    let named = build.args.peek().is_some_and(|word| word.is("table"));
    let name: Box<str> = if named {
        build.args.next();
        let word = build.args.required("the name of a table")?;
        loader.name_table(&word.text(), word.span);
        word.text().into()
    } else {
        let own = loader.own_table(build.word.span)?;
        loader.name_table(&own, build.word.span);
        own
    };
    loader.key_of_table(&name, &key);
    let level = match build.set {
        RuleSet::TcpConnection | RuleSet::TcpSession => Level::Session,
        RuleSet::TcpContent | RuleSet::HttpRequest => Level::Request,
        _ => Level::Response,
    };
    Ok(RuleAction::Table(Box::new(TableAction::Track {
        counter,
        key,
        table: loader.config.tables.place(&name),
        level,
    })))
}

impl TableAction {
    pub(super) fn may_change(&self, stream: &ProxyStream) -> bool {
        match self {
            TableAction::Track { key, .. } => key.may_change(stream),
            _ => false,
        }
    }

    pub(super) fn counts(&self) -> bool {
        matches!(self, TableAction::Change { .. })
    }

    pub(super) fn run(&self, stream: &mut ProxyStream) -> ActionResult {
        match self {
            TableAction::Track {
                counter,
                key,
                table,
                level,
            } => {
                if tracking::with(stream, *counter, |_| ()).is_none()
                    && let Some(table) = table.get()
                    && let Some(value) = key.evaluate(stream)
                {
                    let make = &table.make;
                    let held = make.key.with(make.length, value, |key| table.get(key));
                    if let Some(held) = held.flatten() {
                        tracking::track(stream, *counter, held, *level);
                    }
                }
            }
            TableAction::Change {
                counter,
                kind,
                rate,
                element,
                amount,
            } => {
                let amount = match amount {
                    Amount::Fixed(number) => Some(u64::from(*number)),
                    Amount::Of(expression) => expression
                        .evaluate(stream)
                        .and_then(|value| value.integer())
                        .map(|number| number as u32 as u64),
                };
                let Some(amount) = amount else {
                    return ActionResult::Next;
                };
                tracking::with(stream, *counter, |held| {
                    match rate {
                        Some(rate) => {
                            held.add(*kind, *element, amount);
                            held.add(*rate, *element, amount);
                        }
                        None => _ = held.set(*kind, *element, amount),
                    }
                    held.touch();
                    held.queue_peer_update();
                });
            }
        }
        ActionResult::Next
    }
}
