//! Masks the secrets among the words of a line for display: words after one that the vocabulary
//! lists or whose name suggests a secret, passwords in URLs, and HTTP credentials.

use super::lines::DiffLine;
use super::{SecretUses, Vocabulary, misspelt};
use crate::visible::visible;

/// The mask that replaces a secret.
pub const COVER: &str = "***";

/// Texts in a word after which a secret may follow.
pub(super) const SUSPECT: &[&str] = &[
    "password",
    "passwd",
    "passphrase",
    "secret",
    "token",
    "apikey",
    "api-key",
    "api_key",
    "authorization",
];

/// Converters whose arguments include a key, and the first argument that is masked.
pub(super) const KEYED: &[(&str, usize)] = &[
    ("hmac(", 1),
    ("jwt_verify(", 1),
    ("aes_gcm_dec(", 1),
    ("aes_gcm_enc(", 1),
    ("aes_cbc_dec(", 1),
    ("aes_cbc_enc(", 1),
];

/// Actions whose next word is the name of a header, followed by one value.
pub(super) const OF_HEADERS: &[&str] =
    &["set-header", "add-header", "hdr", "set-param", "early-hint"];
/// Actions whose next word is the name of a header, followed by two values.
pub(super) const OF_TWO_VALUES: &[&str] = &["replace-header", "replace-value"];
/// Headers and options that contain credentials.
const SIGNING_IN: &[&str] = &["cookie", "set-cookie"];
/// Parts of the name of a header, a parameter or a variable whose value may be secret.
const WEAK: &[&str] = &[
    "key",
    "auth",
    "sig",
    "jwt",
    "sess",
    "pass",
    "pwd",
    "cookie",
    "credential",
    "bearer",
];
/// Whole words of the name of a header, a parameter or a variable whose value may be secret.
const WEAK_WORDS: &[&str] = &["otp", "pin", "pw"];
/// Functions in expressions whose argument is the name of a header, a parameter or a variable.
pub(super) const NAMING: &[&str] = &[
    "hdr(",
    "fhdr(",
    "shdr(",
    "url_param(",
    "urlp(",
    "body_param(",
    "var(",
    "env(",
];
/// Functions in expressions whose result is always secret.
pub(super) const SECRET_SAMPLES: &[&str] = &[
    "cook(",
    "http_auth_pass",
    "http_auth_bearer",
    "hmac(",
    "req.hdrs",
    "res.hdrs",
];
/// Converters whose arguments are no secrets: numbers, names and separators.
const OPEN_CONVERTERS: &[&str] = &[
    "add",
    "and",
    "base2",
    "bytes",
    "capture-req",
    "capture-res",
    "crc32",
    "crc32c",
    "da-csv-conv",
    "digest",
    "div",
    "field",
    "http_date",
    "in_table",
    "json",
    "json_query",
    "jwt_header_query",
    "jwt_payload_query",
    "ltime",
    "ltrim",
    "mod",
    "mul",
    "nbsrv",
    "or",
    "rtrim",
    "secure_memcmp",
    "set-var",
    "sha2",
    "strcmp",
    "sub",
    "unset-var",
    "url_dec",
    "url_enc",
    "utime",
    "word",
    "wt6",
    "xor",
    "xxh3",
    "xxh32",
    "xxh64",
];
/// Words before the data that a check sends.
pub(super) const SENDING: &[&str] = &["send", "send-lf", "send-binary", "send-binary-lf"];
/// First words of lines whose next word is not secret: the name of a console token, a file, or a
/// time.
const OPEN: &[&str] = &["token", "token-key", "token-lifetime"];
/// Lines whose second word is a name chosen by the user, which has no meaning for the next word.
pub(super) const OF_NAMES: &[&str] = &[
    "acl",
    "server",
    "server-template",
    "use-server",
    "use_backend",
    "default_backend",
    "user",
    "group",
    "peer",
    "nameserver",
    "mailer",
    "machine",
    "table",
];
/// Words before a program and its arguments. The program is shown.
pub(super) const PROGRAMS: &[&str] = &[
    "notify",
    "notify_master",
    "notify_backup",
    "notify_fault",
    "notify_stop",
    "notify_deleted",
    "notify_up",
    "notify_down",
    "quorum_up",
    "quorum_down",
    "script",
    "exec",
    "command",
    "misc_path",
];
/// Lines of HAProxy 1.x that contain whole headers.
pub(super) const OF_HEADER_LINES: &[&str] = &["reqadd", "rspadd"];
/// Words of `PROGRAMS` whose program and arguments are a single word, followed by options.
const OF_ONE_WORD: &[&str] = &["notify", "script"];
/// Words after which all words may be secret: the boot arguments of a kernel.
pub(super) const ALL_BEHIND: &[&str] = &["append"];
/// Lines that set an environment variable: the value follows the name.
pub(super) const ENVIRONMENT: &[&str] = &["setenv", "presetenv"];
/// Words of conditions that are never secret.
const STRUCTURE: &[&str] = &["{", "!{", "}", "if", "unless", "or", "||", "!"];

