//! Who a spool is: its device id, and the epochs in which its records were named.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{PoisonError, RwLock};

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::carry::Naming;
use crate::context::{STATE, read_whole, replace_file};
use crate::disk::Disk;
use crate::error::{Error, ErrorKind, Result};
use crate::id::{Chain, DeviceId, Epoch, Position, RecordId};
use crate::options::Layout;

const FORMAT: u32 = 1;

/// The content of `state/identity.json`.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct IdentityFile {
    format: u32,
    layout: Layout,
    device: uuid::Uuid,
    epochs: Vec<EpochEntry>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    machine: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct EpochEntry {
    pub(crate) epoch: String,
    /// Where the epoch starts in chains that were there before it.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    starts: BTreeMap<String, u64>,
}

#[derive(Debug)]
pub(crate) struct Identity {
    file: RwLock<IdentityFile>,
}

impl Identity {
    /// Reads the identity at `path`. `Ok(None)`: there is none yet.
    pub(crate) fn load(disk: &dyn Disk, path: &Path) -> Result<Option<Self>> {
        let bytes = match read_whole(disk, path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        let file: IdentityFile = serde_json::from_slice(&bytes).map_err(|error| {
            Error::at(
                ErrorKind::Damaged,
                path,
                format!("the spool's identity cannot be read: {error}"),
            )
        })?;
        if file.format > FORMAT {
            return Err(Error::at(
                ErrorKind::Unsupported,
                path,
                format!(
                    "the spool has format {}, this program knows up to {FORMAT}: use a newer backhaul",
                    file.format
                ),
            ));
        }
        if file.epochs.is_empty() {
            return Err(Error::at(ErrorKind::Damaged, path, "the spool's identity has no epoch"));
        }
        Ok(Some(Self { file: RwLock::new(file) }))
    }

    /// Makes a new identity and stores it; `device` is taken over where files of
    /// the spool still tell it.
    pub(crate) fn create(
        disk: &dyn Disk,
        path: &Path,
        layout: Layout,
        device: Option<DeviceId>,
        machine: Option<String>,
    ) -> Result<Self> {
        let file = IdentityFile {
            format: FORMAT,
            layout,
            device: device.map_or_else(uuid::Uuid::new_v4, |device| device.0),
            epochs: vec![EpochEntry::draw(BTreeMap::new())],
            machine,
        };
        let identity = Self { file: RwLock::new(file) };
        identity.save(disk, path)?;
        Ok(identity)
    }

    /// Makes the identity of a spool that carried records come into, and stores it. What is
    /// appended to it later is named in an epoch of its own.
    pub(crate) fn create_named(
        disk: &dyn Disk,
        path: &Path,
        naming: &Naming,
        machine: Option<String>,
    ) -> Result<Self> {
        let device = uuid::Uuid::try_parse(&naming.device).map_err(|error| {
            let device = &naming.device;
            let message = format!("the device of the carried records is {device:?}: {error}");
            Error::new(ErrorKind::InvalidInput, message)
        })?;
        let own = EpochEntry::draw(naming.ends.clone());
        let epochs = naming.epochs.iter().cloned().chain([own]).collect();
        let file =
            IdentityFile { format: FORMAT, layout: Layout::Segments, device, epochs, machine };
        let identity = Self { file: RwLock::new(file) };
        identity.save(disk, path)?;
        Ok(identity)
    }

    /// Makes room for the names of carried records, in a spool whose chains end there.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidInput`] where they are another device's, or where others have such
    /// names here already.
    pub(crate) fn adopt(
        &self,
        disk: &dyn Disk,
        path: &Path,
        naming: &Naming,
        ends: &BTreeMap<String, u64>,
    ) -> Result<()> {
        self.reload(disk, path)?;
        let refused = |why: String| Err(Error::at(ErrorKind::InvalidInput, path, why));
        let mut file = self.read().clone();
        if file.device.simple().to_string() != naming.device {
            return refused(format!(
                "the spool is that of the device {}, the records are of {}: import them into \
                 another folder",
                file.device.simple(),
                naming.device
            ));
        }
        let Some(mut own) = file.epochs.pop() else { return Ok(()) };
        let is_known =
            |entry: &EpochEntry| file.epochs.iter().any(|known| known.epoch == entry.epoch);
        let is_own = |entry: &EpochEntry| entry.epoch == own.epoch;
        let fits = naming.epochs.iter().any(is_own)
            || naming.ends.iter().all(|(chain, end)| *end <= own.start(chain));
        if fits && naming.epochs.iter().all(|entry| is_known(entry) || is_own(entry)) {
            return Ok(());
        }
        if let Some((chain, end)) = ends.iter().find(|(chain, end)| **end > own.start(chain)) {
            return refused(format!(
                "records were stored here since the last import, up to {chain}/{}: import the \
                 carried ones into another folder",
                end - 1
            ));
        }
        let new: Vec<_> = naming.epochs.iter().filter(|entry| !is_known(entry)).cloned().collect();
        file.epochs.extend(new);
        for (chain, end) in &naming.ends {
            let start = own.start(chain).max(*end);
            own.starts.insert(chain.clone(), start);
        }
        file.epochs.push(own);
        *self.file.write().unwrap_or_else(PoisonError::into_inner) = file;
        self.save(disk, path)
    }

    /// The epochs in which the records were named, the oldest first.
    pub(crate) fn epochs(&self) -> Vec<EpochEntry> {
        self.read().epochs.clone()
    }

    /// Takes over what another process wrote since.
    pub(crate) fn reload(&self, disk: &dyn Disk, path: &Path) -> Result<()> {
        if let Some(now) = Self::load(disk, path)? {
            let now = now.file.into_inner().unwrap_or_else(PoisonError::into_inner);
            *self.file.write().unwrap_or_else(PoisonError::into_inner) = now;
        }
        Ok(())
    }

    fn save(&self, disk: &dyn Disk, path: &Path) -> Result<()> {
        let bytes = serde_json::to_vec_pretty(&*self.read()).unwrap_or_default();
        replace_file(disk, path, &bytes)
    }

    fn read(&self) -> std::sync::RwLockReadGuard<'_, IdentityFile> {
        self.file.read().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn layout(&self) -> Layout {
        self.read().layout
    }

    pub(crate) fn device(&self) -> DeviceId {
        DeviceId(self.read().device)
    }

    /// The epoch of records appended now.
    pub(crate) fn epoch(&self) -> Epoch {
        self.read().epochs.last().map_or(Epoch(1), EpochEntry::epoch)
    }

    /// Whether the machine is another one than when the identity was stored.
    /// Evidence that is missing on either side proves nothing.
    pub(crate) fn is_other_machine(&self, machine: Option<&str>) -> bool {
        matches!((self.read().machine.as_deref(), machine), (Some(known), Some(now)) if known != now)
    }

    /// Starts a new epoch at the given places, so that this machine and the one
    /// it was cloned from never name two records alike.
    pub(crate) fn redraw(
        &self,
        disk: &dyn Disk,
        path: &Path,
        machine: Option<String>,
        starts: BTreeMap<Chain, u64>,
        why: &str,
    ) -> Result<()> {
        self.reload(disk, path)?;
        {
            let mut file = self.file.write().unwrap_or_else(PoisonError::into_inner);
            file.machine = machine;
            let starts =
                starts.into_iter().map(|(chain, next)| (chain.to_string(), next)).collect();
            file.epochs.push(EpochEntry::draw(starts));
        }
        self.save(disk, path)?;
        tracing::warn!(epoch = %self.epoch(), why, "new records are named in a new epoch");
        Ok(())
    }

    /// The fleet-wide name of a place.
    pub(crate) fn record_id(&self, position: Position) -> RecordId {
        let file = self.read();
        let epoch = EpochEntry::at(&file.epochs, position).map_or(Epoch(1), EpochEntry::epoch);
        RecordId { device: DeviceId(file.device), epoch, position }
    }
}

impl EpochEntry {
    /// A new one.
    fn draw(starts: BTreeMap<String, u64>) -> Self {
        Self { epoch: draw_epoch().to_string(), starts }
    }

