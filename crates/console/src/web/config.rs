//! Serves the pages of the configuration: its files, and changes of them. The control role decides
//! about a change, and requires the user role `admin`, as the console does.

use super::act::redirect_with_outcome;
use super::pages::to_sign_in;
use super::sign_in::{is_own, to};
use super::{Common, body_within, failure, field, fields, html, inquire, signed_in};
use crate::inquiry::{ProxyQuery, ProxyResponse as Answered};
use crate::page::config::{self, EditState, NewerVersion, ViewedFile};
use crate::page::{ConsolePage, PageContext};
use crate::platform::Platform;
use crate::shared::ConsoleState;
use crate::user::{UserRole, Viewer};
use crate::versions::{self, ask};
use axum::body::Body;
use axum::extract::{Path, RawQuery, State};
use axum::http::{HeaderMap, Request, StatusCode, Uri};
use axum::response::Response;
use maud::Markup;
use part::lock;
use part::versions::{
    ChangeDescription, Edit, File, Findings, QUESTION_BYTES_MAX, VersionFiles, VersionsRequest,
    VersionsResponse,
};
use std::sync::Arc;

pub(super) const FORM_BYTES_MAX: usize = 3 * QUESTION_BYTES_MAX;
const MESSAGE_MAX: usize = 1_000;
const CONFIRM_S_MAX: u64 = 86_400;

/// Reason why a page cannot be drawn, with the HTTP status.
pub(super) type PageError = (StatusCode, String);

fn conflict(words: String) -> PageError {
    (StatusCode::CONFLICT, words)
}

fn reject_unexpected<T>() -> Result<T, PageError> {
    let words = "the control role sent an unexpected response".to_owned();
    Err(conflict(words))
}

/// Values from which the pages of a platform are drawn for a viewer.
pub(super) struct Drawing {
    pub(super) platform: Arc<Platform>,
    pub(super) viewer: Viewer,
}

impl Drawing {
    fn shown(&self) -> PageContext<'_> {
        PageContext::all(&self.platform, &self.viewer)
    }

    pub(super) fn author(&self) -> String {
        let host = self.platform.me().map(|me| me.name.as_str());
        format!("{}@{}", self.viewer.shown(), host.unwrap_or("this machine"))
    }

    fn accepted(&self) -> Option<u64> {
        self.platform.versions.as_ref()?.accepted
    }
}

fn respond(drawn: Result<Markup, PageError>) -> Response {
    match drawn {
        Ok(markup) => html(StatusCode::OK, markup),
        Err((status, words)) => failure(status, &words),
    }
}

/// `GET /config/…`: a page below the list of configuration versions.
pub(super) async fn page(
    State(shared): State<Common>,
    Path(name): Path<String>,
    headers: HeaderMap,
    uri: Uri,
    RawQuery(query): RawQuery,
) -> Response {
    let query = query.unwrap_or_default();
    let Some((viewer, _)) = signed_in(&shared, &headers) else {
        return to_sign_in(uri.path(), &query);
    };
    shared.record_viewer();
    let platform = shared.platform.borrow().clone();
    let drawing = Drawing { platform, viewer };
    let query = fields(query.as_bytes());
    respond(match name.as_str() {
        "file" => file(&shared, &drawing, &query).await,
        "difference" => difference(&shared, &drawing, &query).await,
        "edit" => edit(&shared, &drawing, &query).await,
        "roll-back" => roll_back(&shared, &drawing, &query, None).await,
        "served" => served(&shared, &drawing, &query).await,
        "manual" => return manual(&shared, &drawing, &query),
        _ => Err((StatusCode::NOT_FOUND, "There is no such page.".to_owned())),
    })
}

async fn served(
    shared: &ConsoleState,
    drawing: &Drawing,
    query: &[(String, String)],
) -> Result<Markup, PageError> {
    let path = field(query, "path");
    match inquire::now(shared, "", &ProxyQuery::Files, &drawing.viewer).await {
        Answered::Files(files) => config::served_files(&drawing.shown(), &files, &path)
            .ok_or_else(|| (StatusCode::NOT_FOUND, format!("There is no file '{path}'."))),
        Answered::Failed(words) | Answered::Missing(words) | Answered::Off(words) => {
            Err(conflict(words))
        }
        _ => reject_unexpected(),
    }
}