pub fn is_suspect(name: &str) -> bool {
    let low = name.to_ascii_lowercase();
    SUSPECT.iter().any(|suspect| low.contains(suspect))
}

/// Returns the value of a variable for display: masked if the name suggests a secret, and without
/// the passwords of URLs.
pub fn masked_value(name: &str, value: &str) -> String {
    if is_suspect(name) || may_name_secret(&name.to_ascii_lowercase()) {
        COVER.to_owned()
    } else {
        without_credentials(value)
    }
}

/// Returns whether the patterns of an ACL with this expression are secrets.
pub fn is_compared_with_secrets(expression: &str, vocabulary: &Vocabulary<'_>) -> bool {
    let line = ["acl", "name", expression, "pattern"].map(str::to_owned);
    visible_parts_of_line(&line, vocabulary).last() == Some(&Visibility::Covered)
}

/// Schemes of credentials; the word after one is secret.
pub(super) const SCHEMES: &[&str] = &["basic", "bearer"];

/// The visible part of a word.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Visibility {
    Whole,
    Part(String),
    Covered,
}

pub(super) fn visible_parts(words: &[Vec<u8>], vocabulary: &Vocabulary<'_>) -> Vec<Visibility> {
    let texts: Vec<String> = words
        .iter()
        .map(|word| without_lookalikes(super::words::displayed_word(word)))
        .collect();
    // In `on NODE LINE`, only the words of LINE decide which parts are visible.
    let prefix = match texts.first().map(String::as_str) {
        Some("on") => texts.len().min(2),
        _ => 0,
    };
    let mut all = vec![Visibility::Whole; prefix];
    let line = &texts[prefix..];
    let mut of_line = visible_parts_of_line(line, vocabulary);
    if let Some(right) = misspelt::corrected(line, vocabulary) {
        // Covers each word that is covered in the line with corrected words. Covers a misspelt word
        // as a whole if its corrected form is visible only in part.
        let words = line.iter().zip(&right);
        let seen = visible_parts_of_line(&right, vocabulary);
        for (seen, (shown, (text, right))) in seen.into_iter().zip(of_line.iter_mut().zip(words)) {
            *shown = match (seen, &*shown) {
                (Visibility::Whole, _) | (_, Visibility::Covered) => continue,
                (Visibility::Part(_), _) if text != right => Visibility::Covered,
                (seen, _) => seen,
            };
        }
    }
    all.extend(of_line);
    all
}

/// A space that separates no words.
const WIDE_SPACE: char = '\u{a0}';

/// Returns a word as its author meant it: without invisible characters and typographic quotes, and
/// with plain hyphens. All wide spaces become one kind.
fn without_lookalikes(text: String) -> String {
    if text.is_ascii() {
        return text;
    }
    let plain = |letter: char| match letter {
        '\u{200b}'..='\u{200f}' | '\u{2060}' | '\u{feff}' | '\u{ad}' => None,
        '\u{2018}'..='\u{201f}' | '\u{ab}' | '\u{bb}' => None,
        '\u{2010}'..='\u{2015}' | '\u{2212}' => Some('-'),
        '\u{2000}'..='\u{200a}' | '\u{202f}' | '\u{3000}' => Some(WIDE_SPACE),
        other => Some(other),
    };
    text.chars().filter_map(plain).collect()
}

/// Longest first word of a line of HAProxy 1.x about headers, bytes.
const HEADER_LINE_BYTES_MAX: usize = 10;

