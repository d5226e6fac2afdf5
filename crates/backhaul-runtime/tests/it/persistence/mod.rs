mod crashes;
mod damage;
mod folder;
mod support;
