//! Tests that names which clients make the proxy resolve (`do-resolve`) do not delay the names of
//! servers.

use crate::testing::load_text;
use model::names::plan::{ASKED_MAX, Due, ResolutionSchedule};
use model::names::{Key, RecordKind};
use protocol::dns::DnsName;
use std::sync::Arc;

#[test]
fn names_that_clients_tell_do_not_keep_servers_from_being_followed() {
    let text = "resolvers dns\n nameserver a 127.0.0.1:53\nbackend b\n \
                server s web.test:80 resolvers dns init-addr none\n";
    let mut config = load_text(text).config.expect("it loads");
    model::control::install(&mut config, None, 0);
    let mut plan = ResolutionSchedule::default();
    plan.change(&Arc::new(config), 5);
    let wanted = RecordKind::Addresses(model::config::AddressFamily::V4);
    let mut asked = Vec::new();
    for n in 0..2 * ASKED_MAX {
        let key = Key {
            section: "dns".into(),
            name: DnsName::new(&format!("n{n}.test")).expect("a name"),
            record_kind: wanted,
        };
        asked.extend(plan.look_up_name(&key, 0));
    }
    assert_eq!(
        asked.len(),
        ASKED_MAX,
        "what clients may ask for is bounded"
    );
    let name = |begun: Option<(Key, Option<Due>)>| begun.map(|(key, _)| key.name.to_string());
    assert_eq!(name(plan.begin(10, false)).as_deref(), Some("web.test"));
    assert_eq!(name(plan.begin(10, false)), None);
    assert!(name(plan.begin(10, true)).is_some_and(|name| name.starts_with('n')));
}
