//! The commands that look at the bytes of spools.

use std::path::PathBuf;

use clap::{Args, Subcommand};

/// See whether spools are what was written, byte by byte, and mend them.
#[derive(Debug, Subcommand)]
pub(crate) enum Spool {
    /// Read every byte, and say what is not as it was written. Nothing is changed.
    ///
    /// Exits with 0 if all of it is sound. A running backhaul may go on meanwhile.
    #[command(after_help = "\
Examples:
  backhaul spool check
  backhaul spool check /mnt/card/var/lib/backhaul --json | jq '.spools[].findings[]'")]
    Check(SpoolCheck),
    /// Say what would be done about what is damaged; with --apply, do it.
    ///
    /// Before anything is changed in a spool, all of it is copied. Sound records stay, what is
    /// lost is counted, and bytes that are taken out lie in quarantine/.
    #[command(after_help = "\
Examples:
  backhaul spool repair /mnt/card/var/lib/backhaul
  backhaul spool repair --apply --backup /media/usb/copy /mnt/card/var/lib/backhaul")]
    Repair(SpoolRepair),
}

impl Spool {
    pub(crate) fn dir(&self) -> Option<&PathBuf> {
        match self {
            Spool::Check(args) => args.dir.as_ref(),
            Spool::Repair(args) => args.dir.as_ref(),
        }
    }
}

#[derive(Debug, Args)]
pub(crate) struct SpoolCheck {
    /// A data dir, or the folder of one spool [default: the data dir of this device]
    #[arg(value_name = "DIR")]
    pub(crate) dir: Option<PathBuf>,
    /// Print one JSON object: {"sound": …, "spools": {"runs": {"findings": [{…}]}}}.
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct SpoolRepair {
    /// A data dir, or the folder of one spool [default: the data dir of this device]
    #[arg(value_name = "DIR")]
    pub(crate) dir: Option<PathBuf>,
    /// Do it.
    #[arg(long)]
    pub(crate) apply: bool,
    /// The folder for the copies that are made before [default: beside each spool]
    #[arg(long, value_name = "DIR", requires = "apply")]
    pub(crate) backup: Option<PathBuf>,
    /// Print one JSON object, as `spool check` does.
    #[arg(long)]
    pub(crate) json: bool,
}
