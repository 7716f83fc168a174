//! Draws the page of a stick table with the entries that have the largest values.

use super::actions::can_show_forms;
use super::frame::below;
use super::machine::{no_machine_text, stale_data_note};
use super::requests::{cut, member};
use super::state::quantity;
use super::words::{clean, count, encode};
use super::{ConsolePage, PageContext};
use crate::inquiry::table::{Column, StickTableEntry, StickTableView};
use crate::inquiry::{ProxyQuery, ProxyResponse};
use crate::platform::PlatformMember;
use crate::traffic::{StickTableHead, Traffic};
use crate::user::UserRole;
use ::access::page::hidden;
use maud::{Markup, html};
use part::report::span;

const TABLES_MAX: usize = 40;
const COLUMNS_MAX: usize = 8;
const ENTRIES_MAX: usize = 200;
/// Maximum length of all entries together, bytes. Hostile clients can choose keys that grow when
/// they are escaped.
const BYTES_MAX: usize = 70_000;
const NAME: usize = 64;
const KEY: usize = 64;
const VALUE: usize = 32;

fn path(name: &str, member: Option<&str>) -> String {
    let on = member.map(|name| format!("?on={}", encode(name)));
    format!("/tables/{}{}", encode(name), on.unwrap_or_default())
}

pub(super) fn list(
    member: &PlatformMember,
    at: usize,
    traffic: &Traffic,
    proxy: Option<&str>,
) -> Markup {
    let fits = |one: &&StickTableHead| proxy.is_none_or(|name| one.name == name);
    let all: Vec<&StickTableHead> = traffic.tables.iter().filter(fits).collect();
    let on = (at > 0).then_some(member.name.as_str());
    html! {
        @if !all.is_empty() {
            h3 { "Stick tables" }
            ul.tables {
                @for one in all.iter().take(TABLES_MAX) {
                    li {
                        a href=(path(&one.name, on)) { (cut(&one.name, NAME)) } " "
                        span.muted {
                            (cut(&one.kind, NAME)) ", " (count(one.used)) " of " (count(one.size)) " entries"
                        }
                    }
                }
            }
            @if all.len() > TABLES_MAX { p.more { "… and " (all.len() - TABLES_MAX) " more." } }
        }
    }
}

pub fn table(shown: &PageContext<'_>, name: &str) -> Markup {
    let title = format!("Stick table {}", cut(name, 2 * NAME));
    let content = match member(shown) {
        None => no_machine_text(),
        Some(member) => of_member(shown, member, name),
    };
    below(
        &ConsolePage::Traffic,
        shown,
        &title,
        None,
        &html! { div #table { (content) } },
    )
}

fn of_member(shown: &PageContext<'_>, member: &PlatformMember, name: &str) -> Markup {
    let answer = shown.page_query.and_then(|asked| asked.answer);
    let traffic = member.look.as_ref().and_then(|look| look.traffic.as_ref());
    let known = traffic.and_then(|traffic| traffic.tables.iter().find(|one| one.name == name));
    html! {
        (stale_data_note(member))
        @if super::machine::several(shown) { p.aside { "On " b { (clean(&member.name)) } "." } }
        @match (answer, known) {
            (Some(ProxyResponse::Table(table)), _) => (entries(shown, member, table)),
            (Some(ProxyResponse::Missing(_)), _) => {
                p.empty { "No stick table of this name. " a href=(ConsolePage::Traffic.path()) { "All traffic" } }
            }
            (Some(ProxyResponse::Failed(words) | ProxyResponse::Off(words)), _) => {
                p.note.old { "No entries: " (cut(words, 400)) }
            }
            (_, Some(head)) if shown.viewer.role < UserRole::Operator => {
                p { (cut(&head.kind, NAME)) ", " (count(head.used)) " of " (count(head.size)) " entries." }
                p.empty { "Entries require the role operator: their keys are addresses and cookies of \
                           clients." }
            }
            _ => p.empty { "No stick table of this name is known." }
        }
    }
}

/// Returns the requested column and the text that keys must contain.
fn asked<'s>(shown: &PageContext<'s>) -> [&'s str; 2] {
    match shown.page_query.map(|asked| asked.ask) {
        Some(ProxyQuery::Table { by, has, .. }) => [by, has],
        _ => [""; 2],
    }
}

