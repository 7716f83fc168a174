//! Stores variables: values that rules set under a name for later rules, in scopes with different
//! lifetimes. Names are interned when a file is loaded, so that a lookup only compares numbers.
//! This module evaluates nothing.

use super::value::{Sample, SampleValue};
use std::collections::HashMap;
use std::sync::{Mutex, OnceLock, PoisonError, RwLock};

/// Scope of a variable, which determines its lifetime.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
#[repr(u8)]
pub enum Scope {
    /// `proc`: lifetime of the process.
    Process,
    /// `sess`: lifetime of the client's connection.
    Session,
    /// `txn`: one request and its response.
    Transaction,
    /// `req`: processing of the request.
    Request,
    /// `res`: processing of the response.
    Response,
    Check,
}

impl Scope {
    const NAMES: [(&'static str, Scope); 6] = [
        ("proc", Scope::Process),
        ("sess", Scope::Session),
        ("txn", Scope::Transaction),
        ("req", Scope::Request),
        ("res", Scope::Response),
        ("check", Scope::Check),
    ];
}

/// Interned name of a variable: scope and number.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct VariableName {
    scope: Scope,
    id: u32,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum VariableNameError {
    /// The name does not begin with a scope and a dot.
    Scope,
    /// The name has nothing after the scope.
    Empty,
    /// The character at this offset is not allowed in a name.
    Character(usize),
    /// The process has more than [`NAMES_MAX`] names.
    TooMany,
}

/// Maximum number of variable names in one process. Only configurations can add names, not
/// clients.
pub const NAMES_MAX: usize = 65_536;
/// Maximum size of one value, in bytes. Rules can build a value from itself and from client data,
/// for every request of a connection.
const VALUE_BYTES_MAX: usize = 1 << 20;

/// Size that is counted for each variable in addition to its value, in bytes.
pub const VARIABLE_OVERHEAD: usize = 64;

fn interned() -> &'static Mutex<HashMap<Box<str>, u32>> {
    static NAMES: OnceLock<Mutex<HashMap<Box<str>, u32>>> = OnceLock::new();
    NAMES.get_or_init(Mutex::default)
}

impl VariableName {
    /// Parses a name such as `txn.user` and interns it.
    ///
    /// # Errors
    /// `Scope`, `Empty` or `Character` if the name is malformed. `TooMany` if it is new and the
    /// process has [`NAMES_MAX`] names.
    pub fn parse(text: &str) -> Result<Self, VariableNameError> {
        let (scope, name) = text.split_once('.').ok_or(VariableNameError::Scope)?;
        let Some((_, scope_found)) = Scope::NAMES.iter().find(|(known, _)| *known == scope) else {
            return Err(VariableNameError::Scope);
        };
        if name.is_empty() {
            return Err(VariableNameError::Empty);
        }
        let bad = |c: char| !(c.is_ascii_alphanumeric() || c == '.' || c == '_');
        if let Some(at) = name.find(bad) {
            return Err(VariableNameError::Character(scope.len() + 1 + at));
        }
        let mut names = interned().lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(id) = names.get(name) {
            return Ok(VariableName {
                scope: *scope_found,
                id: *id,
            });
        }
        if names.len() >= NAMES_MAX {
            return Err(VariableNameError::TooMany);
        }
        let id = names.len() as u32;
        names.insert(name.into(), id);
        Ok(VariableName {
            scope: *scope_found,
            id,
        })
    }

    /// Returns the interned name for a text, if a configuration has defined it.
    pub fn known(text: &str) -> Option<Self> {
        let (scope, name) = text.split_once('.')?;
        let (_, scope) = Scope::NAMES.iter().find(|(known, _)| *known == scope)?;
        let names = interned().lock().unwrap_or_else(PoisonError::into_inner);
        let id = *names.get(name)?;
        Some(VariableName { scope: *scope, id })
    }

    pub fn scope(self) -> Scope {
        self.scope
    }
}

/// Variables of one or more scopes, sorted by name. They are few, so a vector suffices.
#[derive(Clone, Debug, Default)]
pub struct Variables {
    list: Vec<(VariableName, SampleValue<'static>)>,
    bytes: usize,
}

impl Variables {
    pub const fn new() -> Self {
        Variables {
            list: Vec::new(),
            bytes: 0,
        }
    }

    fn find(&self, name: VariableName) -> Result<usize, usize> {
        self.list.binary_search_by_key(&name, |(n, _)| *n)
    }

    pub fn get(&self, name: VariableName) -> Option<&SampleValue<'static>> {
        self.find(name).ok().map(|at| &self.list[at].1)
    }