pub(super) fn version(query: &[(String, String)], name: &str) -> Result<Option<u64>, PageError> {
    match field(query, name).as_str() {
        "" => Ok(None),
        number => number.parse().map(Some).map_err(|_| {
            let words = format!("'{number}' is not the number of a version.");
            (StatusCode::BAD_REQUEST, words)
        }),
    }
}

pub(super) async fn files(
    shared: &ConsoleState,
    version: Option<u64>,
) -> Result<VersionFiles, PageError> {
    let answer = ask(shared, &VersionsRequest::Files { version }).await;
    match answer.map_err(conflict)? {
        VersionsResponse::Files(files) => Ok(files),
        _ => reject_unexpected(),
    }
}

async fn file(
    shared: &ConsoleState,
    drawing: &Drawing,
    query: &[(String, String)],
) -> Result<Markup, PageError> {
    let files = files(shared, version(query, "version")?).await?;
    let path = field(query, "path");
    if path.is_empty() {
        return Ok(config::files(&drawing.shown(), &files));
    }
    let Some(file) = files.files.iter().find(|file| file.path == path) else {
        let words = format!("Version {} has no file '{path}'.", files.version);
        return Err((StatusCode::NOT_FOUND, words));
    };
    let blame = match field(query, "blame").as_str() {
        "" => None,
        _ => {
            let version = files.version;
            match ask(shared, &VersionsRequest::Blame { version, path }).await {
                Ok(VersionsResponse::Blame(lines)) => Some(lines),
                Ok(_) => return reject_unexpected(),
                Err(words) => return Err(conflict(words)),
            }
        }
    };
    let viewed = ViewedFile {
        version: files.version,
        file,
        blame: blame.as_deref(),
    };
    Ok(config::file(&drawing.shown(), &viewed))
}

/// Shows the differences between two configuration versions; by default to the parent of the newer
/// one.
async fn difference(
    shared: &ConsoleState,
    drawing: &Drawing,
    query: &[(String, String)],
) -> Result<Markup, PageError> {
    let accepted = drawing.accepted();
    let Some(to) = version(query, "to")?.or(accepted) else {
        return Err((StatusCode::NOT_FOUND, "There is no version yet.".to_owned()));
    };
    let versions = drawing.platform.versions.iter();
    let mut known = versions.flat_map(|versions| &versions.all);
    let parent = known
        .find(|one| one.id == to)
        .and_then(|version| version.parent);
    let from = version(query, "from")?.or(parent);
    let all = differences(shared, from, to).await?;
    Ok(config::differences(&drawing.shown(), from, to, &all))
}

async fn differences(
    shared: &ConsoleState,
    from: Option<u64>,
    to: u64,
) -> Result<Vec<part::versions::Difference>, PageError> {
    let answer = ask(shared, &VersionsRequest::Differences { from, to }).await;
    match answer.map_err(conflict)? {
        VersionsResponse::Differences(all) => Ok(all),
        _ => reject_unexpected(),
    }
}

fn is_admin(viewer: &Viewer) -> Result<(), PageError> {
    match viewer.role {
        UserRole::Admin => Ok(()),
        _ => {
            let words = "A change of the configuration requires the role `admin`.".to_owned();
            Err((StatusCode::FORBIDDEN, words))
        }
    }
}

fn texts(files: &VersionFiles) -> impl Iterator<Item = &File> {
    files.files.iter().filter(|file| file.text.is_some())
}

