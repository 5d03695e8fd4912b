//! Faults of speaker embeddings and of their filter bank.

mod filter_bank;
mod no_faults;
mod pooling;
mod trunk;

use super::Fault;

/// All of them, in the order of the stages.
pub(super) fn catalogue() -> Vec<Fault> {
    [
        filter_bank::catalogue(),
        trunk::catalogue(),
        pooling::catalogue(),
        no_faults::catalogue(),
    ]
    .concat()
}
