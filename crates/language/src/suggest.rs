//! Finds the known name nearest to a misspelt word ("did you mean"). The search is bounded, so
//! that a long word is cheap, and conservative: a far-fetched suggestion is worse than none.

/// Maximum characters of a word that is compared; longer ones have no similar name.
pub const WORD_MAX: usize = 64;

pub const NAMES_MAX: usize = 1000;

/// Cost of an inserted, removed, replaced or swapped character.
const EDIT: usize = 2;

/// Cost of frequent confusions: `_` for `-`, `K` for `k`.
const SLIP: usize = 1;

/// Returns the nearest of the names, if one is near enough; of several equally near ones, the first
/// in alphabetical order, whatever order they come in.
///
/// The limit is one edit for words of up to four characters, two up to eight, and three above. If
/// no name is within the limit, a name with additional or missing whole words at its front or end
/// is returned (`option httplog` for `httplog`).
pub fn nearest<'n>(word: &str, names: impl IntoIterator<Item = &'n str>) -> Option<&'n str> {
    let characters: Vec<char> = word.chars().take(WORD_MAX + 1).collect();
    if characters.is_empty() || characters.len() > WORD_MAX {
        return None;
    }
    let mut bound = limit(characters.len());
    let mut best: Option<(usize, &str)> = None;
    let mut grown: Option<(usize, &str)> = None;
    let mut rows = Rows::default();
    for name in names.into_iter().take(NAMES_MAX) {
        if let Some(cost) = rows.cost(&characters, name, bound) {
            bound = cost;
            if best.is_none_or(|best| (cost, name) < best) {
                best = Some((cost, name));
            }
        } else if extends_by_words(name, word) || extends_by_words(word, name) {
            let candidate = (name.len().abs_diff(word.len()), name);
            if grown.is_none_or(|grown| candidate < grown) {
                grown = Some(candidate);
            }
        }
    }
    best.or(grown).map(|(_, name)| name)
}

fn limit(length: usize) -> usize {
    let edits = match length {
        0..=1 => 0,
        2..=4 => 1,
        5..=8 => 2,
        _ => 3,
    };
    edits * EDIT + SLIP
}

/// Returns whether the long name is the short one with whole words added at its front or end.
fn extends_by_words(long: &str, short: &str) -> bool {
    /// Shorter words are at the front or end of too many names.
    const SHORT_MIN: usize = 4;
    const SEPARATORS: [char; 4] = ['-', '_', '.', ' '];
    let behind = long.strip_prefix(short);
    let before = long.strip_suffix(short);
    short.len() >= SHORT_MIN
        && (behind.is_some_and(|rest| rest.starts_with(SEPARATORS))
            || before.is_some_and(|rest| rest.ends_with(SEPARATORS)))
}

/// The three rows of the distance table, reused between names.
#[derive(Default)]
struct Rows {
    name: Vec<char>,
    before: Vec<usize>,
    last: Vec<usize>,
    row: Vec<usize>,
}

impl Rows {
    /// Returns the cost of changing `word` into `name` (Damerau-Levenshtein with adjacent swaps),
    /// if it is within the bound.
    fn cost(&mut self, word: &[char], name: &str, bound: usize) -> Option<usize> {
        self.name.clear();
        self.name.extend(name.chars().take(WORD_MAX + 1));
        let width = self.name.len();
        if width > WORD_MAX || word.len().abs_diff(width) * EDIT > bound {
            return None;
        }
        self.last.clear();
        self.last.extend((0..=width).map(|n| n * EDIT));
        self.before.clear();
        self.before.resize(width + 1, 0);
        self.row.clear();
        self.row.resize(width + 1, 0);
        for (i, &a) in word.iter().enumerate() {
            self.row[0] = (i + 1) * EDIT;
            for (j, &b) in self.name.iter().enumerate() {
                let mut cost = (self.last[j] + substitution(a, b))
                    .min(self.last[j + 1] + EDIT)
                    .min(self.row[j] + EDIT);
                let swapped = i > 0 && j > 0 && a == self.name[j - 1] && b == word[i - 1] && a != b;
                if swapped {
                    cost = cost.min(self.before[j - 1] + EDIT);
                }
                self.row[j + 1] = cost;
            }
            if self
                .row
                .iter()
                .min()
                .is_none_or(|least| *least > bound + EDIT)
            {
                return None;
            }
            std::mem::swap(&mut self.before, &mut self.last);
            std::mem::swap(&mut self.last, &mut self.row);
        }
        Some(self.last[width]).filter(|cost| *cost <= bound)
    }
}

fn substitution(a: char, b: char) -> usize {
    let separator = |c: char| matches!(c, '-' | '_' | '.');
    if a == b {
        0
    } else if a.eq_ignore_ascii_case(&b) || (separator(a) && separator(b)) {
        SLIP
    } else {
        EDIT
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NAMES: &[&str] = &[
        "acl",
        "backend",
        "balance",
        "bind",
        "capture",
        "cookie",
        "daemon",
        "default-server",
        "default_backend",
        "defaults",
        "fullconn",
        "hash-type",
        "http-request",
        "http-response",
        "leastconn",
        "log",
        "log-format",
        "maxconn",
        "mode",
        "option",
        "option httplog",
        "option forwardfor",
        "retries",
        "roundrobin",
        "server",
        "server-template",
        "source",
        "static-rr",
        "stats",
        "stick-table",
        "tcp-request",
        "timeout",
        "use_backend",
        "weight",
    ];

    #[test]
    fn slips_of_the_finger_find_their_name() {
        for (written, meant) in [
            ("bnid", "bind"),
            ("bidn", "bind"),
            ("default_server", "default-server"),
            ("default-backend", "default_backend"),
            ("use-backend", "use_backend"),
            ("oundrobin", "roundrobin"),
            ("round-robin", "roundrobin"),
            ("RoundRobin", "roundrobin"),
            ("leastcon", "leastconn"),
            ("least_conn", "leastconn"),
            ("timout", "timeout"),
            ("sever", "server"),
            ("retires", "retries"),
            ("htp-request", "http-request"),
            ("httprequest", "http-request"),
            ("max_conn", "maxconn"),
            ("daemonx", "daemon"),
            ("httplog", "option httplog"),
            ("forwardfor", "option forwardfor"),
            ("http-log-format", "log-format"),
            ("Acl", "acl"),
        ] {
            assert_eq!(
                nearest(written, NAMES.iter().copied()),
                Some(meant),
                "{written}"
            );
        }
    }

    #[test]
    fn nothing_is_guessed_from_afar() {
        for written in [
            "",
            "x",
            "zz",
            "nosuch",
            "frobnicate",
            "abc",
            "é",
            "mysql-check",
        ] {
            assert_eq!(nearest(written, NAMES.iter().copied()), None, "{written}");
        }
        let long = "a".repeat(100_000);
        assert_eq!(nearest(&long, [long.as_str()]), None);
    }

    #[test]
    fn the_nearest_wins_and_the_first_of_equals_by_alphabet() {
        assert_eq!(nearest("bind", ["bond", "bind", "band"]), Some("bind"));
        assert_eq!(nearest("bxnd", ["bond", "bind"]), Some("bind"));
        assert_eq!(nearest("bxnd", ["bind", "bond"]), Some("bind"));
    }
}
