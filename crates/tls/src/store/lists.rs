//! Adds and removes lines of crt-lists at run time (`add`, `del ssl crt-list`). The files are
//! never written.

use super::Store;
use super::command::{StoreResponse, check_room, refuse};
use crate::crt_list::{Entry, List};
use crate::settings::TlsLine;
use crate::sni::SniFilter;

/// Returns the name of a list. A directory may be given with a trailing slash.
pub(super) fn list_name(asked: &str) -> &str {
    match asked.trim_end_matches('/') {
        "" => asked,
        name => name,
    }
}

/// Finds the entry of a list by its certificate, or by certificate and line number.
fn find(list: &List, asked: &str) -> Result<usize, String> {
    let (name, line) = match asked.rsplit_once(':') {
        Some((name, line)) => match line.parse::<u32>() {
            Ok(line) => (name, Some(line)),
            Err(_) => return Err(format!("wrong line number after colons in '{asked}'!")),
        },
        None => (asked, None),
    };
    let entries = list.entries.iter().enumerate();
    let same: Vec<(usize, u32)> = entries
        .filter(|(_, entry)| *entry.certificate == *name)
        .map(|(at, entry)| (at, entry.line))
        .collect();
    let lines = || {
        let all: Vec<String> = same.iter().map(|(_, line)| line.to_string()).collect();
        all.join(", ")
    };
    match (&same[..], line) {
        ([], _) => Err(format!("certificate '{name}' does not exist!")),
        ([(at, _)], None) => Ok(*at),
        (_, None) => Err(format!(
            "found the certificate '{name}' in several entries, please specify a line number preceded by colons ({})!",
            lines()
        )),
        (_, Some(line)) => {
            let found = same.iter().find(|(_, one)| *one == line);
            found.map(|(at, _)| *at).ok_or_else(|| {
                format!(
                    "found a certificate '{name}' but the line number is incorrect, please specify a correct line number preceded by colons ({})!",
                    lines()
                )
            })
        }
    }
}

impl Store {
    /// `add ssl crt-list <list> <certificate>`, optionally with the options and filters of a line,
    /// which the caller has parsed.
    ///
    /// # Errors
    /// The store has no such list or certificate, or the certificate is empty. The list is full, or
    /// a directory without the certificate. A user of the list cannot be prepared.
    pub fn add_to_list(
        &self,
        asked: &str,
        certificate: &str,
        options: TlsLine,
        option_words: &str,
        filters: Vec<SniFilter>,
    ) -> StoreResponse {
        let mut inner = self.inner();
        let failed = |why: String| refuse(format!("Can't edit the crt-list: {why}"));
        let name = list_name(asked);
        let Some(list) = inner.stock.lists.get(name) else {
            return failed(format!("crt-list '{name}' does not exist!"));
        };
        let inside = certificate.strip_prefix(name);
        if list.is_directory && !inside.is_some_and(|rest| rest.starts_with('/')) {
            return failed(format!(
                "'{name}' is a directory, certificate path '{certificate}' must contain the directory path"
            ));
        }
        check_room(list.entries.len())?;
        match inner.stock.certificates.get(certificate) {
            None => return failed(format!("certificate '{certificate}' does not exist!")),
            Some(None) => return failed(format!("certificate '{certificate}' is empty!")),
            Some(Some(_)) => {}
        }
        let begun = format!("Inserting certificate '{certificate}' in crt-list '{name}'");
        let Some(list) = inner.stock.lists.get_mut(name) else {
            return failed(format!("crt-list '{name}' does not exist!"));
        };
        let lines = list.lines;
        // Counts the lines of files only, because the files of a directory have no line numbers.
        list.lines += u32::from(!list.is_directory);
        list.entries.push(Entry {
            certificate: certificate.into(),
            line: list.lines,
            options,
            option_words: option_words.into(),
            filters,
        });
        match inner.publish_list(name) {
            Ok(count) => Ok(format!("{begun}{}\nSuccess!\n", ".".repeat(count))),
            Err(why) => {
                if let Some(list) = inner.stock.lists.get_mut(name) {
                    list.entries.pop();
                    list.lines = lines;
                }
                refuse(format!("{begun}.\n{why}\nFailed!"))
            }
        }
    }

    /// Command `del ssl crt-list <list> <certificate[:line]>`.
    ///
    /// # Errors
    /// The store has no such list, or the list has no such entry. Several entries have the
    /// certificate, and no line is given. The entry is the default of a listener. A user of the
    /// list cannot be prepared.
    pub fn delete_from_list(&self, asked_list: &str, asked: &str) -> StoreResponse {
        let mut inner = self.inner();
        let failed = |why: String| refuse(format!("Can't delete the entry: {why}"));
        let name = list_name(asked_list);
        let Some(list) = inner.stock.lists.get_mut(name) else {
            return failed(format!("crt-list '{name}' does not exist!"));
        };
        let at = match find(list, asked) {
            Ok(at) => at,
            Err(why) => return failed(why),
        };
        let certificate = list.entries[at].certificate.clone();
        // Refuses to delete the first certificate while it is the default for clients whose name
        // matches none.
        if at == 0 {
            let dependents = inner.dependents();
            // Lists the last `bind` line first, as HAProxy does.
            let users = dependents.iter().rev();
            let users = users.filter(|one| one.is_default_for_list(name));
            let places: String = users
                .map(|one| format!("\t- {}\n", one.place().line))
                .collect();
            if !places.is_empty() {
                return failed(format!(
                    "certificate '{certificate}' cannot be deleted, it is used as default certificate by the following frontends:\n{places}\n"
                ));
            }
        }
        let Some(list) = inner.stock.lists.get_mut(name) else {
            return failed(format!("crt-list '{name}' does not exist!"));
        };
        let entry = list.entries.remove(at);
        match inner.publish_list(name) {
            Ok(_) => Ok(format!(
                "Entry '{certificate}' deleted in crtlist '{name}'!\n"
            )),
            Err(why) => {
                if let Some(list) = inner.stock.lists.get_mut(name) {
                    list.entries.insert(at, entry);
                }
                failed(why)
            }
        }
    }
}
