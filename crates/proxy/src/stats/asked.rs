//! Parses the parameters of a request for the statistics page, with HAProxy's syntax: the words
//! after `stats uri` (`;csv`, `;up`, `;norefresh`, `?scope=…`).

#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum StatisticsFormat {
    #[default]
    Page,
    Csv,
    /// Typed lines, requested by `;typed`.
    Typed,
    Json,
    /// Schema of the JSON, requested by `;json-schema`.
    Schema,
}

/// Status of a page action (`;st=…`).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ActionStatus {
    Done,
    None,
    /// Some of the requested changes were made.
    Part,
    Wrong,
    TooMany,
    Denied,
    Unknown,
}

const OUTCOMES: [(ActionStatus, &str); 7] = [
    (ActionStatus::Done, "DONE"),
    (ActionStatus::None, "NONE"),
    (ActionStatus::Part, "PART"),
    (ActionStatus::Wrong, "ERRP"),
    (ActionStatus::TooMany, "EXCD"),
    (ActionStatus::Denied, "DENY"),
    (ActionStatus::Unknown, "UNKN"),
];

impl ActionStatus {
    pub fn code(self) -> &'static str {
        OUTCOMES
            .iter()
            .find(|(outcome, _)| *outcome == self)
            .map_or("UNKN", |(_, code)| code)
    }

    fn of(code: &str) -> ActionStatus {
        let found = OUTCOMES.iter().find(|(_, known)| *known == code);
        found.map_or(ActionStatus::Unknown, |(outcome, _)| *outcome)
    }
}

/// Maximum length of `scope`, bytes.
const SCOPE_MAX: usize = 20;

#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct StatisticsQuery {
    pub kind: StatisticsFormat,
    /// `;up`: hides servers that are down.
    pub up: bool,
    /// `;no-maint`: hides servers in maintenance.
    pub no_maintenance: bool,
    /// `;norefresh`: disables the periodic refresh.
    pub no_refresh: bool,
    /// `scope=`: selects proxies with this text in their names; empty selects all.
    pub scope: String,
    /// `;st=`: status of an action.
    pub outcome: Option<ActionStatus>,
}

impl StatisticsQuery {
    pub fn parse(tail: &[u8]) -> StatisticsQuery {
        let mut asked = StatisticsQuery::default();
        for word in tail.split(|b| b";?&".contains(b)) {
            match word {
                b"up" => asked.up = true,
                b"no-maint" => asked.no_maintenance = true,
                b"norefresh" => asked.no_refresh = true,
                b"csv" => asked.kind = StatisticsFormat::Csv,
                b"typed" => asked.kind = StatisticsFormat::Typed,
                b"json" => asked.kind = StatisticsFormat::Json,
                b"json-schema" => asked.kind = StatisticsFormat::Schema,
                _ => asked.value(word),
            }
        }
        asked
    }

    fn value(&mut self, word: &[u8]) {
        if let Some(code) = word.strip_prefix(b"st=") {
            self.outcome = Some(ActionStatus::of(&String::from_utf8_lossy(code)));
        } else if let Some(scope) = word.strip_prefix(b"scope=") {
            let scope = decode(scope);
            let end = scope.len().min(SCOPE_MAX);
            self.scope = String::from_utf8_lossy(&scope[..end]).into_owned();
        }
    }

    /// Returns the parameters by which a link shows the same view of the page again, without the
    /// status of an action.
    pub fn words(&self) -> String {
        let mut words = String::new();
        for (on, word) in [
            (self.up, ";up"),
            (self.no_maintenance, ";no-maint"),
            (self.no_refresh, ";norefresh"),
        ] {
            if on {
                words.push_str(word);
            }
        }
        if !self.scope.is_empty() {
            words.push_str("?scope=");
            words.extend(self.scope.bytes().map(encoded));
        }
        words
    }
}

/// Encodes a byte for use in a URI, in HTML and in a header.
fn encoded(byte: u8) -> String {
    if byte.is_ascii_alphanumeric() || b"._-:".contains(&byte) {
        char::from(byte).to_string()
    } else {
        format!("%{byte:02X}")
    }
}

/// Decodes `%XX` and `+`; other text is unchanged.
pub fn decode(text: &[u8]) -> Vec<u8> {
    let digit = |at: usize| text.get(at).and_then(|b| char::from(*b).to_digit(16));
    let mut out = Vec::with_capacity(text.len());
    let mut at = 0;
    while let Some(byte) = text.get(at) {
        match (byte, digit(at + 1), digit(at + 2)) {
            (b'%', Some(high), Some(low)) => {
                out.push((high * 16 + low) as u8);
                at += 2;
            }
            (b'+', ..) => out.push(b' '),
            _ => out.push(*byte),
        }
        at += 1;
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn page_options_are_accepted_in_any_order() {
        let asked = StatisticsQuery::parse(b"/more;csv;norefresh;up?scope=web%3A1");
        assert_eq!(asked.kind, StatisticsFormat::Csv);
        assert!(asked.up && asked.no_refresh && !asked.no_maintenance);
        assert_eq!(asked.scope, "web:1");
        assert_eq!(
            StatisticsQuery::parse(b"?;json").kind,
            StatisticsFormat::Json
        );
        assert_eq!(
            StatisticsQuery::parse(b";st=DONE").outcome,
            Some(ActionStatus::Done)
        );
        assert_eq!(
            StatisticsQuery::parse(b";st=<b>").outcome,
            Some(ActionStatus::Unknown)
        );
        assert_eq!(StatisticsQuery::parse(b"foo"), StatisticsQuery::default());
    }

    #[test]
    fn a_scope_is_cut_and_its_bytes_are_harmless_in_a_link() {
        let asked = StatisticsQuery::parse(b"?scope=%22%3Cscript%3E%0d%0aabcdefghijklmnopqrstuvw");
        assert_eq!(asked.scope.len(), SCOPE_MAX);
        let words = asked.words();
        assert!(
            words
                .bytes()
                .all(|b| b.is_ascii_graphic() && !b"<>\"'".contains(&b)),
            "{words}"
        );
    }

    #[test]
    fn invalid_escapes_stay() {
        assert_eq!(decode(b"%4g+%"), b"%4g %");
    }
}
