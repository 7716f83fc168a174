//! The section `console`. Each keyword is a row.

mod codes;
mod credentials;
mod pam;
mod section;
#[cfg(test)]
mod tests;

use crate::config::{self, Config, SecondFactor, Security, Token, User};
use crate::user::Role;
use configuration::{
    Account, Accounts, ConsoleAddress, Context, Exchange, Export, Given, Lines, Part, Run,
    SectionTable, Sections, Tabled,
};
use language::arguments::ArgumentCodes;
use language::keyword::{Documented, Family};
use language::{Code, Diagnostic, suggest};
use part::codec;

pub use credentials::end_of;
use section::{Draft, Rule, Who, Written};
use std::any::Any;
use std::fmt;

/// The part's name.
pub const NAME: &str = "console";

/// How long requests under way may take at a stop, milliseconds.
const STOP_MS: u64 = 1_000;

/// The console, as a part of a configuration.
pub static PART: Part = Part {
    name: NAME,
    sections: Sections {
        names: &[(
            "console",
            "The web console: everything that runs here, as pages and as an API.",
        )],
        secrets: &["secret"],
        ..Sections::NONE
    },
    documented: || {
        let rows = TABLES.iter().flat_map(SectionTable::documented);
        [SECTION].into_iter().chain(rows).collect()
    },
    codes: || codes::CODES.to_vec(),
    exports: &[],
    begin: |_| Box::new(Lines::new(Draft::default())),
    run: Some(Run {
        given: |built, _| {
            let config = built.downcast_ref::<Option<Config>>()?.as_ref()?;
            Some(Given {
                payload: codec::encode(config),
                size: "a console".to_owned(),
                stop_ms: STOP_MS,
                together: false,
            })
        },
        difference: config::difference,
        refusals: |_| Vec::new(),
    }),
};

type LineBuilder = configuration::LineBuilder<Draft>;

static LINES: &[Family<LineBuilder>] = &[
    ("Console", section::LINES),
    ("Console", credentials::LINES),
    ("Console", pam::LINES),
];

static TABLES: [SectionTable<Draft>; 1] = [SectionTable::new("console", LINES, section::begin)];

/// The section itself, as the manual has it.
const SECTION: Documented = Documented {
    kind: "section",
    name: "console",
    places: &["file"],
    syntax: "console",
    doc: "The web console of each machine that runs this file: what needs attention and why, the traffic, the report of each \
        part, and what happened, live. It is a process of its own without any privilege: if it ends, nothing else \
        notices. Without further lines it listens on port 8600 of all addresses, with TLS and a certificate that it makes \
        itself, and `evenkeel console link` prints a link that signs in the administrator of the machine.",
    example: "console\n    bind 192.0.2.10:8600",
    family: "Console",
    built: true,
};

impl Tabled for Draft {
    const OF_ARGUMENTS: &'static ArgumentCodes = &codes::OF_ARGUMENTS;
    const UNKNOWN: &'static Code = &codes::UNKNOWN;

    fn sections() -> &'static [SectionTable<Self>] {
        &TABLES
    }

    fn finish(self, context: &mut Context, exchange: &mut Exchange) -> Box<dyn Any> {
        let config = self.begun.map(|_| {
            let (users, tokens) = users(&self, context, exchange);
            Config {
                users,
                tokens,
                system: self.pam.system(),
                security: security(&self, context),
                ..Config::default()
            }
        });
        let config = config.map(|config| match &self.bind {
            Some(bind) => Config {
                address: bind.address,
                ..config
            },
            None => config,
        });
        if let Some(config) = &config {
            let at = ConsoleAddress {
                address: config.address,
                tls: config.security != Security::Plain,
            };
            exchange.export(Export::new(ConsoleAddress::KIND, NAME, &at));
        }
        Box::new(config)
    }
}

fn security(draft: &Draft, context: &mut Context) -> Security {
    match draft.bind.as_ref().map(|bind| (&bind.file, bind.is_plain)) {
        Some((Some(file), _)) => match section::read_certificate(context, file) {
            Ok(pem) => Security::Certificate(pem),
            Err(told) => {
                context.tell(*told);
                Security::Own
            }
        },
        Some((None, true)) => Security::Plain,
        Some((None, false)) | None => Security::Own,
    }
}

