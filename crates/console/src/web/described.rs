//! Checks the parameters and fields of API requests against the OpenAPI description, and refuses
//! unknown ones by name.

use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::OnceLock;

pub(super) const DESCRIPTION: &str = include_str!("openapi.json");
const NAME_MAX: usize = 64;

/// Operations with their methods and paths. Each has the names that it accepts, and whether each
/// name may be repeated.
type Operations = Vec<(String, String, BTreeMap<String, bool>)>;

fn operations() -> &'static Operations {
    static ALL: OnceLock<Operations> = OnceLock::new();
    ALL.get_or_init(|| {
        let all: Value = serde_json::from_str(DESCRIPTION).unwrap_or_default();
        let paths = all["paths"].as_object().into_iter().flatten();
        let operations = paths.flat_map(|(path, methods)| {
            let methods = methods.as_object().into_iter().flatten();
            methods
                .map(move |(method, one)| (method.to_ascii_uppercase(), path.clone(), names(one)))
        });
        operations.collect()
    })
}

/// Returns the parameters of the query string and the fields of the form, and whether each may be
/// repeated.
fn names(operation: &Value) -> BTreeMap<String, bool> {
    let is_list = |schema: &Value| schema["type"] == "array";
    let parameters = operation["parameters"].as_array().into_iter().flatten();
    let parameters = parameters.filter(|one| one["in"] == "query");
    let parameters = parameters
        .filter_map(|one| Some((one["name"].as_str()?.to_owned(), is_list(&one["schema"]))));
    let form = &operation["requestBody"]["content"]["application/x-www-form-urlencoded"];
    let fields = form["schema"]["properties"].as_object();
    let fields = fields.into_iter().flatten();
    let fields = fields.map(|(name, schema)| (name.clone(), is_list(schema)));
    parameters.chain(fields).collect()
}

fn is_of(path: &str, template: &str) -> bool {
    let (mut path, mut template) = (path.split('/'), template.split('/'));
    loop {
        match (path.next(), template.next()) {
            (None, None) => return true,
            (Some(one), Some(of)) if one == of || of.starts_with('{') => {}
            _ => return false,
        }
    }
}

/// Explains why a request with these parameters or fields is refused. `None` if the operation
/// accepts each of them and none is repeated without permission, or if the operation is not
/// described.
pub(super) fn refusal<'n>(
    method: &str,
    path: &str,
    mut given: impl Iterator<Item = &'n str>,
) -> Option<String> {
    let mut all = operations().iter();
    let (_, _, known) = all.find(|(of, template, _)| of == method && is_of(path, template))?;
    let mut seen = BTreeSet::new();
    let unknown = loop {
        let name = given.next()?;
        match known.get(name) {
            None => break name,
            Some(false) if !seen.insert(name) => {
                return Some(format!("`{name}` appears twice: it accepts one value"));
            }
            Some(_) => {}
        }
    };
    let unknown: String = unknown.chars().take(NAME_MAX).collect();
    let known: Vec<String> = known.keys().map(|name| format!("`{name}`")).collect();
    let known = if known.is_empty() {
        "none is accepted".to_owned()
    } else {
        format!("accepted: {}", known.join(", "))
    };
    Some(format!("unknown parameter `{unknown}` ({known})"))
}

#[cfg(test)]
mod tests {
    #[test]
    fn an_unknown_name_is_refused_with_those_that_are_known() {
        let refusal = |method, path, names: &[&'static str]| {
            super::refusal(method, path, names.iter().copied())
        };
        assert_eq!(refusal("GET", "/api/v1/files", &["version"]), None);
        let twice = refusal("GET", "/api/v1/route", &["url", "header", "header", "url"]);
        let expected = "`url` appears twice: it accepts one value";
        assert_eq!(twice.as_deref(), Some(expected));
        let words = refusal("GET", "/api/v1/files", &["version", "verison"]);
        let expected = "unknown parameter `verison` (accepted: `version`)";
        assert_eq!(words.as_deref(), Some(expected));
        assert_eq!(refusal("POST", "/api/v1/apply", &["of", "wait"]), None);
        assert!(refusal("POST", "/api/v1/apply", &["on"]).is_some());
        let none = refusal("GET", "/api/v1/platform", &["a"]);
        assert!(none.unwrap().ends_with("(none is accepted)"));
        assert_eq!(refusal("GET", "/metrics/none", &["a"]), None);
        assert!(refusal("GET", "/api/v1/tables/a%2Fb", &["key"]).is_some());
        assert_eq!(refusal("DELETE", "/api/v1/tables/a%2Fb", &["key"]), None);
    }
}
