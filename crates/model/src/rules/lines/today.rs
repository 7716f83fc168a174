//! Finds the current form of a deprecated rule, for its warning and for `evenkeel upgrade`. A
//! pattern over whole lines is split if its shape shows which header, or which part of the
//! request line, it matches. Otherwise the rule has no exact current form, and its warning says
//! what to do.

mod pattern;
mod words;

use super::build::header;
use pattern::{HeaderPattern, Method, RequestPattern};
use words::{format_text, join, quoted};

/// Parsed line of a deprecated rule.
pub(super) struct Old<'l> {
    /// Keyword of the line, such as `reqirep`.
    pub(super) keyword: &'l str,
    /// Pattern, or the header to add.
    pub(super) first: &'l str,
    /// Replacement, or the name of the backend.
    pub(super) second: &'l str,
    /// Condition as written; empty if there is none.
    pub(super) condition: &'l str,
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum ModernForm {
    Line(String),
    /// Advice for a manual conversion, because no line is equivalent.
    ByHand(&'static str),
}

/// Lines of a message that a rule matches.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Subject {
    Start,
    Headers,
    /// Headers with this name, in lower case.
    Header(Box<[u8]>),
    /// All lines, or an unknown set.
    Any,
}

impl Subject {
    pub(super) fn of(keyword: &str, first: &str) -> Subject {
        if keyword.ends_with("add") {
            let name = header(first.as_bytes()).map(|(name, _)| name.to_ascii_lowercase());
            return name.map_or(Subject::Any, |name| Subject::Header(name.into()));
        }
        if keyword == "block" {
            return Subject::Any;
        }
        // Recognizes patterns that match headers only, because a request line has no colon before
        // its first space.
        if ["^[^: ]*:", "^[^ :]*:", "^[^: ]+:", "^[^ :]+:"].contains(&first) {
            return Subject::Headers;
        }
        match super::build::header_of(first.as_bytes()) {
            Some(name) => Subject::Header(name),
            None if RequestPattern::of(first).is_some() && !keyword.starts_with("rsp") => {
                Subject::Start
            }
            None => Subject::Any,
        }
    }

    /// Returns whether two rules may match the same line.
    pub(super) fn meets(&self, other: &Subject) -> bool {
        use Subject::{Any, Header, Headers, Start};
        match (self, other) {
            (Any, _) | (_, Any) | (Start, Start) => true,
            (Start, _) | (_, Start) => false,
            (Header(one), Header(other)) => one == other,
            (Headers, _) | (_, Headers) => true,
        }
    }
}

fn set(keyword: &str) -> &'static str {
    if keyword.starts_with("rsp") {
        "http-response"
    } else {
        "http-request"
    }
}

pub(super) fn form(old: &Old<'_>) -> ModernForm {
    let (verb, ignore_case) = super::build::verb(old.keyword);
    let made = match verb {
        "block" => Some(join(&["http-request deny", old.condition])),
        "add" => add(old),
        "del" => delete(old),
        "rep" => replace(old, ignore_case),
        "deny" | "tarpit" | "setbe" => judge(old, verb, ignore_case),
        _ => None,
    };
    match made {
        Some(line) => ModernForm::Line(line),
        None => ModernForm::ByHand(by_hand(verb)),
    }
}

/// Returns the advice for a rule without an equivalent line.
fn by_hand(verb: &str) -> &'static str {
    match verb {
        "del" => {
            "`del-header NAME` removes all headers with a name regardless of their values; to keep some, stop the \
             server from sending the others, or use `replace-header NAME REGEX FORMAT`"
        }
        "rep" => {
            "name what to rewrite: `replace-header NAME REGEX FORMAT` for a header, `replace-path`, `replace-pathq` \
             or `set-method` for the request line. To rename a header, use `set-header NEW %[req.fhdr(OLD)] if { \
             req.fhdr(OLD) -m found }` and then `del-header OLD`, if it occurs once"
        }
        "allow" | "pass" => {
            "add a condition to the later rules that excludes these requests: `http-request deny if … !{ … }`"
        }
        "setbe" => "write `use_backend NAME if { … }` before the other `use_backend` lines",
        _ => {
            "name the header or part of the request: `http-request deny if { path -m reg REGEX }`, `… if { \
             req.fhdr(NAME) -m reg REGEX }`"
        }
    }
}