fn entries(shown: &PageContext<'_>, member: &PlatformMember, table: &StickTableView) -> Markup {
    let [_, has] = asked(shown);
    let columns = &table.columns[..table.columns.len().min(COLUMNS_MAX)];
    let mut rows = Vec::new();
    let mut bytes = 0;
    for one in table.entries.iter().take(ENTRIES_MAX) {
        let row = row(shown, member, table, one, columns);
        bytes += row.0.len();
        if bytes > BYTES_MAX {
            break;
        }
        rows.push(row);
    }
    html! {
        dl.steps {
            div { dt { "type" } dd { (cut(&table.kind, NAME)) } }
            div { dt { "entries" } dd { (count(table.used)) } }
            div { dt { "size" } dd { (count(table.size)) } }
            div {
                dt { "expire" }
                dd { @match table.expire_ms { Some(ms) => (quantity(&span(ms))), None => "never" } }
            }
        }
        (form(shown, table))
        @if can_show_forms(shown, member) { (removal(shown, member, table)) }
        @if rows.is_empty() {
            p.empty {
                @if has.is_empty() { "The table is empty." } @else { "No key has “" (cut(has, KEY)) "”." }
            }
        } @else {
            div.scroll tabindex="0" role="group" aria-label="Entries" {
                table.entries.of-keys {
                    caption.vh { "Entries of table " (cut(&table.name, NAME)) }
                    thead {
                        tr {
                            th scope="col" { "Key" }
                            @for column in columns { th.num scope="col" { (heading(column)) } }
                            th.num scope="col" { "Expires" }
                            th scope="col" { span.vh { "Actions" } }
                        }
                    }
                    tbody { @for row in &rows { (row) } }
                }
            }
            p.more {
                (count(rows.len() as u64)) " of " (count(table.matching)) " that match, the largest values first."
                @if table.matching > rows.len() as u64 {
                    " " (count(table.matching - rows.len() as u64))
                    " are not shown: “Key contains” finds them, or another column under “Largest”."
                }
                @if table.columns.len() > COLUMNS_MAX { " Columns beyond the first " (COLUMNS_MAX) " are not shown." }
            }
        }
    }
}

fn heading(column: &Column) -> Markup {
    html! {
        (cut(&column.name, NAME))
        @if column.period_ms > 0 { " " span.u { "/ " (span(column.period_ms)) } }
    }
}

fn form(shown: &PageContext<'_>, table: &StickTableView) -> Markup {
    let [_, has] = asked(shown);
    let by = table.sorted_by.as_deref().unwrap_or_default();
    html! {
        form.filter role="search" method="get" action=(path(&table.name, None)) {
            @if let Some(member) = shown.member { input type="hidden" name="on" value=(member); }
            label {
                span { "Key contains" }
                input name="has" value=(has) autocomplete="off" autocapitalize="none" spellcheck="false" maxlength="200";
            }
            label {
                span { "Largest" }
                select name="by" {
                    @for column in table.columns.iter().take(COLUMNS_MAX) {
                        option value=(column.name) selected[column.name == by] { (cut(&column.name, NAME)) }
                    }
                }
            }
            div.go {
                button type="submit" { "Show" }
                @if !has.is_empty() { a.clear href=(path(&table.name, shown.member)) { "Show all" } }
            }
        }
    }
}

fn row(
    shown: &PageContext<'_>,
    member: &PlatformMember,
    table: &StickTableView,
    one: &StickTableEntry,
    columns: &[Column],
) -> Markup {
    let value = |column: &Column| match one.values.get(&column.name) {
        Some(serde_json::Value::Number(number)) => match number.as_u64() {
            Some(number) => count(number),
            None => number.to_string(),
        },
        Some(serde_json::Value::String(text)) => cut(text, VALUE).into_owned(),
        _ => String::new(),
    };
    html! {
        tr {
            th scope="row" { (cut(&one.key, KEY)) }
            @for column in columns {
                @let value = value(column);
                td.num.z[value == "0"] data-name=(cut(&column.name, NAME)) { (value) }
            }
            td.num data-name="expires" { @if table.expire_ms.is_some() { (quantity(&span(one.expires_ms))) } }
            td.c-act {
                @if one.plain && can_show_forms(shown, member) { (remove(one)) }
            }
        }
    }
}

const REMOVAL: &str = "remove-entry";

fn remove(one: &StickTableEntry) -> Markup {
    html! {
        button form=(REMOVAL) name="key" value=(one.key) aria-label={ "Remove " (cut(&one.key, KEY)) } { "Remove…" }
    }
}

fn removal(shown: &PageContext<'_>, member: &PlatformMember, table: &StickTableView) -> Markup {
    let [by, has] = asked(shown);
    let mut back = path(&table.name, shown.member);
    for (name, value) in [("by", by), ("has", has)] {
        if !value.is_empty() {
            let mark = if back.contains('?') { '&' } else { '?' };
            back.push_str(&format!("{mark}{name}={}", encode(value)));
        }
    }
    html! {
        form #(REMOVAL) method="post" action="/act" {
            (hidden("csrf", &shown.viewer.csrf))
            (hidden("on", &member.name))
            (hidden("what", "entry"))
            (hidden("table", &table.name))
            (hidden("back", &back))
        }
    }
}
