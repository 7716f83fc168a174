//! Sets and removes variables of a stream, its session and the process, within the limits of the
//! configuration.

use super::ProxyStream;
use crate::config::VariablesMax;
use crate::sample::variables::{set_process_variable, unset_process_variable};
use crate::sample::{Sample, SampleValue, Scope, VariableName};

/// Returns the lowest limit for a scope. Each limit also includes the shorter-lived scopes.
fn limit(max: &VariablesMax, scope: Scope) -> Option<usize> {
    let limits: &[Option<usize>] = match scope {
        Scope::Process => &[max.global, max.process],
        Scope::Session => &[max.global, max.session],
        Scope::Transaction => &[max.global, max.session, max.transaction],
        Scope::Request | Scope::Response => {
            &[max.global, max.session, max.transaction, max.message]
        }
        Scope::Check => &[max.global, max.session, max.check],
    };
    limits.iter().copied().flatten().min()
}

/// Sets a variable; one that exceeds a limit is not set.
pub fn set(stream: &mut ProxyStream, name: VariableName, value: SampleValue<'static>) {
    let bytes_max = limit(&stream.config.global.tune.variables_max, name.scope());
    match name.scope() {
        Scope::Process => set_process_variable(name, value, bytes_max),
        Scope::Session => stream
            .session
            .variables
            .borrow_mut()
            .set(name, value, bytes_max),
        _ => stream.rules.variables.set(name, value, bytes_max),
    };
}

pub fn unset(stream: &mut ProxyStream, name: VariableName) {
    match name.scope() {
        Scope::Process => unset_process_variable(name),
        Scope::Session => stream.session.variables.borrow_mut().unset(name),
        _ => stream.rules.variables.unset(name),
    }
}

/// Sets a variable of the session or the process, which works with a shared stream. Returns the
/// value if the variable is one of the stream.
pub fn set_of_session(
    stream: &ProxyStream,
    name: VariableName,
    value: SampleValue<'static>,
) -> Sample<'static> {
    let bytes_max = limit(&stream.config.global.tune.variables_max, name.scope());
    match name.scope() {
        Scope::Process => set_process_variable(name, value, bytes_max),
        Scope::Session => {
            let mut variables = stream.session.variables.borrow_mut();
            variables.set(name, value, bytes_max)
        }
        _ => return Some(value),
    };
    None
}

/// Unsets a variable of the session or the process. Returns whether it is one.
pub fn unset_of_session(stream: &ProxyStream, name: VariableName) -> bool {
    match name.scope() {
        Scope::Process => unset_process_variable(name),
        Scope::Session => stream.session.variables.borrow_mut().unset(name),
        _ => return false,
    }
    true
}