async fn edit(
    shared: &ConsoleState,
    drawing: &Drawing,
    query: &[(String, String)],
) -> Result<Markup, PageError> {
    is_admin(&drawing.viewer)?;
    let files = files(shared, None).await?;
    let path = field(query, "path");
    let wanted = |file: &&File| file.path == path || (path.is_empty() && file.main);
    let Some(file) = texts(&files).find(wanted) else {
        let words = format!("Version {} has no text file '{path}'.", files.version);
        return Err((StatusCode::NOT_FOUND, words));
    };
    let paths: Vec<String> = texts(&files).map(|file| file.path.clone()).collect();
    let editing = EditState {
        of: files.version,
        path: &file.path,
        text: file.text.as_deref().unwrap_or_default(),
        message: "",
        paths: &paths,
        wrong: None,
        meanwhile: None,
    };
    Ok(config::editor(&drawing.shown(), &editing, None))
}

async fn roll_back(
    shared: &ConsoleState,
    drawing: &Drawing,
    query: &[(String, String)],
    wrong: Option<&str>,
) -> Result<Markup, PageError> {
    is_admin(&drawing.viewer)?;
    let Some(to) = version(query, "to")? else {
        let words = "The version to return to is missing.".to_owned();
        return Err((StatusCode::BAD_REQUEST, words));
    };
    let all = differences(shared, drawing.accepted(), to).await?;
    Ok(config::roll_back(&drawing.shown(), to, &all, wrong))
}

/// Shows the entry of the manual for a line in the editor, or the explanation of a code as a page.
fn manual(shared: &ConsoleState, drawing: &Drawing, query: &[(String, String)]) -> Response {
    let code = field(query, "code");
    if !code.is_empty() {
        return respond(match (shared.manual.of_code)(&code) {
            Some(text) => Ok(config::explained(&drawing.shown(), &code, &text)),
            None => Err((StatusCode::NOT_FOUND, "There is no such code.".to_owned())),
        });
    }
    let (section, line) = (field(query, "section"), field(query, "line"));
    let text = (shared.manual.of_line)(&section, &line);
    html(StatusCode::OK, config::manual(text.as_deref()))
}

pub(super) async fn form(
    State(shared): State<Common>,
    Path(name): Path<String>,
    request: Request<Body>,
) -> Response {
    let (headers, uri) = (request.headers().clone(), request.uri().clone());
    // Reads the body before any refusal, because a client may read the response only after it has
    // sent everything.
    let viewer = signed_in(&shared, &headers).map(|(viewer, _)| viewer);
    let max = match viewer.as_ref().map(is_admin) {
        Some(Ok(())) => FORM_BYTES_MAX,
        _ => super::FORM_BYTES_MAX,
    };
    let bytes = body_within(request, max).await;
    let Some(viewer) = viewer else {
        // Refuses without a redirection, because the request comes from a script, which reloads the
        // page; that leads to the sign-in.
        return match name.as_str() {
            "check" => failure(StatusCode::UNAUTHORIZED, ""),
            _ => to("/sign-in"),
        };
    };
    if let Err((status, words)) = is_admin(&viewer) {
        return failure(status, &words);
    }
    let Some(bytes) = bytes else {
        return failure(
            StatusCode::BAD_REQUEST,
            "The form was incomplete. Send it again.",
        );
    };
    let form = fields(&bytes);
    if !is_own(&headers, &uri) || field(&form, "csrf") != viewer.csrf {
        return failure(StatusCode::FORBIDDEN, "This form came from another site.");
    }
    let platform = shared.platform.borrow().clone();
    let drawing = Drawing { platform, viewer };
    match name.as_str() {
        "check" => respond(checked(&shared, &form).await),
        "edit" => respond(edited(&shared, &drawing, &form).await),
        "apply" => applied(&shared, &drawing, &form).await,
        "act" => acted(&shared, &drawing, &form).await,
        "roll-back" => rolled_back(&shared, &drawing, &form).await,
        _ => failure(StatusCode::NOT_FOUND, "There is no such page."),
    }
}

pub(super) struct EditForm {
    of: u64,
    path: String,
    text: String,
    message: String,
}

