//! What can be told of a model file before llama.cpp opens it.

use std::fs::File;
use std::io::{self, BufReader, Read as _};
use std::path::Path;

use crate::error::{LlmError, LlmErrorKind};

const MAGIC: [u8; 4] = *b"GGUF";
/// The versions that llama.cpp reads.
const VERSIONS: [u32; 2] = [2, 3];
const ARCHITECTURE: &[u8] = b"general.architecture";
const ALIGNMENT: &[u8] = b"general.alignment";
const DEFAULT_ALIGNMENT: u64 = 32;
const MOST_DIMENSIONS: u32 = 4;
/// The longest value that is looked at; others are skipped.
const MOST_VALUE: u64 = 64;

// The types of values; all others have a fixed size.
const STRING: u32 = 8;
const ARRAY: u32 = 9;

/// Reads the header of a model file, and gives the model's architecture.
///
/// # Errors
/// [`LlmErrorKind::NotFound`] where there is no such file, [`LlmErrorKind::Engine`] where it is
/// none that can be loaded: a folder, another format, cut off, damaged.
pub(super) fn architecture(path: &Path) -> Result<String, LlmError> {
    let shown = path.display();
    let refused = |kind, found: String| LlmError::new(kind, format!("the model {shown} {found}"));
    Header::read(path).map_err(|flaw| match flaw {
        Flaw::Io(error) if error.kind() == io::ErrorKind::NotFound => {
            refused(LlmErrorKind::NotFound, "is not there: expected the path of a GGUF file".into())
        }
        Flaw::Io(error) => refused(LlmErrorKind::Engine, format!("cannot be read: {error}")),
        Flaw::Found(found) => refused(LlmErrorKind::Engine, found),
    })
}

enum Flaw {
    Io(io::Error),
    Found(String),
}

impl From<io::Error> for Flaw {
    fn from(error: io::Error) -> Self {
        Flaw::Io(error)
    }
}

fn damaged(what: &str) -> Flaw {
    Flaw::Found(format!("is damaged ({what}): copy or download it again"))
}

/// A header that is being read.
struct Header {
    file: BufReader<File>,
    at: u64,
    len: u64,
}

impl Header {
    fn read(path: &Path) -> Result<String, Flaw> {
        let file = File::open(path)?;
        let metadata = file.metadata()?;
        if !metadata.is_file() {
            return Err(Flaw::Found("is no file: expected the path of a GGUF file".into()));
        }
        Header { file: BufReader::new(file), at: 0, len: metadata.len() }.architecture()
    }

    fn architecture(&mut self) -> Result<String, Flaw> {
        let (tensors, values) = self.counts()?;
        let (mut architecture, mut alignment) = (None, DEFAULT_ALIGNMENT);
        for _ in 0..values {
            let key = self.string()?;
            let value = self.value()?;
            match key.as_deref() {
                Some(ARCHITECTURE) => architecture = value,
                Some(ALIGNMENT) => alignment = number(value).unwrap_or(DEFAULT_ALIGNMENT),
                _ => {}
            }
        }
        self.expect_tensors(tensors, alignment)?;
        let architecture = architecture.and_then(|name| String::from_utf8(name).ok());
        architecture.ok_or_else(|| {
            Flaw::Found("names no architecture: expected a GGUF file of a language model".into())
        })
    }

    fn counts(&mut self) -> Result<(u64, u64), Flaw> {
        let magic = self.bytes::<4>()?;
        if magic != MAGIC {
            let found = magic.escape_ascii();
            return Err(Flaw::Found(format!(
                "is no GGUF file: it begins with \"{found}\", expected \"GGUF\"; \
                 convert it, or choose the model's GGUF file"
            )));
        }
        let version = u32::from_le_bytes(self.bytes()?);
        if !VERSIONS.contains(&version) {
            return Err(Flaw::Found(format!(
                "is a GGUF file of version {version}, expected 2 or 3: convert it again"
            )));
        }
        Ok((self.number()?, self.number()?))
    }

    /// Where the tensors end is known of all but the last one, of which llama.cpp finds out.
    fn expect_tensors(&mut self, count: u64, alignment: u64) -> Result<(), Flaw> {
        let mut last = 0;
        for _ in 0..count {
            self.string()?;
            let dimensions = u32::from_le_bytes(self.bytes()?);
            if dimensions > MOST_DIMENSIONS {
                return Err(damaged(&format!("a tensor of {dimensions} dimensions")));
            }
            // The dimensions, and the type.
            self.skip(u64::from(dimensions) * 8 + 4)?;
            last = last.max(self.number()?);
        }
        let data = self.at.checked_next_multiple_of(alignment);
        match data.and_then(|data| data.checked_add(last)) {
            Some(needed) if count > 0 => self.expect(needed.saturating_add(1)),
            _ => Err(damaged("no tensors where they are expected")),
        }
    }

    /// A value; that of a string or of a number, where it is short.
    fn value(&mut self) -> Result<Option<Vec<u8>>, Flaw> {
        match u32::from_le_bytes(self.bytes()?) {
            STRING => self.string(),
            ARRAY => {
                let of = u32::from_le_bytes(self.bytes()?);
                let count = self.number()?;
                if of == STRING {
                    for _ in 0..count {
                        self.string()?;
                    }
                } else {
                    let size = size_of(of)?.checked_mul(count);
                    self.skip(size.unwrap_or(u64::MAX))?;
                }
                Ok(None)
            }
            of => self.short(size_of(of)?),
        }
    }

    fn string(&mut self) -> Result<Option<Vec<u8>>, Flaw> {
        let len = self.number()?;
        self.short(len)
    }

    /// So many bytes, skipped where they are too many to be looked at.
    fn short(&mut self, len: u64) -> Result<Option<Vec<u8>>, Flaw> {
        if len > MOST_VALUE {
            self.skip(len)?;
            return Ok(None);
        }
        self.expect(self.at.saturating_add(len))?;
        let mut bytes = Vec::new();
        (&mut self.file).take(len).read_to_end(&mut bytes)?;
        self.at += len;
        Ok(Some(bytes))
    }

    fn number(&mut self) -> Result<u64, Flaw> {
        Ok(u64::from_le_bytes(self.bytes()?))
    }

    fn bytes<const N: usize>(&mut self) -> Result<[u8; N], Flaw> {
        self.expect(self.at + N as u64)?;
        let mut bytes = [0; N];
        self.file.read_exact(&mut bytes)?;
        self.at += N as u64;
        Ok(bytes)
    }

    fn skip(&mut self, len: u64) -> Result<(), Flaw> {
        let end = self.at.saturating_add(len);
        self.expect(end)?;
        self.file.seek_relative(i64::try_from(len).unwrap_or(i64::MAX))?;
        self.at = end;
        Ok(())
    }

    fn expect(&self, needed: u64) -> Result<(), Flaw> {
        if needed <= self.len {
            return Ok(());
        }
        let len = self.len;
        Err(Flaw::Found(format!(
            "is cut off, or damaged: it has {len} bytes, expected at least {needed}; \
             copy or download it again"
        )))
    }
}

fn size_of(value: u32) -> Result<u64, Flaw> {
    match value {
        // Bytes and booleans.
        0 | 1 | 7 => Ok(1),
        2 | 3 => Ok(2),
        4..=6 => Ok(4),
        10..=12 => Ok(8),
        _ => Err(damaged(&format!("a value of type {value}"))),
    }
}

fn number(value: Option<Vec<u8>>) -> Option<u64> {
    let number = u32::from_le_bytes(value?.try_into().ok()?);
    (number > 0).then(|| number.into())
}
