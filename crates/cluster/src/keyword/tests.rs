//! Tests the parser of a `config` section, and its error messages.

use super::*;
use language::render;

fn load(text: &str) -> (ConfigSection, String) {
    let files = vec![("site.cfg".to_owned(), Text::new(text.into()))];
    let (environment, facts) = (Environment::empty(), Facts::new("2.6.12"));
    let words = SectionKeywords::from_parts([&SECTIONS]);
    let inputs = Recording::new(files, environment, facts, LoadOptions::default(), words);
    let mut loaded = configuration::replay(&[&PART], inputs);
    let told = render::concise(&loaded.sources, &loaded.diagnostics, true);
    (loaded.take_part(&PART), told)
}

fn told(line: &str) -> String {
    load(&format!("config\n    {line}\n")).1
}

#[test]
fn every_row_has_a_valid_example() {
    for row in documented() {
        let text = match row.kind {
            "section" => format!("{}\n", row.example),
            _ => format!("config\n    {}\n", row.example),
        };
        let (_, told) = load(&text);
        assert_eq!(told, "", "{}", row.name);
        assert!(
            !row.doc.is_empty() && !row.family.is_empty(),
            "{}",
            row.name
        );
    }
}

#[test]
fn config_section_is_parsed() {
    let (section, told) = load(
        "config\n  follow git git@host:lb.git branch main file a.cfg file b/c.cfg every 30 signed-by /etc/signers\n  \
         follow hg /srv/hg as /etc/more/\n  judge 5s\n  keep 7\n  confirm 5m\n",
    );
    assert_eq!(told, "");
    let [git, hg] = &section.follow[..] else {
        panic!("{section:?}");
    };
    assert_eq!(git.url, "git@host:lb.git");
    assert_eq!(git.files, ["a.cfg", "b/c.cfg"]);
    assert_eq!(git.every, Duration::from_secs(30));
    assert_eq!(git.path("a.cfg"), "/etc/haproxy/a.cfg");
    assert!(git.owns("/etc/haproxy/x") && !git.owns("/etc/haproxy2/x"));
    assert_eq!((hg.system, &*hg.directory), (System::Hg, "/etc/more"));
    assert_eq!(section.judge, Duration::from_secs(5));
    assert_eq!(
        (section.keep, section.confirm),
        (7, Some(Duration::from_secs(300)))
    );
    assert_eq!(section.files().collect::<Vec<_>>(), ["/etc/signers"]);
}

#[test]
fn defaults_without_a_section_are_as_documented() {
    let (section, told) = load("");
    assert_eq!(told, "");
    assert_eq!(section, ConfigSection::default());
    assert_eq!(section.judge, Duration::from_secs(10));
}

#[test]
fn an_address_that_would_run_a_command_or_shows_a_password_is_refused() {
    for url in [
        "ext::sh",
        "--upload-pack=x",
        "http://a/b",
        "ssh://-oProxyCommand=x/y",
        "https://u:secret@host/x",
        "relative/path",
        "ssh:///path",
    ] {
        let told = told(&format!("follow git {url}"));
        assert!(told.contains("E0674"), "{url}: {told}");
    }
    assert!(told("follow hg git://host/x").contains("E0674"));
    assert!(told("follow hg host:path").contains("E0674"));
}

#[test]
fn names_like_options_or_outside_paths_are_refused() {
    for option in [
        "branch -x",
        "branch a..b",
        "as relative",
        "as /etc/../x",
        "file ../x",
        "file /x",
        "signed-by keys",
        "every 1s",
        "every 3d",
    ] {
        let told = told(&format!("follow git /srv/git {option}"));
        assert!(told.contains("E0672"), "{option}: {told}");
    }
}

#[test]
fn mistakes_are_reported_at_their_words_with_help() {
    let (_, told) = load(
        "config extra\n  folow git /a\n  follow gti /a\n  follow git /a brnch x\n  judge\n  judge 5s 6s\n  keep 1\n  confirm 1s\n  \
         judge 1s\n  judge 2s\n  what is this\n  follow hg /a signed-by /x\nconfig\n  follow git /b\n  follow git /c as /etc/haproxy/x\n",
    );
    insta::assert_snapshot!(told);
}

#[test]
fn the_section_is_read_out_of_files_of_any_sections() {
    let text = "global\n    maxconn 5\nconfig\n    judge 3s\nfrontend x\n    judge 4s\n";
    let others = Sections {
        names: &[("global", ""), ("frontend", "")],
        ..Sections::NONE
    };
    let grammar = Grammar {
        words: SectionKeywords::from_parts([&SECTIONS, &others]),
        environment: Environment::empty(),
        facts: Facts::new("2.6.12"),
    };
    let file = |path: &str, main: bool, text: &str| crate::file_set::SetFile {
        path: path.to_owned(),
        main,
        secret: false,
        mode: 0o644,
        bytes: text.as_bytes().to_vec(),
    };
    let set = FileSet {
        files: vec![
            file("a.cfg", true, text),
            file("b.map", false, "config\n  judge 9s\n"),
        ],
        ..FileSet::default()
    };
    let section = ConfigSection::read(&set, &grammar);
    assert_eq!(section.judge, Duration::from_secs(3));
}
