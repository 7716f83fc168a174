//! The keyword `use_backend`: rules that lead a stream to a backend.

use super::{Args, Built, LineRow, places};
use crate::config::{Reference, SwitchRule, SwitchTarget};
use crate::load::{Loader, codes};
use crate::rules::{Condition, Usage};
use language::{Diagnostic, Word};

/// The rows of this family.
pub static LINES: &[LineRow] = &[LineRow {
    name: "use_backend",
    places: places::FRONT_ONLY,
    syntax: "use_backend <backend> [{if | unless} <condition>]",
    doc: "Leads the streams for which the condition is true to a backend. The rules are tried in their order and the first that applies decides; \
              without one `default_backend` does.",
    example: "use_backend static if { path_beg /static/ }",
    build: use_backend,
}];

fn reference(word: &Word) -> Reference {
    Reference {
        name: word.text().into(),
        span: word.span,
        index: None,
    }
}

fn use_backend(loader: &mut Loader, args: &mut Args<'_>) -> Built {
    let word = args.required("a backend name")?;
    let target = target(word)?;
    let condition = Condition::parse(loader, args, Usage::USE_BACKEND)?;
    let span = args.line().span;
    loader.proxy().use_backend.push(SwitchRule {
        span,
        target,
        condition,
    });
    Ok(())
}

/// A name, or a format that makes one for each request.
fn target(word: &Word) -> Result<SwitchTarget, Box<Diagnostic>> {
    if !word.bytes.contains(&b'%') {
        return Ok(SwitchTarget::Static(reference(word)));
    }
    Err(Box::new(
        Diagnostic::error(
            &codes::NOT_BUILT,
            word.span,
            "backends named by a format are known, but not built yet",
        )
        .label("Evenkeel does not do this yet")
        .help("write a rule for each backend"),
    ))
}
