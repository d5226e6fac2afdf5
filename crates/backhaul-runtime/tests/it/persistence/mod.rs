mod crashes;
mod damage;
mod folder;
mod sharing;
pub(crate) mod support;
