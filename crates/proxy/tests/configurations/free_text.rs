//! Lists the positions at which the configuration language accepts any word, each with the
//! reason. Only there may an unknown word be accepted silently.

/// A keyword, its first and last argument (or `MANY`) at which any word is accepted, and the
/// reason.
type Free = (&'static str, usize, usize, &'static str);

/// All arguments up to the end of the line.
const MANY: usize = usize::MAX;

const FREE: &[Free] = &[
    (
        "acl",
        3,
        MANY,
        "the first patterns may be of any form that the method compares with",
    ),
    ("description", 1, MANY, "text for people"),
    ("option httpchk", 1, 3, "a method, a target and a version"),
    ("setenv", 1, 2, "a name and a value of the environment"),
    ("presetenv", 1, 2, "a name and a value of the environment"),
    ("log-format", 1, 1, "a format is text"),
    ("http-request add-header", 1, 2, "a name and a value"),
    ("http-request set-header", 1, 2, "a name and a value"),
    ("http-response add-header", 1, 2, "a name and a value"),
    ("http-response set-header", 1, 2, "a name and a value"),
    (
        "log-send-hostname",
        1,
        1,
        "the name of the host in messages",
    ),
    ("stats show-desc", 1, MANY, "text for people"),
    ("unsetenv", 1, MANY, "names of the environment"),
    ("resetenv", 1, MANY, "names of the environment"),
    ("stats show-node", 1, 1, "the name of the node"),
    (
        ".elif",
        1,
        MANY,
        "behind a branch that was taken it is not evaluated, as in HAProxy",
    ),
    ("defaults", 1, 1, "its name"),
];

/// Returns why any word is acceptable at a position in a line (counting the keyword's words,
/// from 0); None where that is not so.
pub fn reason(words: &[String], at: usize) -> Option<&'static str> {
    if in_braces(words, at) {
        return Some("a pattern of an anonymous test, of any form that its method compares with");
    }
    let skip = usize::from(
        words
            .first()
            .is_some_and(|word| ["no", "default"].contains(&word.as_str())),
    );
    FREE.iter().find_map(|(keyword, first, last, why)| {
        let of: Vec<&str> = keyword.split(' ').collect();
        let behind = words.get(skip..).is_some_and(|words| {
            words.len() >= of.len() && of.iter().zip(words).all(|(a, b)| a == b)
        });
        let n = (at + 1).checked_sub(skip + of.len())?;
        (behind && (*first..=*last).contains(&n)).then_some(*why)
    })
}

/// Returns whether a position is inside braces (an anonymous ACL), after its expression.
fn in_braces(words: &[String], at: usize) -> bool {
    let before = &words[..at.min(words.len())];
    let open = before
        .iter()
        .rposition(|word| word.trim_start_matches('!') == "{");
    let close = before.iter().rposition(|word| *word == "}");
    open.is_some_and(|open| close.is_none_or(|close| close < open) && at > open + 1)
}
