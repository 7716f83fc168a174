//! Writes the pages of a sample portal as files, together with the style sheet and the icons, for
//! visual inspection: `cargo run -p evenkeel-farm --example portal -- DIRECTORY`.

use access::session::Visitor;
use farm::config::{App, Desktop};
use farm::guests::Guest;
use farm::portal::offer::PublishedResource;
use farm::portal::page::{List, STYLE, Screen, list, screen};
use farm::site::{How, Stay};
use part::report::{Grade, Opens, SubjectState};
use part::role::PartMessage;
use screen::kind::KINDS;
use std::path::Path;
use std::{env, fs, io};

const BRAND: &str = "desktop.example.org";

fn app(name: &str, title: &str) -> App {
    App {
        name: name.to_owned(),
        title: title.to_owned(),
        path: format!("||{name}"),
        args: String::new(),
        icon: Vec::new(),
        groups: Vec::new(),
        hosts: Default::default(),
    }
}

fn guest(name: &str, state: Option<(&str, Grade)>, on: &str, opens: &[Opens]) -> Guest {
    let message = PartMessage {
        part: "guest".to_owned(),
        kind: 0,
        holds: false,
        bytes: Vec::new(),
        by: String::new(),
    };
    Guest {
        name: name.to_owned(),
        state: state.map(|(word, grade)| SubjectState {
            word: word.to_owned(),
            grade,
        }),
        on: on.to_owned(),
        offers: opens
            .iter()
            .map(|opens| (*opens, message.clone()))
            .collect(),
    }
}

fn main() -> io::Result<()> {
    let Some(directory) = env::args_os().nth(1) else {
        return Err(io::Error::other("usage: portal DIRECTORY"));
    };
    let directory = Path::new(&directory).join("portal");
    fs::create_dir_all(directory.join("icon"))?;
    let desktop = Desktop {
        title: "Full desktop".to_owned(),
        groups: Vec::new(),
        hosts: Default::default(),
    };
    let long = "Extraordinarily_long_title_that_nothing_can_break_".repeat(3);
    let apps = [
        app("word", "Word"),
        app("excel", "Excel"),
        app("erp", "Orders and stock"),
        app("cad", "Construction"),
    ];
    let odd = [app("long", &long), app("rtl", "<b>\u{202e}txt</b>")];
    let offers: Vec<PublishedResource<'_>> = [PublishedResource::Desktop(&desktop)]
        .into_iter()
        .chain(apps.iter().map(PublishedResource::App))
        .collect();
    let odd: Vec<PublishedResource<'_>> = odd.iter().map(PublishedResource::App).collect();
    for offer in offers.iter().chain(&odd) {
        let file = directory.join("icon").join(format!("{}.png", offer.name()));
        fs::write(file, offer.icon())?;
    }
    write(&directory, &offers, &odd)
}

fn guests() -> Vec<Guest> {
    let both = [Opens::Display, Opens::Terminal];
    let running = Some(("running", Grade::Good));
    let paused = Some(("paused", Grade::Busy));
    vec![
        guest("erp", running, "alpha", &both),
        guest("mail", None, "beta", &both),
        guest("telephony", paused, "alpha", &both[1..]),
    ]
}

/// Returns the page of a display, and the page without the library that draws it.
fn screens_of(visitor: &Visitor) -> [(&'static str, String); 2] {
    let [kind, ..] = &KINDS;
    let page = |script| {
        screen(&Screen {
            brand: BRAND,
            visitor,
            kind,
            guest: "mail",
            script,
        })
        .into_string()
    };
    [
        ("display.html", page(Some("/screen.js"))),
        ("missing.html", page(None)),
    ]
}

/// Returns the session of a user on a host, to which the user's tile on the page leads.
fn stay(host: &str, is: How) -> [Stay; 1] {
    [Stay {
        host: host.to_owned(),
        is,
        is_led: true,
    }]
}

fn write(
    directory: &Path,
    offers: &[PublishedResource<'_>],
    odd: &[PublishedResource<'_>],
) -> io::Result<()> {
    let visitor = Visitor {
        name: "anna".to_owned(),
        unlisted: false,
        csrf: "sample".to_owned(),
        account: None,
    };
    let away = stay("ts1", How::Left(14 * 60_000));
    let here = stay("ts2", How::Connected);
    let long = guest(
        &"long-name-of-a-guest-".repeat(3),
        None,
        "beta",
        &[Opens::Display],
    );
    let odd_guests = Ok([guests(), vec![long]].concat());
    let guests = Ok(guests());
    let page = |offers, sessions, guests| {
        let list = list(&List {
            brand: BRAND,
            visitor: &visitor,
            offers,
            closed: &[],
            guests,
            sessions,
            notice: None,
            authority: BRAND,
            gateway: None,
        });
        // Makes the paths relative, because the files are in the same directory.
        let html = list.into_string();
        html.replace("href=\"/style.css", "href=\"style.css")
            .replace("src=\"/icon", "src=\"icon")
    };
    let put = |name: &str, html: String| {
        fs::write(
            directory.join(name),
            html.replace("\"/style.css", "\"style.css"),
        )
    };
    put("list.html", page(offers, &away, None))?;
    put("connected.html", page(offers, &here, None))?;
    put("empty.html", page(&[], &[], None))?;
    put("odd.html", page(odd, &[], None))?;
    put("guests.html", page(offers, &[], Some(&guests)))?;
    put("only-guests.html", page(&[], &[], Some(&odd_guests)))?;
    let silent = Err("The guest role does not respond.".to_owned());
    put("silent.html", page(&[], &[], Some(&silent)))?;
    for (name, page) in screens_of(&visitor) {
        put(name, page)?;
    }
    put(
        "sign-in.html",
        access::page::sign_in(BRAND, None, "/").into_string(),
    )?;
    let wrong = Some("The name or the password is wrong.");
    put(
        "wrong.html",
        access::page::sign_in(BRAND, wrong, "/").into_string(),
    )?;
    put(
        "code.html",
        access::page::second_factor(BRAND, None, "a", "/").into_string(),
    )?;
    put(
        "failure.html",
        access::page::failure(BRAND, 404, "", "To the list").into_string(),
    )?;
    fs::write(directory.join("style.css"), STYLE)
}