    pub(crate) fn epoch(&self) -> Epoch {
        Epoch(u32::from_str_radix(&self.epoch, 16).unwrap_or(1))
    }

    fn start(&self, chain: &str) -> u64 {
        self.starts.get(chain).copied().unwrap_or(1)
    }

    /// The epoch in which the record in this place is named.
    pub(crate) fn at(epochs: &[Self], position: Position) -> Option<&Self> {
        let chain = position.chain.to_string();
        epochs.iter().rev().find(|entry| entry.start(&chain) <= position.sequence.0)
    }
}

fn draw_epoch() -> Epoch {
    let (_, low) = uuid::Uuid::new_v4().as_u64_pair();
    let [a, b, c, d, ..] = low.to_le_bytes();
    Epoch(u32::from_le_bytes([a, b, c, d]).max(1))
}

/// What tells this machine from another that runs from a copy of its card: serial
/// numbers of board, system and card, and the addresses of its network hardware,
/// hashed. Only what every user may read counts, so that all see the same. `None`
/// where the host shows none of them, as in most containers.
pub fn machine_evidence() -> Option<String> {
    let mut facts = Vec::new();
    for path in ["/sys/firmware/devicetree/base/serial-number", "/sys/block/mmcblk0/device/cid"] {
        if let Ok(text) = std::fs::read_to_string(path) {
            facts.push(text.trim_matches(['\0', '\n', ' ']).to_owned());
        }
    }
    if facts.is_empty() {
        facts = network_addresses();
    }
    facts.retain(|fact| !fact.is_empty());
    if facts.is_empty() {
        return None;
    }
    let digest = Sha256::digest(facts.join("\n").as_bytes());
    Some(digest.iter().map(|byte| format!("{byte:02x}")).collect())
}

/// [`machine_evidence`] together with what tells this folder from a copy of it on the
/// same machine: the number that the file system gave to it. A backup that is put
/// back, and a copied folder, have another one.
pub(crate) fn evidence(dir: &Path) -> Option<String> {
    let facts: Vec<String> = machine_evidence().into_iter().chain(folder_number(dir)).collect();
    (!facts.is_empty()).then(|| facts.join("+"))
}

/// The inode of the spool's state folder, where inodes are kept from mount to mount.
fn folder_number(dir: &Path) -> Option<String> {
    use std::os::unix::fs::MetadataExt;
    /// FAT, exFAT, NFS, FUSE and overlays number files anew (`linux/magic.h`).
    const NUMBERED_ANEW: [u64; 5] = [0x4d44, 0x2011_bab0, 0x6969, 0x6573_5546, 0x794c_7630];
    let state = dir.join(STATE);
    let kind = rustix::fs::statfs(&state).ok()?.f_type;
    let is_stable = u64::try_from(kind).is_ok_and(|kind| !NUMBERED_ANEW.contains(&kind));
    let inode = std::fs::metadata(&state).ok()?.ino();
    is_stable.then(|| format!("inode-{inode}"))
}

/// Addresses of network hardware, not of virtual interfaces, which come and go.
fn network_addresses() -> Vec<String> {
    let Ok(interfaces) = std::fs::read_dir("/sys/class/net") else { return Vec::new() };
    let mut addresses: Vec<String> = interfaces
        .flatten()
        .filter(|interface| interface.path().join("device").exists())
        .filter_map(|interface| std::fs::read_to_string(interface.path().join("address")).ok())
        .map(|address| address.trim().to_owned())
        .collect();
    addresses.sort();
    addresses
}
