//! Formats the reference manual as HTML pages: a page for each chapter, an index with a search
//! that needs no server, the differences from HAProxy, the codes. The pages are self-contained.

use super::markup::{escaped, html};
use super::reference::{Chapter, Entry, Material};
use std::collections::HashMap;

const STYLE: &str = include_str!("style.css");
const SEARCH: &str = include_str!("search.js");

/// A page: its file name and content.
pub type HtmlPage = (String, String);

/// The data that all pages share.
struct Book<'m> {
    title: &'m str,
    material: &'m Material<'m>,
    chapters: Vec<Chapter<'m>>,
    /// The addresses of keywords, by the names that texts use.
    links: HashMap<String, String>,
    /// The addresses of rows by kind and name, because a name may have several rows.
    kinds: HashMap<(&'static str, &'static str), String>,
}

pub fn pages(title: &str, material: &Material<'_>) -> Vec<HtmlPage> {
    let chapters = material.chapters();
    let links = links(&chapters);
    let kinds = kinds(&chapters);
    let book = Book {
        title,
        material,
        chapters,
        links,
        kinds,
    };
    let mut pages = vec![
        ("index.html".to_owned(), book.index()),
        ("differences.html".to_owned(), book.differences()),
        ("codes.html".to_owned(), book.codes()),
        ("style.css".to_owned(), STYLE.to_owned()),
        (
            "search.js".to_owned(),
            format!(
                "const INDEX = {};\nconst PHRASES = {};\n{SEARCH}",
                book.search(),
                in_script(serde_json::to_string(book.material.phrases))
            ),
        ),
    ];
    for at in 0..book.chapters.len() {
        let page = book.chapter(at);
        pages.push((format!("{}.html", book.chapters[at].slug), page));
    }
    pages
}

