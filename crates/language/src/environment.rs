//! Holds the environment variables of a configuration: those of the process, changed by `setenv`,
//! `presetenv`, `unsetenv` and `resetenv` while the file is read. The environment of the running
//! process is never changed here.

use std::collections::BTreeMap;

#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Environment {
    variables: BTreeMap<String, Vec<u8>>,
}

/// A text with its variables expanded.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Expanded {
    pub text: String,
    /// The variables without a value, each once.
    pub unset: Vec<String>,
}

impl Environment {
    pub fn empty() -> Self {
        Self::default()
    }

    /// Returns the environment of this process. A name that is not UTF-8 cannot occur in a
    /// configuration and is left out.
    pub fn from_process() -> Self {
        use std::os::unix::ffi::OsStringExt;
        let variables = std::env::vars_os()
            .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_vec())))
            .collect();
        Environment { variables }
    }

    /// Returns the value of a variable that exists, which may be empty.
    pub fn get(&self, name: &str) -> Option<&[u8]> {
        self.variables.get(name).map(Vec::as_slice)
    }

    /// Sets a variable, whether it existed or not (`setenv`).
    pub fn set(&mut self, name: impl Into<String>, value: impl Into<Vec<u8>>) {
        self.variables.insert(name.into(), value.into());
    }

    /// Sets a variable unless it exists (`presetenv`); returns whether the variable was set.
    pub fn set_if_absent(&mut self, name: impl Into<String>, value: impl Into<Vec<u8>>) -> bool {
        match self.variables.entry(name.into()) {
            std::collections::btree_map::Entry::Vacant(vacant) => {
                vacant.insert(value.into());
                true
            }
            std::collections::btree_map::Entry::Occupied(_) => false,
        }
    }

    /// Removes a variable (`unsetenv`); returns whether it existed.
    pub fn unset(&mut self, name: &str) -> bool {
        self.variables.remove(name).is_some()
    }

    /// Removes all other variables (`resetenv`).
    pub fn reset_except(&mut self, keep: &[&str]) {
        self.variables
            .retain(|name, _| keep.contains(&name.as_str()));
    }

    /// Returns the text with its `$NAME` and `${NAME}` expanded, as HAProxy does in addresses,
    /// regardless of quotes; `None` without a `$`. A name ends at the first character that is not a
    /// letter, digit or underscore, and the variable ends with it: defaults are not supported here.
    /// If the result exceeds `max` bytes, it ends after the value that exceeds the limit.
    pub fn expanded(&self, text: &str, max: usize) -> Option<Expanded> {
        let mut rest = text;
        let mut all = Expanded::default();
        while let Some((before, behind)) = rest.split_once('$') {
            all.text.push_str(before);
            let (inside, braced) = match behind.strip_prefix('{') {
                Some(inside) => (inside, true),
                None => (behind, false),
            };
            let name_char = |c: char| c.is_ascii_alphanumeric() || c == '_';
            let end = inside.find(|c| !name_char(c)).unwrap_or(inside.len());
            let (name, behind) = inside.split_at(end);
            rest = match behind.strip_prefix('}') {
                Some(behind) if braced => behind,
                _ => behind,
            };
            match self.get(name) {
                Some(value) => {
                    let value = &value[..value.len().min(max)];
                    all.text.push_str(&String::from_utf8_lossy(value));
                }
                None if !all.unset.iter().any(|known| known == name) => {
                    all.unset.push(name.to_owned());
                }
                None => {}
            }
            if all.text.len() > max {
                return Some(all);
            }
        }
        if rest.len() == text.len() {
            return None;
        }
        all.text.push_str(rest);
        Some(all)
    }

    pub fn retain(&mut self, keeps: impl Fn(&str) -> bool) {
        self.variables.retain(|name, _| keeps(name));
    }

    /// Returns all variables, sorted by name.
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
    fn variables_in_a_text_get_their_values_in_both_forms() {
        let mut env = Environment::empty();
        env.set("HOST", "192.0.2.1");
        env.set("fe", "7");
        env.set("P_1", "80");
        let of = |text: &str| {
            env.expanded(text, 1000)
                .map(|e| (e.text, e.unset.join(" ")))
        };
        let plain = |text: &str| Some((text.to_owned(), String::new()));
        assert_eq!(of("192.0.2.1:80"), None);
        assert_eq!(of("fd@${fe}"), plain("fd@7"));
        assert_eq!(of("$HOST:$P_1-9${P_1}"), plain("192.0.2.1:80-980"));
        assert_eq!(of("${HOST:x}"), plain("192.0.2.1:x}"), "no end, no default");
        assert_eq!(of("unix@/é$fe/$HOST"), plain("unix@/é7/192.0.2.1"));
        let unset = of("$NO:${NONE}$NO");
        assert_eq!(unset, Some((":".to_owned(), "NO NONE".to_owned())));
        assert_eq!(of("$"), Some((String::new(), String::new())));
    }

    #[test]
    fn variables_in_a_text_make_it_no_longer_than_twice_the_bound() {
        let mut env = Environment::empty();
        env.set("LONG", "x".repeat(90));
        let all = env.expanded(&"$LONG".repeat(1000), 100).unwrap();
        assert_eq!(all.text.len(), 180);
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
