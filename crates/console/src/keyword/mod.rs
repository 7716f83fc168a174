//! The section `console`. Each keyword is a row.

mod codes;
mod credentials;
mod section;
#[cfg(test)]
mod tests;

use crate::config::{self, Config, Security, Token, User};
use crate::user::Role;
use ::access::keyword::{Known, listed};
use ::access::user::User as Listed;
use configuration::{
    Account, ConsoleAddress, Context, Exchange, Export, Given, Lines, NamedAddress, Part, Run,
    SectionTable, Sections, Tabled,
};
use language::arguments::ArgumentCodes;
use language::keyword::{Documented, Family};
use language::{Code, Diagnostic};
use part::codec;

pub use credentials::end_of;
use section::{Draft, Rule, Who};
use std::any::Any;

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
                resources: Vec::new(),
            })
        },
        given_for_rest: configuration::no_rest,
        difference: config::difference,
        refusals: |_| Vec::new(),
    }),
};

type LineBuilder = configuration::LineBuilder<Draft>;

static LINES: &[Family<LineBuilder>] =
    &[("Console", section::LINES), ("Console", credentials::LINES)];

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

    fn addresses(&self) -> Vec<NamedAddress> {
        let bind = self.bind.iter();
        bind.filter_map(|bind| NamedAddress::of_node(bind.address.ip(), "`bind` of the console"))
            .collect()
    }

    fn finish(self, context: &mut Context, exchange: &mut Exchange) -> Box<dyn Any> {
        let config = self.begun.map(|_| {
            let (users, tokens) = users(&self, context, exchange);
            Config {
                users,
                tokens,
                system: self.pam.system(),
                security: security(&self, context),
                proxies: self.proxies.trusted(),
                is_member: !context.options.version.is_empty(),
                ..Config::default()
            }
        });
        let config = config.map(|config| match &self.bind {
            Some(bind) => Config {
                address: bind.address,
                accepts_proxy: bind.accepts_proxy,
                ..config
            },
            None => config,
        });
        for told in self.proxies.wrong(&codes::OF_PROXIES) {
            context.tell(told);
        }
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

/// Who may sign in, and with which tokens. Of a list that does not exist there is nobody.
fn users(draft: &Draft, context: &mut Context, exchange: &mut Exchange) -> (Vec<User>, Vec<Token>) {
    let known = Known {
        list: draft.users.as_ref().map(|list| list.value.clone()),
        has_pam: draft.pam.has_users(),
    };
    let (mut users, mut groups) = match &draft.users {
        Some(name) => match listed(name, exchange) {
            Some(accounts) => accounts,
            None => return Default::default(),
        },
        None => Default::default(),
    };
    let (of_system, of_groups) = draft.pam.users(&users, &codes::OF_ACCESS, context);
    users.extend(of_system);
    groups.extend(of_groups);
    if known.list.is_none() && !known.has_pam {
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
        if let Some(told) = unknown(rule, &users, &groups, &known) {
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
    let credentials = &draft.credentials;
    let secrets = &credentials.secrets;
    secrets.complete(&mut users, &known, &codes::OF_ACCESS, context);
    let users = users.into_iter().map(|user| User {
        role: role(&draft.rules, &user.account),
        account: user.account,
        second_factor: user.second_factor,
    });
    let mut users: Vec<User> = users.collect();
    credentials.require(&mut users, context);
    let tokens = credentials.tokens(&users, &known, context);
    (users, tokens)
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

fn unknown(rule: &Rule, users: &[Listed], groups: &[String], known: &Known) -> Option<Diagnostic> {
    let (word, names): (_, Vec<&str>) = match rule.who {
        Who::User => ("user", users.iter().map(|one| &*one.account.name).collect()),
        Who::Group => ("group", groups.iter().map(|one| &**one).collect()),
    };
    if names.contains(&rule.name.value.as_str()) {
        return None;
    }
    Some(codes::OF_ACCESS.unknown((word, &rule.name), names, known))
}
