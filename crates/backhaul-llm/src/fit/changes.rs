//! What was done to a request, in words.

/// What was done to a request.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Changes {
    notes: Vec<String>,
    pub(super) trimmed_tokens: u64,
}

impl Changes {
    pub(super) fn note(&mut self, what: impl Into<String>) {
        self.notes.push(what.into());
    }

    /// Says how many of something: `2 images replaced by text`.
    pub(super) fn count(&mut self, count: usize, one: &str, several: &str, done: &str) {
        match count {
            0 => {}
            1 => self.note(format!("1 {one} {done}")),
            _ => self.note(format!("{count} {several} {done}")),
        }
    }

    pub(super) fn notes(&self) -> &[String] {
        &self.notes
    }
}
