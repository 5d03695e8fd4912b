//! A build with libtorch. One file per network; a change of a signature here is one in `disabled.rs`.

mod elementary;
mod fbank;
mod layers;
mod mistakes;
mod pyannet;
mod rounding;
mod stages;
mod tensor;
mod weights;
mod wespeaker;

pub use mistakes::mistakes;
pub use pyannet::PyanNet;
pub use tensor::Tensor;
pub use wespeaker::WeSpeakerResNet;

use crate::Error;

impl From<tch::TchError> for Error {
    fn from(error: tch::TchError) -> Self {
        let text = error.to_string();
        Self::Libtorch {
            message: text.lines().next().unwrap_or_default().to_owned(),
        }
    }
}
