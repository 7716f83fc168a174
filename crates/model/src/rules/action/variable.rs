//! Implements the actions that set and unset variables, also for health checks and the `global`
//! section.

use super::{ActionResult, ActionRow, Build, RuleAction, places};
use crate::codes as load_codes;
use crate::compiled::action::variable::{SetWhen, VariableChange, VariableSource};
use crate::config::{Config, ListenerIndex, ProxyIndex};
use crate::rules::argument::variable_error_in;
use crate::rules::draft::ConfigDraft;
use crate::rules::format::{Dialect, Format};
use crate::rules::usage::Usage;
use crate::rules::value::{Sample, SampleValue};
use crate::rules::variables::{Scope, VariableName, process_variable};
use crate::transaction::{Endpoint, ProxyStream, Session, of_check, set_variable, unset_variable};
use language::arguments::Args;
use language::{ConfigWord, Diagnostic, suggest};
use std::borrow::Cow;
use std::cmp::Ordering;
use std::rc::Rc;
use std::sync::Arc;

const CONDITIONS: [(&str, SetWhen); 8] = [
    ("ifexists", SetWhen::Exists),
    ("ifnotexists", SetWhen::NotExists),
    ("ifempty", SetWhen::Empty),
    ("ifnotempty", SetWhen::NotEmpty),
    ("ifset", SetWhen::Set),
    ("ifnotset", SetWhen::NotSet),
    ("ifgt", SetWhen::Greater),
    ("iflt", SetWhen::Less),
];

pub(super) static ROWS: &[ActionRow] = language::rows! {
    "set-var(<var>[,<cond>...]) <expr>" places::ALL,
        |loader, build| {
            let (name, conditions) = names(build)?;
            let source = VariableSource::Expression(build.expression(loader)?);
            Ok(action(name, source, conditions))
        },
        "set-var(txn.client) src",
        "Stores the value of an expression in a variable for later rules, log formats and logs. The name begins with \
         its scope: `proc`, `sess`, `txn`, `req` or `res`. The variable is only set if all conditions are true \
         (`ifexists`, `ifnotexists`, `ifempty`, `ifnotempty`, `ifset`, `ifnotset`, `ifgt`, `iflt`).";
    "set-var-fmt(<var>[,<cond>...]) <fmt>" places::ALL,
        |loader, build| {
            let (name, conditions) = names(build)?;
            let word = build.args.required("<fmt>")?;
            let format = Format::parse_as(loader, word, build.usage, Dialect::Text)?;
            Ok(action(name, VariableSource::Format(format), conditions))
        },
        "set-var-fmt(txn.from) %[src]:%[src_port]",
        "Stores the result of a log format in a variable. Otherwise like `set-var`.";
    "unset-var(<var>)" places::ALL,
        |_, build| {
            let (name, conditions) = names(build)?;
            Ok(action(name, VariableSource::Unset, conditions))
        },
        "unset-var(txn.client)",
        "Deletes a variable; see `set-var` for the names.";
};

fn action(name: VariableName, source: VariableSource, conditions: Vec<SetWhen>) -> RuleAction {
    RuleAction::Variable(Box::new(VariableChange {
        name,
        source,
        conditions: conditions.into(),
    }))
}

/// Parses the name in the parentheses, and the conditions after it.
fn names(build: &Build<'_, '_>) -> Result<(VariableName, Vec<SetWhen>), Diagnostic> {
    let Some(list) = build.list else {
        return Err(build.wrong(
            &load_codes::MISSING_ARGUMENT,
            build.word,
            format!(
                "'{}' expects a variable name in parentheses",
                build.word.text()
            ),
            "the name in parentheses is missing",
        ));
    };
    let mut parts = list.split(',').map(str::trim);
    let text = parts.next().unwrap_or_default();
    let name =
        VariableName::parse(text).map_err(|error| variable_error_in(error, text, build.word))?;
    let mut conditions = Vec::new();
    for part in parts {
        let Some((_, condition)) = CONDITIONS.iter().find(|(known, _)| *known == part) else {
            let message = format!("unknown condition '{part}' of a variable");
            let diagnostic =
                build.wrong(&load_codes::BAD_VALUE, build.word, message, "in this list");
            return Err(diagnostic.suggest(suggest::nearest(
                part,
                CONDITIONS.iter().map(|(known, _)| *known),
            )));
        };
        conditions.push(*condition);
    }
    Ok((name, conditions))
}

impl VariableChange {
    pub(super) fn run(&self, stream: &mut ProxyStream) -> ActionResult {
        self.apply(stream);
        ActionResult::Next
    }

    pub fn apply(&self, stream: &mut ProxyStream) {
        let value = match &self.source {
            VariableSource::Unset => {
                unset_variable(stream, self.name);
                return;
            }
            VariableSource::Expression(expression) => {
                expression.evaluate(stream).map(SampleValue::into_owned)
            }
            VariableSource::Format(format) => {
                Some(SampleValue::Str(Cow::Owned(format.fill(stream))))
            }
        };
        let Some(value) = value else { return };
        if self
            .conditions
            .iter()
            .all(|condition| condition.holds(self.name, &value, stream))
        {
            set_variable(stream, self.name, value);
        }
    }

