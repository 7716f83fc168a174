//! Pattern and map files whose entries are secrets because of how the configuration uses them.
//!
//! A file is secret if its patterns or keys are compared with credentials (`req.hdr(authorization)
//! -f clients.lst`), or if its values end where a credential is written (`set-header X-Api-Key
//! %[…,map(keys.map)]`). Variables and headers that the configuration sets in between are followed.
//! In doubt a file is secret: the cost is that it is not displayed.

use super::Vocabulary;
use super::secret::{
    KEYED, OF_HEADERS, OF_TWO_VALUES, Visibility, is_compared_with_secrets, is_suspect,
    may_name_secret, visible_parts,
};
use super::words::displayed_word;
use crate::reader::{LINE_BYTES_MAX, written_words};
use std::collections::{BTreeMap, BTreeSet};

/// Limit on how often the lines are read to follow values through variables and headers. Beyond it,
/// every variable and header counts as a carrier of secrets.
const ROUNDS_MAX: usize = 16;
/// Longest name of a file, a header or a variable that is looked at, bytes.
const NAME_BYTES_MAX: usize = 8 << 10;
/// Limit on the calls in an expression. Of one with more nothing is followed, and it is secret where
/// anything is carried.
const CALLS_MAX: usize = 1_000;
/// Limit on the maps in an expression. In one with more that is masked in part, all are secret.
const MAPS_MAX: usize = 64;
/// Texts of lines that can name a list, or pass a value on to a line that does.
const RELEVANT: &[&str] = &[
    "-f", "map", "acl(", "set-var", "-header", "cmp(", "capture", "hmac", "aes_", "jwt_",
];
/// Actions whose argument is a list, and whose words are added to it.
const FILLING: &[&str] = &["set-map", "add-acl", "del-map", "del-acl"];
/// Converters that compare a value with a variable.
const COMPARING: &[&str] = &["strcmp", "secure_memcmp"];
/// Headers that are set from many sources and are never secret.
const PLAIN_HEADERS: &[&str] = &["host", "user-agent", "referer", "origin"];

/// A name under which a value passes from one line to another.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
enum Carrier {
    Variable(String),
    Header(String),
    /// Any captured sample. Its number is not followed.
    Capture,
}

impl Carrier {
    fn header(name: &str) -> Option<Carrier> {
        let name = name.to_ascii_lowercase();
        let is_plain = PLAIN_HEADERS.contains(&&*name) || name.starts_with("x-forwarded-");
        (!is_plain).then_some(Carrier::Header(name))
    }
}

type Carriers = BTreeSet<Carrier>;

/// Secrets by use: lists whose entries a configuration compares with credentials or writes as
/// credentials, and variables, headers and captures that carry credentials from one line to another.
#[derive(Clone, Default, PartialEq, Eq, Debug)]
pub struct SecretUses {
    /// Names of lists, as written in the configuration, by their last component. That of a name
    /// with a variable is unknown: it is empty.
    names: BTreeMap<String, BTreeSet<String>>,
    carriers: Carriers,
}

impl SecretUses {
    /// Without lists and carriers.
    pub const NONE: SecretUses = SecretUses {
        names: BTreeMap::new(),
        carriers: Carriers::new(),
    };

