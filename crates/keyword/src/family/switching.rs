//! Builds `use_backend` lines, whose rules assign a stream to a backend.

use super::{Args, Built, LineRow, places};
use crate::family::Loader;
use language::{ConfigWord, Diagnostic};
use model::config::{Reference, SwitchRule, SwitchTarget};
use model::rules::{Condition, Format, Usage};

pub static LINES: &[LineRow] = language::rows! {
    "use_backend <backend> [{if | unless} <condition>]" places::FRONT_ONLY, use_backend,
        "use_backend static if { path_beg /static/ }",
        "Selects the backend for streams that match the condition. The rules are evaluated in order, and the first \
         match applies; if none matches, `default_backend` does.";
};

fn reference(word: &ConfigWord) -> Reference {
    Reference {
        name: word.text().into(),
        span: word.span,
        index: None,
    }
}

fn use_backend(loader: &mut Loader, args: &mut Args<'_>) -> Built {
    let word = args.required("a backend name")?;
    let target = target(loader, word)?;
    let condition = Condition::parse(loader, args, Usage::USE_BACKEND)?;
    let span = args.line().span;
    loader.proxy().use_backend.push(SwitchRule {
        span,
        target,
        condition,
    });
    Ok(())
}

fn target(loader: &mut Loader, word: &ConfigWord) -> Result<SwitchTarget, Diagnostic> {
    if !word.bytes.contains(&b'%') {
        return Ok(SwitchTarget::Static(reference(word)));
    }
    Format::parse(loader, word, Usage::USE_BACKEND).map(SwitchTarget::Dynamic)
}
