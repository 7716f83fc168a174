//! Builds `stick-table` lines, which define the stick table of a proxy, and the tables of `peers`
//! sections. Completes all tables at the end of loading.

use super::{Args, Built, LineRow, places};
use crate::family::Loader;
use language::value::{self, TimeUnit};
use language::{ConfigWord, Diagnostic, Span, suggest};
use model::config::ProxyIndex;
use model::rules::draft::Section;
use model::tables::codes;
use model::tables::{
    DataType, ELEMENTS_MAX, KeyType, LENGTH_DEFAULT, LENGTH_MAX, Layout, Make, Settings, Shape,
    StickTable, TEXT_DEFAULT, TablePlace, store,
};
use std::sync::Arc;

pub(super) static LINES: &[LineRow] = language::rows! {
    "stick-table { type { ip | ipv6 | integer | string [len <length>] | binary [len <length>] } size <size> } [expire \
          <time>] [nopurge] [peers <section>] [srvkey { addr | name }] [write-to <table>] [store \
          <data>[,<data>...]]" places::PROXIES,
        build,
        "stick-table type ip size 1m expire 30s store conn_cur,http_req_rate(10s)",
        "Stores data for up to <size> keys: addresses, users, paths. Rules update it (`track-sc0 src table NAME`) and \
         read it (`src_conn_rate(NAME)`), and `stick` lines use it for persistence. An entry that is not used for \
         `expire` is removed. If the table is full, the oldest entry is removed, unless `nopurge` refuses new ones. \
         The table has the name of its proxy. `peers` shares it with other processes.";
};

fn build(loader: &mut Loader, args: &mut Args<'_>) -> Built {
    let Section::Proxy(index, _) = loader.section else {
        return Ok(());
    };
    let span = args.keyword_span();
    let name = loader.config.proxy(index).name.clone();
    let before = loader.config.tables.all.iter();
    if let Some(before) = before.clone().find(|table| table.proxy == Some(index)) {
        let told = Diagnostic::error(
            &codes::SECOND_TABLE,
            span,
            format!("stick-table name '{name}' conflicts with an earlier table"),
        );
        return Err(told
            .label("second table")
            .with_label(before.span, "the first one"));
    }
    table(loader, args, &name, Some(index), span)
}

#[derive(Default)]
struct StickTableDraft {
    key: Option<(KeyType, u32)>,
    size: Option<u32>,
    settings: Settings,
    data: Vec<(DataType, u32, u32)>,
    peers: Option<Box<str>>,
    write_to: Option<Arc<TablePlace>>,
    server_by_address: bool,
}

/// Parses the options of a table and adds the table.
pub(super) fn table(
    loader: &mut Loader,
    args: &mut Args<'_>,
    name: &str,
    proxy: Option<ProxyIndex>,
    span: Span,
) -> Built {
    let draft = options(loader, args)?;
    let missing = |what: &str| {
        let told = format!("'{}' requires {what}", args.keyword);
        Diagnostic::error(&codes::TABLE_SYNTAX, span, told)
            .label(format!("{what} is missing"))
            .help(format!("write `{}`", args.syntax))
    };
    let (key, length) = draft.key.ok_or_else(|| missing("a type"))?;
    let size = draft
        .size
        .filter(|n| *n > 0)
        .ok_or_else(|| missing("a size"))?;
    let place = loader.config.tables.place(name);
    loader.config.tables.all.push(StickTable {
        name: name.into(),
        proxy,
        span,
        make: Make {
            key,
            length,
            size,
            layout: Layout::new(draft.data.clone()),
        },
        data: draft.data,
        settings: draft.settings,
        peers: draft.peers,
        write_to: draft.write_to,
        server_by_address: draft.server_by_address,
        place,
    });
    Ok(())
}

