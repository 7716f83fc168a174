//! Builds `server-template` lines, each of which defines several servers that follow one host name.

use super::server::{check_name, describe};
use super::{Args, Built, LineRow, places};
use crate::family::Loader;
use language::{ConfigWord, Diagnostic};
use model::codes;

const SERVERS_MAX: u32 = 100_000;

pub static LINES: &[LineRow] = language::rows! {
    "server-template <prefix> { <num> | <low>-<high> } <host>[:[+|-]<port>] [<option>…]" places::BACK_ONLY,
        server_template,
        "server-template web 5 web.example.com:80 resolvers dns init-addr none",
        "Defines several servers with the same name and options, numbered from 1 to `<num>` (or `<low>` to `<high>`) \
         after the prefix. With `resolvers` each of them gets one of the addresses of the name, or one of the hosts \
         and ports of a service such as `_http._tcp.example.com`. Surplus servers wait in maintenance.";
};

fn server_template(loader: &mut Loader, args: &mut Args<'_>) -> Built {
    let expected = "<prefix> <nb | range> <addr>[:<port>]";
    let prefix = args.required(expected)?;
    check_name(prefix, "server-template prefix")?;
    let range = args.required(expected)?;
    let (low, high) = numbers(range)?;
    let text = prefix.text().to_string();
    describe(
        loader,
        args,
        prefix,
        &mut (low..=high).map(|number| format!("{text}{number}")),
    )
}

fn numbers(word: &ConfigWord) -> Result<(u32, u32), Diagnostic> {
    let text = word.str();
    let read = |text: &str| text.parse::<u32>().ok();
    let found = match text.split_once('-') {
        Some((low, high)) => read(low).zip(read(high)),
        None => read(text).map(|count| (1, count)),
    };
    match found {
        Some((low, high)) if low <= high && high - low < SERVERS_MAX => Ok((low, high)),
        _ => Err(Diagnostic::error(
            &codes::SERVER_TEMPLATE,
            word.span,
            format!("wrong server-template number or range '{}'", word.text()),
        )
        .label("expected a number above 0, or `<low>-<high>`")),
    }
}

#[cfg(test)]
mod tests {
    use crate::testing::{backend, codes_of};

    #[test]
    fn a_template_makes_its_servers() {
        let backend = backend(
            "default-server check\nserver-template web 3 127.0.0.1:80 weight 5\nserver-template api 7-8 127.0.0.2:81",
        );
        let names: Vec<(&str, u32)> = backend.servers.iter().map(|s| (&*s.name, s.id)).collect();
        assert_eq!(
            names,
            [
                ("web1", 1),
                ("web2", 2),
                ("web3", 3),
                ("api7", 4),
                ("api8", 5)
            ]
        );
        assert!(backend.servers.iter().all(|server| server.options.check));
    }

    #[test]
    fn mistakes_are_told() {
        for line in [
            "a 0 127.0.0.1:80",
            "a 3-1 127.0.0.1:80",
            "a x 127.0.0.1:80",
            "a 1-999999 127.0.0.1:80",
            "a! 3 127.0.0.1:80",
            "a 3",
        ] {
            let told = codes_of(&format!("server-template {line}"));
            assert_eq!(told.len(), 1, "{line}: {told:?}");
        }
    }
}
