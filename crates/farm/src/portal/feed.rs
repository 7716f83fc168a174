//! Generates the feed for Windows' "RemoteApp and Desktop Connections" ([MS-TSWP]): the desktop and
//! programs of a user, as XML.

use super::offer::PublishedResource;
use aws_lc_rs::digest::{SHA256, digest};
use std::fmt::Write;
use tls::describe::hex;

const TYPE: &str = "application/x-msts-radc+xml";
const SPACE: &str = "http://schemas.microsoft.com/ts/2007/05/tswf";

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum FeedVersion {
    One,
    Two,
}

impl FeedVersion {
    /// Returns the version of the feed that an `Accept` header requests ([MS-TSWP] 2.2.5).
    pub fn of(accept: &str) -> FeedVersion {
        let mut ranges = accept.split(',');
        let chooses = |range: &str| {
            let mut words = range.split(';').map(str::trim);
            let is_feed = words
                .next()
                .is_some_and(|kind| kind.eq_ignore_ascii_case(TYPE));
            is_feed
                && words.any(|word| {
                    matches!(word, "radc_schema_version=2.0" | "radc_schema_version=2.1")
                })
        };
        if ranges.any(chooses) {
            FeedVersion::Two
        } else {
            FeedVersion::One
        }
    }

    /// Returns the `Content-Type` header ([MS-TSWP] 2.2.1.4).
    pub fn kind(self) -> &'static str {
        match self {
            FeedVersion::One => "text/xml; charset=utf-8",
            FeedVersion::Two => "application/x-msts-radc+xml; charset=utf-8",
        }
    }

    fn word(self) -> &'static str {
        match self {
            FeedVersion::One => "1.1",
            FeedVersion::Two => "2.0",
        }
    }
}

/// Escapes a text for an XML attribute. Characters that XML does not allow are dropped.
fn escaped(text: &str) -> String {
    let mut out = String::new();
    for one in text.chars() {
        match one {
            '&' => out += "&amp;",
            '<' => out += "&lt;",
            '>' => out += "&gt;",
            '"' => out += "&quot;",
            '\'' => out += "&apos;",
            '\u{fffe}' | '\u{ffff}' => {}
            one if one.is_control() => {}
            one => out.push(one),
        }
    }
    out
}