/// Returns whether a line of HAProxy 1.x contains whole headers or expressions for them: `reqadd`,
/// `rspirep`, `reqideny`, also misspelt.
fn is_of_header_lines(first: &str) -> bool {
    let is_old = (first.starts_with("req") || first.starts_with("rsp"))
        && first.len() <= HEADER_LINE_BYTES_MAX
        && first.bytes().all(|b| b.is_ascii_lowercase())
        && !first.starts_with("request");
    is_old || OF_HEADER_LINES.contains(&first)
}

/// Returns the name before the colon in a header, or in an expression for one, if the header's
/// value may be a secret.
fn secret_header<'t>(text: &'t str, uses: &SecretUses) -> Option<&'t str> {
    let (name, value) = text.split_once(':')?;
    let low = name.to_ascii_lowercase();
    let is_carrier = uses.are_in_header(low.trim_start_matches(['^', '(']));
    let is_secret = may_name_secret(&low) || is_suspect(name) || is_carrier;
    (is_secret && !value.is_empty()).then_some(name)
}

fn visible_parts_of_line(texts: &[String], vocabulary: &Vocabulary<'_>) -> Vec<Visibility> {
    let mut all = Vec::with_capacity(texts.len());
    let first = texts.first().map_or("", String::as_str);
    // Number of secret words from this position on.
    let mut secrets = 0_usize;
    let mut method = false;
    let mut in_condition = first == "acl";
    // Set after a word that an external command and its arguments follow (`PROGRAMS`); None
    // elsewhere.
    let mut program = None;
    let is_header_line = is_of_header_lines(first);
    let expects = first == "http-check" && texts.iter().any(|text| text == "expect");
    // True behind `http-check expect hdr name NAME` with a name whose values may be secrets.
    let mut expects_secret = false;
    for (at, text) in texts.iter().enumerate() {
        if expects && is_expected_header(&texts[..at]) {
            expects_secret = is_secret_header(text, vocabulary);
            secrets = 0;
            all.push(Visibility::Whole);
            continue;
        }
        if expects_secret && matches!(text.as_str(), "value" | "value-lf") {
            secrets = usize::MAX;
            all.push(Visibility::Whole);
            continue;
        }
        let is_open = text.trim_start_matches('!') == "{";
        in_condition = (in_condition || is_open) && text != "}";
        // In `{ req.hdr(x-token) -m str … }` the matching method is not secret.
        let flag = secrets > 0 && text.len() == 2 && text.starts_with('-');
        if flag || method || STRUCTURE.contains(&text.as_str()) {
            if ["}", "if", "unless"].contains(&text.as_str()) {
                secrets = 0;
            }
            method = flag && text == "-m";
            all.push(Visibility::Whole);
            continue;
        }
        // In `notify master PROGRAM` the state precedes the program.
        let is_state = |takes_all: &mut bool| !*takes_all && !text.contains(['/', ' ']);
        if program.as_mut().is_some_and(is_state) {
            all.push(Visibility::Whole);
            continue;
        }
        if let Some(takes_all) = program.take() {
            let (program, arguments) = text.split_once([' ', '\t']).unwrap_or((text, ""));
            all.push(if arguments.is_empty() {
                Visibility::Whole
            } else {
                Visibility::Part(format!("{program} {COVER}"))
            });
            secrets = if takes_all { usize::MAX } else { 0 };
            continue;
        }
        let is_secret = secrets > 0 && at > 0;
        let before = at.checked_sub(1).and_then(|at| texts.get(at));
        all.push(if is_secret {
            Visibility::Covered
        } else {
            visible_part(text, first, in_condition, before, vocabulary)
        });
        secrets = secrets.saturating_sub(1);
        // Makes the word after a credential scheme (`Bearer`) secret, too. A secret word that looks
        // like the name of a secret has no such effect.
        if is_secret
            && SCHEMES
                .iter()
                .any(|scheme| scheme.eq_ignore_ascii_case(text))
        {
            secrets = secrets.max(1);
        }
        // Masks the remaining words, because the replacement may contain the value without the
        // header's name.
        if is_header_line && at > 0 && secret_header(text, &vocabulary.uses).is_some() {
            secrets = usize::MAX;
            continue;
        }
        if !is_secret {
            let is_program = (PROGRAMS.contains(&text.as_str())
                || vocabulary.programs.contains(&text.as_str()))
                && !first.contains('-')
                && !in_condition;
            program = is_program.then(|| !OF_ONE_WORD.contains(&text.as_str()));
            let following = named(text, first, at, before, vocabulary);
            secrets = if following > 0 && in_condition {
                usize::MAX
            } else {
                following
            };
        }
    }
    all
}

