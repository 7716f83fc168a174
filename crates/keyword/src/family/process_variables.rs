//! Builds `set-var` and `set-var-fmt` of `global`: process variables that have a value before the
//! first connection.

use super::places::GLOBAL;
use super::{Args, Built, LineRow};
use crate::family::Loader;
use model::codes;
use model::rules::{Scope, VariableChange};

fn set(loader: &mut Loader, args: &mut Args<'_>) -> Built {
    let word = args.required("the name of a variable")?;
    let change = VariableChange::of_process(loader, args, word)?;
    if change.scope() != Scope::Process {
        let message = format!("'{}' is not a process variable", word.text());
        return Err(args
            .word_error(&codes::BAD_VALUE, word, message)
            .help("begin its name with `proc.`"));
    }
    loader.config.global.process_variables.push(change);
    args.warn_of_surplus()
}

pub static LINES: &[LineRow] = language::rows! {
    "set-var <name> <expr>" GLOBAL, set, "set-var proc.limit int(100)",
        "Sets a process variable (`proc.…`) to the value of an expression, at the start and at each reload. Lines can \
         use the variables of earlier lines.";
    "set-var-fmt <name> <fmt>" GLOBAL, set, "set-var-fmt proc.site \"%[env(SITE)] of %[hostname]\"",
        "Sets a process variable to the result of a log format; otherwise like `set-var`.";
};

#[cfg(test)]
mod tests {
    use crate::testing::load_text;
    use model::rules::{VariableName, process_variable, set_up_process};
    use std::sync::Arc;

    #[test]
    fn lines_set_variables_of_the_process_one_after_the_other() {
        let loaded = load_text(
            "global\n set-var proc.global_a int(12)\n \
             set-var proc.global_b var(proc.global_none,60),div(proc.global_a)\n \
             set-var proc.global_c str(\"a b\")\n \
             set-var-fmt proc.global_c \"%[var(proc.global_c)] of %[var(proc.global_b)]\"\n\
             listen l\n bind :1\n mode http\n",
        );
        let config = Arc::new(loaded.config.expect("a configuration"));
        set_up_process(&config);
        let text = |name: &str| {
            let name = VariableName::parse(name).unwrap();
            let value = process_variable(name).expect("a value").into_text();
            String::from_utf8(value.into_owned()).unwrap()
        };
        assert_eq!(text("proc.global_b"), "5");
        assert_eq!(text("proc.global_c"), "a b of 5");
    }

    #[test]
    fn only_variables_of_the_process_are_set_there() {
        for (line, says) in [
            ("set-var sess.a int(1)", "is not a process variable"),
            ("set-var a int(1)", "must begin with its scope"),
            ("set-var proc.a req.hdr(x)", "cannot be used"),
        ] {
            let loaded = load_text(&format!("global\n {line}\n"));
            let told = loaded.diagnostics.iter().map(|one| one.message.to_string());
            let told: Vec<String> = told.collect();
            assert!(loaded.config.is_none(), "{line}");
            assert!(
                told.iter().any(|one| one.contains(says)),
                "{line}: {told:?}"
            );
        }
    }
}
