//! Produces a long report in pieces, so that it is never complete in memory: the source of the
//! report appends the next piece when the client has read the previous one.

/// Size in bytes at which a piece ends. The last row may make it longer.
const PIECE_BYTES: usize = 14 * 1024;
/// Maximum number of steps, one for each row, within a piece: some hundred microseconds.
const STEPS_MAX: usize = 64;

#[derive(Debug)]
pub struct Piece<'o> {
    pub out: &'o mut String,
    bytes_max: usize,
    steps: usize,
    steps_max: usize,
}

impl<'o> Piece<'o> {
    /// Begins a piece that is appended to an empty text.
    pub fn new(out: &'o mut String) -> Piece<'o> {
        Piece {
            out,
            bytes_max: PIECE_BYTES,
            steps: 0,
            steps_max: STEPS_MAX,
        }
    }

    /// Variant of [`Piece::new`] for a piece that ends after this many bytes or steps.
    #[cfg(test)]
    pub fn limited(out: &'o mut String, bytes_max: usize, steps_max: usize) -> Piece<'o> {
        Piece {
            out,
            bytes_max,
            steps: 0,
            steps_max,
        }
    }

    /// Returns whether the source may take another step.
    pub fn has_room(&mut self) -> bool {
        self.steps += 1;
        self.steps <= self.steps_max && self.out.len() < self.bytes_max
    }
}

/// Source of a report. It owns the data of the report, and the position reached.
pub trait PieceSource: Send {
    /// Appends the next piece, which may be empty. Returns false if it is the last one; then the
    /// source is not called again.
    fn write(&mut self, piece: &mut Piece<'_>) -> bool;
}

/// A source made of a function: each call appends one row or nothing, and returns whether more
/// follows.
pub struct RowSource<F>(pub F);

impl<F: FnMut(&mut String) -> bool + Send> PieceSource for RowSource<F> {
    fn write(&mut self, piece: &mut Piece<'_>) -> bool {
        while piece.has_room() {
            if !(self.0)(piece.out) {
                return false;
            }
        }
        true
    }
}

/// Appends pieces until the text is about as long as one piece. Returns false at the end of the
/// report. For threads on which no client waits.
pub fn fill(source: &mut dyn PieceSource, out: &mut String) -> bool {
    while out.len() < PIECE_BYTES {
        if !source.write(&mut Piece::new(out)) {
            return false;
        }
    }
    true
}

/// Returns the whole text of a report, from pieces of at most these sizes.
#[cfg(test)]
pub fn whole(source: &mut dyn PieceSource, bytes_max: usize, steps_max: usize) -> String {
    let mut text = String::new();
    loop {
        let mut out = String::new();
        let more = source.write(&mut Piece::limited(&mut out, bytes_max, steps_max));
        text.push_str(&out);
        if !more {
            return text;
        }
    }
}