/// Who is known here, for messages: "userlist 'a' has", "userlist 'a' and the lines `pam` have".
struct List(Option<String>, bool);

impl fmt::Display for List {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            List(Some(list), false) => write!(out, "userlist '{list}' has"),
            List(Some(list), true) => write!(out, "userlist '{list}' and the lines `pam` have"),
            List(None, _) => write!(out, "the lines `pam` have"),
        }
    }
}

/// Who may sign in, and with which tokens. Of a list that does not exist there is nobody.
fn users(draft: &Draft, context: &mut Context, exchange: &mut Exchange) -> (Vec<User>, Vec<Token>) {
    let list = List(
        draft.users.as_ref().map(|list| list.value.clone()),
        draft.pam.has_users(),
    );
    let (mut users, mut groups) = match &draft.users {
        Some(name) => match listed(name, exchange) {
            Some(accounts) => accounts,
            None => return Default::default(),
        },
        None => Default::default(),
    };
    let (of_system, of_groups) = draft.pam.users(&users, context);
    users.extend(of_system);
    groups.extend(of_groups);
    if matches!(list, List(None, false)) {
        let rule = draft.rules.first().map(|rule| ("role", rule.span));
        if let Some((word, span)) = rule.or_else(|| draft.credentials.first()) {
            let told = format!("'{word}' without a line 'users' or 'pam'");
            let told = Diagnostic::error(&codes::NO_LIST, span, told);
            context.tell(
                told.label("for which users?")
                    .help("add `users NAME` with the name of a `userlist`, or `pam user NAME`"),
            );
        }
        return Default::default();
    }
    for rule in &draft.rules {
        if let Some(told) = unknown(rule, &users, &groups, &list) {
            context.tell(told);
        }
    }
    if draft.rules.is_empty() && !users.is_empty() {
        let span = draft.users.as_ref().map(|list| list.span);
        let told = "all users can only look";
        let span = span.or_else(|| draft.pam.first()).or(draft.begun);
        let told = Diagnostic::warning(&codes::ALL_VIEWERS, span.unwrap_or_default(), told);
        context.tell(
            told.label("no line `role` in this section")
                .help("add `role admin user NAME`"),
        );
    }
    for user in &mut users {
        user.role = role(&draft.rules, &user.account);
    }
    let credentials = &draft.credentials;
    credentials.complete(&mut users, &list, context);
    let tokens = credentials.tokens(&users, &list, context);
    (users, tokens)
}

/// The users of a `userlist`, without roles, and the groups of the list.
fn listed(list: &Written<String>, exchange: &mut Exchange) -> Option<(Vec<User>, Vec<String>)> {
    exchange.refer(Accounts::KIND, &list.value, list.span);
    let mut all = exchange.all(Accounts::KIND);
    let found = all.find(|one| one.name == list.value);
    let accounts = found.and_then(|one| one.value::<Accounts>())?;
    let users = accounts.users.into_iter().map(|account| User {
        account,
        role: Role::Viewer,
        second_factor: SecondFactor::None,
    });
    Some((users.collect(), accounts.groups))
}

/// The highest role that a rule gives to a user.
fn role(rules: &[Rule], account: &Account) -> Role {
    let is_of = |rule: &&Rule| match &rule.who {
        Who::User => rule.name.value == account.name,
        Who::Group => account.groups.contains(&rule.name.value),
    };
    let roles = rules.iter().filter(is_of).map(|rule| rule.role);
    roles.max().unwrap_or_default()
}

fn unknown(rule: &Rule, users: &[User], groups: &[String], list: &List) -> Option<Diagnostic> {
    let (word, names): (_, Vec<&str>) = match rule.who {
        Who::User => ("user", users.iter().map(|one| &*one.account.name).collect()),
        Who::Group => ("group", groups.iter().map(|one| &**one).collect()),
    };
    let name = &rule.name.value;
    if names.contains(&name.as_str()) {
        return None;
    }
    let told = format!("{list} no {word} '{name}'");
    let told = Diagnostic::error(&codes::NO_USER, rule.name.span, told);
    let near = suggest::nearest(name, names);
    Some(
        told.label("unknown here")
            .did_you_mean(rule.name.span, near),
    )
}
