//! What a `console` section comes to, and what is said of wrong ones.

use super::*;
use configuration::{LoadOptions, Password, Recording, Words};
use language::source::Text;
use language::{Environment, Facts, render};

fn load(text: &str) -> (Option<Config>, String) {
    let files = vec![("site.cfg".to_owned(), Text::new(text.into()))];
    let (environment, facts) = (Environment::empty(), Facts::new("2.6.12"));
    let words = Words::of([&PART.sections]);
    let mut inputs = Recording::new(files, environment, facts, LoadOptions::default(), words);
    let account = |name: &str, groups: &[&str]| Account {
        name: name.to_owned(),
        groups: groups.iter().map(|one| (*one).to_owned()).collect(),
        password: Password::Clear(b"secret".to_vec()),
    };
    let accounts = Accounts {
        users: vec![account("anna", &["staff"]), account("bert", &["staff"])],
        groups: vec!["staff".to_owned()],
    };
    inputs.imports = vec![Export::new(Accounts::KIND, "operators", &accounts)];
    let mut loaded =
        configuration::load(&[&PART], inputs, configuration::outside::Outside::default());
    let told = render::concise(&loaded.sources, &loaded.diagnostics, true);
    (loaded.take(&PART), told)
}

#[test]
fn every_example_is_good() {
    for row in (PART.documented)() {
        let text = match row.kind {
            "section" => format!("{}\n", row.example),
            _ if row.example.starts_with("role") => {
                format!("console\n    users operators\n    {}\n", row.example)
            }
            _ => format!("console\n    {}\n    role admin user anna\n", row.example),
        };
        let text = match row.example.starts_with("bind") {
            true => text.replace("    role admin user anna\n", ""),
            false => text,
        };
        let (config, told) = load(&text);
        assert_eq!(told, "", "{}", row.name);
        assert!(config.is_some(), "{}", row.name);
    }
}

#[test]
fn the_highest_role_counts_and_without_lines_there_is_a_console() {
    let (config, told) = load(
        "console\n users operators\n role operator group staff\n role admin user anna\n role viewer user anna\n",
    );
    assert_eq!(told, "");
    let config = config.unwrap();
    let role = |name| config.user(name).map(|user| user.role);
    assert_eq!(role("anna"), Some(Role::Admin));
    assert_eq!(role("bert"), Some(Role::Operator));
    assert_eq!(role("carl"), None);
    assert_eq!(load("console\n"), (Some(Config::default()), String::new()));
    assert_eq!(load(""), (None, String::new()));
}

#[test]
fn mistakes_are_told_with_their_place() {
    for (text, expected) in [
        ("console x\n", "1:9: error[E0902]"),
        (
            "console\n bind 192.0.2.1:8600 plain\n",
            "2:22: error[E0905]: 'plain' at 192.0.2.1:8600, which other machines may reach",
        ),
        ("console\n bind :8600 plain\n", "error[E0905]"),
        ("console\n bind host:8600\n", "error[E0903]"),
        ("console\n bind 192.0.2.1:8600 crt x.pem\n", "error[E0903]"),
        (
            "console\n bind 192.0.2.1:8600 crt /nowhere/x.pem\n",
            "2:26: error[E0906]",
        ),
        ("console\n bind :1\n bind :2\n", "3:2: error[E0904]"),
        ("console\nconsole\n", "2:1: error[E0904]"),
        ("console\n role admin user anna\n", "2:2: error[E0908]"),
        (
            "console\n users operators\n role admin user ana\n",
            "3:18: error[E0907]: userlist 'operators' has no user 'ana' (did you mean 'anna'?)",
        ),
        (
            "console\n users operators\n role admin group staf\n",
            "(did you mean 'staff'?)",
        ),
        (
            "console\n users operators\n role chief user anna\n",
            "error[E0903]",
        ),
        ("console\n users operators\n", "2:8: warning[W0909]"),
        ("console\n biind :1\n", "error[E0901]"),
    ] {
        let (_, told) = load(text);
        assert!(told.contains(expected), "{text}\n{told}");
    }
}