    /// Parses the words after `tcp-check` or `http-check`. `word` is `set-var(…)`, `set-var-fmt(…)`
    /// or `unset-var(…)`.
    ///
    /// # Errors
    /// The name of the variable is missing or invalid, or a condition is unknown. The expression or
    /// the format is missing or invalid.
    pub fn of_check<'l>(
        loader: &mut ConfigDraft,
        args: &mut Args<'l>,
        word: &'l ConfigWord,
    ) -> Result<VariableChange, Diagnostic> {
        let text = word.str();
        let list = text
            .split_once('(')
            .and_then(|(_, rest)| rest.strip_suffix(')'));
        let what = text.split('(').next().unwrap_or_default();
        VariableChange::outside(loader, args, word, list, what, Usage::CHECK)
    }

    /// Parses the words after `set-var` or `set-var-fmt` in `global`. `word` is the name of the
    /// variable.
    ///
    /// # Errors
    /// Fails in the same cases as [`Self::of_check`].
    pub fn of_process<'l>(
        loader: &mut ConfigDraft,
        args: &mut Args<'l>,
        word: &'l ConfigWord,
    ) -> Result<VariableChange, Diagnostic> {
        let (what, name) = (args.keyword, word.str());
        VariableChange::outside(loader, args, word, Some(name), what, Usage::TCP_CONNECTION)
    }

    /// Parses a change that is not part of a rule.
    fn outside<'l>(
        loader: &mut ConfigDraft,
        args: &mut Args<'l>,
        word: &'l ConfigWord,
        list: Option<&'l str>,
        what: &str,
        usage: Usage,
    ) -> Result<VariableChange, Diagnostic> {
        let mut build = Build {
            args,
            word,
            list,
            set: super::RuleSet::HttpRequest,
            usage,
        };
        let (name, conditions) = names(&build)?;
        let source = match what {
            "unset-var" => VariableSource::Unset,
            "set-var-fmt" => {
                let word = build.args.required("<fmt>")?;
                VariableSource::Format(Format::parse_as(loader, word, usage, Dialect::Text)?)
            }
            _ => VariableSource::Expression(build.expression(loader)?),
        };
        Ok(VariableChange {
            name,
            source,
            conditions: conditions.into(),
        })
    }

    pub fn scope(&self) -> Scope {
        self.name.scope()
    }
}

/// Sets the process variables to the values that `global` configures.
pub fn set_up_process(config: &Arc<Config>) {
    let changes = &config.global.process_variables;
    if changes.is_empty() || config.proxies.is_empty() {
        return;
    }
    // Names a listener that does not exist. No listener of this stream is ever looked up.
    let place = ListenerIndex {
        frontend: ProxyIndex(0),
        bind: u32::MAX,
    };
    let session = Session::new(Arc::clone(config), place, Endpoint::Unix, Endpoint::Unix);
    let mut stream = of_check(Rc::new(session), false);
    for change in changes {
        change.apply(&mut stream);
    }
}

impl SetWhen {
    pub(in crate::rules) fn named(name: &str) -> Option<SetWhen> {
        let found = CONDITIONS.iter().find(|(known, _)| *known == name);
        found.map(|(_, condition)| *condition)
    }

    /// Returns whether the condition is true for a variable and its new value.
    pub(in crate::rules) fn holds(
        self,
        name: VariableName,
        new: &SampleValue<'_>,
        stream: &ProxyStream,
    ) -> bool {
        let empty = || matches!(new, SampleValue::Str(s) | SampleValue::Bin(s) if s.is_empty());
        match self {
            SetWhen::Empty => empty(),
            SetWhen::NotEmpty => !empty(),
            SetWhen::Exists => name.scope() == Scope::Process || get(stream, name).is_some(),
            SetWhen::NotExists => name.scope() != Scope::Process && get(stream, name).is_none(),
            SetWhen::Set => get(stream, name).is_some(),
            SetWhen::NotSet => get(stream, name).is_none(),
            SetWhen::Greater => compare(stream, name, new).is_none_or(Ordering::is_gt),
            SetWhen::Less => compare(stream, name, new).is_none_or(Ordering::is_lt),
        }
    }
}

fn compare(stream: &ProxyStream, name: VariableName, new: &SampleValue<'_>) -> Option<Ordering> {
    match (get(stream, name)?, new) {
        (SampleValue::Int(old), SampleValue::Int(new)) => Some(old.cmp(new)),
        _ => None,
    }
}

fn get(stream: &ProxyStream, name: VariableName) -> Sample<'static> {
    match name.scope() {
        Scope::Process => process_variable(name),
        Scope::Session => stream.session.variables.borrow().get(name).cloned(),
        _ => match stream.rules.assigned.get(name) {
            Some(newer) => newer,
            None => stream.rules.variables.get(name).cloned(),
        },
    }
}