/// Returns whether these words of `http-check expect` precede the name of a header: `hdr name`, with a
/// matching method or without.
fn is_expected_header(before: &[String]) -> bool {
    let before = match before {
        [before @ .., flag, _] if flag == "-m" => before,
        before => before,
    };
    matches!(before, [.., hdr, name]
        if ["hdr", "fhdr"].contains(&hdr.as_str()) && ["name", "name-lf"].contains(&name.as_str()))
}

/// Returns the visible part of a word that is not secret as a whole.
fn visible_part(
    text: &str,
    first: &str,
    in_condition: bool,
    before: Option<&String>,
    vocabulary: &Vocabulary<'_>,
) -> Visibility {
    let is_query = in_condition || before.is_some_and(|before| before == "set-query");
    let shown = match part(text, first, before, &vocabulary.uses) {
        Visibility::Whole if is_query => {
            let masked = without_parameters(text);
            if masked == text {
                Visibility::Whole
            } else {
                Visibility::Part(masked)
            }
        }
        shown => shown,
    };
    match (shown, joined(text, vocabulary)) {
        (Visibility::Whole, Some(head)) => Visibility::Part(format!("{head}{COVER}")),
        (part, _) => part,
    }
}

/// Returns the head of a word that has a value in the same word: `auth:admin:…`, `password=…`.
fn joined<'t>(text: &'t str, vocabulary: &Vocabulary<'_>) -> Option<&'t str> {
    if let Some((head, value)) = text.split_once(WIDE_SPACE) {
        let names = |word: &&str| word.eq_ignore_ascii_case(head);
        let is_secret = vocabulary.secrets.iter().chain(SCHEMES).any(names)
            || is_suspect(head)
            || may_name_secret(&head.to_ascii_lowercase());
        let end = text.len() - value.len();
        return (is_secret && !value.is_empty()).then(|| &text[..end]);
    }
    let at = text.find([':', '='])?;
    let (head, value) = (&text[..at], &text[at + 1..]);
    let mut words = vocabulary.secrets.iter().chain(SUSPECT);
    let is_secret = !value.is_empty() && words.any(|word| word.eq_ignore_ascii_case(head));
    is_secret.then(|| &text[..=at])
}

/// Returns the visible part of a word, by its form and by the word before it.
fn part(text: &str, first: &str, before: Option<&String>, uses: &SecretUses) -> Visibility {
    // Masks the value of a definition in keepalived's syntax: `$AUTH_PASS=…`.
    if let Some((name, value)) = text.split_once('=')
        && name.starts_with('$')
        && !value.is_empty()
        && (may_name_secret(&name.to_ascii_lowercase())
            || is_suspect(name)
            || uses.are_in_environment(name.trim_matches(['$', '{', '}'])))
    {
        return Visibility::Part(format!("{name}={COVER}"));
    }
    let of_check = before.filter(|_| first == "tcp-check" || first == "http-check");
    let part = match of_check.map(String::as_str) {
        Some(word) if SENDING.contains(&word) => visible_check_data(text),
        Some("body" | "body-lf") => COVER.to_owned(),
        Some("string" | "rstring" | "string-lf") if assigns_secret(text) => COVER.to_owned(),
        _ => text.to_owned(),
    };
    let part = match secret_header(&part, uses).filter(|_| is_of_header_lines(first)) {
        Some(name) => format!("{name}: {COVER}"),
        None => part,
    };
    let part = mask_converter_keys(part, KEYED);
    let sets_variable =
        first.contains("set-var") || before.is_some_and(|one| one.contains("set-var"));
    let is_written = before.is_some_and(|before| uses.are_written_after(before));
    let part = if sets_variable || is_written || uses.are_compared_in(text) {
        mask_converter_keys(part, &[("str(", 0)])
    } else {
        part
    };
    let part = if is_written || is_secret_expression(text, uses) {
        mask_arguments(&part)
    } else {
        part
    };
    let part = credentials(part);
    if part == text {
        Visibility::Whole
    } else {
        Visibility::Part(part)
    }
}