impl EditForm {
    pub(super) fn of(form: &[(String, String)]) -> Result<EditForm, PageError> {
        let words = || {
            (
                StatusCode::BAD_REQUEST,
                "The version is missing.".to_owned(),
            )
        };
        // Replaces CR LF, with which browsers end lines.
        let text = field(form, "text").replace("\r\n", "\n");
        Ok(EditForm {
            of: field(form, "of").parse().map_err(|_| words())?,
            path: field(form, "path"),
            text,
            message: field(form, "message"),
        })
    }

    pub(super) fn edit(&self) -> Edit {
        Edit {
            of: self.of,
            texts: vec![(self.path.clone(), self.text.clone())],
        }
    }

    fn editing<'t>(&'t self, wrong: Option<&'t str>) -> EditState<'t> {
        EditState {
            of: self.of,
            path: &self.path,
            text: &self.text,
            message: &self.message,
            paths: &[],
            wrong,
            meanwhile: None,
        }
    }
}

async fn check(shared: &ConsoleState, typed: &EditForm) -> Result<Findings, PageError> {
    let answer = ask(shared, &VersionsRequest::Check(typed.edit())).await;
    match answer.map_err(conflict)? {
        VersionsResponse::Findings(found) => Ok(found),
        _ => reject_unexpected(),
    }
}

/// Returns the diagnostics of a check, for the script of the editor.
async fn checked(shared: &ConsoleState, form: &[(String, String)]) -> Result<Markup, PageError> {
    // Keeps the platform polled often while a user types, so that a newly accepted configuration
    // version is noticed soon.
    shared.record_viewer();
    let typed = EditForm::of(form)?;
    let found = check(shared, &typed).await?;
    let meanwhile = newer(shared, &typed);
    Ok(config::findings(
        &found,
        &EditState {
            meanwhile: meanwhile.as_ref(),
            ..typed.editing(None)
        },
    ))
}

/// Returns the configuration version that was accepted after the one that the user edits, as far as
/// this console knows.
fn newer(shared: &ConsoleState, typed: &EditForm) -> Option<NewerVersion> {
    let versions = lock(&shared.versions).clone()?;
    let accepted = versions.accepted.filter(|accepted| *accepted > typed.of)?;
    let version = versions.all.iter().find(|one| one.id == accepted);
    Some(NewerVersion {
        accepted,
        author: version.map_or_else(String::new, |one| one.author.clone()),
        message: version.map_or_else(String::new, |one| one.message.clone()),
        ..NewerVersion::default()
    })
}

/// Requests the configuration version that was accepted after the one that the user edits, with the
/// differences.
async fn meanwhile(shared: &ConsoleState, typed: &EditForm) -> Option<NewerVersion> {
    versions::refresh(shared).await;
    let newer = newer(shared, typed)?;
    let accepted = newer.accepted;
    // Ignores an error: a configuration version that is no longer kept cannot be compared.
    let differences = differences(shared, Some(typed.of), accepted).await.ok();
    let files = files(shared, Some(accepted)).await.unwrap_or_default();
    let file = files.files.into_iter().find(|file| file.path == typed.path);
    Some(NewerVersion {
        differences,
        text: file.and_then(|file| file.text),
        ..newer
    })
}

async fn edited(
    shared: &ConsoleState,
    drawing: &Drawing,
    form: &[(String, String)],
) -> Result<Markup, PageError> {
    let mut typed = EditForm::of(form)?;
    // Continues with the newer configuration version whose changes the user has merged.
    if let Some(onto) = version(form, "onto")? {
        typed.of = onto;
    }
    let meanwhile = meanwhile(shared, &typed).await;
    let meanwhile = meanwhile.as_ref();
    if field(form, "do") == "edit" {
        let editing = EditState {
            meanwhile,
            ..typed.editing(None)
        };
        return Ok(config::editor(&drawing.shown(), &editing, None));
    }
    // Shows the editor again after a failed check, which must not lose the typed text.
    let found = match check(shared, &typed).await {
        Ok(found) => found,
        Err((_, words)) => {
            let editing = EditState {
                meanwhile,
                ..typed.editing(Some(&words))
            };
            return Ok(config::editor(&drawing.shown(), &editing, None));
        }
    };
    let editing = EditState {
        meanwhile,
        ..typed.editing(None)
    };
    let reviews = field(form, "do") == "review" && meanwhile.is_none();
    Ok(if reviews && found.good {
        config::review(&drawing.shown(), &editing, &found)
    } else {
        config::editor(&drawing.shown(), &editing, Some(&found))
    })
}

