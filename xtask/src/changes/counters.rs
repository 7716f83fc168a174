//! Checks that counters survive a change: compares the statistics page before and after it.

use std::collections::BTreeMap;

/// Columns of the statistics whose values only grow.
const CUMULATIVE: [&str; 22] = [
    "stot",
    "bin",
    "bout",
    "dreq",
    "dresp",
    "ereq",
    "econ",
    "eresp",
    "wretr",
    "wredis",
    "chkdown",
    "lbtot",
    "hrsp_1xx",
    "hrsp_2xx",
    "hrsp_3xx",
    "hrsp_4xx",
    "hrsp_5xx",
    "hrsp_other",
    "req_tot",
    "cli_abrt",
    "srv_abrt",
    "conn_tot",
];

/// Cumulative counters and states of every row of the statistics page.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Counters {
    rows: BTreeMap<String, BTreeMap<&'static str, u64>>,
    states: BTreeMap<String, String>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fallen {
    /// Proxy, server and column of the statistics, as `proxy/server column`.
    pub what: String,
    pub before: u64,
    pub after: u64,
}

impl Counters {
    /// Parses the page in CSV; None if it has another format.
    pub fn read(page: &str) -> Option<Self> {
        let mut lines = page.lines();
        let names: Vec<&str> = lines.next()?.strip_prefix("# ")?.split(',').collect();
        let mut counters = Self::default();
        for line in lines.filter(|line| !line.is_empty()) {
            let cells: Vec<&str> = line.split(',').collect();
            let row = format!("{}/{}", cells.first()?, cells.get(1)?);
            let cell = |name: &str| {
                let at = names.iter().position(|found| *found == name)?;
                cells.get(at).copied()
            };
            let numbers = CUMULATIVE
                .into_iter()
                .filter_map(|name| Some((name, cell(name)?.parse().ok()?)))
                .collect();
            if let Some(state) = cell("status") {
                counters.states.insert(row.clone(), state.to_owned());
            }
            counters.rows.insert(row, numbers);
        }
        Some(counters)
    }

    /// Returns the state of a server, such as `UP` or `DOWN 1/2`.
    pub fn state(&self, row: &str) -> Option<&str> {
        self.states.get(row).map(String::as_str)
    }

    pub fn of(&self, row: &str, column: &str) -> Option<u64> {
        self.rows.get(row)?.get(column).copied()
    }

    /// Returns the counters that are smaller in `later`, of rows that both have.
    pub fn fallen(&self, later: &Self) -> Vec<Fallen> {
        let mut fallen = Vec::new();
        for (row, before) in &self.rows {
            let Some(after) = later.rows.get(row) else {
                continue;
            };
            for (name, &before) in before {
                let after = after.get(name).copied().unwrap_or(0);
                if after < before {
                    fallen.push(Fallen {
                        what: format!("{row} {name}"),
                        before,
                        after,
                    });
                }
            }
        }
        fallen
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn page(rows: &str) -> Counters {
        let head = "# pxname,svname,scur,stot,status,req_tot,\n";
        Counters::read(&format!("{head}{rows}")).expect("a page")
    }

    #[test]
    fn a_counter_that_fell_is_found_and_a_row_that_went_is_not() {
        let before = page("web,FRONTEND,9,10,OPEN,20,\napp,gone,1,5,UP,,\n");
        let after = page("web,FRONTEND,1,9,OPEN,20,\napp,new,0,0,DOWN 1/2,,\n");
        let fallen = before.fallen(&after);
        assert_eq!(fallen.len(), 1);
        assert_eq!(
            (fallen[0].what.as_str(), fallen[0].before, fallen[0].after),
            ("web/FRONTEND stot", 10, 9)
        );
        assert!(before.fallen(&before).is_empty());
        assert_eq!(after.state("app/new"), Some("DOWN 1/2"));
    }

    #[test]
    fn a_counter_that_is_not_told_any_more_fell() {
        let before = page("web,FRONTEND,9,10,OPEN,20,\n");
        let after = page("web,FRONTEND,9,10,OPEN,,\n");
        assert_eq!(before.fallen(&after)[0].what, "web/FRONTEND req_tot");
    }

    #[test]
    fn what_is_no_page_is_none() {
        assert_eq!(Counters::read("<html>"), None);
    }
}
