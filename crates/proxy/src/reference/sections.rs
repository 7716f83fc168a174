//! Supplies the manual's entries about the sections of a configuration file, each with its
//! purpose.

use super::row;
use language::keyword::Documented;
use model::known::SECTIONS;

static FIRST_LINES: &[(&str, &str)] = &[
    ("backend", "backend <name> [from <defaults>]"),
    ("cache", "cache <name>"),
    ("crt-store", "crt-store [<name>]"),
    ("defaults", "defaults [<name>] [from <defaults>]"),
    ("fcgi-app", "fcgi-app <name>"),
    ("frontend", "frontend <name> [from <defaults>]"),
    ("global", "global"),
    ("healthcheck", "healthcheck <name>"),
    ("http-errors", "http-errors <name>"),
    ("listen", "listen <name> [from <defaults>]"),
    ("log-forward", "log-forward <name>"),
    ("log-profile", "log-profile <name>"),
    ("mailers", "mailers <name>"),
    ("peers", "peers <name>"),
    ("resolvers", "resolvers <name>"),
    ("ring", "ring <name>"),
    ("userlist", "userlist <name>"),
];

pub(super) fn documented() -> Vec<Documented> {
    let of = |(name, syntax): &(&'static str, &'static str)| {
        let (_, doc) = SECTIONS.iter().find(|(section, _)| section == name)?;
        let mut section = row("section", "Sections", name, syntax, doc);
        section.places = &["file"];
        Some(section)
    };
    FIRST_LINES.iter().filter_map(of).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use keyword::registry;

    #[test]
    fn each_section_with_keywords_is_documented() {
        let told: Vec<&str> = documented().iter().map(|row| row.name).collect();
        for (section, _) in SECTIONS {
            let lines = registry().documented();
            let has_lines = lines
                .iter()
                .any(|row| row.built && row.kind == "keyword" && row.places.contains(section));
            assert_eq!(told.contains(section), has_lines, "{section}");
        }
    }
}