pub(super) fn change(
    drawing: &Drawing,
    form: &[(String, String)],
) -> Result<ChangeDescription, String> {
    let message = field(form, "message").trim().to_owned();
    if message.is_empty() {
        return Err("Enter a reason for the history.".to_owned());
    }
    if message.len() > MESSAGE_MAX {
        return Err(format!("The reason has more than {MESSAGE_MAX} bytes."));
    }
    let confirm_s = match field(form, "confirm").as_str() {
        "" => None,
        number => match number.parse::<u64>() {
            Ok(number) if (10..=CONFIRM_S_MAX).contains(&number) => Some(number),
            _ => return Err(format!("'{number}' is not a time from 10 s to a day.")),
        },
    };
    Ok(ChangeDescription {
        by: drawing.author(),
        message,
        confirm_s,
    })
}

async fn applied(shared: &ConsoleState, drawing: &Drawing, form: &[(String, String)]) -> Response {
    let typed = match EditForm::of(form) {
        Ok(typed) => typed,
        Err((status, words)) => return failure(status, &words),
    };
    let outcome = match change(drawing, form) {
        Ok(change) => {
            let edit = typed.edit();
            ask(shared, &VersionsRequest::Apply { edit, change }).await
        }
        Err(words) => Err(words),
    };
    match outcome {
        Ok(answer) => decided(shared, answer),
        Err(words) => {
            let meanwhile = meanwhile(shared, &typed).await;
            let editing = EditState {
                meanwhile: meanwhile.as_ref(),
                ..typed.editing(Some(&words))
            };
            respond(Ok(config::editor(&drawing.shown(), &editing, None)))
        }
    }
}

fn decided(shared: &ConsoleState, answer: VersionsResponse) -> Response {
    let path = ConsolePage::Configuration.path();
    match answer {
        VersionsResponse::Done { words, .. } | VersionsResponse::Unknown { words } => {
            redirect_with_outcome(shared, &path, &words)
        }
        VersionsResponse::Refused { words } => failure(StatusCode::CONFLICT, &words),
        _ => respond(reject_unexpected()),
    }
}

async fn acted(shared: &ConsoleState, drawing: &Drawing, form: &[(String, String)]) -> Response {
    let by = drawing.author();
    let version = match version(form, "version") {
        Ok(Some(version)) => version,
        _ => return failure(StatusCode::BAD_REQUEST, "The version is missing."),
    };
    let question = match field(form, "do").as_str() {
        "confirm" => VersionsRequest::Confirm { version, by },
        "cancel" => VersionsRequest::Cancel { version, by },
        _ => return failure(StatusCode::BAD_REQUEST, "`do` is `confirm` or `cancel`."),
    };
    match ask(shared, &question).await {
        Ok(answer) => decided(shared, answer),
        Err(words) => failure(StatusCode::CONFLICT, &words),
    }
}

async fn rolled_back(
    shared: &ConsoleState,
    drawing: &Drawing,
    form: &[(String, String)],
) -> Response {
    let to = match version(form, "to") {
        Ok(Some(to)) => to,
        _ => {
            return failure(
                StatusCode::BAD_REQUEST,
                "The version to return to is missing.",
            );
        }
    };
    let outcome = match change(drawing, form) {
        Ok(change) => ask(shared, &VersionsRequest::RollBack { to, change }).await,
        Err(words) => Err(words),
    };
    match outcome {
        Ok(answer) => decided(shared, answer),
        Err(words) => respond(roll_back(shared, drawing, form, Some(&words)).await),
    }
}