fn options(loader: &mut Loader, args: &mut Args<'_>) -> Result<StickTableDraft, Diagnostic> {
    let mut draft = StickTableDraft::default();
    while let Some(word) = args.next() {
        match word.str() {
            "type" => draft.key = Some(key(args)?),
            "size" => {
                let bytes = args.size_at_most("a size", store::SIZE_MAX.into())?;
                draft.size = Some(bytes as u32);
            }
            "expire" => draft.settings.expire_ms = args.time_ms(TimeUnit::Milliseconds)?,
            "nopurge" => draft.settings.no_purge = true,
            "peers" => {
                let word = args.required("the name of a peers section")?;
                draft.settings.has_peers = true;
                loader.table_peers.push((word.text().into(), word.span));
                draft.peers = Some(word.text().into());
            }
            "srvkey" => {
                let word = args.required("'addr' or 'name'")?;
                draft.server_by_address = match word.str() {
                    "addr" => true,
                    "name" => false,
                    other => return Err(not_one_of(args, word, other, &["addr", "name"])),
                };
            }
            "write-to" => {
                let word = args.required("the name of a table")?;
                loader.name_table(&word.text(), word.span);
                draft.write_to = Some(loader.config.tables.place(&word.text()));
            }
            "store" => {
                let word = args.required("types of data")?;
                data(args, word, &mut draft.data)?;
            }
            other => {
                let options = [
                    "type", "size", "expire", "nopurge", "peers", "srvkey", "write-to", "store",
                ];
                return Err(not_one_of(args, word, other, &options));
            }
        }
    }
    Ok(draft)
}

fn not_one_of(args: &Args<'_>, word: &ConfigWord, text: &str, options: &[&str]) -> Diagnostic {
    let told = args.word_error(
        &codes::TABLE_SYNTAX,
        word,
        format!("'{}': unknown argument '{text}'", args.keyword),
    );
    let told = told.label(format!("expected one of {}", options.join(", ")));
    told.did_you_mean(word.span, suggest::nearest(text, options.iter().copied()))
}

fn key(args: &mut Args<'_>) -> Result<(KeyType, u32), Diagnostic> {
    let word = args.required("a type")?;
    let found = KeyType::NAMES.iter().find(|(name, _)| word.is(name));
    let Some((_, key)) = found else {
        let names = KeyType::NAMES.map(|(name, _)| name);
        return Err(not_one_of(args, word, word.str(), &names));
    };
    let mut length = match key {
        KeyType::String => TEXT_DEFAULT,
        _ => LENGTH_DEFAULT,
    };
    if matches!(key, KeyType::String | KeyType::Binary) && args.take_if("len") {
        length = args.count("<length>", 1..=LENGTH_MAX)?;
    }
    Ok((*key, length))
}

/// Parses the data types of `store`, such as `conn_cur,http_req_rate(10s),gpc(3)`, and warns of
/// repeated ones.
fn data(args: &mut Args<'_>, word: &ConfigWord, all: &mut Vec<(DataType, u32, u32)>) -> Built {
    let mut twice = Vec::new();
    let read = stored(args, word, all, &mut twice);
    for name in twice {
        let told = format!("stick-table: store option '{name}' already enabled, ignored.");
        let told = Diagnostic::warning(&codes::STORED_TWICE, word.span, told);
        args.add_warning(told.label("the first one applies"));
    }
    read
}

/// Arrays that cannot be stored together with single counters: the array, those counters, and their
/// name in messages, as in HAProxy.
const EXCLUSIVE: [(DataType, &[DataType], &str); 3] = [
    (DataType::Gpc, &[DataType::Gpc0, DataType::Gpc1], "gpc[0/1]"),
    (
        DataType::GpcRate,
        &[DataType::Gpc0Rate, DataType::Gpc1Rate],
        "gpc[0/1]_rate",
    ),
    (DataType::Gpt, &[DataType::Gpt0], "gpt0"),
];

