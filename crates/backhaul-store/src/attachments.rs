//! Attachments: bodies and files too large for a record, stored once under their
//! SHA-256, for as long as a record names them.

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};

use sha2::{Digest as _, Sha256};

use crate::context::{Context, create_anew, read_whole, try_lock};
use crate::disk::Open;
use crate::error::{Error, ErrorKind, IoContext, Result};
use crate::id::Chain;
use crate::quota::on_disk;
use crate::record::StoredRecord;
use crate::spool::{Inner, Spool, lock_identity, writer_lock_path};

const FOLDER: &str = "attachments";

/// Attachments of this process that no record names yet.
#[derive(Debug, Default)]
pub(crate) struct Pins(AtomicUsize);

/// Bytes that are stored, and kept from being swept until this is dropped. Append
/// the record that names the digest before.
#[derive(Debug)]
pub struct Attachment {
    digest: String,
    spool: Spool,
}

impl Attachment {
    /// SHA-256 of the bytes, 64 lower-case hex digits.
    pub fn digest(&self) -> &str {
        &self.digest
    }
}

impl Drop for Attachment {
    fn drop(&mut self) {
        self.spool.inner.attachments.0.fetch_sub(1, Ordering::AcqRel);
    }
}

impl Spool {
    /// Stores bytes durably, once per content, and returns what to name in a record.
    ///
    /// ```
    /// # use backhaul_store::{Options, Record, Spool};
    /// # let dir = std::env::temp_dir().join(format!("backhaul-attach-{}", std::process::id()));
    /// # let spool = Spool::open(&dir, Options::default())?;
    /// let image = spool.attach(&[0u8; 100_000])?;
    /// spool.append(Record::new("image", b"{}".to_vec()).attachment(image.digest()))?;
    /// assert_eq!(spool.attachment(image.digest())?.len(), 100_000);
    /// # drop(image); drop(spool); std::fs::remove_dir_all(&dir).unwrap();
    /// # Ok::<(), backhaul_store::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`ErrorKind::Full`] and [`ErrorKind::Io`]; nothing is stored then.
    pub fn attach(&self, bytes: &[u8]) -> Result<Attachment> {
        self.inner.check_process()?;
        self.inner.check_writable()?;
        let digest = digest_of(bytes);
        // Pinned before it is looked for, so that no sweep comes between.
        self.inner.attachments.0.fetch_add(1, Ordering::AcqRel);
        let attachment = Attachment { digest, spool: self.clone() };
        let context = &self.inner.context;
        let path = path_of(context, &attachment.digest);
        let present = read_whole(&*context.disk, &path).is_ok_and(|stored| stored == bytes);
        if present {
            // Whoever stored it may have been stopped before it was durable.
            let file = context.disk.open(&path, Open::Write).doing("open an attachment", &path)?;
            file.flush().doing("flush an attachment", &path)?;
            sync_name(context, &path)?;
        } else {
            self.store_attachment(&path, bytes)?;
        }
        Ok(attachment)
    }

    fn store_attachment(&self, path: &std::path::Path, bytes: &[u8]) -> Result<()> {
        let context = &self.inner.context;
        let len = on_disk(bytes.len() as u64);
        context.quota.reserve(&*context.disk, &context.dir, len)?;
        let stored = write(context, self.inner.writer, path, bytes);
        stored.inspect_err(|_| context.quota.release(len))
    }

    /// The bytes of an attachment.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`], or [`ErrorKind::Damaged`] where the bytes do not
    /// have the digest.
    pub fn attachment(&self, digest: &str) -> Result<Vec<u8>> {
        if digest.len() != 64 || !digest.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return Err(Error::new(
                ErrorKind::InvalidInput,
                format!("bad attachment digest {digest:?}: expected 64 hex digits"),
            ));
        }
        let path = path_of(&self.inner.context, digest);
        let bytes = read_whole(&*self.inner.context.disk, &path)?;
        let found = digest_of(&bytes);
        if found != digest {
            return Err(Error::at(
                ErrorKind::Damaged,
                &path,
                "the attachment does not have its digest",
            ));
        }
        Ok(bytes)
    }
}

