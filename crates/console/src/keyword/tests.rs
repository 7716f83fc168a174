//! Tests the `console` section: its configuration, and the diagnostics for errors.

use super::*;
use crate::config::SecondFactor;
use ::access::user::Users;
use configuration::Accounts;
use configuration::{LoadOptions, Password, Recording, SectionKeywords};
use language::source::Text;
use language::{Environment, Facts, render};

pub(crate) fn load(text: &str) -> (Option<Config>, String) {
    let files = vec![("site.cfg".to_owned(), Text::new(text.into()))];
    let (environment, facts) = (Environment::empty(), Facts::new("2.6.12"));
    let words = SectionKeywords::from_parts([&PART.sections]);
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
    (loaded.take_part(&PART), told)
}

#[test]
fn every_example_is_good() {
    for row in (PART.documented)() {
        let text = match row.kind {
            "section" => format!("{}\n", row.example),
            _ if !row.example.starts_with("bind") && !row.example.starts_with("users") => {
                let role = "role admin user anna";
                format!(
                    "console\n    users operators\n    {role}\n    {}\n",
                    row.example
                )
            }
            _ => format!("console\n    {}\n    role admin user anna\n", row.example),
        };
        let text = if row.example.starts_with("bind") {
            text.replace("    role admin user anna\n", "")
        } else {
            text
        };
        let (config, told) = load(&text);
        assert_eq!(told, "", "{}", row.name);
        assert!(config.is_some(), "{}", row.name);
    }
}

#[test]
fn the_highest_role_applies_and_an_empty_section_is_valid() {
    let (config, told) = load(
        "console\n users operators\n role operator group staff\n role admin user anna\n role viewer user anna\n",
    );
    assert_eq!(told, "");
    let config = config.unwrap();
    let role = |name| config.user(name).map(|user| user.role);
    assert_eq!(role("anna"), Some(UserRole::Admin));
    assert_eq!(role("bert"), Some(UserRole::Operator));
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
        (
            "console\n bind :8600 accept-proxy\n",
            "2:13: error[E1082]: 'accept-proxy' without a line 'trusted-proxy'",
        ),
        (
            "console\n trusted-proxy proxy.example.org\n",
            "error[E0903]",
        ),
        ("console\n trusted-proxy ::/0\n", "2:16: warning[W1083]"),
    ] {
        let (_, told) = load(text);
        assert!(told.contains(expected), "{text}\n{told}");
    }
}

#[test]
fn mistakes_of_second_factors_and_tokens_are_told_with_their_place() {
    for (text, expected) in [
        ("console\n second-factor\n", "error[E0902]"),
        ("console\n second-factor needed\n", "error[E0903]"),
        (
            "console\n second-factor required for admin\n",
            "2:2: error[E0908]: 'second-factor' without a line 'users'",
        ),
        ("console\n second-factor required admin\n", "error[E0903]"),
        (
            "console\n second-factor required for chief\n",
            "error[E0903]",
        ),
        (
            "console\n second-factor required for admin\n second-factor required for viewer\n",
            "3:2: error[E0904]",
        ),
        (
            "console\n second-factor user anna secret GEZDGNBVGY3TQOJQ\n",
            "2:33: error[E0903]: 'second-factor': the secret is not 16 to 64 bytes in Base32",
        ),
        (
            "console\n token x/y user anna scope read hash 0\n",
            "error[E0903]",
        ),
        (
            "console\n token x user anna scope all hash 0\n",
            "error[E0903]",
        ),
        (
            "console\n token x user anna scope read hash 12ab\n",
            "error[E0903]: 'token': the hash is not 64",
        ),
        (
            "console\n token x user anna scope read expires soon hash 0\n",
            "error[E0903]: 'token': 'soon' is not a date",
        ),
        ("console\n token x user anna scope read\n", "error[E0902]"),
    ] {
        let (_, told) = load(text);
        assert!(told.contains(expected), "{text}\n{told}");
    }
}

const SECRET: &str = "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ";
const HASH: &str = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";

#[test]
fn a_second_factor_is_required_of_a_role_and_of_those_above() {
    let text = format!(
        "console\n users operators\n role admin user anna\n role operator user bert\n \
         second-factor user anna secret {SECRET}\n"
    );
    let (config, told) = load(&text);
    assert_eq!(told, "");
    let config = config.unwrap();
    let second = |config: &Config, name| config.user(name).map(|user| user.second_factor.clone());
    let codes = SecondFactor::Codes(b"12345678901234567890".to_vec());
    assert_eq!(second(&config, "anna"), Some(codes.clone()));
    assert_eq!(second(&config, "bert"), Some(SecondFactor::None));
    for (role, of_bert, warns) in [
        ("admin", SecondFactor::None, false),
        ("operator", SecondFactor::Missing, true),
        ("viewer", SecondFactor::Missing, true),
    ] {
        let (config, told) = load(&format!("{text} second-factor required for {role}\n"));
        let config = config.unwrap();
        assert_eq!(second(&config, "anna"), Some(codes.clone()), "{role}");
        assert_eq!(second(&config, "bert"), Some(of_bert), "{role}");
        assert_eq!(told.contains("warning[W0910]"), warns, "{told}");
        assert_eq!(told.contains("'bert'"), warns, "{told}");
    }
}

