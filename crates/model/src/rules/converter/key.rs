//! Reads the keys and other cryptographic arguments of converters: bytes in Base64 in the file, or
//! a variable that holds them in Base64.

use crate::rules::argument::{Argument, Arguments, bad_argument, variable_error};
use crate::rules::fetch::variable_value;
use crate::rules::variables::{VariableName, VariableNameError};
use crate::transaction::ProxyStream;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use language::arguments::Built;
use language::{Diagnostic, Span};
use std::borrow::Cow;

/// Converts the n-th argument to a variable, if it is the name of one.
pub(super) fn maybe_variable(
    arguments: &mut Arguments,
    n: usize,
    span: Span,
) -> Result<bool, Diagnostic> {
    let text = String::from_utf8_lossy(arguments.text(n).unwrap_or(b"")).into_owned();
    match VariableName::parse(&text) {
        Ok(name) => {
            arguments.list[n] = Some(Argument::Variable(name));
            Ok(true)
        }
        Err(error @ VariableNameError::TooMany) => Err(variable_error(error, &text, span)),
        Err(_) => Ok(false),
    }
}

/// Converts the n-th argument to a variable, or decodes it from Base64.
pub(super) fn prepare(arguments: &mut Arguments, n: usize, span: Span) -> Built {
    if maybe_variable(arguments, n, span)? {
        return Ok(());
    }
    match STANDARD.decode(arguments.text(n).unwrap_or(b"")) {
        Ok(bytes) => {
            arguments.list[n] = Some(Argument::Text(bytes.into()));
            Ok(())
        }
        Err(_) => Err(bad_argument(
            span,
            format!("argument {} is neither a variable nor Base64", n + 1),
        )),
    }
}

/// Returns the bytes of a prepared argument; None if its variable has no valid value.
pub(super) fn secret<'a>(
    arguments: &'a Arguments,
    n: usize,
    stream: &'a ProxyStream,
) -> Option<Cow<'a, [u8]>> {
    match arguments.variable(n) {
        Some(name) => {
            let value = variable_value(name, stream)?;
            let bytes = value.with_text(|text| STANDARD.decode(text));
            bytes.ok().map(Cow::Owned)
        }
        None => arguments.text(n).map(Cow::Borrowed),
    }
}
