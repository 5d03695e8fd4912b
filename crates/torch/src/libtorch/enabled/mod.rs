//! A build with libtorch. One file per network; a change of a signature here is one in `disabled.rs`.

mod elementary;
mod fbank;
mod hypotheses;
mod layers;
mod pyannet;
mod rounding;
mod stages;
mod tensor;
mod weights;
mod wespeaker;

pub use hypotheses::replay;

use soundalike_convert::Bundle;
use soundalike_network::{Architecture, Graph};

use self::{pyannet::PyanNet, wespeaker::WeSpeakerResNet};
use crate::{Arithmetic, Error, Network, Result};

/// Builds the network of `bundle`, to run in `arithmetic`.
///
/// # Errors
/// [`Error::NoNetwork`] where the bundle holds none, [`Error::Unsupported`] where pyannote.audio could not run it, or not
/// twice the same.
pub fn load(bundle: &Bundle, arithmetic: Arithmetic) -> Result<Box<dyn Network>> {
    let architecture = bundle.architecture();
    let graphs = Graphs([false, true].map(|masked| architecture.graph(masked).unwrap_or_default()));
    Ok(match architecture {
        Architecture::PyanNet(config) => {
            Box::new(PyanNet::load(config, bundle, arithmetic, graphs)?)
        }
        Architecture::WeSpeakerResNet(config) => {
            Box::new(WeSpeakerResNet::load(config, bundle, arithmetic, graphs)?)
        }
        Architecture::Plda(_) => {
            return Err(Error::NoNetwork {
                found: architecture.name(),
            });
        }
    })
}

/// The graph of a network without masks, and with them.
#[derive(Debug)]
struct Graphs([Graph; 2]);

impl Graphs {
    fn get(&self, masked: bool) -> &Graph {
        &self.0[usize::from(masked)]
    }
}

impl From<tch::TchError> for Error {
    fn from(error: tch::TchError) -> Self {
        let text = error.to_string();
        Self::Libtorch {
            message: text.lines().next().unwrap_or_default().to_owned(),
        }
    }
}
