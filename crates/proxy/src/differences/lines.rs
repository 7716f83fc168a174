//! Recognizes the configuration lines to which a difference from HAProxy applies.

use language::manual::Statement;

pub(super) fn bind_with_http2(line: &Statement) -> bool {
    is_bind(line) && line.names("h2")
}

pub(super) fn is_bind(line: &Statement) -> bool {
    line.starts_with_any(&[&["bind"], &["default-bind"]])
}

pub(super) fn is_server(line: &Statement) -> bool {
    line.starts_with_any(&[&["server"], &["default-server"], &["server-template"]])
}

/// Returns whether the line is a `bind` or `server` line with this option after the address.
pub(super) fn has_option(line: &Statement, option: &str) -> bool {
    (is_bind(line) || is_server(line)) && line.words.iter().skip(2).any(|word| word == option)
}

pub(super) fn is_table(line: &Statement) -> bool {
    line.starts_with_any(&[&["stick-table"], &["table"]])
}

/// Returns the size of a stick table in entries; None if the size is missing or not a plain number.
pub(super) fn table_size(line: &Statement) -> Option<u32> {
    let mut words = line.words.iter().skip_while(|word| *word != "size");
    words.nth(1)?.parse().ok()
}

/// Returns whether the line has a fetch `sc_tracked` or `sc0_tracked` that names a table.
pub(super) fn tracked_in_table(line: &Statement) -> bool {
    line.words.iter().any(|word| {
        let behind = word.split_once("_tracked(").map(|(_, behind)| behind);
        let arguments = behind.and_then(|behind| behind.split(')').next());
        let of_number = word.contains("sc_tracked(");
        arguments.is_some_and(|arguments| {
            if of_number {
                arguments.contains(',')
            } else {
                !arguments.is_empty()
            }
        })
    })
}

/// Returns whether the line is a rule of HAProxy 1.x that edits lines of messages.
pub(super) fn edits_lines(line: &Statement) -> bool {
    const ACTIONS: [&str; 12] = [
        "add", "allow", "del", "deny", "iallow", "idel", "ideny", "irep", "ipass", "pass", "rep",
        "tarpit",
    ];
    let word = line.words.first().map_or("", String::as_str);
    let action = word
        .strip_prefix("req")
        .or_else(|| word.strip_prefix("rsp"));
    action.is_some_and(|action| ACTIONS.contains(&action) || action == "itarpit")
}

/// Returns whether the regular expression in a HAProxy 1.x rule has look-around or a
/// back-reference.
pub(super) fn backtracks(line: &Statement) -> bool {
    let signs = ["(?=", "(?!", "(?<", r"\1", r"\2"];
    let regex = line.words.get(1).map_or("", String::as_str);
    signs.iter().any(|sign| regex.contains(sign))
}

pub(super) fn balances_by_hash(line: &Statement) -> bool {
    let kinds = ["source", "uri", "url_param", "hash", "rdp-cookie"];
    line.starts_with_words(&["balance"])
        && line.words.get(1).is_some_and(|kind| {
            kinds.contains(&&**kind) || kind.starts_with("hdr") || kind.starts_with("rdp-cookie")
        })
}

pub(super) fn rewrites(action: &str) -> bool {
    let verbs = [
        "set-header",
        "add-header",
        "replace-",
        "set-path",
        "set-uri",
        "set-query",
        "set-pathq",
    ];
    verbs.iter().any(|verb| action.starts_with(verb))
}