fn stored<'w>(
    args: &Args<'_>,
    word: &'w ConfigWord,
    all: &mut Vec<(DataType, u32, u32)>,
    twice: &mut Vec<&'w str>,
) -> Built {
    let wrong = |message: String| {
        let told = args.word_error(&codes::BAD_STORE, word, message);
        told.label("cannot be stored")
    };
    for part in split(word.str()) {
        let (name, list) = match part.split_once('(') {
            Some((name, rest)) => {
                let list = rest.strip_suffix(')');
                let list = list.ok_or_else(|| wrong(format!("'{part}': expected ')'")))?;
                (name, list.split(',').map(str::trim).collect())
            }
            None => (part, Vec::new()),
        };
        let Some(kind) = DataType::of_name(name) else {
            let names = DataType::ALL.iter().map(|kind| kind.name());
            let told = wrong(format!("unknown data type '{name}' after 'store'"));
            return Err(told.suggest(suggest::nearest(name, names)));
        };
        let mut list = list.into_iter();
        let mut elements = 1;
        if kind.is_array() {
            let number = list.next().and_then(|text| text.parse().ok());
            let number = number.filter(|n| (1..=ELEMENTS_MAX).contains(n));
            elements = number
                .ok_or_else(|| wrong(format!("'{name}' needs 1 to {ELEMENTS_MAX} elements")))?;
        }
        let mut period_ms = 0;
        if kind.shape() == Shape::Rate {
            let text = list
                .next()
                .ok_or_else(|| wrong(format!("'{name}' needs a period: `{name}(10s)`")))?;
            let time = value::milliseconds(text, TimeUnit::Milliseconds);
            period_ms = time.map_err(|_| wrong(format!("'{text}' is not a period")))?;
            if period_ms == 0 {
                return Err(wrong(format!("'{name}': the period must not be 0")));
            }
        }
        if list.next().is_some() {
            return Err(wrong(format!("'{part}' has an extra argument")));
        }
        if all.iter().any(|(other, ..)| *other == kind) {
            twice.push(name);
            continue;
        }
        all.push((kind, elements, period_ms));
    }
    let has = |kind: &DataType| all.iter().any(|(other, ..)| other == kind);
    for (array, singles, names) in EXCLUSIVE {
        if has(&array) && singles.iter().any(has) {
            let array = array.name();
            return Err(wrong(format!(
                "stick-table: simultaneous usage of '{array}' and '{names}' in a same table is not permitted as '{array}' \
                 overrides '{names}'."
            )));
        }
    }
    Ok(())
}

/// Splits at commas outside of parentheses.
fn split(text: &str) -> Vec<&str> {
    let (mut parts, mut from, mut depth) = (Vec::new(), 0, 0usize);
    for (at, byte) in text.bytes().enumerate() {
        match byte {
            b'(' => depth += 1,
            b')' => depth = depth.saturating_sub(1),
            b',' if depth == 0 => {
                parts.push(&text[from..at]);
                from = at + 1;
            }
            _ => {}
        }
    }
    parts.push(&text[from..]);
    parts
}

impl Loader {
    /// Completes the tables when the whole file is known: tables that `stick` rules write store
    /// servers. Then reports keys whose type the table cannot have.
    pub(crate) fn finish_tables(&mut self) {
        for name in std::mem::take(&mut self.sticky_tables) {
            let tables = &mut self.config.tables.all;
            if let Some(table) = tables.iter_mut().find(|table| table.name == name) {
                for kind in [DataType::ServerId, DataType::ServerKey] {
                    if !table.data.iter().any(|(other, ..)| *other == kind) {
                        table.data.push((kind, 1, 0));
                    }
                }
                table.make.layout = Layout::new(table.data.clone());
            }
        }
        for key in std::mem::take(&mut self.table_keys) {
            let Some(table) = self.config.tables.by_name(&key.table) else {
                continue;
            };
            if !key.output.casts_to(table.make.key.sample()) {
                let message = format!(
                    "stick-table '{}' of type {} cannot have keys of type {}",
                    key.table,
                    table.make.key.name(),
                    key.output.name()
                );
                let told = Diagnostic::error(&codes::WRONG_KEY, key.span, message)
                    .label("not a key of this table")
                    .with_label(table.span, "the table");
                self.report(told);
            }
        }
    }
}