/// Returns the number of secret words after this one.
fn named(
    text: &str,
    first: &str,
    at: usize,
    before: Option<&String>,
    vocabulary: &Vocabulary<'_>,
) -> usize {
    let low = text.to_ascii_lowercase();
    let known = |list: &[&str]| list.iter().any(|word| word.eq_ignore_ascii_case(text));
    if known(SCHEMES) {
        return 1;
    }
    // Masks no word before the name of a file, because the secret is in the file.
    if (at == 0 && OPEN.contains(&text)) || low.ends_with("-file") {
        return 0;
    }
    // Names and paths may contain any word.
    let is_name = at == 1 && (OF_NAMES.contains(&first) || vocabulary.sections.contains(&first));
    if is_name || text.starts_with('/') {
        return 0;
    }
    // Treats all following words as secret, because a blank in place of the colon separates a user
    // and the password.
    if ALL_BEHIND.contains(&text) || (first == "stats" && text == "auth") {
        return usize::MAX;
    }
    if at == 1 && ENVIRONMENT.contains(&first) {
        return 1;
    }
    let before = before.map_or("", String::as_str);
    let is_header = is_secret_header(text, vocabulary);
    let of_header = |list: &[&str]| list.contains(&before) && is_header;
    if of_header(OF_TWO_VALUES) {
        return 2;
    }
    let is_option = text == "set-cookie" && first != "set-cookie";
    let is_variable = (low.contains("set-var") || before == "set-var") && may_name_secret(&low);
    // Treats all following words as secret, because an unquoted value may have several words.
    if before != "hdr" && of_header(OF_HEADERS) {
        return usize::MAX;
    }
    let is_sample = is_secret_sample_in(&low) || vocabulary.uses.carry(text);
    let written = vocabulary.uses.values_after(text, before);
    if written > 0 {
        return written;
    }
    if vocabulary.uses.fill(text) {
        return usize::MAX;
    }
    // Ignores suspect words in a URL, whose path may contain any word.
    let is_named = known(&vocabulary.secrets) || (!text.contains("://") && is_suspect(text));
    usize::from(is_named || is_sample || is_variable || is_option || of_header(OF_HEADERS))
}

/// Returns whether the values of a header may be secrets. Its name may come from the environment.
fn is_secret_header(name: &str, vocabulary: &Vocabulary<'_>) -> bool {
    let low = name.to_ascii_lowercase();
    may_name_secret(&low)
        || SIGNING_IN.contains(&&*low)
        || is_suspect(name)
        || name.contains('$')
        || vocabulary.uses.are_in_header(&low)
}

pub(super) fn may_name_secret(low: &str) -> bool {
    let name = low.replace("authority", "");
    let is_word = |word: &str| WEAK_WORDS.contains(&word);
    // `X-Origin-Verify` is a shared secret, and `X-SSL-Client-Verify` a result.
    let verifies = name.contains("verify") && !name.contains("ssl") && !name.contains("client");
    verifies
        || WEAK.iter().any(|weak| name.contains(weak))
        || name
            .split(|c: char| !c.is_ascii_alphanumeric())
            .any(is_word)
}

/// Returns whether an expression, in lower case, takes a credential.
fn is_secret_sample_in(low: &str) -> bool {
    SECRET_SAMPLES.iter().any(|sample| low.contains(sample))
        || super::lists::calls(low).iter().any(is_secret_sample)
}

/// Returns whether an expression with converters takes a credential, or a value that carries one.
fn is_secret_expression(text: &str, uses: &SecretUses) -> bool {
    let low = text.to_ascii_lowercase();
    text.contains("),") && (is_suspect(&low) || is_secret_sample_in(&low) || uses.carry(text))
        || low.contains("http_auth_bearer,")
        || low.contains(".hdrs,")
}

/// Masks the arguments of converters that may be patterns or values.
fn mask_arguments(text: &str) -> String {
    let mut masked = String::new();
    // Everything before this position is written.
    let mut from = 0;
    for call in super::lists::calls(text) {
        let is_converter = text[..call.at].trim_end().ends_with(',');
        let begin = call.end - call.arguments.len();
        let is_keyed = KEYED
            .iter()
            .any(|(name, _)| name.strip_suffix('(') == Some(&*call.name));
        let is_open =
            is_keyed || OPEN_CONVERTERS.contains(&&*call.name) || call.name.starts_with("table_");
        if call.at < from || !is_converter || is_open || call.arguments.is_empty() {
            continue;
        }
        // Skips the first argument of a map, which is a file.
        let is_map = call.name == "map" || call.name.starts_with("map_");
        let begin = match call.arguments.find(',').filter(|_| is_map) {
            Some(comma) => begin + comma + 1,
            None if is_map => continue,
            None => begin,
        };
        masked.push_str(&text[from..begin]);
        masked.push_str(COVER);
        from = call.end.max(end_of_arguments(text, begin));
    }
    masked + &text[from..]
}

