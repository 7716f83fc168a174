//! Finds pattern and map files whose entries are secrets because of how the configuration uses
//! them.
//!
//! A file is secret if its patterns or keys are compared with credentials (`req.hdr(authorization)
//! -f clients.lst`), or if its values end where a credential is written (`set-header X-Api-Key
//! %[…,map(keys.map)]`). In doubt a file is secret: the cost is that it is not displayed.
//!
//! Values are followed from line to line, in both directions, until nothing changes:
//!
//! | part of a line | examples |
//! |---|---|
//! | source: a literal | `str(x)`, `set-header X-A x`, `set-var-fmt(txn.a) x`, a pattern, an argument of a converter |
//! | carrier | a variable of any scope, a header, a capture, the values of a map, a variable of the environment, the keys of stick tables, the path and the query, the unique ID |
//! | sink | a header whose name suggests a credential, data that a check sends, a key of a converter, a comparison with a sample that is a credential |
//!
//! A literal is masked if a line writes it to a carrier that a sink reads, or compares it with a
//! carrier into which a line writes a credential.

use super::Vocabulary;
use super::secret::{
    KEYED, OF_HEADERS, OF_TWO_VALUES, Visibility, is_compared_with_secrets, is_suspect,
    may_name_secret, visible_parts,
};
use super::words::displayed_word;
use crate::reader::{LINE_BYTES_MAX, written_words};
use crate::truncated;
use std::collections::{BTreeMap, BTreeSet, HashMap};

/// Longest name of a file, a header or a variable that is evaluated, bytes.
const NAME_BYTES_MAX: usize = 8 << 10;
/// Limit on the calls in an expression. An expression with more calls counts as a secret; if its
/// value is used where a secret is expected, every [`Carrier`] counts as one.
const CALLS_MAX: usize = 1_000;
/// Limit on the maps in a word. If a word has more and is masked in part, the maps beyond the limit
/// count as secret.
const MAPS_MAX: usize = 64;
/// Texts of lines that can name a list, or pass a value on to another line.
const RELEVANT: &[&str] = &[
    "(",
    "%",
    "$",
    "-f",
    "-header",
    "capture",
    "-hint",
    "unique-id",
    "req",
    "rsp",
    "set-",
    "replace-",
    " hdr ",
];
/// Actions whose argument is a list, and whose words are added to it.
const FILLING: &[&str] = &["set-map", "add-acl", "del-map", "del-acl"];
/// Converters that compare a value with a variable.
const COMPARING: &[&str] = &["strcmp", "secure_memcmp"];
/// Actions and converters that write a variable.
const WRITING: &[&str] = &["set-var", "set-var-fmt", "unset-var", "do-resolve"];
/// Headers that are set from many sources and compared in most configurations.
const PLAIN_HEADERS: &[&str] = &[
    "accept",
    "accept-encoding",
    "accept-language",
    "alt-svc",
    "cache-control",
    "connection",
    "content-encoding",
    "content-length",
    "content-security-policy",
    "content-type",
    "date",
    "etag",
    "expires",
    "forwarded",
    "host",
    "if-modified-since",
    "if-none-match",
    "location",
    "origin",
    "permissions-policy",
    "pragma",
    "range",
    "referer",
    "referrer-policy",
    "server",
    "strict-transport-security",
    "te",
    "transfer-encoding",
    "upgrade",
    "user-agent",
    "vary",
    "via",
    "x-content-type-options",
    "x-frame-options",
    "x-real-ip",
    "x-xss-protection",
];
/// Beginnings of the names of further headers of the kind in `PLAIN_HEADERS`.
const PLAIN_BEGINNINGS: &[&str] = &["x-forwarded-", "access-control-", ":"];
/// Actions whose next words become a part of the URL, the number of these words, and the parts.
const OF_URLS: &[(&str, usize, &[Carrier])] = &[
    ("set-path", 1, &[Carrier::Path]),
    ("replace-path", 2, &[Carrier::Path]),
    ("set-query", 1, &[Carrier::Query]),
    ("set-pathq", 1, &[Carrier::Path, Carrier::Query]),
    ("replace-pathq", 2, &[Carrier::Path, Carrier::Query]),
    ("set-uri", 1, &[Carrier::Path, Carrier::Query]),
    ("replace-uri", 2, &[Carrier::Path, Carrier::Query]),
];
const SCOPES: &[&str] = &["proc.", "sess.", "txn.", "req.", "res.", "check."];
/// Longest literal that is never a secret, bytes.
const PLAIN_LITERAL_BYTES_MAX: usize = 4;

/// A name under which a value passes from one line to another.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
enum Carrier {
    Variable(String),
    Header(String),
    /// A header in `PLAIN_HEADERS`, or with one of `PLAIN_BEGINNINGS`.
    PlainHeader(String),
    /// Any captured sample; captures with different numbers are not told apart.
    Capture,
    Path,
    Query,
    Environment(String),
    /// Values of a map, by the last component of its name.
    List(String),
    /// Keys of any stick table.
    Table,
    UniqueId,
}

impl Carrier {
    fn header(name: &str) -> Carrier {
        let name = name.to_ascii_lowercase();
        let begins = |beginning: &&str| name.starts_with(*beginning);
        if PLAIN_HEADERS.contains(&&*name) || PLAIN_BEGINNINGS.iter().any(begins) {
            Carrier::PlainHeader(name)
        } else {
            Carrier::Header(name)
        }
    }

    fn variable(name: &str) -> Carrier {
        Carrier::Variable(name.to_ascii_lowercase())
    }

    /// Returns whether a secret that one line puts into this carrier makes the values that all
    /// other lines put into it secrets. Plain headers, paths, queries and tables carry values of
    /// different kinds, so one secret says nothing about the rest.
    fn has_one_kind_of_value(&self) -> bool {
        use Carrier::{Path, PlainHeader, Query, Table};
        !matches!(self, PlainHeader(_) | Path | Query | Table)
    }
}

type Carriers = BTreeSet<Carrier>;

/// Secrets by use: lists whose entries a configuration compares with credentials or writes as
/// credentials, and variables, headers and captures that carry credentials from one line to another.
#[derive(Clone, Default, PartialEq, Eq, Debug)]
pub struct SecretUses {
    /// Names of the secret lists, as written in the configuration, by the last component of the
    /// name. If the name contains a variable, its last component is unknown and the key is empty.
    names: BTreeMap<String, BTreeSet<String>>,
    /// Carriers into which lines write secrets.
    holders: Carriers,
    /// Carriers whose values end where a secret is expected.
    feeders: Carriers,
    /// True if not all flows are known: all carriers count as secret.
    is_incomplete: bool,
}

impl SecretUses {
    pub const NONE: SecretUses = SecretUses {
        names: BTreeMap::new(),
        holders: Carriers::new(),
        feeders: Carriers::new(),
        is_incomplete: false,
    };