fn add(old: &Old<'_>) -> Option<String> {
    let (name, value) = header(old.first.as_bytes())?;
    let (name, value) = (
        std::str::from_utf8(name).ok()?,
        std::str::from_utf8(value).ok()?,
    );
    // Replaces an empty value by a format that evaluates to nothing, because an action needs a
    // value.
    let value = match value {
        "" => "%[str()]".to_owned(),
        value => quoted(&format_text(value))?,
    };
    let action = format!("{} add-header {name}", set(old.keyword));
    Some(join(&[&action, &value, old.condition]))
}

fn delete(old: &Old<'_>) -> Option<String> {
    let set = set(old.keyword);
    if let Some(names) = pattern::names(old.first) {
        let matching = quoted(&format!("^({names})$"))?;
        let action = format!("{set} del-header {matching} -m reg");
        return Some(join(&[&action, old.condition]));
    }
    if let Some(begin) = pattern::beginning(old.first) {
        let action = format!("{set} del-header {begin} -m beg");
        return Some(join(&[&action, old.condition]));
    }
    let header = HeaderPattern::of(old.first)?;
    let any = header.group.is_none() && header.matches_any_value();
    any.then(|| join(&[&format!("{set} del-header {}", header.name), old.condition]))
}

/// Adapts a pattern for current rules, which are case-sensitive by default.
fn cased(pattern: &str, ignore_case: bool) -> String {
    if ignore_case && pattern.bytes().any(|byte| byte.is_ascii_alphabetic()) {
        format!("(?i){pattern}")
    } else {
        pattern.to_owned()
    }
}

fn replace(old: &Old<'_>, ignore_case: bool) -> Option<String> {
    // Returns None for a replacement with `\xHH`, which has no equivalent in a format.
    if old.second.contains("\\x") {
        return None;
    }
    if let Some(header) = HeaderPattern::of(old.first) {
        let (regex, value) = header.rewriting(old.second)?;
        let regex = quoted(&cased(&regex, ignore_case))?;
        let value = match value.as_str() {
            "" => "%[str()]".to_owned(),
            value => quoted(&format_text(value))?,
        };
        let action = format!("{} replace-header {}", set(old.keyword), header.name);
        return Some(join(&[&action, &regex, &value, old.condition]));
    }
    if old.keyword.starts_with("rsp") {
        return None;
    }
    let request = RequestPattern::of(old.first)?;
    let (action, regex, target) = request.rewriting(old.second)?;
    let regex = quoted(&cased(&regex, ignore_case))?;
    let target = quoted(&format_text(&target))?;
    let condition = words::both(&method_test(&request.method), old.condition)?;
    Some(join(&[
        &format!("http-request {action}"),
        &regex,
        &target,
        &condition,
    ]))
}

fn method_test(method: &Method) -> String {
    match method {
        Method::Any => String::new(),
        Method::These(names) => format!("{{ method {} }}", names.join(" ")),
    }
}