/// Returns whether a function takes the value of a cookie, or of a header, parameter or variable
/// with such a name. `hdr_beg(…)` and similar forms include the matching method.
fn is_secret_sample(call: &super::lists::Call<'_>) -> bool {
    let base = call.name.rsplit('.').next().unwrap_or_default();
    let is_of = |name: &str| {
        let rest = base.strip_prefix(name);
        rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('_'))
    };
    let takes_name = NAMING
        .iter()
        .any(|naming| is_of(naming.trim_end_matches('(')));
    let is_cookie = ["cook", "cookie", "scook", "set-cookie"]
        .into_iter()
        .any(is_of);
    is_cookie || takes_name && may_name_secret(call.first())
}

/// Returns whether an expected text, or an expression for one, gives a value to a name that may be that
/// of a secret: `password.*x`. In `authentication required` a space follows.
fn assigns_secret(text: &str) -> bool {
    let is_name = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
    let mut from = 0;
    while let Some(begin) = text[from..].find(is_name).map(|at| from + at) {
        let rest = &text[begin..];
        let end = rest.find(|c| !is_name(c)).unwrap_or(rest.len());
        let (name, behind) = rest.split_at(end);
        let has_value = behind.len() > 1 && !behind.starts_with(char::is_whitespace);
        if has_value && (may_name_secret(&name.to_ascii_lowercase()) || is_suspect(name)) {
            return true;
        }
        from = begin + end;
    }
    false
}

/// Returns the visible part of the data that a check sends: the command without its arguments.
fn visible_check_data(text: &str) -> String {
    let low = text.to_ascii_lowercase();
    match text.split_once([' ', '\t']) {
        Some((command, _)) => format!("{command} {COVER}"),
        // Masks the whole text for the Redis protocol, which has its words on separate lines, and
        // for binary data, which has no words.
        None if text.starts_with(['*', '$']) || low.contains("auth") => COVER.to_owned(),
        None if text.len() > 8 && text.bytes().all(|b| b.is_ascii_hexdigit()) => COVER.to_owned(),
        None => text.to_owned(),
    }
}

pub(super) fn words(line: &DiffLine, vocabulary: &Vocabulary<'_>) -> Vec<String> {
    let seen = visible_parts(&line.words, vocabulary);
    let shown = |(word, seen): (&Vec<u8>, Visibility)| match seen {
        Visibility::Covered => COVER.to_owned(),
        Visibility::Part(part) => quoted(part, word.contains(&0)),
        Visibility::Whole => quoted(super::words::displayed_word(word), word.contains(&0)),
    };
    line.words.iter().zip(seen).map(shown).collect()
}

pub(super) fn text(line: &DiffLine, vocabulary: &Vocabulary<'_>) -> String {
    under(line, words(line, vocabulary).join(" "))
}

/// Appends the `.if` conditions that enclose the line to its text.
pub(super) fn under(line: &DiffLine, text: String) -> String {
    if line.conditions.is_empty() || line.first().starts_with(b".") {
        return text;
    }
    format!(
        "{text} (under {})",
        super::words::displayed_word(&line.conditions)
    )
}

/// Returns a word on one line. A word with spaces gets single quotes, and one with variables gets
/// double quotes.
fn quoted(text: String, variables: bool) -> String {
    let quote = match variables {
        true => "\"",
        false if text.contains(|c: char| c.is_whitespace() || c == '#') => "'",
        false => "",
    };
    format!("{quote}{}{quote}", visible(&text))
}

/// Masks keys among the arguments of converters.
fn mask_converter_keys(mut text: String, functions: &[(&str, usize)]) -> String {
    for (name, first) in functions {
        let mut masked = String::new();
        // End of the text that was processed, whose masked form is in `masked`.
        let mut from = 0;
        while let Some(at) = text[from..].find(name).map(|at| from + at + name.len()) {
            let end = end_of_arguments(&text, at);
            let arguments = &text[at..end];
            let commas = arguments.match_indices(',').map(|(comma, _)| comma + 1);
            match std::iter::once(0).chain(commas).nth(*first) {
                Some(start) => {
                    masked.push_str(&text[from..at + start]);
                    masked.push_str(COVER);
                }
                None => masked.push_str(&text[from..end]),
            }
            from = end;
        }
        if from > 0 {
            masked.push_str(&text[from..]);
            text = masked;
        }
    }
    text
}