    /// Finds the uses in the texts of all files of a configuration.
    pub fn of<'t>(
        texts: impl IntoIterator<Item = &'t [u8]>,
        vocabulary: &Vocabulary<'_>,
    ) -> SecretUses {
        let lines = texts
            .into_iter()
            .flat_map(|text| text.split(|b| *b == b'\n'));
        let lines = lines.filter(|line| line.len() <= LINE_BYTES_MAX && is_relevant(line));
        let lines: Vec<Line> = lines.map(|line| Line::read(line, vocabulary)).collect();
        let mut carriers = Carriers::new();
        let is_complete = (0..ROUNDS_MAX).any(|_| {
            let before = carriers.len();
            lines.iter().for_each(|line| line.follow(&mut carriers));
            carriers.len() == before
        });
        if !is_complete {
            carriers.extend(lines.iter().flat_map(Line::names).cloned());
        }
        let mut names: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        for file in lines.iter().flat_map(|line| line.secret_files(&carriers)) {
            let last = if file.contains('$') {
                ""
            } else {
                last_component(file)
            };
            let same = names.entry(last.to_owned()).or_default();
            same.insert(file.to_owned());
        }
        SecretUses { names, carriers }
    }

    /// Returns whether nothing is used as a secret.
    pub fn is_empty(&self) -> bool {
        self.names.is_empty() && self.carriers.is_empty()
    }

    /// Returns whether an expression takes its value from a variable, a header or a capture that
    /// carries a secret.
    pub fn carry(&self, expression: &str) -> bool {
        let is_carried = || has_many_calls(expression) || meet(&reads(expression), &self.carriers);
        !self.carriers.is_empty() && is_carried()
    }

    /// Returns whether an expression compares its value with a variable that carries a secret, or
    /// whose name suggests one.
    pub(super) fn are_compared_in(&self, expression: &str) -> bool {
        let is_comparing = |call: &&Call<'_>| COMPARING.contains(&&*call.name);
        calls(expression).iter().filter(is_comparing).any(|call| {
            let variable = call.first().to_ascii_lowercase();
            may_name_secret(&variable)
                || is_suspect(&variable)
                || self.carriers.contains(&Carrier::Variable(variable))
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
    reads: Carriers,
    /// Names that the result is written to or compared with.
    targets: Carriers,
    /// The maps in it.
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
        // The list that the words of a rule are added to.
        let mut filled: Option<ListUse> = None;
        for (at, word) in words.iter().enumerate() {
            if word == "if" || word == "unless" {
                targets.clear();
                read.lists.extend(filled.take());
            }
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
            for piece in pieces(word) {
                let mut expression = Expression::read(piece, &shown[at], vocabulary);
                expression.targets.extend(targets.iter().cloned());
                if let Some(filled) = &mut filled {
                    filled.is_secret |= is_secret(piece, vocabulary);
                    filled.reads.extend(expression.reads.iter().cloned());
                }
                read.expressions.push(expression);
                read.carriers.extend(keys(piece));
            }
            targets.extend(target(&words, at));
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
        if words.first().is_some_and(|first| first == "capture") {
            // `capture request header NAME len …`, `capture cookie NAME len …`.
            let may_be =
                |word: &String| may_name_secret(&word.to_ascii_lowercase()) || is_suspect(word);
            if words.iter().skip(1).any(may_be) {
                read.carriers.insert(Carrier::Capture);
            }
        }
        read
    }

    /// Adds the names that carry secrets because of this line.
    fn follow(&self, carriers: &mut Carriers) {
        carriers.extend(self.carriers.iter().cloned());
        for one in &self.expressions {
            if one.is_secret || meet(&one.reads, carriers) {
                carriers.extend(one.targets.iter().cloned());
            }
            if one.is_sink || meet(&one.targets, carriers) {
                carriers.extend(one.reads.iter().cloned());
            }
        }
    }

    /// All names that the line reads and writes.
    fn names(&self) -> impl Iterator<Item = &Carrier> {
        let lists = self.lists.iter().flat_map(|list| &list.reads);
        let expressions = self.expressions.iter();
        let names = expressions.flat_map(|one| one.reads.iter().chain(&one.targets));
        lists.chain(names)
    }

    fn secret_files(&self, carriers: &Carriers) -> Vec<&str> {
        let is_secret = |list: &&ListUse| list.is_secret || meet(&list.reads, carriers);
        let mut all: Vec<&ListUse> = self.lists.iter().filter(is_secret).collect();
        for one in &self.expressions {
            let is_sink = one.is_sink || meet(&one.targets, carriers);
            all.extend(one.maps.iter().filter(|map| is_sink || is_secret(map)));
        }
        all.into_iter().map(|list| list.file.as_str()).collect()
    }
}

fn meet(some: &Carriers, others: &Carriers) -> bool {
    some.iter().any(|one| others.contains(one))
}

impl Expression {
    fn read(text: &str, shown: &Visibility, vocabulary: &Vocabulary<'_>) -> Expression {
        let mut read = Expression::default();
        // A map gives another value than the one that it looks up.
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
                read.is_sink |= match shown {
                    Visibility::Whole => false,
                    Visibility::Part(part) if read.maps.len() <= MAPS_MAX => {
                        !part.contains(call.arguments)
                    }
                    Visibility::Covered | Visibility::Part(_) => true,
                };
                begin = call.end;
            } else if call.name == "set-var" && before.ends_with(',')
                || COMPARING.contains(&&*call.name)
            {
                let name = call.first().to_ascii_lowercase();
                read.targets.insert(Carrier::Variable(name));
            }
        }
        let result = &text[begin.min(text.len())..];
        read.is_sink |= *shown == Visibility::Covered;
        read.is_secret = is_secret(result, vocabulary);
        read.reads = reads(result);
        read
    }
}