    pub fn of<'t>(
        texts: impl IntoIterator<Item = &'t [u8]>,
        vocabulary: &Vocabulary<'_>,
    ) -> SecretUses {
        let lines = texts
            .into_iter()
            .flat_map(|text| text.split(|b| *b == b'\n'));
        let lines = lines.filter(|line| line.len() <= LINE_BYTES_MAX && is_relevant(line));
        let lines: Vec<Line> = lines.map(|line| Line::read(line, vocabulary)).collect();
        let mut uses = follow(&lines);
        let files: Vec<String> = lines
            .iter()
            .flat_map(|line| line.secret_files(&uses))
            .collect();
        for file in files {
            let last = if file.contains('$') {
                ""
            } else {
                last_component(&file)
            };
            let same = uses.names.entry(last.to_owned()).or_default();
            same.insert(file);
        }
        uses
    }

    /// Makes every carrier a secret, because not all lines of the configuration are known.
    pub fn set_incomplete(&mut self) {
        self.is_incomplete = true;
    }

    pub fn is_empty(&self) -> bool {
        self.names.is_empty()
            && self.holders.is_empty()
            && self.feeders.is_empty()
            && !self.is_incomplete
    }

    /// Returns whether other lines decide if the result of an expression is a secret.
    pub fn depends_on(expression: &str) -> bool {
        has_many_calls(expression) || reads(expression).iter().any(Carrier::has_one_kind_of_value)
    }

    /// Returns whether an expression takes its value from a carrier of a secret.
    pub fn carry(&self, expression: &str) -> bool {
        if self.is_incomplete {
            return SecretUses::depends_on(expression);
        }
        let is_carried = || has_many_calls(expression) || meet(&reads(expression), &self.holders);
        !self.holders.is_empty() && is_carried()
    }

    fn is_secret_in(&self, carrier: &Carrier) -> bool {
        (self.is_incomplete && carrier.has_one_kind_of_value())
            || self.holders.contains(carrier)
            || self.feeders.contains(carrier)
    }

    pub(super) fn are_in_header(&self, name: &str) -> bool {
        !self.is_empty() && self.is_secret_in(&Carrier::header(name))
    }

    pub fn are_in_environment(&self, name: &str) -> bool {
        !self.is_empty() && self.is_secret_in(&Carrier::Environment(name.to_owned()))
    }

    pub fn are_in_variable(&self, name: &str) -> bool {
        !self.is_empty() && self.is_secret_in(&Carrier::variable(name))
    }

    /// Returns whether the expression after this word is written to a variable or to a table whose
    /// values are secrets: `set-var(txn.a)`, `track-sc0`, or a name alone.
    pub(super) fn are_written_after(&self, word: &str) -> bool {
        if self.is_empty() {
            return false;
        }
        if word.starts_with("track-sc") {
            return self.is_secret_in(&Carrier::Table);
        }
        match written_variable(word) {
            Some(name) => self.are_in_variable(name),
            None => self.are_in_variable(word),
        }
    }

    /// Returns the number of words after an action that are secrets because of the carrier that the
    /// action writes to.
    pub(super) fn values_after(&self, word: &str, before: &str) -> usize {
        if self.is_empty() {
            return 0;
        }
        if let Some((_, count, parts)) = OF_URLS.iter().find(|(action, ..)| *action == word) {
            let is_secret = parts.iter().any(|part| self.is_secret_in(part));
            return if is_secret { *count } else { 0 };
        }
        let is_format = |name: &str| name.eq_ignore_ascii_case("set-var-fmt");
        let is_secret = match word {
            "unique-id-format" => self.is_secret_in(&Carrier::UniqueId),
            _ if is_format(before) => self.are_in_variable(word),
            _ if word.len() > 11 && word.get(..11).is_some_and(is_format) => {
                written_variable(word).is_some_and(|name| self.are_in_variable(name))
            }
            _ => false,
        };
        usize::from(is_secret)
    }

    /// Returns whether an expression compares its value with a variable that carries a secret or
    /// whose name suggests one, or looks it up in a table of secrets.
    pub(super) fn are_compared_in(&self, expression: &str) -> bool {
        if self.is_secret_in(&Carrier::Table) && calls(expression).iter().any(is_lookup_in_table) {
            return true;
        }
        let is_comparing = |call: &&Call<'_>| COMPARING.contains(&&*call.name);
        calls(expression).iter().filter(is_comparing).any(|call| {
            let variable = call.first().to_ascii_lowercase();
            may_name_secret(&variable) || is_suspect(&variable) || self.are_in_variable(&variable)
        })
    }

    /// Returns whether an action adds its words to a list of secrets: `set-map(keys.map)`.
    pub(super) fn fill(&self, action: &str) -> bool {
        let call = calls(action).into_iter().next();
        call.is_some_and(|call| {
            call.at == 0 && FILLING.contains(&&*call.name) && self.contains(call.first())
        })
    }

    /// Returns whether the entries of this file are secrets, by its use or by its name.
    pub fn contains(&self, path: &str) -> bool {
        let name = path.rsplit('/').next().unwrap_or_default();
        is_suspect(name) || name.to_ascii_lowercase().contains("key") || self.has_use(path)
    }

    /// Returns whether the configuration uses the entries of this file as secrets.
    pub fn has_use(&self, path: &str) -> bool {
        let keys = [last_component(path), ""];
        let names = keys.into_iter().filter_map(|key| self.names.get(key));
        names.flatten().any(|name| is_same_file(name, path))
    }
}

/// Returns the variable that an action writes: `set-var(txn.a,ifexists)`.
fn written_variable(action: &str) -> Option<&str> {
    let call = calls(action).into_iter().next()?;
    let is_writing = call.name.starts_with("set-var") || call.name == "do-resolve";
    (call.at == 0 && is_writing).then(|| call.first())
}

