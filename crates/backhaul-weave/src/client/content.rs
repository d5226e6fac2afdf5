//! Files in values: images, sounds, documents.

use std::path::Path;
use std::sync::{Arc, OnceLock};

use serde::ser::SerializeMap;
use serde::{Serialize, Serializer};
use serde_json::json;
use sha2::{Digest as _, Sha256};

use super::value;
use crate::digest;
use crate::json::text_of;

/// What Weave calls an image, after the class that its client for Python reads it as.
const IMAGE: &str = "PIL.Image.Image";
/// What Weave calls any other file.
const CONTENT: &str = "weave.type_wrappers.Content.content.Content";

/// A file that can stand anywhere in what is logged or published: an image, a sound, a
/// document.
///
/// Its bytes are stored once per content, beside the records. Serialized it is what Weave
/// calls a custom type, with the digests of its bytes. Cheap to clone.
///
/// ```
/// use backhaul_weave::Content;
/// let report = Content::from_bytes("# 7 degrees", "text/markdown").named("report.md");
/// let said = serde_json::to_value(&report)?;
/// assert_eq!(said["files"]["content"], report.digest());
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct Content {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    bytes: Vec<u8>,
    media_type: String,
    name: Option<String>,
    hash: OnceLock<Hash>,
}

#[derive(Debug, Clone)]
struct Hash {
    hex: String,
    digest: String,
}

/// A file that an object is made of.
#[derive(Debug, Clone)]
pub(crate) struct File {
    pub(crate) name: String,
    pub(crate) media_type: String,
    pub(crate) content: FileBytes,
    pub(crate) digest: String,
}

#[derive(Debug, Clone)]
pub(crate) enum FileBytes {
    Of(Content),
    Text(String),
}

impl Content {
    /// A file by its bytes and its media type, such as `audio/wav`.
    pub fn from_bytes(bytes: impl Into<Vec<u8>>, media_type: impl Into<String>) -> Self {
        Self::new(bytes.into(), media_type.into(), None)
    }

    /// A file of the machine, read whole. Its media type is that of its name's end, or
    /// `application/octet-stream`.
    ///
    /// # Errors
    /// Where it cannot be read.
    pub fn from_path(path: impl AsRef<Path>) -> std::io::Result<Self> {
        let path = path.as_ref();
        let end = path.extension().and_then(|end| end.to_str()).unwrap_or_default();
        let name = path.file_name().map(|name| name.to_string_lossy().into_owned());
        Ok(Self::new(std::fs::read(path)?, media_type_of(end).to_owned(), name))
    }

    /// The same under a name.
    #[must_use]
    pub fn named(self, name: impl Into<String>) -> Self {
        let inner = match Arc::try_unwrap(self.inner) {
            Ok(inner) => inner,
            Err(shared) => Inner {
                bytes: shared.bytes.clone(),
                media_type: shared.media_type.clone(),
                name: None,
                hash: shared.hash.clone(),
            },
        };
        Self { inner: Arc::new(Inner { name: Some(name.into()), ..inner }) }
    }

    fn new(bytes: Vec<u8>, media_type: String, name: Option<String>) -> Self {
        let inner = Inner { bytes, media_type, name, hash: OnceLock::new() };
        Self { inner: Arc::new(inner) }
    }

    /// Its bytes.
    pub fn bytes(&self) -> &[u8] {
        &self.inner.bytes
    }

    /// Its media type.
    pub fn media_type(&self) -> &str {
        &self.inner.media_type
    }

    /// The digest of its bytes, computed once.
    pub fn digest(&self) -> &str {
        &self.hash().digest
    }

    fn hash(&self) -> &Hash {
        self.inner.hash.get_or_init(|| {
            let hash = Sha256::digest(&self.inner.bytes);
            let hex = hash.iter().map(|byte| format!("{byte:02x}")).collect();
            Hash { hex, digest: digest::of_hash(&hash) }
        })
    }

    /// The kind of image that it is, where Weave shows it as one: the end of its name.
    fn image_end(&self) -> Option<&'static str> {
        match self.media_type() {
            "image/png" => Some("png"),
            "image/jpeg" => Some("jpg"),
            "image/webp" => Some("webp"),
            "image/gif" => Some("gif"),
            _ => None,
        }
    }

    /// The files that are stored of it.
    pub(crate) fn files(&self) -> Vec<File> {
        let own = |name: String| File {
            name,
            media_type: self.media_type().to_owned(),
            content: FileBytes::Of(self.clone()),
            digest: self.digest().to_owned(),
        };
        if let Some(end) = self.image_end() {
            return vec![own(format!("image.{end}"))];
        }
        let metadata = self.metadata();
        let metadata = File {
            name: "metadata.json".to_owned(),
            media_type: "application/json".to_owned(),
            digest: digest::of_file(metadata.as_bytes()),
            content: FileBytes::Text(metadata),
        };
        vec![own("content".to_owned()), metadata]
    }

    /// What Weave's clients read beside the bytes: as that for Python writes it of bytes.
    fn metadata(&self) -> String {
        let (hex, end) = (&self.hash().hex, end_of(self.media_type()));
        let kind = match self.media_type().split_once('/') {
            Some(("application", _)) | None => "file",
            Some((kind, _)) => kind,
        };
        let default = format!("{kind}-{}.{end}", hex.get(..4).unwrap_or_default());
        let filename = self.inner.name.clone().unwrap_or(default);
        let metadata = json!({
            "size": self.bytes().len(),
            "mimetype": self.media_type(),
            "digest": hex,
            "filename": filename,
            "content_type": "bytes",
            "input_type": "bytes",
            "encoding": "utf-8",
            "metadata": null,
            "extension": format!(".{end}"),
        });
        text_of(&metadata)
    }
}

