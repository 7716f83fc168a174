//! Processes one line: finds its keyword, checks its section, and lets its row build it. Unknown,
//! unsupported and misplaced keywords are reported here.

use super::{Loader, Section, codes, side};
use crate::family::{Args, LineRow, registry};
use configuration::Unknown;
use language::arguments::unset_named;
use language::keyword::KeywordLookup;
use language::{ConfigLine, Diagnostic};
use model::known::{self, instead};

/// Keywords that begin with `option` but accept no `no` in HAProxy.
const NOT_NEGATABLE: &[&str] = &[
    "option external-check",
    "option forwardfor",
    "option http-restrict-req-hdr-names",
    "option httpchk",
    "option httplog",
    "option httpslog",
    "option ldap-check",
    "option mysql-check",
    "option originalto",
    "option pgsql-check",
    "option redis-check",
    "option smtpchk",
    "option spop-check",
    "option ssl-hello-chk",
    "option tcp-check",
    "option tcplog",
];

/// Lines after which a backend does not need servers, so that the warning about missing ones is
/// omitted, even if the line itself was refused.
const OCCUPATIONS: &[&str] = &[
    "dispatch",
    "http-error",
    "server",
    "server-template",
    "stick-table",
    "transparent",
    "use-fcgi-app",
];

/// Keywords that accept `no`, besides options.
const NEGATABLE: &[&str] = &[
    "busy-polling",
    "insecure-fork-wanted",
    "insecure-setuid-wanted",
    "log",
    "numa-cpu-mapping",
    "prealloc-fd",
    "set-dumpable",
    "strict-limits",
];

fn negatable(name: &str) -> bool {
    NEGATABLE.contains(&name) || (name.starts_with("option ") && !NOT_NEGATABLE.contains(&name))
}

/// Returns whether HAProxy has this keyword in this section and Evenkeel does not support it.
fn known_in(name: &str, place: &str) -> bool {
    let mut groups = known::all().iter();
    groups.any(|g| g.kind == "keyword" && g.places.contains(&place) && g.names.contains(&name))
}

/// Returns the supported keyword that equals the word when underscores count as dashes, with the
/// sections in which it is valid.
fn keyword_of_other_sections(text: &str) -> Option<(&'static str, Vec<&'static str>)> {
    let dashed = text.replace('_', "-");
    let rows = registry().lines.documented();
    let row = rows
        .iter()
        .find(|row| row.built && row.name.replace('_', "-") == dashed)?;
    Some((row.name, row.places.to_vec()))
}

/// Returns a character of a word that looks like another one or is invisible, with its
/// description.
fn find_lookalike(text: &str) -> Option<(char, &'static str)> {
    let invisible = text.chars().find_map(|char| {
        let what = match char {
            '\u{200b}'..='\u{200f}' | '\u{2060}' | '\u{feff}' | '\u{ad}' => "invisible character",
            '\u{a0}' | '\u{2000}'..='\u{200a}' | '\u{202f}' | '\u{3000}' => {
                "space that separates no words"
            }
            _ => return None,
        };
        Some((char, what))
    });
    let at_edge = || {
        let mut edges = text
            .chars()
            .next()
            .into_iter()
            .chain(text.chars().next_back());
        edges.find_map(|char| {
            let what = match char {
                '\u{2018}'..='\u{201f}' | '\u{ab}' | '\u{bb}' => "typographic quotation mark",
                '\u{2010}'..='\u{2015}' | '\u{2212}' => "dash that is no hyphen",
                _ => return None,
            };
            Some((char, what))
        })
    };
    invisible.or_else(at_edge)
}

impl Loader {
    pub(super) fn line(&mut self, line: &ConfigLine) {
        let Some(place) = self.section.place() else {
            return;
        };
        let errors = self.context.diagnostics.errors();
        self.report_lookalikes(line);
        self.keyword_line(line, place);
        if self.context.diagnostics.errors() > errors {
            self.refused_line(line);
        }
    }

    /// Warns of misleading characters in the words after the keyword, outside of quotes.
    fn report_lookalikes(&mut self, line: &ConfigLine) {
        // Skips the first word: a misleading character makes the keyword unknown, which is reported
        // as such.
        for word in line.words.iter().skip(1) {
            if word.bytes.is_ascii() {
                continue;
            }
            let text = word.text();
            let quoted = self
                .context
                .sources
                .snippet(word.span)
                .contains(['"', '\'']);
            let Some((char, what)) = (!quoted).then(|| find_lookalike(&text)).flatten() else {
                continue;
            };
            // Does not print the word, which may be a secret that the character makes
            // unrecognizable.
            let message = format!("{what} in a word: U+{:04X}", u32::from(char));
            self.report(
                Diagnostic::warning(&codes::LOOKALIKE_CHARACTER, word.span, message)
                    .label("part of the word, as any letter")
                    .help("write the plain ASCII character, or put the word into straight quotes"),
            );
        }
    }