/// Follows secrets from line to line until nothing changes. Each expression is passed once in each
/// direction, so the time grows with the length of the text only.
fn follow(lines: &[Line]) -> SecretUses {
    let expressions: Vec<&Expression> = lines.iter().flat_map(|line| &line.expressions).collect();
    let mut readers: HashMap<&Carrier, Vec<usize>> = HashMap::new();
    let mut writers: HashMap<&Carrier, Vec<usize>> = HashMap::new();
    for (at, one) in expressions.iter().enumerate() {
        for carrier in &one.reads {
            readers.entry(carrier).or_default().push(at);
        }
        for carrier in &one.targets {
            writers.entry(carrier).or_default().push(at);
        }
    }
    let mut uses = SecretUses::NONE;
    // Carriers, and true for one into which a secret is written.
    let mut pending: Vec<(&Carrier, bool)> = Vec::new();
    let compared: BTreeSet<&Carrier> = lines.iter().flat_map(|line| &line.compared).collect();
    for line in lines {
        let literal = line.literals.iter().filter(|one| compared.contains(one));
        let known = line.carriers.iter().chain(literal);
        pending.extend(known.map(|carrier| (carrier, true)));
    }
    let mut passed = vec![(false, false); expressions.len()];
    for (one, passed) in expressions.iter().zip(&mut passed) {
        if one.is_secret {
            passed.0 = true;
            pending.extend(one.targets.iter().map(|carrier| (carrier, true)));
        }
        if one.is_sink {
            passed.1 = true;
            uses.is_incomplete |= one.is_unknown;
            pending.extend(one.reads.iter().map(|carrier| (carrier, false)));
        }
    }
    while let Some((carrier, is_holder)) = pending.pop() {
        let set = if is_holder {
            &mut uses.holders
        } else {
            &mut uses.feeders
        };
        if !set.insert(carrier.clone()) {
            continue;
        }
        if carrier.has_one_kind_of_value() {
            pending.push((carrier, !is_holder));
        }
        let next = if is_holder { &readers } else { &writers };
        for at in next.get(carrier).into_iter().flatten() {
            let one = expressions[*at];
            let (forward, backward) = &mut passed[*at];
            let passed = if is_holder { forward } else { backward };
            if std::mem::replace(passed, true) {
                continue;
            }
            if is_holder {
                pending.extend(one.targets.iter().map(|carrier| (carrier, true)));
            } else {
                uses.is_incomplete |= one.is_unknown;
                pending.extend(one.reads.iter().map(|carrier| (carrier, false)));
            }
        }
    }
    uses
}

/// Returns the last component of a path, which `is_same_file` compares; empty if there is none.
fn last_component(path: &str) -> &str {
    let path = path.split_once('@').map_or(path, |(_, path)| path);
    let mut parts = path.rsplit('/');
    let last = parts.find(|part| !part.is_empty() && *part != ".");
    last.filter(|part| *part != "..").unwrap_or_default()
}

/// Returns whether a name of the configuration can be that of this path. The base directory and the
/// values of variables are unknown here.
fn is_same_file(name: &str, path: &str) -> bool {
    let name = name.split_once('@').map_or(name, |(_, name)| name);
    let path = path.split_once('@').map_or(path, |(_, path)| path);
    if let Some(at) = name.rfind('$') {
        let rest = name[at + 1..].trim_start_matches('{');
        let is_name = |c: char| c.is_ascii_alphanumeric() || c == '_';
        let rest = rest.trim_start_matches(is_name);
        let rest = rest.strip_prefix('}').unwrap_or(rest);
        return path.ends_with(rest);
    }
    let parts = |text: &str| -> Vec<String> {
        let parts = text
            .split('/')
            .filter(|part| !part.is_empty() && *part != ".");
        parts.map(str::to_owned).collect()
    };
    let (name, path) = (parts(name), parts(path));
    let known = name
        .iter()
        .rposition(|part| part == "..")
        .map_or(0, |at| at + 1);
    path.ends_with(&name[known..])
}

fn is_relevant(line: &[u8]) -> bool {
    let has = |text: &&str| line.windows(text.len()).any(|part| part == text.as_bytes());
    RELEVANT.iter().any(has)
}

/// A use of a list.
#[derive(Debug)]
struct ListUse {
    file: String,
    /// True if the entries are compared with a secret.
    is_secret: bool,
    /// Names from which the compared value comes.
    reads: Carriers,
}

/// An expression in a line.
#[derive(Debug, Default)]
struct Expression {
    /// True if its result is a secret.
    is_secret: bool,
    /// True if its result is written where a secret is expected.
    is_sink: bool,
    /// True if it has more than `CALLS_MAX` calls, so that the carriers it reads are unknown.
    is_unknown: bool,
    reads: Carriers,
    /// Names that the result is written to or compared with.
    targets: Carriers,
    maps: Vec<ListUse>,
}

/// The expressions and lists of a line.
#[derive(Debug, Default)]
struct Line {
    expressions: Vec<Expression>,
    /// Files of patterns, and lists that rules fill.
    lists: Vec<ListUse>,
    /// Names that always contain secrets: keys of converters.
    carriers: Carriers,
    /// Headers that the line sets to a literal.
    literals: Carriers,
    /// Headers that the line compares with patterns.
    compared: Carriers,
}

impl Line {
    fn read(line: &[u8], vocabulary: &Vocabulary<'_>) -> Line {
        let mut words = written_words(line);
        if words.first().is_some_and(|first| first == b"on") {
            words.drain(..words.len().min(2));
        }
        let shown = visible_parts(&words, vocabulary);
        let words: Vec<String> = words.iter().map(|word| displayed_word(word)).collect();
        let mut read = Line::default();
        let mut targets = Carriers::new();
        // List to which a rule adds the words that follow; None if it adds none.
        let mut filled: Option<ListUse> = None;
        for (at, word) in words.iter().enumerate() {
            if word == "if" || word == "unless" {
                targets.clear();
                read.lists.extend(filled.take());
            }
            if is_condition(&words, at) && has_patterns(&words[at + 1..]) {
                let of_headers = reads(word).into_iter();
                read.compared
                    .extend(of_headers.filter(|one| matches!(one, Carrier::Header(_))));
            }
            if is_secret_literal(word) {
                let of_headers = targets
                    .iter()
                    .filter(|one| matches!(one, Carrier::Header(_)));
                read.literals.extend(of_headers.cloned());
            }
            // Uses the last word before the condition as the value, and the one before it as the
            // key.
            let fills = filled.as_ref().filter(|_| {
                words
                    .get(at.wrapping_sub(2))
                    .is_some_and(|word| word.starts_with("set-map"))
            });
            let fills = fills.map(|list| Carrier::List(last_component(&list.file).to_owned()));
            if word == "-f"
                && let Some(file) = words.get(at + 1)
            {
                let compared = compared_expression(&words[..at]);
                read.lists.push(ListUse {
                    file: file.clone(),
                    is_secret: is_secret(compared, vocabulary),
                    reads: reads(compared),
                });
            }
            let mut shown = ShownWord::new(&shown[at]);
            for piece in pieces(word) {
                let mut expression = Expression::read(piece, &mut shown, vocabulary);
                expression.targets.extend(targets.iter().cloned());
                expression.targets.extend(fills.clone());
                if let Some(filled) = &mut filled {
                    filled.is_secret |= is_secret(piece, vocabulary);
                    filled.reads.extend(expression.reads.iter().cloned());
                }
                read.expressions.push(expression);
                read.carriers.extend(keys(piece));
            }
            targets.extend(written_carriers(&words, at));
            let action = calls(word).into_iter().next().filter(|call| call.at == 0);
            if let Some(call) = action.filter(|call| FILLING.contains(&&*call.name)) {
                filled = Some(ListUse {
                    file: call.first().to_owned(),
                    is_secret: false,
                    reads: Carriers::new(),
                });
            }
        }
        read.lists.extend(filled);
        match words.as_slice() {
            [first, rest @ ..] if first == "capture" => {
                // `capture request header NAME len …`, `capture cookie NAME len …`.
                let may_be =
                    |word: &String| may_name_secret(&word.to_ascii_lowercase()) || is_suspect(word);
                read.expressions.push(Expression {
                    is_secret: rest.iter().any(may_be),
                    reads: rest
                        .get(2)
                        .map(|name| Carrier::header(name))
                        .into_iter()
                        .collect(),
                    targets: Carriers::from([Carrier::Capture]),
                    ..Expression::default()
                });
            }
            [first, name, ..] if first == "unique-id-header" => read.expressions.push(Expression {
                reads: Carriers::from([Carrier::UniqueId]),
                targets: Carriers::from([Carrier::header(name)]),
                ..Expression::default()
            }),
            [first, line, ..] if first == "reqadd" || first == "rspadd" => {
                let name = line.split_once(':').map(|(name, _)| Carrier::header(name));
                let name = name.filter(|one| matches!(one, Carrier::Header(_)));
                read.literals.extend(name);
            }
            _ => {}
        }
        read
    }

