//! Writes all pages of sample platforms as files, with the style sheet and the script beside them,
//! to look at them: `cargo run -p evenkeel-console --example pages -- DIRECTORY`.

use console::page::{self, Page, Shown};
use console::platform::Platform;
use console::sample;
use console::user::{Role, Viewer};
use std::path::Path;
use std::sync::Arc;
use std::{env, fs, io};

fn main() -> io::Result<()> {
    let Some(directory) = env::args_os().nth(1) else {
        return Err(io::Error::other("usage: pages DIRECTORY"));
    };
    let directory = Path::new(&directory);
    let platforms = [
        ("two", sample::platform()),
        ("broken", sample::broken()),
        ("alone", sample::alone()),
        ("many", sample::many()),
        ("empty", Platform::default()),
        ("long", long()),
    ];
    for (name, platform) in &platforms {
        let folder = directory.join(name);
        fs::create_dir_all(&folder)?;
        fs::write(folder.join("style.css"), page::STYLE)?;
        fs::write(folder.join("live.js"), page::SCRIPT)?;
        write(&folder, platform)?;
    }
    Ok(())
}

/// Names and reasons that are far too long, without a place to break.
fn long() -> Platform {
    let mut platform = sample::platform();
    let long = "extraordinarily_long_name_that_nothing_can_break_".repeat(3);
    for member in &mut platform.members {
        member.name = format!("{}_{long}", member.name);
        let look = member.look.as_mut().map(Arc::make_mut);
        let Some(look) = look else { continue };
        for row in look
            .traffic
            .iter_mut()
            .flat_map(|traffic| &mut traffic.rows)
        {
            row.name = format!("{}_{long}", row.name);
            row.check = format!("{} {long}", row.check);
            row.errors = u64::MAX;
            row.bytes = [u64::MAX; 2];
            row.sessions = u64::MAX / 2;
        }
        for subject in look
            .reports
            .iter_mut()
            .flat_map(|report| &mut report.subjects)
        {
            subject.name = format!("{}_{long}", subject.name);
            subject.why.clone_from(&long);
        }
    }
    platform
}

fn write(folder: &Path, platform: &Platform) -> io::Result<()> {
    let viewer = Viewer {
        name: "anna".to_owned(),
        token: None,
        role: Role::Operator,
        csrf: "sample".to_owned(),
    };
    let shown = Shown {
        platform,
        viewer: &viewer,
        filter: "",
        member: None,
        told: None,
    };
    let put = |name: &str, html: String| {
        // The pages are made for a server, where paths begin at its root.
        let html = html.replace("\"/style.css\"", "\"style.css\"");
        fs::write(
            folder.join(name),
            html.replace("\"/live.js\"", "\"live.js\""),
        )
    };
    let parts = ["address", "volume", "guest", "cluster", "supervisor"];
    let pages = [
        ("overview", Page::Overview),
        ("traffic", Page::Traffic),
        ("events", Page::Events),
        ("shop", Page::Proxy("shop".to_owned())),
        (
            "backend",
            Page::Proxy("backend-with-a-long-name-07".to_owned()),
        ),
    ];
    for (name, page) in pages {
        put(
            &format!("{name}.html"),
            page::document(&page, &shown).into_string(),
        )?;
    }
    for part in parts {
        let page = Page::Part(part.to_owned());
        put(
            &format!("part-{part}.html"),
            page::document(&page, &shown).into_string(),
        )?;
    }
    let filtered = Shown {
        filter: "web",
        member: Some("alpha"),
        told: Some("server shop/web3 is in maintenance"),
        ..shown
    };
    put(
        "filtered.html",
        page::document(&Page::Traffic, &filtered).into_string(),
    )?;
    let wrong = Some("The name or the password is wrong.");
    put("sign-in.html", page::sign_in(wrong, "/").into_string())?;
    put("once.html", page::once("secret").into_string())?;
    put(
        "failure.html",
        page::failure(404, "/no/such/page").into_string(),
    )
}
