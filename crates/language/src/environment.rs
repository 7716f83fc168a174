//! The environment that a configuration sees: the variables of the process,
//! changed by `setenv`, `presetenv`, `unsetenv` and `resetenv` while the file
//! is read. It is a value: nothing here touches the environment of the
//! running process, which only its owner may change.

use std::collections::BTreeMap;

/// Variables by name, in the order of their names.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Environment {
    variables: BTreeMap<String, Vec<u8>>,
}

impl Environment {
    /// No variable at all.
    pub fn empty() -> Self {
        Self::default()
    }

    /// What this process was started with. A name that is not UTF-8 could not
    /// be written in a configuration and is left out.
    pub fn from_process() -> Self {
        use std::os::unix::ffi::OsStringExt;
        let variables = std::env::vars_os()
            .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_vec())))
            .collect();
        Environment { variables }
    }

    /// The value of a variable that exists, which may be empty.
    pub fn get(&self, name: &str) -> Option<&[u8]> {
        self.variables.get(name).map(Vec::as_slice)
    }

    /// Gives a variable a value, whether it existed or not (`setenv`).
    pub fn set(&mut self, name: impl Into<String>, value: impl Into<Vec<u8>>) {
        self.variables.insert(name.into(), value.into());
    }

    /// Gives a variable a value unless it has one (`presetenv`); tells whether it did.
    pub fn set_if_absent(&mut self, name: impl Into<String>, value: impl Into<Vec<u8>>) -> bool {
        match self.variables.entry(name.into()) {
            std::collections::btree_map::Entry::Vacant(vacant) => {
                vacant.insert(value.into());
                true
            }
            std::collections::btree_map::Entry::Occupied(_) => false,
        }
    }

    /// Removes a variable (`unsetenv`); tells whether it existed.
    pub fn unset(&mut self, name: &str) -> bool {
        self.variables.remove(name).is_some()
    }

    /// Removes every variable but these (`resetenv`).
    pub fn reset_except(&mut self, keep: &[&str]) {
        self.variables
            .retain(|name, _| keep.contains(&name.as_str()));
    }

    /// All variables, sorted by name.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &[u8])> {
        self.variables
            .iter()
            .map(|(n, v)| (n.as_str(), v.as_slice()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_four_keywords_of_the_environment_do_what_they_say() {
        let mut env = Environment::empty();
        env.set("B", "2");
        env.set("A", "");
        assert!(!env.set_if_absent("A", "other"), "an empty variable exists");
        assert!(env.set_if_absent("C", "3"));
        assert_eq!(env.get("A"), Some(&b""[..]));
        env.reset_except(&["A", "C", "NOT_THERE"]);
        assert!(env.unset("C"));
        assert!(!env.unset("C"));
        assert_eq!(env.iter().collect::<Vec<_>>(), [("A", &b""[..])]);
    }

    #[test]
    fn variables_are_listed_by_name_whatever_the_order_of_their_setting() {
        let mut env = Environment::empty();
        for name in ["Z", "A", "M"] {
            env.set(name, "x");
        }
        let names: Vec<_> = env.iter().map(|(n, _)| n).collect();
        assert_eq!(names, ["A", "M", "Z"]);
    }
}
