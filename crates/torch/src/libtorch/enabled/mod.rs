//! A build with libtorch. One file per network. Signatures must equal those in `disabled.rs`.

mod fbank;
mod hypotheses;
mod layers;
mod pyannet;
mod reference_ops;
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
/// [`Error::NoNetwork`] if the bundle holds none, [`Error::Unsupported`] if pyannote.audio cannot run it, or not
/// reproducibly.
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

/// The graphs of a network without and with masks.
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
