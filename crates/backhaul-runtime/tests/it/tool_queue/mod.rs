mod basics;
mod ledger;
pub(crate) mod support;
