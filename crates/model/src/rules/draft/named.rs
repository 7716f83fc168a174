//! Records references to stick tables, userlists and groups of error pages, which may be defined
//! later in the file. The loader resolves the references when the file is complete.

use super::{ConfigDraft, Section};
use crate::config::{HttpErrorsSlot, UserlistSlot};
use crate::rules::{Expression, Type};
use crate::tables::codes;
use language::{ConfigWord, Diagnostic, Span};
use std::sync::Arc;

/// Key of a table that may be defined later.
#[derive(Clone, Debug)]
pub struct TableKey {
    pub table: Box<str>,
    pub span: Span,
    pub output: Type,
}

/// Reference of an expression to a userlist.
#[derive(Debug)]
pub struct ListUse {
    pub name: Box<str>,
    pub span: Span,
    pub slot: UserlistSlot,
}

/// Reference of an ACL to a group of a userlist.
#[derive(Debug)]
pub struct GroupUse {
    /// Slot of the userlist that has the group.
    pub slot: UserlistSlot,
    pub name: Box<str>,
    pub span: Span,
}

#[derive(Debug, Default)]
pub struct UserlistUses {
    pub lists: Vec<ListUse>,
    pub groups: Vec<GroupUse>,
}

impl UserlistUses {
    /// Registers a reference and returns the slot that will receive the userlist.
    pub fn used(&mut self, name: &str, span: Span) -> UserlistSlot {
        let slot = UserlistSlot::default();
        self.lists.push(ListUse {
            name: name.into(),
            span,
            slot: Arc::clone(&slot),
        });
        slot
    }

    pub(crate) fn group_used(&mut self, slot: UserlistSlot, word: &ConfigWord) {
        self.groups.push(GroupUse {
            slot,
            name: word.text().into(),
            span: word.span,
        });
    }
}

/// Reference of a line to a group of error pages.
#[derive(Debug)]
pub struct ErrorGroupUse {
    pub name: Box<str>,
    pub span: Span,
    /// Statuses that the line selects by number.
    pub statuses: Vec<u16>,
    pub slot: HttpErrorsSlot,
}

#[derive(Debug, Default)]
pub struct ErrorGroupUses(pub Vec<ErrorGroupUse>);

impl ErrorGroupUses {
    /// Registers a reference and returns the slot that will receive the group.
    pub fn used(&mut self, name: &ConfigWord, statuses: &[u16]) -> HttpErrorsSlot {
        let slot = HttpErrorsSlot::default();
        self.0.push(ErrorGroupUse {
            name: name.text().into(),
            span: name.span,
            statuses: statuses.to_vec(),
            slot: Arc::clone(&slot),
        });
        slot
    }
}

impl ConfigDraft {
    /// Registers a reference to a stick table, which the loader resolves when the file is complete.
    pub fn name_table(&mut self, name: &str, span: Span) {
        self.lookups.push(crate::rules::Lookup {
            span,
            kind: crate::rules::ArgumentKind::Table,
            backend: None,
            name: name.into(),
            from: self.section,
        });
    }

    /// Returns the name of the section's own table.
    ///
    /// # Errors
    /// The section is not a proxy, such as `defaults`.
    pub fn own_table(&self, span: Span) -> Result<Box<str>, Diagnostic> {
        match self.section {
            Section::Proxy(index, _) => Ok(self.config.proxy(index).name.clone()),
            _ => Err(Diagnostic::error(
                &codes::NO_OWN_TABLE,
                span,
                "rules in a 'defaults' section must name a table",
            )
            .label("the table is missing")),
        }
    }

    /// Registers the key of a table lookup until the table is known.
    pub fn key_of_table(&mut self, table: &str, expression: &Expression) {
        self.table_keys.push(TableKey {
            table: table.into(),
            span: expression.span,
            output: expression.output(),
        });
    }
}
