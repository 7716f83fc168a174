//! Writes all pages of the sample platforms as files, together with the style sheet and the
//! scripts, for visual inspection: `cargo run -p evenkeel-console --example pages -- DIRECTORY`.

use console::inquiry::route::DescribedRequest;
use console::inquiry::{ProxyQuery, ProxyResponse};
use console::page::{self, ConsolePage, PageContext, PageQuery, config};
use console::platform::Platform;
use console::sample;
use console::user::{UserRole, Viewer};
use part::versions::{BlameLine, Difference, File, Finding, Findings, VersionFiles};
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
        ("desktops", sample::desktops()),
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
        fs::write(folder.join("edit.js"), page::EDITOR)?;
        write(&folder, platform)?;
        if *name == "two" {
            configuration(&folder, platform)?;
        }
    }
    Ok(())
}

/// Creates a platform whose names and reasons are far too long and have no break opportunity.
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

fn viewer(role: UserRole) -> Viewer {
    Viewer {
        name: "anna".to_owned(),
        token: None,
        role,
        csrf: "sample".to_owned(),
    }
}

/// Writes a page. The paths of its files are made relative, because only a server has them at its
/// root.
fn put(folder: &Path, name: &str, html: &str) -> io::Result<()> {
    let own = ["style.css", "live.js", "edit.js"];
    let html = own.iter().fold(html.to_owned(), |html, file| {
        html.replace(&format!("\"/{file}\""), &format!("\"{file}\""))
    });
    fs::write(folder.join(name), html)
}

const TEXT: &str = "global
    log 127.0.0.1 local0

userlist staff
    user anna password ***

