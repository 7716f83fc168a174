//! Numbers the rows of the tables of fetches and converters. A compiled expression stores these
//! numbers, because the functions in the rows take streams, and streams contain expressions.

use language::keyword::{Family, Keyword, Table};

/// Returns the number of rows in all families.
pub(super) const fn count<B>(families: &[Family<B>]) -> usize {
    let (mut rows, mut family) = (0, 0);
    while family < families.len() {
        rows += families[family].1.len();
        family += 1;
    }
    rows
}

/// Returns all rows in order; `N` must be their [`count`].
pub(super) const fn numbered<B, const N: usize>(
    families: &[Family<B>],
) -> [&'static Keyword<B>; N] {
    let mut all = [&families[0].1[0]; N];
    let (mut at, mut family) = (0, 0);
    while family < families.len() {
        let rows = families[family].1;
        let mut row = 0;
        while row < rows.len() {
            all[at] = &rows[row];
            (at, row) = (at + 1, row + 1);
        }
        family += 1;
    }
    all
}

pub(super) fn number_of<B>(table: &Table<B>, row: &Keyword<B>) -> u16 {
    let number = table.number(row).and_then(|n| u16::try_from(n).ok());
    number.expect("a row of the same families, which are some hundred")
}

#[cfg(test)]
mod tests {
    use crate::rules::{converter, fetch};
    use language::keyword::KeywordLookup;

    #[test]
    fn a_row_found_by_its_name_is_the_row_of_its_number() {
        let mut fetches = 0;
        for known in crate::rules::documented() {
            let name = std::iter::once(known.name);
            match known.kind {
                "fetch" => {
                    if let KeywordLookup::Built(row, _) = fetch::table().find(name) {
                        assert_eq!(fetch::row(fetch::id(row)).name(), row.name());
                        fetches += 1;
                    }
                }
                "converter" => {
                    if let KeywordLookup::Built(row, _) = converter::table().find(name) {
                        let again = converter::row(converter::id(row));
                        assert_eq!(again.name(), row.name());
                    }
                }
                _ => {}
            }
        }
        assert!(fetches > 200, "{fetches}");
    }
}