fn links(chapters: &[Chapter<'_>]) -> HashMap<String, String> {
    let mut links = HashMap::new();
    for chapter in chapters {
        for entry in &chapter.entries {
            let target = format!("{}.html#{}", chapter.slug, entry.anchor);
            for row in &entry.rows {
                if let Some(rule) = row.kind.strip_suffix(" action") {
                    let whole = format!("{rule} {}", row.name);
                    links.entry(whole).or_insert_with(|| target.clone());
                }
            }
            links.entry(entry.name.to_owned()).or_insert(target);
        }
    }
    links
}

fn kinds(chapters: &[Chapter<'_>]) -> HashMap<(&'static str, &'static str), String> {
    let mut kinds = HashMap::new();
    for chapter in chapters {
        for entry in &chapter.entries {
            for row in &entry.rows {
                let target = format!("{}.html#{}", chapter.slug, entry.anchor);
                kinds.entry((row.kind, row.name)).or_insert(target);
            }
        }
    }
    kinds
}

/// Returns JSON that is safe within a script.
fn in_script(json: serde_json::Result<String>) -> String {
    let text = json.unwrap_or_else(|_| "[]".to_owned());
    text.replace("</", "<\\/")
}

impl Book<'_> {
    fn link(&self, name: &str) -> Option<String> {
        let name = name.strip_prefix('%').unwrap_or(name);
        self.links.get(name).cloned()
    }

    fn text(&self, markdown: &str) -> String {
        html(markdown, &|name| self.link(name))
    }

    fn page(&self, title: &str, own: &str, content: &str) -> String {
        let mut navigation = String::new();
        let mut part = "";
        for chapter in &self.chapters {
            if chapter.part != part {
                if !part.is_empty() {
                    navigation += "</ul>\n";
                }
                part = chapter.part;
                navigation += &format!("<h2>{}</h2>\n<ul>\n", escaped(part));
            }
            navigation += &item(chapter.title, &format!("{}.html", chapter.slug), own);
        }
        navigation += "</ul>\n<h2>Appendix</h2>\n<ul>\n";
        navigation += &item("Differences from HAProxy", "differences.html", own);
        navigation += &item("Diagnostic codes", "codes.html", own);
        navigation += "</ul>\n";
        format!(
            "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
             <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
             <title>{title} - {book}</title>\n<link rel=\"stylesheet\" href=\"style.css\">\n</head>\n<body>\n\
             <header><a class=\"book\" href=\"index.html\">{book}</a>\n\
             <form role=\"search\"><input id=\"search\" type=\"search\" placeholder=\"Search: keyword, code or words ( / )\" \
             aria-label=\"Search\" autocomplete=\"off\"><ol id=\"found\" hidden></ol></form></header>\n\
             <div class=\"columns\">\n<nav aria-label=\"Chapters\"><details><summary>Chapters</summary>\n{navigation}</details></nav>\n\
             <main>\n{content}</main>\n</div>\n<script src=\"search.js\"></script>\n</body>\n</html>\n",
            title = escaped(title),
            book = escaped(self.title),
        )
    }

    fn index(&self) -> String {
        let mut content = format!("<h1>{}</h1>\n", escaped(self.title));
        content += &self.text(PREFACE);
        let mut part = "";
        for chapter in &self.chapters {
            if chapter.part != part {
                part = chapter.part;
                content += &format!("<h2>{}</h2>\n", escaped(part));
            }
            content += &format!(
                "<h3><a href=\"{}.html\">{}</a></h3>\n{}",
                chapter.slug,
                escaped(chapter.title),
                entries(chapter, &format!("{}.html", chapter.slug))
            );
        }
        self.page("Contents", "index.html", &content)
    }

    fn chapter(&self, at: usize) -> String {
        let chapter = &self.chapters[at];
        let mut content = format!(
            "<p class=\"part\">{}</p>\n<h1>{}</h1>\n",
            escaped(chapter.part),
            escaped(chapter.title)
        );
        if chapter.is_table() {
            content += &self.table(chapter);
        } else {
            content += &entries(chapter, "");
            for entry in &chapter.entries {
                content += &self.entry(entry);
            }
        }
        let neighbour = |at: Option<usize>, word: &str| {
            at.and_then(|at| self.chapters.get(at)).map(|chapter| {
                let title = escaped(chapter.title);
                format!(
                    "<a class=\"{word}\" href=\"{}.html\">{title}</a>",
                    chapter.slug
                )
            })
        };
        let before = neighbour(at.checked_sub(1), "before").unwrap_or_default();
        let after = neighbour(Some(at + 1), "after").unwrap_or_default();
        content += &format!("<p class=\"turn\">{before}{after}</p>\n");
        self.page(chapter.title, &format!("{}.html", chapter.slug), &content)
    }

    fn table(&self, chapter: &Chapter<'_>) -> String {
        let mut text = String::from(
            "<table class=\"lookup\">\n<thead><tr><th>Value</th><th>Meaning</th></tr></thead>\n<tbody>\n",
        );
        for entry in &chapter.entries {
            let first = entry.rows[0];
            text += &format!(
                "<tr id=\"{anchor}\"><th scope=\"row\"><a href=\"#{anchor}\"><code>{}</code></a></th><td>{}</td></tr>\n",
                escaped(first.syntax),
                self.text(first.doc),
                anchor = entry.anchor,
            );
        }
        text + "</tbody>\n</table>\n"
    }

    fn followers(&self, name: &str) -> String {
        let mut text = String::new();
        for (kind, names) in self.material.following_kinds(name) {
            let links = names.iter().map(|name| {
                let shown = escaped(name);
                match self.kinds.get(&(kind, *name)) {
                    Some(target) => format!("<a href=\"{target}\">{shown}</a>"),
                    None => shown,
                }
            });
            text += &format!("<h3>{kind}s</h3>\n{}", listed(links));
        }
        text
    }

    fn entry(&self, entry: &Entry<'_>) -> String {
        let first = entry.rows[0];
        let mut text = format!(
            "<section id=\"{anchor}\">\n<h2>{}<a class=\"here\" href=\"#{anchor}\" aria-label=\"link\">#</a></h2>\n\
             <p class=\"kind\">{}</p>\n",
            escaped(entry.name),
            escaped(&entry.kinds_and_sections()),
            anchor = entry.anchor,
        );
        let lines = |part: fn(&crate::keyword::Documented) -> &'static str| {
            let mut all: Vec<&str> = Vec::new();
            for row in &entry.rows {
                let one = part(row).trim_matches('\n');
                if !one.trim().is_empty() && !all.contains(&one) {
                    all.push(one);
                }
            }
            escaped(&all.join("\n"))
        };
        text += &format!(
            "<pre class=\"syntax\"><code>{}</code></pre>\n",
            lines(|row| row.syntax)
        );
        text += &self.text(first.doc);
        let examples = lines(|row| row.example);
        if !examples.is_empty() {
            text += &format!("<h3>Example</h3>\n<pre><code>{examples}</code></pre>\n");
        }
        text += &self.followers(entry.name);
        for difference in self.material.differences_of(entry) {
            text += &format!(
                "<aside><strong>Unlike HAProxy</strong> <a href=\"differences.html#{}\">#</a>\n{}</aside>\n",
                difference.key,
                self.text(&difference.points()),
            );
        }
        text + "</section>\n"
    }

    fn differences(&self) -> String {
        let mut content = "<h1>Differences from HAProxy</h1>\n".to_owned();
        content += &self.text(DIFFERENCES);
        content += "<table>\n<thead><tr><th>About</th><th>HAProxy</th><th>Evenkeel</th><th>Why</th></tr></thead>\n<tbody>\n";
        for difference in self.material.differences {
            let cells = [difference.haproxy, difference.evenkeel, difference.reason];
            let cells: String = ["HAProxy", "Evenkeel", "Why"]
                .iter()
                .zip(cells)
                .map(|(label, cell)| format!("<td data-label=\"{label}\">{}</td>", self.text(cell)))
                .collect();
            content += &format!(
                "<tr id=\"{}\"><td data-label=\"About\">{}</td>{cells}</tr>\n",
                difference.key,
                self.text(&format!("`{}`", difference.about)),
            );
        }
        content += "</tbody>\n</table>\n<h2>Not supported</h2>\n";
        content += &self.text(NOT_BUILT);
        for (kind, names) in self.material.unsupported_names() {
            let names: Vec<String> = names.iter().map(|name| escaped(name)).collect();
            content += &format!(
                "<details><summary>{} ({})</summary><p class=\"names\"><code>{}</code></p></details>\n",
                escaped(kind),
                names.len(),
                names.join("</code> <code>")
            );
        }
        self.page("Differences from HAProxy", "differences.html", &content)
    }

    fn codes(&self) -> String {
        let mut content = "<h1>Diagnostic codes</h1>\n".to_owned();
        content += &self.text("Each diagnostic has a code whose meaning never changes. `evenkeel explain CODE` prints the same text.");
        for code in self.material.codes {
            content += &format!(
                "<section id=\"{id}\">\n<h2>{id}<a class=\"here\" href=\"#{id}\" aria-label=\"link\">#</a></h2>\n\
                 <p class=\"kind\">{}</p>\n{}</section>\n",
                escaped(code.title),
                self.text(code.explanation),
                id = code.id,
            );
        }
        self.page("Diagnostic codes", "codes.html", &content)
    }

    /// Returns the index as JavaScript: name, kind, address, the first sentence, and the other
    /// searched text in lower case.
    fn search(&self) -> String {
        let mut items: Vec<[String; 5]> = Vec::new();
        for chapter in &self.chapters {
            for entry in &chapter.entries {
                items.push([
                    entry.name.to_owned(),
                    entry.kinds_and_sections(),
                    format!("{}.html#{}", chapter.slug, entry.anchor),
                    first_sentence(entry.rows[0].doc),
                    searched(&[
                        chapter.title,
                        entry.rows[0].doc,
                        entry.rows[0].syntax,
                        entry.rows[0].example,
                    ]),
                ]);
            }
        }
        for code in self.material.codes {
            let target = format!("codes.html#{}", code.id);
            let searched = searched(&[code.explanation]);
            items.push([
                code.id.into(),
                "message".into(),
                target,
                code.title.into(),
                searched,
            ]);
        }
        in_script(serde_json::to_string(&items))
    }
}