/// SHA-256 of bytes, 64 lower-case hex digits.
pub(crate) fn digest_of(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

pub(crate) fn path_of(context: &Context, digest: &str) -> PathBuf {
    context.path(FOLDER).join(digest.get(..2).unwrap_or("00")).join(digest)
}

fn write(context: &Context, writer: u16, path: &std::path::Path, bytes: &[u8]) -> Result<()> {
    let (disk, folder) = (&context.disk, context.path(FOLDER));
    let parent = path.parent().unwrap_or(&folder);
    disk.create_dir_all(parent).doing("create the attachment folder", parent)?;
    let temporary =
        context.state(&format!("attachment-{writer}-{:?}.tmp", std::thread::current().id()));
    let file = create_anew(&**disk, &temporary)?;
    file.write_all_at(bytes, 0).doing("write an attachment", &temporary)?;
    file.flush().doing("flush an attachment", &temporary)?;
    disk.rename(&temporary, path).doing("name an attachment", path)?;
    sync_name(context, path)
}

/// Makes the name of an attachment durable.
fn sync_name(context: &Context, path: &Path) -> Result<()> {
    let folder = context.path(FOLDER);
    for dir in [path.parent().unwrap_or(&folder), &folder, &context.dir] {
        context.disk.sync_dir(dir).doing("sync a folder", dir)?;
    }
    Ok(())
}

/// Removes attachments that no stored record names. Left for another time while
/// another process has the spool open, or while an attachment waits for its record.
pub(crate) fn sweep(inner: &Inner) -> Result<()> {
    let context = &inner.context;
    // The long part comes first, while others go on.
    let places: BTreeMap<Chain, u64> =
        inner.store.chains().into_iter().map(|(chain, (_, next))| (chain, next)).collect();
    let mut unnamed = stored(context)?;
    forget_named(inner, &mut unnamed, &BTreeMap::new())?;
    if unnamed.is_empty() {
        return Ok(());
    }
    // No commit happens from here on, none is waiting to, and no process comes.
    let _paused = inner.committer.pause();
    let _nobody_opens = lock_identity(&*context.disk, &context.dir)?;
    let is_waited_for =
        inner.attachments.0.load(Ordering::Acquire) > 0 || inner.committer.has_waiting();
    if is_waited_for || !is_alone(inner)? {
        return Ok(());
    }
    // What was appended meanwhile, by others too.
    inner.store.refresh()?;
    forget_named(inner, &mut unnamed, &places)?;
    for (digest, len) in unnamed {
        let path = path_of(context, &digest);
        context.disk.remove(&path).doing("remove an attachment", &path)?;
        context.quota.release(on_disk(len));
    }
    Ok(())
}

/// All attachments by their names, with their lengths.
pub(crate) fn stored(context: &Context) -> Result<BTreeMap<String, u64>> {
    let mut stored = BTreeMap::new();
    let folders = context.disk.list(&context.path(FOLDER)).unwrap_or_default();
    for folder in folders.iter().filter(|entry| entry.is_dir) {
        let dir = context.path(FOLDER).join(&folder.name);
        let entries = context.disk.list(&dir).doing("list the attachment folder", &dir)?;
        stored.extend(entries.into_iter().map(|entry| (entry.name, entry.len)));
    }
    Ok(stored)
}

/// Takes out those that a stored record names, of the records from the places on.
fn forget_named(
    inner: &Inner,
    attachments: &mut BTreeMap<String, u64>,
    places: &BTreeMap<Chain, u64>,
) -> Result<()> {
    let mut forget = |record: StoredRecord| {
        for digest in &record.facts.attachments {
            attachments.remove(digest);
        }
        ControlFlow::Continue(())
    };
    for (chain, (first, next)) in inner.store.chains() {
        let from = places.get(&chain).map_or(first, |place| first.max(*place));
        let _ = inner.read_chain(chain, from..next, &|at| at, &mut forget)?;
    }
    Ok(())
}

/// Whether no other process appends to the spool.
pub(crate) fn is_alone(inner: &Inner) -> Result<bool> {
    let context = &inner.context;
    let state = context.state("");
    for entry in context.disk.list(&state).doing("list the state folder", &state)? {
        let number = entry.name.strip_prefix("writer-").and_then(|rest| rest.strip_suffix(".lock"));
        let Some(number) = number.and_then(|number| number.parse::<u16>().ok()) else { continue };
        if number == inner.writer || inner.store.has_adopted(number) {
            continue;
        }
        let path = writer_lock_path(&context.dir, number);
        if try_lock(&*context.disk, &path)?.is_none() {
            return Ok(false);
        }
    }
    Ok(true)
}