    fn secret_files(&self, uses: &SecretUses) -> Vec<String> {
        let is_list = |list: &&ListUse| {
            let values = Carrier::List(last_component(&list.file).to_owned());
            list.is_secret || meet(&list.reads, &uses.holders) || uses.holders.contains(&values)
        };
        let mut all: Vec<&ListUse> = self.lists.iter().filter(is_list).collect();
        for one in &self.expressions {
            let is_sink = one.is_sink || meet(&one.targets, &uses.feeders);
            all.extend(one.maps.iter().filter(|map| is_sink || is_list(map)));
        }
        all.into_iter().map(|list| list.file.clone()).collect()
    }
}

/// Returns whether this word is the expression of a condition or an ACL.
fn is_condition(words: &[String], at: usize) -> bool {
    let before = at.checked_sub(1).and_then(|at| words.get(at));
    let is_open = before.is_some_and(|word| word.trim_start_matches('!') == "{");
    is_open || at == 2 && words.first().is_some_and(|first| first == "acl")
}

/// Returns whether patterns follow in these words of a condition. The method `-m found` has none.
fn has_patterns(words: &[String]) -> bool {
    let condition = words.iter().take_while(|word| *word != "}");
    let mut before = "";
    let mut count = 0;
    for word in condition {
        if before == "-m" && word == "found" {
            return false;
        }
        before = word;
        count += 1;
    }
    count > 0
}

/// Returns whether a word is a literal that can be a secret. Words of letters alone are common values
/// of headers that route requests: `mobile`, `canary`.
fn is_secret_literal(word: &str) -> bool {
    let is_plain = |c: char| c.is_ascii_alphabetic() || c == '-' || c == '_';
    !word.contains('%') && word.len() > PLAIN_LITERAL_BYTES_MAX && !word.chars().all(is_plain)
}

fn meet(some: &Carriers, others: &Carriers) -> bool {
    some.iter().any(|one| others.contains(one))
}

/// The visible part of a word with expressions. All expressions of the word share it, because its
/// size is that of the word.
struct ShownWord<'s> {
    visibility: &'s Visibility,
    /// Carriers that its visible part reads.
    reads: Carriers,
    /// Number of the maps in its expressions so far.
    maps: usize,
}

impl ShownWord<'_> {
    fn new(visibility: &Visibility) -> ShownWord<'_> {
        ShownWord {
            visibility,
            reads: match visibility {
                Visibility::Part(part) => reads(part),
                _ => Carriers::new(),
            },
            maps: 0,
        }
    }
}

impl Expression {
    fn read(text: &str, shown: &mut ShownWord<'_>, vocabulary: &Vocabulary<'_>) -> Expression {
        let mut read = Expression::default();
        // Begins again after each map, which returns another value than the one that it looks up.
        let mut begin = 0;
        for call in calls(text) {
            let before = &text[..call.at];
            if is_map(&call.name) && !call.first().is_empty() {
                let compared = &text[begin.min(call.at)..call.at];
                read.maps.push(ListUse {
                    file: call.first().to_owned(),
                    is_secret: is_secret(compared, vocabulary),
                    reads: reads(compared),
                });
                shown.maps += 1;
                read.is_sink |= match shown.visibility {
                    Visibility::Whole => false,
                    Visibility::Part(part) if shown.maps <= MAPS_MAX => {
                        !part.contains(call.arguments)
                    }
                    Visibility::Covered | Visibility::Part(_) => true,
                };
                begin = call.end;
            } else if call.name == "set-var" && before.ends_with(',')
                || COMPARING.contains(&&*call.name)
            {
                read.targets.insert(Carrier::variable(call.first()));
            } else if call.name.starts_with("capture-") {
                read.targets.insert(Carrier::Capture);
            } else if is_lookup_in_table(&call) {
                read.targets.insert(Carrier::Table);
            }
        }
        let result = &text[begin.min(text.len())..];
        read.is_unknown = has_many_calls(text);
        read.is_secret = read.is_unknown || is_secret(result, vocabulary);
        read.reads = reads(result);
        let last = read.maps.last().map(|map| last_component(&map.file));
        read.reads
            .extend(last.map(|name| Carrier::List(name.to_owned())));
        read.is_sink |= match shown.visibility {
            Visibility::Whole => false,
            // Treats the hidden part of a word as a sink: the end of `AUTH %[var(check.p)]`.
            Visibility::Part(_) => read.is_unknown || !reads(result).is_subset(&shown.reads),
            Visibility::Covered => true,
        };
        read
    }
}

fn is_lookup_in_table(call: &Call<'_>) -> bool {
    call.name == "in_table" || call.name.starts_with("table_")
}

fn is_map(name: &str) -> bool {
    name == "map" || name.starts_with("map_")
}

/// Returns whether a sample is a secret. The name of one that comes from a variable of the
/// environment is unknown.
fn is_secret(expression: &str, vocabulary: &Vocabulary<'_>) -> bool {
    expression.contains('$') || is_compared_with_secrets(expression, vocabulary)
}

fn compared_expression(words: &[String]) -> &str {
    let open = words
        .iter()
        .rposition(|word| word.trim_start_matches('!') == "{");
    let open = open.map(|at| at + 1);
    let acl = words.first().filter(|first| *first == "acl").map(|_| 2);
    let at = open.or(acl);
    at.and_then(|at| words.get(at)).map_or("", String::as_str)
}