/// Converts `deny`, `tarpit` and `setbe`: a test, and its consequence.
fn judge(old: &Old<'_>, verb: &str, ignore_case: bool) -> Option<String> {
    let flag = if ignore_case { "-i " } else { "" };
    let test = if let Some(header) = HeaderPattern::of(old.first) {
        let fetch = if old.keyword.starts_with("rsp") {
            "res.fhdr"
        } else {
            "req.fhdr"
        };
        let name = &header.name;
        if header.matches_any_value() {
            format!("{{ {fetch}({name}) -m found }}")
        } else {
            let regex = quoted(&header.value_pattern()?)?;
            format!("{{ {fetch}({name}) -m reg {flag}{regex} }}")
        }
    } else if old.keyword.starts_with("rsp") {
        return None;
    } else {
        let request = RequestPattern::of(old.first)?;
        let target = match request.target_pattern()?.as_str() {
            "" => String::new(),
            regex => format!("{{ pathq -m reg {flag}{} }}", quoted(regex)?),
        };
        let test = join(&[&method_test(&request.method), &target]);
        if test.is_empty() {
            return None;
        }
        test
    };
    let condition = words::both(&test, old.condition)?;
    Some(match verb {
        "setbe" => join(&["use_backend", &quoted(old.second)?, &condition]),
        verb => join(&[set(old.keyword), verb, &condition]),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn made(line: &str) -> String {
        let mut words = line.splitn(4, '~');
        let mut next = || words.next().unwrap_or("");
        let old = Old {
            keyword: next(),
            first: next(),
            second: next(),
            condition: next(),
        };
        match form(&old) {
            ModernForm::Line(line) => line,
            ModernForm::ByHand(_) => "by hand".to_owned(),
        }
    }

    /// Deprecated rules, with their current forms.
    const ROWS: &[(&str, &str)] = &[
        (
            "reqadd~X-Proto: https",
            "http-request add-header X-Proto https",
        ),
        (
            "reqadd~X-A: 100% b~~if x",
            "http-request add-header X-A '100%% b' if x",
        ),
        ("rspadd~X-A:", "http-response add-header X-A %[str()]"),
        ("block~~: ~if d3", "http-request deny if d3"),
        ("rspidel~^Server:.*$", "http-response del-header Server"),
        ("rspidel~^Server:", "http-response del-header Server"),
        (
            "rspidel~^X-Powered",
            "http-response del-header X-Powered -m beg",
        ),
        (
            "reqidel~^(Via|X-A):.*",
            "http-request del-header '^(Via|X-A)$' -m reg",
        ),
        ("rspidel~^Set-cookie: IP=", "by hand"),
        (
            "rspirep~^Location:\\s*http://.*?\\.a.co(/.*)$~Location: \\1",
            "http-response replace-header Location '(?i)^http://.*?\\.a.co(/.*)$' '\\1'",
        ),
        (
            "rspirep~^Location:(.*\\?\\w+=)http(%3a.*)$~Location: \\1https\\2",
            "http-response replace-header Location '(?i)^(.*\\?\\w+=)http(%3a.*)$' '\\1https\\2'",
        ),
        (
            "rsprep~^(Location: )http:(.*)~\\1https:\\2",
            "http-response replace-header Location '^http:(.*)' 'https:\\1'",
        ),
        (
            "reqirep~^(X-Forwarded-For:)(.*)~X-Forwarded-For2:\\2",
            "by hand",
        ),
        (
            "reqrep~^Host: old~Host: new",
            "http-request replace-header Host ^old new",
        ),
        (
            "reqrep~^([^ ]* /)web1[/]?(.*)~\\1\\2",
            "http-request replace-pathq '^(/)web1[/]?(.*)' '\\1\\2'",
        ),
        (
            "reqrep~^([^ :]*) /static/(.*)~\\1 /\\2",
            "http-request replace-pathq '^/static/(.*)' '/\\1'",
        ),
        (
            "reqirep~^(\\w+ )https:/(/.*)$~\\1http:/\\2",
            "http-request replace-uri '(?i)^https:/(/.*)$' 'http:/\\1'",
        ),
        (
            "reqrep~^GET /a(.*)~GET /b\\1~if x",
            "http-request replace-pathq '^/a(.*)' '/b\\1' if { method GET } x",
        ),
        ("reqrep~^GET /a(.*)~GET /b\\1~if x or y", "by hand"),
        (
            "reqrep~^GET /a(.*)~GET /b\\1~unless x",
            "http-request replace-pathq '^/a(.*)' '/b\\1' if { method GET } !x",
        ),
        (
            "reqrep~^([^ ]*) /a(.*) HTTP/1.1~\\1 /b\\2 HTTP/1.1",
            "http-request replace-pathq '^/a(.*)$' '/b\\1'",
        ),
        ("reqrep~^([^ ]*) /a~\\1 /b", "by hand"),
        ("reqrep~a~b", "by hand"),
        (
            "reqtarpit~^[^: ]* /cgi-bin/.*\\.pl\\?",
            "http-request tarpit if { pathq -m reg '^/cgi-bin/.*\\.pl\\?' }",
        ),
        (
            "reqitarpit~^[^: ]* /.*\\.(dll|exe)",
            "http-request tarpit if { pathq -m reg -i '^/.*\\.(dll|exe)' }",
        ),
        ("reqdeny~^POST ", "http-request deny if { method POST }"),
        ("reqdeny~\\.exe$", "by hand"),
        (
            "reqideny~^User-Agent:.*bad",
            "http-request deny if { req.fhdr(User-Agent) -m reg -i '^.*bad' }",
        ),
        (
            "rspideny~^X-Internal:",
            "http-response deny if { res.fhdr(X-Internal) -m found }",
        ),
        (
            "reqsetbe~^(GET|HEAD) /static/~static",
            "use_backend static if { method GET HEAD } { pathq -m reg ^/static/ }",
        ),
        ("reqallow~^Host: a", "by hand"),
    ];

    #[test]
    fn old_rules_have_a_form_today_where_their_pattern_says_what_it_is_about() {
        for (old, expected) in ROWS {
            assert_eq!(made(old), *expected, "{old}");
        }
    }
}