    /// Sets a variable, unless the total size would exceed `bytes_max` (`tune.vars.…-max-size`).
    /// Returns whether it was set.
    pub fn set(
        &mut self,
        name: VariableName,
        value: SampleValue<'static>,
        bytes_max: Option<usize>,
    ) -> bool {
        let found = self.find(name);
        let before = found.map_or(0, |at| VARIABLE_OVERHEAD + self.list[at].1.size());
        let bytes = self.bytes - before + VARIABLE_OVERHEAD + value.size();
        if bytes_max.is_some_and(|max| bytes > max) || value.size() > VALUE_BYTES_MAX {
            return false;
        }
        self.bytes = bytes;
        match found {
            Ok(at) => self.list[at].1 = value,
            Err(at) => self.list.insert(at, (name, value)),
        }
        true
    }

    pub fn unset(&mut self, name: VariableName) {
        if let Ok(at) = self.find(name) {
            let (_, value) = self.list.remove(at);
            self.bytes -= VARIABLE_OVERHEAD + value.size();
        }
    }

    pub fn end_scope(&mut self, scope: Scope) {
        self.list.retain(|(name, _)| name.scope != scope);
        self.bytes = self
            .list
            .iter()
            .map(|(_, value)| VARIABLE_OVERHEAD + value.size())
            .sum();
    }

    pub fn clear(&mut self) {
        self.list.clear();
        self.bytes = 0;
    }

    /// Returns the total size of the variables in bytes, to which `tune.vars.…-max-size` applies.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }
}

/// Variables of the scope `proc`. Threads share them; the lock is held only while a value is
/// copied.
static PROCESS: RwLock<Variables> = RwLock::new(Variables::new());

pub fn process_variable(name: VariableName) -> Sample<'static> {
    PROCESS
        .read()
        .unwrap_or_else(PoisonError::into_inner)
        .get(name)
        .cloned()
}

pub fn set_process_variable(
    name: VariableName,
    value: SampleValue<'static>,
    bytes_max: Option<usize>,
) -> bool {
    PROCESS
        .write()
        .unwrap_or_else(PoisonError::into_inner)
        .set(name, value, bytes_max)
}

pub fn unset_process_variable(name: VariableName) {
    PROCESS
        .write()
        .unwrap_or_else(PoisonError::into_inner)
        .unset(name);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> VariableName {
        VariableName::parse(text).unwrap()
    }

    #[test]
    fn names_are_a_scope_and_a_word() {
        assert_eq!(name("txn.a.b_1").scope(), Scope::Transaction);
        assert_eq!(name("txn.same"), name("txn.same"));
        assert_ne!(name("txn.same"), name("req.same"));
        for (text, error) in [
            ("foo", VariableNameError::Scope),
            ("foo.bar", VariableNameError::Scope),
            ("txn.", VariableNameError::Empty),
            ("txn.f+", VariableNameError::Character(5)),
        ] {
            assert_eq!(VariableName::parse(text), Err(error), "{text}");
        }
    }

    #[test]
    fn a_value_that_grows_by_itself_ends_growing() {
        let mut variables = Variables::default();
        let mut bytes = 1;
        while variables.set(
            name("sess.a"),
            SampleValue::bytes(&vec![b'a'; bytes]).into_owned(),
            None,
        ) {
            bytes *= 2;
        }
        assert_eq!(bytes, 2 * VALUE_BYTES_MAX);
        assert!(variables.bytes() <= VALUE_BYTES_MAX + VARIABLE_OVERHEAD);
    }

    #[test]
    fn a_scope_ends_alone() {
        let mut variables = Variables::default();
        assert!(variables.set(name("req.a"), SampleValue::Int(1), None));
        assert!(variables.set(name("txn.a"), SampleValue::Int(2), None));
        assert!(variables.set(name("res.a"), SampleValue::Int(3), None));
        variables.end_scope(Scope::Request);
        assert_eq!(variables.get(name("req.a")), None);
        assert_eq!(variables.get(name("txn.a")), Some(&SampleValue::Int(2)));
        assert_eq!(variables.bytes(), 2 * VARIABLE_OVERHEAD);
    }

    #[test]
    fn what_goes_over_the_limit_is_not_set_and_the_old_value_stays() {
        let mut variables = Variables::default();
        let max = Some(VARIABLE_OVERHEAD + 4);
        assert!(variables.set(name("txn.limited"), SampleValue::text(b"four"), max));
        assert!(!variables.set(name("txn.limited"), SampleValue::text(b"fives"), max));
        assert!(!variables.set(name("txn.second"), SampleValue::Int(1), max));
        assert_eq!(
            variables.get(name("txn.limited")),
            Some(&SampleValue::text(b"four"))
        );
        variables.unset(name("txn.limited"));
        assert_eq!(variables.bytes(), 0);
        assert!(variables.is_empty());
    }
}