#[test]
fn a_token_is_of_a_user_until_the_end_of_a_day() {
    let section = "console\n users operators\n role admin user anna\n";
    let text = format!(
        "{section} token ci user anna scope operate expires 2027-01-31 hash {HASH}\n \
         token all user bert scope configure hash {}\n",
        "0".repeat(64)
    );
    let (config, told) = load(&text);
    assert_eq!(told, "");
    let tokens = config.unwrap().tokens;
    let of = |token: &Token| (token.user.clone(), token.scope.word(), token.until_s);
    assert_eq!(
        tokens.iter().map(of).collect::<Vec<_>>(),
        [
            ("anna".to_owned(), "operate", Some(1_801_440_000)),
            ("bert".to_owned(), "configure", None)
        ]
    );
    assert_eq!(tokens[0].hash, crate::access::token::hash("abc"));
    for (lines, expected) in [
        (
            format!(" token x user ana scope read hash {HASH}\n"),
            "4:15: error[E0907]: userlist 'operators' has no user 'ana' (did you mean 'anna'?)",
        ),
        (
            format!(" second-factor user ana secret {SECRET}\n"),
            "4:21: error[E0907]",
        ),
        (
            format!(" second-factor user anna secret {SECRET}\n").repeat(2),
            "5:2: error[E0904]: the second factor of 'anna'",
        ),
        (
            format!(" token x user anna scope read hash {HASH}\n").repeat(2),
            "5:2: error[E0904]: the token 'x'",
        ),
        (
            format!(
                " token x user anna scope read hash {HASH}\n token y user anna scope read hash {HASH}\n"
            ),
            "5:2: error[E0904]: the hash of a token",
        ),
    ] {
        let (_, told) = load(&format!("{section}{lines}"));
        assert!(told.contains(expected), "{lines}\n{told}");
    }
}

#[test]
fn a_date_is_a_day_of_the_calendar() {
    assert_eq!(end_of("1970-01-01"), Some(86_400));
    // The date is before 1970, so the token has expired.
    assert_eq!(end_of("0001-01-01"), Some(0));
    for text in [
        "",
        "2027-02-30",
        "2027-1-31",
        "9999-12-31",
        "20270131",
        "2027-01-31T00:00",
        "٢٠٢٧-01",
    ] {
        assert_eq!(end_of(text), None, "{text}");
    }
}

#[test]
fn users_of_the_system_are_named_or_in_groups() {
    let text = "console\n users operators\n pam user mira root\n pam group root\n pam service login\n \
        pam socket /run/x/mux\n role admin user mira\n role operator group root\n \
        token x user mira scope read hash ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad\n";
    let (config, told) = load(text);
    assert_eq!(told, "");
    let config = config.unwrap();
    let role = |name| {
        config
            .user(name)
            .map(|user| (user.role, user.account.password.clone()))
    };
    assert_eq!(role("mira"), Some((UserRole::Admin, Password::System)));
    assert_eq!(role("root"), Some((UserRole::Operator, Password::System)));
    assert_eq!(role("bert").map(|(role, _)| role), Some(UserRole::Viewer));
    assert_eq!(config.system.service, "login");
    assert_eq!(config.system.socket.to_str(), Some("/run/x/mux"));
    assert!(config.has_system_users());
}

#[test]
fn mistakes_of_lines_pam_are_told_with_their_place() {
    for (text, expected) in [
        ("console\n pam\n", "error[E0902]"),
        ("console\n pam users x\n", "2:6: error[E0903]"),
        ("console\n pam user\n", "error[E0902]"),
        (
            "console\n pam group rooot\n",
            "2:12: error[E0907]: this machine has no group 'rooot' (did you mean 'root'?)",
        ),
        (
            "console\n pam user x\n role admin user y\n",
            "3:18: error[E0907]: the lines `pam` have no user 'y'",
        ),
        (
            "console\n users operators\n pam user x\n role admin user y\n",
            "userlist 'operators' and the lines `pam` have no user 'y'",
        ),
        (
            "console\n users operators\n pam user x anna\n",
            "3:13: error[E0904]: user 'anna' is in the userlist, too",
        ),
        ("console\n pam service ../login\n", "error[E0903]"),
        ("console\n pam socket run/mux\n", "error[E0903]"),
        (
            "console\n pam service a\n pam service b\n",
            "3:2: error[E0904]",
        ),
        (
            "console\n pam socket /a\n pam socket /b\n",
            "3:2: error[E0904]",
        ),
        ("console\n pam service a\n", "2:2: warning[W0911]"),
        ("console\n pam user x\n", "2:11: warning[W0909]"),
    ] {
        let (_, told) = load(text);
        assert!(told.contains(expected), "{text}\n{told}");
    }
}