/// Returns the end of the arguments that begin at `from`: the matching closing parenthesis outside
/// quotes.
fn end_of_arguments(text: &str, from: usize) -> usize {
    let (mut depth, mut quote, mut is_escaped) = (0, None, false);
    for (at, letter) in text[from..].char_indices() {
        if std::mem::take(&mut is_escaped) {
            continue;
        }
        match (quote, letter) {
            (_, '\\') if quote != Some('\'') => is_escaped = true,
            (Some(open), _) if open == letter => quote = None,
            (Some(_), _) => {}
            (None, '\'' | '"') => quote = Some(letter),
            (None, '(') => depth += 1,
            (None, ')') if depth == 0 => return from + at,
            (None, ')') => depth -= 1,
            _ => {}
        }
    }
    text.len()
}

/// Returns a text with the credentials of its URLs masked, word by word.
pub fn without_credentials(text: &str) -> String {
    let words = text.split(' ').map(|word| credentials(word.to_owned()));
    words.collect::<Vec<_>>().join(" ")
}

/// Returns a query, or a pattern that is compared with one, with the values of parameters masked
/// whose names suggest a secret.
pub fn without_parameters(text: &str) -> String {
    let query = credentials(format!("?{text}"));
    query[1..].to_owned()
}

/// Masks passwords in URLs (`scheme://user:password@host`, or without a scheme) and the text after
/// a credential scheme.
fn credentials(mut text: String) -> String {
    let mut low = text.to_ascii_lowercase();
    for scheme in SCHEMES {
        let is_word = |at: &usize| {
            // Excludes a longer name that ends with the scheme, such as the sample
            // `http_auth_bearer,…`.
            let is_of_name = |c: char| c.is_ascii_alphanumeric() || "_-.".contains(c);
            let ends = low[at + scheme.len()..].starts_with([' ', ',']);
            ends && !low[..*at].ends_with(is_of_name)
        };
        let at = low.match_indices(scheme).map(|(at, _)| at).find(is_word);
        if let Some(at) = at {
            text.truncate(at + scheme.len() + 1);
            low.truncate(text.len());
            text.push_str(COVER);
        }
    }
    for suspect in SUSPECT {
        // Masks the value of a suspect query parameter, and cuts the rest of the word, which is not
        // needed.
        let name = format!("{suspect}=");
        if let Some(at) = low.find(&name).map(|at| at + name.len()) {
            text.truncate(at);
            low.truncate(at);
            text.push_str(COVER);
        }
    }
    // Masks the word from a secret query parameter on: `?token=…`.
    for at in low.match_indices(['?', '&']).map(|(at, _)| at + 1) {
        let parameter = &low[at..];
        let Some(end) = parameter.find(['=', '?', '&']) else {
            break;
        };
        let (name, value) = parameter.split_at(end);
        let has_value = value.len() > 1 && value.starts_with('=') && !value.starts_with("=&");
        if has_value && may_name_secret(name) {
            text.truncate(at + name.len() + 1);
            text.push_str(COVER);
            break;
        }
    }
    let authority = text.find("://").map_or(0, |at| at + 3);
    // Masks the path before an `@`, too, because an unescaped `/` of a password or a token ends the
    // authority too early.
    let ends: &[char] = if authority > 0 {
        &['?', ' ']
    } else {
        &['/', '?', ' ']
    };
    let end = text[authority..]
        .find(ends)
        .map_or(text.len(), |n| authority + n);
    if let Some(at) = text[authority..end].rfind('@') {
        // Masks an HTTP user without a password, who is usually a token.
        let of_http = low.starts_with("http");
        let user = &text[authority..authority + at];
        match user.split_once(':') {
            Some((_, "" | "x-oauth-basic")) if of_http => {
                text.replace_range(authority..authority + at, COVER);
            }
            None if of_http && authority > 0 => {
                text.replace_range(authority..authority + at, COVER);
            }
            Some((name, _)) => {
                let colon = authority + name.len();
                text.replace_range(colon + 1..authority + at, COVER);
            }
            None => {}
        }
    }
    text
}