    fn keyword_line(&mut self, line: &ConfigLine, place: &'static str) {
        let first = &line.words[0];
        let skip = usize::from(matches!(first.str(), "no" | "default"));
        if line.words.len() == skip {
            return self.unknown(line, 0, place);
        }
        let found = registry()
            .lines
            .find(line.words[skip..].iter().map(|w| w.str()));
        if matches!(self.section, Section::NotBuilt(_)) {
            let name = match found {
                KeywordLookup::Built(row, _) => row.name(),
                KeywordLookup::NotBuilt(name, ..) => name,
                KeywordLookup::Unknown => "",
            };
            // Reports, in a section that Evenkeel does not support, only words that HAProxy does
            // not have there either: the section itself was reported.
            if !known_in(name, place) {
                self.unknown(line, skip, place);
            }
            return;
        }
        if let (Section::Proxy(index, _), Some(word)) = (self.section, line.word(skip))
            && OCCUPATIONS.contains(&word.str())
        {
            self.occupied.insert(index);
        }
        match found {
            KeywordLookup::Unknown => self.unknown(line, skip, place),
            KeywordLookup::NotBuilt(name, group, words) => {
                if group.places.contains(&place) {
                    self.report_unsupported(line, skip, words, name);
                } else {
                    self.report_misplaced(line, skip, words, name, &group.places, place);
                }
            }
            KeywordLookup::Built(row, words) if !row.places.contains(&place) => {
                self.report_misplaced(line, skip, words, row.name(), row.places, place);
            }
            KeywordLookup::Built(row, words) => self.build(line, skip, words, row),
        }
    }

    /// Lets the row of a keyword build its line.
    fn build(&mut self, line: &ConfigLine, skip: usize, words: usize, row: &'static LineRow) {
        let name = row.name();
        if skip > 0 && !negatable(name) {
            return self.no_negation(line, name);
        }
        self.rule_order(line, name);
        self.rule_of_today(name, line);
        let mut args = Args::new(line, skip + words, name, row.syntax, &codes::OF_ARGUMENTS);
        args.example = row.example;
        args.negated = skip > 0 && line.words[0].is("no");
        args.reset = skip > 0 && !args.negated;
        let built = (row.build)(self, &mut args);
        let refusal = built.err();
        for diagnostic in args.take_warnings().into_iter().chain(refusal) {
            self.report(unset_named(line, diagnostic));
        }
    }

    fn rule_order(&mut self, line: &ConfigLine, keyword: &str) {
        if let Some((family, later)) = self.order.line(keyword) {
            self.report(
                Diagnostic::warning(
                    &codes::RULE_ORDER,
                    line.words[0].span,
                    format!("a '{family}' rule placed after a '{later}' rule will still be processed before"),
                )
                .label("runs before the lines above it")
                .help(format!("move it above the first '{later}' rule")),
            );
        }
    }

    fn no_negation(&mut self, line: &ConfigLine, name: &str) {
        let word = &line.words[0];
        self.report(
            Diagnostic::error(
                &codes::NO_NEGATION,
                word.span,
                format!("'{}' is not supported before '{name}'", word.text()),
            )
            .label("remove this word"),
        );
    }

    fn report_unsupported(&mut self, line: &ConfigLine, skip: usize, words: usize, name: &str) {
        let span = line.words[skip].span.to(line.words[skip + words - 1].span);
        self.report(
            Diagnostic::error(
                &codes::NOT_BUILT,
                span,
                format!("'{name}' is not supported"),
            )
            .help(
                instead(name).unwrap_or("remove the line, or keep this proxy on HAProxy for now"),
            ),
        );
    }

    fn report_misplaced(
        &mut self,
        line: &ConfigLine,
        skip: usize,
        words: usize,
        name: &str,
        places: &[&str],
        place: &str,
    ) {
        let span = line.words[skip].span.to(line.words[skip + words - 1].span);
        let diagnostic = match side::missing_capability(name, places, place) {
            Some(capability) => Diagnostic::warning(
                &codes::WRONG_SIDE,
                span,
                format!(
                    "'{name}' ignored because {place} '{}' has no {capability} capability",
                    self.proxy().name
                ),
            )
            .label("has no effect here"),
            None => Diagnostic::error(
                &codes::KEYWORD_MISPLACED,
                span,
                format!("'{name}' not allowed in '{place}' section"),
            )
            .label("not allowed here"),
        };
        let legal = format!("allowed in: {}", places.join(", "));
        let diagnostic = diagnostic.note(legal);
        self.report(match side::keyword_of_other_side(name) {
            Some(other) if other != "use-server" => {
                diagnostic.help(format!("did you mean '{other}'?"))
            }
            _ => diagnostic,
        });
    }

    fn unknown(&mut self, line: &ConfigLine, skip: usize, place: &str) {
        let unknown = Unknown {
            line,
            skip,
            section: place,
            code: &codes::UNKNOWN_KEYWORD,
            missing: &codes::MISSING_ARGUMENT,
        };
        let (told, meant) = unknown.unknown_keyword_error(
            &registry().lines,
            &self.context,
            keyword_of_other_sections,
        );
        if let Some(name) = meant {
            let is_section = self.context.words.has(&name);
            self.refused
                .record_refused_line(self.section, name.split(' ').next().unwrap_or(&name));
            if is_section {
                // Ends the section: the following lines belong to the one whose name was misspelt.
                self.end_section();
                self.section = Section::Refused;
            }
        }
        self.report(told);
    }
}
