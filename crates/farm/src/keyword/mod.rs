//! Parses and checks the sections `farm`, with one row for each keyword, and builds the
//! configuration of the farm role.

mod agents;
mod check;
pub mod codes;
mod collections;
mod entrance;
mod gateway;
mod portal;
mod section;
mod settings;
#[cfg(test)]
mod tests;

use crate::config::{Agents, Bind, Farm, Farms, Tokens};
use crate::difference::difference;
use configuration::{
    ConfigurationPart, Context, Exchange, NamedAddress, ObjectCount, RoleInput, RoleInterface,
    SectionTable, Sections, Tabled, TabledDraft,
};
use language::arguments::ArgumentCodes;
use language::keyword::{Documented, Family};
use language::{Code, Span};
use part::codec;
use section::FarmSectionDraft;
use std::any::Any;

pub const NAME: &str = "farm";

/// Time that the role has to stop, milliseconds.
const STOP_MS: u64 = 1_000;

pub static PART: ConfigurationPart = ConfigurationPart {
    name: NAME,
    sections: Sections {
        names: &[("farm", "Session hosts of remote desktops behind one name.")],
        secrets: &["secret"],
        ..Sections::NONE
    },
    documented: || {
        let lines = TABLES[0].documented();
        std::iter::once(SECTION).chain(lines).collect()
    },
    codes: || codes::CODES.to_vec(),
    exports: &[],
    begin: |_| Box::new(TabledDraft::new(FarmSectionDraft::default())),
    run: Some(RoleInterface {
        role_input: |built, _| {
            let farms = built.downcast_ref::<Farms>()?;
            let count = farms.farms.len();
            (count > 0).then(|| RoleInput {
                payload: codec::encode(farms),
                size: ObjectCount::new(count, "farm", "farms"),
                stop_ms: STOP_MS,
                ..RoleInput::default()
            })
        },
        leftover_input: configuration::no_leftovers,
        difference,
        refusals: |_| Vec::new(),
    }),
};

type FarmLineBuilder = configuration::DraftLineBuilder<FarmSectionDraft>;

static LINES: &[Family<FarmLineBuilder>] = &[
    ("Remote desktops", section::LINES),
    ("Remote desktops", settings::LINES),
    ("Remote desktops", portal::LINES),
    ("Remote desktops", gateway::LINES),
    ("Remote desktops", agents::LINES),
];

static TABLES: [SectionTable<FarmSectionDraft>; 1] =
    [SectionTable::new("farm", LINES, section::begin)];

const SECTION: Documented = Documented {
    kind: "section",
    name: "farm",
    places: &["file"],
    syntax: "farm <name>",
    doc: "Session hosts of remote desktops (RDP) behind one address. A user with a session comes back to it, from whichever \
        client; others get the host with the most room. A client with a routing token is connected to its host as it is, so \
        TLS and NLA are between the two; one without a token says over TLS who it is, and is redirected to the address of the \
        farm with a token. A host that does not answer, or is drained, gets nobody new.",
    example: "farm office\n    name desktop.example.org\n    bind :3389 crt /etc/evenkeel/desktop.pem\n    host ts1 10.0.0.11 \
        weight 10\n    host ts2 10.0.0.12 weight 10",
    family: "Remote desktops",
    built: true,
};

impl Tabled for FarmSectionDraft {
    const OF_ARGUMENTS: &'static ArgumentCodes = &codes::OF_ARGUMENTS;
    const UNKNOWN: &'static Code = &codes::UNKNOWN;

    fn sections() -> &'static [SectionTable<Self>] {
        &TABLES
    }

    fn addresses(&self) -> Vec<NamedAddress> {
        let all = self.farms.iter().flat_map(|farm| {
            let name = &farm.name.value;
            let binds = farm.binds.iter().chain(&farm.gateway.web);
            let binds = binds.filter_map(move |bind| {
                NamedAddress::of_node(bind.address.value.ip(), format!("farm '{name}'"))
            });
            let hosts = farm.hosts.iter().filter_map(move |host| {
                let owner = format!("host '{}' of farm '{name}'", host.name.value);
                NamedAddress::from_address(host.host.address.ip(), owner)
            });
            binds.chain(hosts)
        });
        all.collect()
    }

    fn finish(self, context: &mut Context, exchange: &mut Exchange) -> Box<dyn Any> {
        for told in check::wrong(&self, context, exchange) {
            context.report(told);
        }
        let farms = self
            .farms
            .iter()
            .map(|farm| (farm.name.value.clone(), build(farm, context, exchange)));
        let farms = farms.collect();
        Box::new(Farms {
            farms,
            shared: !context.options.version.is_empty(),
        })
    }
}

/// Builds the configuration of a farm. Errors of the section's files are reported here.
fn build(farm: &section::Farm, context: &mut Context, exchange: &mut Exchange) -> Farm {
    let mut binds = |binds: &[section::Bind], name: Option<(&str, Span)>| -> Vec<Bind> {
        let one = |bind: &section::Bind| Bind {
            address: bind.address.value,
            pem: check::certificate_of(name, bind, context).unwrap_or_default(),
            accepts_proxy: bind.accepts_proxy,
        };
        binds.iter().map(one).collect()
    };
    let web = binds(&farm.gateway.web, gateway::web_name(farm));
    let binds = binds(&farm.binds, check::name(farm));
    let users = entrance::users(farm, context, exchange);
    entrance::refer(farm, exchange);
    let first = binds.first().map(|bind: &Bind| &bind.pem[..]);
    let portal = entrance::portal(farm, first.filter(|pem| !pem.is_empty()), context);
    let key = farm.key.as_ref().and_then(|file| check::key(file, context));
    Farm {
        name: farm
            .fqdn
            .as_ref()
            .map(|name| name.value.clone())
            .unwrap_or_default(),
        binds,
        hosts: farm
            .hosts
            .iter()
            .map(|host| (host.name.value.clone(), host.host))
            .collect(),
        balance: farm.settings.balance,
        check: farm.settings.check,
        sessions: farm.settings.sessions,
        tokens: Tokens {
            key: key.unwrap_or_default(),
            lifetime_ms: farm.settings.lifetime_ms,
        },
        maxconn: farm.settings.maxconn,
        users,
        portal,
        web,
        gateway: farm
            .gateway
            .gateway
            .as_ref()
            .map(|gateway| gateway.value.clone()),
        agents: Agents {
            hosts: farm
                .hosts
                .iter()
                .filter_map(|host| Some((host.name.value.clone(), host.agent?)))
                .collect(),
            notice: farm.settings.notice.clone(),
        },
        proxies: farm.proxies.trusted(),
    }
}
