//! Variables: values that rules keep under a name for later rules, in scopes
//! that end at different times. Names are interned when a file is loaded, so
//! that looking one up compares numbers only. This module evaluates nothing.

use super::value::Value;
use std::collections::HashMap;
use std::sync::{Mutex, OnceLock, PoisonError, RwLock};

/// How long a variable lives.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
#[repr(u8)]
pub enum Scope {
    /// `proc`: as long as the process.
    Process,
    /// `sess`: as long as the client's connection.
    Session,
    /// `txn`: one request and its answer.
    Transaction,
    /// `req`: while the request is worked on.
    Request,
    /// `res`: while the answer is worked on.
    Response,
    /// `check`: one health check.
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

/// The name of a variable, interned: scope and number.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct VariableName {
    scope: Scope,
    id: u32,
}

/// What is wrong with the name of a variable.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum VariableNameError {
    /// It does not begin with a scope and a dot.
    Scope,
    /// Nothing stands behind the scope.
    Empty,
    /// A character at this place is none that a name may hold.
    Character(usize),
    /// More than [`NAMES_MAX`] names in one process.
    TooMany,
}

/// Most names that one process knows. They come from configurations only.
pub const NAMES_MAX: usize = 65_536;
/// Bytes of one value at most: rules can make a value out of itself and of what a
/// client sends, for every request of a connection.
const VALUE_BYTES_MAX: usize = 1 << 20;

/// Bytes counted for each variable besides its value.
pub const VARIABLE_OVERHEAD: usize = 64;

fn interned() -> &'static Mutex<HashMap<Box<str>, u32>> {
    static NAMES: OnceLock<Mutex<HashMap<Box<str>, u32>>> = OnceLock::new();
    NAMES.get_or_init(Mutex::default)
}

impl VariableName {
    /// The name that a text like `txn.user` stands for.
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

    /// The name that a text stands for, where a configuration has named it.
    pub fn known(text: &str) -> Option<Self> {
        let (scope, name) = text.split_once('.')?;
        let (_, scope) = Scope::NAMES.iter().find(|(known, _)| *known == scope)?;
        let names = interned().lock().unwrap_or_else(PoisonError::into_inner);
        let id = *names.get(name)?;
        Some(VariableName { scope: *scope, id })
    }

    /// How long it lives.
    pub fn scope(self) -> Scope {
        self.scope
    }
}

/// Variables of one or more scopes, sorted by name. There are few, so they
/// stand in one vector.
#[derive(Clone, Debug, Default)]
pub struct Variables {
    list: Vec<(VariableName, Value<'static>)>,
    bytes: usize,
}

impl Variables {
    /// None yet.
    pub const fn new() -> Self {
        Variables {
            list: Vec::new(),
            bytes: 0,
        }
    }

    fn find(&self, name: VariableName) -> Result<usize, usize> {
        self.list.binary_search_by_key(&name, |(n, _)| *n)
    }

    /// The value of one.
    pub fn get(&self, name: VariableName) -> Option<&Value<'static>> {
        self.find(name).ok().map(|at| &self.list[at].1)
    }

    /// Sets one, unless all would count more than `bytes_max` then
    /// (`tune.vars.…-max-size`); says whether it was set.
    pub fn set(
        &mut self,
        name: VariableName,
        value: Value<'static>,
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

    /// Forgets one.
    pub fn unset(&mut self, name: VariableName) {
        if let Ok(at) = self.find(name) {
            let (_, value) = self.list.remove(at);
            self.bytes -= VARIABLE_OVERHEAD + value.size();
        }
    }

    /// Forgets all of a scope, when it ends.
    pub fn end_scope(&mut self, scope: Scope) {
        self.list.retain(|(name, _)| name.scope != scope);
        self.bytes = self
            .list
            .iter()
            .map(|(_, value)| VARIABLE_OVERHEAD + value.size())
            .sum();
    }

    /// Forgets all.
    pub fn clear(&mut self) {
        self.list.clear();
        self.bytes = 0;
    }

    /// Bytes that all count, for the limits.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }
}

/// Variables of the scope `proc`. Threads share them; the lock is held for a
/// copy only.
static PROCESS: RwLock<Variables> = RwLock::new(Variables::new());

/// The value of a variable of the process.
pub fn process_variable(name: VariableName) -> Option<Value<'static>> {
    PROCESS
        .read()
        .unwrap_or_else(PoisonError::into_inner)
        .get(name)
        .cloned()
}

/// Sets a variable of the process; see [`Variables::set`].
pub fn set_process_variable(
    name: VariableName,
    value: Value<'static>,
    bytes_max: Option<usize>,
) -> bool {
    PROCESS
        .write()
        .unwrap_or_else(PoisonError::into_inner)
        .set(name, value, bytes_max)
}

/// Forgets a variable of the process.
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
            Value::bytes(&vec![b'a'; bytes]).into_owned(),
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
        assert!(variables.set(name("req.a"), Value::Int(1), None));
        assert!(variables.set(name("txn.a"), Value::Int(2), None));
        assert!(variables.set(name("res.a"), Value::Int(3), None));
        variables.end_scope(Scope::Request);
        assert_eq!(variables.get(name("req.a")), None);
        assert_eq!(variables.get(name("txn.a")), Some(&Value::Int(2)));
        assert_eq!(variables.bytes(), 2 * VARIABLE_OVERHEAD);
    }

    #[test]
    fn what_goes_over_the_limit_is_not_set_and_the_old_value_stays() {
        let mut variables = Variables::default();
        let max = Some(VARIABLE_OVERHEAD + 4);
        assert!(variables.set(name("txn.limited"), Value::text(b"four"), max));
        assert!(!variables.set(name("txn.limited"), Value::text(b"fives"), max));
        assert!(!variables.set(name("txn.second"), Value::Int(1), max));
        assert_eq!(
            variables.get(name("txn.limited")),
            Some(&Value::text(b"four"))
        );
        variables.unset(name("txn.limited"));
        assert_eq!(variables.bytes(), 0);
        assert!(variables.is_empty());
    }
}
