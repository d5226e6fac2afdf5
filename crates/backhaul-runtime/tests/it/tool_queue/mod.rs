mod basics;
mod hazards;
mod ledger;
pub(crate) mod support;
