//! Faults of segmentation networks.

mod encoder;
mod head;
mod no_faults;
mod recurrent;
mod sinc;

use super::Fault;

/// All of them, in the order of the stages.
pub(super) fn catalogue() -> Vec<Fault> {
    [
        sinc::catalogue(),
        encoder::catalogue(),
        recurrent::catalogue(),
        head::catalogue(),
        no_faults::catalogue(),
    ]
    .concat()
}