fn pieces(word: &str) -> impl Iterator<Item = &str> {
    word.split("%[")
}

fn written_carriers(words: &[String], at: usize) -> Vec<Carrier> {
    let word = words[at].as_str();
    let before = at.checked_sub(1).and_then(|at| words.get(at));
    let before = before.map_or("", String::as_str);
    if OF_HEADERS.contains(&before) || OF_TWO_VALUES.contains(&before) {
        return vec![Carrier::header(word)];
    }
    // `set-var NAME EXPRESSION` of the section `global`.
    if at == 1 && before.starts_with("set-var") {
        return vec![Carrier::variable(word)];
    }
    if let Some((.., parts)) = OF_URLS.iter().find(|(action, ..)| *action == word) {
        return parts.to_vec();
    }
    match word {
        "capture" if at > 0 => vec![Carrier::Capture],
        "unique-id-format" if at == 0 => vec![Carrier::UniqueId],
        _ if word.starts_with("track-sc") => vec![Carrier::Table],
        _ => written_variable(word)
            .map(Carrier::variable)
            .into_iter()
            .collect(),
    }
}

fn reads(expression: &str) -> Carriers {
    let mut found = Carriers::new();
    if has_many_calls(expression) {
        return found;
    }
    for call in calls(expression) {
        let base = call.name.rsplit('.').next().unwrap_or_default();
        match base {
            _ if call.name == "var" => found.extend([Carrier::variable(call.first())]),
            _ if call.name.starts_with("capture.") => found.extend([Carrier::Capture]),
            _ if base.starts_with("hdr")
                || base.starts_with("fhdr")
                || base.starts_with("shdr") =>
            {
                found.extend([Carrier::header(call.first())]);
            }
            "env" => found.extend([Carrier::Environment(call.first().to_owned())]),
            _ if base.starts_with("url_param") || base.starts_with("urlp") => {
                found.extend([Carrier::Query]);
            }
            _ if is_map(base) => {
                let name = last_component(call.first()).to_owned();
                found.extend([Carrier::List(name)]);
            }
            // Variables among the arguments of converters: `concat(,txn.a)`.
            _ if !COMPARING.contains(&base) && !WRITING.contains(&base) => {
                let names = truncated(call.arguments, NAME_BYTES_MAX).split(',');
                let names = names.map(|name| name.trim().to_ascii_lowercase());
                let is_variable = |name: &String| {
                    SCOPES.iter().any(|scope| name.starts_with(scope)) && !name.contains('(')
                };
                found.extend(names.filter(is_variable).map(Carrier::Variable));
            }
            _ => {}
        }
    }
    found.extend(reads_without_arguments(expression));
    found
}

/// Returns the carriers that an expression reads by functions without arguments, by variables of
/// the log format and by variables of the environment.
fn reads_without_arguments(expression: &str) -> Carriers {
    let is_name = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
    let mut found = Carriers::new();
    for begin in expression.split('[') {
        let name = begin.trim_start().split(|c| !is_name(c)).next();
        let parts: &[Carrier] = match name.unwrap_or_default() {
            "path" => &[Carrier::Path],
            "query" => &[Carrier::Query],
            "pathq" | "url" | "base" | "baseq" | "capture.req.uri" => {
                &[Carrier::Path, Carrier::Query]
            }
            "unique-id" => &[Carrier::UniqueId],
            _ => &[],
        };
        found.extend(parts.iter().cloned());
    }
    for (name, part) in [
        ("%HP", Carrier::Path),
        ("%HU", Carrier::Path),
        ("%HQ", Carrier::Query),
        ("%HU", Carrier::Query),
        ("%ID", Carrier::UniqueId),
    ] {
        if expression.contains(name) {
            found.insert(part);
        }
    }
    for rest in expression.split('$').skip(1) {
        let rest = rest.trim_start_matches('{');
        let is_name = |c: char| c.is_ascii_alphanumeric() || c == '_';
        let name = rest.split(|c| !is_name(c)).next().unwrap_or_default();
        if !name.is_empty() {
            found.insert(Carrier::Environment(
                truncated(name, NAME_BYTES_MAX).to_owned(),
            ));
        }
    }
    found
}

fn has_many_calls(expression: &str) -> bool {
    expression.matches('(').nth(CALLS_MAX).is_some()
}

/// Returns the variables with keys of converters: `hmac(sha256,txn.key)`.
fn keys(expression: &str) -> Carriers {
    let mut all = Carriers::new();
    if has_many_calls(expression) {
        return all;
    }
    for call in calls(expression) {
        let keyed = KEYED
            .iter()
            .find(|(name, _)| name.strip_suffix('(') == Some(&*call.name));
        if let Some((_, first)) = keyed {
            let names = call.arguments.split(',').skip(*first);
            let names = names.map(|name| name.trim().to_ascii_lowercase());
            all.extend(
                names
                    .filter(|name| name.contains('.'))
                    .map(Carrier::Variable),
            );
        }
    }
    all
}

/// A call of a function in an expression.
#[derive(Debug)]
pub(super) struct Call<'t> {
    pub name: String,
    pub arguments: &'t str,
    /// Offset of the name in the expression.
    pub at: usize,
    /// Offset of the end of the arguments.
    pub end: usize,
}

impl<'t> Call<'t> {
    pub fn first(&self) -> &'t str {
        let quotes = ['"', '\''];
        // Truncates the argument, because no file, header or variable has a longer name.
        let text = truncated(self.arguments, NAME_BYTES_MAX).trim();
        match text.strip_prefix(quotes) {
            Some(rest) => rest.split(quotes).next().unwrap_or_default(),
            None => text.split(',').next().unwrap_or_default().trim(),
        }
    }
}

