//! Sets a process variable for an operator (`set var`): it is built and evaluated like a `set-var`
//! line of `global`.

use super::{Section, one_server};
use crate::family::Args;
use model::config::Config;
use model::rules::{Scope, VariableChange, set_up_process};
use std::sync::Arc;

/// Sets a process variable. `keyword` is `set-var` or `set-var-fmt`; `words` are the name of the
/// variable and the following words.
///
/// # Errors
///
/// Errors in the words, one per line.
pub fn set(config: &Config, keyword: &'static str, words: &[Box<str>]) -> Result<(), String> {
    let mut loader = one_server::loader(config);
    loader.section = Section::Global;
    let line = one_server::line(&mut loader, keyword, words);
    let mut args = Args::new(
        &line,
        1,
        keyword,
        "<name> <expression>",
        &super::codes::OF_ARGUMENTS,
    );
    let built = args.required("the name of a variable").and_then(|word| {
        let change = VariableChange::of_process(&mut loader, &mut args, word)?;
        args.warn_of_surplus()?;
        Ok(change)
    });
    let change = match built {
        Ok(change) if change.scope() == Scope::Process => change,
        Ok(_) => return Err("Only variables of the process (proc.) can be set.".to_owned()),
        Err(diagnostic) => {
            loader.report(diagnostic);
            return Err(one_server::diagnostics_text(&loader));
        }
    };
    if loader.context.diagnostics.errors() > 0 {
        return Err(one_server::diagnostics_text(&loader));
    }
    let mut alone = config.successor();
    alone.global.process_variables = vec![change];
    set_up_process(&Arc::new(alone));
    Ok(())
}
