//! One line: its keyword is found, its place checked, its row asked to build
//! it. What cannot be built is told here: unknown, not supported yet, or standing
//! in the wrong section.

use super::nodes::{self, OnNode};
use super::section::{is_section, section_names};
use super::{Loader, Section, codes, side};
use crate::keyword::known::{KNOWN, instead};
use crate::keyword::{Args, LineRow, registry};
use language::arguments::unset_named;
use language::keyword::Found;
use language::reader::Reader;
use language::{Diagnostic, Line, suggest};

/// Options that HAProxy has no `no` for, though they begin with `option`.
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

/// Lines after which nobody has to be told that a backend has no servers.
const OCCUPATIONS: &[&str] = &[
    "dispatch",
    "http-error",
    "server",
    "server-template",
    "stick-table",
    "transparent",
    "use-fcgi-app",
];

/// What may be negated besides options.
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

/// Whether `no` and `default` may stand before a keyword.
fn negatable(name: &str) -> bool {
    NEGATABLE.contains(&name) || (name.starts_with("option ") && !NOT_NEGATABLE.contains(&name))
}

/// Whether HAProxy knows a keyword in a section that is not built here.
fn known_in(name: &str, place: &str) -> bool {
    KNOWN
        .iter()
        .any(|g| g.kind == "keyword" && g.places.contains(&place) && g.names.contains(&name))
}

/// What a file of keepalived begins with.
const KEEPALIVED: &[&str] = &[
    "!",
    "global_defs",
    "static_ipaddress",
    "virtual_server",
    "vrrp_instance",
    "vrrp_script",
    "vrrp_sync_group",
];

/// The no-break space, which looks like a space and separates no words.
const NO_BREAK_SPACE: char = '\u{a0}';

