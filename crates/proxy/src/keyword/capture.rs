//! Slots for captured values: `capture request header`, `declare capture`.

use super::{Args, Built, LineRow, places};
use crate::config::{Capture, CaptureCookie};
use crate::load::{Loader, codes};
use crate::rules::{CAPTURE_BYTES_MAX, CAPTURE_SLOTS_MAX};
use language::Diagnostic;

pub(super) static LINES: &[LineRow] = &[
    LineRow {
        name: "capture cookie",
        places: places::FRONT_ONLY,
        syntax: "capture cookie <name> len <length>",
        doc: "Keeps the first cookie that begins so, of each request and of each answer, for the log line (`%CC` and `%CS`, both in `option httplog`): \
              its name, an equals sign and its value, cut to a length. With an equals sign behind the name only that very cookie is meant.",
        example: "capture cookie ASPSESSION len 32",
        build: cookie,
    },
    LineRow {
        name: "capture request header",
        places: places::FRONT_ONLY,
        syntax: "capture request header <name> len <length>",
        doc: "Keeps a header of each request, as it was received, for the log line (`%hr`) and for `capture.req.hdr`, cut to a length; of several lines the last. Slots are counted from 0.",
        example: "capture request header host len 64",
        build: |loader, args| header(loader, args, Side::Request),
    },
    LineRow {
        name: "capture response header",
        places: places::FRONT_ONLY,
        syntax: "capture response header <name> len <length>",
        doc: "Keeps a header of each response, as the server sent it, for the log line (`%hs`) and for `capture.res.hdr`, cut to a length; of several lines the last. Slots are counted from 0.",
        example: "capture response header location len 64",
        build: |loader, args| header(loader, args, Side::Response),
    },
    LineRow {
        name: "declare capture",
        places: places::FRONT_ONLY,
        syntax: "declare capture { request | response } len <length>",
        doc: "Makes a slot that `capture … id` rules fill, also those of backends. Slots are counted from 0, together with those of `capture … header` lines.",
        example: "declare capture request len 64",
        build: declare,
    },
];

#[derive(Clone, Copy, PartialEq, Eq)]
enum Side {
    Request,
    Response,
}

fn header(loader: &mut Loader, args: &mut Args<'_>, side: Side) -> Built {
    let name = args.required("<name>")?.bytes.to_ascii_lowercase();
    add(loader, args, side, Some(name.into()))
}

fn cookie(loader: &mut Loader, args: &mut Args<'_>) -> Built {
    let begin = args.required("<name>")?.bytes.clone().into();
    let word = args.left().get(1);
    let mut length_max = length(args)?;
    let most = loader.config.global.tune.cookie_capture_max;
    if let Some(word) = word.filter(|_| length_max > most) {
        let told = format!("'capture cookie' keeps {most} bytes, not {length_max}");
        args.tell(
            Diagnostic::warning(&codes::LOOSE_VALUE, word.span, told)
                .label("cut down")
                .help("set `tune.http.cookielen` in `global` before this line for more"),
        );
        length_max = most;
    }
    loader.proxy().capture_cookie = Some(Box::new(CaptureCookie { begin, length_max }));
    args.surplus()
}

/// `len <length>`
fn length(args: &mut Args<'_>) -> Result<usize, Box<Diagnostic>> {
    if !args.take("len") {
        // An empty line says what is missing; another word is one too many.
        args.end()?;
        args.required("'len' and a length")?;
    }
    let length = args.integer("<length>", 0..=CAPTURE_BYTES_MAX)?;
    Ok(usize::try_from(length).unwrap_or_default())
}

fn declare(loader: &mut Loader, args: &mut Args<'_>) -> Built {
    let word = args.required("'request' or 'response'")?;
    let side = match word.str() {
        "request" => Side::Request,
        "response" => Side::Response,
        other => {
            return Err(Box::new(
                Diagnostic::error(
                    &codes::BAD_VALUE,
                    word.span,
                    format!("'declare capture' expects 'request' or 'response', not '{other}'"),
                )
                .label("not understood")
                .help(format!("write `{}`", args.syntax)),
            ));
        }
    };
    add(loader, args, side, None)
}

fn add(loader: &mut Loader, args: &mut Args<'_>, side: Side, header: Option<Box<[u8]>>) -> Built {
    let length_max = length(args)?;
    args.surplus()?;
    let captures = &mut loader.proxy().captures;
    let slots = if side == Side::Request {
        &mut captures.request
    } else {
        &mut captures.response
    };
    if slots.len() >= CAPTURE_SLOTS_MAX {
        return Err(Box::new(
            Diagnostic::error(
                &codes::OUT_OF_RANGE,
                args.line().span,
                format!("more than {CAPTURE_SLOTS_MAX} captures in one proxy"),
            )
            .label("one too many"),
        ));
    }
    slots.push(Capture { header, length_max });
    Ok(())
}
