mod crashes;
mod damage;
mod folder;
pub(crate) mod support;