fn listed(names: impl Iterator<Item = String>) -> String {
    let names: Vec<String> = names.collect();
    format!("<p class=\"names\">{}</p>\n", names.join(" "))
}

/// Returns links to the entries of a chapter on a page; an empty `page` is the same page.
fn entries(chapter: &Chapter<'_>, page: &str) -> String {
    let entries = chapter.entries.iter();
    listed(entries.map(|entry| {
        let name = escaped(entry.name);
        format!("<a href=\"{page}#{}\">{name}</a>", entry.anchor)
    }))
}

fn item(title: &str, target: &str, own: &str) -> String {
    let here = if target == own {
        " aria-current=\"page\""
    } else {
        ""
    };
    format!(
        "<li><a href=\"{target}\"{here}>{}</a></li>\n",
        escaped(title)
    )
}

/// Joins texts, in lower case and with single spaces.
fn searched(texts: &[&str]) -> String {
    let words = texts.iter().flat_map(|text| text.split_whitespace());
    words.collect::<Vec<_>>().join(" ").to_lowercase()
}

pub(super) fn first_sentence(text: &str) -> String {
    let flat: Vec<&str> = text.split_whitespace().collect();
    let flat = flat.join(" ");
    match flat.find(". ") {
        Some(at) => flat[..=at].to_owned(),
        None => flat,
    }
}