/// Returns the calls in an expression, in order. Quotes are not considered: an argument list may
/// only end too early, at a quoted parenthesis.
pub(super) fn calls(text: &str) -> Vec<Call<'_>> {
    let is_name = |b: u8| b.is_ascii_alphanumeric() || b"._-".contains(&b);
    let bytes = text.as_bytes();
    // Start of the name, start and end of the arguments.
    let mut found: Vec<(usize, usize, usize)> = Vec::new();
    let mut open = Vec::new();
    let mut name = 0;
    for (at, byte) in bytes.iter().enumerate() {
        match byte {
            b'(' => {
                open.push(found.len());
                found.push((name, at + 1, text.len()));
            }
            b')' => {
                if let Some(call) = open.pop().and_then(|call: usize| found.get_mut(call)) {
                    call.2 = at;
                }
            }
            _ => {}
        }
        if !is_name(*byte) {
            name = at + 1;
        }
    }
    let call = |(at, begin, end): (usize, usize, usize)| Call {
        name: text[at..begin - 1].to_ascii_lowercase(),
        arguments: &text[begin..end],
        at,
        end,
    };
    let calls = found.into_iter().map(call);
    calls.filter(|call| !call.name.is_empty()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lists(text: &str) -> SecretUses {
        SecretUses::of([text.as_bytes()], &Vocabulary::default())
    }

    /// Lines in which `F` is a file of secrets.
    const SECRET: &[&str] = &[
        "acl a req.hdr(authorization) -m str -f F",
        "acl a req.hdr(x-api-key) -f F",
        "acl a req.hdr(x-api-key) -i -f other.lst -f F",
        "acl a hdr_beg(authorization) -f F",
        "acl a req.cook(session) -f F",
        "acl a cook(session) -m str -f F",
        "acl a urlp(token) -f F",
        "acl a url_param(sig) -f F",
        "acl a req.body_param(pwd) -f F",
        "acl a http_auth_bearer -m str -f F",
        "acl a http_auth_bearer,sha2(256),hex -m str -f F",
        "acl a http_auth_pass(u) -f F",
        "acl a req.hdr(authorization),word(2,' ') -M -f F",
        "acl a \"$SAMPLE\" -f F",
        "on alpha acl a req.hdr(x-api-key) -f F",
        "http-request deny unless { req.hdr(x-api-key) -f F }",
        "http-request deny unless x or { req.hdr(x-api-key) -m str -f F } y",
        "http-request deny unless { req.hdr(x-api-key),map(F) -m found }",
        "http-request deny unless { req.hdr(x-api-key),map_str_int(F,0) gt 0 }",
        "use_backend %[req.hdr(x-api-key),map(F,web)]",
        "use_backend b-%[req.hdr(x-api-key),lower,map_reg(F)] if x",
        "http-request set-header X-Api-Key %[req.hdr(x-tenant),map(F)]",
        "http-request set-header Authorization \"Basic %[req.hdr(x-user),map(F)]\" if x",
        "http-request set-header Authorization Bearer\\ %[src,map_ip(F)]",
        "http-request add-header Cookie s=%[src,map_ip(F)]",
        "http-request replace-header Authorization .* %[src,map_ip(F)]",
        "http-request set-var(txn.api_key) src,map_ip(F)",
        "http-response set-header Set-Cookie %[src,map_ip(F)]",
        "http-check send hdr X-Auth-Token %[str(a),map(F)]",
        "http-request redirect location https://h/?token=%[src,map_ip(F)]",
        "http-request set-map(F) %[req.hdr(x-api-key)] %[src]",
        "http-request add-acl(F) %[http_auth_bearer] if x",
        "http-request set-map(F) %[src] %[req.hdr(authorization)]",
        "tcp-request content set-var(txn.secret) src,map_ip(F)",
        // Through variables, headers and captures.
        "http-request set-var(txn.k) req.hdr(x-api-key)\nacl a var(txn.k) -f F",
        "http-request set-var(txn.k) req.hdr(x-api-key),lower\nuse_backend %[var(txn.k),map(F)]",
        "acl a req.hdr(x-api-key),set-var(txn.k) -m found\nacl b var(txn.k) -f F",
        "acl b var(txn.c) -f F\nhttp-request set-var(txn.c) var(txn.b)\nhttp-request set-var(txn.b) http_auth_bearer",
        "http-request set-var(txn.up) src,map_ip(F)\nhttp-request set-header Authorization %[var(txn.up)]",
        "http-request set-var-fmt(txn.up) \"%[src,map_ip(F)]\"\nhttp-request set-header X-Api-Key %[var(txn.up)]",
        "http-request set-var(txn.p) req.hdr(x-user),map(F)\nhttp-request deny unless { http_auth_pass,strcmp(txn.p) eq 0 }",
        "http-request set-var(txn.p) req.hdr(x-user),map(F)\nhttp-request deny unless { req.hdr(x-api-key),secure_memcmp(txn.p) }",
        "http-request set-var(txn.p) req.hdr(x-user),map(F)\nhttp-request set-header X-S %[path,hmac(sha256,txn.p)]",
        "http-request set-header X-Tmp %[src,map_ip(F)]\nhttp-request set-header Authorization %[req.hdr(x-tmp)]",
        "http-request set-header X-Tmp %[req.hdr(authorization)]\nacl a req.hdr(x-tmp) -f F",
        "capture request header Authorization len 64\nacl a capture.req.hdr(0) -f F",
        "http-request capture req.hdr(x-api-key) len 64\nuse_backend %[capture.req.hdr(0),map(F)]",
    ];

    /// Lines in which `F` is no file of secrets.
    const PLAIN: &[&str] = &[
        "acl a src -f F",
        "acl a hdr(host) -i -f F",
        "acl a path_beg -f F",
        "acl a hdr(:authority) -f F",
        "use_backend %[req.hdr(host),lower,map_dom(F,web)]",
        "use_backend %[path,map_beg(F)] if { req.hdr(authorization) -m found }",
        "http-request set-var(txn.be) req.hdr(host),map(F)",
        "http-request set-header X-Backend %[base,map_beg(F)]",
        "http-request set-header X-Auth-Host %[req.hdr(host)]\nuse_backend %[req.hdr(host),map(F)]",
        "http-request set-var(txn.t) req.hdr(x-api-key),map(keys.map)\nuse_backend %[var(txn.t),map(F)]",
        "http-request set-map(F) %[src] %[path]",
        "http-request deny if { req.hdr(x-api-key) a } { src -f F }",
        "# acl a req.hdr(x-api-key) -f F",
    ];

    #[test]
    fn use_of_a_list_decides_whether_it_is_secret() {
        let use_of = |line: &str| lists(&line.replace('F', "/etc/lists/a.lst"));
        for line in SECRET {
            assert!(use_of(line).contains("/etc/lists/a.lst"), "{line}");
        }
        for line in PLAIN {
            assert!(!use_of(line).contains("/etc/lists/a.lst"), "{line}");
        }
    }

    /// Lines in which MARK is a secret because of other lines, or of another name of a function.
    const CARRIED: &[&str] = &[
        "http-request set-var(txn.k) req.hdr(x-api-key)\nhttp-request deny unless { var(txn.k) -m str MARK }",
        "http-request set-var(txn.k) req.hdr(x-api-key),lower\nacl good var(txn.k),lower MARK",
        "acl good var(txn.k),lower -i MARK\nhttp-request set-var(txn.k) http_auth_bearer",
        "http-request set-var(txn.k) req.hdr(x-api-key)\nhttp-request deny unless { str(MARK),strcmp(txn.k) eq 0 }",
        "http-request deny unless { str(MARK),strcmp(txn.api_key) eq 0 }",
        "http-request set-var(txn.k) req.cook(s)\nhttp-request deny unless { str(MARK),secure_memcmp(txn.k) }",
        "capture request header Authorization len 64\nacl a capture.req.hdr(0) -m str MARK",
        "http-request set-header X-Tmp %[req.hdr(authorization)]\nacl a req.hdr(x-tmp) -m str MARK",
        "acl a req.hdr(x-api-key) -f k.lst\nhttp-request set-map(k.lst) t2 MARK",
        "http-request set-header X-Api-Key %[req.hdr(x-t),map(k.map)]\nhttp-request set-map(k.map) t2 MARK if x",
        "http-request add-acl(tokens.lst) MARK",
        "http-request deny unless { cookie(PHPSESSID) MARK }",
        "http-request deny unless { cookie(PHPSESSID) -m str MARK }",
        "http-response deny if { set-cookie(a) MARK }",
        "http-request set-query sig=MARK",
        "http-request set-query a=b&key=MARK",
        "http-request deny unless { query -m sub sig=MARK }",
        "acl signed query -m sub access_key=MARK",
        // Literals that reach a credential through other lines.
        "http-request set-header X-Tmp MARK\nhttp-request set-header Authorization \"Bearer %[req.hdr(x-tmp)]\"",
        "http-request add-header X-Tmp a MARK if x\nhttp-request set-header X-Api-Key %[req.hdr(x-tmp),lower]",
        "http-request replace-header X-Tmp (.*) MARK\nhttp-request set-header X-Api-Key %[req.hdr(x-tmp)]",
        "http-request set-var(txn.h) req.hdr(x-tmp)\nhttp-request set-header X-Tmp MARK\nhttp-request set-header X-Api-Key %[var(txn.h)]",
        "set-var-fmt proc.k \"MARK\"\nhttp-request set-header X-Api-Key %[var(proc.k)]",
        "http-request set-var-fmt(txn.k) \"MARK%[src]\"\nhttp-request set-header X-Api-Key %[var(txn.k)]",
        "tcp-request connection set-var-fmt(sess.k) MARK\nhttp-request set-header X-Api-Key %[var(sess.k)]",
        "http-request set-var-fmt(txn.c) \"Bearer-MARK\"\nhttp-request deny unless { req.hdr(authorization),strcmp(txn.c) eq 0 }",
        "http-check set-var-fmt(check.p) \"MARK\"\nhttp-check send hdr X-Api-Key %[var(check.p)]",
        "tcp-check set-var-fmt(check.p) \"MARK\"\ntcp-check send-lf \"AUTH %[var(check.p)]\\r\\n\"",
        "http-check set-var-fmt(check.p) \"MARK\"\nhttp-check send meth POST body-lf \"%[var(check.p)]\"",
        "http-request set-var-fmt(txn.k) MARK\nhttp-request redirect location https://h/?token=%[var(txn.k)]",
        "http-request set-var-fmt(txn.c0) MARK\nhttp-request set-var(txn.c1) str(Bearer),concat(\" \",txn.c0)\nhttp-request set-header Authorization %[var(txn.c1)]",
        "http-request set-var(txn.k) req.hdr(x-a),iif(MARK,no)\nhttp-request set-header X-Api-Key %[var(txn.k)]",
        "http-request return status 200 hdr X-Tmp MARK\nhttp-response set-header X-Api-Key %[res.hdr(x-tmp)]",
        "http-request set-header X-Tmp MARK\ncapture request header X-Tmp len 20\nhttp-request set-header X-Api-Key %[capture.req.hdr(0)]",
        "http-request set-query t=MARK\nhttp-request set-header Authorization %[urlp(t)]",
        "http-request set-path /MARK\nhttp-request set-header X-Api-Key %[path,lower]",
        "http-request set-header User-Agent MARK\nhttp-request set-header X-Api-Key %[req.hdr(user-agent)]",
        "unique-id-format MARK\nhttp-request set-header X-Api-Key %[unique-id]",
        "unique-id-format MARK\nunique-id-header X-Id\nhttp-request set-header X-Api-Key %[req.hdr(x-id)]",
        "reqadd X-Tmp:\\ MARK\nhttp-request set-header X-Api-Key %[req.hdr(x-tmp)]",
        "http-request set-header X-Tmp MARK\nhttp-request set-map(f.map) %[src] %[req.hdr(x-tmp)]\nhttp-request set-header X-Api-Key %[src,map(f.map)]",
        "http-request set-header X-Api-Key %[src,map(f.map)]\nacl a src,map(f.map) MARK",
        "http-request track-sc0 str(MARK) table tt\nhttp-request deny unless { req.hdr(x-api-key),in_table(tt) }",
        "http-request track-sc1 req.hdr(x-api-key) table tt\nhttp-request deny if { str(MARK),table_http_req_cnt(tt) gt 5 }",
        "http-request track-sc1 req.hdr(x-api-key) table tt\nhttp-request deny unless { str(MARK),lower,in_table(tt) }",
        // Values that a check expects.
        "http-check expect hdr name \"x-api-key\" value MARK",
        "http-check expect ! fhdr name x-auth-token value -m beg MARK",
        "http-check expect status-code L7STS hdr name \"set-cookie\" value \"sid=MARK\"",
        "http-check expect hdr name authorization value Bearer\\ MARK",
        "http-check expect hdr name -m beg x-api-key value MARK",
        "http-check expect hdr name -m beg set-cookie value -m sub MARK",
        "http-check expect hdr name x-api-key value-lf MARK",
        "http-check expect hdr name-lf x-api-key value MARK",
        "http-check expect string-lf \"auth_key: MARK\"",
        "http-check expect rstring \"password.*MARK\"",
        "tcp-check expect rstring \"token: *MARK\"",
        "http-check expect string \"api_key=MARK\"",
        "$X=MARK\nauth_pass $X\npassword $X",
        // Literals that are arguments of converters of a credential.
        "http-request deny unless { req.hdr(authorization),regsub(^Bearer.MARK$,ok) ok }",
        "http-request deny unless { req.hdr(authorization),regsub(\"^(a|b)\\)MARK$\",ok,g) ok }",
        "http-request set-header X-Tmp %[req.hdr(authorization)]\nhttp-request deny unless { req.hdr(x-tmp),lower,regsub(MARK,ok,g) ok }",
        "use_backend %[req.hdr(x-api-key),regsub(MARK,a),lower,iif(MARK,b)]",
        "http-request deny unless { req.hdr(x-api-key),iif(MARK,x) -m str y }",
        "http-request deny unless { req.hdr(x-api-key),map_str(v.map,MARK) -m found }",
        "http-request deny unless !{ req.hdr(authorization),field(2,:) MARK MARK }",
        // Headers that one line sets and another compares.
        "http-request set-header X-Shared MARK-7\nhttp-request deny unless { req.hdr(x-shared) MARK-7 }",
        "http-request set-header X-Origin-Verify MARK",
        "acl cdn req.hdr(x-origin-verify) -m str MARK",
        "acl cdn req.hdr(x-pin) MARK",
        "acl a req.hdrs -m sub MARK",
        "errorloc 503 https://u:MARK@h.test/?token=MARK",
    ];

    #[test]
    fn values_that_are_carried_to_other_lines_are_masked() {
        let vocabulary = Vocabulary::default();
        for text in CARRIED {
            let masked = super::super::mask_secrets(text.as_bytes(), &vocabulary);
            let masked = String::from_utf8_lossy(&masked);
            assert!(!masked.contains("MARK"), "{masked}");
            let files = vec![("a.cfg".to_owned(), text.as_bytes().to_vec())];
            let other = text.replace("MARK", "other").into_bytes();
            let other = vec![("a.cfg".to_owned(), other)];
            let texts = |files| super::super::Texts { files, other: &[] };
            let told = super::super::compute(texts(&files), texts(&other), &vocabulary);
            assert!(!told.render(99).contains("MARK"), "{}", told.render(99));
        }
        for text in [
            "http-request set-var(txn.k) path\nacl a var(txn.k) -m str MARK",
            "http-request set-header X-Tmp %[path]\nacl a req.hdr(x-tmp) -m str MARK",
            "http-request set-query page=MARK",
            "acl a query -m sub page=MARK",
            "acl a str(MARK),strcmp(txn.path) eq 0",
            "http-request set-map(routes.map) a MARK",
            "http-request set-header X-Plain MARK unless { req.hdr(x-plain) -m found }",
            "http-request set-header X-Plain MARK",
            "http-request set-var-fmt(txn.x) MARK\nhttp-request set-header X-Other %[var(txn.x)]",
            "acl a path,regsub(MARK,a) b",
            "http-request set-path /MARK\nacl a path_beg /MARK",
            "http-request set-header X-Client-Verify %[ssl_c_verify]\nacl a path_end MARK",
            "http-request set-header X-Client-Type mobile\nacl m req.hdr(x-client-type) mobile",
            "http-request set-var(txn.s) http_auth_bearer,jwt_payload_query('$.sub')",
            "http-request track-sc0 src\nhttp-request deny if { str(MARK),in_table(tt) }",
            "http-check expect hdr name x-mode value MARK",
            "http-check expect string \"authentication required by MARK\"",
            "tcp-check expect rstring \"^220 .*MARK\"",
        ] {
            let masked = super::super::mask_secrets(text.as_bytes(), &vocabulary);
            assert_eq!(String::from_utf8_lossy(&masked), *text);
        }
    }

    #[test]
    fn secrets_are_followed_through_chains_of_any_length() {
        let step = |n: usize| format!("http-request set-header X-{n} %[req.hdr(x-{})]\n", n + 1);
        let chain: String = (0..200).map(step).collect();
        for text in [
            format!(
                "http-request set-header Authorization %[req.hdr(x-0)]\n{chain}http-request set-header X-200 MARK"
            ),
            format!(
                "acl a req.hdr(x-0) MARK\n{chain}http-request set-header X-200 %[http_auth_bearer]"
            ),
        ] {
            let masked = super::super::mask_secrets(text.as_bytes(), &Vocabulary::default());
            assert!(!String::from_utf8_lossy(&masked).contains("MARK"));
        }
    }

    #[test]
    fn words_of_many_expressions_are_read_in_linear_time() {
        let pieces = "%[src]".repeat(20_000);
        let nested = "hmac(a.b,".repeat(20_000);
        for text in [
            format!("http-request set-var-fmt(txn.a) \"{pieces}%[path,hmac(sha256,txn.key)]\""),
            format!("http-request set-header X-Api-Key %[{nested}"),
        ] {
            SecretUses::of([text.as_bytes()], &Vocabulary::default());
        }
    }

    #[test]
    fn unknown_flows_make_all_carriers_secret() {
        let mut uses = SecretUses::NONE;
        uses.set_incomplete();
        assert!(uses.carry("var(txn.a)") && uses.are_in_variable("proc.a"));
        assert!(!uses.carry("path") && !uses.carry("req.hdr(host)"));
        let calls = "lower(),".repeat(CALLS_MAX + 1);
        let text = format!(
            "http-request set-header X-Tmp MARK\nhttp-request set-header Authorization %[{calls}req.hdr(x-tmp)]"
        );
        let masked = super::super::mask_secrets(text.as_bytes(), &Vocabulary::default());
        assert!(!String::from_utf8_lossy(&masked).contains("MARK"));
    }

    #[test]
    fn value_carried_through_many_variables_is_masked() {
        for count in [2, 15, 16, 17, 48] {
            let steps = (0..count).rev();
            let steps =
                steps.map(|n| format!("http-request set-var(txn.v{}) var(txn.v{n})\n", n + 1));
            let text = format!(
                "acl a var(txn.v{count}) -m str MARK\nacl b var(txn.v{count}) -f /etc/a.lst\n{}http-request \
                 set-var(txn.v0) req.hdr(x-api-key)\n",
                steps.collect::<String>()
            );
            let masked = super::super::mask_secrets(text.as_bytes(), &Vocabulary::default());
            let masked = String::from_utf8_lossy(&masked);
            assert!(!masked.contains("MARK"), "{count}: {masked}");
            assert!(lists(&text).contains("/etc/a.lst"), "{count}");
        }
    }

    #[test]
    fn names_of_lists_are_compared_with_paths() {
        let found = lists(
            "acl a req.hdr(x-api-key) -f lists/./a.lst\nacl b req.hdr(x-api-key) -f ../b.lst\n\
             acl c req.hdr(x-api-key) -f \"${DIR}/c.lst\"\nacl d req.hdr(x-api-key) -f opt@d.lst\n",
        );
        for path in [
            "lists/./a.lst",
            "/etc/lists/a.lst",
            "/srv/b.lst",
            "../b.lst",
            "/x/c.lst",
            "d.lst",
        ] {
            assert!(found.contains(path), "{path}");
        }
        for path in ["/etc/a.lst", "/etc/lists/aa.lst", "/srv/bb.lst", "/x/e.lst"] {
            assert!(!found.contains(path), "{path}");
        }
        // A name alone is enough, too.
        assert!(lists("").contains("/etc/tokens.lst") && lists("").contains("keys.map"));
    }

    #[test]
    fn hostile_lines_are_read_without_a_panic() {
        for line in [
            "-f",
            "acl",
            "{ -f }",
            "map(",
            "x,map()",
            "set-var(",
            "%[map(%[map(",
            "on",
            "on a",
        ] {
            lists(line);
        }
        for part in ["map(", "%[map(", "x,map(f),", "-f "] {
            lists(&format!("use_backend {}", part.repeat(1_000)));
        }
    }
}
