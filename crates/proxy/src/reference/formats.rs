//! Supplies the manual's entries about the log formats that options select, with the fields of
//! each, and about the flags of log variables.

use super::{kept, row};
use language::keyword::Documented;
use model::rules::{alias_doc, built_in_texts};

const FAMILY: &str = "Log formats";

static FLAGS: &[(&str, &str)] = &[
    ("%{+Q}", "Quotes the value; a missing one is `\"\"`."),
    ("%{+X}", "Writes numbers and addresses in hexadecimal."),
    (
        "%{+E}",
        "Escapes quotes, backslashes and brackets in the value with a backslash.",
    ),
    (
        "%{+Q}o",
        "The flag applies to all later variables of the line; `%{-Q}` disables it for one of them.",
    ),
    (
        "%{+json}",
        "Writes the value as JSON: numbers and booleans unchanged, everything else as a string. `%(:str)` after the \
         percent sign, or `sint` or `bool`, sets the type: `%(:str){+json}ST`.",
    ),
    (
        "%{+json}o",
        "Writes the whole line as one JSON object. Its members are the named variables and expressions \
         (`%(name)[expression]`): `log-format \"%{+json}o %(client)ci %(status)ST %(path)HPO\"` writes `{\"client\": \
         \"192.0.2.7\", \"status\": 200, \"path\": \"/\"}`. Unnamed items and text are omitted.",
    ),
];

pub(super) fn documented() -> Vec<Documented> {
    let mut all = Vec::new();
    for (option, format) in built_in_texts() {
        let text = String::from_utf8_lossy(&format).into_owned();
        let name = kept(format!("format of {option}"));
        let doc = kept(format!(
            "The log format of `{option}`, in the syntax of `log-format`. Its fields, in order:\n\n{}",
            fields(&text)
        ));
        all.push(row(
            "log format",
            FAMILY,
            name,
            kept(format!("log-format \"{text}\"")),
            doc,
        ));
    }
    for (flag, doc) in FLAGS {
        all.push(row("log format flag", FAMILY, flag, flag, doc));
    }
    all
}

fn fields(format: &str) -> String {
    let mut list = String::new();
    for part in format.split('%').skip(1) {
        let part = part.strip_prefix('{').map_or(part, |flags| {
            flags.split_once('}').map_or(flags, |(_, name)| name)
        });
        if let Some(expression) = part.strip_prefix('[') {
            let expression = expression.split(']').next().unwrap_or_default();
            let fetch = expression.split([',', '(']).next().unwrap_or_default();
            list += &format!("- `%[{expression}]`: see `{fetch}`\n");
            continue;
        }
        let name: String = part.chars().take_while(char::is_ascii_alphabetic).collect();
        if let Some(doc) = alias_doc(&name) {
            list += &format!("- `%{name}`: {doc}\n");
        }
    }
    list
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_variable_of_a_format_has_its_line() {
        let all = documented();
        let of = |name: &str| {
            let found = all.iter().find(|row| row.name == name);
            found.map(|row| row.doc.to_owned()).unwrap_or_default()
        };
        let tcp = of("format of option tcplog");
        for name in [
            "%ci", "%cp", "%t", "%ft", "%b", "%s", "%Tw", "%Tc", "%Tt", "%B", "%ts", "%rc", "%bq",
        ] {
            assert!(tcp.contains(&format!("- `{name}`: ")), "{name}: {tcp}");
        }
        let https = of("format of option httpslog");
        assert!(
            https.contains("- `%r`: ") && https.contains("- `%[ssl_fc_sni]`: see `ssl_fc_sni`")
        );
    }
}
