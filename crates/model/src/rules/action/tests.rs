//! Tests of the tables of actions.

use super::*;

#[test]
fn every_action_stands_where_haproxy_has_it() {
    for row in FAMILIES.iter().flat_map(|(_, rows)| rows.iter()) {
        for place in row.places {
            let set = SETS.into_iter().find(|set| set.place() == *place).unwrap();
            assert!(is_known(set, row.name()), "{place} {}", row.name());
        }
    }
}

#[test]
fn the_tables_are_in_the_order_of_the_sets() {
    for set in SETS {
        assert_eq!(table(set).kind(), set.kind());
        assert_eq!(set.kind(), format!("{} action", set.place()));
    }
}
