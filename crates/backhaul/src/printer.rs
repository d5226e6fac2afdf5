//! The one place where the program writes: stdout is data, stderr is talk.

use std::fmt::Display;
use std::io::{self, IsTerminal as _, StdoutLock, Write as _};

use serde_json::Value;

/// Writes what commands have to say, as text or as JSON.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Printer {
    pub(crate) json: bool,
}

impl Printer {
    /// A line of data.
    ///
    /// # Errors
    /// [`io::ErrorKind::BrokenPipe`] when the reader has gone: not a failure.
    pub(crate) fn data(self, line: impl Display) -> io::Result<()> {
        self.write(|stdout| writeln!(stdout, "{line}"))
    }

    /// One JSON object in a line.
    pub(crate) fn object(self, object: &Value) -> io::Result<()> {
        self.data(object)
    }

    /// Bytes as they are, and a newline behind them.
    pub(crate) fn bytes(self, bytes: &[u8]) -> io::Result<()> {
        self.write(|stdout| {
            stdout.write_all(bytes)?;
            if bytes.ends_with(b"\n") { Ok(()) } else { stdout.write_all(b"\n") }
        })
    }

    /// How many columns stdout has. `None`: it is no terminal.
    pub(crate) fn columns(self) -> Option<usize> {
        let stdout = io::stdout();
        let size = stdout.is_terminal().then(|| rustix::termios::tcgetwinsize(stdout).ok())??;
        Some(usize::from(size.ws_col)).filter(|columns| *columns > 0)
    }

    /// A line of a table as it fits the terminal; all of it where stdout is none.
    pub(crate) fn cut(self, line: &str) -> String {
        let most = self.columns().unwrap_or(usize::MAX);
        let is_wide = line.chars().count() > most;
        if !is_wide {
            return line.to_owned();
        }
        line.chars().take(most.saturating_sub(1)).chain(['…']).collect()
    }

    fn write(self, write: impl FnOnce(&mut StdoutLock<'_>) -> io::Result<()>) -> io::Result<()> {
        let mut stdout = io::stdout().lock();
        let written = write(&mut stdout).and_then(|()| stdout.flush());
        written.map_err(|error| {
            io::Error::new(error.kind(), format!("cannot write to stdout: {error}"))
        })
    }

    /// A line of talk. That nobody reads it is no failure.
    pub(crate) fn talk(self, line: impl Display) {
        let _ = writeln!(io::stderr().lock(), "{line}");
    }

    /// A line of talk that replaces the one before on a terminal; elsewhere each
    /// stays. End with [`talk`](Printer::talk).
    pub(crate) fn progress(self, line: impl Display) {
        let mut stderr = io::stderr().lock();
        let _ = match stderr.is_terminal() {
            true => write!(stderr, "\r\x1b[K{line}"),
            false => writeln!(stderr, "{line}"),
        };
        let _ = stderr.flush();
    }

    /// Ends a line that [`progress`](Printer::progress) left open.
    pub(crate) fn end_progress(self) {
        let mut stderr = io::stderr().lock();
        if stderr.is_terminal() {
            let _ = writeln!(stderr);
        }
    }
}

/// A text of unknown origin for a terminal: on one line, and without commands to it.
pub(crate) fn harmless(text: &str) -> String {
    if text.is_empty() {
        return "\"\"".to_owned();
    }
    text.chars().fold(String::with_capacity(text.len()), |mut shown, character| {
        match character.is_control() {
            true => shown.extend(character.escape_default()),
            false => shown.push(character),
        }
        shown
    })
}

/// Columns as wide as their widest cell; the first to the left, the others to the
/// right. Where that is wider than `most`, cells of the first are shortened.
pub(crate) fn table(rows: &[Vec<String>], most: Option<usize>) -> String {
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let width = |column: usize| {
        rows.iter().filter_map(|row| Some(row.get(column)?.chars().count())).max().unwrap_or(0)
    };
    let mut widths: Vec<usize> = (0..columns).map(width).collect();
    let whole = widths.iter().sum::<usize>() + GAP.len() * columns.saturating_sub(1);
    if let Some(first) = widths.first_mut() {
        *first -= whole.saturating_sub(most.unwrap_or(usize::MAX)).min(*first - 1);
    }
    let lines = rows.iter().map(|row| {
        let cells =
            row.iter().zip(&widths).enumerate().map(|(column, (cell, width))| match column {
                0 => format!("{:<width$}", shortened(cell, *width)),
                _ => format!("{cell:>width$}"),
            });
        cells.collect::<Vec<_>>().join(GAP).trim_end().to_owned()
    });
    lines.collect::<Vec<_>>().join("\n")
}

/// Between two columns.
const GAP: &str = "  ";

/// A text of so many characters at most, without its middle where it is longer.
fn shortened(text: &str, most: usize) -> String {
    let letters: Vec<char> = text.chars().collect();
    if letters.len() <= most {
        return text.to_owned();
    }
    let kept = most.saturating_sub(1);
    let (before, after) = (kept.div_ceil(2), kept / 2);
    letters
        .iter()
        .take(before)
        .chain(&['…'])
        .chain(letters.iter().rev().take(after).rev())
        .collect()
}

#[cfg(test)]
mod tests {
    #[test]
    fn a_table_fits_what_there_is_of_columns() {
        let row = |cells: &[&str]| cells.iter().map(|cell| (*cell).to_owned()).collect();
        let rows = [row(&["spool", "n"]), row(&["weave/team/project", "100"])];
        assert_eq!(super::table(&rows, Some(12)), "spool      n\nwea…ect  100");
        let narrow = super::table(&rows, Some(1));
        assert!(narrow.lines().all(|line| line.chars().count() <= 6), "{narrow}");
    }

    #[test]
    fn columns_are_aligned() {
        let row = |cells: &[&str]| cells.iter().map(|cell| (*cell).to_owned()).collect();
        let rows = [row(&["spool", "n"]), row(&["a", "100"])];
        assert_eq!(super::table(&rows, None), "spool    n\na      100");
    }

    #[test]
    fn nothing_that_a_terminal_obeys_is_left_in_a_text() {
        let shown = super::harmless("é\u{1b}[2J\n\t\0\u{7f}\u{9b}");
        assert_eq!(shown, "é\\u{1b}[2J\\n\\t\\u{0}\\u{7f}\\u{9b}");
        assert_eq!(super::harmless(""), "\"\"");
    }
}