/// The keyword of other sections that a word spells with other dashes.
fn elsewhere(text: &str) -> Option<(&'static str, &'static [&'static str])> {
    let dashed = text.replace('_', "-");
    let rows = registry().lines.documented();
    let row = rows
        .iter()
        .find(|row| row.built && row.name.replace('_', "-") == dashed)?;
    Some((row.name, row.places))
}

impl Loader {
    /// Takes one line in.
    pub(super) fn line(&mut self, reader: &mut Reader, line: &Line) {
        let first = &line.words[0];
        let indented = self.context.sources.position(first.span).column > 1;
        if self.outline.begins(first.str(), indented) {
            self.end_section();
            reader.section(line.word(1).map_or(first.text(), |name| name.text()));
            self.begin_section(line);
            return;
        }
        // Its lexical mistake was told; what else it says is not certain.
        if reader.recovered() {
            return;
        }
        if first.is(nodes::ON) && nodes::may_be_in(self.section) {
            let errors = self.context.diagnostics.errors();
            match self.on_node(line) {
                OnNode::Here(line) => self.section_line(&line),
                OnNode::NotHere if self.context.diagnostics.errors() > errors => {
                    self.refused_line(line)
                }
                OnNode::NotHere => {}
            }
            return;
        }
        self.section_line(line);
    }

    /// Takes a line of a section in, whatever section it is.
    fn section_line(&mut self, line: &Line) {
        if self.section == Section::Other {
            if let Some(section) = self.others.last_mut() {
                section.lines.push(line.clone());
            }
            return;
        }
        let Some(place) = self.section.place() else {
            if self.section == Section::None {
                self.out_of_section(line);
            }
            return;
        };
        let errors = self.context.diagnostics.errors();
        self.keyword_line(line, place);
        if self.context.diagnostics.errors() > errors {
            self.refused_line(line);
        }
    }

    /// Takes a line of a section in.
    fn keyword_line(&mut self, line: &Line, place: &'static str) {
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
                Found::Built(row, _) => row.name,
                Found::NotBuilt(name, ..) => name,
                Found::Unknown => "",
            };
            // The section's first line was told already.
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
            Found::Unknown => self.unknown(line, skip, place),
            Found::NotBuilt(name, group, words) => {
                if group.places.contains(&place) {
                    self.not_built(line, skip, words, name);
                } else {
                    self.misplaced(line, skip, words, name, &group.places, place);
                }
            }
            Found::Built(row, words) if !row.places.contains(&place) => {
                self.misplaced(line, skip, words, row.name, row.places, place);
            }
            Found::Built(row, words) => self.build(line, skip, words, row),
        }
    }

    /// Lets a row build its line.
    fn build(&mut self, line: &Line, skip: usize, words: usize, row: &'static LineRow) {
        if skip > 0 && !negatable(row.name) {
            return self.no_negation(line, row.name);
        }
        self.rule_order(line, row.name);
        self.rule_of_today(row.name, line);
        let mut args = Args::new(
            line,
            skip + words,
            row.name,
            row.syntax,
            &codes::OF_ARGUMENTS,
        );
        args.negated = skip > 0 && line.words[0].is("no");
        args.reset = skip > 0 && !args.negated;
        let built = (row.build)(self, &mut args);
        let refusal = built.err().map(|diagnostic| *diagnostic);
        for diagnostic in args.told().into_iter().chain(refusal) {
            self.tell(unset_named(line, diagnostic));
        }
    }

    /// A line before any section. A misspelt section is taken for one, so that
    /// its lines are not complained about.
    fn out_of_section(&mut self, line: &Line) {
        let word = &line.words[0];
        let near = suggest::nearest(&word.text(), section_names());
        // The lines that follow stand there for the same reason.
        if near.is_none() && std::mem::replace(&mut self.out_of_section_told, true) {
            return;
        }
        let message = format!("unknown keyword '{}' out of section", word.text());
        let diagnostic =
            Diagnostic::error(&codes::NO_SECTION, word.span, message).label("no section has begun");
        let diagnostic = match near {
            Some(near) => {
                self.section = Section::Refused;
                diagnostic
                    .help(format!("did you mean '{near}'?"))
                    .fix(word.span, near)
            }
            None if KEEPALIVED.contains(&word.str()) => diagnostic
                .help("this looks like a keepalived.conf; HAProxy's language is expected here"),
            None => diagnostic.help(
                "begin with a line like `global`, `defaults`, `frontend NAME` or `listen NAME`",
            ),
        };
        self.tell(diagnostic);
    }

    fn rule_order(&mut self, line: &Line, keyword: &str) {
        if let Some((family, later)) = self.order.line(keyword) {
            self.tell(
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

    fn no_negation(&mut self, line: &Line, name: &str) {
        let word = &line.words[0];
        self.tell(
            Diagnostic::error(
                &codes::NO_NEGATION,
                word.span,
                format!("'{}' is not supported before '{name}'", word.text()),
            )
            .label("remove this word"),
        );
    }

    fn not_built(&mut self, line: &Line, skip: usize, words: usize, name: &str) {
        let span = line.words[skip].span.to(line.words[skip + words - 1].span);
        self.tell(
            Diagnostic::error(
                &codes::NOT_BUILT,
                span,
                format!("'{name}' is known, but not supported yet"),
            )
            .label("Evenkeel does not support this yet")
            .help(
                instead(name).unwrap_or("remove the line, or keep this proxy on HAProxy for now"),
            ),
        );
    }

    fn misplaced(
        &mut self,
        line: &Line,
        skip: usize,
        words: usize,
        name: &str,
        places: &[&str],
        place: &str,
    ) {
        let span = line.words[skip].span.to(line.words[skip + words - 1].span);
        let diagnostic = match side::lacks(name, places, place) {
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
        self.tell(match side::counterpart(name) {
            Some(other) if other != "use-server" => {
                diagnostic.help(format!("did you mean '{other}'?"))
            }
            _ => diagnostic,
        });
    }

    fn unknown(&mut self, line: &Line, skip: usize, place: &str) {
        let word = &line.words[skip];
        let next = line.word(skip + 1);
        // The first word may be that of keywords of two words: `option httplgo`.
        let begins = |n: &&'static str| {
            n.strip_prefix(word.str())
                .is_some_and(|rest| rest.starts_with(' '))
        };
        let names = || {
            let mut names: Vec<&'static str> = registry().lines.names_in(place).collect();
            names.sort_unstable();
            names
        };
        let family: Vec<&str> = names().into_iter().filter(begins).collect();
        if !family.is_empty() {
            return self.unknown_second(line, skip, place, &family);
        }
        let mut diagnostic = Diagnostic::error(
            &codes::UNKNOWN_KEYWORD,
            word.span,
            format!("unknown keyword '{}' in '{place}' section", word.text()),
        );
        let text = word.text();
        if matches!(&*text, "if" | "unless") {
            let told = diagnostic.label("a condition must be on the line of its rule");
            return self.tell(told.help("join this line with the one above"));
        }
        if text.contains(NO_BREAK_SPACE) {
            let told = diagnostic.label("contains a no-break space, which does not separate words");
            let spaced = text.replace(NO_BREAK_SPACE, " ");
            return self.tell(told.help("use ordinary spaces").fix(word.span, spaced));
        }
        let two = next.map(|next| format!("{text} {}", next.text()));
        let near = two.and_then(|two| {
            let of_two = names().into_iter().filter(|n| n.contains(' '));
            Some((suggest::nearest(&two, of_two)?, 2))
        });
        let near = near.or_else(|| {
            Some((
                suggest::nearest(&word.text(), names().into_iter().chain(section_names()))?,
                1,
            ))
        });
        if let Some((name, words)) = near {
            let last = (skip + words - 1).min(line.words.len() - 1);
            let span = word.span.to(line.words[last].span);
            diagnostic = diagnostic
                .help(format!("did you mean '{name}'?"))
                .fix(span, name);
            self.refused
                .note(self.section, name.split(' ').next().unwrap_or(name));
            if is_section(name) {
                // What follows belongs to the section that was meant.
                self.end_section();
                self.section = Section::Refused;
            }
        } else if let Some((name, places)) = elsewhere(&text) {
            diagnostic = diagnostic
                .help(format!("did you mean '{name}'?"))
                .note(format!("allowed in: {}", places.join(", ")));
        }
        self.tell(diagnostic);
    }

    /// A first word that is known, with a second word that is not.
    fn unknown_second(&mut self, line: &Line, skip: usize, place: &str, family: &[&str]) {
        let word = &line.words[skip];
        let second = |name: &'_ str| name[word.str().len() + 1..].to_owned();
        let choices: Vec<String> = family.iter().map(|n| second(n)).collect();
        let Some(next) = line.word(skip + 1) else {
            self.tell(
                Diagnostic::error(
                    &codes::MISSING_ARGUMENT,
                    line.end(),
                    format!("'{}' is an incomplete keyword", word.text()),
                )
                .label("a word is missing")
                .note(format!("possible continuations: {}", choices.join(", "))),
            );
            return;
        };
        let mut diagnostic = Diagnostic::error(
            &codes::UNKNOWN_KEYWORD,
            next.span,
            match word.str() {
                "option" => format!("unknown option '{}' in '{place}' section", next.text()),
                first => format!(
                    "unknown keyword '{first} {}' in '{place}' section",
                    next.text()
                ),
            },
        );
        let near = suggest::nearest(&next.text(), choices.iter().map(String::as_str));
        diagnostic = match near {
            Some(near) => diagnostic
                .help(format!("did you mean '{} {near}'?", word.text()))
                .fix(next.span, near),
            None => diagnostic.note(format!(
                "'{}' can continue with: {}",
                word.text(),
                choices.join(", ")
            )),
        };
        self.tell(diagnostic);
    }
}
