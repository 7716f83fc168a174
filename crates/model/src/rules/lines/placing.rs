//! Warns about rules of HAProxy 1.x at the end of their section, with the current form and the
//! place where it belongs. The current form belongs where the old rule ran, which is not always
//! where its line is: `block` ran before all `http-request` rules, filters after them, and added
//! headers after those.

use super::today::{self, ModernForm, Old, Subject};
use crate::codes;
use crate::rules::draft::ConfigDraft;
use language::{ConfigLine, Diagnostic, Span};

/// Phase in which a rule runs, within its direction.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
enum LegacyPhase {
    Block,
    Filter,
    Addition,
}

#[derive(Clone, Debug)]
struct Rule {
    turn: LegacyPhase,
    response: bool,
    keyword: &'static str,
    word: Span,
    line: Span,
    form: ModernForm,
    subject: Subject,
}

/// Deprecated rules of a section, and the current rules among them.
#[derive(Clone, Debug, Default)]
pub struct Section {
    rules: Vec<Rule>,
    /// Lines of `http-request` and of `http-response`.
    today: [Vec<Span>; 2],
    /// True if a current rule for that direction has the action `allow`, which ends the current
    /// rules but never ended the old ones.
    allows: [bool; 2],
}

fn turn(keyword: &str) -> LegacyPhase {
    match keyword {
        "block" => LegacyPhase::Block,
        "reqadd" | "rspadd" => LegacyPhase::Addition,
        _ => LegacyPhase::Filter,
    }
}

/// Move of a line to another position.
struct Move {
    /// Line next to which the rule belongs; None if the position is correct.
    to: Option<Span>,
}

impl ConfigDraft {
    /// Registers a deprecated rule, which is reported at the end of its section.
    pub fn old_rule(&mut self, keyword: &'static str, line: &ConfigLine) {
        let word = line.words[0].span;
        let form = self.form_of(keyword, line);
        self.old_rules.rules.push(Rule {
            turn: turn(keyword),
            response: keyword.starts_with("rsp"),
            keyword,
            word,
            line: line.span,
            form,
            subject: Subject::of(keyword, line.word(1).map_or("", |word| word.str())),
        });
    }

    /// Registers a line of the current rules, among which old ones may be.
    pub fn rule_of_today(&mut self, keyword: &str, line: &ConfigLine) {
        let at = match keyword {
            "http-request" => 0,
            "http-response" => 1,
            _ => return,
        };
        self.old_rules.today[at].push(line.span);
        self.old_rules.allows[at] |= line.word(1).is_some_and(|word| word.is("allow"));
    }

    fn form_of(&self, keyword: &'static str, line: &ConfigLine) -> ModernForm {
        let condition = line.words.iter().find(|w| w.is("if") || w.is("unless"));
        let condition = condition.map(|word| {
            let span = Span {
                end: line.span.end,
                ..word.span
            };
            self.context.sources.snippet(span).into_owned()
        });
        let whole = self.context.sources.snippet(line.span);
        // Leaves a line with an environment variable to the operator: the variable may have another
        // value later.
        let variable = whole.contains('"') && whole.contains('$');
        let word = |at: usize| line.word(at).map_or("", |word| word.str());
        if variable || line.words.iter().any(|word| word.str().is_empty()) {
            return ModernForm::ByHand(
                "rewrite it by hand: the line contains variables, or bytes that are not UTF-8",
            );
        }
        today::form(&Old {
            keyword,
            first: word(1),
            second: word(2),
            condition: condition.as_deref().unwrap_or_default(),
        })
    }

    /// Reports the deprecated rules of a finished section.
    pub fn end_old_rules(&mut self) {
        let mut section = std::mem::take(&mut self.old_rules);
        section.settle();
        // Sorts the rules by phase, so that several rules moved to one position keep the order in
        // which they run.
        let mut rules: Vec<&Rule> = section.rules.iter().collect();
        rules.sort_by_key(|rule| rule.turn);
        for rule in rules {
            let told = section.tell(rule);
            self.report(told);
        }
    }
}

impl Section {
    pub(crate) fn has_any(&self) -> bool {
        !self.rules.is_empty()
    }

