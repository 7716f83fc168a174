//! Builds the lines for groups of error pages: the section `http-errors`, `errorfiles`, which
//! imports a group, and `http-error`, which defines a page. A group may follow the line that names
//! it, so names are resolved when the whole file is known.

use super::error_page::status_of;
use super::places::ALL;
use super::{Args, Built, LineRow};
use crate::family::Loader;
use language::arguments::section_name;
use language::{ConfigLine, Diagnostic, Span, suggest};
use model::codes;
use model::config::{ERROR_STATUSES, ErrorPage, HttpErrors};
use model::rules::error_answer;
use std::sync::Arc;

#[derive(Debug, Default)]
pub(crate) struct ErrorGroups {
    groups: Vec<(HttpErrors, Span)>,
}

impl ErrorGroups {
    pub(crate) fn begin(loader: &mut Loader, line: &ConfigLine) -> Result<(), Diagnostic> {
        let Some(word) = line.word(1) else {
            return Err(Diagnostic::error(
                &codes::SECTION_NAME,
                line.end(),
                "missing name for http-errors section",
            )
            .label("the name is missing"));
        };
        section_name("http-errors", word, &codes::SECTION_NAME)?;
        let name: Box<str> = word.text().into();
        let groups = &mut loader.error_groups.groups;
        if let Some((_, first)) = groups.iter().find(|(group, _)| group.name == name) {
            return Err(Diagnostic::error(
                &codes::DUPLICATE_NAME,
                word.span,
                format!("http-errors section '{name}' already exists"),
            )
            .name_taken_at(*first));
        }
        let pages = Vec::new();
        groups.push((HttpErrors { name, pages }, word.span));
        Ok(())
    }

    pub(super) fn pages(&mut self) -> Option<&mut Vec<(u16, ErrorPage)>> {
        self.groups.last_mut().map(|(group, _)| &mut group.pages)
    }
}

impl Loader {
    pub(crate) fn finish_error_groups(&mut self) {
        let all = std::mem::take(&mut self.error_groups);
        let groups: Vec<Arc<HttpErrors>> = all
            .groups
            .into_iter()
            .map(|(group, _)| Arc::new(group))
            .collect();
        for used in std::mem::take(&mut self.error_group_uses.0) {
            let Some(group) = groups.iter().find(|group| group.name == used.name) else {
                let told = format!("unknown http-errors section '{}'", used.name);
                let near = suggest::nearest(&used.name, groups.iter().map(|group| &*group.name));
                self.report(
                    Diagnostic::error(&codes::UNKNOWN_HTTP_ERRORS, used.span, told)
                        .label("no section has this name")
                        .did_you_mean(used.span, near),
                );
                continue;
            };
            for status in &used.statuses {
                if group.page(*status).is_none() {
                    let told = format!(
                        "status '{status}' not declared in http-errors section '{}'",
                        group.name
                    );
                    self.warn(&codes::NO_PAGE_IN_GROUP, used.span, told);
                }
            }
            // Ignores an error, which only a second resolution would cause.
            let _ = used.slot.set(Arc::clone(group));
        }
    }
}

fn import(loader: &mut Loader, args: &mut Args<'_>) -> Built {
    let name = args.required("<name>")?;
    let mut statuses = Vec::new();
    while let Some(word) = args.next() {
        statuses.push(status_of(args, word)?);
    }
    let slot = loader.error_group_uses.used(name, &statuses);
    let all = if statuses.is_empty() {
        ERROR_STATUSES
    } else {
        &statuses
    };
    // Imports every status: those missing in the group keep the pages of earlier lines.
    let imported = all
        .iter()
        .map(|status| (*status, ErrorPage::Group(Arc::clone(&slot))));
    loader.proxy().errors.extend(imported);
    Ok(())
}

fn error(loader: &mut Loader, args: &mut Args<'_>) -> Built {
    let (status, page) = error_answer(loader, args)?;
    args.end()?;
    loader.proxy().errors.push((status, page));
    Ok(())
}

pub static LINES: &[LineRow] = language::rows! {
    "errorfiles <name> [<status> ...]" ALL, import, "errorfiles site 403 404",
        "Uses the error pages of the `http-errors` section with this name: all of them, or those of the given \
         statuses. Later `errorfile` and `http-error` lines can override them.";
    "http-error { status <code> } [ content-type <type> ] [ default-errorfiles | errorfile <file> | errorfiles <name> \
          | file <file> | lf-file <file> | string <str> | lf-string <fmt> ] [ hdr <name> <fmt> ]*" ALL,
        error,
        "http-error status 503 content-type text/plain lf-string \"%[path] will be back soon\"",
        "The response that clients get instead of the proxy's own response with this status: a body from the line or \
         from a file, optionally a log format, with headers. `default-errorfiles` restores the page that applies \
         without the lines of this proxy.";
};

#[cfg(test)]
mod tests {
    use crate::testing::load_text;

    fn told(text: &str) -> Vec<&'static str> {
        let loaded = load_text(text);
        let codes = loaded.diagnostics.iter().map(|d| d.code.id);
        codes.filter(|code| *code != "W0102").collect()
    }

    fn listen(lines: &str) -> String {
        format!(
            "http-errors a\n errorfile 404 /dev/null\nlisten l\n bind 127.0.0.1:1\n mode http\n{lines}\n"
        )
    }

    #[test]
    fn what_haproxy_refuses_of_groups_is_refused() {
        for (text, code) in [
            ("http-errors\n", "E0105"),
            ("http-errors a!\n", "E0105"),
            ("http-errors a\nhttp-errors a\n", "E0106"),
            ("http-errors a\n errorfile 999 /dev/null\n", "E0207"),
            ("http-errors a\n errorloc 404 /x\n", "E0102"),
            ("http-errors a\n foo\n", "E0101"),
        ] {
            let found = told(text);
            assert!(found.contains(&code), "{text}: {found:?}");
        }
    }

    #[test]
    fn lines_that_name_groups_or_make_pages_are_checked() {
        for (lines, codes) in [
            ("errorfiles a", &[][..]),
            ("errorfiles a 404", &[]),
            ("errorfiles a 503", &["W0441"]),
            ("errorfiles b", &["E0445"]),
            ("errorfiles", &["E0201"]),
            ("errorfiles a b", &["E0207"]),
            ("http-error status 404 errorfiles a", &[]),
            ("http-error status 403 errorfiles a", &["W0441"]),
            ("http-error status 404 default-errorfiles", &[]),
            ("http-error status 404", &[]),
            ("http-error status 404 string x", &["E0506"]),
            ("http-error status 999", &["E0505"]),
            ("http-error content-type x", &["E0201"]),
            (
                "http-error status 404 default-errorfiles if TRUE",
                &["E0202"],
            ),
            ("http-request return status 404 errorfiles a", &[]),
            ("http-request return status 403 errorfiles a", &["W0441"]),
            ("http-request return status 418 errorfiles a", &["E0505"]),
            ("http-request return errorfiles", &["E0201"]),
            ("http-request deny errorfiles nosuch", &["E0445"]),
        ] {
            assert_eq!(told(&listen(lines)), codes, "{lines}");
        }
    }
}
