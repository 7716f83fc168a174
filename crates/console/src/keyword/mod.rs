//! Parses the section `console` by a table with one row for each keyword.

mod codes;
mod credentials;
mod section;
#[cfg(test)]
pub(crate) mod tests;

use crate::config::{self, Config, ConsoleUser, Security, Token};
use crate::user::UserRole;
use ::access::keyword::{UserSources, listed};
use ::access::user::AuthorizedUser as Listed;
use configuration::{
    Account, ConfigurationPart, ConsoleAddress, Context, Exchange, Export, NamedAddress,
    ObjectCount, RoleInput, RoleInterface, SectionTable, Sections, Tabled, TabledDraft,
};
use language::arguments::ArgumentCodes;
use language::keyword::{Documented, Family};
use language::{Code, Diagnostic};
use part::codec;

pub use credentials::end_of;
use section::{ConsoleSectionDraft, RoleLine, RoleSubject};
use std::any::Any;

pub const NAME: &str = "console";

/// Time limit for requests in progress at a stop, milliseconds.
const STOP_MS: u64 = 1_000;

pub static PART: ConfigurationPart = ConfigurationPart {
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
    begin: |_| Box::new(TabledDraft::new(ConsoleSectionDraft::default())),
    run: Some(RoleInterface {
        role_input: |built, _| {
            let config = built.downcast_ref::<Option<Config>>()?.as_ref()?;
            Some(RoleInput {
                payload: codec::encode(config),
                size: ObjectCount::new(1, "console", "consoles"),
                stop_ms: STOP_MS,
                is_simultaneous: false,
                resources: Vec::new(),
            })
        },
        leftover_input: configuration::no_leftovers,
        difference: config::difference,
        refusals: |_| Vec::new(),
    }),
};

type ConsoleLineBuilder = configuration::DraftLineBuilder<ConsoleSectionDraft>;

static LINES: &[Family<ConsoleLineBuilder>] =
    &[("Console", section::LINES), ("Console", credentials::LINES)];

static TABLES: [SectionTable<ConsoleSectionDraft>; 1] =
    [SectionTable::new("console", LINES, section::begin)];

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

impl Tabled for ConsoleSectionDraft {
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
        for told in self.proxies.combination_errors(&codes::OF_PROXIES) {
            context.report(told);
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

fn security(draft: &ConsoleSectionDraft, context: &mut Context) -> Security {
    match draft.bind.as_ref().map(|bind| (&bind.file, bind.is_plain)) {
        Some((Some(file), _)) => match section::read_certificate(context, file) {
            Ok(pem) => Security::Certificate(pem),
            Err(told) => {
                context.report(*told);
                Security::Own
            }
        },
        Some((None, true)) => Security::Plain,
        Some((None, false)) | None => Security::Own,
    }
}

/// Returns the users who may sign in, and their tokens. Both are empty if the list of users does
/// not exist.
fn users(
    draft: &ConsoleSectionDraft,
    context: &mut Context,
    exchange: &mut Exchange,
) -> (Vec<ConsoleUser>, Vec<Token>) {
    let known = UserSources {
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
            context.report(
                told.label("for which users?")
                    .help("add `users NAME` with the name of a `userlist`, or `pam user NAME`"),
            );
        }
        return Default::default();
    }
    for rule in &draft.rules {
        if let Some(told) = unknown(rule, &users, &groups, &known) {
            context.report(told);
        }
    }
    if draft.rules.is_empty() && !users.is_empty() {
        let span = draft.users.as_ref().map(|list| list.span);
        let told = "all users can only look";
        let span = span.or_else(|| draft.pam.first()).or(draft.begun);
        let told = Diagnostic::warning(&codes::ALL_VIEWERS, span.unwrap_or_default(), told);
        context.report(
            told.label("no line `role` in this section")
                .help("add `role admin user NAME`"),
        );
    }
    let credentials = &draft.credentials;
    let secrets = &credentials.secrets;
    secrets.complete(&mut users, &known, &codes::OF_ACCESS, context);
    let users = users.into_iter().map(|user| ConsoleUser {
        role: role(&draft.rules, &user.account),
        account: user.account,
        second_factor: user.second_factor,
    });
    let mut users: Vec<ConsoleUser> = users.collect();
    credentials.require(&mut users, context);
    let tokens = credentials.tokens(&users, &known, context);
    (users, tokens)
}

fn role(rules: &[RoleLine], account: &Account) -> UserRole {
    let is_of = |rule: &&RoleLine| match &rule.who {
        RoleSubject::User => rule.name.value == account.name,
        RoleSubject::Group => account.groups.contains(&rule.name.value),
    };
    let roles = rules.iter().filter(is_of).map(|rule| rule.role);
    roles.max().unwrap_or_default()
}

fn unknown(
    rule: &RoleLine,
    users: &[Listed],
    groups: &[String],
    known: &UserSources,
) -> Option<Diagnostic> {
    let (word, names): (_, Vec<&str>) = match rule.who {
        RoleSubject::User => ("user", users.iter().map(|one| &*one.account.name).collect()),
        RoleSubject::Group => ("group", groups.iter().map(|one| &**one).collect()),
    };
    if names.contains(&rule.name.value.as_str()) {
        return None;
    }
    Some(codes::OF_ACCESS.unknown(word, &rule.name, names, known))
}
