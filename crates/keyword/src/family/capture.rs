//! Builds the lines that declare slots for captured values: `capture request header`, `capture
//! response header`, `capture cookie`, `declare capture`.

use super::{Args, Built, LineRow, places};
use crate::family::Loader;
use language::Diagnostic;
use model::codes;
use model::config::{Capture, CaptureCookie};
use model::rules::{CAPTURE_BYTES_MAX, CAPTURE_SLOTS_MAX};

pub(super) static LINES: &[LineRow] = language::rows! {
    "capture cookie <name> len <length>" places::FRONT_ONLY, cookie,
        "capture cookie ASPSESSION len 32",
        "Captures the first cookie whose name starts with <name>, from each request and each response, for the log \
         (`%CC` and `%CS`, both in `option httplog`): name, equals sign and value, truncated to <length>. With an \
         equals sign after the name, only that exact cookie is captured.";
    "capture request header <name> len <length>" places::FRONT_ONLY,
        |loader, args| header(loader, args, CaptureSide::Request), "capture request header host len 64",
        "Captures a header of each request, as received, for the log (`%hr`) and for `capture.req.hdr`, truncated to \
         <length>. Of several headers the last one is captured. Slots are numbered from 0.";
    "capture response header <name> len <length>" places::FRONT_ONLY,
        |loader, args| header(loader, args, CaptureSide::Response),
        "capture response header location len 64",
        "Captures a header of each response, as the server sent it, for the log (`%hs`) and for `capture.res.hdr`, \
         truncated to <length>. Of several headers the last one is captured. Slots are numbered from 0.";
    "declare capture { request | response } len <length>" places::FRONT_ONLY, declare,
        "declare capture request len 64",
        "Declares a slot that `capture … id` rules fill, including those of backends. Slots are numbered from 0, \
         together with those of `capture … header` lines.";
};

#[derive(Clone, Copy, PartialEq, Eq)]
enum CaptureSide {
    Request,
    Response,
}

fn header(loader: &mut Loader, args: &mut Args<'_>, side: CaptureSide) -> Built {
    let name = args.required("<name>")?.bytes.to_ascii_lowercase();
    add(loader, args, side, Some(name.into()))
}

fn cookie(loader: &mut Loader, args: &mut Args<'_>) -> Built {
    let begin = args.required("<name>")?.bytes.clone().into();
    let word = args.remaining_words().get(1);
    let mut length_max = length(args)?;
    let most = loader.config.global.tune.cookie_capture_max;
    if let Some(word) = word.filter(|_| length_max > most) {
        let told = format!("'capture cookie' captures {most} bytes, not {length_max}");
        args.add_warning(
            Diagnostic::warning(&codes::LOOSE_VALUE, word.span, told)
                .label("truncated")
                .help("set `tune.http.cookielen` in `global` before this line to capture more"),
        );
        length_max = most;
    }
    loader.proxy().capture_cookie = Some(Box::new(CaptureCookie { begin, length_max }));
    args.warn_of_surplus()
}

fn length(args: &mut Args<'_>) -> Result<usize, Diagnostic> {
    if !args.take_if("len") {
        // Reports the surplus word if there is one, otherwise the missing word.
        args.end()?;
        args.required("'len' and a length")?;
    }
    let length = args.integer("<length>", 0..=CAPTURE_BYTES_MAX)?;
    Ok(usize::try_from(length).unwrap_or_default())
}

fn declare(loader: &mut Loader, args: &mut Args<'_>) -> Built {
    let word = args.required("'request' or 'response'")?;
    let side = match word.str() {
        "request" => CaptureSide::Request,
        "response" => CaptureSide::Response,
        other => {
            return Err(Diagnostic::error(
                &codes::BAD_VALUE,
                word.span,
                format!("'declare capture' expects 'request' or 'response', not '{other}'"),
            )
            .label("not understood")
            .help(format!("write `{}`", args.syntax)));
        }
    };
    add(loader, args, side, None)
}

fn add(
    loader: &mut Loader,
    args: &mut Args<'_>,
    side: CaptureSide,
    header: Option<Box<[u8]>>,
) -> Built {
    let length_max = length(args)?;
    if length_max == 0 && header.is_none() {
        loader.report(
            Diagnostic::error(
                &codes::OUT_OF_RANGE,
                args.line().span,
                "the length of a declared capture is 0",
            )
            .help("nothing could be stored in it: write at least `len 1`")
            .with_earlier_behaviour("nothing is stored in it"),
        );
    }
    args.warn_of_surplus()?;
    let captures = &mut loader.proxy().captures;
    let slots = if side == CaptureSide::Request {
        &mut captures.request
    } else {
        &mut captures.response
    };
    if slots.len() >= CAPTURE_SLOTS_MAX {
        return Err(Diagnostic::error(
            &codes::OUT_OF_RANGE,
            args.line().span,
            format!("more than {CAPTURE_SLOTS_MAX} captures in one proxy"),
        )
        .label("one too many"));
    }
    slots.push(Capture { header, length_max });
    Ok(())
}
