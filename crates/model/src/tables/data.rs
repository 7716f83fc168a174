//! Defines the data types of stick table entries, their names, and the layout of an entry's data
//! words.

/// Representation of the values of a data type in an entry.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Shape {
    Number,
    /// A counter of 63 bits, stored in two words.
    Long,
    /// Event rate over a sliding period.
    Rate,
    /// A short text, stored as a number of the table's dictionary.
    Word,
}

impl Shape {
    pub const fn words(self) -> u32 {
        match self {
            Shape::Number | Shape::Word => 1,
            Shape::Long => 2,
            Shape::Rate => 3,
        }
    }
}

macro_rules! data_types {
    ($($variant:ident = $number:literal, $name:literal, $shape:ident, $array:literal, $doc:literal;)*) => {
        /// A type of data. The numbers are those of HAProxy's peers protocol and determine the
        /// order in which an entry is printed.
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
        #[repr(u8)]
        pub enum DataType {
            $(#[doc = $doc] $variant = $number,)*
        }

        impl DataType {
            pub const ALL: &[DataType] = &[$(DataType::$variant,)*];

            /// Returns the name of the type in a `store` list.
            pub fn name(self) -> &'static str {
                match self { $(DataType::$variant => $name,)* }
            }

            pub fn doc(self) -> &'static str {
                match self { $(DataType::$variant => $doc,)* }
            }

            pub const fn shape(self) -> Shape {
                match self { $(DataType::$variant => Shape::$shape,)* }
            }

            /// Returns whether the type is an array, whose number of elements `store` contains.
            pub const fn is_array(self) -> bool {
                match self { $(DataType::$variant => $array,)* }
            }
        }
    };
}

data_types! {
    ServerId = 0, "server_id", Number, false, "Id of the last used server.";
    Gpt0 = 1, "gpt0", Number, false, "First general purpose tag.";
    Gpc0 = 2, "gpc0", Number, false, "First general purpose counter.";
    Gpc0Rate = 3, "gpc0_rate", Rate, false, "Increment rate of the first general purpose counter over the period.";
    ConnCnt = 4, "conn_cnt", Number, false, "Number of tracked connections (or requests).";
    ConnRate = 5, "conn_rate", Rate, false, "Connection rate over the period.";
    ConnCur = 6, "conn_cur", Number, false, "Number of currently tracked connections (or requests).";
    SessCnt = 7, "sess_cnt", Number, false, "Number of connections that the rules accepted.";
    SessRate = 8, "sess_rate", Rate, false, "Session rate over the period.";
    HttpReqCnt = 9, "http_req_cnt", Number, false, "Number of HTTP requests.";
    HttpReqRate = 10, "http_req_rate", Rate, false, "HTTP request rate over the period.";
    HttpErrCnt = 11, "http_err_cnt", Number, false, "Number of requests that were invalid, denied, or got a 4xx response.";
    HttpErrRate = 12, "http_err_rate", Rate, false, "HTTP error rate over the period.";
    BytesInCnt = 13, "bytes_in_cnt", Long, false, "Bytes received from the client.";
    BytesInRate = 14, "bytes_in_rate", Rate, false, "Rate of bytes received from the client, over the period.";
    BytesOutCnt = 15, "bytes_out_cnt", Long, false, "Bytes sent to the client.";
    BytesOutRate = 16, "bytes_out_rate", Rate, false, "Rate of bytes sent to the client, over the period.";
    Gpc1 = 17, "gpc1", Number, false, "Second general purpose counter.";
    Gpc1Rate = 18, "gpc1_rate", Rate, false, "Increment rate of the second general purpose counter over the period.";
    ServerKey = 19, "server_key", Word, false, "Name or address of the last used server.";
    HttpFailCnt = 20, "http_fail_cnt", Number, false, "Number of requests that a server failed to serve, or that got a 5xx response (except 501 and 505).";
    HttpFailRate = 21, "http_fail_rate", Rate, false, "HTTP failure rate over the period.";
    Gpt = 22, "gpt", Number, true, "Array of general purpose tags.";
    Gpc = 23, "gpc", Number, true, "Array of general purpose counters.";
    GpcRate = 24, "gpc_rate", Rate, true, "Increment rates of general purpose counters over the period.";
    GlitchCnt = 25, "glitch_cnt", Number, false, "Number of HTTP/2 protocol errors by its clients.";
    GlitchRate = 26, "glitch_rate", Rate, false, "Glitch rate over the period.";
}

