//! Secrets that the command line names a file for: tokens and keys.

use std::path::Path;

use anyhow::{Context as _, bail};

/// A kind of secret.
pub(crate) struct Secret {
    /// What it is called in messages.
    pub(crate) name: &'static str,
    /// The environment variable that holds it where no file is named.
    pub(crate) variable: &'static str,
    /// What to say where there is nothing in the file or the variable.
    pub(crate) hint: &'static str,
}

impl Secret {
    /// Reads the secret from the file, or else from its variable. White space around it
    /// is not part of it.
    ///
    /// # Errors
    /// Where the file cannot be read, or what was found is empty or no text.
    pub(crate) fn find(&self, file: Option<&Path>) -> anyhow::Result<Option<String>> {
        let (found, origin) = match file {
            Some(path) => {
                let found = std::fs::read_to_string(path).with_context(|| {
                    format!("cannot read the {} file {}", self.name, path.display())
                })?;
                (found, path.display().to_string())
            }
            None => match std::env::var(self.variable) {
                Ok(found) => (found, self.variable.to_owned()),
                Err(std::env::VarError::NotPresent) => return Ok(None),
                Err(error) => return Err(error).context(self.variable),
            },
        };
        match found.trim() {
            "" => bail!("{origin} is empty: {}", self.hint),
            secret => Ok(Some(secret.to_owned())),
        }
    }
}
