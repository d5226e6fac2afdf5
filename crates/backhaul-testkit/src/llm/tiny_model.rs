//! Language models of half a megabyte.

use std::io;
use std::path::PathBuf;

use crate::programs::made_by;

/// A GGUF file that `llm/tiny_gguf.py` makes, the same bytes each time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TinyModel {
    kind: &'static str,
    knows_tools: bool,
    context: u32,
}

impl TinyModel {
    /// A model that always says [`LOCAL_TEXT`](crate::LOCAL_TEXT), greedily or at a usual
    /// temperature.
    pub fn chain() -> Self {
        Self::of_kind("chain")
    }

    /// A model that talks gibberish: what makes sense in it is a grammar's doing.
    pub fn random() -> Self {
        Self::of_kind("random")
    }

    /// Gives it a chat template that knows tools; without, it is plain ChatML.
    #[must_use]
    pub fn knowing_tools(mut self) -> Self {
        self.knows_tools = true;
        self
    }

    /// The tokens of context that it says it was made for: 4,096 otherwise.
    #[must_use]
    pub fn with_context(mut self, tokens: u32) -> Self {
        self.context = tokens;
        self
    }

    /// Its file, in the folder `target`.
    ///
    /// # Errors
    /// When it cannot be made, which takes the network once.
    pub fn file(&self) -> io::Result<PathBuf> {
        let context = self.context.to_string();
        let mut arguments = vec!["--kind", self.kind, "--ctx", &context];
        arguments.extend(self.knows_tools.then_some("--tools"));
        made_by("llm-model", &arguments)
    }

    fn of_kind(kind: &'static str) -> Self {
        Self { kind, knows_tools: false, context: 4096 }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::programs::program;

    #[test]
    fn a_model_is_the_same_bytes_each_time() {
        let again = std::env::temp_dir().join(format!("tiny-{}.gguf", std::process::id()));
        let python = made_by("llm-venv", &[]).unwrap();
        let mut generator = program(python, "llm", "tiny_gguf.py");
        assert!(generator.arg(&again).status().unwrap().success());
        let bytes = fs::read(&again).unwrap();
        fs::remove_file(again).unwrap();
        assert!(bytes == fs::read(TinyModel::chain().file().unwrap()).unwrap());
    }
}
