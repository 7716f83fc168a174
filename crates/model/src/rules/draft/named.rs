//! What lines name that may stand below them: tables, lists of users, groups of error pages.
//! It is looked for when the file is whole.

use super::{Draft, Section};
use crate::config::{HttpErrorsSlot, UserlistSlot};
use crate::rules::{Expression, Type};
use crate::tables::codes;
use language::{Diagnostic, Span, Word};
use std::sync::Arc;

/// A key of a table that may stand below.
#[derive(Clone, Debug)]
pub struct TableKey {
    /// The name of the table.
    pub table: Box<str>,
    /// Where it is named.
    pub span: Span,
    /// The type of the key.
    pub output: Type,
}

/// An expression that names a list.
#[derive(Debug)]
pub struct ListUse {
    /// The name of the list.
    pub name: Box<str>,
    /// Where it is named.
    pub span: Span,
    /// Where the list goes.
    pub slot: UserlistSlot,
}

/// Groups that an ACL compares with.
#[derive(Debug)]
pub struct GroupUse {
    /// The list of the groups.
    pub slot: UserlistSlot,
    /// The name of the group.
    pub name: Box<str>,
    /// Where it is named.
    pub span: Span,
}

/// Who names lists of users.
#[derive(Debug, Default)]
pub struct UserlistUses {
    /// Expressions that name a list.
    pub lists: Vec<ListUse>,
    /// ACLs that name a group.
    pub groups: Vec<GroupUse>,
}

impl UserlistUses {
    /// The place in an expression which a list will be put in.
    pub fn used(&mut self, name: &str, span: Span) -> UserlistSlot {
        let slot = UserlistSlot::default();
        self.lists.push(ListUse {
            name: name.into(),
            span,
            slot: Arc::clone(&slot),
        });
        slot
    }

    /// An ACL compares the groups of a user with one.
    pub(crate) fn group_used(&mut self, slot: UserlistSlot, word: &Word) {
        self.groups.push(GroupUse {
            slot,
            name: word.text().into(),
            span: word.span,
        });
    }
}

/// A line that names a group.
#[derive(Debug)]
pub struct ErrorGroupUse {
    /// The name of the group.
    pub name: Box<str>,
    /// Where it is named.
    pub span: Span,
    /// The statuses that it wants by name.
    pub statuses: Vec<u16>,
    /// Where the pages go.
    pub slot: HttpErrorsSlot,
}

/// Who names groups of error pages.
#[derive(Debug, Default)]
pub struct ErrorGroupUses(pub Vec<ErrorGroupUse>);

impl ErrorGroupUses {
    /// The place in a line which a group will be put in.
    pub fn used(&mut self, name: &Word, statuses: &[u16]) -> HttpErrorsSlot {
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

impl Draft {
    /// A table is named here; it is looked for when the file is whole.
    pub fn name_table(&mut self, name: &str, span: Span) {
        self.lookups.push(crate::rules::Lookup {
            span,
            kind: crate::rules::ArgumentKind::Table,
            backend: None,
            name: name.into(),
            from: self.section,
        });
    }

    /// The name of the section's own table.
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

    /// Keeps what a table is asked with until the table is known.
    pub fn key_of_table(&mut self, table: &str, expression: &Expression) {
        self.table_keys.push(TableKey {
            table: table.into(),
            span: expression.span,
            output: expression.output(),
        });
    }
}