    /// Keeps rules that depend on an unconverted rule. Unconverted rules run after the converted
    /// ones, so a rule cannot be converted if an earlier unconverted rule matches the same lines.
    fn settle(&mut self) {
        for at in 0..self.rules.len() {
            if self.is_needless(at) {
                self.rules[at].form = ModernForm::Line(String::new());
            }
        }
        let turns: Vec<usize> = {
            let mut order: Vec<usize> = (0..self.rules.len()).collect();
            order.sort_by_key(|at| self.rules[*at].turn);
            order
        };
        for (nth, at) in turns.iter().enumerate() {
            let rule = &self.rules[*at];
            if rule.turn == LegacyPhase::Block || matches!(rule.form, ModernForm::ByHand(_)) {
                continue;
            }
            let before = turns.iter().take(nth).map(|at| &self.rules[*at]);
            let bound = before
                .filter(|before| before.response == rule.response)
                .filter(|before| before.turn != LegacyPhase::Block)
                .any(|before| {
                    matches!(before.form, ModernForm::ByHand(_))
                        && before.subject.meets(&rule.subject)
                });
            if bound {
                self.rules[*at].form = ModernForm::ByHand(
                    "it runs after an earlier rule that has no current form, and would run before it; rewrite that \
                     one by hand, then run the upgrade again",
                );
            }
        }
    }

    /// Returns whether a `reqpass` has no effect, because no later rule matches its lines.
    fn is_needless(&self, at: usize) -> bool {
        let rule = &self.rules[at];
        let passes = matches!(rule.keyword, "reqpass" | "reqipass");
        let behind = self.rules.iter().skip(at + 1);
        passes
            && behind
                .filter(|other| !other.response && other.turn == LegacyPhase::Filter)
                .all(|other| !other.subject.meets(&rule.subject))
    }

    fn place(&self, rule: &Rule) -> Move {
        let today = &self.today[usize::from(rule.response)];
        let others = || self.rules.iter().filter(|r| r.response == rule.response);
        let to = match rule.turn {
            LegacyPhase::Block => today
                .first()
                .filter(|first| first.start < rule.line.start)
                .map(|first| Span {
                    end: first.start,
                    ..*first
                }),
            LegacyPhase::Filter => today.last().copied(),
            LegacyPhase::Addition => {
                let filters = others()
                    .filter(|r| r.turn == LegacyPhase::Filter)
                    .map(|r| r.line);
                let last = today.last().map_or(0, |last| last.start);
                today
                    .last()
                    .copied()
                    .into_iter()
                    .chain(filters.filter(|line| line.start > last))
                    .max_by_key(|span| span.start)
            }
        };
        let before = |to: &Span| rule.turn == LegacyPhase::Block || to.start > rule.line.start;
        Move {
            to: to.filter(before).filter(|to| to.file == rule.line.file),
        }
    }

    fn tell(&self, rule: &Rule) -> Diagnostic {
        let told = |message: String| {
            Diagnostic::warning(&codes::LEGACY, rule.word, message).label("removed from HAProxy")
        };
        let line = match &rule.form {
            ModernForm::Line(_)
                if self.allows[usize::from(rule.response)] && rule.turn != LegacyPhase::Block =>
            {
                return told(format!("'{}' is an old form", rule.keyword)).help(
                    "rewrite it by hand: `allow` ends the current rules of this section, but did not end the old ones",
                );
            }
            ModernForm::Line(line) => line,
            ModernForm::ByHand(what) => {
                return told(format!("'{}' is an old form", rule.keyword)).help(*what);
            }
        };
        if line.is_empty() {
            return told(format!(
                "'{}' is an old form, and has no effect here",
                rule.keyword
            ))
            .help("remove the line: no later rule tests such lines")
            .fix(rule.line, "");
        }
        let name = line.splitn(3, ' ').take(2).collect::<Vec<_>>().join(" ");
        let diagnostic = told(format!("'{}' is an old form of '{name}'", rule.keyword));
        match self.place(rule).to {
            None => diagnostic
                .help(format!("write `{line}`"))
                .fix(rule.line, line.as_str()),
            Some(to) if rule.turn == LegacyPhase::Block => diagnostic
                .help(format!(
                    "write `{line}` before the first `http-request` line"
                ))
                .fix(rule.line, "")
                .with_further_fix(to, format!("{line}\n")),
            Some(to) => {
                let behind = Span {
                    start: to.end,
                    ..to
                };
                diagnostic
                    .help(format!(
                        "write `{line}` after the last `{}` line",
                        name_of(rule)
                    ))
                    .fix(rule.line, "")
                    .with_further_fix(behind, format!("\n{line}"))
            }
        }
    }
}

fn name_of(rule: &Rule) -> &'static str {
    if rule.response {
        "http-response"
    } else {
        "http-request"
    }
}