frontend www
    bind 192.0.2.10:443 ssl crt /etc/evenkeel/site.pem   # renewed by the cluster
    http-request deny if { path_beg \"/internal\" }
    defualt_backend shop

backend shop
    balance leastconn
    option httpchk GET /health
    server web1 198.51.100.11:8080 check
    server web2 198.51.100.12:8080 check
    server web3 198.51.100.13:8080 check
";
const PATH: &str = "/etc/evenkeel/site.cfg";

/// Creates a difference between files, and the findings of a check.
fn found() -> (Difference, Findings) {
    let difference = Difference {
        path: PATH.to_owned(),
        lines: "@@ -15,3 +15,4 @@\n     server web1 198.51.100.11:8080 check\n     server web2 198.51.100.12:8080 \
                check\n+    server web3 198.51.100.13:8080 check\n"
            .to_owned(),
        words: String::new(),
    };
    let found = Findings {
        good: false,
        all: vec![Finding {
            code: "E0103".to_owned(),
            severity: "error".to_owned(),
            message: "unknown keyword 'defualt_backend'".to_owned(),
            file: Some(PATH.to_owned()),
            line: Some(10),
            end_line: Some(10),
            column: Some(5),
            end_column: Some(20),
            help: Some("did you mean 'default_backend'?".to_owned()),
            ..Finding::default()
        }],
        changes: Vec::new(),
        differences: vec![difference.clone()],
    };
    (difference, found)
}

fn files(shown: &PageContext<'_>, put: &impl Fn(&str, String) -> io::Result<()>) -> io::Result<()> {
    let page = page::document(&ConsolePage::Configuration, shown);
    put("config.html", page.into_string())?;
    let file = File {
        path: PATH.to_owned(),
        main: true,
        text: Some(TEXT.to_owned()),
        description: String::new(),
    };
    let line = |number: usize| BlameLine {
        version: if number < 13 { 1 } else { 3 },
        or_older: false,
        author: "anna@alpha".to_owned(),
        time_s: 1_790_000_000,
    };
    let blame: Vec<BlameLine> = (1..=TEXT.lines().count()).map(line).collect();
    for (name, blame) in [("config-file", None), ("config-authors", Some(&blame[..]))] {
        let viewed = config::ViewedFile {
            version: 3,
            file: &file,
            blame,
        };
        put(
            &format!("{name}.html"),
            config::file(shown, &viewed).into_string(),
        )?;
    }
    let files = VersionFiles {
        version: 3,
        files: vec![file],
    };
    put(
        "config-files.html",
        config::files(shown, &files).into_string(),
    )
}

fn configuration(folder: &Path, platform: &Platform) -> io::Result<()> {
    let viewer = viewer(UserRole::Admin);
    let shown = PageContext::all(platform, &viewer);
    let put = |name: &str, html: String| put(folder, name, &html);
    files(&shown, &put)?;
    let paths = [PATH.to_owned(), "/etc/evenkeel/errors/503.http".to_owned()];
    let editing = config::EditState {
        meanwhile: None,
        of: 3,
        path: PATH,
        text: TEXT,
        message: "a third server",
        paths: &paths,
        wrong: None,
    };
    let (difference, found) = found();
    let editor = config::editor(&shown, &editing, Some(&found));
    put("config-editor.html", editor.into_string())?;
    let found = Findings {
        good: true,
        all: Vec::new(),
        changes: vec!["backend shop: server web3 added".to_owned()],
        ..found
    };
    put(
        "config-review.html",
        config::review(&shown, &editing, &found).into_string(),
    )?;
    let all = [difference];
    put(
        "config-difference.html",
        config::differences(&shown, Some(2), 3, &all).into_string(),
    )?;
    put(
        "config-return.html",
        config::roll_back(&shown, 1, &all, None).into_string(),
    )
}

/// Writes the pages that need a response of the proxy: requests, one request, and the disabled
/// history.
fn proxies(
    shown: &PageContext<'_>,
    put: &impl Fn(&str, String) -> io::Result<()>,
) -> io::Result<()> {
    let long = format!("/{}", "extraordinarily-long".repeat(400));
    for (name, reply) in [
        ("requests", sample::requests(24, "/", "shop.example.org")),
        ("requests-long", sample::requests(24, &long, &long)),
        ("requests-off", "No requests are kept: x".to_owned()),
    ] {
        let (ask, answer) = sample::asked(Ok(&reply));
        let asked = Some(PageQuery {
            ask: &ask,
            answer: Some(&answer),
        });
        let page = page::document(
            &ConsolePage::Requests,
            &PageContext {
                page_query: asked,
                ..*shown
            },
        );
        put(&format!("{name}.html"), page.into_string())?;
    }
    let ask = ProxyQuery::Request { id: 0x2f1c };
    let answer = ProxyResponse::read(&ask, Ok(sample::REQUEST));
    let asked = Some(PageQuery {
        ask: &ask,
        answer: Some(&answer),
    });
    let page = page::request(
        &PageContext {
            page_query: asked,
            ..*shown
        },
        0x2f1c,
    );
    put("request.html", page.into_string())?;
    let ask = ProxyQuery::table("shop", &[]);
    let answer = ProxyResponse::read(&ask, Ok(&sample::entries(40, "192.0.2.")));
    let asked = Some(PageQuery {
        ask: &ask,
        answer: Some(&answer),
    });
    let page = page::table(
        &PageContext {
            page_query: asked,
            ..*shown
        },
        "shop",
    );
    put("table.html", page.into_string())?;
    let (ask, answer) = sample::asked(Ok(&sample::requests(5, "/", "shop.example.org")));
    let asked = Some(PageQuery {
        ask: &ask,
        answer: Some(&answer),
    });
    let page = page::document(
        &ConsolePage::Overview,
        &PageContext {
            page_query: asked,
            ..*shown
        },
    );
    put("overview-errors.html", page.into_string())?;
    routes(shown, put)
}

/// Writes the pages for the path of a request, and for the running configuration files.
fn routes(
    shown: &PageContext<'_>,
    put: &impl Fn(&str, String) -> io::Result<()>,
) -> io::Result<()> {
    let question = DescribedRequest {
        method: "GET".to_owned(),
        url: "https://shop.example.org/cart".to_owned(),
        ..DescribedRequest::default()
    };
    let ask = ProxyQuery::Route(Box::new(question.clone()));
    for (name, reply) in [
        ("route", Ok(sample::ROUTE)),
        (
            "route-none",
            Err("no frontend listens on port 443 with TLS"),
        ),
    ] {
        let answer = ProxyResponse::read(&ask, reply);
        let asked = Some(PageQuery {
            ask: &ask,
            answer: Some(&answer),
        });
        let page = page::route(
            &PageContext {
                page_query: asked,
                ..*shown
            },
            &question,
        );
        put(&format!("{name}.html"), page.into_string())?;
    }
    let ProxyResponse::Files(files) = ProxyResponse::read(&ProxyQuery::Files, Ok(sample::FILES))
    else {
        return Ok(());
    };
    for (name, path) in [("served", ""), ("served-file", PATH)] {
        let page = config::served_files(shown, &files, path);
        put(
            &format!("{name}.html"),
            page.unwrap_or_default().into_string(),
        )?;
    }
    Ok(())
}

fn write(folder: &Path, platform: &Platform) -> io::Result<()> {
    let viewer = viewer(UserRole::Operator);
    let shown = PageContext::all(platform, &viewer);
    let put = |name: &str, html: String| put(folder, name, &html);
    let parts = [
        "address",
        "volume",
        "guest",
        "farm",
        "cluster",
        "supervisor",
    ];
    let pages = [
        ("overview", ConsolePage::Overview),
        ("traffic", ConsolePage::Traffic),
        ("events", ConsolePage::Events),
        ("shop", ConsolePage::Proxy("shop".to_owned())),
        (
            "backend",
            ConsolePage::Proxy("backend-with-a-long-name-07".to_owned()),
        ),
    ];
    for (name, page) in pages {
        put(
            &format!("{name}.html"),
            page::document(&page, &shown).into_string(),
        )?;
    }
    for part in parts {
        let page = ConsolePage::Part(part.to_owned());
        put(
            &format!("part-{part}.html"),
            page::document(&page, &shown).into_string(),
        )?;
    }
    let filtered = PageContext {
        filter: "web",
        member: Some("alpha"),
        outcome: Some("server shop/web3 is in maintenance"),
        ..shown
    };
    put(
        "filtered.html",
        page::document(&ConsolePage::Traffic, &filtered).into_string(),
    )?;
    proxies(&shown, &put)?;
    let wrong = Some("The name or the password is wrong.");
    put(
        "sign-in.html",
        access::page::sign_in(page::BRAND, wrong, "/").into_string(),
    )?;
    put("once.html", page::once("secret").into_string())?;
    put(
        "failure.html",
        page::failure(404, "/no/such/page").into_string(),
    )
}