/// Returns whether a call is a converter that looks a value up in a file.
fn is_map(name: &str) -> bool {
    name == "map" || name.starts_with("map_")
}

/// Returns whether a sample is a secret. The name of one that comes from a variable of the
/// environment is unknown.
fn is_secret(expression: &str, vocabulary: &Vocabulary<'_>) -> bool {
    expression.contains('$') || is_compared_with_secrets(expression, vocabulary)
}

/// Returns the expression of the condition or ACL that ends with these words.
fn compared_expression(words: &[String]) -> &str {
    let open = words.iter().rposition(|word| word == "{").map(|at| at + 1);
    let acl = words.first().filter(|first| *first == "acl").map(|_| 2);
    let at = open.or(acl);
    at.and_then(|at| words.get(at)).map_or("", String::as_str)
}

/// Splits a word into its expressions.
fn pieces(word: &str) -> impl Iterator<Item = &str> {
    word.split("%[")
}

/// Returns where the words after this one are written to.
fn target(words: &[String], at: usize) -> Option<Carrier> {
    let word = words[at].as_str();
    let before = at.checked_sub(1).and_then(|at| words.get(at));
    let before = before.map_or("", String::as_str);
    if OF_HEADERS.contains(&before) || OF_TWO_VALUES.contains(&before) {
        return Carrier::header(word);
    }
    // `set-var NAME EXPRESSION` of the section `global`.
    if at == 1 && before.starts_with("set-var") {
        return Some(Carrier::Variable(word.to_ascii_lowercase()));
    }
    if word == "capture" && at > 0 {
        return Some(Carrier::Capture);
    }
    let call = calls(word).into_iter().next()?;
    let is_action = call.at == 0 && call.name.starts_with("set-var");
    is_action.then(|| Carrier::Variable(call.first().to_ascii_lowercase()))
}

/// Returns the names from which an expression takes values.
fn reads(expression: &str) -> Carriers {
    let carrier = |call: Call<'_>| {
        let base = call.name.rsplit('.').next().unwrap_or_default();
        if call.name == "var" {
            Some(Carrier::Variable(call.first().to_ascii_lowercase()))
        } else if call.name.starts_with("capture.") {
            Some(Carrier::Capture)
        } else if base.starts_with("hdr") || base.starts_with("fhdr") {
            Carrier::header(call.first())
        } else {
            None
        }
    };
    if has_many_calls(expression) {
        return Carriers::new();
    }
    calls(expression).into_iter().filter_map(carrier).collect()
}

fn has_many_calls(expression: &str) -> bool {
    expression.matches('(').nth(CALLS_MAX).is_some()
}

/// Returns the variables with keys of converters: `hmac(sha256,txn.key)`.
fn keys(expression: &str) -> Vec<Carrier> {
    let mut all = Vec::new();
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
    /// Name in lower case.
    pub name: String,
    pub arguments: &'t str,
    /// Position of the name, and of the end of the arguments.
    pub at: usize,
    end: usize,
}

impl<'t> Call<'t> {
    /// Returns the first argument without quotes.
    pub fn first(&self) -> &'t str {
        let quotes = ['"', '\''];
        // A longer name is of no file, header or variable.
        let text = cut(self.arguments, NAME_BYTES_MAX).trim();
        match text.strip_prefix(quotes) {
            Some(rest) => rest.split(quotes).next().unwrap_or_default(),
            None => text.split(',').next().unwrap_or_default().trim(),
        }
    }
}

/// Returns the beginning of a text, at most this number of bytes.
fn cut(text: &str, bytes_max: usize) -> &str {
    let mut end = text.len().min(bytes_max);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
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
        ] {
            let masked = super::super::mask_secrets(text.as_bytes(), &vocabulary);
            assert_eq!(String::from_utf8_lossy(&masked), *text);
        }
    }

    #[test]
    fn value_carried_through_many_variables_is_masked() {
        for count in [
            2,
            ROUNDS_MAX - 1,
            ROUNDS_MAX,
            ROUNDS_MAX + 1,
            3 * ROUNDS_MAX,
        ] {
            // Each line sets what the line before it reads, so each round follows one variable.
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
