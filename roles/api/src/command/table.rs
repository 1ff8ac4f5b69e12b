//! Tables for people: each column as wide as its widest cell.

use std::io::{self, Write};

use super::terminal::one_line;

/// Between two columns.
const GAP: &str = "  ";

/// Which side of its column a cell stands on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// Text.
    Left,
    /// Numbers.
    Right,
}

/// Widths of columns.
#[derive(Clone, Copy, Debug)]
pub struct Layout<const N: usize> {
    sides: [Side; N],
    widths: [usize; N],
}

impl<const N: usize> Layout<N> {
    /// Columns that are wide enough for these cells.
    #[must_use]
    pub fn of<'a>(sides: [Side; N], rows: impl IntoIterator<Item = &'a [String; N]>) -> Self {
        let mut widths = [0; N];
        for row in rows {
            for (width, cell) in widths.iter_mut().zip(row) {
                *width = cell.chars().count().max(*width);
            }
        }
        Self { sides, widths }
    }

    /// Writes one row; nothing stands behind its last cell.
    ///
    /// # Errors
    /// When the output cannot be written.
    pub fn write(&self, out: &mut (impl Write + ?Sized), row: &[String; N]) -> io::Result<()> {
        let mut line = String::new();
        for ((cell, side), width) in row.iter().zip(self.sides).zip(self.widths) {
            // A cell may hold what a stranger wrote.
            let cell = one_line(cell);
            let cell = match side {
                Side::Left => format!("{cell:<width$}"),
                Side::Right => format!("{cell:>width$}"),
            };
            line.push_str(&cell);
            line.push_str(GAP);
        }
        writeln!(out, "{}", line.trim_end())
    }
}

/// A peer id as logs of nwaku shorten it: `16U*AfjgbWM6o`.
#[must_use]
pub fn short_peer(peer: &str) -> String {
    /// Characters at the start, the same for all nodes, and at the end, which tell them apart.
    const ENDS: (usize, usize) = (3, 9);
    let length = peer.chars().count();
    if length <= ENDS.0 + ENDS.1 {
        return peer.to_owned();
    }
    peer.chars().take(ENDS.0).chain(['*']).chain(peer.chars().skip(length - ENDS.1)).collect()
}

/// A time in its largest unit: `12s`, `5m`, `3h`, `2d`.
#[must_use]
pub fn short_time(seconds: u64) -> String {
    match seconds {
        0..120 => format!("{seconds}s"),
        120..7200 => format!("{}m", seconds / 60),
        7200..172_800 => format!("{}h", seconds / 3600),
        _ => format!("{}d", seconds / 86_400),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_as_wide_as_their_widest_cells() {
        let rows = [["NODE", "AGE", "WHY"], ["a", "12s", ""], ["longer", "5m", "no"]].map(|row| row.map(str::to_owned));
        let layout = Layout::of([Side::Left, Side::Right, Side::Left], &rows);
        let mut out = Vec::new();
        for row in &rows {
            layout.write(&mut out, row).unwrap();
        }
        let text = String::from_utf8(out).unwrap();
        assert_eq!(text, "NODE    AGE  WHY\na       12s\nlonger   5m  no\n");
    }

    #[test]
    fn peers_and_times_are_short() {
        assert_eq!(short_peer("16Uiu2HAmPiEs2ozjjJF2iN2Pe2FYeMC9w4caRHKYdLdAfjgbWM6o"), "16U*AfjgbWM6o");
        assert_eq!(short_peer("short"), "short");
        let times = [0, 119, 120, 7199, 7200, 172_799, 172_800].map(short_time);
        assert_eq!(times, ["0s", "119s", "2m", "119m", "2h", "47h", "2d"]);
    }
}