/// Parses `table <name>`, and returns the place of that table, or of the section's own one without
/// these words.
pub(super) fn named_or_own(
    loader: &mut Loader,
    args: &mut Args<'_>,
    span: Span,
) -> Result<Arc<TablePlace>, Diagnostic> {
    let name: Box<str> = if args.take_if("table") {
        let word = args.required("the name of a table")?;
        loader.name_table(&word.text(), word.span);
        word.text().into()
    } else {
        let own = loader.own_table(span)?;
        loader.name_table(&own, span);
        own
    };
    Ok(loader.config.tables.place(&name))
}

pub(super) static TUNE: &[LineRow] = language::rows! {
    "tune.stick-counters <number>" places::GLOBAL,
        |loader, args| {
            loader.config.global.tune.stick_counters =
                args.count("a number", 0..=model::tables::tracked::COUNTERS_MAX)?;
            args.end()
        },
        "tune.stick-counters 6",
        "Number of counters that a connection or a request can track at the same time (`track-sc0`, `track-sc1` and so \
         on), 0 to 12. The default is 3. Must appear before the rules that need more.";
};

#[cfg(test)]
mod tests {
    use crate::testing::{codes_of, load_text};
    use model::tables::{DataType, KeyType};

    #[test]
    fn tables_are_read_with_all_that_they_store() {
        let loaded = load_text(
            "listen b\n bind 127.0.0.1:1\n stick-table type string len 64 size 10k expire 30s nopurge store conn_cur,http_req_rate(10s) store gpc(3),gpc_rate(2,1m)\n",
        );
        let config = loaded.config.expect("it loads");
        let table = config.tables.by_name("b").expect("it is there");
        assert_eq!((table.make.key, table.make.length), (KeyType::String, 64));
        assert_eq!(
            (table.make.size, table.settings.expire_ms),
            (10_240, 30_000)
        );
        assert!(table.settings.no_purge);
        let kinds: Vec<_> = table
            .make
            .layout
            .stored()
            .iter()
            .map(|s| (s.kind, s.elements, s.period_ms))
            .collect();
        assert_eq!(
            kinds,
            [
                (DataType::ConnCur, 1, 0),
                (DataType::HttpReqRate, 1, 10_000),
                (DataType::Gpc, 3, 0),
                (DataType::GpcRate, 2, 60_000)
            ]
        );
    }

    #[test]
    fn mistakes_of_tables_are_told() {
        let rows = [
            (
                "stick-table type ip size 1m expire 10s store conn_rate(10s)",
                None,
            ),
            ("stick-table type ip", Some("E0464")),
            ("stick-table size 10", Some("E0464")),
            ("stick-table type ipv5 size 10", Some("E0464")),
            ("stick-table type ip size 10 expires 5s", Some("E0464")),
            ("stick-table type ip size 10 store conn_rate", Some("E0461")),
            (
                "stick-table type ip size 10 store conn_rat(5s)",
                Some("E0461"),
            ),
            ("stick-table type ip size 10 store gpc", Some("E0461")),
            ("stick-table type ip size 10 store gpc(101)", Some("E0461")),
            ("stick-table type ip size 10 peers nobody", Some("E0468")),
            (
                "stick-table type ip size 10\nstick-table type ip size 10",
                Some("E0465"),
            ),
            ("tcp-request content track-sc0 src", Some("E0460")),
            (
                "stick-table type ip size 10\ntcp-request content track-sc3 src",
                Some("E0462"),
            ),
            (
                "stick-table type ip size 10\ntcp-request content track-sc0 bool(1)",
                Some("E0463"),
            ),
        ];
        for (lines, code) in rows {
            let codes = codes_of(lines);
            assert_eq!(codes.first().copied(), code, "{lines}: {codes:?}");
        }
    }
}