impl File {
    pub(crate) fn bytes(&self) -> &[u8] {
        match &self.content {
            FileBytes::Of(content) => content.bytes(),
            FileBytes::Text(text) => text.as_bytes(),
        }
    }
}

impl Serialize for Content {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        value::note_file(self);
        let files: serde_json::Map<String, serde_json::Value> =
            self.files().into_iter().map(|file| (file.name, file.digest.into())).collect();
        let kind = if self.image_end().is_some() { IMAGE } else { CONTENT };
        let mut map = serializer.serialize_map(Some(4))?;
        map.serialize_entry("_type", "CustomWeaveType")?;
        map.serialize_entry("weave_type", &json!({"type": kind}))?;
        map.serialize_entry("files", &files)?;
        // What Weave's client for Node writes, too: known types need no code to be loaded.
        map.serialize_entry("load_op", "NO_LOAD_OP")?;
        map.end()
    }
}

/// Ends of names, and what is in such files.
const MEDIA_TYPES: [(&str, &str); 20] = [
    ("png", "image/png"),
    ("jpg", "image/jpeg"),
    ("jpeg", "image/jpeg"),
    ("webp", "image/webp"),
    ("gif", "image/gif"),
    ("svg", "image/svg+xml"),
    ("wav", "audio/wav"),
    ("mp3", "audio/mpeg"),
    ("ogg", "audio/ogg"),
    ("flac", "audio/flac"),
    ("mp4", "video/mp4"),
    ("webm", "video/webm"),
    ("pdf", "application/pdf"),
    ("json", "application/json"),
    ("csv", "text/csv"),
    ("html", "text/html"),
    ("md", "text/markdown"),
    ("txt", "text/plain"),
    ("xml", "application/xml"),
    ("zip", "application/zip"),
];

fn media_type_of(end: &str) -> &'static str {
    let end = end.to_ascii_lowercase();
    let known = MEDIA_TYPES.iter().find(|(known, _)| *known == end);
    known.map_or("application/octet-stream", |(_, media_type)| media_type)
}

fn end_of(media_type: &str) -> &'static str {
    MEDIA_TYPES.iter().find(|(_, known)| *known == media_type).map_or("bin", |(end, _)| end)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_image_is_one_file_and_anything_else_two() {
        let image = Content::from_bytes([1, 2], "image/png");
        let said = serde_json::to_value(&image).unwrap();
        assert_eq!(said["weave_type"]["type"], IMAGE);
        assert_eq!(said["files"], json!({"image.png": image.digest()}));
        let sound = Content::from_bytes([1, 2], "audio/wav").named("a.wav");
        let names: Vec<_> = sound.files().into_iter().map(|file| file.name).collect();
        assert_eq!(names, ["content", "metadata.json"]);
        assert!(sound.metadata().contains(r#""filename": "a.wav""#));
    }

    #[test]
    fn what_is_said_beside_the_bytes_is_what_the_client_for_python_says() {
        let sound = Content::from_bytes(*b"abc\0", "audio/wav");
        let said = r#"{"size": 4, "mimetype": "audio/wav", "digest": "dc1114cd074914bd872cc1f9a23ec910ea2203bc79779ab2e17da25782a624fc", "filename": "audio-dc11.wav", "content_type": "bytes", "input_type": "bytes", "encoding": "utf-8", "metadata": null, "extension": ".wav"}"#;
        assert_eq!(sound.metadata(), said);
        let other = Content::from_bytes(*b"abc\0", "application/octet-stream");
        assert!(other.metadata().contains(r#""filename": "file-dc11.bin""#));
    }

    #[test]
    fn a_file_is_known_by_the_end_of_its_name() {
        let dir = tempfile::tempdir().unwrap();
        for (name, media_type) in [("a.PNG", "image/png"), ("b", "application/octet-stream")] {
            std::fs::write(dir.path().join(name), "x").unwrap();
            let content = Content::from_path(dir.path().join(name)).unwrap();
            assert_eq!(content.media_type(), media_type);
        }
    }
}