pub const TYPES: usize = DataType::ALL.len();

/// Maximum number of elements of an array (`gpc(100)`), as in HAProxy.
pub const ELEMENTS_MAX: u32 = 100;

impl DataType {
    pub fn of_name(name: &str) -> Option<DataType> {
        DataType::ALL.iter().copied().find(|one| one.name() == name)
    }

    /// Returns the array and the element for which a type is another name: `gpc0` stands for
    /// `gpc(0)`.
    fn element_of(self) -> Option<(DataType, u32)> {
        Some(match self {
            DataType::Gpt0 => (DataType::Gpt, 0),
            DataType::Gpc0 => (DataType::Gpc, 0),
            DataType::Gpc1 => (DataType::Gpc, 1),
            DataType::Gpc0Rate => (DataType::GpcRate, 0),
            DataType::Gpc1Rate => (DataType::GpcRate, 1),
            _ => return None,
        })
    }
}

/// A data type that a table stores.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Stored {
    pub kind: DataType,
    /// Number of elements; 1 unless it is an array.
    pub elements: u32,
    /// Period of a rate, milliseconds.
    pub period_ms: u32,
    /// Index of the first word within the data.
    at: u32,
}

/// Layout of the data of an entry.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Layout {
    stored: Vec<Stored>,
    /// Positions in `stored`, by the number of the type.
    places: [Option<u8>; TYPES],
    words: u32,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Cell {
    pub at: u32,
    pub shape: Shape,
    pub period_ms: u32,
}

impl Layout {
    /// Creates the layout of these data: types, numbers of elements, periods. Duplicate types are
    /// stored once.
    pub fn new(mut wanted: Vec<(DataType, u32, u32)>) -> Layout {
        wanted.sort_by_key(|(kind, ..)| *kind);
        wanted.dedup_by_key(|(kind, ..)| *kind);
        let mut layout = Layout::default();
        for (kind, elements, period_ms) in wanted {
            layout.places[kind as usize] = Some(layout.stored.len() as u8);
            let at = layout.words;
            layout.stored.push(Stored {
                kind,
                elements,
                period_ms,
                at,
            });
            layout.words += kind.shape().words() * elements;
        }
        layout
    }

    /// Returns the stored types, by number.
    pub fn stored(&self) -> &[Stored] {
        &self.stored
    }

    pub fn words(&self) -> u32 {
        self.words
    }

    /// Returns the stored type; other names of array elements are not resolved.
    pub fn of(&self, kind: DataType) -> Option<&Stored> {
        self.stored.get(self.places[kind as usize]? as usize)
    }

    /// Returns the location of an element. `gpc0` is also found as an element of `gpc`.
    pub fn cell(&self, kind: DataType, element: u32) -> Option<Cell> {
        let (stored, element) = match self.of(kind) {
            Some(stored) => (stored, element),
            None => {
                let (array, first) = kind.element_of()?;
                (self.of(array)?, first)
            }
        };
        stored.cell(element)
    }
}

impl Stored {
    pub fn cell(&self, element: u32) -> Option<Cell> {
        let shape = self.kind.shape();
        (element < self.elements).then_some(Cell {
            at: self.at + element * shape.words(),
            shape,
            period_ms: self.period_ms,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_numbers_are_the_places_in_the_list() {
        for (at, kind) in DataType::ALL.iter().enumerate() {
            assert_eq!(*kind as usize, at);
            assert_eq!(DataType::of_name(kind.name()), Some(*kind));
        }
    }

    #[test]
    fn old_counters_are_found_in_arrays() {
        let layout = Layout::new(vec![
            (DataType::GpcRate, 2, 10_000),
            (DataType::Gpc, 3, 0),
            (DataType::HttpReqCnt, 1, 0),
        ]);
        assert_eq!(layout.words(), 1 + 3 + 6);
        let at = |kind, element| layout.cell(kind, element).map(|cell| cell.at);
        assert_eq!(at(DataType::HttpReqCnt, 0), Some(0));
        assert_eq!(at(DataType::Gpc0, 0), Some(1));
        assert_eq!(at(DataType::Gpc1, 0), Some(2));
        assert_eq!(at(DataType::Gpc, 2), Some(3));
        assert_eq!(at(DataType::Gpc, 3), None);
        assert_eq!(at(DataType::Gpc1Rate, 0), Some(7));
        assert_eq!(at(DataType::Gpt0, 0), None);
    }
}