const PREFACE: &str = "\
This is HAProxy's configuration language, including the syntax of old versions. Each page describes a keyword family: syntax, meaning and an example of each keyword. A test loads every example.

In the syntax, `<name>` is a value, `[ … ]` is optional, `|` separates alternatives, and `…` can be repeated. A file consists of sections (`global`, `defaults`, `frontend`, `backend`, `listen` and others) with one keyword per line. Spaces separate words; `\\` or quotes protect them. `#` begins a comment.

The program prints the same text: `evenkeel manual`, `evenkeel keyword NAME`, `evenkeel explain CODE`.";

const DIFFERENCES: &str = "\
HAProxy's files work unchanged. Tests send the same bytes to Evenkeel and to HAProxy and compare the behaviour. This page lists the differences, with reasons.";

const NOT_BUILT: &str = "\
Keywords of HAProxy that Evenkeel does not support. Each is refused with an error.";

#[cfg(test)]
mod tests {
    use super::super::reference::Difference;
    use super::*;
    use crate::codes;
    use crate::keyword::Documented;

    fn material_of(rows: &[Documented]) -> Vec<HtmlPage> {
        let differences = [Difference {
            key: "silence",
            about: "timeout client",
            kinds: &["keyword"],
            haproxy: "waits <b>",
            evenkeel: "waits, too",
            reason: "because",
            applies: super::super::applies::Applies::ToHttp,
        }];
        let material = Material {
            rows,
            differences: &differences,
            codes: &[&codes::UNMATCHED_BRACE],
            phrases: &[("quiet", &["timeout client"])],
        };
        pages("The <language>", &material)
    }

    fn row(name: &'static str, built: bool) -> Documented {
        Documented {
            kind: "keyword",
            name,
            family: "Time limits",
            places: &["defaults"],
            syntax: "timeout client <timeout>",
            doc: "Closes & ends. See `timeout server`.",
            example: "timeout client 30s </script>",
            built,
        }
    }

    #[test]
    fn pages_escape_what_they_show_and_lead_to_each_other() {
        let rows = [
            row("timeout client", true),
            row("timeout server", true),
            row("later", false),
        ];
        let pages = material_of(&rows);
        let page = |name: &str| &pages.iter().find(|(file, _)| file == name).unwrap().1;
        let chapter = page("time-limits.html");
        assert!(chapter.contains("timeout client &lt;timeout&gt;"));
        assert!(chapter.contains(
            "<a href=\"time-limits.html#timeout-server\"><code>timeout server</code></a>"
        ));
        assert!(chapter.contains("differences.html#silence"));
        assert!(page("index.html").contains("The &lt;language&gt;"));
        assert!(page("differences.html").contains("waits &lt;b&gt;"));
        assert!(page("differences.html").contains("<code>later</code>"));
        assert!(page("codes.html").contains(codes::UNMATCHED_BRACE.id));
        assert!(!page("search.js").contains("</script"));
        assert!(page("search.js").contains("\"time-limits.html#timeout-client\""));
        assert!(page("search.js").contains("PHRASES = [[\"quiet\",[\"timeout client\"]]]"));
    }

    #[test]
    fn every_link_within_the_manual_leads_somewhere() {
        let pages = material_of(&[row("timeout client", true), row("timeout server", true)]);
        for (file, text) in pages.iter().filter(|(file, _)| file.ends_with(".html")) {
            for target in text.split("href=\"").skip(1) {
                let target = target.split('"').next().unwrap();
                let (page, anchor) = target.split_once('#').unwrap_or((target, ""));
                let page = if page.is_empty() { file } else { page };
                let found = pages.iter().find(|(name, _)| name == page);
                let (_, there) = found.unwrap_or_else(|| panic!("{file}: {target}"));
                let id = format!("id=\"{anchor}\"");
                assert!(anchor.is_empty() || there.contains(&id), "{file}: {target}");
            }
        }
    }

    #[test]
    fn the_first_sentence_ends_at_its_stop() {
        assert_eq!(first_sentence("One 1.5\n two. Three."), "One 1.5 two.");
        assert_eq!(first_sentence("One"), "One");
    }
}
