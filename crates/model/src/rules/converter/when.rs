//! Implements the converter that returns its input only under a condition, for example for the log
//! line of a failed stream only.

use super::{ConverterBuild, ConverterRow, rows};
use crate::compiled::Condition;
use crate::log::is_error;
use crate::rules::argument::{Argument, ArgumentKind, Arguments, bad_argument};
use crate::rules::condition::TestResult;
use crate::rules::draft::ConfigDraft;
use crate::rules::value::{Sample, SampleValue, Type};
use crate::thread;
use crate::transaction::ProxyStream;
use language::Span;
use language::arguments::Built;
use std::sync::Arc;

pub(super) static ROWS: &[ConverterRow] = rows! {
    "when([!]<condition>[,<acl>])", ConverterBuild::new(Type::Any, Type::Any, when).takes(&[ArgumentKind::Text, ArgumentKind::Text], 1).prepare(prepare),
        "acl example path,when(forwarded) -m found",
        "Passes the value on if a condition is true; otherwise there is no value. Conditions are `error` (a failure, \
         as for `option dontlog-normal`), `normal`, `forwarded` (a server was used), `toapplet` (the proxy itself \
         responds), `processed` (either of both), `stopping` (the process is in a soft stop), and `acl` with a name. \
         `!` negates it.";
};

/// Conditions, by the number that the argument is converted to.
const CONDITIONS: [&str; 7] = [
    "error",
    "normal",
    "forwarded",
    "toapplet",
    "processed",
    "stopping",
    "acl",
];

fn prepare(loader: &mut ConfigDraft, arguments: &mut Arguments, span: Span) -> Built {
    let text = String::from_utf8_lossy(arguments.text(0).unwrap_or_default()).into_owned();
    let (turned, name) = match text.strip_prefix('!') {
        Some(name) => (true, name),
        None => (false, &*text),
    };
    let Some(which) = CONDITIONS.iter().position(|known| *known == name) else {
        let message = format!("expected one of the conditions {}", CONDITIONS.join(", "));
        return Err(bad_argument(span, message));
    };
    let acl = match (name, arguments.text(1)) {
        ("acl", Some(acl)) => {
            let acl = String::from_utf8_lossy(acl).into_owned();
            let condition = Condition::of_names(loader, std::iter::once(&*acl), span);
            let condition =
                condition.map_err(|name| bad_argument(span, format!("ACL '{name}' not found")))?;
            Some(Argument::Acls(Arc::new(condition)))
        }
        ("acl", None) => return Err(bad_argument(span, "the ACL name is missing".into())),
        (_, None) => None,
        (_, Some(_)) => return Err(bad_argument(span, "only `acl` takes a name".into())),
    };
    arguments.list = vec![
        Some(Argument::Int(which as i64)),
        Some(Argument::Bool(turned)),
        acl,
    ];
    Ok(())
}

fn when<'a>(arguments: &Arguments, value: SampleValue<'a>, stream: &ProxyStream) -> Sample<'a> {
    let forwarded = stream.times.connected.is_some();
    let which = usize::try_from(arguments.int(0)?).ok()?;
    let holds = match *CONDITIONS.get(which)? {
        "error" => is_error(stream),
        "normal" => !is_error(stream),
        "forwarded" => forwarded,
        "toapplet" => stream.outcome.local,
        "processed" => forwarded || stream.outcome.local,
        "stopping" => thread::running().is_some_and(|thread| thread.process.stopping()),
        _ => arguments.acls(2)?.run(stream) == TestResult::Pass,
    };
    (holds != arguments.bool(1)?).then_some(value)
}

#[cfg(test)]
mod tests {
    use crate::transaction::{Termination, sample};

    #[test]
    fn a_value_passes_where_its_condition_holds() {
        let mut stream = sample::request(b"GET / HTTP/1.1\r\n\r\n");
        let given = |stream: &_, expression: &str| sample::evaluate(expression, stream).is_some();
        for (expression, wanted) in [
            ("str(a),when(normal)", true),
            ("str(a),when(!normal)", false),
            ("str(a),when(error)", false),
            ("str(a),when(forwarded)", false),
            ("str(a),when(!stopping)", true),
            ("path,when(acl,METH_GET)", true),
            ("path,when(!acl,METH_GET)", false),
        ] {
            assert_eq!(given(&stream, expression), wanted, "{expression}");
        }
        stream.outcome.termination = Termination::ServerAbort;
        assert!(given(&stream, "str(a),when(error)"));
        let usage = crate::rules::Usage::LOG;
        for bad in ["str(a),when(x)", "str(a),when(acl)", "str(a),when(error,x)"] {
            assert!(sample::expression(bad, usage).is_err(), "{bad}");
        }
    }
}