/// Writes the feed of some offers. `authority` is the host of the portal, `address` where clients
/// connect.
pub fn write(
    version: FeedVersion,
    authority: &str,
    address: &str,
    offers: &[PublishedResource<'_>],
    now_s: u64,
) -> String {
    let now = jiff::Timestamp::from_second(i64::try_from(now_s).unwrap_or_default());
    let now = now.unwrap_or_default().to_string();
    let (authority, address) = (escaped(authority), escaped(address));
    let reconnects = match version {
        FeedVersion::One => "",
        FeedVersion::Two => " SupportsReconnect=\"false\"",
    };
    let mut xml = format!(
        "<?xml version=\"1.0\" encoding=\"utf-8\"?>\n<ResourceCollection PubDate=\"{now}\" SchemaVersion=\"{}\" \
         xmlns=\"{SPACE}\">\n<Publisher LastUpdated=\"{now}\" Name=\"{authority}\" ID=\"{authority}\" \
         Description=\"\"{reconnects}>\n<Resources>\n",
        version.word()
    );
    for offer in offers {
        resource(&mut xml, offer, &authority, &address, &now);
    }
    xml + &format!(
        "</Resources>\n<TerminalServers>\n<TerminalServer ID=\"{address}\" Name=\"{address}\" LastUpdated=\"{now}\" />\n\
         </TerminalServers>\n</Publisher>\n</ResourceCollection>\n"
    )
}

fn resource(
    xml: &mut String,
    offer: &PublishedResource<'_>,
    authority: &str,
    address: &str,
    now: &str,
) {
    let (name, title) = (escaped(offer.name()), escaped(offer.title()));
    let id = digest(&SHA256, format!("{authority}/{name}").as_bytes());
    let id = hex(&id.as_ref()[..20], false);
    let kind = if offer.app().is_some() {
        "RemoteApp"
    } else {
        "Desktop"
    };
    let side = offer.side();
    // Ignores the result: writing to a string cannot fail.
    let _ = write!(
        xml,
        "<Resource ID=\"{id}\" Alias=\"{name}\" Title=\"{title}\" LastUpdated=\"{now}\" Type=\"{kind}\">\n<Icons>\n\
         <IconRaw FileType=\"Ico\" FileURL=\"/icon/{name}.ico\" />\n\
         <Icon{side} Dimensions=\"{side}x{side}\" FileType=\"Png\" FileURL=\"/icon/{name}.png\" />\n</Icons>\n\
         <FileExtensions />\n<HostingTerminalServers>\n<HostingTerminalServer>\n\
         <ResourceFile FileExtension=\".rdp\" URL=\"/start/{name}.rdp\" />\n<TerminalServerRef Ref=\"{address}\" />\n\
         </HostingTerminalServer>\n</HostingTerminalServers>\n</Resource>\n"
    );
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{App, Desktop};
    use proptest::prelude::*;

    fn app(title: &str) -> App {
        App {
            name: "word".to_owned(),
            title: title.to_owned(),
            path: "||WINWORD".to_owned(),
            args: String::new(),
            icon: Vec::new(),
            groups: Vec::new(),
            hosts: Default::default(),
        }
    }

    fn feed(version: FeedVersion, title: &str) -> String {
        let (app, desktop) = (
            app(title),
            Desktop {
                title: "Full desktop".to_owned(),
                groups: Vec::new(),
                hosts: Default::default(),
            },
        );
        let offers = [
            PublishedResource::Desktop(&desktop),
            PublishedResource::App(&app),
        ];
        write(
            version,
            "desktop.example.org",
            "desktop.example.org:3390",
            &offers,
            1_000_000_000,
        )
    }

    #[test]
    fn both_versions_are_well_formed_and_have_what_clients_need() {
        for version in [FeedVersion::One, FeedVersion::Two] {
            let xml = feed(version, "Word & \"Co\" <1>");
            let document = roxmltree::Document::parse(&xml).unwrap();
            let root = document.root_element();
            assert_eq!(
                (root.tag_name().name(), root.tag_name().namespace()),
                ("ResourceCollection", Some(SPACE))
            );
            let find = |name| {
                document
                    .descendants()
                    .filter(move |node| node.has_tag_name((SPACE, name)))
            };
            let titles: Vec<_> = find("Resource")
                .filter_map(|node| node.attribute("Title"))
                .collect();
            assert_eq!(titles, ["Full desktop", "Word & \"Co\" <1>"]);
            let servers: Vec<_> = find("TerminalServer")
                .filter_map(|node| node.attribute("ID"))
                .collect();
            assert!(
                find("TerminalServerRef")
                    .all(|node| servers.contains(&node.attribute("Ref").unwrap()))
            );
            assert_eq!(root.attribute("SchemaVersion"), Some(version.word()));
        }
        insta::assert_snapshot!(feed(FeedVersion::Two, "Word"));
    }

    #[test]
    fn a_client_chooses_the_version() {
        for (accept, version) in [
            ("", FeedVersion::One),
            ("*/*", FeedVersion::One),
            ("application/x-msts-radc+xml", FeedVersion::One),
            (
                "application/x-msts-radc+xml; radc_schema_version=1.1",
                FeedVersion::One,
            ),
            (
                "application/x-msts-radc+xml; radc_schema_version=2.0",
                FeedVersion::Two,
            ),
            (
                "text/xml, application/x-msts-radc+xml;radc_schema_version=2.1",
                FeedVersion::Two,
            ),
            ("text/xml; radc_schema_version=2.0", FeedVersion::One),
        ] {
            assert_eq!(FeedVersion::of(accept), version, "{accept}");
        }
    }

    proptest! {
        #[test]
        fn no_title_breaks_the_feed(title in any::<String>()) {
            let xml = feed(FeedVersion::One, &title);
            prop_assert!(roxmltree::Document::parse(&xml).is_ok(), "{xml}");
        }
    }
}
