//! Implements the action `do-resolve`, which resolves a host name that a request contains. The next
//! rules of the stream wait for the address.

use super::{ActionResult, ActionRow, Build, BuiltAction, RuleAction, places};
use crate::codes as load_codes;
use crate::compiled::action::resolve::Resolve;
use crate::config::AddressFamily;
use crate::rules::argument::variable_error_in;
use crate::rules::draft::ConfigDraft;
use crate::rules::value::SampleValue;
use crate::rules::variables::VariableName;
use crate::thread;
use crate::transaction::{Applied, ProxyStream, Wait};
use std::net::IpAddr;

pub(super) static ROWS: &[ActionRow] = language::rows! {
    "do-resolve(<var>,<resolvers>[,ipv4|,ipv6]) <expr>" &[places::REQUEST, places::CONTENT], build,
        "do-resolve(txn.ip,default,ipv4) req.hdr(host),lower",
        "Resolves the host name that the expression returns with the nameservers of a `resolvers` section, and stores \
         the address in the variable. The rules wait for it, within the timeouts of the section. If the name has no \
         address, the variable does not change.";
};

fn build(loader: &mut ConfigDraft, build: &mut Build<'_, '_>) -> BuiltAction {
    let wrong = |build: &Build<'_, '_>, message: &str| {
        let label = "expected `do-resolve(<var>,<resolvers>[,ipv4|,ipv6])`";
        build.wrong(&load_codes::BAD_VALUE, build.word, message, label)
    };
    let parts: Vec<&str> = build
        .list
        .map(|list| list.split(',').map(str::trim).collect())
        .unwrap_or_default();
    let (variable, section, prefer) = match parts[..] {
        [variable, section] => (variable, section, AddressFamily::V6),
        [variable, section, "ipv4"] => (variable, section, AddressFamily::V4),
        [variable, section, "ipv6"] => (variable, section, AddressFamily::V6),
        [_, _, _] => return Err(wrong(build, "unknown option of 'do-resolve'")),
        _ => {
            let message = "'do-resolve' expects a variable and a resolvers section";
            return Err(wrong(build, message));
        }
    };
    let variable = VariableName::parse(variable)
        .map_err(|error| variable_error_in(error, variable, build.word))?;
    // Queues the check that the `resolvers` section exists, because it may come after this line.
    let wanted = (build.word.span, Box::from(section));
    loader.resolvers_wanted.push(wanted);
    Ok(RuleAction::Resolve(Box::new(Resolve {
        variable,
        section: section.into(),
        prefer,
        host: build.expression(loader)?,
    })))
}

fn text(value: &SampleValue<'_>) -> Option<String> {
    match value {
        SampleValue::Str(bytes) | SampleValue::Bin(bytes) => String::from_utf8(bytes.to_vec()).ok(),
        _ => None,
    }
}

impl Resolve {
    pub(super) fn run(&self, stream: &mut ProxyStream) -> ActionResult {
        let host = self.host.evaluate(stream).and_then(|value| text(&value));
        let (Some(host), Some(thread)) = (host, thread::running()) else {
            return ActionResult::Next;
        };
        let names = &thread.process.names;
        let (section, prefer, variable) = (self.section.clone(), self.prefer, self.variable);
        ActionResult::Wait(Wait::new(async move {
            let found = names.address(&section, &host, prefer).await;
            let applied: Applied = Box::new(move |stream: &mut ProxyStream| {
                let value = match found {
                    Some(IpAddr::V4(ip)) => SampleValue::Ipv4(ip),
                    Some(IpAddr::V6(ip)) => SampleValue::Ipv6(ip),
                    None => return,
                };
                super::set_variable(stream, variable, value);
            });
            applied
        }))
    }
}
